/* One connection of the load generator to the proxy: a socket that does not block, and TLS over it.
 *
 * Results of reading and writing: octets moved; 0 when it would block; LINK_ENDED; or -errno, with
 * -EPROTO for what OpenSSL did not like (link_words() says what). */
#ifndef GATEPOST_BENCH_LINK_H
#define GATEPOST_BENCH_LINK_H

#include <sys/types.h>

#include "proxy/base/span.h"
#include "tools/bench/load_options.h"

#define LINK_ENDED (-1000000) /* the other side has closed */

enum link_result { LINK_WAIT = 1 };

struct ssl_st;
struct ssl_ctx_st;
struct ssl_session_st;

struct link {
    int fd; /* -1: closed */
    struct ssl_st *tls;
    struct ssl_session_st *ticket; /* of the last session, to resume it; outlives the connection */
};

/* The settings of TLS for all connections of a process; NULL, having said why. */
struct ssl_ctx_st *link_context_new(const struct load_options *options);

/* Begins to connect, from one of the source addresses. 0 or -errno. */
int link_open(struct link *link, const struct load_options *options, unsigned source);

/* 0 once connected, or -errno. To be asked once the socket can be written to. */
int link_connected(const struct link *link);

/* 0 when done, LINK_WAIT, -EPROTO, or -ENOMEM. */
int link_handshake(struct link *link, struct ssl_ctx_st *context);

/* Was the TLS session resumed? */
bool link_resumed(const struct link *link);

ssize_t link_read(struct link *link, void *into, size_t room);
ssize_t link_write(struct link *link, struct span octets);

/* Why OpenSSL failed last; forgotten then. */
const char *link_words(void);

void link_close(struct link *link);

#endif

/* Private between stream.c, tls.c, tls_context.c and tls_client.c: how a stream turns its engine.
 * No OpenSSL header is needed here.
 *
 * The engine has no I/O of its own. Octets of the wire are lent to it by tls_feed(), records go out
 * by stream_put(), and it calls no event. It is `dry` when OpenSSL has nothing more to give before
 * further input comes. */
#ifndef GATEPOST_PROXY_TLS_ENGINE_H
#define GATEPOST_PROXY_TLS_ENGINE_H

#include "conf/settings.h"
#include "proxy/base/span.h"

struct ssl_st;
struct stream;
struct tls;
struct tls_client;
struct tls_context;

enum tls_step {
    TLS_STEP_DONE = 1, /* the handshake is complete; octets were read */
    TLS_STEP_DRY,      /* more input is needed */
    TLS_STEP_CLOSED,   /* close_notify has come */
};

/* As server. NULL: no memory. The context is kept by reference. */
struct tls *tls_new(struct stream *stream, struct tls_context *context);
/* As client; see stream_start_tls_client(). It is not dry: tls_handshake() puts out the
 * ClientHello. 0, -EINVAL (there is no name to check) or -ENOMEM. The client is kept by reference.
 */
int tls_new_client(struct stream *stream, struct tls_client *client, const char *name,
                   struct tls **ret_tls);
void tls_free(struct tls *tls);

/* Lends input, until the next tls_keep(), which copies what was not used (at most one read). 0 or
 * -ENOMEM. */
int tls_feed(struct tls *tls, struct span input);
int tls_keep(struct tls *tls);

bool tls_dry(const struct tls *tls);
/* Are octets of the peer held here, if only a part of a record? */
bool tls_pending(const struct tls *tls);
bool tls_established(const struct tls *tls);

/* DONE, DRY or -EPROTO: failed, the alert has been put out. */
int tls_handshake(struct tls *tls);

/* DONE with 1 to `room` octets; DRY, CLOSED or -EPROTO, the last two again at every further call.
 */
int tls_read(struct tls *tls, unsigned char *into, size_t room, size_t *ret_size);

/* 0, or -EPROTO, -EPIPE. Takes everything. */
int tls_write(struct tls *tls, struct span octets);

/* Puts out close_notify, once, where the state allows it. */
void tls_shutdown(struct tls *tls);

/* Words of our own for tls_failure(), unless there are some: any, or that the socket ended the
 * handshake, by FIN or an error. */
void tls_note_failure(struct tls *tls, const char *words);
void tls_note_broken(struct tls *tls, bool fin);

/* What was put out has gone: a peer that reads may ask for more control records. */
void tls_drained(struct tls *tls);

/* A new server connection and one reference to the context, or NULL. Given back by
 * tls_context_free(). */
struct ssl_st *tls_context_connect(struct tls_context *context);
/* The same of a new client connection, given back by tls_client_free(). */
int tls_client_connect(struct tls_client *client, const char *name, struct ssl_st **ret_ssl);
/* The static ALPN name of the context's protocol, "" where there is none. */
const char *tls_context_alpn(const struct tls_context *context);
enum tls_profile tls_context_profile(const struct tls_context *context);

/* Implemented by stream.c: appends octets for the wire. 0 or -errno. */
int stream_put(struct stream *stream, struct span octets);

#endif

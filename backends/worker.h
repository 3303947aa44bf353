/* The frame of an embedded mail worker: a parent that accepts on the UNIX socket, a forked child
 * for each session.
 *
 * The parent limits the number of sessions (beyond: `busy` is written and the connection closed),
 * reaps children, and drains when the supervisor says so. A session child reads the PROXY v2 header
 * (from its own socket only; nothing else is trusted), then runs `session` with blocking reads and
 * writes under timeouts. Password checks of all sessions together are limited to the number of
 * cores, across the session processes. */
#ifndef GATEPOST_BACKENDS_WORKER_H
#define GATEPOST_BACKENDS_WORKER_H

#include "conf/settings.h"
#include "proxy/base/proxy_v2.h"

/* A blocking connection with a timeout on each wait; buffered both ways. */
struct connection;

/* What a session is given. */
struct worker_session {
    const struct settings *settings;
    enum port_protocol protocol; /* of the ports in front of this worker */
    struct proxy_v2 client;      /* client.local: the proxy's own, learning what we can do */
    struct connection *connection;
};

struct worker_program {
    const char *name;        /* "gatepost-pop3d" */
    const char *busy;        /* reply to a connection over the limit, with CRLF */
    const char *remote_busy; /* the same where Remote Mail is spoken; NULL: never */
    void (*session)(struct worker_session *session); /* returns when the session has ended */
    /* What is done before the first connection is accepted, and when a session was killed, where
     * Remote Mail is spoken; NULL: nothing. */
    void (*remote_start)(const struct settings *settings);
};

/* The whole of main() behind argument parsing: child_start, bundle, accept loop. Returns the exit
 * code. */
int worker_run(const struct worker_program *program);

/* Reads at least one octet into `room`. Returns the count, 0 at end of file, -ETIMEDOUT, or -errno.
 */
long connection_read(struct connection *connection, void *room, size_t size);

/* Appends to the output; sends when much has gathered. 0 or -errno. connection_flush() sends all.
 */
int connection_write(struct connection *connection, struct span octets);
int connection_flush(struct connection *connection);

/* Are input octets waiting, in the kernel? (Replies are flushed only when the client waits for us:
 * pipelining.) */
bool connection_input_waiting(struct connection *connection);

/* users_check() under that limit, with a delay after failures (1 s, doubling, at most 8 s in one
 * session). */
int worker_check_password(struct worker_session *session, const char *user, struct span password);

#endif

/* A server behind the proxy: how it is reached, what it can do, whether it may be used.
 *
 * One struct for each [backend] that a listener uses, per worker. Its capabilities are learned by a
 * dialogue of our own, in clear and as for a client under TLS (an embedded worker offers different
 * logins then), before they are promised to anybody, anew after a failure, and again when they are
 * old. For SMTP the dialogue holds the relay test: a server that relays for a stranger is not
 * opened to mail unless `trusts_us` says so. */
#ifndef GATEPOST_PROXY_BACKEND_H
#define GATEPOST_PROXY_BACKEND_H

#include <sys/un.h>

#include "proxy/capabilities.h"
#include "proxy/stream.h"

#define BACKEND_RELEARN_MS 300000 /* a list this old is learned again beside its use (guessed) */

struct backend;
struct learn; /* a learning dialogue under way: backend.c */

/* Waits for a learning dialogue to end. Embedded in whoever waits; `done` is called once from the
 * loop. */
struct backend_waiter {
    struct backend_waiter *next, **link; /* link NULL: not waiting */
    void (*done)(struct backend_waiter *waiter,
                 int status); /* 0, or -errno: the server does not answer */
};

struct backend {
    struct stream_loop *loop;
    const struct settings_backend *settings; /* borrowed from the snapshot that made it */
    const char *hostname;
    enum port_protocol protocol;
    bool proxy_v2; /* the server is told who the client is by a PROXY header */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    struct {
        struct capabilities *list; /* NULL: not learned */
        uint64_t learned_ms;       /* uv_now() of then */
        struct learn *learning;    /* NULL: no dialogue is under way */
        struct backend_waiter *waiters;
        bool open_relay; /* the relay test says: it relays for anybody */
    } known[2];          /* [0] in clear, [1] under TLS */
    bool down;           /* the last attempt failed; logged when it changes */
};

/* `settings` has an address. 0, or -ENAMETOOLONG. */
int backend_init(struct backend *backend, struct stream_loop *loop, const struct settings *all,
                 const struct settings_backend *settings, enum port_protocol protocol);

/* Ends learning dialogues; waiters are not called. The streams close in the loop. */
void backend_deinit(struct backend *backend);

enum backend_learn_result {
    BACKEND_KNOWN = 1, /* known[tls].list is there */
    BACKEND_LEARNING,  /* waiter->done will be called */
};

/* Asks for what the server can do. `waiter` may be NULL. A backend_learn_result or -errno. */
int backend_learn(struct backend *backend, bool tls, struct backend_waiter *waiter);
void backend_stop_waiting(struct backend_waiter *waiter);

/* A session could not use the server: what was learned is forgotten, it must be learned (and
 * tested) before it is used again. `error` and `words` go into one log line for an outage. */
void backend_failed(struct backend *backend, int error, const char *words);
void backend_answered(struct backend *backend);

/* A session found that the server's list is another now: takes it (a reference) in the place of the
 * learned one. */
void backend_replace_list(struct backend *backend, bool tls, struct capabilities *list);

/* One of the two dialogues is enough: the other may have been refused for a reason of its own. */
static inline bool backend_open_relay(const struct backend *backend)
{
    return backend->known[false].open_relay || backend->known[true].open_relay;
}

/* Mail is refused: the relay test failed and the operator has not said `trusts_us`. */
static inline bool backend_shut(const struct backend *backend)
{
    return backend_open_relay(backend) && !backend->settings->trusts_us;
}

#endif

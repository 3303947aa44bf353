/* A [backend]: its addresses, what each can do, which of them serves a session.
 *
 * One struct for each [backend] that a listener uses, per worker; which addresses are in service is
 * shared by all workers (proxy/health.h). What an address can do is learned by a dialogue of our
 * own, in clear and as for a client under TLS (a server may offer different logins then), before it
 * is promised to anybody, anew after an outage, again when it is old, and from what each session
 * hears. What clients are offered is what all addresses in service can do. For SMTP the dialogue
 * holds the relay test: a server that relays for a stranger gets no mail unless `trusts_us` says
 * so. The dialogue is also the health check of an address that is out. */
#ifndef GATEPOST_PROXY_BACKEND_H
#define GATEPOST_PROXY_BACKEND_H

#include <sys/queue.h>

#include "proxy/address.h"
#include "proxy/capabilities.h"
#include "proxy/health.h"
#include "proxy/stream.h"

#define BACKEND_RELEARN_MS    300000 /* a list this old is learned again beside its use (guessed) */
#define BACKEND_ADDRESSES_MAX 64     /* slots of one backend: bits of a mask */

struct backend;
struct learn;      /* a learning dialogue under way: backend_learn.c */
struct tls_client; /* proxy/tls_client.h */
struct snapshot;

/* Waits for a learning dialogue, or for room at an address. Embedded in whoever waits; `done` is
 * called once from the loop. */
struct backend_waiter {
    TAILQ_ENTRY(backend_waiter) link;
    struct backend_waiters *in;                              /* NULL: not waiting */
    uint32_t ticket;                                         /* for a place: who came first */
    void (*done)(struct backend_waiter *waiter, int status); /* 0, or -errno: no server answers */
};
TAILQ_HEAD(backend_waiters, backend_waiter);

struct backend_address {
    struct backend *backend;
    unsigned number; /* in backend->addresses, and bit of a mask */
    struct address to;
    const char *host;      /* as configured, for the certificate; "" for a socket's path */
    struct health *health; /* shared */
    struct {
        struct capabilities *list; /* NULL: not learned */
        uint32_t generation;       /* of `health` when it was learned; another now: void */
        uint64_t learned_ms;       /* uv_now() of then */
        struct learn *learning;    /* NULL: no dialogue is under way */
        bool open_relay;           /* the relay test says: it relays for anybody */
    } known[2];                    /* [0] in clear, [1] under TLS */
    char *fault;                   /* why the last dialogue failed, in words; NULL: none has */
    struct backend_waiters queue;  /* of sessions, where max_connections is reached */
};

struct backend {
    struct stream_loop *loop; /* NULL: no listener uses it */
    const struct settings *all;
    const struct settings_backend *settings; /* borrowed from the snapshot that made it */
    enum port_protocol protocol;
    struct tls_client *tls; /* NULL: in clear; borrowed from the snapshot */
    void *owner;
    unsigned worker;
    bool tells_all; /* `hide` is left to whoever reads the lists: the probe */
    struct backend_address *addresses;
    size_t count;
    char **hosts; /* of the addresses' items; owned */
    struct backend_waiters waiters[2];
    struct {
        struct capabilities *list; /* what the addresses of `mask` can all do */
        uint64_t mask;             /* 0: to be made anew */
    } common[2];
    uint32_t turn;
    uint64_t lack_told_ms; /* when the log was told of what we lack; 0: never */
    uv_timer_t timer;      /* runs while an address is out, or somebody queues */
    bool timer_open;
    unsigned users; /* the timer, and each dialogue that has handles */
    void (*gone)(struct backend *backend);
};

struct backend_start {
    struct stream_loop *loop;
    const struct snapshot *snapshot;
    const struct settings_backend *settings;
    enum port_protocol protocol;
    struct health *health; /* HEALTH_SLOTS that all workers share */
    unsigned worker;
    bool tells_all;
    void *owner;
};

/* 0, -ENAMETOOLONG or -ENOMEM. Nothing is connected yet. */
int backend_init(struct backend *backend, const struct backend_start *start);

/* Ends learning dialogues; waiters are not called. True: `gone` (may be NULL) is called from the
 * loop when the memory may go; false: it may go now. */
bool backend_deinit(struct backend *backend, void (*gone)(struct backend *backend));

/* What a name resolves to now. `address` may be an empty one. */
void backend_set_address(struct backend *backend, size_t number, const struct address *address);

/* --- what it can do --- */

/* What every address in service can do, for a client with or without TLS; borrowed until the next
 * event. NULL: nothing is known of any. */
struct capabilities *backend_offer(struct backend *backend, bool tls);

enum backend_learn_result {
    BACKEND_KNOWN = 1, /* backend_offer() is there */
    BACKEND_LEARNING,  /* waiter->done will be called */
};

/* Asks for what the servers can do; those that are out are tried now where nobody else is left.
 * `waiter` may be NULL. A backend_learn_result or -errno. */
int backend_learn(struct backend *backend, bool tls, struct backend_waiter *waiter);
void backend_stop_waiting(struct backend_waiter *waiter);

/* Mail is refused: each address in service failed the relay test, and the operator has not said
 * `trusts_us`. */
bool backend_shut(const struct backend *backend);

/* For the operator: the settings that end it, of ours or of the server's. */
#define BACKEND_SHUT_CURE                                                                          \
    "tell the server who the client is (identity = proxy-v2 or xclient), or let the service that " \
    "we reach relay for nobody's address: Postfix by -o mynetworks= there, Exim by an empty "      \
    "relay_from_hosts, OpenSMTPD without 'from local' (the default) in its rules that relay"

/* --- for one session --- */

/* The address to try next: in service, not in the mask `tried`, and rather one that can do what was
 * offered (may be NULL). `key` is for the hash policies, `turn` for round-robin. NULL: none is
 * left. */
struct backend_address *backend_choose(struct backend *backend, bool tls,
                                       const struct capabilities *offered, uint64_t key,
                                       uint32_t turn, uint64_t tried);

/* Takes one of max_connections: 0; or 1: all are taken, `waiter` queues, and has one when `done` is
 * called with 0; with -errno: the address is out of service. Served in the order in which they came
 * to any worker. What was taken is given back by
 * backend_give() once the connection is closed. Learning dialogues take places too. */
int backend_take(struct backend_address *address, struct backend_waiter *waiter);
void backend_give(struct backend_address *address);

/* Initialises a stream of the address's kind. 0 or -errno. */
int backend_stream_init(const struct backend_address *address, struct stream *stream,
                        const struct stream_events *events, void *owner);

/* Is it a UNIX socket? Then `request` is not used below, and `done` is not called. */
static inline bool backend_is_local(const struct backend_address *address)
{
    return address->to.to.any.sa_family == AF_UNIX;
}

enum backend_connect_result { BACKEND_CONNECTED = 1 };

/* Begins to connect it. `request` stays until `done` is called, also after the stream was closed.
 * 0; BACKEND_CONNECTED at once, for a UNIX socket; or -errno: `done` will not be called, and
 * -EAGAIN means that the backlog is full. */
int backend_connect(const struct backend_address *address, struct stream *stream,
                    uv_connect_t *request, uv_connect_cb done);

/* The name that the server's certificate must have; "" where none is known. */
const char *backend_server_name(const struct backend_address *address);

/* An attempt that began at `began_ms` (uv_now) could not use the address: it is out of service, and
 * must be learned (and tested) before it is used again. `error` (0: none) and `words` go into the
 * one log line of the outage. */
void backend_failed(struct backend_address *address, uint64_t began_ms, int error,
                    const char *words);

/* Is it what we lack ourselves (descriptors, memory), or a backlog that is full? It says nothing of
 * the server: backend_failed() then leaves the address in service, and names what we lack in the
 * log, once in a while. */
bool backend_fault_is_ours(int error);

/* It has served a session, or a dialogue, that began when `generation` was that of the address: in
 * service again, where it was out then. What began before an outage says nothing of its end. */
uint32_t backend_generation(const struct backend_address *address);
void backend_answered(struct backend_address *address, uint32_t generation);

/* It may not be what it was: it is learned anew beside its use. */
void backend_suspect(struct backend_address *address);

/* A session has heard what the server can do; taken where it differs from what was learned. Where
 * nothing was, the server has not been tested either: it is asked. */
void backend_heard(struct backend_address *address, bool tls, struct capabilities *list);

/* --- backend_learn.c --- */

/* Begins the dialogue where none is under way. 0 or -errno. */
int backend_learn_start(struct backend_address *address, bool tls);
void backend_learn_stop(struct backend_address *address, bool tls);

/* For backend_learn.c: the last handle of a dialogue is closed. */
void backend_release(struct backend *backend);

/* For backend_learn.c: a dialogue has ended. `generation` is that of the address's health when it
 * began; `list` is borrowed, and NULL for an opaque server. */
struct backend_lesson {
    struct capabilities *list;
    uint32_t generation;
    bool open_relay;
};
void backend_learned(struct backend_address *address, bool tls,
                     const struct backend_lesson *lesson);
void backend_learn_failed(struct backend_address *address, bool tls, uint64_t began_ms, int error,
                          const char *words);

#endif

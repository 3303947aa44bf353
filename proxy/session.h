/* One client and, once it is needed, its connection to a backend: the one place that joins streams,
 * dialogue, inspectors and backends.
 *
 *   session.c          life: accept, streams' events, timers, the end and its log line
 *   session_table.c    [state][event] -> handler; every cell has an answer
 *   session_begin.c    PROXY, DETECT: who the client is, which kind of TLS
 *   session_front.c    NEGOTIATE, LEARN, HANDSHAKE: until a backend is needed
 *   session_route.c    which server, and what all of them can do
 *   session_connect.c  CONNECT: identity, banner, replay
 *   session_kick.c     the operator ends it
 *   session_log.c      what the log hears of it
 *   relay.c            RELAY: both directions through the inspectors, or as they are
 *
 * Handlers may end the session; after session_finish() and session_abort() the caller only returns.
 * The memory goes when all handles have closed. */
#ifndef GATEPOST_PROXY_SESSION_H
#define GATEPOST_PROXY_SESSION_H

#include <sys/socket.h>

#include "proxy/backend.h"
#include "proxy/greet.h"
#include "proxy/hints.h"
#include "proxy/inspector.h"
#include "proxy/negotiate.h"
#include "proxy/proxy_header.h"
#include "proxy/snapshot.h"
#include "proxy/stream.h"

enum session_state {
    ST_PROXY,     /* a trusted balancer must say by a PROXY header who its client is */
    ST_DETECT,    /* waits for a first octet, or for detect_wait to pass */
    ST_NEGOTIATE, /* we answer the client by ourselves */
    ST_LEARN,     /* the client's line waits until the server's capabilities are known */
    ST_HANDSHAKE,
    ST_CONNECT, /* the client's line waits until the backend has greeted us */
    ST_RELAY,
    ST_DRAIN,  /* the last words are on their way to the client */
    ST_CLOSED, /* handles are closing */
    ST_COUNT
};

enum session_event {
    EV_CLIENT_DATA,
    EV_CLIENT_END,  /* FIN in plain, close_notify under TLS */
    EV_CLIENT_GONE, /* truncated, reset, TLS error */
    EV_CLIENT_DRAINED,
    EV_TLS_READY,
    EV_TLS_FAILED,
    EV_LEARNED,     /* s->status: 0 or -errno */
    EV_BACKEND_UP,  /* connected; s->status: 0 or -errno */
    EV_BACKEND_TLS, /* TLS to the backend is up, or failed; s->status */
    EV_BACKEND_DATA,
    EV_BACKEND_END,
    EV_BACKEND_DRAINED,
    EV_TIMEOUT,
    EV_SHUTDOWN,
    EV_COUNT
};

struct server;
struct listener;

struct session {
    struct server *server;
    struct session *next, **link; /* the server's list */
    struct snapshot *snapshot;
    const struct dialogue_rule *rule;
    const struct settings_listen *listen;
    struct service *service; /* the one that it began with */
    struct service_port *port;
    struct backend *target; /* NULL: none is configured */
    struct origin *origin;  /* who the client is, said by a trusted balancer; NULL: the peer is the
                               client; on the heap */

    struct stream client, backend;
    uv_timer_t timer;
    uv_connect_t *connecting;  /* NULL: none under way */
    unsigned handles;          /* still open */
    uint64_t deadline_ms;      /* loop time; the timer may be armed earlier */
    uint64_t line_deadline_ms; /* for an unfinished line; 0: none */

    struct negotiate negotiate;
    struct line line;
    struct inspector inspector;
    struct backend_address *address; /* the one that serves, or was tried last; NULL: none yet */
    struct backend_address *leaving; /* the place there is given back when the stream has closed */
    struct attempt *attempt;         /* in CONNECT only */
    struct backend_waiter waiter;
    struct chunk_queue held; /* client octets that may not go on yet */
    size_t behind;           /* octets that were held and come behind those that are looked at */
    unsigned char
        *pending; /* the client's line that waits in LEARN and CONNECT, with CRLF; on the heap */
    size_t pending_size;
    struct capabilities *offered; /* what `negotiate.learned` points at: a reference of our own */

    struct span octets;  /* of the event under way */
    int status;          /* of the event under way */
    enum stream_end how; /* of the event under way */

    uint8_t state;
    bool backend_open;    /* the backend stream has handles */
    bool backend_greeted; /* an APOP server's banner was passed on */
    bool relaying_secret; /* buffers are wiped while this holds */
    bool client_ended;    /* the client's clean end came while replies are outstanding */
    bool backend_ended;   /* opaque: the backend's end was passed on */
    bool heard_client;    /* octets came after our greeting, or before it */
    bool tls_by_command;  /* STARTTLS or STLS, not TLS first */
    bool tls_up;          /* the handshake has succeeded ... */
    bool tls_failed;      /* ... or failed: `status` says how */
    bool login_in_clear;  /* the inspector refused a login for want of TLS */
    bool shutting_down;
    bool asked;         /* the pending line has waited for what the servers can do */
    uint8_t learn_next; /* number of the listener's backend that is learned next */
    bool admitted;      /* holds one of the address's max_connections */
    bool kicked;        /* the operator has ended it; only a whole message is still waited for */

    /* For the log */
    char id[24];
    char peer[56];
    uint64_t hint; /* key in the table of hints; 0: this listener keeps none */
    uint64_t started_ms;
    const char *verdict; /* why it ended, in words; static; NULL: the client's own end */
    char *login;         /* once the backend is gone; NULL: nobody has logged in */
    uint16_t logins_failed;
};

/* CONNECT: one address after the other, until one welcomes us. */
struct attempt {
    struct greet greet;
    struct sockaddr_storage client, destination; /* where XCLIENT or a hash policy wants them */
    uint64_t key;                                /* for the hash policies */
    uint32_t turn;                               /* for round-robin */
    uint64_t tried;                              /* mask of addresses */
    uint64_t began_ms, deadline_ms;
    uint32_t generation;    /* of the address's health when it began */
    unsigned char *refusal; /* what the last server said instead of a welcome; NULL: nothing */
    size_t refusal_size;
    uint8_t retries; /* while the backlog is full */
    bool busy;       /* the last address was busy until its time was over ... */
    bool garbage;    /* ... or sent what is no reply */
    bool lacking;    /* ... or was not reached for what we lack ourselves */
};

struct session_cell {
    void (*handle)(struct session *session);
};

/* Runs the handler of the session's state for one event. */
void session_event(struct session *session, enum session_event event);

/* A session on a connection that was accepted from `listener`. `fd` is taken over, also on failure;
 * it does not block. */
void session_accept(struct server *server, struct listener *listener, int fd,
                    const struct sockaddr_storage *peer);

/* --- for the handlers --- */
void session_move(struct session *session, enum session_state state);

/* The deadline for what is awaited now; replaces the former one. */
void session_deadline(struct session *session, uint64_t ms);

/* Flushes the client, says close_notify and FIN, closes the backend. `verdict` is for the log,
 * NULL: an ordinary end. */
void session_finish(struct session *session, const char *verdict);

/* Closes both sides at once. With `reset` the client sees RST. */
void session_abort(struct session *session, bool reset, const char *verdict);

/* Sends to the client. False: the session has ended. */
bool session_reply(struct session *session, struct span octets);
bool session_reply_event(struct session *session, enum negotiate_event event);

/* An empty text over room that the loop lends for one reply. */
struct text session_text(struct session *session);

/* Keeps client octets for later (P8: at most one read). False: the session has ended. */
bool session_hold(struct session *session, struct span octets);
void session_close_backend(struct session *session);

/* Only the connection, and its place at the address; what waits for a backend goes on waiting.
 * `reset`: as for stream_close(). */
void session_close_stream(struct session *session, bool reset);

/* Only the connection: another follows to the same address. */
void session_close_connection(struct session *session, bool reset);

/* session_kick.c */
enum session_kick {
    SESSION_GONE,         /* it had ended already */
    SESSION_KICKED,       /* it is over */
    SESSION_KICKED_LATER, /* a message was received whole: the server's word on it is waited for */
};
enum session_kick session_kick(struct session *session);

extern const struct stream_events session_backend_events;

/* Re-derives which sides are read, after every event. */
void session_update(struct session *session);

/* The client's address is known, or known better: for the log and the hints. */
void session_know_client(struct session *session, const struct sockaddr_storage *client);

/* session_begin.c */
void front_start(struct session *session);
void front_proxy_data(struct session *session);
void front_proxy_end(struct session *session);
void front_proxy_timeout(struct session *session);
void front_detect_data(struct session *session);
void front_detect_timeout(struct session *session);

/* Which kind of TLS is known: what comes next on this port? */
void front_leave_detect(struct session *session);

/* session_front.c */
void front_greet(struct session *session);
void front_data(struct session *session);

/* `first`: octets of the ClientHello that have come already. */
void front_begin_handshake(struct session *session, struct span first);
void front_tls_ready(struct session *session);
void front_tls_failed(struct session *session);
void front_learned(struct session *session);
void front_start_tls(struct session *session, struct span reply, struct span behind);
void front_timeout(struct session *session);

/* Is TLS first served here? And words for a client that speaks it where it is not. */
bool front_tls_possible(const struct session *session);
const char *front_tls_is_off(const struct session *session);

/* Seconds, for the table of hints. */
uint64_t front_now_s(const struct session *session);

/* session_route.c */
/* The backend of a user (empty: nobody logs in); NULL: it cannot be told now. */
struct backend *route_target(const struct session *session, struct span user);

/* What a client may be offered before its server is known: a new reference. NULL: nothing was
 * learned, or no memory. */
struct capabilities *route_offer(const struct session *session);

/* Was the target learned? */
bool route_known(const struct session *session);

/* Learns what is not known of the listener's backends, one behind the other: BACKEND_LEARNING
 * (EV_LEARNED comes, then call again), or BACKEND_KNOWN (each was asked). */
int route_learn(struct session *session, bool first);

/* Who logs in, for a policy that hashes it: valid in CONNECT. Empty: nobody. */
struct span session_login_name(const struct session *session);

/* session_connect.c */
void connect_start(struct session *session);
void connect_up(struct session *session);
void connect_data(struct session *session);
void connect_end(struct session *session);
void connect_timeout(struct session *session);
void connect_tls(struct session *session);
void connect_room(struct session *session);
void connect_free(struct session *session);

/* relay.c */
void relay_start(struct session *session);
void relay_client_data(struct session *session);
void relay_backend_data(struct session *session);
void relay_client_end(struct session *session);
void relay_client_gone(struct session *session);
void relay_backend_end(struct session *session);
void relay_timeout(struct session *session);
void relay_shutdown(struct session *session);
void relay_resume(struct session *session);
void relay_drained(struct session *session);

#endif

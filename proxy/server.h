/* A proxy worker: one loop, the listeners that it shares with the other workers, its sessions, and
 * the channel to the supervisor. */
#ifndef GATEPOST_PROXY_SERVER_H
#define GATEPOST_PROXY_SERVER_H

#include "proxy/accept.h"
#include "proxy/base/child.h"
#include "proxy/ebb.h"
#include "proxy/hints.h"
#include "proxy/limits.h"
#include "proxy/listener.h"
#include "proxy/service.h"
#include "proxy/stats.h"

struct session;

struct server {
    const struct child *child;
    uv_loop_t *uv;
    struct stream_loop loop;
    struct ticket_keys keys;
    struct service *service;       /* what new sessions get */
    LIST_HEAD(, service) services; /* that, and those that running sessions began with */
    struct listener_list listeners;
    struct accept_state accept;
    struct session *sessions;
    size_t session_count, session_limit;
    uint32_t session_number;
    int64_t started_s;
    struct limits tls_rate;
    struct health *health;            /* HEALTH_SLOTS of them; shared by all workers */
    hints_entry *hints;               /* shared by all workers; NULL: none */
    const unsigned char *hint_secret; /* HINTS_SECRET octets in the shared memory */
    struct stats *stats;              /* this worker's block ... */
    const struct stats *workers;      /* ... of these STATS_WORKERS_MAX */
    unsigned long lost_log_lines;     /* that are counted there */
    uv_poll_t control;
    uv_timer_t drain_timer;
    struct ebb ebb; /* of session_count */
    uv_timer_t ebb_timer;
    uint32_t drain_ms;
    bool has_addresses; /* the first CHILD_ADDRESSES has come */
    bool reloading;     /* a new configuration is being made; the control channel waits */
    bool deaf; /* a reload has failed: routes and addresses are of a configuration that it lacks */
    bool retired;  /* nobody new is let in; it ends with the last session, whenever that is */
    int log_level; /* of the settings, when it was looked at last; -1: never */
    bool draining, stopped;
    char reply_room[DIALOGUE_REPLY_MAX];
};

/* The whole life of a worker process behind child_start(): returns its exit code. */
int server_run(const struct child *child);

/* Size of the memory that all workers share: counters, health of the addresses, the secret of the
 * hints, the hints. */
size_t server_shared_bytes(void);

/* For the supervisor, once: fills what is not zero in a fresh memfd of that size. 0, or -errno
 * (errno is set too). */
int server_shared_init(int fd);

/* For the supervisor: the HEALTH_SLOTS healths in it, mapped for good. NULL: errno
 * is set. */
struct health *server_shared_health(int fd);

/* The same for the counters: STATS_WORKERS_MAX of them. */
struct stats *server_shared_stats(int fd);

/* CHILD_RELOAD, with its descriptors: server_reload.c. What it keeps is taken off *fds. */
void server_reload(struct server *server, struct span message, struct child_fds *fds);

/* A service that sessions may get: the supervisor is told when older ones have ended. */
void server_adopt(struct server *server, struct service *service, uint32_t number);

/* Behind a reload: reads what has been said meanwhile, and listens again. */
void server_hear(struct server *server);

/* What the settings of server->service say about the worker as a whole. */
void server_apply_limits(struct server *server);

/* For sessions: one has ended; a connection that waits may be accepted now. */
void server_session_gone(struct server *server);

#endif

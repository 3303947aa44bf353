/* The life of a proxy worker: built from the bundle, serves until it is told to drain, ends when no
 * session is left.
 *
 * Happy path: snapshot, listeners, READY, loop; DRAIN (or the end of the control channel) closes
 * the listeners and asks every session to end between commands; the last one out says DRAINED.
 * Fails only at start: exit code 1, and the supervisor tries again. */
#include "proxy/server.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "proxy/accept.h"
#include "proxy/allocations.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/listener.h"
#include "proxy/session.h"
#include "proxy/worker_report.h"

#define DESCRIPTORS_SPARE                                                                          \
    64 /* log, control, epoll, learning dialogues, listeners above the first few */
#define EBB_WAIT_MS 5000 /* guessed: a wave of clients that comes again has come */

/* Layout of the shared memory: counters of each worker, the health of each address, the secret of
 * the hints, the hints. */
struct shared {
    struct stats stats[STATS_WORKERS_MAX];
    struct health health[HEALTH_SLOTS];
    unsigned char hint_secret[HINTS_SECRET];
    hints_entry hints[HINTS_ENTRIES];
};

size_t server_shared_bytes(void)
{
    return sizeof(struct shared);
}

int server_shared_init(int fd)
{
    unsigned char secret[HINTS_SECRET];

    if (getrandom(secret, sizeof(secret), 0) != sizeof(secret) ||
        pwrite(fd, secret, sizeof(secret), offsetof(struct shared, hint_secret)) != sizeof(secret))
        return -errno;
    return 0;
}

static struct shared *map(int fd)
{
    struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    return shared == MAP_FAILED ? NULL : shared;
}

struct health *server_shared_health(int fd)
{
    struct shared *shared = map(fd);

    return shared ? shared->health : NULL;
}

struct stats *server_shared_stats(int fd)
{
    struct shared *shared = map(fd);

    return shared ? shared->stats : NULL;
}

static int map_shared(struct server *server)
{
    struct shared *shared = map(server->child->shared_fd);

    if (!shared)
        return -errno;
    server->workers = shared->stats;
    server->stats = &shared->stats[server->child->hello.index % STATS_WORKERS_MAX];
    allocations_count_in(server->stats);
    server->health = shared->health;
    server->hints = shared->hints;
    server->hint_secret = shared->hint_secret;
    return 0;
}

static void stop_if_done(struct server *server)
{
    if ((!server->draining && !server->retired) || server->session_count > 0 || server->stopped)
        return;
    server->stopped = true;
    child_send(server->child, CHILD_DRAINED);
    uv_stop(server->uv);
}

/* What OpenSSL, libuv and we have freed. The next sessions may be on their way meanwhile. */
static void give_memory_back(uv_timer_t *timer)
{
    struct server *server = timer->data;

    if (!ebb_is_low(&server->ebb, server->session_count))
        return;
    malloc_trim(0);
    ebb_given_back(&server->ebb, server->session_count);
}

void server_session_gone(struct server *server)
{
    server->session_count--;
    if (ebb_one_ended(&server->ebb, server->session_count) &&
        !uv_is_active((uv_handle_t *)&server->ebb_timer))
        uv_timer_start(&server->ebb_timer, give_memory_back, EBB_WAIT_MS, 0);
    if (!server->draining && !server->retired)
        accept_resume(server);
    stop_if_done(server);
}

static int open_listeners(struct server *server, const struct bundle *bundle)
{
    for (size_t i = 0; i < server->child->hello.listener_count; i++) {
        struct listener *listener;
        struct service_port *port;
        struct span entry, name;
        int r = -EPROTO;

        if (bundle_find(bundle, "listener", i, &entry)) {
            name = span_take_word(&entry);
            port = service_port(server->service, name);
            r = port && port->backend
                    ? listener_open(server, port, entry, server->child->listeners[i], &listener)
                    : -ENOENT;
        }
        if (r < 0) {
            log_line(LOG_LEVEL_ERROR, "listener %zu cannot be opened: %s", i, err_text(r));
            return r;
        }
    }
    return 0;
}

static void set_session_limit(struct server *server)
{
    struct rlimit limit;
    size_t wanted = server->service->snapshot->settings->limits.max_sessions;
    size_t spare = DESCRIPTORS_SPARE;
    struct listener *listener;

    LIST_FOREACH(listener, &server->listeners, link)
    spare += 2; /* a reload sends them once more */

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        limit.rlim_cur = 1024;
    server->session_limit = limit.rlim_cur > 2 * spare ? (limit.rlim_cur - spare) / 2 : 8;
    if (wanted > 0 && wanted < server->session_limit)
        server->session_limit = wanted;
}

void server_apply_limits(struct server *server)
{
    const struct settings *settings = server->service->snapshot->settings;

    if (settings->gatepost.log_level != server->log_level) /* else the operator's word holds */
        log_set_level((enum log_level)settings->gatepost.log_level);
    server->log_level = settings->gatepost.log_level;
    limits_init(&server->tls_rate, settings->limits.tls_rate, uv_now(server->uv));
    server->drain_ms = settings->gatepost.drain_timeout_ms;
    set_session_limit(server);
    accept_resume(server);
}

/* The number of the oldest configuration that is in use has changed, or may have. */
static void service_ended(void *owner, struct service *service)
{
    struct server *server = owner;
    struct child_oldest message = { CHILD_OLDEST, UINT32_MAX };
    struct service *other;

    LIST_REMOVE(service, link);
    LIST_FOREACH(other, &server->services, link)
    if (other->number < message.number)
        message.number = other->number;
    if (!LIST_EMPTY(&server->services))
        child_send_message(server->child, &message, sizeof(message));
}

void server_adopt(struct server *server, struct service *service, uint32_t number)
{
    service->number = number;
    service->ended = service_ended;
    service->owner = server;
    LIST_INSERT_HEAD(&server->services, service, link);
}

static void end_sessions(uv_timer_t *timer)
{
    struct server *server = timer->data;
    struct session *next;

    for (struct session *session = server->sessions; session; session = next) {
        next = session->next;
        session_abort(session, false, "drain_timeout has passed");
    }
}

static void close_listeners(struct server *server)
{
    while (!LIST_EMPTY(&server->listeners))
        listener_close(LIST_FIRST(&server->listeners));
    accept_end(server);
}

static void retire(struct server *server)
{
    if (server->retired || server->draining)
        return;
    server->retired = true;
    close_listeners(server);
    child_send(server->child, CHILD_RETIRED);
    stop_if_done(server);
}

static void drain(struct server *server)
{
    struct session *next;

    if (server->draining)
        return;
    server->draining = true;
    close_listeners(server);
    for (struct session *session = server->sessions; session; session = next) {
        next = session->next;
        session_event(session, EV_SHUTDOWN);
    }
    uv_timer_start(&server->drain_timer, end_sessions, server->drain_ms, 0);
    stop_if_done(server);
}

static void take_log_level(struct span message)
{
    struct child_log_level about;

    if (message.size != sizeof(about))
        return;
    memcpy(&about, message.data, sizeof(about));
    log_set_level((enum log_level)about.level);
}

/* Takes one message. False: there is none now, or the channel has ended (*ret_gone). */
static bool take_message(struct server *server, bool *ret_gone)
{
    unsigned char message[CHILD_MESSAGE_MAX];
    uint32_t type = 0;
    struct child_fds fds;
    long size = child_receive(server->child, message, &fds);

    *ret_gone = size != -EAGAIN && size < (long)sizeof(type);
    if (size < (long)sizeof(type)) {
        child_fds_close(&fds);
        return false;
    }
    memcpy(&type, message, sizeof(type));
    if (type == CHILD_KEYS && (size_t)size >= sizeof(type) + sizeof(server->keys))
        memcpy(&server->keys, message + size - sizeof(server->keys), sizeof(server->keys));
    else if (type == CHILD_ADDRESSES && !server->deaf)
        server->has_addresses =
            service_take_addresses(server->service, span_of(message, (size_t)size)) ||
            server->has_addresses;
    else if (type == CHILD_ROUTE && !server->deaf)
        service_take_route(server->service, span_of(message, (size_t)size),
                           fds.count == 1 ? fds.fds[0] : -1);
    else if (type == CHILD_REPORT)
        worker_report(server, span_of(message, (size_t)size), fds.count == 1 ? fds.fds[0] : -1);
    else if (type == CHILD_LOG_LEVEL)
        take_log_level(span_of(message, (size_t)size));
    else if (type == CHILD_RELOAD)
        server_reload(server, span_of(message, (size_t)size), &fds);
    else if (type == CHILD_PING)
        child_send(server->child, CHILD_ALIVE);
    else if (type == CHILD_RETIRE)
        retire(server);
    else if (type == CHILD_DRAIN)
        drain(server);
    child_fds_close(&fds);
    explicit_bzero(message, sizeof(message));
    return true;
}

static void on_control(uv_poll_t *handle, int status, int events)
{
    struct server *server = handle->data;
    bool gone;

    (void)status;
    (void)events;
    if (take_message(server, &gone) || !gone)
        return;
    uv_poll_stop(handle); /* the supervisor is gone */
    drain(server);
}

void server_hear(struct server *server)
{
    bool gone;

    uv_poll_start(&server->control, UV_READABLE, on_control); /* which sees the end, too */
    while (!server->reloading && take_message(server, &gone))
        ;
}

/* Right behind HELLO come the ticket keys, then what names stand for: nobody is served before they
 * are here. */
static void await_news(struct server *server)
{
    static const struct ticket_keys none;
    struct pollfd control = { .fd = server->child->control_fd, .events = POLLIN };
    bool gone = false;

    while (!gone && (memcmp(&server->keys, &none, sizeof(none)) == 0 || !server->has_addresses))
        if (poll(&control, 1, -1) > 0)
            take_message(server, &gone);
}

static int start(struct server *server)
{
    const struct settings *settings;
    struct snapshot *snapshot;
    struct bundle bundle;
    int r = bundle_read(server->child->bundle_fd, &bundle);

    if (r < 0)
        return r;
    r = snapshot_new(&bundle, &server->keys, &snapshot);
    if (r < 0)
        goto free_bundle;
    settings = snapshot->settings;
    r = map_shared(server);
    if (r == 0)
        r = stream_loop_init(&server->loop, server->uv, settings->limits.read_size_bytes);
    if (r < 0) {
        snapshot_unref(snapshot);
        goto free_bundle;
    }
    server->loop.stats = server->stats;
    r = service_new(snapshot, &server->loop, server->health, server->child->hello.index,
                    &server->service);
    if (r == 0) {
        server_adopt(server, server->service, server->child->hello.number);
        accept_init(server);
        r = open_listeners(server, &bundle);
    }
free_bundle:
    bundle_free(&bundle);
    return r;
}

static void close_any(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

/* Frees all, so that a leak checker sees what a session left behind. */
static void stop(struct server *server)
{
    service_unref(server->service);
    stream_loop_hurry(&server->loop); /* what learned from a server may just have ended */
    uv_run(server->uv, UV_RUN_NOWAIT);
    uv_run(server->uv, UV_RUN_NOWAIT);
    stream_loop_deinit(&server->loop);
    uv_walk(server->uv, close_any, NULL);
    uv_run(server->uv, UV_RUN_NOWAIT);
    uv_loop_close(server->uv);
}

int server_run(const struct child *child)
{
    static struct server server; /* 20 KiB of reply room: not for the stack */
    int r;

    server.child = child;
    server.uv = uv_default_loop();
    server.started_s = time(NULL);
    server.log_level = -1;
    r = start(&server);
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "cannot start: %s", err_text(r));
        return 1;
    }
    server_apply_limits(&server);
    uv_timer_init(server.uv, &server.drain_timer);
    uv_timer_init(server.uv, &server.ebb_timer);
    server.drain_timer.data = server.ebb_timer.data = server.control.data = &server;
    uv_poll_init(server.uv, &server.control, child->control_fd);
    uv_poll_start(&server.control, UV_READABLE, on_control);
    service_learn(server.service);
    log_line(LOG_LEVEL_INFO, "serves at most %zu sessions", server.session_limit);
    await_news(&server);
    child_send(child, CHILD_READY);
    uv_run(server.uv, UV_RUN_DEFAULT);
    stop(&server);
    return 0;
}

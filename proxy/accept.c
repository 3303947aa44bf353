/* Connections, from the listening socket to their session, or to the words that there is none.
 *
 * Happy path: a listener can be read from, and a connection gets a session. One is taken in a turn
 * of the loop, and twice as many as before where the next turn finds more: a lone connection costs
 * no second call, and a thousand do not hold up those that are served.
 *
 * Where all sessions are taken, the listener is not polled any more: other workers get the next
 * ones, and who waits gets the next session that ends. A timer looks every LOOK_MS whether somebody
 * waits still. Where no worker has had a free session for [limits] session_wait, all who wait are
 * refused. Fails where descriptors or memory lack: then it pauses, too, and tries again.
 */
#include "proxy/accept.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/server.h"
#include "proxy/session.h"

#define BATCH_MAX     64    /* connections in one turn of the loop; guessed */
#define LOOK_MS       100   /* a tenth of the default of session_wait */
#define LOOK_AGAIN_MS 10    /* while more are to be refused than one turn may */
#define LOG_PERIOD_MS 60000 /* one line about clients that wait */

enum accept_outcome { ACCEPT_DONE = 1, ACCEPT_NOBODY, ACCEPT_FULL };

static void look(uv_timer_t *timer);

static uint64_t now_ms(const struct listener *listener)
{
    return uv_now(listener->server->uv);
}

/* The other workers refuse nobody while one takes clients. */
static void tell_others(struct server *server, bool takes_clients)
{
    atomic_store_explicit(&server->stats->takes_clients, takes_clients, memory_order_relaxed);
}

static bool is_full(const struct server *server)
{
    return server->session_count >= server->session_limit;
}

/* A descriptor, or -errno; accept(2) also tells of errors of a connection that has gone already. */
static int take(const struct listener *listener, struct sockaddr_storage *peer)
{
    socklen_t size = sizeof(*peer);
    int fd = accept4(listener->fd, (struct sockaddr *)peer, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);

    return fd < 0 ? -errno : fd;
}

/* Why accept(2) gave nothing: ACCEPT_NOBODY waits, ACCEPT_DONE: that one has gone, or -errno: what
 * we lack, or what will not pass by itself. */
static int why_not(int error)
{
    switch (-error) {
    case EAGAIN:
        return ACCEPT_NOBODY;
    case EINTR:
    case ECONNABORTED:
    case ENETDOWN: /* and all these are told of the connection */
    case EPROTO:
    case ENOPROTOOPT:
    case EHOSTDOWN:
    case ENONET:
    case EHOSTUNREACH:
    case EOPNOTSUPP:
    case ENETUNREACH:
        return ACCEPT_DONE;
    default:
        return error;
    }
}

static int accept_one(struct listener *listener)
{
    struct server *server = listener->server;
    struct sockaddr_storage peer = { 0 };
    int fd;

    if (is_full(server))
        return ACCEPT_FULL;
    fd = take(listener, &peer);
    if (fd < 0)
        return why_not(fd);
    if (listener->paused) {
        stats_count(&server->stats->accept_waits);
        atomic_store_explicit(&server->stats->took_ms, now_ms(listener), memory_order_relaxed);
    }
    stats_count(&server->stats->sessions);
    session_accept(server, listener, fd, &peer);
    return ACCEPT_DONE;
}

/* Whom the listener's `from` does not name hears nothing in any case. */
static bool is_welcome(const struct listener *listener, const struct sockaddr_storage *peer)
{
    const struct snapshot *snapshot = listener->port->service->snapshot;
    const struct networks *from =
        &snapshot->from[listener->port->listen - snapshot->settings->listens];

    return from->count == 0 || network_contains(from->networks, from->count, peer);
}

static int refuse_one(struct listener *listener)
{
    struct server *server = listener->server;
    struct sockaddr_storage peer;
    int fd = take(listener, &peer);

    if (fd < 0)
        return why_not(fd);
    stats_count(&server->stats->accept_waits);
    stats_count(&server->stats->sessions_refused);
    if (!is_welcome(listener, &peer)) {
        close(fd);
        return ACCEPT_DONE;
    }
    server->accept.refused++;
    refusal_say(&server->accept.refusals, listener->port->rule, fd, now_ms(listener));
    return ACCEPT_DONE;
}

/* Until one says something else, at most `count` of them. The last outcome. */
static int each(struct listener *listener, unsigned count, int (*one)(struct listener *listener))
{
    int r = ACCEPT_DONE;

    while (r == ACCEPT_DONE && count-- > 0)
        r = one(listener);
    return r;
}

static bool may_log(struct server *server)
{
    uint64_t now = uv_now(server->uv);

    if (now < server->accept.next_log_ms)
        return false;
    server->accept.next_log_ms = now + LOG_PERIOD_MS;
    return true;
}

static void pause_listener(struct listener *listener, int why)
{
    struct server *server = listener->server;

    tell_others(server, false);
    if (why != ACCEPT_FULL && may_log(server))
        log_line(LOG_LEVEL_WARNING, "clients wait: none can be accepted: %s", err_text(why));
    listener->batch = 1;
    listener->paused = true;
    listener->paused_ms = now_ms(listener);
    uv_poll_stop(&listener->poll);
    if (!uv_is_active((uv_handle_t *)&server->accept.timer))
        uv_timer_start(&server->accept.timer, look, LOOK_MS, LOOK_MS);
}

static void on_connection(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    uint64_t turn = listener->server->accept.turn;
    int r;

    (void)events;
    if (status < 0) {
        log_line(LOG_LEVEL_ERROR, "listener %s: %s", listener->port->listen->name,
                 err_text(status));
        return;
    }
    listener->batch = turn > listener->turn + 1 ? 1 : listener->batch * 2;
    if (listener->batch > BATCH_MAX)
        listener->batch = BATCH_MAX;
    listener->turn = turn;
    r = each(listener, listener->batch, accept_one);
    if (r == ACCEPT_NOBODY)
        listener->batch = 1;
    else if (r != ACCEPT_DONE)
        pause_listener(listener, r);
}

int accept_watch(struct listener *listener)
{
    tell_others(listener->server, !is_full(listener->server));
    listener->paused = false;
    listener->batch = 1;
    return uv_poll_start(&listener->poll, UV_READABLE, on_connection);
}

static bool somebody_waits(const struct listener *listener)
{
    struct pollfd queue = { .fd = listener->fd, .events = POLLIN };

    return poll(&queue, 1, 0) == 1;
}

/* Gives free sessions to those who wait at a paused listener. */
static void go_on(struct listener *listener)
{
    int r = each(listener, BATCH_MAX, accept_one);

    listener->turn = listener->server->accept.turn;
    if (r == ACCEPT_DONE || r == ACCEPT_NOBODY || !somebody_waits(listener))
        accept_watch(listener);
}

/* The one that was looked at least lately, so that no port gets all the sessions; NULL: none. */
static struct listener *find_paused(const struct server *server)
{
    struct listener *listener, *found = NULL;

    LIST_FOREACH(listener, &server->listeners, link)
    if (listener->paused && (!found || listener->turn < found->turn))
        found = listener;
    return found;
}

void accept_resume(struct server *server)
{
    struct listener *listener;

    if (is_full(server))
        return;
    do {
        listener = find_paused(server);
        if (listener)
            go_on(listener);
    } while (listener && !listener->paused && !is_full(server));
    tell_others(server, !is_full(server));
}

/* --- those for whom there is none --- */

static bool others_take_clients(const struct server *server)
{
    for (size_t i = 0; i < STATS_WORKERS_MAX; i++)
        if (&server->workers[i] != server->stats &&
            atomic_load_explicit(&server->workers[i].takes_clients, memory_order_relaxed))
            return true;
    return false;
}

/* When one who had waited got a session last, of any worker: uv_now() is the same clock in all. */
static uint64_t last_taken_ms(const struct server *server)
{
    uint64_t last = 0;

    for (size_t i = 0; i < STATS_WORKERS_MAX; i++) {
        uint64_t took = atomic_load_explicit(&server->workers[i].took_ms, memory_order_relaxed);

        last = took > last ? took : last;
    }
    return last;
}

static bool is_time_to_refuse(const struct listener *listener)
{
    const struct settings *settings = listener->port->service->snapshot->settings;
    uint64_t since = last_taken_ms(listener->server);

    if (since < listener->paused_ms)
        since = listener->paused_ms;
    return is_full(listener->server) &&
           now_ms(listener) >= since + settings->limits.session_wait_ms &&
           !others_take_clients(listener->server);
}

/* True: there are more. */
static bool refuse(struct listener *listener)
{
    int r = each(listener, BATCH_MAX, refuse_one);

    if (r == ACCEPT_NOBODY)
        accept_watch(listener);
    return r == ACCEPT_DONE;
}

static void tell_refused(struct server *server)
{
    if (server->accept.refused == 0)
        return;
    log_line(LOG_LEVEL_WARNING,
             "all %zu sessions are taken, and none became free within session_wait: %llu clients "
             "were refused since this was told last",
             server->session_limit, (unsigned long long)server->accept.refused);
    server->accept.refused = 0;
}

static bool look_at(struct listener *listener)
{
    if (!listener->paused)
        return false;
    if (!is_full(listener->server)) /* something else lacked */
        go_on(listener);
    else if (!somebody_waits(listener))
        accept_watch(listener);
    else if (is_time_to_refuse(listener))
        return refuse(listener);
    return false;
}

static void look(uv_timer_t *timer)
{
    struct server *server = timer->data;
    struct listener *listener;
    bool more = false, waiting = false;

    refusals_tick(&server->accept.refusals, uv_now(server->uv));
    LIST_FOREACH(listener, &server->listeners, link)
    {
        more |= look_at(listener);
        waiting |= listener->paused;
    }
    if (server->accept.refused > 0 && may_log(server))
        tell_refused(server);
    if (more)
        uv_timer_start(timer, look, LOOK_AGAIN_MS, LOOK_MS);
    else if (!waiting && server->accept.refusals.count == 0 && server->accept.refused == 0)
        uv_timer_stop(timer);
}

static void count_turn(uv_prepare_t *turns)
{
    struct server *server = turns->data;

    server->accept.turn++;
}

void accept_init(struct server *server)
{
    uv_timer_init(server->uv, &server->accept.timer); /* none of these can fail */
    uv_prepare_init(server->uv, &server->accept.turns);
    server->accept.timer.data = server->accept.turns.data = server;
    uv_prepare_start(&server->accept.turns, count_turn);
    tell_others(server, true);
}

void accept_end(struct server *server)
{
    tell_others(server, false);
    tell_refused(server);
    refusals_close(&server->accept.refusals);
}

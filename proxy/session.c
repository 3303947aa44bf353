/* The life of a session: accepted, moved by the events of its streams and its timer, ended with one
 * line in the log.
 *
 * Happy path: (PROXY,) DETECT, NEGOTIATE, (HANDSHAKE, NEGOTIATE,) CONNECT, RELAY, DRAIN, CLOSED.
 * Every failure ends in session_finish(), which still says its last words, or in session_abort(),
 * which does not. */
#include "proxy/session.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/proxy_v2.h"
#include "proxy/server.h"
#include "proxy/session_log.h"

static void client_data(struct stream *stream, struct span octets)
{
    struct session *session = stream->owner;

    session->octets = octets;
    session_event(session, EV_CLIENT_DATA);
}

static void client_end(struct stream *stream, enum stream_end how, int error)
{
    struct session *session = stream->owner;

    session->how = how;
    session->status = error;
    session_event(session, how == STREAM_END_CLEAN ? EV_CLIENT_END : EV_CLIENT_GONE);
}

static void client_drained(struct stream *stream)
{
    session_event(stream->owner, EV_CLIENT_DRAINED);
}

static void client_tls(struct stream *stream, int status)
{
    struct session *session = stream->owner;

    session->status = status;
    session_event(session, status == 0 ? EV_TLS_READY : EV_TLS_FAILED);
}

static void backend_data(struct stream *stream, struct span octets)
{
    struct session *session = stream->owner;

    session->octets = octets;
    session_event(session, EV_BACKEND_DATA);
}

static void backend_end(struct stream *stream, enum stream_end how, int error)
{
    struct session *session = stream->owner;

    session->how = how;
    session->status = error;
    session_event(session, EV_BACKEND_END);
}

static void backend_drained(struct stream *stream)
{
    session_event(stream->owner, EV_BACKEND_DRAINED);
}

static void backend_tls(struct stream *stream, int status)
{
    struct session *session = stream->owner;

    session->status = status;
    session_event(session, EV_BACKEND_TLS);
}

static const struct stream_events client_events = { client_data, client_end, client_drained,
                                                    client_tls };
const struct stream_events session_backend_events = { backend_data, backend_end, backend_drained,
                                                      backend_tls };

static void on_timer(uv_timer_t *timer)
{
    struct session *session = timer->data;
    uint64_t now = uv_now(timer->loop);

    if (session->deadline_ms > now)
        uv_timer_start(timer, on_timer, session->deadline_ms - now, 0);
    else
        session_event(session, EV_TIMEOUT);
}

/* Most deadlines are replaced long before they pass: the timer is armed anew only when it would
 * fire too late. */
void session_deadline(struct session *session, uint64_t ms)
{
    uint64_t now = uv_now(session->server->uv);

    session->deadline_ms = now + ms;
    if (!uv_is_active((uv_handle_t *)&session->timer) || uv_timer_get_due_in(&session->timer) > ms)
        uv_timer_start(&session->timer, on_timer, ms, 0);
}

void session_move(struct session *session, enum session_state state)
{
    session->state = (uint8_t)state;
}

static void free_session(struct session *session)
{
    struct server *server = session->server;

    *session->link = session->next;
    if (session->next)
        session->next->link = session->link;
    service_unref(session->service);
    free(session->login);
    free(session->origin);
    free(session);
    server_session_gone(server);
}

static void handle_gone(struct session *session)
{
    if (--session->handles == 0)
        free_session(session);
}

static void stream_gone(struct stream *stream)
{
    handle_gone(stream->owner);
}

static void timer_gone(uv_handle_t *timer)
{
    handle_gone(timer->data);
}

/* The server has one connection less only now: a TCP stream lingers after its close. */
static void backend_gone(struct stream *stream)
{
    struct session *session = stream->owner;
    struct backend_address *address = session->leaving;

    session->leaving = NULL;
    if (address)
        backend_give(address);
    handle_gone(session); /* the last: its service, and with it the address, may go */
}

static void drop_pending(struct session *session)
{
    if (session->pending)
        explicit_bzero(session->pending, session->pending_size);
    free(session->pending);
    session->pending = NULL;
    session->pending_size = 0;
}

void session_close_connection(struct session *session, bool reset)
{
    if (session->backend_open)
        stream_close(&session->backend, reset, backend_gone);
    session->connecting = NULL; /* what is told of it from now on means nothing */
    session->backend_open = false;
    session->backend_greeted = false;
}

void session_close_stream(struct session *session, bool reset)
{
    session_close_connection(session, reset);
    if (!session->admitted)
        return;
    session->admitted = false;
    if (session->handles > 2) /* the backend's is closing */
        session->leaving = session->address;
    else
        backend_give(session->address);
}

/* For the log, which is written when the inspector is gone, and the counters. */
static void keep_facts(struct session *session)
{
    struct stats *stats = session->server->stats;
    const struct inspect_facts *facts;

    if (!session->inspector.open)
        return;
    facts = inspector_facts(&session->inspector);
    stats_add(&stats->messages, facts->messages);
    stats_add(&stats->logins_failed, facts->logins_failed);
    session->login_in_clear = session->login_in_clear || facts->login_in_clear;
    if (!facts->login[0])
        return;
    stats_count(&stats->logins);
    free(session->login);
    session->login = strdup(facts->login);
}

void session_close_backend(struct session *session)
{
    keep_facts(session);
    inspector_deinit(&session->inspector);
    connect_free(session);
    backend_stop_waiting(&session->waiter);
    drop_pending(session);
    negotiate_forget_login(&session->negotiate);
    session_close_stream(session, false);
}

static void close_all(struct session *session, bool reset)
{
    if (session->state == ST_CLOSED)
        return;
    session_move(session, ST_CLOSED);
    backend_stop_waiting(&session->waiter);
    session_close_backend(session);
    session_log_end(session);
    stats_add(&session->server->stats->octets_in, session->client.octets_in);
    stats_add(&session->server->stats->octets_out, session->client.octets_out);
    chunk_queue_clear(&session->held, &session->server->loop.chunks, true);
    line_reset(&session->line);
    negotiate_deinit(&session->negotiate);
    capabilities_unref(session->offered);
    session->offered = NULL;
    uv_close((uv_handle_t *)&session->timer, timer_gone);
    stream_close(&session->client, reset, stream_gone);
}

void session_abort(struct session *session, bool reset, const char *verdict)
{
    if (!session->verdict)
        session->verdict = verdict;
    close_all(session, reset);
}

void session_finish(struct session *session, const char *verdict)
{
    if (session->state == ST_CLOSED || session->state == ST_DRAIN)
        return;
    if (!session->verdict)
        session->verdict = verdict;
    stream_pause(&session->client);
    if (stream_shutdown(&session->client) < 0) {
        close_all(session, false);
        return;
    }
    if (stream_waiting(&session->client) == 0) {
        close_all(session, false);
        return;
    }
    session_close_backend(session);
    session_move(session, ST_DRAIN);
    session_deadline(session, session->snapshot->settings->limits.write_timeout_ms);
}

struct text session_text(struct session *session)
{
    return (struct text){ session->server->reply_room, 0, DIALOGUE_REPLY_MAX, false };
}

bool session_reply(struct session *session, struct span octets)
{
    if (octets.size == 0)
        return true;
    if (stream_write(&session->client, octets) > 0)
        return true;
    session_abort(session, false, "the client is gone");
    return false;
}

bool session_reply_event(struct session *session, enum negotiate_event event)
{
    struct text reply = session_text(session);

    negotiate_event(session->rule, event, &reply);
    return session_reply(session, text_span(&reply));
}

bool session_hold(struct session *session, struct span octets)
{
    stats_add(&session->server->stats->octets_copied, octets.size);
    if (chunk_queue_append(&session->held, &session->server->loop.chunks, octets) == 0)
        return true;
    session_abort(session, true, "no memory");
    return false;
}

static void learned(struct backend_waiter *waiter, int status)
{
    struct session *session = (struct session *)((char *)waiter - offsetof(struct session, waiter));

    session->status = status;
    session_event(session, EV_LEARNED);
    stream_flush(&session->client);
}

void session_know_client(struct session *session, const struct sockaddr_storage *client)
{
    const struct server *server = session->server;
    size_t listen = (size_t)(session->listen - session->snapshot->settings->listens);

    proxy_v2_address_text(client, session->peer, sizeof(session->peer));
    if (session->listen->hints && server->hints)
        session->hint =
            hints_key(server->hint_secret, (const struct sockaddr *)client, (uint32_t)listen);
}

static void name_session(struct session *session, const struct sockaddr_storage *peer)
{
    struct server *server = session->server;

    snprintf(session->id, sizeof(session->id), "%x%02x%06x", (unsigned)server->started_s,
             server->child->hello.index & 0xff, server->session_number++ & 0xffffff);
    session_know_client(session, peer);
}

void session_accept(struct server *server, struct listener *listener, int fd,
                    const struct sockaddr_storage *peer)
{
    struct session *session = calloc(1, sizeof(*session));
    int r;

    if (!session) {
        close(fd);
        return;
    }
    session->server = server;
    session->port = listener->port;
    session->service = service_ref(session->port->service);
    session->snapshot = session->service->snapshot;
    session->listen = session->port->listen;
    session->rule = session->port->rule;
    session->target = session->port->backend;
    session->waiter.done = learned;
    session->started_ms = uv_now(server->uv);
    session->timer.data = session;
    session->handles = 2;
    session->next = server->sessions;
    session->link = &server->sessions;
    if (session->next)
        session->next->link = &session->next;
    server->sessions = session;
    server->session_count++;
    uv_timer_init(server->uv, &session->timer);
    negotiate_init(&session->negotiate, session->rule, false);
    line_init(&session->line, session->rule->protocol == PROTOCOL_POP3 ? LINE_LENIENT : LINE_STRICT,
              negotiate_line_limit(&session->negotiate));
    r = stream_init_tcp(&session->client, &server->loop, &client_events, session);
    session->client.secret =
        !protocol_is_relayed(session->rule->protocol); /* until the login is over */
    if (r == 0)
        r = uv_tcp_open(&session->client.uv.tcp, fd);
    if (r < 0) {
        close(fd);
        session_abort(session, false, err_text(r));
        return;
    }
    name_session(session, peer);
    front_start(session);
    session_update(session);
    stream_flush(&session->client);
}

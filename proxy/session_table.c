/* What each event means in each state. Every cell has an answer: a handler, `ignore` where the
 * event means nothing any more, `bug` where it cannot happen. */
#include <errno.h>

#include "proxy/base/log.h"
#include "proxy/server.h"
#include "proxy/session.h"
#include "proxy/tls.h"

static const char *const state_names[ST_COUNT] = { "PROXY", "DETECT",    "NEGOTIATE",
                                                   "LEARN", "HANDSHAKE", "CONNECT",
                                                   "RELAY", "DRAIN",     "CLOSED" };

static void ignore(struct session *session)
{
    (void)session;
}

static void bug(struct session *session)
{
    log_line(LOG_LEVEL_ERROR, "session %s: an event that cannot be came in state %s", session->id,
             state_names[session->state]);
    session_abort(session, true, "internal error");
}

/* Reading is paused, but what was under way comes still: it waits for its turn. */
static void hold(struct session *session)
{
    session_hold(session, session->octets);
}

static void leave(struct session *session)
{
    session_finish(session, NULL);
}

static void vanish(struct session *session)
{
    session_abort(session, false, "the client is gone");
}

/* A clean end while a line waits for the backend: it is still answered, or refused. */
static void end_later(struct session *session)
{
    session->client_ended = true;
}

static void handshake_timeout(struct session *session)
{
    stats_count(&session->server->stats->handshakes_failed);
    session_abort(session, false, "the TLS handshake took longer than handshake_timeout");
}

static void say_shutdown(struct session *session)
{
    session->shutting_down = true;
    if (protocol_is_relayed(session->rule->protocol)) {
        session_abort(session, false, "shutting down");
        return;
    }
    if (session_reply_event(session, NEGOTIATE_SHUTDOWN))
        session_finish(session, "shutting down");
}

static void shutdown_later(struct session *session)
{
    session->shutting_down = true;
}

static void drained(struct session *session)
{
    session_abort(session, false, NULL);
}

static void not_read(struct session *session)
{
    session_abort(session, true, "the client does not read");
}

/* The backend's connection of an APOP session ends while the client still negotiates. */
static void backend_lost(struct session *session)
{
    session_finish(session, "the server closed the connection");
}

/* The same during a handshake, where nothing can be said. */
static void backend_gone(struct session *session)
{
    session_abort(session, false, "the server closed the connection");
}

static void learn_timeout(struct session *session)
{
    backend_stop_waiting(&session->waiter);
    session->status = -ETIMEDOUT;
    front_learned(session);
}

#define ROW(...)                                                                                   \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }
#define ON(event, handler) [event] = { handler }

static const struct session_cell table[ST_COUNT][EV_COUNT] = {
    [ST_PROXY] = ROW(ON(EV_CLIENT_DATA, front_proxy_data), ON(EV_CLIENT_END, front_proxy_end),
                     ON(EV_CLIENT_GONE, vanish), ON(EV_CLIENT_DRAINED, ignore),
                     ON(EV_TLS_READY, bug), ON(EV_TLS_FAILED, bug), ON(EV_LEARNED, bug),
                     ON(EV_BACKEND_UP, bug), ON(EV_BACKEND_DATA, bug), ON(EV_BACKEND_END, bug),
                     ON(EV_BACKEND_DRAINED, bug), ON(EV_TIMEOUT, front_proxy_timeout),
                     ON(EV_SHUTDOWN, say_shutdown), ON(EV_BACKEND_TLS, bug)),
    [ST_DETECT] = ROW(ON(EV_CLIENT_DATA, front_detect_data), ON(EV_CLIENT_END, leave),
                      ON(EV_CLIENT_GONE, vanish), ON(EV_CLIENT_DRAINED, ignore),
                      ON(EV_TLS_READY, bug), ON(EV_TLS_FAILED, bug), ON(EV_LEARNED, bug),
                      ON(EV_BACKEND_UP, bug), ON(EV_BACKEND_DATA, bug), ON(EV_BACKEND_END, bug),
                      ON(EV_BACKEND_DRAINED, bug), ON(EV_TIMEOUT, front_detect_timeout),
                      ON(EV_SHUTDOWN, say_shutdown), ON(EV_BACKEND_TLS, bug)),
    [ST_NEGOTIATE] =
        ROW(ON(EV_CLIENT_DATA, front_data), ON(EV_CLIENT_END, leave), ON(EV_CLIENT_GONE, vanish),
            ON(EV_CLIENT_DRAINED, ignore), ON(EV_TLS_READY, bug), ON(EV_TLS_FAILED, bug),
            ON(EV_LEARNED, bug), ON(EV_BACKEND_UP, bug), ON(EV_BACKEND_DATA, backend_lost),
            ON(EV_BACKEND_END, backend_lost), ON(EV_BACKEND_DRAINED, ignore),
            ON(EV_TIMEOUT, front_timeout), ON(EV_SHUTDOWN, say_shutdown), ON(EV_BACKEND_TLS, bug)),
    [ST_LEARN] = ROW(
        ON(EV_CLIENT_DATA, hold), ON(EV_CLIENT_END, end_later), ON(EV_CLIENT_GONE, vanish),
        ON(EV_CLIENT_DRAINED, ignore), ON(EV_TLS_READY, bug), ON(EV_TLS_FAILED, bug),
        ON(EV_LEARNED, front_learned), ON(EV_BACKEND_UP, bug), ON(EV_BACKEND_DATA, backend_lost),
        ON(EV_BACKEND_END, backend_lost), ON(EV_BACKEND_DRAINED, ignore),
        ON(EV_TIMEOUT, learn_timeout), ON(EV_SHUTDOWN, shutdown_later), ON(EV_BACKEND_TLS, bug)),
    [ST_HANDSHAKE] =
        ROW(ON(EV_CLIENT_DATA, bug), ON(EV_CLIENT_END, vanish), ON(EV_CLIENT_GONE, vanish),
            ON(EV_CLIENT_DRAINED, ignore), ON(EV_TLS_READY, front_tls_ready),
            ON(EV_TLS_FAILED, front_tls_failed), ON(EV_LEARNED, bug), ON(EV_BACKEND_UP, bug),
            ON(EV_BACKEND_DATA, backend_gone), ON(EV_BACKEND_END, backend_gone),
            ON(EV_BACKEND_DRAINED, ignore), ON(EV_TIMEOUT, handshake_timeout),
            ON(EV_SHUTDOWN, shutdown_later), ON(EV_BACKEND_TLS, bug)),
    [ST_CONNECT] =
        ROW(ON(EV_CLIENT_DATA, hold), ON(EV_CLIENT_END, end_later), ON(EV_CLIENT_GONE, vanish),
            ON(EV_CLIENT_DRAINED, ignore), ON(EV_TLS_READY, bug), ON(EV_TLS_FAILED, bug),
            ON(EV_LEARNED, connect_room), ON(EV_BACKEND_UP, connect_up),
            ON(EV_BACKEND_DATA, connect_data), ON(EV_BACKEND_END, connect_end),
            ON(EV_BACKEND_DRAINED, ignore), ON(EV_TIMEOUT, connect_timeout),
            ON(EV_SHUTDOWN, shutdown_later), ON(EV_BACKEND_TLS, connect_tls)),
    [ST_RELAY] = ROW(ON(EV_CLIENT_DATA, relay_client_data), ON(EV_CLIENT_END, relay_client_end),
                     ON(EV_CLIENT_GONE, relay_client_gone), ON(EV_CLIENT_DRAINED, relay_drained),
                     ON(EV_TLS_READY, bug), ON(EV_TLS_FAILED, bug), ON(EV_LEARNED, bug),
                     ON(EV_BACKEND_UP, bug), ON(EV_BACKEND_DATA, relay_backend_data),
                     ON(EV_BACKEND_END, relay_backend_end), ON(EV_BACKEND_DRAINED, relay_drained),
                     ON(EV_TIMEOUT, relay_timeout), ON(EV_SHUTDOWN, relay_shutdown),
                     ON(EV_BACKEND_TLS, bug)),
    [ST_DRAIN] =
        ROW(ON(EV_CLIENT_DATA, ignore), ON(EV_CLIENT_END, ignore), ON(EV_CLIENT_GONE, drained),
            ON(EV_CLIENT_DRAINED, drained), ON(EV_TLS_READY, bug), ON(EV_TLS_FAILED, bug),
            ON(EV_LEARNED, ignore), ON(EV_BACKEND_UP, ignore), ON(EV_BACKEND_DATA, ignore),
            ON(EV_BACKEND_END, ignore), ON(EV_BACKEND_DRAINED, ignore), ON(EV_TIMEOUT, not_read),
            ON(EV_SHUTDOWN, ignore), ON(EV_BACKEND_TLS, ignore)),
    [ST_CLOSED] =
        ROW(ON(EV_CLIENT_DATA, ignore), ON(EV_CLIENT_END, ignore), ON(EV_CLIENT_GONE, ignore),
            ON(EV_CLIENT_DRAINED, ignore), ON(EV_TLS_READY, ignore), ON(EV_TLS_FAILED, ignore),
            ON(EV_LEARNED, ignore), ON(EV_BACKEND_UP, ignore), ON(EV_BACKEND_DATA, ignore),
            ON(EV_BACKEND_END, ignore), ON(EV_BACKEND_DRAINED, ignore), ON(EV_TIMEOUT, ignore),
            ON(EV_SHUTDOWN, ignore), ON(EV_BACKEND_TLS, ignore)),
};

static void read_client(struct session *session, bool wanted, uint32_t limit)
{
    if (!wanted)
        stream_pause(&session->client);
    else if ((!session->client.reading || session->client.read_limit != limit) &&
             !session->client.ended && stream_read(&session->client, limit) < 0)
        session_abort(session, false, "the client cannot be read from");
}

/* The one place that says which side is read, derived anew after every event: a side is not read
 * while the other does not take what came before, or while octets of it are held. */
void session_update(struct session *session)
{
    bool beginning = session->state == ST_PROXY || session->state == ST_DETECT;
    bool negotiating = beginning || session->state == ST_NEGOTIATE;
    bool relaying = session->state == ST_RELAY;
    bool room = session->held.size == 0 && stream_waiting(&session->client) < STREAM_READ_MAX;

    if (session->state == ST_CLOSED || session->state == ST_DRAIN || session->state == ST_HANDSHAKE)
        return;
    if (relaying && session->backend_open && !session->backend.ended) {
        if (stream_waiting(&session->client) > 0)
            stream_pause(&session->backend);
        else if (!session->backend.reading && stream_read(&session->backend, 0) < 0) {
            session_finish(session, "the server cannot be read from");
            return;
        }
    }
    if (beginning && session->held.size > 0)
        room = true;
    if (relaying && protocol_is_relayed(session->rule->protocol))
        room = true;
    if (relaying)
        read_client(session, room && stream_waiting(&session->backend) == 0, 0);
    else
        read_client(session, negotiating && room,
                    session->snapshot->settings->limits.read_size_bytes < 1024
                        ? (uint32_t)session->snapshot->settings->limits.read_size_bytes
                        : 1024);
}

void session_event(struct session *session, enum session_event event)
{
    table[session->state][event].handle(session);
    /* The session may be closed now, but its memory stays until the handles' close callbacks. */
    if (session->client_ended && session->state == ST_NEGOTIATE)
        session_finish(session, NULL);
    if (session->shutting_down && session->state == ST_NEGOTIATE)
        say_shutdown(session);
    session_update(session);
}

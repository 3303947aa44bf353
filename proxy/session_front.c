/* A session between its greeting and the backend: the dialogue that we answer ourselves, what is
 * learned for it, the handshake.
 *
 * Happy path: lines are judged by negotiate.c until one needs the backend (CONNECT) or TLS
 * (HANDSHAKE). A ClientHello that comes only behind the greeting is told in the log. */
#include "proxy/session.h"

#include <assert.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/detect.h"
#include "proxy/identity.h"
#include "proxy/server.h"
#include "proxy/tls.h"

static const struct settings_limits *limits(const struct session *session)
{
    return &session->snapshot->settings->limits;
}

uint64_t front_now_s(const struct session *session)
{
    return (uint64_t)session->server->started_s + (uv_now(session->server->uv) / 1000);
}

static void await_line(struct session *session)
{
    session_deadline(session, session->rule->protocol == PROTOCOL_POP3
                                  ? limits(session)->pop3_command_timeout_ms
                                  : limits(session)->smtp_command_timeout_ms);
}

/* A client speaks TLS where there is none for it: what to change, at which end. */
const char *front_tls_is_off(const struct session *session)
{
    if (session->listen->tls == TLS_RULE_OFF)
        return "client speaks TLS on a port where that is off (set it to no encryption; tls = "
               "starttls serves it)";
    if (!session->rule->tls_available)
        return "client speaks TLS, and there is no certificate (certificate and key in [tls "
               "default] serve it)";
    return "client speaks TLS first on a STARTTLS port (set it to STARTTLS; detect = yes serves "
           "it)";
}

bool front_tls_possible(const struct session *session)
{
    return session->rule->tls_available && session->listen->detect;
}

void front_begin_handshake(struct session *session, struct span first)
{
    struct tls_context *context = snapshot_tls(session->snapshot, session->listen);

    if (!context) {
        session_abort(session, false, front_tls_is_off(session));
        return;
    }
    assert(!line_unfinished(&session->line) && session->held.size == 0 && !session->pending);
    stats_count(&session->server->stats->handshakes);
    session->client.octets_in -= first.size; /* they are TLS, and what is in it is counted */
    session_move(session, ST_HANDSHAKE);
    session_deadline(session, limits(session)->handshake_timeout_ms);
    if (stream_start_tls(&session->client, context, first) < 0)
        session_abort(session, false, "the TLS engine could not be started");
}

void front_greet(struct session *session)
{
    struct text reply = session_text(session);

    session_move(session, ST_NEGOTIATE);
    await_line(session);
    negotiate_greeting(&session->negotiate, &reply);
    session_reply(session, text_span(&reply));
}

/* Keeps the line that has to wait, and what came behind it. */
static bool keep_pending(struct session *session, struct span line, struct span rest)
{
    session->pending = malloc(line.size + 2);
    if (!session->pending) {
        session_abort(session, false, "no memory");
        return false;
    }
    memcpy(session->pending, line.data, line.size);
    memcpy(session->pending + line.size, "\r\n", 2);
    session->pending_size = line.size + 2;
    line_reset(&session->line);
    return rest.size == 0 || session_hold(session, rest);
}

static void no_backend(struct session *session)
{
    if (session_reply_event(session, NEGOTIATE_NO_BACKEND))
        session_finish(session, "the server does not answer");
}

static void act_on_learned(struct session *session);

static void await_learned(struct session *session)
{
    session_deadline(session, session->target->settings->connect_timeout_ms + 1000);
}

/* The line needs what the servers can do. */
static void learn(struct session *session, struct span line, struct span rest)
{
    if (!keep_pending(session, line, rest))
        return;
    session_move(session, ST_LEARN);
    await_learned(session);
    if (route_learn(session, true) == BACKEND_KNOWN)
        act_on_learned(session);
}

/* What negotiate.c may promise from now on: the list of this moment, kept for the life of the
 * session. */
static void take_list(struct session *session)
{
    struct capabilities *list = route_offer(session);

    capabilities_unref(session->offered);
    session->offered = list;
    session->negotiate.learned = list;
}

/* The line waits for the session's target. */
static void to_target(struct session *session, struct span line, struct span rest)
{
    bool known = route_known(session);

    if (!known && !session->backend_greeted) {
        if (session->asked)
            no_backend(session);
        else
            learn(session, line, rest);
        return;
    }
    if (!session->offered && known)
        take_list(session);
    if (session->rule->protocol == PROTOCOL_SMTP && backend_shut(session->target)) {
        if (session_reply_event(session, NEGOTIATE_OPEN_RELAY))
            session_finish(session, "the gate is shut: its server relays for anybody");
        return;
    }
    if (keep_pending(session, line, rest))
        connect_start(session);
}

/* Which server this user is at cannot be told now: only this login fails. */
static bool no_route(struct session *session)
{
    negotiate_forget_login(&session->negotiate);
    return session_reply_event(session, NEGOTIATE_NO_ROUTE);
}

/* The line, or the login that it completes, needs a server. False: no further line may be looked at
 * now. */
static bool forward(struct session *session, struct span line, struct span rest)
{
    struct backend *target = route_target(session, session_login_name(session));

    if (!target)
        return no_route(session);
    session->target = target;
    if (session->negotiate.login) { /* what comes behind its first line is replayed in RELAY */
        line = login_command(session->negotiate.login);
        line.size -= 2;
    }
    to_target(session, line, rest);
    return false;
}

void front_start_tls(struct session *session, struct span reply, struct span behind)
{
    if (behind.size > 0 || session->held.size > 0 || session->behind > 0 ||
        stream_pending(&session->client)) {
        stats_count(&session->server->stats->surplus);
        if (session_reply_event(session, NEGOTIATE_SURPLUS))
            session_finish(session, "octets behind STARTTLS or STLS");
        return;
    }
    if (!limits_take(&session->server->tls_rate, uv_now(session->server->uv))) {
        session_reply_event(session, NEGOTIATE_TLS_TEMPORARY);
        return;
    }
    if (!session_reply(session, reply))
        return;
    line_reset(&session->line);
    /* An APOP server's banner is valid for this connection only: it is kept. What such a server
     * sends before it is asked ends the session, so nothing of the clear phase is in it. */
    if (session->state != ST_NEGOTIATE || !session->backend_greeted)
        session_close_backend(session);
    session->tls_by_command = true;
    front_begin_handshake(session, span_of(NULL, 0));
}

/* NULL: the client said QUIT. */
static const char *why_closed(const struct session *session, struct span reply)
{
    if (session->negotiate.errors >= session->rule->max_errors)
        return "the client sent too many bad commands";
    return reply.size == 0 ? "the client spoke HTTP" : NULL;
}

/* Behind the last reply. Two calls less, and a turn of the loop, where a client in clear said QUIT
 * and nothing behind it: RFC 5321 section 4.1.1.10 and RFC 1939 section 4 leave it nothing to say.
 */
static void close_dialogue(struct session *session, const char *verdict, struct span rest)
{
    if (!verdict && rest.size == 0 && stream_take_leave(&session->client))
        session_abort(session, false, NULL);
    else
        session_finish(session, verdict);
}

/* Acts on one verdict. False: no further line may be looked at now. */
static bool act(struct session *session, int verdict, struct span line, struct span rest,
                struct text *reply)
{
    switch (verdict) {
    case NEGOTIATE_ANSWER:
        return session_reply(session, text_span(reply));
    case NEGOTIATE_TLS:
        front_start_tls(session, text_span(reply), rest);
        return session->state == ST_NEGOTIATE;
    case NEGOTIATE_LEARN:
        learn(session, line, rest);
        return false;
    case NEGOTIATE_FORWARD:
        return forward(session, line, rest);
    case NEGOTIATE_CLOSE:
        if (session_reply(session, text_span(reply)))
            close_dialogue(session, why_closed(session, text_span(reply)), rest);
        return false;
    default:
        session_abort(session, false, "no memory");
        return false;
    }
}

/* Judges all lines in `in`. */
static void judge(struct session *session, struct span in)
{
    while (session->state == ST_NEGOTIATE) {
        struct text reply = session_text(session);
        struct span line = span_of(NULL, 0);
        int r;

        session->line.limit = negotiate_line_limit(&session->negotiate);
        r = line_next(&session->line, &in, &line);

        if (r == LINE_MORE)
            break;
        session->line_deadline_ms = 0;
        if (r == LINE_READY)
            r = negotiate_line(&session->negotiate, line, &reply);
        else if (r > 0) {
            stats_count(&session->server->stats->bad_lines);
            r = negotiate_bad_line(&session->negotiate, r, &reply);
        }
        if (!act(session, r, line, in, &reply))
            return;
        await_line(session);
    }
    if (session->state != ST_NEGOTIATE || !line_unfinished(&session->line))
        return;
    if (session->line_deadline_ms == 0)
        session->line_deadline_ms = uv_now(session->server->uv) + limits(session)->line_timeout_ms;
    session_deadline(session, session->line_deadline_ms > uv_now(session->server->uv)
                                  ? session->line_deadline_ms - uv_now(session->server->uv)
                                  : 0);
}

/* A ClientHello behind the greeting: told apart from garbage, and remembered. */
static void late_tls(struct session *session)
{
    if (!front_tls_possible(session)) {
        session_abort(session, false, front_tls_is_off(session));
        return;
    }
    if (session->hint)
        hints_note_tls(session->server->hints, session->hint, front_now_s(session), true);
    session_abort(session, false,
                  session->hint ? "client speaks TLS first, but only after our greeting; its next "
                                  "try is awaited longer"
                                : "client speaks TLS first, but only after our greeting (a longer "
                                  "detect_wait, or hints = yes, serves it)");
}

void front_data(struct session *session)
{
    struct span in = session->octets;

    session->client.secret = true; /* any line may hold a password; the inspector knows better */

    if (!session->heard_client && !session->client.tls && session->state == ST_NEGOTIATE) {
        session->heard_client = true;
        if (in.size > 0 && in.data[0] == 0x16) {
            late_tls(session);
            return;
        }
        if (session->hint)
            hints_note_plain(session->server->hints, session->hint, front_now_s(session));
    }
    judge(session, in);
}

/* All that can be known is known. */
static void act_on_learned(struct session *session)
{
    struct span line;
    unsigned char *pending = session->pending;
    size_t size = session->pending_size;
    struct text reply = session_text(session);

    if (!session->negotiate.offered) /* else this session is bound to what it was shown */
        take_list(session);
    if (!session->offered) { /* nobody answers */
        no_backend(session);
        return;
    }
    session_move(session, ST_NEGOTIATE);
    await_line(session);
    session->pending = NULL;
    session->asked = true;
    line = span_of(pending, size - 2);
    act(session, negotiate_line(&session->negotiate, line, &reply), line, span_of(NULL, 0), &reply);
    session->asked = false;
    explicit_bzero(pending, size);
    free(pending);
    if (session->state == ST_NEGOTIATE && session->held.size > 0)
        relay_resume(session);
}

void front_learned(struct session *session)
{
    if (route_learn(session, false) == BACKEND_KNOWN)
        act_on_learned(session);
    else
        await_learned(session);
}

void front_tls_ready(struct session *session)
{
    struct tls_facts tls;

    session->tls_up = true;
    tls_facts(&session->client, &tls);
    if (tls.resumed)
        stats_count(&session->server->stats->handshakes_resumed);
    capabilities_unref(session->offered);
    session->offered = NULL;
    session->negotiate.learned = NULL;
    if (session->tls_by_command) {
        negotiate_tls_done(&session->negotiate);
        session->heard_client = true;
        session_move(session, ST_NEGOTIATE);
        await_line(session);
        return;
    }
    session->negotiate.tls = true;
    front_leave_detect(session);
}

void front_tls_failed(struct session *session)
{
    stats_count(&session->server->stats->handshakes_failed);
    session->tls_failed = true;
    session_abort(session, false, "TLS handshake failed");
}

void front_timeout(struct session *session)
{
    if (session_reply_event(session, NEGOTIATE_TIMEOUT))
        session_finish(session, session->line_deadline_ms ? "a line took longer than line_timeout"
                                                          : "no command in time");
}

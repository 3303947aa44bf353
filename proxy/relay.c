/* RELAY: octets of both sides through the inspector, or, on an opaque port, as they are.
 *
 * Happy path: a read of one side is handed to the inspector, whose pieces go to the other side
 * without a copy; where octets wait for a slow reader, the other side is not read. What may not go
 * on yet (behind a synchronisation point) is held, at most one read. Ends: the client's (RFC words:
 * between commands, or vanished), the backend's, a violation, a timer. */
#include "proxy/session.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/server.h"
#include "proxy/session_log.h"

static const struct settings_limits *limits(const struct session *session)
{
    return &session->snapshot->settings->limits;
}

static bool opaque(const struct session *session)
{
    return protocol_is_relayed(session->rule->protocol);
}

/* How long what is awaited now may take. */
static uint64_t patience(const struct session *session)
{
    bool pop3 = session->rule->protocol == PROTOCOL_POP3;

    if (stream_waiting(&session->client) > 0 || stream_waiting(&session->backend) > 0)
        return limits(session)->write_timeout_ms;
    if (opaque(session))
        return limits(session)->opaque_idle_timeout_ms;
    if (pop3)
        return limits(session)->pop3_idle_timeout_ms;
    switch (inspector_phase(&session->inspector)) {
    case INSPECT_PHASE_REPLY:
    case INSPECT_PHASE_FINAL:
        return limits(session)->smtp_reply_timeout_ms;
    case INSPECT_PHASE_COMMAND:
    case INSPECT_PHASE_MESSAGE:
        break;
    }
    return limits(session)->smtp_command_timeout_ms;
}

static void note_secret(struct session *session)
{
    bool secret = inspector_secret(&session->inspector);

    session->client.secret = session->backend.secret = secret;
}

static const char *why(const struct session *session)
{
    const char *violation = inspector_facts(&session->inspector)->violation;

    return violation                                    ? violation
           : inspector_facts(&session->inspector)->quit ? NULL
                                                        : "bad commands";
}

static void count_errors(struct session *session)
{
    session->negotiate.errors = inspector_facts(&session->inspector)->errors;
}

static void to_backend(struct session *session, struct span piece)
{
    if (stream_write(&session->backend, piece) < 0)
        session->verdict = "the server is gone"; /* its end event follows and says the rest */
}

/* Whoever logs in now may belong to another server: the dialogue goes on with us. The server of
 * before is closed, and nothing of it is left: what the client was offered holds for all of them.
 */
static void hand_back(struct session *session, struct span line, struct span rest)
{
    const struct inspect_facts *facts = inspector_facts(&session->inspector);
    unsigned errors = facts->errors + facts->logins_failed;

    if (!session_hold(session, line) || (rest.size > 0 && !session_hold(session, rest)))
        return;
    session->negotiate.errors = (uint8_t)(errors < UINT8_MAX ? errors : UINT8_MAX);
    session_close_backend(session);
    session_move(session, ST_NEGOTIATE);
    /* No server sees all of a client's attempts: they are counted here. */
    if (errors >= session->rule->max_errors &&
        session_reply_event(session, NEGOTIATE_TOO_MANY_LOGINS))
        session_finish(session, "too many failed logins");
}

/* One verdict about client octets. False: stop looking at them. */
static bool act_on_client(struct session *session, int verdict, struct span piece, struct span *in)
{
    switch (verdict) {
    case INSPECT_MORE:
        return in->size > 0;
    case INSPECT_FORWARD:
        to_backend(session, piece);
        return true;
    case INSPECT_ANSWER:
        return session_reply(session, piece);
    case INSPECT_WAIT:
        session_hold(session, *in);
        return false;
    case INSPECT_TLS:
        count_errors(session);
        front_start_tls(session, piece, *in);
        *in = span_of(NULL, 0);
        return false;
    case INSPECT_HAND_BACK:
        hand_back(session, piece, *in);
        *in = span_of(NULL, 0);
        return false;
    case INSPECT_CLOSE:
        if (session_reply(session, piece))
            session_finish(session, why(session));
        return false;
    case INSPECT_CUT:
        session_abort(session, true, why(session));
        return false;
    default:
        session_abort(session, true, "no memory");
        return false;
    }
}

/* As they are. A server that has said its last may have gone altogether since: no event tells of
 * that, and the client would go on speaking to nobody. */
static void pass_to_backend(struct session *session, struct span in)
{
    int r = stream_write(&session->backend, in);

    if (r < 0 && session->backend_ended)
        session_finish(session, "the server is gone");
    else
        session_deadline(session, patience(session));
}

static void from_client(struct session *session, struct span in)
{
    struct span piece;
    bool go_on = true;

    if (opaque(session)) {
        pass_to_backend(session, in);
        return;
    }
    while (go_on && session->state == ST_RELAY && in.size > 0) {
        int verdict = inspector_client(&session->inspector, &in, &piece);

        note_secret(session);
        go_on = act_on_client(session, verdict, piece, &in);
    }
    if (session->state == ST_RELAY)
        session_deadline(session, patience(session));
}

void relay_client_data(struct session *session)
{
    from_client(session, session->octets);
    if (session->state == ST_NEGOTIATE && session->held.size > 0)
        relay_resume(session);
}

/* The octets may hold a password, and a chunk goes back to its pool as it is. */
static void drop_front(struct chunk_queue *queue, struct chunk_pool *pool, struct span front)
{
    explicit_bzero((void *)(uintptr_t)front.data, front.size);
    chunk_queue_consume(queue, pool, front.size);
}

static void take_up_held(struct session *session)
{
    struct chunk_pool *pool = &session->server->loop.chunks;
    struct chunk_queue queue = session->held;
    size_t behind_all = session->behind;

    session->held = (struct chunk_queue){ 0 };
    while (queue.size > 0 && session->held.size == 0) {
        struct span front = chunk_queue_front(&queue);

        session->behind = behind_all + queue.size - front.size;
        if (session->state == ST_NEGOTIATE) {
            session->octets = front;
            front_data(session);
        } else if (session->state == ST_RELAY) {
            from_client(session, front);
        } else {
            break;
        }
        drop_front(&queue, pool, front);
    }
    session->behind = behind_all;
    /* What was held anew comes before what was not looked at yet. */
    while (queue.size > 0 && session->state != ST_CLOSED && session->state != ST_DRAIN) {
        struct span front = chunk_queue_front(&queue);

        if (!session_hold(session, front))
            break;
        drop_front(&queue, pool, front);
    }
    chunk_queue_clear(&queue, pool, true);
}

/* Takes up held octets again, piece by piece, where that is possible now. */
void relay_resume(struct session *session)
{
    take_up_held(session);
    /* They may have been handed back. Here they all find an answer, or wait for a server. */
    if (session->state == ST_NEGOTIATE && session->held.size > 0)
        take_up_held(session);
}

/* The client has said its last: what does that mean now? A reply that came since may have begun a
 * message or a login, which nobody goes on with. */
static void judge_client_end(struct session *session)
{
    switch (inspector_client_end(&session->inspector)) {
    case INSPECT_END_IDLE:
        session_finish(session, NULL);
        return;
    case INSPECT_END_ANSWER:
    case INSPECT_END_FLUSH:
        return;
    case INSPECT_END_VANISHED:
        session_abort(session, false, "the client vanished inside a message, a login or a line");
        return;
    }
}

/* What the end of the client, or of the worker, waited for may have come. */
static void maybe_end(struct session *session)
{
    if (session->state != ST_RELAY || opaque(session) || session->held.size > 0)
        return;
    if (session->client_ended)
        judge_client_end(session);
    if (session->shutting_down && session->state == ST_RELAY)
        relay_shutdown(session);
}

/* The server's reply to a part of a login that we have read: the next part, or the end of it. */
static void replay_login(struct session *session)
{
    struct login *login = session->negotiate.login;
    struct span line = span_of(NULL, 0);

    if (inspector_phase(&session->inspector) == INSPECT_PHASE_REPLY)
        return; /* more of it comes */
    if (inspector_phase(&session->inspector) == INSPECT_PHASE_MESSAGE)
        line = login_next(login);
    if (line.size > 0)
        from_client(session, line);
    /* What is left was not asked for, and would be taken for a command: a password in a log. */
    if (session->state == ST_RELAY && (line.size == 0 || login_replayed(login)))
        negotiate_forget_login(&session->negotiate);
}

static bool act_on_server(struct session *session, int verdict, struct span piece)
{
    switch (verdict) {
    case INSPECT_MORE:
        return true;
    case INSPECT_FORWARD:
        if (session->negotiate.login && login_answers(session->negotiate.login, piece))
            return true; /* the client has heard ours */
        return session_reply(session, piece);
    case INSPECT_CLOSE:
        if (session_reply(session, piece))
            session_finish(session, why(session));
        return false;
    default:
        session_abort(session, true, verdict == INSPECT_CUT ? why(session) : "no memory");
        return false;
    }
}

void relay_backend_data(struct session *session)
{
    struct span in = session->octets, piece;
    bool go_on = true;

    if (opaque(session)) {
        session_reply(session, in);
        if (session->state == ST_RELAY)
            session_deadline(session, patience(session));
        return;
    }
    while (go_on && session->state == ST_RELAY && in.size > 0) {
        unsigned failed = inspector_facts(&session->inspector)->logins_failed;
        int verdict = inspector_server(&session->inspector, &in, &piece);

        if (inspector_facts(&session->inspector)->logins_failed > failed)
            session_log_failed_login(session);
        go_on = act_on_server(session, verdict, piece);
    }
    if (session->state != ST_RELAY)
        return;
    if (session->negotiate.login)
        replay_login(session);
    if (session->state != ST_RELAY)
        return;
    note_secret(session);
    if (session->kicked) {
        session_kick(session);
        return;
    }
    if (session->held.size > 0)
        relay_resume(session);
    if (session->state == ST_RELAY)
        session_deadline(session, patience(session));
    maybe_end(session);
}

void relay_start(struct session *session)
{
    struct inspect_start start = {
        .rule = session->rule,
        .tls = session->client.tls != NULL,
        .errors = session->negotiate.errors,
        .said_hello = session->negotiate.hello_size > 0,
    };
    const struct capabilities *list =
        session->attempt->greet.list ? session->attempt->greet.list : session->offered;
    unsigned char *pending = session->pending;
    size_t size = session->pending_size;

    session_move(session, ST_RELAY);
    session_deadline(session, patience(session));
    if (opaque(session)) {
        if (stream_read(&session->backend, 0) < 0) {
            session_abort(session, true, "the server cannot be read from");
            return;
        }
        connect_free(session);
        if (session->held.size > 0)
            relay_resume(session);
        return;
    }
    /* What the operator hides, we do not rely on either. */
    start.pipelining =
        list && capabilities_find(list, SPAN_LIT("PIPELINING")) &&
        (!session->offered || capabilities_find(session->offered, SPAN_LIT("PIPELINING")));
    start.chunking = list && capabilities_find(list, SPAN_LIT("CHUNKING"));
    if (session->rule->protocol == PROTOCOL_POP3 && session->negotiate.hello_size > 5)
        start.user = span_trim(
            span_skip(span_of(session->negotiate.hello, session->negotiate.hello_size), 5));
    if (inspector_init(&session->inspector, &start) < 0) {
        session_abort(session, true, "no memory");
        return;
    }
    connect_free(session);
    session->pending = NULL;
    from_client(session, span_of(pending, size));
    explicit_bzero(pending, size);
    free(pending);
    if (session->state == ST_RELAY && session->rule->reads_login)
        inspector_hand_back_logins(&session->inspector);
    if (session->negotiate.login && login_replayed(session->negotiate.login))
        negotiate_forget_login(&session->negotiate);
    if (session->state == ST_RELAY && session->held.size > 0 &&
        inspector_phase(&session->inspector) == INSPECT_PHASE_COMMAND)
        relay_resume(session);
    maybe_end(session);
}

/* FIN in plain, or close_notify: an end in order. */
void relay_client_end(struct session *session)
{
    if (opaque(session)) {
        session->client_ended = true;
        if (session->backend_ended) {
            session_finish(session, NULL);
            return;
        }
        if (stream_shutdown(&session->backend) < 0)
            session_finish(session, "the server is gone");
        return;
    }
    session->client_ended = true;
    maybe_end(session); /* whole commands that wait for their turn are still answered */
}

static const char *how_it_vanished(const struct session *session)
{
    if (session->how == STREAM_END_TRUNCATED)
        return "the client closed without close_notify";
    if (session->how == STREAM_END_TLS_ERROR)
        return "TLS error";
    return session->status == -ETIMEDOUT ? "the link to the client is dead"
                                         : "the client reset the connection";
}

/* Truncated, reset, TLS error: vanished. Only a message that was received whole is still handed
 * over. */
void relay_client_gone(struct session *session)
{
    session->verdict = how_it_vanished(session);
    if (!opaque(session) && session->held.size == 0 &&
        inspector_client_end(&session->inspector) == INSPECT_END_FLUSH) {
        session->client_ended = true;
        return;
    }
    session_abort(session, false, NULL);
}

/* The server has left between commands. RFC 5321 section 3.8: 421 may come unasked, for the client
 * to find in the place of its next reply. RFC 1939 section 3: a POP3 server says nothing. */
static void backend_left(struct session *session)
{
    if (inspector_facts(&session->inspector)->quit) {
        session_finish(session, NULL);
        return;
    }
    if (session->rule->protocol == PROTOCOL_SMTP && !inspector_in_reply(&session->inspector) &&
        !session_reply_event(session, NEGOTIATE_BACKEND_LOST))
        return;
    session_finish(session, "the server closed the connection");
}

void relay_backend_end(struct session *session)
{
    bool owes;

    if (opaque(session)) {
        session->backend_ended = true;
        if (session->how != STREAM_END_CLEAN) { /* no end in order is made of it */
            session_abort(session, false, "the server ended in disorder");
            return;
        }
        /* In Remote Mail the server ends the dialogue, whatever the client still says. */
        if (session->client_ended || session->rule->protocol == PROTOCOL_REMOTE ||
            stream_shutdown(&session->client) < 0)
            session_finish(session, NULL);
        return;
    }
    owes = inspector_phase(&session->inspector) != INSPECT_PHASE_COMMAND;
    if (owes || session->how != STREAM_END_CLEAN)
        backend_suspect(session->address);
    if (!owes) {
        backend_left(session);
        return;
    }
    if (inspector_in_reply(
            &session->inspector)) { /* nothing can be said in the middle of a reply */
        session_abort(session, true, "the server closed the connection in the middle of a reply");
        return;
    }
    if (session_reply_event(session, NEGOTIATE_BACKEND_LOST))
        session_finish(session, "the server closed the connection while it owed a reply");
}

/* A stalled write has gone: from now on something else is awaited. */
void relay_drained(struct session *session)
{
    session_deadline(session, patience(session));
}

/* The server's reply is overdue. */
static bool owes_reply(const struct session *session)
{
    enum inspect_phase phase = inspector_phase(&session->inspector);

    return (phase == INSPECT_PHASE_REPLY || phase == INSPECT_PHASE_FINAL) &&
           !inspector_in_reply(&session->inspector);
}

void relay_timeout(struct session *session)
{
    bool quiet = !opaque(session) && inspector_quiet(&session->inspector);

    if (stream_waiting(&session->client) > 0) {
        session_abort(session, true, "the client does not read");
        return;
    }
    if (stream_waiting(&session->backend) > 0) {
        session_abort(session, false, "the server does not read");
        return;
    }
    if (quiet && !session_reply_event(session, NEGOTIATE_TIMEOUT))
        return;
    if (quiet) {
        session_finish(session, "no command in time");
        return;
    }
    if (!opaque(session) && owes_reply(session)) {
        if (session_reply_event(session, NEGOTIATE_NO_BACKEND))
            session_finish(session, "the server owed a reply for too long");
        return;
    }
    session_abort(session, false,
                  opaque(session) ? "silence on both sides" : "nothing came in time");
}

void relay_shutdown(struct session *session)
{
    session->shutting_down = true;
    if (opaque(session) || session->held.size > 0 || !inspector_quiet(&session->inspector))
        return;
    if (session_reply_event(session, NEGOTIATE_SHUTDOWN))
        session_finish(session, "shutting down");
}

/* CONNECT: the connection to the backend, our identity header, its banner, the replay of the
 * client's EHLO, HELO or USER.
 *
 * Happy path: connect, header, banner, replay, compare with what the client was offered, RELAY.
 * What the backend says instead of a welcome becomes the answer to the client's pending command. A
 * full backlog (EAGAIN) is retried until connect_timeout. */
#include "proxy/session.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/identity.h"
#include "proxy/server.h"

#define BUSY_RETRY_FIRST_MS 5
#define BUSY_RETRY_MOST_MS  100

static void connected(uv_connect_t *request, int status)
{
    struct session *session = request->data;

    if (session && session->connecting == request) {
        session->connecting = NULL;
        session->status = status;
        session_event(session, EV_BACKEND_UP);
        stream_flush(&session->client);
    }
    free(request);
}

static int try_connect(struct session *session)
{
    uv_connect_t *request;
    int r;

    if (session->handles > 2) /* the former connection is still closing */
        return -EAGAIN;
    r = stream_init_pipe(&session->backend, &session->server->loop, &session_backend_events,
                         session);
    if (r < 0)
        return r;
    session->handles++;
    session->backend_open = session->backend_used = true;
    request = malloc(sizeof(*request));
    if (!request)
        return -ENOMEM;
    request->data = session;
    session->connecting = request;
    uv_pipe_connect(request, &session->backend.uv.pipe, session->target->path, connected);
    return 0;
}

static void failed(struct session *session, int error, const char *words)
{
    backend_failed(session->target, error, words);
    session_close_backend(session);
    if (session->rule->protocol == PROTOCOL_OPAQUE) {
        session_abort(session, false, "the server does not answer");
        return;
    }
    if (session_reply_event(session,
                            error == -EPROTO ? NEGOTIATE_BACKEND_GARBAGE : NEGOTIATE_NO_BACKEND))
        session_finish(session, error == -EPROTO ? "the server sends what is no reply"
                                                 : "the server does not answer");
}

static enum greet_purpose purpose(const struct session *session)
{
    if (session->backend_greeted)
        return GREET_REPLAY;
    return session->pending ? GREET_SESSION : GREET_BANNER;
}

/* The backlog is full: the server is busy, not down. */
static void retry_later(struct session *session)
{
    uint64_t wait = BUSY_RETRY_FIRST_MS * (uint64_t)(++session->busy_retries);
    uint64_t now = uv_now(session->server->uv);

    if (session->busy_retries == 1)
        session->line_deadline_ms = session->deadline_ms; /* of the whole attempt */
    if (now >= session->line_deadline_ms) {
        failed(session, -EAGAIN, "is busy: its queue of connections stays full");
        return;
    }
    if (session->busy_retries > BUSY_RETRY_MOST_MS / BUSY_RETRY_FIRST_MS)
        session->busy_retries--;
    session_deadline(session, wait);
}

void connect_start(struct session *session)
{
    struct negotiate *negotiate = &session->negotiate;
    int r;

    session_move(session, ST_CONNECT);
    session_deadline(session, session->target->settings->connect_timeout_ms);
    session->busy_retries = 0;
    greet_init(&session->greet,
               &(struct greet_plan){ .protocol = session->rule->protocol,
                                     .purpose = purpose(session),
                                     .hello = span_of(negotiate->hello, negotiate->hello_size),
                                     .hostname = span_of_text(session->rule->hostname) });
    if (session->backend_greeted) {
        session->octets = span_of(NULL, 0);
        connect_data(session);
        return;
    }
    r = try_connect(session);
    if (r == -EAGAIN)
        retry_later(session);
    else if (r < 0)
        failed(session, r, "cannot be connected to");
}

void connect_up(struct session *session)
{
    unsigned char header[PROXY_V2_HEADER_MAX];
    long size = 0;
    int r = 0;

    if (session->status == -EAGAIN) {
        session_close_stream(session);
        retry_later(session);
        return;
    }
    if (session->status < 0) {
        failed(session, session->status, "cannot be reached");
        return;
    }
    if (session->busy_retries > 0) {
        session->busy_retries = 0;
        session->line_deadline_ms = 0;
        session_deadline(session, session->target->settings->connect_timeout_ms);
    }
    if (session->target->proxy_v2) {
        size = identity_write(IDENTITY_PROXY_V2, &session->client, session->origin, session->id,
                              header, sizeof(header));
        if (size < 0) { /* its address went with it; the server is not to blame */
            session_abort(session, false, "the client is gone");
            return;
        }
        r = stream_write(&session->backend, span_of(header, (size_t)size));
    }
    if (r >= 0)
        r = stream_flush(&session->backend);
    if (r < 0) {
        failed(session, r, "cannot be written to");
        return;
    }
    if (session->rule->protocol == PROTOCOL_OPAQUE) {
        relay_start(session);
        return;
    }
    r = stream_read(&session->backend, 0);
    if (r < 0)
        failed(session, r, "cannot be read from");
}

/* Is the server still the one that we described to the client? */
static bool still_the_same(struct session *session)
{
    struct capabilities *now = session->greet.list;
    struct span missing;
    bool tls = session->client.tls != NULL;

    if (!now || !session->negotiate.extended || !session->offered)
        return true;
    if (session->negotiate.offered && !capabilities_cover(now, session->offered, &missing)) {
        log_line(LOG_LEVEL_WARNING,
                 "backend %s offers no %.*s any more; clients that were told so are sent away",
                 session->target->settings->name, (int)missing.size, (const char *)missing.data);
        backend_replace_list(session->target, tls, now);
        return false;
    }
    return true;
}

static void welcome(struct session *session)
{
    backend_answered(session->target);
    if (session->greet.plan.purpose == GREET_BANNER) { /* APOP: the banner goes to the client */
        struct span banner = span_of(session->greet.reply, session->greet.reply_size);

        if (!session_reply(session, banner))
            return;
        greet_deinit(&session->greet);
        session->backend_greeted = true;
        session_move(session, ST_NEGOTIATE);
        session_deadline(session, session->snapshot->settings->limits.pop3_command_timeout_ms);
        if (session->held.size > 0)
            relay_resume(session);
        return;
    }
    if (still_the_same(session)) {
        relay_start(session);
        return;
    }
    if (session_reply_event(session, NEGOTIATE_SERVER_CHANGED))
        session_finish(session, "the server offers less than the client was told");
}

/* The backend's refusal is the answer to the client's pending command. */
static void refused(struct session *session, struct span answer)
{
    if (session_reply(session, answer))
        session_finish(session, "the server refused the session");
}

void connect_data(struct session *session)
{
    struct span in = session->octets;
    int verdict;

    do {
        struct text out = session_text(session);

        verdict = greet_feed(&session->greet, &in, &out);
        if (verdict == GREET_REFUSED) {
            refused(session, text_span(&out));
            return;
        }
        if (verdict == GREET_SEND &&
            (out.overflow || stream_write(&session->backend, text_span(&out)) < 0)) {
            failed(session, -EPIPE, "cannot be written to");
            return;
        }
    } while (verdict == GREET_SEND);
    if (verdict == GREET_READY && in.size > 0)
        verdict = -EPROTO; /* it speaks unasked */
    if (verdict < 0) {
        failed(session, verdict, "sends what is no reply");
        return;
    }
    if (verdict == GREET_READY)
        welcome(session);
}

void connect_end(struct session *session)
{
    failed(session, session->status ? session->status : -ECONNRESET,
           "closes the connection before it has greeted");
}

void connect_timeout(struct session *session)
{
    int r;

    if (session->busy_retries == 0 || uv_now(session->server->uv) >= session->line_deadline_ms) {
        failed(session, -ETIMEDOUT, "does not answer");
        return;
    }
    if (session->backend_open) {
        failed(session, -ETIMEDOUT, "does not answer");
        return;
    }
    r = try_connect(session);
    if (r == -EAGAIN)
        retry_later(session);
    else if (r < 0)
        failed(session, r, "cannot be connected to");
}

/* CONNECT: an address of the backend, the connection, who the client is, the banner, TLS where the
 * server wants it, the replay of the client's EHLO, HELO or USER.
 *
 * Happy path: choose, (queue for max_connections,) connect, PROXY header, banner, replay, compare
 * with what the client was offered, RELAY. An address that fails is left for the next; what the
 * last of them said instead of a welcome becomes the answer to the client's pending command. A full
 * backlog (EAGAIN) is retried until connect_timeout. No command of the client's has gone to a
 * server before RELAY. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/identity.h"
#include "proxy/policy.h"
#include "proxy/server.h"
#include "proxy/session.h"
#include "proxy/tls.h"

#define BUSY_RETRY_FIRST_MS 5
#define BUSY_RETRY_MOST_MS  100

static void next_address(struct session *session);
static void try_connect(struct session *session);

static bool opaque(const struct session *session)
{
    return protocol_is_relayed(session->rule->protocol);
}

static bool client_tls(const struct session *session)
{
    return session->client.tls != NULL;
}

static const char *backend_name(const struct session *session)
{
    return session->target->settings->name;
}

/* -- the end of an attempt, and of all of them -- */

void connect_free(struct session *session)
{
    struct attempt *attempt = session->attempt;

    if (!attempt)
        return;
    greet_deinit(&attempt->greet);
    free(attempt->refusal);
    free(attempt);
    session->attempt = NULL;
}

/* No address is left. */
static void give_up(struct session *session)
{
    struct attempt *attempt = session->attempt;
    bool busy = attempt->busy || attempt->lacking;
    enum negotiate_event event = busy               ? NEGOTIATE_TOO_MANY
                                 : attempt->garbage ? NEGOTIATE_BACKEND_GARBAGE
                                                    : NEGOTIATE_NO_BACKEND;
    const char *why = attempt->busy      ? "the server is busy"
                      : attempt->lacking ? "gatepost lacks descriptors or memory"
                      : attempt->garbage ? "the server sends what is no reply"
                                         : "the server does not answer";

    if (opaque(session)) {
        session_abort(session, false, why);
        return;
    }
    if (attempt->refusal) {
        if (session_reply(session, span_of(attempt->refusal, attempt->refusal_size)))
            session_finish(session, "the server refused the session");
        return;
    }
    if (session_reply_event(session, event))
        session_finish(session, why);
}

/* Goes on with another address, once this one's connection is closed: by `reset` where nothing that
 * was sent needs to arrive, so that a server that says nothing is not waited for. */
static void leave_address(struct session *session, bool reset)
{
    bool greeted = session->backend_greeted;

    session_close_stream(session, reset);
    if (greeted) /* an APOP server's banner has been shown: no other will do */
        give_up(session);
    else
        next_address(session);
}

/* The address could not be used. `words` alone tell what is wrong with the server's own words. */
static void failed(struct session *session, int error, const char *words)
{
    bool in_words = error == -EPROTO || error == -ENOTSUP;

    session->attempt->garbage = error == -EPROTO;
    session->attempt->lacking = error != -EAGAIN && backend_fault_is_ours(error);
    backend_failed(session->address, session->attempt->began_ms, in_words ? 0 : error, words);
    leave_address(session, true);
}

/* The server's own words for the log. */
static void log_refusal(struct session *session, struct span answer)
{
    char room[256];
    struct text words = TEXT_OVER(room);

    text_puts(&words, "refuses us: ");
    text_put_escaped(&words, span_without_line_end(answer), 200);
    backend_failed(session->address, session->attempt->began_ms, 0, text_str(&words));
}

/* The server does not want this session. Where it means us and not this client, another address
 * may. */
static void refused(struct session *session, struct span answer)
{
    struct attempt *attempt = session->attempt;

    free(attempt->refusal);
    attempt->refusal = malloc(answer.size);
    attempt->refusal_size = attempt->refusal ? answer.size : 0;
    if (attempt->refusal)
        memcpy(attempt->refusal, answer.data, answer.size);
    if (attempt->greet.fault)
        log_line(LOG_LEVEL_WARNING, "session %s: client %s, backend %s: %s", session->id,
                 session->peer, backend_name(session), attempt->greet.fault);
    if (!attempt->greet.unavailable) {
        give_up(session);
        return;
    }
    if (session->target->settings->identity == IDENTITY_NONE)
        log_refusal(session, answer);
    else if (session->target->settings->address.count > 1)
        backend_suspect(session->address); /* it may have meant this client alone: it is asked */
    leave_address(session, false);
}

/* -- choosing and connecting -- */

/* The backlog is full, or the former connection is still closing. */
static void retry_later(struct session *session)
{
    struct attempt *attempt = session->attempt;
    unsigned most = BUSY_RETRY_MOST_MS / BUSY_RETRY_FIRST_MS;

    if (uv_now(session->server->uv) >= attempt->deadline_ms) {
        attempt->busy = true;
        leave_address(session, true);
        return;
    }
    attempt->retries += attempt->retries < most;
    session_deadline(session, (uint64_t)BUSY_RETRY_FIRST_MS * attempt->retries);
}

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

/* `status` as of backend_connect(), or of what came before it. */
static void began_to_connect(struct session *session, uv_connect_t *request, int status)
{
    session_deadline(session, session->target->settings->connect_timeout_ms);
    if (status == 0) {
        session->connecting = request;
        return;
    }
    free(request);
    session->status = status < 0 ? status : 0;
    session_event(session, EV_BACKEND_UP); /* the session may have ended */
}

static void try_connect(struct session *session)
{
    bool local = backend_is_local(session->address);
    uv_connect_t *request;
    int r = -ENOMEM;

    if (session->handles > 2) { /* the former connection is still closing */
        retry_later(session);
        return;
    }
    request = local ? NULL : malloc(sizeof(*request));
    if (local || request)
        r = backend_stream_init(session->address, &session->backend, &session_backend_events,
                                session);
    if (r == 0) {
        session->handles++;
        session->backend_open = true;
        if (request)
            request->data = session;
        r = backend_connect(session->address, &session->backend, request, connected);
    }
    began_to_connect(session, request, r);
}

static struct greet_plan plan(struct session *session, enum greet_purpose purpose)
{
    const struct settings_backend *settings = session->target->settings;
    struct attempt *attempt = session->attempt;

    return (struct greet_plan){
        .protocol = session->rule->protocol,
        .purpose = purpose,
        .hello = span_of(session->negotiate.hello, session->negotiate.hello_size),
        .hostname = span_of_text(session->rule->hostname),
        .starttls = settings->tls == BACKEND_TLS_STARTTLS,
        .xclient = settings->identity == IDENTITY_XCLIENT,
        .client = { (struct sockaddr *)&attempt->client, (struct sockaddr *)&attempt->destination,
                    span_of(NULL, 0) },
    };
}

/* One of max_connections is ours. */
static void admitted(struct session *session)
{
    struct attempt *attempt = session->attempt;
    struct greet_plan greet_plan = plan(session, session->pending ? GREET_SESSION : GREET_BANNER);
    uint64_t now = uv_now(session->server->uv);

    session->admitted = true;
    attempt->began_ms = now;
    attempt->deadline_ms = now + session->target->settings->connect_timeout_ms;
    attempt->generation = backend_generation(session->address);
    attempt->retries = 0;
    greet_deinit(&attempt->greet);
    greet_init(&attempt->greet, &greet_plan);
    try_connect(session);
}

static void next_address(struct session *session)
{
    struct attempt *attempt = session->attempt;
    struct backend_address *next =
        backend_choose(session->target, client_tls(session), session->offered, attempt->key,
                       attempt->turn, attempt->tried);

    if (!next) {
        give_up(session);
        return;
    }
    session->address = next;
    attempt->tried |= UINT64_C(1) << session->address->number;
    session_deadline(session, session->target->settings->connect_timeout_ms);
    if (backend_take(session->address, &session->waiter) == 0)
        admitted(session);
}

/* There is room now; or the address went out of service while we queued for it. */
void connect_room(struct session *session)
{
    if (session->status < 0)
        next_address(session);
    else
        admitted(session);
}

/* By what the hash policies choose. */
static uint64_t key_of(struct session *session)
{
    const struct sockaddr *client = (struct sockaddr *)&session->attempt->client;
    struct span user = span_of(NULL, 0);

    if (session->target->settings->policy == POLICY_HASH_USER)
        user = session_login_name(session);
    if (user.size > 0)
        return policy_key(user.data, user.size);
    if (client->sa_family == AF_INET)
        return policy_key(&((const struct sockaddr_in *)(const void *)client)->sin_addr, 4);
    return policy_key(&((const struct sockaddr_in6 *)(const void *)client)->sin6_addr, 16);
}

/* A PROXY header asks for them itself. */
static bool wants_addresses(const struct settings_backend *settings)
{
    return settings->identity == IDENTITY_XCLIENT || settings->policy == POLICY_HASH_USER ||
           settings->policy == POLICY_HASH_CLIENT;
}

void connect_start(struct session *session)
{
    struct attempt *attempt = calloc(1, sizeof(*attempt));
    struct greet_plan replay;

    session_move(session, ST_CONNECT);
    if (!attempt) {
        session_abort(session, false, "no memory");
        return;
    }
    session->attempt = attempt;
    if (wants_addresses(session->target->settings) &&
        identity_addresses(&session->client, session->origin, &attempt->client,
                           &attempt->destination) < 0) {
        session_abort(session, false, "the client is gone");
        return;
    }
    if (session->backend_greeted) {
        attempt->began_ms = uv_now(session->server->uv);
        session_deadline(session, session->target->settings->connect_timeout_ms);
        replay = plan(session, GREET_REPLAY);
        greet_init(&attempt->greet, &replay);
        session->octets = span_of(NULL, 0);
        connect_data(session);
        return;
    }
    session->address = NULL; /* another login may have had another server */
    attempt->key = key_of(session);
    attempt->turn = session->target->turn++;
    next_address(session);
}

/* -- events -- */

/* Does it greet before we have to be understood? */
static bool server_speaks_first(const struct session *session)
{
    return session->target->settings->tls != BACKEND_TLS_IMPLICIT && !opaque(session);
}

static int tell_identity(struct session *session)
{
    unsigned char header[IDENTITY_ROOM];
    long size = identity_write(session->target->settings->identity, &session->client,
                               session->origin, session->id, header, sizeof(header));

    if (size < 0)
        return (int)size;
    if (size > 0 && stream_write(&session->backend, span_of(header, (size_t)size)) < 0)
        return -EPIPE;
    return stream_flush(&session->backend) < 0 ? -EPIPE : 0;
}

static int start_tls(struct session *session)
{
    return stream_start_tls_client(&session->backend, session->target->tls,
                                   backend_server_name(session->address));
}

void connect_up(struct session *session)
{
    int r;

    if (session->status == -EAGAIN) {
        session_close_connection(session, false);
        retry_later(session);
        return;
    }
    if (session->status < 0) {
        failed(session, session->status, "cannot be reached");
        return;
    }
    r = tell_identity(session);
    if (r < 0 && r != -EPIPE) { /* its address went with it; the server is not to blame */
        session_abort(session, false, "the client is gone");
        return;
    }
    if (r < 0 && !server_speaks_first(session)) {
        failed(session, r, "cannot be written to");
        return;
    } /* or else it has left already: what it said is read, and may be that it is busy */
    if (session->target->settings->tls == BACKEND_TLS_IMPLICIT) {
        if (start_tls(session) < 0)
            failed(session, -ENOMEM, "cannot be reached by TLS");
        return;
    }
    if (opaque(session)) {
        backend_answered(session->address, session->attempt->generation);
        relay_start(session);
        return;
    }
    r = stream_read(&session->backend, 0);
    if (r < 0)
        failed(session, r, "cannot be read from");
}

/* TLS to the server is up, or has failed. */
void connect_tls(struct session *session)
{
    if (session->status < 0) {
        failed(session, 0, tls_failure(&session->backend));
        return;
    }
    if (opaque(session)) {
        backend_answered(session->address, session->attempt->generation);
        relay_start(session);
        return;
    }
    if (session->target->settings->tls == BACKEND_TLS_STARTTLS) {
        greet_tls_done(&session->attempt->greet);
        session->octets = span_of(NULL, 0);
        connect_data(session);
    }
}

/* Is the server still the one that we described to the client? What it says now is kept. */
static bool still_the_same(struct session *session)
{
    struct capabilities *now = session->attempt->greet.list;
    struct span missing;

    if (!now || !session->negotiate.extended)
        return true;
    backend_heard(session->address, client_tls(session), now);
    if (!session->offered || !session->negotiate.offered ||
        capabilities_cover(now, session->offered, &missing))
        return true;
    log_line(LOG_LEVEL_WARNING,
             "backend %s offers no %.*s any more; clients that were told so are sent away",
             backend_name(session), (int)missing.size, (const char *)missing.data);
    return false;
}

static void welcome(struct session *session)
{
    struct greet *greet = &session->attempt->greet;

    backend_answered(session->address, session->attempt->generation);
    if (greet->plan.purpose == GREET_BANNER) { /* APOP: the banner goes to the client */
        if (!session_reply(session, span_of(greet->reply, greet->reply_size)))
            return;
        connect_free(session);
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

void connect_data(struct session *session)
{
    struct greet *greet = &session->attempt->greet;
    struct span in = session->octets;
    struct text out;
    int verdict;

    for (;;) {
        out = session_text(session);
        verdict = greet_feed(greet, &in, &out);
        if (verdict != GREET_SEND)
            break;
        if (out.overflow || stream_write(&session->backend, text_span(&out)) < 0) {
            failed(session, -EPIPE, "cannot be written to");
            return;
        }
    }
    if (verdict == GREET_TLS && in.size > 0) { /* an injection: RFC 3207 section 6 */
        failed(session, -EPROTO, "sends more than its reply to STARTTLS or STLS");
        return;
    }
    if (verdict == GREET_READY && in.size > 0)
        verdict = -EPROTO; /* it speaks unasked */
    switch (verdict) {
    case GREET_MORE:
        return;
    case GREET_TLS:
        if (start_tls(session) < 0)
            failed(session, -ENOMEM, "cannot be reached by TLS");
        return;
    case GREET_READY:
        welcome(session);
        return;
    case GREET_REFUSED:
        refused(session, text_span(&out));
        return;
    default:
        failed(session, verdict, greet->fault ? greet->fault : "sends what is no reply");
    }
}

void connect_end(struct session *session)
{
    failed(session, session->status ? session->status : -ECONNRESET,
           "closes the connection before it has greeted");
}

void connect_timeout(struct session *session)
{
    if (!session->admitted) { /* the queue was too long */
        backend_stop_waiting(&session->waiter);
        session->attempt->busy = true;
        leave_address(session, false);
        return;
    }
    if (session->backend_open) {
        failed(session, -ETIMEDOUT, "does not answer");
        return;
    }
    try_connect(session);
}

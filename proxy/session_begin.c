/* The beginning of a session: who the client is, and which kind of TLS it speaks.
 *
 * Happy path: a trusted balancer's PROXY header (PROXY); wait for a first octet (DETECT); 0x16
 * begins a handshake, silence brings the greeting and NEGOTIATE. An opaque port goes from DETECT or
 * HANDSHAKE to CONNECT at once. */
#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/detect.h"
#include "proxy/identity.h"
#include "proxy/server.h"
#include "proxy/session.h"

/* In clear a read is lent at most this much while we negotiate, so that the rest stays in the
 * kernel. */
#define NEGOTIATE_READ_BYTES 1024

#define PROXY_WAIT_MS                                                                              \
    5000 /* for the whole PROXY header, which comes at once from an honest balancer */

#define SSLV2_IS_OFF                                                                               \
    "client offers SSL 2.0 or an SSL 2.0 hello; TLS 1.2 is the oldest served (tls_profile = "      \
    "legacy serves TLS 1.0 inside such a hello, from private networks)"

/* DETECT has ended: what comes next on this port? */
void front_leave_detect(struct session *session)
{
    bool plain = !session->client.tls;

    session->negotiate.told_plain = plain && session->rule->implicit_tls;
    if (protocol_is_relayed(session->rule->protocol) ||
        (session->rule->apop && session->rule->protocol == PROTOCOL_POP3 &&
         !session->backend_greeted && !session->negotiate.told_plain)) {
        connect_start(session);
        return;
    }
    front_greet(session);
}

static size_t listen_index(const struct session *session)
{
    return (size_t)(session->listen - session->snapshot->settings->listens);
}

/* Does the client lie in the listener's `from`? Of what a trusted balancer begins by itself, the
 * balancer is the client. */
static bool is_welcome(const struct session *session)
{
    const struct networks *from = &session->snapshot->from[listen_index(session)];
    struct sockaddr_storage client, own;

    return from->count == 0 ||
           (identity_addresses(&session->client, session->origin, &client, &own) == 0 &&
            network_contains(from->networks, from->count, &client));
}

/* The client is known. `first` are octets of it that have come already. */
static void begin_detect(struct session *session, struct span first)
{
    enum hint hint = HINT_NONE;
    uint32_t wait;

    if (!is_welcome(session)) {
        session_abort(session, false, "closed at once: `from` does not name the client's network");
        return;
    }
    session_move(session, ST_DETECT);
    if (!session->listen->detect && session->rule->implicit_tls) {
        front_begin_handshake(session, first);
        return;
    }
    if (session->hint)
        hint = hints_lookup(session->server->hints, session->hint, front_now_s(session));
    wait = detect_wait_ms(session->rule->implicit_tls, session->listen->detect_wait_ms, hint);
    if (!session->listen->detect && !protocol_is_relayed(session->rule->protocol))
        wait = 0;
    if (wait == 0 && (first.size == 0 || !session->listen->detect))
        front_leave_detect(session);
    else
        session_deadline(session, wait);
    if (first.size == 0)
        return;
    session->octets = first;
    session_event(session, EV_CLIENT_DATA); /* session may be gone now */
}

/* Does the peer itself, not a client that it names, lie in the listener's `trusted`? */
static bool peer_trusted(const struct session *session, struct sockaddr_storage *ret_peer)
{
    const struct networks *trusted = &session->snapshot->trusted[listen_index(session)];
    struct sockaddr_storage own;

    return trusted->count > 0 && identity_addresses(&session->client, NULL, ret_peer, &own) == 0 &&
           network_contains(trusted->networks, trusted->count, ret_peer);
}

void front_start(struct session *session)
{
    struct sockaddr_storage peer;

    if (session->server->draining) {
        session_move(session, ST_NEGOTIATE);
        if (session_reply_event(session, NEGOTIATE_SHUTDOWN))
            session_finish(session, "shutting down");
        return;
    }
    if (!peer_trusted(session, &peer)) {
        begin_detect(session, span_of(NULL, 0));
        return;
    }
    session_move(session, ST_PROXY);
    session_deadline(session, PROXY_WAIT_MS);
}

/* It may be anybody's connection: nothing is answered, and nothing that it says is believed. */
static void no_header(struct session *session, const char *words)
{
    log_line(LOG_LEVEL_NOTICE, "session %s: port %s %u: the connection of trusted %s %s",
             session->id, session->listen->name, session->rule->port, session->peer, words);
    session_abort(session, false, "no PROXY header");
}

void front_proxy_end(struct session *session)
{
    session_abort(session, false, "closed before its PROXY header");
}

void front_proxy_timeout(struct session *session)
{
    no_header(session, "sends no PROXY header in time");
}

_Static_assert(sizeof(((struct origin *)0)->through) == sizeof(((struct session *)0)->peer),
               "the peer's text is kept there");

static bool keep_origin(struct session *session, const struct origin *origin)
{
    session->origin = malloc(sizeof(*session->origin));
    if (!session->origin) {
        session_abort(session, false, "no memory");
        return false;
    }
    *session->origin = *origin;
    memcpy(session->origin->through, session->peer, sizeof(session->peer));
    session_know_client(session, &origin->client);
    return true;
}

void front_proxy_data(struct session *session)
{
    unsigned char joined[PROXY_HEADER_MAX];
    struct span octets = session->octets, before = chunk_queue_front(&session->held);
    struct span bytes = octets;
    struct origin origin;
    size_t size;
    int r;

    if (before.size > 0) { /* not longer than a header, or it would have been judged */
        struct span part = span_first(octets, sizeof(joined) - before.size);

        memcpy(joined, before.data, before.size);
        memcpy(joined + before.size, part.data, part.size);
        bytes = span_of(joined, before.size + part.size);
    }
    r = proxy_header_read(bytes, &origin, &size);
    if (r == PROXY_HEADER_MORE) {
        session_hold(session, octets);
        return;
    }
    if (r < 0) {
        no_header(session, "does not begin with a PROXY header");
        return;
    }
    octets = span_skip(octets, size - before.size);
    session->client.octets_in -= size;      /* the balancer said this */
    explicit_bzero(joined, sizeof(joined)); /* what stands behind the header may be a login */
    chunk_queue_clear(&session->held, &session->server->loop.chunks, false);
    if (r == PROXY_HEADER_NO_ORIGIN || keep_origin(session, &origin))
        begin_detect(session, octets);
}

void front_detect_timeout(struct session *session)
{
    if (session->held.size > 0)
        session->heard_client = true;
    front_leave_detect(session);
    if (session->state == ST_NEGOTIATE && session->held.size > 0)
        relay_resume(session);
}

static void tls_first(struct session *session, struct span octets)
{
    if (!session->rule->tls_available) {
        session_abort(session, false, front_tls_is_off(session));
        return;
    }
    if (!limits_take(&session->server->tls_rate, uv_now(session->server->uv))) {
        session_abort(session, false, "more new TLS handshakes than tls_rate allows");
        return;
    }
    if (session->hint)
        hints_note_tls(session->server->hints, session->hint, front_now_s(session), false);
    front_begin_handshake(session, octets);
}

/* Text before the greeting. */
static void early_text(struct session *session, struct span octets)
{
    if (protocol_is_relayed(session->rule->protocol)) {
        if (session_hold(session, octets))
            front_leave_detect(session);
        return;
    }
    if (session->listen->early_talker == EARLY_TALKER_REFUSE) {
        if (session_reply_event(session, NEGOTIATE_EARLY_TALKER))
            session_finish(session, "client talks before the greeting");
        return;
    }
    if (session->hint)
        hints_note_plain(session->server->hints, session->hint, front_now_s(session));
    front_leave_detect(session);
    session->octets = octets;
    if (session->state == ST_NEGOTIATE)
        front_data(session);
    else if (session->state == ST_CONNECT)
        session_hold(session, octets);
}

void front_detect_data(struct session *session)
{
    struct span octets = session->octets;
    unsigned char joined[DETECT_OCTETS_MAX + NEGOTIATE_READ_BYTES];
    struct span before = chunk_queue_front(&session->held);

    if (before.size > 0) { /* at most two octets, of what may be a hello of SSL 2.0 */
        size_t part = octets.size < NEGOTIATE_READ_BYTES ? octets.size : NEGOTIATE_READ_BYTES;

        memcpy(joined, before.data, before.size);
        memcpy(joined + before.size, octets.data, part);
        octets = span_of(joined, before.size + part);
        chunk_queue_clear(&session->held, &session->server->loop.chunks, false);
    }
    switch (detect_first(octets)) {
    case DETECT_MORE:
        session_hold(session, octets);
        return;
    case DETECT_TLS:
        if (front_tls_possible(session) || session->rule->implicit_tls) {
            tls_first(session, octets);
            return;
        }
        session_abort(session, false, front_tls_is_off(session));
        return;
    case DETECT_SSLV2:
        if (protocol_is_relayed(session->rule->protocol))
            break;
        if (front_tls_possible(session) && session->listen->tls_profile == TLS_PROFILE_LEGACY) {
            tls_first(session, octets); /* it may offer TLS 1.0 inside: RFC 5246 appendix E.2 */
            return;
        }
        if (session_reply(session, detect_sslv2_alert()))
            session_finish(session, SSLV2_IS_OFF);
        return;
    default:
        break;
    }
    session->heard_client = true;
    early_text(session, octets);
}

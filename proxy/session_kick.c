/* The operator ends a session.
 *
 * Between commands, and in the place of a reply that the server owes, the client hears a last word
 * (421, -ERR); where nothing can be said, both sides are closed at once, and a server that has not
 * seen the end of a message drops it. Only a message that was received whole is waited for: its
 * server may have stored it, and the client must hear so. */
#include "proxy/server.h"
#include "proxy/session.h"

#define WORDS "ended by the operator"

static enum session_kick say_and_finish(struct session *session)
{
    if (protocol_is_relayed(session->rule->protocol))
        session_abort(session, false, NULL);
    else if (session_reply_event(session, NEGOTIATE_KICKED))
        session_finish(session, NULL);
    return SESSION_KICKED;
}

/* In the middle of a reply the client must not take a FIN for its end. */
static enum session_kick cut(struct session *session)
{
    session_abort(session, session->inspector.open && inspector_in_reply(&session->inspector),
                  NULL);
    return SESSION_KICKED;
}

static enum session_kick kick_relayed(struct session *session)
{
    const struct inspector *inspector = &session->inspector;

    if (protocol_is_relayed(session->rule->protocol))
        return cut(session);
    if (inspector_quiet(inspector))
        return say_and_finish(session);
    switch (inspector_facts(inspector)->quit ? INSPECT_END_FLUSH
                                             : inspector_client_end(inspector)) {
    case INSPECT_END_IDLE:
    case INSPECT_END_ANSWER: /* in the place of the server's reply, but not in the middle of one */
        return inspector_in_reply(inspector) ? cut(session) : say_and_finish(session);
    case INSPECT_END_VANISHED:
        return cut(session);
    case INSPECT_END_FLUSH:
        break;
    }
    session->kicked = true; /* relay.c comes back here with each reply */
    return SESSION_KICKED_LATER;
}

static enum session_kick kick(struct session *session)
{
    switch ((enum session_state)session->state) {
    case ST_PROXY:
    case ST_DETECT:
    case ST_NEGOTIATE:
    case ST_LEARN:
    case ST_CONNECT:
        return say_and_finish(session);
    case ST_RELAY:
        return kick_relayed(session);
    case ST_HANDSHAKE:
    case ST_DRAIN:
        return cut(session);
    case ST_CLOSED:
    case ST_COUNT:
        break;
    }
    return SESSION_GONE;
}

enum session_kick session_kick(struct session *session)
{
    enum session_kick result;

    if (session->state != ST_CLOSED && !session->kicked) {
        session->verdict = WORDS;
        stats_count(&session->server->stats->kicked);
    }
    result = kick(session);
    session_update(session);
    return result;
}

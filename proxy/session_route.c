/* Which server a session goes to, and what may be promised before that is known.
 *
 * Happy path: the name of the user who logs in is looked up in the listener's map, and the backend
 * that the map names is the session's target; a user whom the map does not know, and a session
 * without a login, goes to the listener's own. What is offered before is what all of them can do.
 *
 * Failures: a map that names a backend of no address, or none that the settings allow, is told in
 * the log once, and its users are refused for now. */
#include "proxy/base/log.h"
#include "proxy/policy.h"
#include "proxy/server.h"
#include "proxy/session.h"

/* What a server is known to offer; NULL: nothing of it is known. */
static struct capabilities *known(const struct session *session, struct backend *backend)
{
    return backend_offer(backend, session->client.tls != NULL);
}

bool route_known(const struct session *session)
{
    return known(session, session->target) != NULL;
}

struct capabilities *route_offer(const struct session *session)
{
    const struct service_port *port = session->port;
    struct capabilities *all = NULL, *both;

    for (size_t i = 0; i < port->backend_count; i++) {
        struct capabilities *one = known(session, port->backends[i]);

        if (!one) /* out of service: nobody ends there now */
            continue;
        both = all ? capabilities_intersect(all, one) : capabilities_ref(one);
        capabilities_unref(all);
        if (!both)
            return NULL;
        all = both;
    }
    if (!all || !session->rule->reads_login)
        return all;
    both = capabilities_before_routing(all);
    capabilities_unref(all);
    return both;
}

int route_learn(struct session *session, bool first)
{
    const struct service_port *port = session->port;
    bool tls = session->client.tls != NULL;

    if (first)
        session->learn_next = 0;
    for (size_t i = 1; first && i < port->backend_count; i++) /* all at the same time */
        backend_learn(port->backends[i], tls, NULL);
    while (session->learn_next < port->backend_count) {
        struct backend *backend = port->backends[session->learn_next++];

        /* Where some address is known, those that are not are asked beside. */
        if (backend_learn(backend, tls, &session->waiter) == BACKEND_LEARNING)
            return BACKEND_LEARNING;
    }
    return BACKEND_KNOWN;
}

struct span session_login_name(const struct session *session)
{
    return negotiate_user(&session->negotiate);
}

/* The name in the map is from a file that we only read: it goes to the log escaped, and once. */
static void tell_wrong(struct service_port *port, const char *name)
{
    uint32_t hash = (uint32_t)policy_key(name, strlen(name));
    char room[256];
    struct text escaped = TEXT_OVER(room);

    for (size_t i = 0; i < port->routes_told_count; i++)
        if (port->routes_told[i] == hash)
            return;
    if (port->routes_told_count == SERVICE_ROUTES_TOLD)
        return;
    port->routes_told[port->routes_told_count++] = hash;
    text_put_escaped(&escaped, span_of_text(name), ROUTE_BACKEND_MAX);
    log_line(LOG_LEVEL_WARNING,
             "port %s: its map names backend %s, which is not in route_backends or has no address; "
             "users that are routed there are refused for now",
             port->listen->name, text_str(&escaped));
}

struct backend *route_target(const struct session *session, struct span user)
{
    struct service_port *port = session->port;
    char name[ROUTE_BACKEND_MAX];

    if (user.size == 0 || !port->listen->route[0])
        return port->backend;
    if (!port->route) /* it could not be used: who is at which server is not known */
        return NULL;
    if (!route_find(port->route, user, name))
        return port->backend;
    for (size_t i = 0; i < port->backend_count; i++)
        if (strcmp(port->backends[i]->settings->name, name) == 0)
            return port->backends[i];
    tell_wrong(port, name);
    return NULL;
}

/* One configuration at work in a worker: its snapshot, the backends, and what each of its ports
 * leads to.
 *
 * Made from a bundle at the start and at each reload. Sessions hold the service that they began
 * with; when the last of an old one has ended, its backends go too. What changes while it is in use
 * is only what the outside world does: addresses, health, lists, maps of routes. */
#ifndef GATEPOST_PROXY_SERVICE_H
#define GATEPOST_PROXY_SERVICE_H

#include <sys/queue.h>

#include "proxy/backend.h"
#include "proxy/base/child.h"
#include "proxy/route.h"
#include "proxy/snapshot.h"

#define SERVICE_ROUTES_TOLD                                                                        \
    8 /* wrong names that are logged, of each map of each worker; guessed                          \
       */

/* What one [listen] section leads to. */
struct service_port {
    struct service *service;
    const struct settings_listen *listen;
    const struct dialogue_rule *rule;
    struct backend *backend; /* where sessions go that no route leads elsewhere; NULL: not opened */
    /* `backend` and all others that a session of this port may end at. */
    struct backend **backends;
    size_t backend_count;
    struct route *route;                       /* the map; NULL: it does not route */
    uint32_t routes_told[SERVICE_ROUTES_TOLD]; /* hashes of names that were logged as wrong */
    uint8_t routes_told_count;
};

struct service {
    unsigned references;
    uint32_t number;          /* of its configuration */
    LIST_ENTRY(service) link; /* in server->services, until nobody refers to it */
    void (*ended)(void *owner, struct service *service); /* nobody does any more; may be NULL */
    void *owner;
    struct snapshot *snapshot;
    struct service_port *ports; /* one for each of the settings' listens, at the same index */
    struct backend *backends; /* one for each of the settings' backends; unused ones have no loop */
    size_t closing;           /* handles of backends that are not closed yet */
};

/* `snapshot` is taken over, also on failure. `health`: HEALTH_SLOTS of them. 0 with one reference,
 * or -errno. */
int service_new(struct snapshot *snapshot, struct stream_loop *loop, struct health *health,
                unsigned worker, struct service **ret_service);
struct service *service_ref(struct service *service);
void service_unref(struct service *service); /* NULL is fine; memory is freed by the loop */

/* The port of that name, or NULL. */
struct service_port *service_port(struct service *service, struct span name);

/* What is known of the outside world goes on: the addresses of names, the maps of routes. */
void service_inherit(struct service *service, struct service *old);

/* What backends can do is asked before the first client needs it. */
void service_learn(struct service *service);

/* CHILD_ADDRESSES. False: it is no such message. */
bool service_take_addresses(struct service *service, struct span message);

/* CHILD_ROUTE: another map for the sessions of a [listen]; `fd` is borrowed. */
void service_take_route(struct service *service, struct span message, int fd);

#endif

/* What the host names of servers stand for: looked up in the supervisor, at start and again and
 * again, so that a server may move without a restart.
 *
 * Every name is looked up in a thread of its own: a name server that does not answer delays neither
 * the start, nor the loop, nor another name, nor the end. Until a name is known its slots are
 * empty; when it cannot be looked up, what was known stays. */
#ifndef GATEPOST_PROXY_RESOLVER_H
#define GATEPOST_PROXY_RESOLVER_H

#include <uv.h>

#include "proxy/address.h"
#include "proxy/health.h"

struct resolver;

struct resolver_start {
    uv_loop_t *loop;
    const struct settings *settings; /* borrowed until resolver_close() */
    struct health *health;           /* HEALTH_SLOTS; reset where a slot changes */
    const uint16_t *slots;           /* which of them each address slot has */
    /* Some slots stand for others now. Never called before resolver_new() returns. */
    void (*changed)(void *owner, const struct child_address *slots, size_t count);
    /* Each name has been looked up once, well or not. Likewise. */
    void (*settled)(void *owner);
    void *owner;
    const struct resolver *before; /* what it knows of the same names is known; or NULL */
};

/* Begins to look up the host names of all backends that a port leads to. 0 or -errno. */
int resolver_new(const struct resolver_start *start, struct resolver **ret_resolver);

/* Has each name been looked up once, well or not? */
bool resolver_settled(const struct resolver *resolver);

/* All slots of host names that stand for an address now; returns how many. */
size_t resolver_known(const struct resolver *resolver,
                      struct child_address ret_slots[ADDRESS_SLOTS_MAX]);

/* The ai_flags with which this host is looked up, also by others. */
int resolver_flags(const char *host);

/* NULL is fine. The handles close in the loop; a look-up that hangs is left behind. */
void resolver_close(struct resolver *resolver);

#endif

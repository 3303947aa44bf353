/* Private between the parts of a backend: backend.c, backend_health.c, backend_list.c. */
#ifndef GATEPOST_PROXY_BACKEND_PRIVATE_H
#define GATEPOST_PROXY_BACKEND_PRIVATE_H

#include "proxy/backend.h"

#define BACKEND_TICK_QUEUE_MS 20  /* another worker may have given a connection back; guessed */
#define BACKEND_TICK_OUT_MS   250 /* how late an attempt may be; guessed */

static inline bool backend_is_empty(const struct backend_address *address)
{
    return address->to.to.any.sa_family == 0;
}

static inline bool backend_in_service(const struct backend_address *address)
{
    return !backend_is_empty(address) && health_in_service(address->health);
}

static inline bool backend_is_known(const struct backend_address *address, bool tls)
{
    return address->known[tls].list &&
           address->known[tls].generation == backend_generation(address);
}

/* One of the two dialogues is enough: the other may have been refused for a reason of its own. */
static inline bool backend_relays(const struct backend_address *address)
{
    return address->known[false].open_relay || address->known[true].open_relay;
}

static inline bool backend_is_shut(const struct backend_address *address)
{
    return address->backend->protocol == PROTOCOL_SMTP && backend_relays(address) &&
           !address->backend->settings->trusts_us;
}

static inline const char *backend_name(const struct backend_address *address)
{
    return address->backend->settings->name;
}

/* backend_health.c */
void backend_wait_in(struct backend_waiters *waiters, struct backend_waiter *waiter);
void backend_tell_waiters(struct backend *backend, bool tls, int status);
void backend_note_fault(struct backend_address *address, int error, const char *cause);

/* The timer goes off in `ms` at the latest. */
void backend_keep_ticking(struct backend *backend, uint64_t ms);

#endif

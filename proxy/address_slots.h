/* Which health slots (health.h) the addresses of a configuration have.
 *
 * PURE. An item of an `address` that the configuration before has too, in the same backend, keeps
 * its slots, and with them its health and its counts of connections. A new one gets those that were
 * used longest ago: sessions of configurations before may still count in theirs. */
#ifndef GATEPOST_PROXY_ADDRESS_SLOTS_H
#define GATEPOST_PROXY_ADDRESS_SLOTS_H

#include "conf/settings.h"
#include "proxy/address.h"
#include "proxy/health.h"

/* The number of the configuration that used each health slot last; 0: none has. */
struct address_slots {
    uint32_t used[HEALTH_SLOTS];
};

/* A configuration, and the health slot of each of its address slots. */
struct address_slots_of {
    const struct settings *settings;
    const uint16_t *slots; /* ADDRESS_SLOTS_MAX of them */
};

/* Numbers of configurations grow from 1. `before` is the one in use, settings NULL: there is none.
 * Fills ret_slots for all address slots of `settings` (those above are 0), and sets ret_fresh where
 * the health slot is not what it was: it is to be reset. */
void address_slots_assign(struct address_slots *table, uint32_t number,
                          const struct address_slots_of *before, const struct settings *settings,
                          uint16_t ret_slots[ADDRESS_SLOTS_MAX], bool ret_fresh[ADDRESS_SLOTS_MAX]);

#endif

/* Health slots over reloads.
 *
 * Happy path: items that stay are found in the configuration before by backend and text, and marked
 * first; then each of the others takes the free slots that were used longest ago. There are twice
 * as many health slots as a configuration has addresses: it cannot fail. */
#include "proxy/address_slots.h"

#include <string.h>

struct assigning {
    struct address_slots *table;
    uint32_t number;
    const struct address_slots_of *before;
    const struct settings *settings;
    uint16_t *slots;
    bool *fresh;
    bool taken[ADDRESS_SLOTS_MAX / ADDRESS_PER_ITEM]; /* items of the configuration before */
};

static bool in_range(size_t slot)
{
    return slot + ADDRESS_PER_ITEM <= ADDRESS_SLOTS_MAX;
}

static const struct settings_backend *find_backend(const struct settings *settings,
                                                   const char *name)
{
    for (size_t i = 0; settings && i < settings->backend_count; i++)
        if (strcmp(settings->backends[i].name, name) == 0)
            return &settings->backends[i];
    return NULL;
}

/* The first address slot of the same item in the configuration before that no other item of this
 * one has taken; ADDRESS_SLOTS_MAX: there is none. */
static size_t find_before(struct assigning *assigning, const char *backend, const char *item)
{
    const struct settings *settings = assigning->before->settings;
    const struct settings_backend *former = find_backend(settings, backend);
    size_t first = former ? address_first_slot(settings, former) : 0;

    for (size_t i = 0; former && i < former->address.count; i++) {
        size_t slot = first + i * ADDRESS_PER_ITEM;

        if (!in_range(slot) || assigning->taken[slot / ADDRESS_PER_ITEM] ||
            strcmp(former->address.items[i], item) != 0)
            continue;
        assigning->taken[slot / ADDRESS_PER_ITEM] = true;
        return slot;
    }
    return ADDRESS_SLOTS_MAX;
}

static void keep(struct assigning *assigning, size_t slot, size_t former)
{
    for (size_t i = 0; i < ADDRESS_PER_ITEM; i++) {
        uint16_t kept = assigning->before->slots[former + i];

        assigning->slots[slot + i] = kept;
        assigning->fresh[slot + i] = false;
        assigning->table->used[kept] = assigning->number;
    }
}

static void take_oldest(struct assigning *assigning, size_t slot)
{
    uint32_t *used = assigning->table->used;

    for (size_t i = 0; i < ADDRESS_PER_ITEM; i++) {
        size_t oldest = 0;

        for (size_t k = 1; k < HEALTH_SLOTS; k++)
            if (used[k] < used[oldest])
                oldest = k;
        assigning->slots[slot + i] = (uint16_t)oldest;
        assigning->fresh[slot + i] = true;
        used[oldest] = assigning->number;
    }
}

/* One pass over all items: those that stay, or the others. */
static void assign(struct assigning *assigning, bool known[ADDRESS_SLOTS_MAX], bool others)
{
    const struct settings *settings = assigning->settings;
    size_t slot = 0;

    for (size_t i = 0; i < settings->backend_count; i++) {
        const struct settings_backend *backend = &settings->backends[i];

        for (size_t k = 0; k < backend->address.count; k++, slot += ADDRESS_PER_ITEM) {
            size_t former;

            if (!in_range(slot) || (others && known[slot]))
                continue;
            if (others) {
                take_oldest(assigning, slot);
                continue;
            }
            former = find_before(assigning, backend->name, backend->address.items[k]);
            known[slot] = former < ADDRESS_SLOTS_MAX;
            if (known[slot])
                keep(assigning, slot, former);
        }
    }
}

void address_slots_assign(struct address_slots *table, uint32_t number,
                          const struct address_slots_of *before, const struct settings *settings,
                          uint16_t ret_slots[ADDRESS_SLOTS_MAX], bool ret_fresh[ADDRESS_SLOTS_MAX])
{
    struct assigning assigning = { .table = table,
                                   .number = number,
                                   .before = before,
                                   .settings = settings,
                                   .slots = ret_slots,
                                   .fresh = ret_fresh };
    bool known[ADDRESS_SLOTS_MAX] = { false };

    memset(ret_slots, 0, ADDRESS_SLOTS_MAX * sizeof(*ret_slots));
    memset(ret_fresh, 0, ADDRESS_SLOTS_MAX * sizeof(*ret_fresh));
    assign(&assigning, known, false);
    assign(&assigning, known, true);
}

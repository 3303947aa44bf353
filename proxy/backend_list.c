/* What the addresses of a backend can do: learned, kept, and offered together.
 *
 * Happy path: a dialogue of backend_learn.c ends, its list is kept without what the operator hides,
 * and everybody who waits is told. A dialogue that an outage ran into counts for nothing. */
#include <errno.h>
#include <stdlib.h>

#include "proxy/backend_private.h"
#include "proxy/base/log.h"

/* Those whose list counts: in service and learned; those that are shut only where all are. */
static uint64_t offering(const struct backend *backend, bool tls)
{
    uint64_t open = 0, shut = 0;

    for (size_t i = 0; i < backend->count; i++) {
        const struct backend_address *address = &backend->addresses[i];

        if (backend_in_service(address) && backend_is_known(address, tls))
            *(backend_is_shut(address) ? &shut : &open) |= UINT64_C(1) << i;
    }
    return open ? open : shut;
}

static struct capabilities *intersect(const struct backend *backend, bool tls, uint64_t mask)
{
    struct capabilities *common = NULL;

    for (size_t i = 0; i < backend->count; i++) {
        struct capabilities *list = backend->addresses[i].known[tls].list, *both;

        if (!(mask >> i & 1))
            continue;
        both = common ? capabilities_intersect(common, list) : capabilities_ref(list);
        capabilities_unref(common);
        if (!both)
            return NULL;
        common = both;
    }
    return common;
}

struct capabilities *backend_offer(struct backend *backend, bool tls)
{
    uint64_t mask = offering(backend, tls);

    if (mask == 0)
        return NULL;
    if (backend->common[tls].mask != mask) {
        capabilities_unref(backend->common[tls].list);
        backend->common[tls].list = intersect(backend, tls, mask);
        backend->common[tls].mask = backend->common[tls].list ? mask : 0;
    }
    return backend->common[tls].list;
}

bool backend_shut(const struct backend *backend)
{
    bool shut = false;

    for (size_t i = 0; i < backend->count; i++) {
        const struct backend_address *address = &backend->addresses[i];

        if (!backend_in_service(address) ||
            (!backend_is_known(address, false) && !backend_is_known(address, true)))
            continue;
        if (!backend_is_shut(address))
            return false;
        shut = true;
    }
    return shut;
}

/* Learns those that are in service and not known, or `all`; *ret_asked: somebody is being asked. */
static int learn_some(struct backend *backend, bool tls, bool all, bool *ret_asked)
{
    int result = -EADDRNOTAVAIL;

    *ret_asked = false;
    for (size_t i = 0; i < backend->count; i++) {
        struct backend_address *address = &backend->addresses[i];
        uint64_t age = uv_now(backend->loop->uv) - address->known[tls].learned_ms;
        int r = 0;

        if (!backend_is_empty(address) && !health_in_service(address->health))
            backend_keep_ticking(backend,
                                 BACKEND_TICK_OUT_MS); /* the worker that asked it may have died */
        if (backend_is_empty(address) || (!all && !health_in_service(address->health)))
            continue;
        if (all || !backend_is_known(address, tls) || age > BACKEND_RELEARN_MS)
            r = backend_learn_start(address, tls);
        if (r < 0)
            result = r;
        *ret_asked = *ret_asked || address->known[tls].learning;
    }
    return result;
}

int backend_learn(struct backend *backend, bool tls, struct backend_waiter *waiter)
{
    bool asked;
    int r = learn_some(backend, tls, false, &asked);

    if (backend_offer(backend, tls))
        return BACKEND_KNOWN;
    if (!asked)
        r = learn_some(backend, tls, true, &asked);
    if (!asked)
        return r;
    if (waiter)
        backend_wait_in(&backend->waiters[tls], waiter);
    return BACKEND_LEARNING;
}

static void note_relay_test(struct backend_address *address, bool tls, bool open_relay)
{
    bool before = backend_relays(address);
    char where[ADDRESS_TEXT_MAX];

    address->known[tls].open_relay = open_relay;
    address->backend->common[false].mask = address->backend->common[true].mask = 0;
    address_text(&address->to, where);
    if (open_relay && !before)
        log_line(LOG_LEVEL_ERROR,
                 "backend %s (%s) relays mail of strangers for anybody who comes through us: %s. "
                 "The cure: " BACKEND_SHUT_CURE,
                 backend_name(address), where,
                 address->backend->settings->trusts_us ? "trusts_us = yes keeps it open"
                                                       : "it gets no mail");
    if (before && !backend_relays(address))
        log_line(LOG_LEVEL_NOTICE, "backend %s (%s) passes the relay test now",
                 backend_name(address), where);
}

/* What may be promised of a list of the server's: a reference. NULL: no memory. */
static struct capabilities *shown(const struct backend_address *address, struct capabilities *list)
{
    const struct settings_list *hide = &address->backend->settings->hide;

    if (hide->count == 0 || address->backend->tells_all)
        return capabilities_ref(list);
    return capabilities_without(list, hide);
}

/* Keeps a list of the server's, without what the operator hides. 0 or -ENOMEM. */
static int keep_list(struct backend_address *address, bool tls, struct capabilities *list)
{
    struct capabilities *kept = shown(address, list);

    if (!kept)
        return -ENOMEM;
    capabilities_unref(address->known[tls].list);
    address->known[tls].list = kept;
    address->known[tls].generation = backend_generation(address);
    address->known[tls].learned_ms = uv_now(address->backend->loop->uv);
    address->backend->common[tls].mask = 0;
    return 0;
}

void backend_learned(struct backend_address *address, bool tls, const struct backend_lesson *lesson)
{
    bool opaque = protocol_is_relayed(address->backend->protocol);

    if (lesson->generation != backend_generation(address)) { /* an outage in the middle: of which
                                                        server was this? */
        if (backend_learn_start(address, tls) < 0)
            backend_tell_waiters(address->backend, tls, -ENOMEM);
        return;
    }
    backend_answered(address, lesson->generation);
    if (!opaque) {
        note_relay_test(address, tls, lesson->open_relay);
        if (keep_list(address, tls, lesson->list) < 0) {
            backend_tell_waiters(address->backend, tls, -ENOMEM);
            return;
        }
        if (!backend_is_known(address, !tls))
            backend_learn_start(address, !tls);
    }
    backend_tell_waiters(address->backend, tls, 0);
}

void backend_learn_failed(struct backend_address *address, bool tls, uint64_t began_ms, int error,
                          const char *words)
{
    struct backend *backend = address->backend;

    backend_failed(address, began_ms, error, words);
    backend_note_fault(address, error, words);
    for (size_t i = 0; i < backend->count; i++)
        if (backend->addresses[i].known[tls].learning)
            return; /* there is hope yet */
    backend_tell_waiters(backend, tls, error);
}

void backend_suspect(struct backend_address *address)
{
    for (int tls = 0; tls < 2; tls++)
        if (!protocol_is_relayed(address->backend->protocol) && backend_is_known(address, tls))
            backend_learn_start(address, tls);
}

void backend_heard(struct backend_address *address, bool tls, struct capabilities *list)
{
    struct capabilities *now;

    if (!backend_is_known(address, tls)) {
        if (backend_in_service(address))
            backend_learn_start(address, tls);
        return;
    }
    now = shown(address, list);
    if (now && !capabilities_equal(address->known[tls].list, now))
        keep_list(address, tls, list);
    capabilities_unref(now);
}

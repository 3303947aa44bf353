/* A backend in a worker: its addresses, which of them serves a session, its end.
 *
 * Happy path: all addresses are learned at the start (backend_list.c); a session is offered what
 * all of them can do, and gets the first in service in the order of the policy. An address that
 * fails is out for all workers (backend_health.c): one of them tries it again after a back-off, by
 * a learning dialogue (backend_learn.c). What was learned before an outage is void. */
#include "proxy/backend.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/backend_private.h"
#include "proxy/policy.h"
#include "proxy/snapshot.h"
#include "proxy/stats.h"

/* -- the addresses -- */

uint32_t backend_generation(const struct backend_address *address)
{
    return atomic_load_explicit(&address->health->generation, memory_order_acquire);
}

static void forget(struct backend_address *address)
{
    for (int tls = 0; tls < 2; tls++) {
        capabilities_unref(address->known[tls].list);
        address->known[tls].list = NULL;
        address->backend->common[tls].mask = 0;
    }
}

/* The host part of each item, for the names in certificates. */
static int take_hosts(struct backend *backend)
{
    const struct settings_list *items = &backend->settings->address;

    backend->hosts = calloc(items->count + 1, sizeof(*backend->hosts));
    if (!backend->hosts)
        return -ENOMEM;
    for (size_t i = 0; i < items->count; i++) {
        char host[256], port[8];

        backend->hosts[i] = strdup(address_host_port(items->items[i], host, port) ? host : "");
        if (!backend->hosts[i])
            return -ENOMEM;
    }
    return 0;
}

int backend_init(struct backend *backend, const struct backend_start *start)
{
    const struct settings *all = start->snapshot->settings;
    size_t first = address_first_slot(all, start->settings);
    size_t index = (size_t)(start->settings - all->backends);
    int r;

    *backend = (struct backend){ .loop = start->loop,
                                 .all = all,
                                 .settings = start->settings,
                                 .protocol = start->protocol,
                                 .tls = start->snapshot->clients[index],
                                 .worker = start->worker,
                                 .owner = start->owner,
                                 .tells_all = start->tells_all,
                                 .turn = start->worker };
    TAILQ_INIT(&backend->waiters[false]);
    TAILQ_INIT(&backend->waiters[true]);
    r = take_hosts(backend);
    if (r < 0)
        return r;
    backend->count = address_slot_count(start->settings);
    backend->addresses = calloc(backend->count, sizeof(*backend->addresses));
    if (!backend->addresses)
        return -ENOMEM;
    for (size_t i = 0; i < backend->count; i++) {
        struct backend_address *address = &backend->addresses[i];

        address->backend = backend;
        address->number = (unsigned)i;
        address->host = backend->hosts[i / ADDRESS_PER_ITEM];
        address->health = &start->health[start->snapshot->slots[first + i]];
        TAILQ_INIT(&address->queue);
        r = address_of_slot(all, start->settings, i, &address->to);
        if (r < 0)
            return r;
    }
    uv_timer_init(backend->loop->uv, &backend->timer);
    backend->timer.data = backend;
    backend->timer_open = true;
    backend->users = 1;
    return 0;
}

void backend_set_address(struct backend *backend, size_t number, const struct address *to)
{
    struct backend_address *address = &backend->addresses[number];

    if (address_equal(&address->to, to))
        return;
    forget(address);
    address->to = *to;
    if (backend_is_empty(address) || protocol_is_relayed(backend->protocol))
        return;
    backend_learn_start(address, false);
    backend_learn_start(address, true);
}

int backend_stream_init(const struct backend_address *address, struct stream *stream,
                        const struct stream_events *events, void *owner)
{
    struct stream_loop *loop = address->backend->loop;

    return backend_is_local(address) ? stream_init_unix(stream, loop, events, owner)
                                     : stream_init_tcp(stream, loop, events, owner);
}

int backend_connect(const struct backend_address *address, struct stream *stream,
                    uv_connect_t *request, uv_connect_cb done)
{
    int r;

    stats_count(&address->backend->loop->stats->connects);
    if (backend_is_local(address)) {
        r = stream_connect_unix(stream, &address->to.to.un);
        return r < 0 ? r : BACKEND_CONNECTED;
    }
    if (backend_is_empty(address))
        return -EADDRNOTAVAIL; /* the name has lost it since it was chosen */
    r = uv_tcp_connect(request, &stream->uv.tcp, &address->to.to.any, done);
    if (r < 0)
        return r;
    uv_tcp_nodelay(&stream->uv.tcp, 1);
    uv_tcp_keepalive(&stream->uv.tcp, 1, 60);
    return 0;
}

const char *backend_server_name(const struct backend_address *address)
{
    const char *sni = address->backend->settings->sni;

    return *sni ? sni : address->host;
}
/* -- for one session -- */

enum wish { WISH_COVERS, WISH_KNOWN, WISH_UNKNOWN, WISH_OUT, WISH_COUNT };

static bool grants(const struct backend_address *address, enum wish wish, bool tls,
                   const struct capabilities *offered)
{
    enum port_protocol protocol = address->backend->protocol;
    struct span missing;

    switch (wish) {
    case WISH_COVERS:
        return backend_in_service(address) && backend_is_known(address, tls) &&
               !backend_is_shut(address) &&
               (!offered || capabilities_cover(address->known[tls].list, offered, &missing));
    case WISH_KNOWN:
        return backend_in_service(address) && backend_is_known(address, tls) &&
               !backend_is_shut(address);
    case WISH_UNKNOWN: /* SMTP: never before the relay test */
        return backend_in_service(address) && protocol != PROTOCOL_SMTP;
    case WISH_OUT: /* needs no list: the session may find that it is back before a check does */
        return protocol_is_relayed(protocol) ||
               (protocol == PROTOCOL_POP3 && address->backend->settings->apop);
    case WISH_COUNT:
        break;
    }
    return false;
}

/* The numbers of the addresses that exist, in the order of the policy. */
static size_t put_in_order(const struct backend *backend, uint64_t key, uint32_t turn,
                           unsigned char order[BACKEND_ADDRESSES_MAX])
{
    unsigned char all[BACKEND_ADDRESSES_MAX], present[BACKEND_ADDRESSES_MAX];
    enum policy policy = backend->settings->policy;
    size_t count = 0, kept = 0;

    if (policy == POLICY_HASH_USER || policy == POLICY_HASH_CLIENT) {
        policy_order(policy, key, turn, backend->count, all); /* by slot: a name that loses an
                                                                 address moves nobody else */
        for (size_t i = 0; i < backend->count; i++)
            if (!backend_is_empty(&backend->addresses[all[i]]))
                order[kept++] = all[i];
        return kept;
    }
    for (size_t i = 0; i < backend->count; i++)
        if (!backend_is_empty(&backend->addresses[i]))
            present[count++] = (unsigned char)i;
    policy_order(policy, key, turn, count, all);
    for (; kept < count; kept++)
        order[kept] = present[all[kept]];
    return kept;
}

struct backend_address *backend_choose(struct backend *backend, bool tls,
                                       const struct capabilities *offered, uint64_t key,
                                       uint32_t turn, uint64_t tried)
{
    unsigned char order[BACKEND_ADDRESSES_MAX];
    size_t count = put_in_order(backend, key, turn, order);

    for (size_t i = 0; i < count; i++)
        if (!health_in_service(backend->addresses[order[i]].health))
            backend_keep_ticking(backend,
                                 BACKEND_TICK_OUT_MS); /* the worker that asked it may have died */
    for (int wish = 0; wish < WISH_COUNT; wish++)
        for (size_t i = 0; i < count; i++) {
            struct backend_address *address = &backend->addresses[order[i]];

            if (!(tried >> order[i] & 1) && grants(address, (enum wish)wish, tls, offered))
                return address;
        }
    return NULL;
}

/* -- the end -- */

static void free_parts(struct backend *backend)
{
    for (size_t i = 0; i < backend->count && backend->addresses; i++)
        free(backend->addresses[i].fault);
    for (size_t i = 0; backend->hosts && i < backend->settings->address.count; i++)
        free(backend->hosts[i]);
    free(backend->hosts);
    free(backend->addresses);
    backend->addresses = NULL;
    backend->hosts = NULL;
}

void backend_release(struct backend *backend)
{
    if (--backend->users > 0)
        return;
    free_parts(backend);
    if (backend->gone)
        backend->gone(backend);
}

static void timer_gone(uv_handle_t *timer)
{
    backend_release(timer->data);
}

bool backend_deinit(struct backend *backend, void (*gone)(struct backend *backend))
{
    for (size_t i = 0; i < backend->count && backend->addresses; i++) {
        backend_learn_stop(&backend->addresses[i], false);
        backend_learn_stop(&backend->addresses[i], true);
        forget(&backend->addresses[i]);
    }
    for (int tls = 0; tls < 2; tls++)
        capabilities_unref(backend->common[tls].list);
    if (!backend->timer_open) { /* it was never whole */
        free_parts(backend);
        return false;
    }
    backend->timer_open = false;
    backend->gone = gone;
    uv_close((uv_handle_t *)&backend->timer, timer_gone);
    return true;
}

/* A configuration at work: made at the start and at each reload, gone with its last session.
 *
 * Happy path: backends are made for those that a port leads to; ports point to them. Fails for want
 * of memory, or for a socket's path that is too long. */
#include "proxy/service.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

struct making {
    struct service *service;
    struct stream_loop *loop;
    struct health *health;
    unsigned worker;
};

static struct backend *use_backend(const struct making *making,
                                   const struct settings_backend *wanted,
                                   enum port_protocol protocol)
{
    struct service *service = making->service;
    struct backend *backend = &service->backends[wanted - service->snapshot->settings->backends];
    struct backend_start start = { .loop = making->loop,
                                   .snapshot = service->snapshot,
                                   .settings = wanted,
                                   .protocol = protocol,
                                   .health = making->health,
                                   .worker = making->worker % HEALTH_WORKERS_MAX,
                                   .owner = service };

    if (!backend->loop && backend_init(backend, &start) < 0)
        return NULL;
    if (protocol < backend->protocol)
        backend->protocol = protocol;
    return backend;
}

/* One more that the port may lead to; one without an address leads nowhere. 0 or -errno. */
static int add_backend(const struct making *making, struct service_port *port, const char *name)
{
    const struct settings_backend *wanted =
        settings_backend(making->service->snapshot->settings, name);
    struct backend *backend;

    if (!wanted || wanted->address.count == 0)
        return 0;
    backend = use_backend(making, wanted, port->listen->protocol);
    if (!backend)
        return -ENAMETOOLONG;
    for (size_t i = 0; i < port->backend_count; i++)
        if (port->backends[i] == backend)
            return 0;
    port->backends[port->backend_count++] = backend;
    return 0;
}

/* `backend` is the first of them. */
static int find_backends(const struct making *making, struct service_port *port)
{
    const struct settings_listen *listen = port->listen;
    const struct settings_list *others = &listen->route_backends;
    bool routes = listen->route[0];
    int r;

    port->backends = calloc(others->count + 2, sizeof(struct backend *));
    if (!port->backends)
        return -ENOMEM;
    r = routes ? add_backend(making, port, listen->default_backend) : 0;
    if (r == 0)
        r = add_backend(making, port, listen->backend);
    for (size_t i = 0; routes && r == 0 && i < others->count; i++)
        r = add_backend(making, port, others->items[i]);
    if (r == 0)
        port->backend = port->backends[0];
    return r;
}

static int make_ports(const struct making *making)
{
    struct service *service = making->service;
    struct snapshot *snapshot = service->snapshot;

    for (size_t i = 0; i < snapshot->settings->listen_count; i++) {
        struct service_port *port = &service->ports[i];
        int r = 0;

        port->service = service;
        port->listen = &snapshot->settings->listens[i];
        port->rule = &snapshot->rules[i];
        if (settings_listen_open(snapshot->settings, port->listen))
            r = find_backends(making, port);
        if (r < 0) {
            log_line(LOG_LEVEL_ERROR, "port %s cannot be served: %s", port->listen->name,
                     err_text(r));
            return r;
        }
    }
    return 0;
}

int service_new(struct snapshot *snapshot, struct stream_loop *loop, struct health *health,
                unsigned worker, struct service **ret_service)
{
    struct service *service = calloc(1, sizeof(*service));
    struct making making = { service, loop, health, worker };
    int r = -ENOMEM;

    if (!service) {
        snapshot_unref(snapshot);
        return r;
    }
    service->references = 1;
    service->snapshot = snapshot;
    service->ports = calloc(snapshot->settings->listen_count + 1, sizeof(*service->ports));
    service->backends = calloc(snapshot->settings->backend_count + 1, sizeof(*service->backends));
    if (service->ports && service->backends)
        r = make_ports(&making);
    if (r < 0)
        service_unref(service);
    else
        *ret_service = service;
    return r;
}

struct service *service_ref(struct service *service)
{
    service->references++;
    return service;
}

static void free_service(struct service *service)
{
    for (size_t i = 0; service->ports && i < service->snapshot->settings->listen_count; i++) {
        route_unref(service->ports[i].route);
        free(service->ports[i].backends);
    }
    free(service->ports);
    free(service->backends);
    snapshot_unref(service->snapshot);
    free(service);
}

static void backend_gone(struct backend *backend)
{
    struct service *service = backend->owner;

    if (--service->closing == 0)
        free_service(service);
}

void service_unref(struct service *service)
{
    if (!service || --service->references > 0)
        return;
    if (service->ended)
        service->ended(service->owner, service);
    service->closing = 1; /* not before all have been asked to close */
    for (size_t i = 0; service->backends && i < service->snapshot->settings->backend_count; i++)
        if (service->backends[i].loop && backend_deinit(&service->backends[i], backend_gone))
            service->closing++;
    if (--service->closing == 0)
        free_service(service);
}

struct service_port *service_port(struct service *service, struct span name)
{
    for (size_t i = 0; i < service->snapshot->settings->listen_count; i++)
        if (span_equal(name, span_of_text(service->ports[i].listen->name)))
            return &service->ports[i];
    return NULL;
}

/* The addresses of a name, where both configurations have it. */
static void inherit_addresses(struct backend *backend, const struct backend *old)
{
    const struct settings_list *items = &backend->settings->address,
                               *former = &old->settings->address;

    for (size_t i = 0; i < items->count * former->count; i++) {
        size_t item = i / former->count, other = i % former->count;

        if (strcmp(items->items[item], former->items[other]) != 0)
            continue;
        for (size_t k = 0; k < ADDRESS_PER_ITEM; k++)
            backend_set_address(backend, item * ADDRESS_PER_ITEM + k,
                                &old->addresses[other * ADDRESS_PER_ITEM + k].to);
    }
}

static void inherit_route(struct service_port *port, struct service *old)
{
    struct service_port *former = service_port(old, span_of_text(port->listen->name));

    if (former && former->route && strcmp(former->listen->route, port->listen->route) == 0)
        port->route = route_ref(former->route);
}

void service_inherit(struct service *service, struct service *old)
{
    const struct settings *settings = service->snapshot->settings;

    for (size_t i = 0; i < settings->backend_count; i++) {
        const struct settings_backend *former =
            settings_backend(old->snapshot->settings, settings->backends[i].name);
        struct backend *backend = &service->backends[i], *known;

        if (!former || !backend->loop)
            continue;
        known = &old->backends[former - old->snapshot->settings->backends];
        if (known->loop)
            inherit_addresses(backend, known);
    }
    for (size_t i = 0; i < settings->listen_count; i++)
        inherit_route(&service->ports[i], old);
}

void service_learn(struct service *service)
{
    for (size_t i = 0; i < service->snapshot->settings->backend_count; i++) {
        struct backend *backend = &service->backends[i];

        if (!backend->loop || protocol_is_relayed(backend->protocol))
            continue;
        backend_learn(backend, false, NULL);
        backend_learn(backend, true, NULL);
    }
}

/* The backend that owns a slot of the configuration, or NULL; *ret_number is its own. */
static struct backend *slot_owner(struct service *service, size_t slot, size_t *ret_number)
{
    const struct settings *settings = service->snapshot->settings;

    for (size_t i = 0; i < settings->backend_count; i++) {
        size_t count = address_slot_count(&settings->backends[i]);

        if (slot < count) {
            *ret_number = slot;
            return service->backends[i].loop ? &service->backends[i] : NULL;
        }
        slot -= count;
    }
    return NULL;
}

bool service_take_addresses(struct service *service, struct span message)
{
    struct child_addresses addresses;
    size_t head = offsetof(struct child_addresses, items), number;

    if (message.size < head || message.size > sizeof(addresses))
        return false;
    memcpy(&addresses, message.data, message.size);
    if (message.size != head + addresses.count * sizeof(addresses.items[0]))
        return false;
    for (size_t i = 0; i < addresses.count; i++) {
        struct address to = address_of_ip(&addresses.items[i].ip);
        struct backend *backend = slot_owner(service, addresses.items[i].slot, &number);

        if (backend)
            backend_set_address(backend, number, &to);
    }
    return true;
}

void service_take_route(struct service *service, struct span message, int fd)
{
    struct child_route about;
    struct service_port *port;
    struct route *route;
    int r;

    if (message.size != sizeof(about) || fd < 0)
        return;
    memcpy(&about, message.data, sizeof(about));
    if (about.listen >= service->snapshot->settings->listen_count)
        return;
    r = route_new(fd, &route);
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "a map of routes cannot be used: %s", err_text(r));
        return;
    }
    port = &service->ports[about.listen];
    route_unref(port->route);
    port->route = route;
    port->routes_told_count = 0;
}

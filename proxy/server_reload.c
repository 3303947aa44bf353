/* A new configuration in a running worker.
 *
 * Happy path: the bundle is read and the snapshot made beside the loop (certificates and keys take
 * milliseconds); then a service is made of it, sockets that are new are listened on, and in one
 * turn of the loop all listeners lead to the new service and those that are not named any more are
 * closed. Routes and addresses wait in the control channel and are read in the same turn. Sessions
 * keep the service that they began with. What fails on the way changes nothing,
 * and the supervisor is told. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/listener.h"
#include "proxy/server.h"

struct reload {
    struct server *server;
    uv_work_t work;
    uint32_t number;
    struct child_fds fds; /* the bundle, then the listening sockets; -1 once taken */
    struct bundle bundle;
    struct snapshot *snapshot;
    int status;
};

static void make_snapshot(uv_work_t *work)
{
    struct reload *reload = work->data;

    reload->status = bundle_read(reload->fds.fds[0], &reload->bundle);
    if (reload->status == 0)
        reload->status = snapshot_new(&reload->bundle, &reload->server->keys, &reload->snapshot);
}

/* One row of the bundle's table of listeners. */
static int read_row(const struct reload *reload, size_t number, struct span *ret_name,
                    struct span *ret_address)
{
    if (!bundle_find(&reload->bundle, "listener", number, ret_address))
        return -EPROTO;
    *ret_name = span_take_word(ret_address);
    return 0;
}

/* Listens on the sockets that are new. On failure those that were opened stay in the list; they
 * lead to a port of `service`. */
static int open_new(struct reload *reload, struct service *service)
{
    for (size_t i = 0; i + 1 < reload->fds.count; i++) {
        struct span name, address;
        struct service_port *port;
        struct listener *listener;
        int r = read_row(reload, i, &name, &address);

        if (r < 0)
            return r;
        port = service_port(service, name);
        if (!port || !port->backend)
            return -ENOENT;
        if (listener_find(reload->server, address))
            continue;
        r = listener_open(reload->server, port, address, reload->fds.fds[i + 1], &listener);
        reload->fds.fds[i + 1] = -1;
        if (r < 0)
            return r;
    }
    return 0;
}

static void close_those_of(struct server *server, const struct service *service, bool others)
{
    struct listener *next;

    for (struct listener *listener = LIST_FIRST(&server->listeners); listener; listener = next) {
        next = LIST_NEXT(listener, link);
        if ((listener->port->service == service) != others)
            listener_close(listener);
    }
}

/* Cannot fail. */
static void turn_listeners(const struct reload *reload, struct service *service)
{
    for (size_t i = 0; i + 1 < reload->fds.count; i++) {
        struct span name, address;

        if (read_row(reload, i, &name, &address) == 0)
            listener_use(listener_find(reload->server, address), service_port(service, name));
    }
    close_those_of(reload->server, service, true);
}

static int put_in_use(struct reload *reload)
{
    struct server *server = reload->server;
    struct service *service, *old = server->service;
    int r = service_new(reload->snapshot, &server->loop, server->health, server->child->hello.index,
                        &service);

    reload->snapshot = NULL;
    if (r < 0)
        return r;
    r = open_new(reload, service);
    if (r < 0) {
        close_those_of(server, service, false);
        service_unref(service);
        return r;
    }
    server_adopt(server, service, reload->number);
    turn_listeners(reload, service);
    service_inherit(service, old);
    server->service = service;
    server_apply_limits(server);
    service_learn(service);
    service_unref(old);
    return 0;
}

static void free_reload(struct reload *reload)
{
    for (size_t i = 0; i < reload->fds.count; i++)
        if (reload->fds.fds[i] >= 0)
            close(reload->fds.fds[i]);
    bundle_free(&reload->bundle);
    if (reload->snapshot)
        snapshot_unref(reload->snapshot);
    free(reload);
}

static void answer(struct server *server, uint32_t number, int status)
{
    struct child_reloaded message = { CHILD_RELOADED, number, status };

    if (status < 0)
        log_line(LOG_LEVEL_ERROR, "configuration %u cannot be used: %s", number, err_text(status));
    child_send_message(server->child, &message, sizeof(message));
}

static void made(uv_work_t *work, int status)
{
    struct reload *reload = work->data;
    struct server *server = reload->server;
    int r = status < 0 ? status : reload->status;

    if (r == 0 && (server->draining || server->retired))
        r = -ECANCELED;
    if (r == 0)
        r = put_in_use(reload);
    server->reloading = false;
    server->deaf = r < 0;
    server_hear(server);
    answer(server, reload->number, r);
    free_reload(reload);
}

void server_reload(struct server *server, struct span message, struct child_fds *fds)
{
    struct child_reload about = { 0 };
    struct reload *reload;

    if (message.size == sizeof(about))
        memcpy(&about, message.data, sizeof(about));
    reload = calloc(1, sizeof(*reload));
    if (!reload || server->reloading || fds->count != (size_t)about.listener_count + 1) {
        free(reload);
        server->deaf = server->deaf || !server->reloading;
        answer(server, about.number, server->reloading ? -EBUSY : -EPROTO);
        return;
    }
    reload->server = server;
    reload->work.data = reload;
    reload->number = about.number;
    reload->fds = *fds;
    fds->count = 0; /* they are ours now */
    server->reloading = true;
    uv_poll_stop(&server->control);
    if (uv_queue_work(server->uv, &reload->work, make_snapshot, made) < 0) {
        server->reloading = false;
        server->deaf = true;
        server_hear(server);
        answer(server, about.number, -ENOMEM);
        free_reload(reload);
    }
}

/* The listening sockets: opened, set up, found again, closed. What comes in there is accept.c's.
 *
 * Fails only when a socket cannot be listened on. */
#include "proxy/listener.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/accept.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/server.h"

#define BACKLOG 4096

/* A client that does not read would have the kernel keep megabytes for it (tcp_wmem). What is on
 * its way through the network does not count, so nothing gets slower: the next read is there before
 * these are gone. Guessed: four reads. */
#define UNSENT_OCTETS 262144

/* How long a client of this port may confirm nothing of what it was sent; 0: as long as the kernel
 * likes, which is a quarter of an hour. */
static unsigned link_timeout_ms(const struct service_port *port)
{
    const struct settings_limits *limits = &port->service->snapshot->settings->limits;

    return port->rule->protocol == PROTOCOL_REMOTE ? (unsigned)limits->remote_link_timeout_ms : 0;
}

/* `part` of a time in whole seconds; `most` where there is no such time. */
static int seconds_of(unsigned time_ms, double part, int most)
{
    int seconds = (int)(time_ms * part / 1000);

    if (time_ms == 0 || seconds > most)
        return most;
    return seconds > 0 ? seconds : 1;
}

/* Accepted sockets inherit these from the listening one: no call for each connection. Where the
 * time of a dead link has a limit, the kernel's probes of an idle one begin early enough to be
 * judged by it, and the number of probes means nothing (tcp(7), TCP_USER_TIMEOUT). */
static void set_socket_options(const struct listener *listener)
{
    unsigned limit_ms = link_timeout_ms(listener->port);
    const struct {
        int level, name, value;
    } options[] = {
        { IPPROTO_TCP, TCP_NODELAY, 1 },
        { SOL_SOCKET, SO_KEEPALIVE, 1 },
        { IPPROTO_TCP, TCP_KEEPIDLE, seconds_of(limit_ms, 2.0 / 3, 60) },
        { IPPROTO_TCP, TCP_KEEPINTVL, seconds_of(limit_ms, 1.0 / 6, 15) },
        { IPPROTO_TCP, TCP_KEEPCNT, 3 },
        { IPPROTO_TCP, TCP_USER_TIMEOUT, (int)limit_ms },
        { IPPROTO_TCP, TCP_NOTSENT_LOWAT, UNSENT_OCTETS },
    };

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++)
        if (setsockopt(listener->fd, options[i].level, options[i].name, &options[i].value,
                       sizeof(int)) < 0)
            log_line(LOG_LEVEL_WARNING, "setsockopt: %s", err_text(errno));
}

void listener_use(struct listener *listener, struct service_port *port)
{
    listener->port = port;
    set_socket_options(listener);
}

static void free_listener(uv_handle_t *handle)
{
    free(handle->data);
}

void listener_close(struct listener *listener)
{
    LIST_REMOVE(listener, link);
    uv_close((uv_handle_t *)&listener->poll, free_listener);
    close(listener->fd);
}

int listener_open(struct server *server, struct service_port *port, struct span address, int fd,
                  struct listener **ret_listener)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    int r;

    if (!listener) {
        close(fd);
        return -ENOMEM;
    }
    listener->server = server;
    listener->fd = fd;
    snprintf(listener->address, sizeof(listener->address), "%.*s", (int)address.size,
             (const char *)address.data);
    listener_use(listener, port);
    listener->poll.data = listener;
    r = listen(fd, BACKLOG) < 0 ? -errno : uv_poll_init(server->uv, &listener->poll, fd);
    if (r < 0) {
        close(fd);
        free(listener);
        return r;
    }
    LIST_INSERT_HEAD(&server->listeners, listener, link);
    r = accept_watch(listener);
    if (r < 0) {
        listener_close(listener);
        return r;
    }
    *ret_listener = listener;
    return 0;
}

struct listener *listener_find(struct server *server, struct span address)
{
    struct listener *listener;

    LIST_FOREACH(listener, &server->listeners, link)
    if (span_equal(address, span_of_text(listener->address)))
        return listener;
    return NULL;
}

/* The public listening sockets in a worker; the same sockets are in every other worker too. */
#ifndef GATEPOST_PROXY_LISTENER_H
#define GATEPOST_PROXY_LISTENER_H

#include <sys/queue.h>

#include "proxy/service.h"

struct server;

struct listener {
    LIST_ENTRY(listener) link; /* in server->listeners */
    struct server *server;
    uv_poll_t poll;
    int fd;
    struct service_port *port; /* of the service that new sessions get */
    char address[72];          /* as the bundle's table names it: "0.0.0.0:110" */
    bool paused;               /* not polled: somebody waited there, and no session was free ... */
    uint64_t paused_ms;        /* ... since then: uv_now() */
    uint64_t turn;             /* of the loop, in which it was looked at last ... */
    unsigned batch;            /* ... for at most so many connections */
};

LIST_HEAD(listener_list, listener);

/* Listens on `fd`, which is taken over, also on failure. 0 or -errno. */
int listener_open(struct server *server, struct service_port *port, struct span address, int fd,
                  struct listener **ret_listener);

/* From now on its sessions are of that port: the same address, with new settings. */
void listener_use(struct listener *listener, struct service_port *port);

/* The memory goes in the loop. */
void listener_close(struct listener *listener);

/* The one at that address, or NULL. */
struct listener *listener_find(struct server *server, struct span address);

#endif

/* What a service manager is told: the protocol of sd_notify(3), without its library.
 *
 * One datagram a message, to the socket that NOTIFY_SOCKET names; without that, nobody is told and
 * every call is free. A message that cannot be delivered is one line in the log, no failure. */
#ifndef GATEPOST_PROXY_NOTIFY_H
#define GATEPOST_PROXY_NOTIFY_H

#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/un.h>

struct notify {
    int fd; /* -1: nobody listens */
    struct sockaddr_un address;
    socklen_t size;
    uint64_t watchdog_ms; /* notify_alive() is expected within this; 0: it is not */
};

/* Reads NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID and takes them out of the environment, so
 * that no child speaks in our name. */
void notify_init(struct notify *ret_notify);
void notify_deinit(struct notify *notify);

/* All is served: after the start, and after a reload, good or bad. `status` is one line in words;
 * bytes that would end it become blanks. */
void notify_ready(const struct notify *notify, const char *status);

/* A reload begins; notify_ready() ends it. */
void notify_reloading(const struct notify *notify);

/* The end has begun and may take `limit_ms`, whatever the manager's own limit is. */
void notify_stopping(const struct notify *notify, const char *status, uint64_t limit_ms);

void notify_status(const struct notify *notify, const char *status);

/* Which process is the service from now on, and may speak for it. */
void notify_main_process(const struct notify *notify, pid_t pid);

/* Feeds the watchdog. */
void notify_alive(const struct notify *notify);

#endif

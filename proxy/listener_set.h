/* All sockets that somebody connects to: the public ports, and the UNIX sockets of the embedded
 * workers.
 *
 * Bound once by the supervisor, without SO_REUSEPORT, and shared with the children: a port in use
 * is an error, a dead child's queue waits for the next. A UNIX socket can be connected to by the
 * proxy's user only. */
#ifndef GATEPOST_PROXY_LISTENER_SET_H
#define GATEPOST_PROXY_LISTENER_SET_H

#include <sys/types.h>
#include <sys/un.h>

#include "conf/settings.h"
#include "proxy/privileges.h"

/* One address of one port. */
struct public_listener {
    const struct settings_listen *rule; /* borrowed from the settings */
    char address[80];                   /* "0.0.0.0:110", "[::]:110" */
    int fd;
};

/* One embedded worker's socket. */
struct embedded_listener {
    const struct settings_backend *backend; /* borrowed */
    enum port_protocol protocol; /* PROTOCOL_SMTP or PROTOCOL_POP3: which program serves it */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int fd;
    dev_t device; /* of the socket's file: only that is removed in the end */
    ino_t inode;
};

struct listener_set {
    struct public_listener *publics;
    size_t public_count;
    size_t port_count; /* listeners of which at least one address is open */
    struct embedded_listener *embedded;
    size_t embedded_count;
};

/* Says in the log which ports are not opened, and why. */
void listener_set_tell_closed(const struct settings *settings);

/* Binds all of them; `settings` outlives the set. 0; -EADDRINUSE, -EACCES or another -errno after a
 * log line for each socket that failed: nothing is left behind then. */
int listener_set_open(const struct settings *settings, const struct privileges *privileges,
                      struct listener_set *ret_set);

/* Closes the public ports: nobody new is let in. */
void listener_set_close_public(struct listener_set *set);

/* Closes all and removes the UNIX sockets' files. */
void listener_set_deinit(struct listener_set *set);

#endif

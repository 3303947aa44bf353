/* All sockets that somebody connects to: the public ports, and the UNIX sockets of the embedded
 * workers.
 *
 * Bound once by the supervisor, without SO_REUSEPORT, and shared with the children: a port in use
 * is an error, a dead child's queue waits for the next. A UNIX socket can be connected to by the
 * proxy's user only. At a reload, what the sets before and after have in common stays the same
 * socket. */
#ifndef GATEPOST_PROXY_LISTENER_SET_H
#define GATEPOST_PROXY_LISTENER_SET_H

#include <sys/types.h>
#include <sys/un.h>

#include "conf/settings.h"
#include "proxy/activation.h"
#include "proxy/base/text.h"
#include "proxy/privileges.h"

/* One address of one port. */
struct public_listener {
    const struct settings_listen *rule; /* borrowed from the settings */
    unsigned port;
    char address[80]; /* "0.0.0.0:110", "[::]:110" */
    int fd;
};

/* One embedded worker's socket. */
struct embedded_listener {
    const struct settings_backend *backend; /* borrowed */
    enum port_protocol protocol;            /* never PROTOCOL_OPAQUE: which program serves it */
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int fd;
    dev_t device; /* of the socket's file: only that is removed in the end */
    ino_t inode;
    bool leaving; /* no configuration names it any more; sessions of one before may. backend NULL */
    bool borrowed; /* the set or the process before has it too, and removes the file */
};

/* Under which name it is passed to the next process (upgrade.h): what it serves. */
const char *embedded_listener_kind(const struct embedded_listener *listener);

struct listener_set {
    const struct settings *settings; /* borrowed */
    struct public_listener *publics;
    size_t public_count;
    size_t port_count; /* listeners of which at least one address is open */
    struct embedded_listener *embedded;
    size_t embedded_count;
};

/* Says in the log which ports are not opened, and why; but not again what was told of `before`,
 * which may be NULL. */
void listener_set_tell_closed(const struct settings *settings, const struct settings *before);

struct listener_set_start {
    const struct settings *settings; /* outlives the set */
    const struct privileges *privileges;
    const struct listener_set *before; /* NULL: there is none */
    struct activation *activation;     /* sockets that are bound already; NULL: none */
    struct text *words;                /* what failed is also put here; NULL: nowhere */
};

/* Binds all of them that were not passed by the service manager. What `before` has as well is taken
 * over from it, as copies of its descriptors; its embedded workers' sockets that are not wanted any
 * more are taken along, `leaving`. 0; -EADDRINUSE, -EACCES or another -errno after a log line for
 * each socket that failed: nothing is left behind then. */
int listener_set_open(const struct listener_set_start *start, struct listener_set *ret_set);

/* Says in the log what is listened on that `before`, which may be NULL, did not. */
void listener_set_tell_open(const struct listener_set *set, const struct listener_set *before);

/* `set` takes the place of `before`, which is closed: the files of sockets that both have are now
 * its own. */
void listener_set_replace(struct listener_set *set, struct listener_set *before);

/* Sockets that the process before had as well are now its own: it removes their files. */
void listener_set_own(struct listener_set *set);

/* Closes one embedded worker's socket and removes its file; its fd is then -1. */
void listener_set_close_embedded(struct embedded_listener *listener);

/* Closes the public ports: nobody new is let in. */
void listener_set_close_public(struct listener_set *set);

/* Closes all and removes the UNIX sockets' files. */
void listener_set_deinit(struct listener_set *set);

#endif

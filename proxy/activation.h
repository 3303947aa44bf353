/* Listening sockets that the service manager has bound for us: socket activation, sd_listen_fds(3).
 *
 * LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES say which descriptors are such. Each belongs to the
 * listener that would bind the same address and port; what is not passed is bound as usual, and a
 * descriptor that no listener asks for is an error: its port would be open with nobody behind it.
 * Descriptors are kept until the end, so that a listener that goes and comes back finds its own.
 *
 * A gatepost that is replaced by another (upgrade.h) passes its own behind those of the manager, in
 * the same way. Of these, the new one takes what its settings ask for, and closes the rest. */
#ifndef GATEPOST_PROXY_ACTIVATION_H
#define GATEPOST_PROXY_ACTIVATION_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

#include "conf/settings.h"
#include "proxy/base/text.h"

struct activation_socket {
    int fd;
    bool taken;
    char name[136];                  /* of the socket's unit, escaped; "" where it is not told */
    struct sockaddr_storage address; /* what it is bound to */
};

struct activation {
    struct activation_socket *sockets;
    size_t count;
    size_t from_manager; /* of them; those behind are of the gatepost before */
};

/* Takes the descriptors, and the variables out of the environment. 0 also where nothing was passed;
 * -EINVAL after a log line for each that cannot be a listener of ours, or -ENOMEM. */
int activation_init(struct activation *ret_activation);

/* The same where a gatepost passes them, of which `from_manager` are the service manager's. UNIX
 * sockets may be among its own. */
int activation_init_upgrade(size_t from_manager, struct activation *ret_activation);

/* Closes those of the gatepost before. */
void activation_forget_own(struct activation *activation);

/* Closes all of them; our manager still has its own. */
void activation_deinit(struct activation *activation);

/* The socket that was passed for this address and port: a descriptor for the caller to close, that
 * listens with `backlog`. -ENOENT: there is none; or another -errno. */
int activation_take(struct activation *activation, const struct sockaddr_storage *address,
                    int backlog);

/* Nothing is taken any more: other listeners are going to ask. */
void activation_offer(struct activation *activation);

/* The socket of an embedded worker, by the path of its file; `kind` is the name under which it was
 * passed. -ENOENT: there is none; -EPROTOTYPE: it was passed under another; or another -errno. */
int activation_take_path(struct activation *activation, const char *path, const char *kind);

/* Call when all listeners are open. 0, or -EINVAL after a log line for each descriptor that was not
 * taken since activation_offer(), with what is to be changed; `words` (may be NULL) gets the lines
 * too. */
int activation_check(const struct activation *activation, const struct settings *settings,
                     struct text *words);

#endif

/* The privileged program: binds, starts the children, keeps them alive, hands out ticket keys, ends
 * it all in order.
 *
 * On the way, new settings and certificates take the place of those in use (reload.h).
 *
 * It touches no octet from the network. */
#ifndef GATEPOST_PROXY_SUPERVISOR_H
#define GATEPOST_PROXY_SUPERVISOR_H

#include "proxy/configuration.h"

/* Exit codes, as in sysexits.h: a service manager tells by them whether another try makes sense. */
enum supervisor_exit {
    SUPERVISOR_DONE = 0,
    SUPERVISOR_UNAVAILABLE = 69, /* a port or socket cannot be bound */
    SUPERVISOR_SOFTWARE = 70,    /* a child does not start */
    SUPERVISOR_OS = 71,
    SUPERVISOR_CANNOT_CREATE = 73, /* a folder cannot be made */
    SUPERVISOR_CONFIGURATION = 78,
};

/* Runs until TERM or INT. Takes what the configuration holds; it was loaded from `path`, and is
 * again at each HUP. Returns an exit code. */
int supervisor_run(const char *path, struct configuration *configuration);

#endif

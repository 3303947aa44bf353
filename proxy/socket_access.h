/* May somebody open the UNIX socket of a server? Judged by owners and modes, before anybody tries.
 */
#ifndef GATEPOST_PROXY_SOCKET_ACCESS_H
#define GATEPOST_PROXY_SOCKET_ACCESS_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "proxy/privileges.h"

/* What stands in the way. */
struct socket_obstacle {
    char path[PATH_MAX]; /* of the socket, or of a folder above it */
    bool folder;
    bool group_would_do; /* whoever is in the group `gid` is let in */
    uid_t uid;
    gid_t gid;
    mode_t mode; /* permissions only */
};

enum socket_access {
    SOCKET_ACCESS_GOOD = 0,      /* or not to be known: access control lists are not read */
    SOCKET_ACCESS_ABSENT = 1,    /* there is nothing, or what is there cannot be seen */
    SOCKET_ACCESS_NO_SOCKET = 2, /* something else is there */
    SOCKET_ACCESS_CLOSED = 3,    /* *ret_obstacle is set */
};

/* Looks at `path`, through symbolic links. */
enum socket_access socket_access(const char *path, const struct account *account,
                                 struct socket_obstacle *ret_obstacle);

#endif

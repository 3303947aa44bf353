/* Private between the parts of a set: listener_set.c (public ports), listener_set_embedded.c (the
 * embedded workers' sockets). */
#ifndef GATEPOST_PROXY_LISTENER_SET_PRIVATE_H
#define GATEPOST_PROXY_LISTENER_SET_PRIVATE_H

#include "proxy/listener_set.h"

/* A set that is being made. */
struct opening {
    struct listener_set *set;
    const struct listener_set_start *start;
};

/* In the log, and to whoever asked for the set. */
void listener_set_tell_error(const struct opening *opening, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Opens all that the settings name, and keeps what the set before has besides. 0, or -errno after
 * log lines. */
int listener_set_open_embedded(const struct opening *opening);

#endif

/* The maps of routes, in the supervisor: read at start, and again when their files change.
 *
 * A file is looked at every second and read by another thread. A map that is sound takes the place
 * of the one from before; one that is missing, bad or half-written is told in the log once, and the
 * one from before stays. */
#ifndef GATEPOST_PROXY_ROUTE_WATCH_H
#define GATEPOST_PROXY_ROUTE_WATCH_H

#include <uv.h>

#include "conf/settings.h"

struct route_watch;

struct route_watch_start {
    uv_loop_t *loop;
    const struct settings *settings; /* borrowed until route_watch_close() */
    /* The map of the [listen] of that number is another now. */
    void (*changed)(void *owner, size_t listen, int fd);
    void *owner;
    const struct route_watch *before; /* maps that it has are not read again; or NULL */
};

/* Adds an error for each map that cannot be used. */
void route_watch_check(const struct settings *settings, struct diagnostics *diagnostics);

/* Reads all maps, and begins to watch them. 0, or -errno after a log line. */
int route_watch_new(const struct route_watch_start *start, struct route_watch **ret_watch);

/* The sealed map of the [listen] of that number, only borrowed; -1: it has none. */
int route_watch_map(const struct route_watch *watch, size_t listen);

/* NULL is fine. The handles close in the loop. */
void route_watch_close(struct route_watch *watch);

#endif

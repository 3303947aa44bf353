/* What the proxy workers are told beside their settings, when they start and whenever it changes:
 * what the host names of servers stand for, and the maps of routes.
 *
 * A worker that does not read is told all of it again, until it does. */
#ifndef GATEPOST_PROXY_BULLETIN_H
#define GATEPOST_PROXY_BULLETIN_H

#include "proxy/children.h"

struct bulletin;

struct bulletin_start {
    const struct settings *settings; /* borrowed, as are the next two, until bulletin_close() */
    const uint16_t *slots;           /* the health slot of each address slot */
    struct children *children;
    uint32_t number;               /* of the configuration */
    const struct bulletin *before; /* what it knows of the same is known; or NULL */
    void (*settled)(
        void *owner); /* names were looked up; not called before bulletin_new() returns */
    void *owner;
};

/* Nobody is told anything yet. 0 or -errno. */
int bulletin_new(const struct bulletin_start *start, struct bulletin **ret_bulletin);

/* Has each name been looked up once, well or not? */
bool bulletin_settled(const struct bulletin *bulletin);

/* From now on, workers that have the configuration of this number are told. */
void bulletin_begin(struct bulletin *bulletin);
void bulletin_renumber(struct bulletin *bulletin, uint32_t number);

/* A worker has started, or was told to take the configuration: sends it all that is known now,
 * CHILD_ADDRESSES last. One that starts serves when it has that. */
void bulletin_tell(struct bulletin *bulletin, struct child_process *child);

/* NULL is fine. The handles close in the loop. */
void bulletin_close(struct bulletin *bulletin);

#endif

/* What the proxy workers are told beside their settings, when they start and whenever it changes:
 * what the host names of servers stand for, and the maps of routes.
 *
 * A worker that does not read is told all of it again, until it does. */
#ifndef GATEPOST_PROXY_BULLETIN_H
#define GATEPOST_PROXY_BULLETIN_H

#include "proxy/children.h"

struct bulletin;

/* 0 or -errno. `settings`, `slots` (the health slot of each address slot) and `children` are
 * borrowed until bulletin_close(). */
int bulletin_new(const struct settings *settings, const uint16_t *slots, struct children *children,
                 struct bulletin **ret_bulletin);

/* A worker has started: sends it all that is known now, CHILD_ADDRESSES last. It serves when it has
 * that. */
void bulletin_tell(struct bulletin *bulletin, struct child_process *child);

/* NULL is fine. The handles close in the loop. */
void bulletin_close(struct bulletin *bulletin);

#endif

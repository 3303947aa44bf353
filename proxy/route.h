/* A map from users and domains to names of backends: a cdb file (Bernstein's constant data base),
 * made by the operator, that came as a sealed memfd.
 *
 * A map may be hostile: nothing in it makes a look-up read outside it. */
#ifndef GATEPOST_PROXY_ROUTE_H
#define GATEPOST_PROXY_ROUTE_H

#include "proxy/base/span.h"

#define ROUTE_USER_MAX    512 /* octets of a name that is looked up; guessed far above any */
#define ROUTE_BACKEND_MAX 64  /* with its NUL */

struct route;

/* Maps a sealed memfd; `fd` is only borrowed. One reference. 0 or -errno: -EPROTO: it is no cdb, or
 * not sealed. */
int route_new(int fd, struct route **ret_route);
struct route *route_ref(struct route *route);
void route_unref(struct route *route); /* NULL is fine */

/* Looks for the user as given, in lower case, then by domain ("@example.org", "example.org"); the
 * first that is there decides. What cannot be a name of a backend is told as "?". False: none is
 * there. */
bool route_find(const struct route *route, struct span user, char backend[ROUTE_BACKEND_MAX]);

/* For the supervisor: seals what was written into a memfd, closes it, and returns a descriptor that
 * can only be read, or -errno. */
int route_seal(int fd);

/* Is it a whole and sound map? Reads all of it. 0 and the number of its entries, or -errno: -EPROTO
 * where it is none. */
int route_check(int fd, size_t *ret_entries);

#endif

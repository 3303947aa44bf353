/* A connection that is read while it is written: whoever writes keeps reading.
 *
 * One bounded buffer of output; input goes straight to the session. Waits for the socket, for a
 * change in a watched descriptor, or for a time. */
#ifndef GATEPOST_BACKENDS_REMOTE_LINK_H
#define GATEPOST_BACKENDS_REMOTE_LINK_H

#include "backends/connection.h"

#define REMOTE_LINK_OUT_BYTES 131072
#define REMOTE_LINK_ROOM                                                                           \
    49152 /* octets that one more piece may need; no piece is asked for where they are not free */

struct remote_link {
    struct connection *connection; /* its own output is not used */
    size_t start, end;             /* output that waits */
    int watched;                   /* a further descriptor, or -1 */
    unsigned char out[REMOTE_LINK_OUT_BYTES];
};

/* Appends to the output; where it does not fit, waits until it does. 0, -ETIMEDOUT or -errno. */
int remote_link_write(struct remote_link *link, struct span octets);

/* Sends of what waits as much as the kernel takes now. 0 or -errno. */
int remote_link_send(struct remote_link *link);

/* Sends what waits. 0, -ETIMEDOUT or -errno. */
int remote_link_flush(struct remote_link *link);

bool remote_link_has_room(const struct remote_link *link);

/* Octets of the client, without waiting. Their count, 0 at end of file, -EAGAIN, or -errno. */
long remote_link_read(struct remote_link *link, void *room, size_t size);

enum remote_link_event {
    REMOTE_LINK_READABLE = 1,
    REMOTE_LINK_WRITTEN, /* something of the output has gone */
    REMOTE_LINK_WATCHED,
    REMOTE_LINK_TIMEOUT,
};

/* Waits for one of these, sending output meanwhile. `reading`: for input too. `timeout_ms` from
 * now; 0 only looks. A remote_link_event, -ETIMEDOUT where output found no taker for the whole
 * write timeout, or -errno. */
int remote_link_wait(struct remote_link *link, bool reading, int timeout_ms);

#endif

/* Turns clients away for whom there is no session: a few words, FIN, and a short wait for theirs.
 *
 * TCP answers octets that arrive for a closed socket with RST, which may take our words from a
 * client before it has read them. One that has said nothing yet reads first, so that it is safe
 * where there are more at once than the few that can be kept; stream_close() has the whole story.
 */
#ifndef GATEPOST_PROXY_REFUSAL_H
#define GATEPOST_PROXY_REFUSAL_H

#include <stddef.h>
#include <stdint.h>

#include "proxy/dialogue.h"

#define REFUSALS_KEPT 32 /* half of the descriptors that sessions leave */

struct refusals {
    struct {
        int fd;
        uint64_t until_ms;
    } kept[REFUSALS_KEPT]; /* a ring: the first `count` from `oldest` on */
    size_t oldest, count;
};

/* Takes over the descriptor. A client that cannot read words, because it has begun TLS, or because
 * the port's protocol has none, only sees the end. `now_ms` is any clock, the same for every call.
 */
void refusal_say(struct refusals *refusals, const struct dialogue_rule *rule, int fd,
                 uint64_t now_ms);

/* Closes those that need no waiting any more. */
void refusals_tick(struct refusals *refusals, uint64_t now_ms);

/* Closes all. */
void refusals_close(struct refusals *refusals);

#endif

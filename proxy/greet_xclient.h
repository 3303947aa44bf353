/* The XCLIENT command, by which Postfix and others are told who the client is (XCLIENT_README).
 *
 * PURE; a part of greet.c. */
#ifndef GATEPOST_PROXY_GREET_XCLIENT_H
#define GATEPOST_PROXY_GREET_XCLIENT_H

#include "proxy/greet.h"

enum greet_xclient_outcome {
    GREET_XCLIENT_LAST = 1, /* the server knows all once it has said 220 to this */
    GREET_XCLIENT_MORE,     /* part + 1 follows once it has */
};

/* Appends one command, at most 512 octets with its line end, that tells of plan->client and of the
 * name in plan->hello. `listed`: the attributes that the server takes, as behind XCLIENT in its
 * reply to EHLO; no other is sent. `part`: 0, or 1 after GREET_XCLIENT_MORE. Returns an outcome, or
 * -ENOTSUP where the server takes no ADDR. */
int greet_xclient_write(const struct greet_plan *plan, struct span listed, unsigned part,
                        struct text *out);

#endif

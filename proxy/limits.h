/* How often something may begin: a bucket of tokens, filled at an even rate, that holds what one
 * second brings.
 *
 * PURE. One bucket belongs to one event loop. */
#ifndef GATEPOST_PROXY_LIMITS_H
#define GATEPOST_PROXY_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct limits {
    uint32_t rate;         /* tokens a second, at most 1,000,000; 0: no limit */
    uint32_t thousandths;  /* of tokens, in the bucket */
    uint64_t filled_at_ms; /* when it was last filled */
};

/* The bucket begins full. `now_ms` is any clock in milliseconds, the same for every call. */
void limits_init(struct limits *limits, uint32_t rate, uint64_t now_ms);

/* Takes one token. False: there is none; nothing was taken. */
bool limits_take(struct limits *limits, uint64_t now_ms);

#endif

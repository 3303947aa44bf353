/* How long to wait before trying again.
 *
 * PURE. 1, 2, 4 ... seconds, at most 5 minutes, each from half to one and a half of it, so that a
 * server that comes back does not meet all its clients at once. */
#ifndef GATEPOST_TOOLS_FETCH_BACKOFF_H
#define GATEPOST_TOOLS_FETCH_BACKOFF_H

#include <stdint.h>

#define BACKOFF_FIRST_MS 1000
#define BACKOFF_MAX_MS   300000

/* Milliseconds to wait after the `failures`-th failure in a row (from 1; 0 is as 1). `random` is
 * any 32 random bits. */
uint32_t backoff_ms(unsigned failures, uint32_t random);

#endif

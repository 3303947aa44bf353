/* How many pieces of memory a worker takes: counted in builds with debugging information, for the
 * test that compares them with what was written down (tests/flow/test_counters.py). Our own calls
 * are counted by the linker's --wrap, libuv's and OpenSSL's by the hooks that they have; what libc
 * takes for itself is not. */
#ifndef GATEPOST_PROXY_ALLOCATIONS_H
#define GATEPOST_PROXY_ALLOCATIONS_H

#include "proxy/stats.h"

#ifdef GATEPOST_COUNTS_ALLOCATIONS

/* Once, before the first call of libuv and OpenSSL. */
void allocations_begin(void);

/* Until then nobody sees the counts. */
void allocations_count_in(struct stats *stats);

#else

static inline void allocations_begin(void)
{
}

static inline void allocations_count_in(struct stats *stats)
{
    (void)stats;
}

#endif

#endif

/* Doubling, capped, spread. */
#include "tools/fetch/backoff.h"

uint32_t backoff_ms(unsigned failures, uint32_t random)
{
    uint64_t wait = BACKOFF_FIRST_MS;

    for (unsigned i = 1; i < failures && wait < BACKOFF_MAX_MS; i++)
        wait *= 2;
    if (wait > BACKOFF_MAX_MS)
        wait = BACKOFF_MAX_MS;
    return (uint32_t)(wait / 2 + wait * random / UINT32_MAX);
}

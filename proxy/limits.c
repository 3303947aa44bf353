/* A bucket of tokens, counted in thousandths so that every millisecond counts. Nothing here can
 * fail. */
#include "proxy/limits.h"

#define TOKEN 1000 /* thousandths; also milliseconds a second */

void limits_init(struct limits *limits, uint32_t rate, uint64_t now_ms)
{
    *limits = (struct limits){ .rate = rate, .thousandths = rate * TOKEN, .filled_at_ms = now_ms };
}

static void fill(struct limits *limits, uint64_t now_ms)
{
    uint64_t elapsed_ms = now_ms > limits->filled_at_ms ? now_ms - limits->filled_at_ms : 0;
    uint64_t full = (uint64_t)limits->rate * TOKEN, have;

    if (elapsed_ms > TOKEN)
        elapsed_ms = TOKEN; /* one second fills it in any case */
    have = limits->thousandths + elapsed_ms * limits->rate;
    limits->thousandths = (uint32_t)(have < full ? have : full);
    limits->filled_at_ms = now_ms;
}

bool limits_take(struct limits *limits, uint64_t now_ms)
{
    if (limits->rate == 0)
        return true;
    fill(limits, now_ms);
    if (limits->thousandths < TOKEN)
        return false;
    limits->thousandths -= TOKEN;
    return true;
}

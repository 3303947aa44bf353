/* Counts times: the lowest two powers of two one by one, each higher one in 64 steps. */
#include "tools/bench/histogram.h"

#include <stddef.h>

#define BUCKETS (sizeof(((struct histogram *)0)->buckets) / sizeof(uint64_t))

void histogram_add(struct histogram *histogram, uint64_t us)
{
    size_t shift = 0;
    uint64_t step = us;

    if (us > histogram->longest_us)
        histogram->longest_us = us;
    while (step >= 2 * HISTOGRAM_STEPS) {
        step >>= 1;
        shift++;
    }
    histogram->buckets[shift * HISTOGRAM_STEPS + step]++;
    histogram->count++;
}

void histogram_merge(struct histogram *histogram, const struct histogram *other)
{
    for (size_t i = 0; i < BUCKETS; i++)
        histogram->buckets[i] += other->buckets[i];
    histogram->count += other->count;
    if (other->longest_us > histogram->longest_us)
        histogram->longest_us = other->longest_us;
}

/* The lowest time that falls into the bucket. */
static uint64_t bucket_us(size_t bucket)
{
    size_t shift = bucket < 2 * HISTOGRAM_STEPS ? 0 : bucket / HISTOGRAM_STEPS - 1;

    return (uint64_t)(bucket - shift * HISTOGRAM_STEPS) << shift;
}

uint64_t histogram_share_us(const struct histogram *histogram, double share)
{
    uint64_t wanted = (uint64_t)(share * (double)histogram->count);
    uint64_t seen = 0;

    for (size_t i = 0; i < BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > wanted)
            return bucket_us(i);
    }
    return histogram->longest_us;
}

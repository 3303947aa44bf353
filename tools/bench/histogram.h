/* Times in microseconds, counted in buckets: 64 for each power of two, so within 1.6 per cent.
 *
 * PURE, of fixed size: may lie in memory that processes share (each writes its own). */
#ifndef GATEPOST_BENCH_HISTOGRAM_H
#define GATEPOST_BENCH_HISTOGRAM_H

#include <stdint.h>

#define HISTOGRAM_STEPS 64

struct histogram {
    uint64_t count;
    uint64_t longest_us;
    uint64_t buckets[60 * HISTOGRAM_STEPS];
};

void histogram_add(struct histogram *histogram, uint64_t us);

/* Adds all that `other` counted. */
void histogram_merge(struct histogram *histogram, const struct histogram *other);

/* The time that `share` (0 to 1) of those counted did not exceed; 0 where nothing was counted. */
uint64_t histogram_share_us(const struct histogram *histogram, double share);

#endif

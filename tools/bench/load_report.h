/* The line of JSON at the end of a load generator's run. */
#ifndef GATEPOST_BENCH_LOAD_REPORT_H
#define GATEPOST_BENCH_LOAD_REPORT_H

#include "tools/bench/load_counts.h"

/* Sums over the processes, as struct load_counts. */
struct load_totals {
    uint64_t at_us;
    unsigned long operations, octets, errors, handshakes, resumed, held, served, refused, closed;
};

/* What was seen of the proxy at one moment, and of the load beside it. */
struct load_sample {
    double cpu_s;
    double pss_kib;
    long tcp_kib;
    struct load_totals totals;
};

/* Of operations: once the processes have ended. */
void load_report_operations(const struct load_options *options, const struct load_shared *shared,
                            const struct load_sample *before, const struct load_sample *after);

/* Of connections that stay: before the first, when all had come, and when all was quiet. */
void load_report_connections(const struct load_options *options, const struct load_shared *shared,
                             const struct load_sample *before, const struct load_sample *opened,
                             const struct load_sample *settled);

#endif

/* What the processes of the load generator count, in memory that they share with the one that
 * measures. Each process writes its own; `measured` may be read once the process has ended. */
#ifndef GATEPOST_BENCH_LOAD_COUNTS_H
#define GATEPOST_BENCH_LOAD_COUNTS_H

#include <stdatomic.h>

#include "tools/bench/histogram.h"
#include "tools/bench/load_options.h"

enum load_phase { LOAD_WARMING, LOAD_MEASURING, LOAD_ENDING };

struct load_counts {
    atomic_ulong operations;
    atomic_ulong octets; /* of messages, sent or taken */
    atomic_ulong errors;
    atomic_ulong handshakes, resumed;
    atomic_ulong held; /* connections that stay, now */
    /* of a burst: each connection is counted once */
    atomic_ulong served;  /* greeted, or the handshake done and greeted */
    atomic_ulong refused; /* told so in words */
    atomic_ulong closed;
    struct histogram measured; /* how long operations took, while it was measured */
    char first_error[160];
};

struct load_shared {
    atomic_int phase; /* enum load_phase */
    struct load_counts counts[LOAD_PROCESSES_MAX];
};

#endif

/* One process of the load generator: its share of the sessions, in one epoll loop. */
#ifndef GATEPOST_BENCH_LOAD_WORKER_H
#define GATEPOST_BENCH_LOAD_WORKER_H

#include "tools/bench/load_counts.h"

/* Runs worker `index` of options->processes until shared->phase is LOAD_ENDING: the exit code. */
int load_worker_run(const struct load_options *options, struct load_shared *shared, unsigned index);

/* How many of the sessions are this worker's. */
unsigned load_worker_share(const struct load_options *options, unsigned index);

#endif

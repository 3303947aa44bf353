/* A run of gatepost-fetch: connections, one after another, until the local Maildir is in step. */
#ifndef GATEPOST_TOOLS_FETCH_FETCH_H
#define GATEPOST_TOOLS_FETCH_FETCH_H

#include "tools/fetch/options.h"
#include "tools/fetch/report.h"

/* `password` is borrowed, and wiped by the caller afterwards. What has come of it is in *report.
 * `stopped` is set by a signal: the run then ends soon, with all that has come kept. */
void fetch_run(const struct options *options, struct span password, const volatile int *stopped,
               struct report *report);

#endif

/* `gatepost -t --probe`: asks every server behind the proxy what it can do, by the dialogue that
 * the workers use, and tells what clients would be offered, what would be hidden from them, and
 * why. */
#ifndef GATEPOST_PROXY_PROBE_H
#define GATEPOST_PROXY_PROBE_H

#include <stdio.h>

#include "proxy/configuration.h"

/* Writes the report to `out`. Names are looked up here and now. 0: every address answers and may be
 * used; 1: some address does not, or is shut; -errno. */
int probe_run(const struct configuration *configuration, FILE *out);

#endif

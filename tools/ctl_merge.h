/* The answers of the workers, put together to one. */
#ifndef GATEPOST_TOOLS_CTL_MERGE_H
#define GATEPOST_TOOLS_CTL_MERGE_H

#include <jansson.h>

/* From the supervisor's answer, which is borrowed, to what gatepostctl shows: a new object. Members
 * of the answer stay, but for the reports of the workers:
 *
 *   status    workers: [ { name, pid, up_s, state, sessions, limit, ... } ], backends: [ ... ]
 *   who       sessions: [ { worker, id, ... } ], oldest first; left_out
 *   backends  backends: [ { name, addresses: [ ... ] } ]
 *   kick      ended: [ id ], later: [ id ]
 *
 * and `missing`: names of the workers that have not answered. */
json_t *ctl_merge(json_t *answer);

#endif

/* What the supervisor itself tells the operator: `status` and `stats`, as members of an open JSON
 * object. */
#ifndef GATEPOST_PROXY_OPERATOR_STATUS_H
#define GATEPOST_PROXY_OPERATOR_STATUS_H

#include "proxy/json_out.h"
#include "proxy/stats.h"

struct supervisor;

/* "phase", "pid", "started", "started_s", "former_pid", "configuration": { "number", "loaded",
 * "loaded_s", "file"
 * }, "reload": { "number", "when", "when_s", "outcome", "words" }, "log_level", "lost_log_lines",
 * "listeners": [ { "name", "number", "protocol", "tls", "open", "addresses", "why" } ], "embedded":
 * [ { "name", "pid", "up_s", "state" } ]. `stats`: STATS_WORKERS_MAX of them. */
void operator_put_status(struct json_out *json, const struct supervisor *supervisor,
                         const struct stats *stats);

/* "counters": { NAME: sum }, "workers": [ { "name", "counters" } ], "words": { NAME: words }; lines
 * of the log that the supervisor has lost are in the sum alone. `stats`: STATS_WORKERS_MAX. */
void operator_put_stats(struct json_out *json, const struct supervisor *supervisor,
                        const struct stats *stats);

#endif

/* What the supervisor itself tells the operator: `status` and `stats`, as members of an open JSON
 * object. */
#ifndef GATEPOST_PROXY_OPERATOR_STATUS_H
#define GATEPOST_PROXY_OPERATOR_STATUS_H

#include "proxy/json_out.h"
#include "proxy/stats.h"

struct supervisor;

/* "phase", "pid", "started", "started_s", "configuration": { "number", "loaded", "loaded_s", "file"
 * }, "reload": { "number", "when", "when_s", "outcome", "words" }, "log_level", "listeners": [ {
 * "name", "number", "protocol", "tls", "open", "addresses", "why" } ], "embedded": [ { "name",
 * "pid", "up_s", "state" } ] */
void operator_put_status(struct json_out *json, const struct supervisor *supervisor);

/* "counters": { NAME: sum }, "workers": [ { "name", "counters" } ], "words": { NAME: words }.
 * `stats`: STATS_WORKERS_MAX of them. */
void operator_put_stats(struct json_out *json, const struct supervisor *supervisor,
                        const struct stats *stats);

#endif

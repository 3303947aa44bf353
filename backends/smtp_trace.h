/* The trace fields that stand before a message: Return-Path at delivery, and Received (RFC 5321
 * section 4.4).
 *
 * PURE. */
#ifndef GATEPOST_BACKENDS_SMTP_TRACE_H
#define GATEPOST_BACKENDS_SMTP_TRACE_H

#include <time.h>

#include "backends/smtp_session.h"
#include "proxy/base/proxy_v2.h"

#define SMTP_TRACE_MAX                                                                             \
    2048 /* bytes of both fields: four texts of at most 255, and what stands between */

/* Appends the fields, lines ended by CRLF. `client` is what the PROXY header told; `now` is written
 * as UTC. */
void smtp_trace_put(struct text *text, const struct smtp_session *session,
                    const struct proxy_v2 *client, time_t now);

#endif

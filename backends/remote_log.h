/* What the log says of a session of Remote Mail. */
#ifndef GATEPOST_BACKENDS_REMOTE_LOG_H
#define GATEPOST_BACKENDS_REMOTE_LOG_H

#include <stdint.h>

#include "proxy/base/log_failure.h"
#include "proxy/base/proxy_v2.h"

/* A login that failed `ms` after the session began; `user` as the client wrote it. */
void remote_log_login(const struct proxy_v2 *client, enum log_login why, struct span user,
                      uint64_t ms);

struct remote_log_session {
    const struct proxy_v2 *client;
    const char *user; /* "": nobody has logged in */
    uint64_t pushed, pulled, deleted;
};

/* The line at its end. `how` it ended, in words. */
void remote_log_end(const struct remote_log_session *about, const char *how);

#endif

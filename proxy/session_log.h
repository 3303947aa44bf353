/* What the log hears of a session: proxy/log_words.h has the words. */
#ifndef GATEPOST_PROXY_SESSION_LOG_H
#define GATEPOST_PROXY_SESSION_LOG_H

#include "proxy/session.h"

/* Its one line, when it is over; its streams and its inspector are still there. */
void session_log_end(const struct session *session);

/* The server has refused the latest login. */
void session_log_failed_login(struct session *session);

#endif

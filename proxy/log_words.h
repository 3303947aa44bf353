/* The line of the log that each session ends with. Its form is documented in gatepost(8), LOG
 * LINES; programs rely on it.
 *
 * PURE. What a peer said is escaped by text_put_word(): it cannot end a value, begin a field or a
 * line, or look like an address. */
#ifndef GATEPOST_PROXY_LOG_WORDS_H
#define GATEPOST_PROXY_LOG_WORDS_H

#include "proxy/base/log_failure.h"

/* How a session went. Texts are "" where there is nothing to tell. */
struct log_end {
    struct log_session session;
    const char *how; /* "plain", "STARTTLS", "STLS", "TLS first" */
    const char *tls_version, *cipher, *sni;
    bool resumed;
    struct span user; /* who logged in */
    unsigned logins_failed;
    const char *backend, *server; /* its section, and the address that served, or was tried last */
    const char *through;          /* the balancer that passed the client on */
    uint64_t in, out, ms;
    const char *result, *cause; /* in words; the cause may hold a peer's bytes, escaped already */
};

/* Appends "session ID: client ..., port ..., HOW, key=value ... : RESULT" to `line`, and the fields
 * for a log that keeps some (proxy/base/log.h) to `fields`. */
void log_put_end(const struct log_end *end, struct text *line, struct text *fields);

#endif

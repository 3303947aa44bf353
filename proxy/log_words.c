/* Puts the facts of a session into the lines of the log, and into fields. Fails only by setting the
 * texts' overflow, where a value is longer than any that the caller has. */
#include "proxy/log_words.h"

#include <inttypes.h>

/* A value, in the line and as a field. */
static void put_value(const char *key, const char *field, struct span value, struct text *line,
                      struct text *fields)
{
    if (value.size == 0)
        return;
    text_printf(line, " %s=", key);
    text_put_word(line, value, LOG_WORD_MAX);
    log_put_field(fields, field, value);
}

static void put_number(const char *key, const char *field, uint64_t number, struct text *line,
                       struct text *fields)
{
    text_printf(line, " %s=%" PRIu64, key, number);
    log_put_number_field(fields, field, number);
}

static void put_tls(const struct log_end *end, struct text *line, struct text *fields)
{
    log_put_text_field(fields, "BEGAN", end->how);
    put_value("tls", "TLS", span_of_text(end->tls_version), line, fields);
    put_value("cipher", "CIPHER", span_of_text(end->cipher), line, fields);
    if (*end->tls_version) {
        text_printf(line, " resumed=%s", end->resumed ? "yes" : "no");
        log_put_text_field(fields, "RESUMED", end->resumed ? "yes" : "no");
    }
    put_value("sni", "SNI", span_of_text(end->sni), line, fields);
}

void log_put_end(const struct log_end *end, struct text *line, struct text *fields)
{
    const struct log_session *session = &end->session;

    text_printf(line, "session %s: client %s, port %s %u, %s,", session->id, session->client,
                session->listen, session->port, end->how);
    log_put_session_fields(fields, session);
    put_tls(end, line, fields);
    put_value("user", "USER", end->user, line, fields);
    if (end->logins_failed > 0)
        put_number("logins_failed", "LOGINS_FAILED", end->logins_failed, line, fields);
    put_value("backend", "BACKEND", span_of_text(end->backend), line, fields);
    put_value("server", "SERVER", span_of_text(end->server), line, fields);
    put_value("through", "THROUGH", span_of_text(end->through), line, fields);
    put_number("in", "IN", end->in, line, fields);
    put_number("out", "OUT", end->out, line, fields);
    put_number("ms", "MS", end->ms, line, fields);
    text_printf(line, ": %s%s%s", end->result, *end->cause ? ": " : "", end->cause);
    text_printf(fields, "GATEPOST_RESULT=%s%s%s\n", end->result, *end->cause ? ": " : "",
                end->cause);
}

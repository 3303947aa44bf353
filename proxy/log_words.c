/* Puts the facts of a session into the lines of the log, and into fields. Fails only by setting the
 * texts' overflow, where a value is longer than any that the caller has. */
#include "proxy/log_words.h"

/* Up to NULL. Each session has its line: printf() would cost more than all the rest of a session
 * without TLS. */
static void put_parts(struct text *into, const char *const parts[])
{
    for (; *parts; parts++)
        text_puts(into, *parts);
}

static void put_key(const char *key, struct text *line)
{
    put_parts(line, (const char *const[]){ " ", key, "=", NULL });
}

/* A value, in the line and as a field. */
static void put_value(const char *key, const char *field, struct span value, struct text *line,
                      struct text *fields)
{
    if (value.size == 0)
        return;
    put_key(key, line);
    text_put_word(line, value, LOG_WORD_MAX);
    log_put_field(fields, field, value);
}

static void put_number(const char *key, const char *field, uint64_t number, struct text *line,
                       struct text *fields)
{
    put_key(key, line);
    text_put_number(line, number);
    log_put_number_field(fields, field, number);
}

static void put_tls(const struct log_end *end, struct text *line, struct text *fields)
{
    log_put_text_field(fields, "BEGAN", end->how);
    put_value("tls", "TLS", span_of_text(end->tls_version), line, fields);
    put_value("cipher", "CIPHER", span_of_text(end->cipher), line, fields);
    if (*end->tls_version) {
        text_puts(line, end->resumed ? " resumed=yes" : " resumed=no");
        log_put_text_field(fields, "RESUMED", end->resumed ? "yes" : "no");
    }
    put_value("sni", "SNI", span_of_text(end->sni), line, fields);
}

static void put_result(const char *before, const struct log_end *end, struct text *into)
{
    put_parts(into, (const char *const[]){ before, end->result, *end->cause ? ": " : "", end->cause,
                                           NULL });
}

void log_put_end(const struct log_end *end, struct text *line, struct text *fields)
{
    const struct log_session *session = &end->session;

    put_parts(line, (const char *const[]){ "session ", session->id, ": client ", session->client,
                                           ", port ", session->listen, " ", NULL });
    text_put_number(line, session->port);
    put_parts(line, (const char *const[]){ ", ", end->how, ",", NULL });
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
    put_result(": ", end, line);
    put_result("GATEPOST_RESULT=", end, fields);
    text_puts(fields, "\n");
}

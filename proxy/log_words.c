/* Puts the facts of a session into the lines of the log, and into fields. Fails only by setting the
 * texts' overflow, where a value is longer than any that the caller has. */
#include "proxy/log_words.h"

#include <inttypes.h>

#define WORD_MAX 255 /* octets of a value that are shown: a user's name, a server's */

/* -- fields -- */

static void put_field(struct text *fields, const char *key, struct span value)
{
    if (value.size == 0)
        return;
    text_printf(fields, "GATEPOST_%s=", key);
    text_put_word(fields, value, WORD_MAX);
    text_puts(fields, "\n");
}

/* A text of our own. */
static void put_text_field(struct text *fields, const char *key, const char *text)
{
    if (*text)
        text_printf(fields, "GATEPOST_%s=%s\n", key, text);
}

static void put_number_field(struct text *fields, const char *key, uint64_t number)
{
    text_printf(fields, "GATEPOST_%s=%" PRIu64 "\n", key, number);
}

static void put_session_fields(const struct log_session *session, struct text *fields)
{
    put_text_field(fields, "SESSION", session->id);
    put_text_field(fields, "CLIENT", session->client);
    put_text_field(fields, "LISTEN", session->listen);
    put_number_field(fields, "PORT", session->port);
}

/* -- the end of a session -- */

/* A value, in the line and as a field. */
static void put_value(const char *key, const char *field, struct span value, struct text *line,
                      struct text *fields)
{
    if (value.size == 0)
        return;
    text_printf(line, " %s=", key);
    text_put_word(line, value, WORD_MAX);
    put_field(fields, field, value);
}

static void put_number(const char *key, const char *field, uint64_t number, struct text *line,
                       struct text *fields)
{
    text_printf(line, " %s=%" PRIu64, key, number);
    put_number_field(fields, field, number);
}

static void put_tls(const struct log_end *end, struct text *line, struct text *fields)
{
    put_text_field(fields, "BEGAN", end->how);
    put_value("tls", "TLS", span_of_text(end->tls_version), line, fields);
    put_value("cipher", "CIPHER", span_of_text(end->cipher), line, fields);
    if (*end->tls_version) {
        text_printf(line, " resumed=%s", end->resumed ? "yes" : "no");
        put_text_field(fields, "RESUMED", end->resumed ? "yes" : "no");
    }
    put_value("sni", "SNI", span_of_text(end->sni), line, fields);
}

void log_put_end(const struct log_end *end, struct text *line, struct text *fields)
{
    const struct log_session *session = &end->session;

    text_printf(line, "session %s: client %s, port %s %u, %s,", session->id, session->client,
                session->listen, session->port, end->how);
    put_session_fields(session, fields);
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

/* -- a login that failed -- */

/* "192.0.2.7:51425" or "[2001:db8::7]:51425" without port and brackets. */
static struct span host_of(const char *address)
{
    const char *colon = strrchr(address, ':');
    struct span host = span_of(address, colon ? (size_t)(colon - address) : strlen(address));

    if (host.size > 2 && host.data[0] == '[')
        host = span_of(host.data + 1, host.size - 2);
    return host;
}

static void put_reason(const struct log_failure *failure, struct text *line)
{
    if (failure->why == LOG_LOGIN_IN_CLEAR)
        text_puts(line, "tried to use disallowed plaintext auth");
    else
        text_printf(line, "auth failed, 1 attempts in %" PRIu64 " secs", failure->ms / 1000);
}

void log_put_failure(const struct log_failure *failure, struct text *line, struct text *fields)
{
    const struct log_session *session = &failure->session;
    struct span own = host_of(failure->address);

    text_printf(line, "%s-login: Aborted login (", failure->pop3 ? "pop3" : "submission");
    put_reason(failure, line);
    text_puts(line, "): user=<");
    text_put_word(line, failure->user, WORD_MAX);
    text_puts(line, ">");
    if (*failure->method)
        text_printf(line, ", method=%s", failure->method);
    text_puts(line, ", rip=");
    text_put(line, host_of(session->client));
    if (own.size > 0)
        text_puts(line, ", lip=");
    text_put(line, own);
    text_printf(line, "%s, session=<%s>", failure->tls ? ", TLS" : "", session->id);
    put_session_fields(session, fields);
    put_field(fields, "USER", failure->user);
    put_text_field(fields, "METHOD", failure->method);
}

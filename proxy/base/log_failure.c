/* Puts a failed login into Dovecot's words, and facts of a session into fields. Fails only by
 * setting the texts' overflow, where a value is longer than any that the caller has. */
#include "proxy/base/log_failure.h"

#include <inttypes.h>

/* -- fields -- */

/* Each session has some: printf() would be half of what a session without TLS costs. */
static void put_key(struct text *fields, const char *key)
{
    text_puts(fields, "GATEPOST_");
    text_puts(fields, key);
    text_puts(fields, "=");
}

void log_put_field(struct text *fields, const char *key, struct span value)
{
    if (value.size == 0)
        return;
    put_key(fields, key);
    text_put_word(fields, value, LOG_WORD_MAX);
    text_puts(fields, "\n");
}

void log_put_text_field(struct text *fields, const char *key, const char *text)
{
    if (!*text)
        return;
    put_key(fields, key);
    text_puts(fields, text);
    text_puts(fields, "\n");
}

void log_put_number_field(struct text *fields, const char *key, uint64_t number)
{
    put_key(fields, key);
    text_put_number(fields, number);
    text_puts(fields, "\n");
}

void log_put_session_fields(struct text *fields, const struct log_session *session)
{
    log_put_text_field(fields, "SESSION", session->id);
    log_put_text_field(fields, "CLIENT", session->client);
    log_put_text_field(fields, "LISTEN", session->listen);
    log_put_number_field(fields, "PORT", session->port);
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
    text_put_word(line, failure->user, LOG_WORD_MAX);
    text_puts(line, ">");
    if (*failure->method)
        text_printf(line, ", method=%s", failure->method);
    text_puts(line, ", rip=");
    text_put(line, host_of(session->client));
    if (own.size > 0)
        text_puts(line, ", lip=");
    text_put(line, own);
    text_printf(line, "%s, session=<%s>", failure->tls ? ", TLS" : "", session->id);
    log_put_session_fields(fields, session);
    log_put_field(fields, "USER", failure->user);
    log_put_text_field(fields, "METHOD", failure->method);
}

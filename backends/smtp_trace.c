/* Writes Return-Path and Received: who sent, by which protocol, with which TLS, when.
 *
 * What the client or the proxy gave goes in only after all that could end a word, a comment or the
 * line has become "?". Cannot fail but by the overflow of `text`, which SMTP_TRACE_MAX rules out.
 */
#include "backends/smtp_trace.h"

#include <arpa/inet.h>

/* Appends a text of the client's: what is not in a name, an address literal or a cipher's name
 * becomes "?". */
static void put_word(struct text *text, const char *word)
{
    for (; *word; word++) {
        unsigned char byte = (unsigned char)*word;
        bool fits = (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
                    (byte >= 'A' && byte <= 'Z') || strchr(".-_:[]+", byte);

        text_put(text, fits ? span_of(&byte, 1) : SPAN_LIT("?"));
    }
}

/* "([192.0.2.7])" or "([IPv6:2001:db8::1])" (RFC 5321 section 4.1.3); nothing where it is not
 * known. */
static void put_address(struct text *text, const struct sockaddr_storage *address)
{
    char room[INET6_ADDRSTRLEN];

    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)address;

        inet_ntop(AF_INET, &in->sin_addr, room, sizeof(room));
        text_printf(text, " ([%s])", room);
    } else if (address->ss_family == AF_INET6) {
        const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)address;

        inet_ntop(AF_INET6, &in6->sin6_addr, room, sizeof(room));
        text_printf(text, " ([IPv6:%s])", room);
    }
}

/* RFC 3848 (ESMTPSA and its like) and RFC 6531 section 4.3 (UTF8SMTPSA). HELO is SMTP, with TLS or
 * without. */
static void put_protocol(struct text *text, const struct smtp_session *session)
{
    if (!session->esmtp) {
        text_puts(text, "SMTP");
        return;
    }
    text_puts(text, session->mail.utf8 ? "UTF8SMTP" : "ESMTP");
    text_puts(text, session->facts->tls ? "S" : "");
    text_puts(text, session->user[0] ? "A" : "");
}

static void put_date(struct text *text, time_t now)
{
    static const char days[][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct tm utc;

    gmtime_r(&now, &utc);
    text_printf(text, "%s, %d %s %d %02d:%02d:%02d +0000", days[utc.tm_wday], utc.tm_mday,
                months[utc.tm_mon], utc.tm_year + 1900, utc.tm_hour, utc.tm_min, utc.tm_sec);
}

void smtp_trace_put(struct text *text, const struct smtp_session *session,
                    const struct proxy_v2 *client, time_t now)
{
    const struct smtp_transaction *mail = &session->mail;

    if (!mail->relayed) /* only the last server writes Return-Path */
        text_printf(text, "Return-Path: <%s>\r\n", mail->from);
    text_puts(text, "Received: from ");
    put_word(text, session->helo);
    put_address(text, &client->client);
    text_puts(text, "\r\n\tby ");
    put_word(text, session->facts->hostname);
    text_puts(text, " with ");
    put_protocol(text, session);
    if (session->facts->tls && client->tls_version[0]) {
        text_puts(text, " (");
        put_word(text, client->tls_version);
        text_puts(text, client->tls_cipher[0] ? " " : "");
        put_word(text, client->tls_cipher);
        text_puts(text, ")");
    }
    text_puts(text, " id ");
    put_word(text, mail->id);
    /* With more than one it would tell each of the others. */
    if (mail->recipient_count == 1)
        text_printf(text, "\r\n\tfor <%s>", mail->recipients[0]);
    text_puts(text, ";\r\n\t");
    put_date(text, now);
    text_puts(text, "\r\n");
}

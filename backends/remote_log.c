/* Lines of the log: a failed login in the words of Dovecot, and one line at the end of a session.
 *
 * Happy path: the line goes to the supervisor; it cannot fail. What the client has said stands in
 * it escaped. */
#include "backends/remote_log.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include "backends/users.h"
#include "proxy/base/log.h"

static unsigned port_of(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        return ntohs(((const struct sockaddr_in6 *)address)->sin6_port);
    return address->ss_family == AF_INET ? ntohs(((const struct sockaddr_in *)address)->sin_port)
                                         : 0;
}

/* As the proxy does it of SMTP and POP3. It does not read Remote Mail, so it cannot. Dovecot has no
 * name for this protocol; that of the other one with the same mailboxes is what its readers know.
 */
void remote_log_login(const struct proxy_v2 *client, enum log_login why, struct span user,
                      uint64_t ms)
{
    char line_room[LOG_LINE_MAX], fields_room[LOG_FIELDS_MAX], address[64], own[64];
    struct text line = TEXT_OVER(line_room), fields = TEXT_OVER(fields_room);
    const struct log_failure failure = {
        .session = { client->unique_id,
                     proxy_v2_address_text(&client->client, address, sizeof(address)), "",
                     port_of(&client->server) },
        .why = why,
        .pop3 = true,
        .user = user,
        .method = why == LOG_LOGIN_WRONG ? "PLAIN" : "",
        .address = proxy_v2_address_text(&client->server, own, sizeof(own)),
        .tls = client->tls,
        .ms = ms,
    };

    log_put_failure(&failure, &line, &fields);
    log_record(LOG_LEVEL_NOTICE, LOG_FAILURE_NAME, text_span(&fields), "%s", text_str(&line));
}

void remote_log_end(const struct remote_log_session *about, const char *how)
{
    const struct proxy_v2 *client = about->client;
    char room[1024], address[64];
    struct text line = TEXT_OVER(room);

    text_printf(&line, "remote session %s of %s: user ",
                client->unique_id[0] ? client->unique_id : "-",
                proxy_v2_address_text(&client->client, address, sizeof(address)));
    text_put_escaped(&line, span_of_text(about->user[0] ? about->user : "-"), USER_NAME_MAX);
    text_printf(&line, ", %s, %llu pushed, %llu pulled, %llu deleted, %s",
                client->tls ? client->tls_version : "no TLS", (unsigned long long)about->pushed,
                (unsigned long long)about->pulled, (unsigned long long)about->deleted, how);
    log_line(client->local ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "%s", text_str(&line));
}

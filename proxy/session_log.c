/* Gathers what the log hears of a session: when it is over, and when a login failed. Cannot fail:
 * what is not known any more (the address of a connection that is reset) is left out. */
#include "proxy/session_log.h"

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/log_words.h"
#include "proxy/server.h"
#include "proxy/tls.h"

static bool is_pop3(const struct session *session)
{
    return session->rule->protocol == PROTOCOL_POP3;
}

static struct log_session facts_of(const struct session *session)
{
    return (struct log_session){ session->id, session->peer, session->listen->name,
                                 session->rule->port };
}

static uint64_t age_ms(const struct session *session)
{
    return uv_now(session->server->uv) - session->started_ms;
}

/* How TLS was begun, also where it failed. */
static const char *how(const struct session *session)
{
    if (!session->client.tls)
        return "plain";
    if (!session->tls_by_command)
        return "TLS first";
    return is_pop3(session) ? "STLS" : "STARTTLS";
}

/* Where nothing else is told: was there something that TLS would have made possible? */
static const char *ordinary_result(const struct session *session)
{
    if (protocol_is_relayed(session->rule->protocol))
        return "ended";
    if (session->negotiate.told_plain)
        return "client speaks no TLS on a TLS-first port (set it to SSL/TLS, or to another port)";
    if (session->login_in_clear || session->negotiate.login_in_clear)
        return is_pop3(session)
                   ? "a login without TLS was refused (set the client to STLS; require_tls = no "
                     "takes it)"
                   : "a login without TLS was refused (set the client to STARTTLS; require_tls = "
                     "no takes it)";
    if (session->negotiate.refused_in_clear)
        return "commands without TLS were refused (set the client to STARTTLS; require_tls = no "
               "takes them)";
    return "ended";
}

static const char *cause(const struct session *session)
{
    if (!session->tls_failed)
        return "";
    return session->status == -EPROTO ? tls_failure(&session->client) : err_text(session->status);
}

static void put_tls(const struct session *session, struct log_end *end)
{
    struct tls_facts tls;

    end->tls_version = end->cipher = end->sni = "";
    if (!session->client.tls)
        return;
    tls_facts(&session->client, &tls);
    end->sni = tls.sni;
    if (!session->tls_up)
        return;
    end->tls_version = tls.version;
    end->cipher = tls.cipher;
    end->resumed = tls.resumed;
}

static void log_end(const struct session *session, enum log_level level)
{
    char line_room[LOG_LINE_MAX], fields_room[LOG_FIELDS_MAX], server[ADDRESS_TEXT_MAX] = "";
    struct text line = TEXT_OVER(line_room), fields = TEXT_OVER(fields_room);
    struct log_end end = {
        .session = facts_of(session),
        .how = how(session),
        .user = span_of_text(session->login ? session->login : ""),
        .logins_failed = session->logins_failed,
        .backend = session->target ? session->target->settings->name : "",
        .server = server,
        .through = session->origin ? session->origin->through : "",
        .in = session->client.octets_in,
        .out = session->client.octets_out,
        .ms = age_ms(session),
        .result = session->verdict ? session->verdict : ordinary_result(session),
        .cause = cause(session),
    };

    put_tls(session, &end);
    if (session->address)
        address_text(&session->address->to, server);
    log_put_end(&end, &line, &fields);
    log_record(level, NULL, text_span(&fields), "%s", text_str(&line));
}

/* Our own address, that the client came to. */
static void own_address(const struct session *session, char into[ADDRESS_TEXT_MAX])
{
    struct sockaddr_storage own = { 0 };
    int size = sizeof(own);

    into[0] = '\0';
    if (session->origin)
        own = session->origin->server;
    else if (uv_tcp_getsockname(&session->client.uv.tcp, (struct sockaddr *)&own, &size) < 0)
        return;
    proxy_v2_address_text(&own, into, ADDRESS_TEXT_MAX);
}

static void log_failure(const struct session *session, enum log_login why, struct span user,
                        const char *method)
{
    char line_room[LOG_LINE_MAX], fields_room[LOG_FIELDS_MAX], own[ADDRESS_TEXT_MAX];
    struct text line = TEXT_OVER(line_room), fields = TEXT_OVER(fields_room);
    struct log_failure failure = {
        .session = facts_of(session),
        .why = why,
        .pop3 = is_pop3(session),
        .user = user,
        .method = method,
        .address = own,
        .tls = session->tls_up,
        .ms = age_ms(session),
    };

    own_address(session, own);
    log_put_failure(&failure, &line, &fields);
    log_record(LOG_LEVEL_NOTICE, LOG_FAILURE_NAME, text_span(&fields), "%s", text_str(&line));
}

void session_log_failed_login(struct session *session)
{
    const struct auth_watch *auth = inspector_auth(&session->inspector);

    if (session->logins_failed < UINT16_MAX)
        session->logins_failed++;
    log_failure(session, LOG_LOGIN_WRONG, span_of_text(auth->name), auth_watch_method(auth));
}

/* For gatepostctl: a line that found no room is told in the log itself only when that has some. */
static void count_lost_lines(struct server *server)
{
    unsigned long lost = log_lost_count();

    stats_add(&server->stats->lost_log_lines, lost - server->lost_log_lines);
    server->lost_log_lines = lost;
}

void session_log_end(const struct session *session)
{
    enum log_level level = session->tls_failed ? LOG_LEVEL_NOTICE : LOG_LEVEL_INFO;

    /* Once, however often it was tried: no password was judged. Not where the client then turned
     * on TLS. */
    if (!session->tls_up && (session->login_in_clear || session->negotiate.login_in_clear))
        log_failure(session, LOG_LOGIN_IN_CLEAR, span_of(NULL, 0), "");
    if (log_wants(level))
        log_end(session, level);
    count_lost_lines(session->server);
}

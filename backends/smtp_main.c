/* gatepost-smtpd: takes mail from the proxy into the mail store, or hands it to the relay.
 *
 *   smtp_main.c         this: joins the session machine to connection, store and relay; logs
 *   smtp_session.[ch]   PURE: the command table; with smtp_transaction.c (MAIL to the end of the
 * message) and smtp_auth.c (AUTH), behind smtp_commands.h smtp_path.[ch]      PURE: <local@domain>
 * and parameters smtp_data.[ch]      PURE: the end of DATA, dots, bare newlines smtp_trace.[ch]
 * PURE: Return-Path and Received recipients.[ch]     whose is an address; aliases.[ch] the alias
 * file; users.[ch] the users maildir.[ch]        delivery relay_client.[ch]   the way out for
 * authenticated users worker.[ch]         accepts, forks a process for each session, reads the
 * PROXY header
 *
 * Happy path of a session: greet, then read, feed the machine, flush when no more input waits,
 * until it closes. Fails when the client is gone or silent: what is not committed is thrown away.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "backends/maildir.h"
#include "backends/recipients.h"
#include "backends/relay_client.h"
#include "backends/smtp_session.h"
#include "backends/smtp_trace.h"
#include "backends/users.h"
#include "backends/worker.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define READ_BYTES 65536

/* One session: the host of its machine. */
struct smtpd {
    struct worker_session *worker;
    struct smtp_session session;
    struct smtp_facts facts;
    struct recipients recipients;
    struct delivery *delivery;  /* NULL: none is open */
    struct relay_client *relay; /* NULL: not connected */
    char client[80];            /* address, for the log */
    char id[64];
};

static const struct settings_mailstore *mailstore_of(const struct smtpd *smtpd)
{
    return &smtpd->worker->settings->mailstore;
}

/* ---- what the machine asks ---- */

static int host_send(void *context, struct span reply)
{
    struct smtpd *smtpd = context;

    return connection_write(smtpd->worker->connection, reply);
}

/* The name is logged only where it is a user's: what is typed into the wrong field may be a
 * password. */
static void log_login(const struct smtpd *smtpd, const char *name, int result)
{
    if (result == USERS_OK)
        log_line(LOG_LEVEL_INFO, "%s client %s logged in as %s", smtpd->id, smtpd->client, name);
    else if (result == USERS_WRONG)
        log_line(LOG_LEVEL_NOTICE, "%s client %s wrong password for %s", smtpd->id, smtpd->client,
                 name);
    else if (result == USERS_UNKNOWN)
        log_line(LOG_LEVEL_NOTICE, "%s client %s login of an unknown user", smtpd->id,
                 smtpd->client);
    else
        log_line(LOG_LEVEL_ERROR, "%s cannot check a password: %s", smtpd->id, err_text(result));
}

static int host_login(void *context, struct span name, struct span password, char *ret_user)
{
    struct smtpd *smtpd = context;
    char user[USER_NAME_MAX + 1];
    int r;

    /* What is no name is checked all the same, as nobody's, so that it takes as long. */
    if (users_normalize(name, mailstore_of(smtpd)->domains.items[0], user) != USERS_OK)
        strcpy(user, "@");
    r = worker_check_password(smtpd->worker, user, password);
    log_login(smtpd, user, r);
    if (r < 0)
        return r;
    if (r != USERS_OK)
        return SMTP_LOGIN_WRONG;
    strcpy(ret_user, user);
    return SMTP_LOGIN_OK;
}

static int host_recipient(void *context, const char *address)
{
    struct smtpd *smtpd = context;
    struct name_list users = { NULL, 0 };
    int r = recipients_find(&smtpd->recipients, address, &users);

    name_list_deinit(&users);
    switch (r) {
    case RECIPIENTS_LOCAL:
        return SMTP_RECIPIENT_LOCAL;
    case RECIPIENTS_UNKNOWN:
        return SMTP_RECIPIENT_UNKNOWN;
    case RECIPIENTS_ELSEWHERE:
        return SMTP_RECIPIENT_ELSEWHERE;
    default:
        log_line(LOG_LEVEL_ERROR, "%s cannot look up a recipient: %s", smtpd->id, err_text(r));
        return r;
    }
}

static void close_relay(struct smtpd *smtpd)
{
    relay_client_close(smtpd->relay);
    smtpd->relay = NULL;
}

/* A lost relay is closed at once. The next recipient may find it back, but not this message: the
 * sender would be said anew, without the recipients that were taken. So only where there are none
 * yet. */
static int host_relay(void *context, const struct smtp_transaction *mail, const char *address,
                      struct text *reply)
{
    struct smtpd *smtpd = context;
    const struct settings *settings = smtpd->worker->settings;
    int r = SMTP_TAKEN;

    if (!smtpd->relay) {
        if (mail->recipient_count > 0)
            return -ENOTCONN;
        r = relay_client_open(settings->mailstore.relay, settings->gatepost.hostname,
                              (int)settings->limits.smtp_reply_timeout_ms, &smtpd->relay);
        if (r == 0)
            r = relay_client_mail(smtpd->relay, mail, reply);
        if (r == SMTP_REFUSED)
            close_relay(smtpd);
    }
    if (r == SMTP_TAKEN)
        r = relay_client_recipient(smtpd->relay, address, reply);
    if (r < 0)
        close_relay(smtpd);
    return r;
}

static int begin_relayed(struct smtpd *smtpd, struct text *reply)
{
    return smtpd->relay ? relay_client_begin(smtpd->relay, reply) : -ENOTCONN;
}

/* Resolves the recipients once more, into users: two of them may lead to the same one. */
static int begin_local(struct smtpd *smtpd, const struct smtp_transaction *mail)
{
    struct name_list users = { NULL, 0 };
    int r = 0;

    for (size_t i = 0; i < mail->recipient_count && r >= 0; i++) {
        r = recipients_find(&smtpd->recipients, mail->recipients[i], &users);
        if (r > 0 && r != RECIPIENTS_LOCAL)
            r = -EAGAIN; /* removed since RCPT: the client tries again and hears of it */
    }
    if (r >= 0)
        r = delivery_begin(mailstore_of(smtpd)->path, (const char *const *)users.names, users.count,
                           &smtpd->delivery);
    name_list_deinit(&users);
    return r;
}

static int write_message(struct smtpd *smtpd, struct span octets)
{
    if (smtpd->session.mail.relayed)
        return relay_client_write(smtpd->relay, octets);
    return delivery_write(smtpd->delivery, octets);
}

static void host_abort(void *context)
{
    struct smtpd *smtpd = context;

    if (smtpd->delivery)
        delivery_abort(smtpd->delivery);
    smtpd->delivery = NULL;
    close_relay(smtpd);
}

static int host_begin(void *context, const struct smtp_transaction *mail, struct text *reply)
{
    struct smtpd *smtpd = context;
    char room[SMTP_TRACE_MAX];
    struct text trace = TEXT_OVER(room);
    int r = mail->relayed ? begin_relayed(smtpd, reply) : begin_local(smtpd, mail);

    if (r == SMTP_REFUSED)
        return r;
    if (r >= 0) {
        smtp_trace_put(&trace, &smtpd->session, &smtpd->worker->client, time(NULL));
        r = trace.overflow ? -EMSGSIZE : write_message(smtpd, text_span(&trace));
    }
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "%s cannot begin a message: %s", mail->id, err_text(r));
        host_abort(smtpd);
        return r;
    }
    return SMTP_TAKEN;
}

static int host_write(void *context, struct span octets)
{
    struct smtpd *smtpd = context;
    int r = write_message(smtpd, octets);

    if (r < 0)
        log_line(LOG_LEVEL_ERROR, "%s cannot write the message: %s", smtpd->session.mail.id,
                 err_text(r));
    return r;
}

static int host_commit(void *context, struct text *reply)
{
    struct smtpd *smtpd = context;
    int r;

    if (smtpd->session.mail.relayed) {
        r = relay_client_finish(smtpd->relay, reply);
    } else {
        r = delivery_commit(smtpd->delivery);
        smtpd->delivery = NULL;
        r = r < 0 ? r : SMTP_TAKEN;
    }
    if (r < 0)
        log_line(LOG_LEVEL_ERROR, "%s cannot deliver the message: %s", smtpd->session.mail.id,
                 err_text(r));
    return r;
}

static void host_end(void *context, const struct smtp_transaction *mail, struct span verdict)
{
    struct smtpd *smtpd = context;
    char room[LOG_LINE_MAX];
    struct text line = TEXT_OVER(room);

    close_relay(smtpd);
    text_printf(&line, "%s client %s", mail->id, smtpd->client);
    if (smtpd->session.user[0])
        text_printf(&line, " user %s", smtpd->session.user);
    text_puts(&line, " from <");
    text_put_word(&line, span_of_text(mail->from), SMTP_ADDRESS_MAX);
    text_printf(&line, "> to %zu %s", mail->recipient_count, mail->relayed ? "relayed" : "local");
    if (mail->refused_count > 0)
        text_printf(&line, " (%u refused)", (unsigned)mail->refused_count);
    text_printf(&line, " bytes %llu: ", (unsigned long long)mail->bytes);
    text_put_escaped(&line, verdict, SMTP_REPLY_MAX);
    /* "learning" is the proxy itself, asking what we can do and whether we relay. */
    log_line(strcmp(smtpd->id, "learning") == 0 ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "%s",
             text_str(&line));
}

static const struct smtp_host host = {
    .send = host_send,
    .login = host_login,
    .recipient = host_recipient,
    .relay = host_relay,
    .begin = host_begin,
    .write = host_write,
    .commit = host_commit,
    .abort = host_abort,
    .end = host_end,
};

/* ---- the session ---- */

/* The session's id in the proxy's log, so that both logs can be read together; or one of our own.
 */
static void choose_id(struct smtpd *smtpd)
{
    const char *given = smtpd->worker->client.unique_id;
    size_t size =
        strspn(given, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.");

    if (size > 0 && size < sizeof(smtpd->id) && given[size] == '\0')
        strcpy(smtpd->id, given);
    else
        snprintf(smtpd->id, sizeof(smtpd->id), "%llx-%x", (unsigned long long)time(NULL),
                 (unsigned)getpid());
}

static void smtpd_init(struct smtpd *smtpd, struct worker_session *worker)
{
    const struct settings *settings = worker->settings;

    *smtpd = (struct smtpd){ .worker = worker };
    smtpd->facts = (struct smtp_facts){
        .hostname = settings->gatepost.hostname,
        .id = smtpd->id,
        .tls = worker->client.tls,
        .auth_without_tls = settings->mailstore.auth_without_tls,
        .relay = settings->mailstore.relay[0] != '\0',
        .limit_bytes = settings->mailstore.message_size_limit_bytes,
        .max_recipients = settings->mailstore.max_recipients,
        .max_errors = settings->limits.max_errors,
    };
    choose_id(smtpd);
    proxy_v2_address_text(&worker->client.client, smtpd->client, sizeof(smtpd->client));
    recipients_init(&smtpd->recipients, &settings->mailstore);
    smtp_session_init(&smtpd->session, &smtpd->facts, &host, smtpd);
}

static void say_timeout(struct smtpd *smtpd)
{
    char room[SMTP_REPLY_MAX];
    struct text reply = TEXT_OVER(room);

    if (!smtp_session_between_commands(&smtpd->session))
        return;
    text_printf(&reply, "421 4.4.2 %.255s Timeout, closing\r\n", smtpd->facts.hostname);
    connection_write(smtpd->worker->connection, text_span(&reply));
}

static void session(struct worker_session *worker)
{
    static unsigned char octets[READ_BYTES]; /* one session is one process */
    struct smtpd smtpd;
    long got = 0;
    int r;

    smtpd_init(&smtpd, worker);
    r = smtp_session_greet(&smtpd.session);
    if (r == 0)
        r = SMTP_SESSION_OPEN;
    while (r == SMTP_SESSION_OPEN) {
        /* Sends the replies first, unless more commands are waiting (RFC 2920 section 3.2). */
        got = connection_read(worker->connection, octets, sizeof(octets));
        if (got <= 0)
            break;
        r = smtp_session_feed(&smtpd.session, span_of(octets, (size_t)got));
        explicit_bzero(octets, (size_t)got); /* a password may have been among them */
    }
    if (got == -ETIMEDOUT)
        say_timeout(&smtpd);
    smtp_session_deinit(&smtpd.session);
    recipients_deinit(&smtpd.recipients);
}

int main(int argc, char **argv)
{
    static const struct worker_program program = {
        .name = "gatepost-smtpd",
        .busy = "421 4.3.2 Too many sessions, try later\r\n",
        .session = session,
    };

    if (argc > 1) {
        fprintf(stderr, "%s: takes no arguments; gatepost starts it (see gatepost-smtpd(8))\n",
                argv[0]);
        return 64;
    }
    return worker_run(&program);
}

/* gatepost-pop3d: the embedded worker of POP3 and Remote Mail.
 *
 *   worker.c          accepts, forks a session for each connection, drains
 *   pop3_session.c    the dialogue (PURE)
 *   this file         joins a session to its connection, the users and the maildrop
 *   remote_server.c   does the same where the ports in front speak Remote Mail
 *   maildrop.c        the messages; users.c the passwords; newline.c the line ends
 *
 * Happy path: greeting, login, messages, QUIT with its UPDATE, one line in the log. A session that
 * ends in any other way (end of file, reset, timeout, an error of the disk in the middle of a
 * message) removes nothing. */
#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends/newline.h"
#include "backends/pop3_session.h"
#include "backends/remote_server.h"
#include "backends/uploads.h"
#include "backends/users.h"
#include "backends/worker.h"
#include "gatepost_build.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

#define TEXT_BYTES 16384 /* of a message at a time */

struct pop3_worker {
    struct worker_session *session;
    char user[USER_NAME_MAX + 1]; /* "" before login */
    struct maildrop maildrop;
    bool open;  /* maildrop is */
    FILE *text; /* between open_text and send_text */
    size_t removed;
};

/* ---- the log ---- */

/* The proxy's own connections, by which it learns what we can do, come every few minutes and are of
 * no interest. Without a client to speak for they carry the address 192.0.2.1 (RFC 5737). */
static bool is_learning(const struct proxy_v2 *client)
{
    const struct sockaddr_in *inet = (const void *)&client->client;

    return client->local ||
           (client->client.ss_family == AF_INET && inet->sin_addr.s_addr == htonl(0xc0000201));
}

static void log_failure(const struct pop3_worker *worker, const char *what, int error)
{
    log_line(LOG_LEVEL_ERROR, "%s: %s: %s", worker->user, what, err_text(error));
}

/* The name that was tried stands in the proxy's line of the session; once is enough, since people
 * type their password there. */
static void log_refusal(const struct pop3_worker *worker)
{
    const struct proxy_v2 *client = &worker->session->client;
    char address[64];

    log_line(LOG_LEVEL_NOTICE, "session %s of %s: wrong name or password",
             client->unique_id[0] ? client->unique_id : "-",
             proxy_v2_address_text(&client->client, address, sizeof(address)));
}

static const char *ending_text(const struct pop3_session *session, int result)
{
    if (result == POP3_ENDED)
        return session->errors >= session->max_errors ? "too many errors" : "ended by QUIT";
    return result == 0 ? "client gone" : err_text(result);
}

static void log_session(const struct pop3_worker *worker, const struct pop3_session *session,
                        const char *ending)
{
    const struct proxy_v2 *client = &worker->session->client;
    char room[1024], address[64];
    struct text line = TEXT_OVER(room);

    text_printf(&line, "session %s of %s: user ", client->unique_id[0] ? client->unique_id : "-",
                proxy_v2_address_text(&client->client, address, sizeof(address)));
    text_put_escaped(&line, span_of_text(worker->user[0] ? worker->user : "-"), USER_NAME_MAX);
    text_printf(&line, ", %s, %zu retrieved, %zu deleted, %s",
                client->tls ? client->tls_version : "no TLS", session->retrieved, worker->removed,
                ending);
    log_line(is_learning(client) ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO, "%s", text_str(&line));
}

/* ---- what the session asks ---- */

static int open_maildrop(struct pop3_worker *worker, struct maildrop_message **ret_messages,
                         size_t *ret_count)
{
    int r =
        maildrop_open(worker->session->settings->mailstore.path, worker->user, &worker->maildrop);

    if (r == -EBUSY)
        return POP3_LOGIN_IN_USE;
    if (r < 0) {
        log_failure(worker, "the maildrop cannot be opened", r);
        return r == -EACCES || r == -EPERM || r == -ENOTDIR || r == -ELOOP ? POP3_LOGIN_PERMANENT
                                                                           : POP3_LOGIN_TEMPORARY;
    }
    worker->open = true;
    *ret_messages = worker->maildrop.messages;
    *ret_count = worker->maildrop.count;
    return POP3_LOGIN_DONE;
}

static int on_login(void *context, struct span name, struct span password,
                    struct maildrop_message **ret_messages, size_t *ret_count)
{
    struct pop3_worker *worker = context;
    const struct settings *settings = worker->session->settings;
    int r;

    /* What can be no name is checked as well: it takes as long as a wrong password. */
    if (users_normalize(name, settings->mailstore.domains.items[0], worker->user) != USERS_OK)
        worker->user[0] = '\0';
    r = worker_check_password(worker->session, worker->user, password);
    if (r == USERS_OK)
        r = open_maildrop(worker, ret_messages, ret_count);
    else if (r < 0) {
        log_failure(worker, "the users file cannot be read", r);
        r = POP3_LOGIN_TEMPORARY;
    } else {
        log_refusal(worker);
        r = POP3_LOGIN_WRONG;
    }
    if (r != POP3_LOGIN_DONE)
        worker->user[0] = '\0';
    return r;
}

static int on_open_text(void *context, size_t index)
{
    struct pop3_worker *worker = context;
    int r = maildrop_read(&worker->maildrop, index, &worker->text);

    if (r < 0)
        log_failure(worker, "a message cannot be read", r);
    return r;
}

static int send_opened(struct pop3_worker *worker, struct newline_to_wire *newline)
{
    struct connection *connection = worker->session->connection;
    unsigned char in[TEXT_BYTES], out[2 * TEXT_BYTES];
    size_t size;
    int r = 0;

    while (r == 0 && !newline_to_wire_done(newline) &&
           (size = fread(in, 1, sizeof(in), worker->text)) > 0) {
        size = newline_to_wire(newline, span_of(in, size), out);
        r = connection_write(connection, span_of(out, size));
    }
    if (r == 0 && ferror(worker->text)) {
        r = -EIO;
        log_failure(worker, "a message could not be read to its end", r);
    }
    if (r == 0)
        r = connection_write(connection, span_of(out, newline_to_wire_end(newline, out)));
    return r;
}

static int on_send_text(void *context, bool limited, uint64_t lines)
{
    struct pop3_worker *worker = context;
    struct newline_to_wire newline = { .dot_stuffing = true,
                                       .limited = limited,
                                       .lines_left = lines };
    int r = send_opened(worker, &newline);

    fclose(worker->text);
    worker->text = NULL;
    return r;
}

static int on_update(void *context)
{
    struct pop3_worker *worker = context;
    int r = maildrop_update(&worker->maildrop);

    for (size_t i = 0; i < worker->maildrop.count; i++)
        worker->removed += worker->maildrop.messages[i].deleted;
    if (r < 0)
        log_failure(worker, "a deleted message could not be removed", r);
    return r;
}

static int on_write(void *context, struct span octets)
{
    struct pop3_worker *worker = context;

    return connection_write(worker->session->connection, octets);
}

/* ---- the session ---- */

/* Feeds the session until it ends. Returns how it ended: POP3_ENDED, 0 at end of file, or -errno.
 */
static int converse(struct pop3_worker *worker, struct pop3_session *session)
{
    unsigned char in[4096];

    for (;;) {
        long size = connection_read(worker->session->connection, in, sizeof(in));
        int r;

        if (size <= 0)
            return (int)size;
        r = pop3_session_feed(session, span_of(in, (size_t)size));
        explicit_bzero(in, (size_t)size); /* it may have been a password */
        if (r != POP3_MORE)
            return r;
    }
}

static void pop3_serve(struct worker_session *worker_session)
{
    static const struct pop3_caller caller = { on_login, on_open_text, on_send_text, on_update,
                                               on_write };
    const struct settings *settings = worker_session->settings;
    struct pop3_worker worker = { .session = worker_session };
    struct pop3_session session;
    int r = pop3_session_init(&session, &caller, &worker, settings->gatepost.hostname,
                              settings->mailstore.auth_without_tls || worker_session->client.tls,
                              settings->limits.max_errors);

    if (r == 0)
        r = converse(&worker, &session);
    connection_flush(worker_session->connection);
    log_session(&worker, &session, ending_text(&session, r));
    pop3_session_deinit(&session);
    if (worker.open)
        maildrop_close(&worker.maildrop);
}

static void serve(struct worker_session *session)
{
    if (session->protocol == PROTOCOL_REMOTE)
        remote_serve(session);
    else
        pop3_serve(session);
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    (void)value;
    (void)state;
    return key == ARGP_KEY_ARG ? EINVAL : ARGP_ERR_UNKNOWN;
}

int main(int argc, char **argv)
{
    static const struct worker_program program = {
        .name = "gatepost-pop3d",
        .busy = "-ERR [SYS/TEMP] Too many sessions, please try again later\r\n",
        .remote_busy = "- [TEMP] too many sessions, please try again later\r\n",
        .session = serve,
        .remote_start = uploads_complete_all,
    };
    static const struct argp arguments = {
        .parser = parse_option,
        .doc = "The embedded worker of Gatepost for POP3 and Remote Mail. It is started by "
               "gatepost(8) only.",
    };

    argp_program_version = "gatepost-pop3d " GATEPOST_VERSION;
    argp_parse(&arguments, argc, argv, 0, NULL, NULL);
    return worker_run(&program);
}

/* One connection of Remote Mail.
 *
 *   remote_session.c   the dialogue (PURE)
 *   remote_link.c      the connection, read while it is written
 *   remote_message.c   a message on its way down
 *   remote_log.c       the lines of the log
 *   uploads.c          messages on their way up
 *   maildrop.c         the mailbox, seen without its lock
 *   maildir_watch.c    tells that mail may have come
 *   mirror_lock.c      one session for each mirror
 *   this file          joins them
 *
 * Happy path: login, LIST or PULL, ACK and SYNC, WAIT, QUIT, one line in the log. However the
 * session ends, what the client has acknowledged is deleted at its end, and nothing else. An error
 * of the disk inside a frame closes the connection: the client knows that the frame is not whole,
 * and resumes. */
#include "backends/remote_server.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "backends/maildir_watch.h"
#include "backends/mirror_lock.h"
#include "backends/remote_link.h"
#include "backends/remote_log.h"
#include "backends/remote_message.h"
#include "backends/remote_session.h"
#include "backends/smtp_trace.h"
#include "backends/uploads.h"
#include "backends/users.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define IN_BYTES 65536
#define PUMPS    32 /* pieces between two looks at the input; each is at most REMOTE_LINK_ROOM */
#define WAIT_LOOK_MS                                                                               \
    60000 /* in WAIT, how often the mailbox is listed although nothing was announced */
#define WAIT_UNWATCHED_MS 5000 /* the same where the folders cannot be watched (guessed) */

struct remote_server {
    struct worker_session *worker;
    struct remote_session session;
    struct remote_link link;
    long long began_ms;
    char user[USER_NAME_MAX + 1]; /* "" before login */
    struct maildrop maildrop;
    bool open;                /* maildrop is */
    int place;                /* of the mirror; -1 before login */
    uint64_t deleted_earlier; /* in lists before this one */

    struct remote_message message; /* of the frame */
    struct uploads uploads;

    long long wait_end_ms;
    bool look_now; /* WAIT has begun */
};

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static const char *store_of(const struct remote_server *server)
{
    return server->worker->settings->mailstore.path;
}

/* ---- the log ---- */

static void log_failure(const struct remote_server *server, const char *what, int error)
{
    log_line(LOG_LEVEL_ERROR, "%s: %s: %s", server->user, what, err_text(error));
}

static uint64_t deleted_so_far(const struct remote_server *server)
{
    uint64_t count = server->deleted_earlier;

    for (size_t i = 0; server->open && i < server->maildrop.count; i++)
        count += server->maildrop.messages[i].removed || server->maildrop.messages[i].journalled;
    return count;
}

static void log_end(const struct remote_server *server, int result)
{
    const struct remote_log_session about = {
        .client = &server->worker->client,
        .user = server->user,
        .pushed = server->session.pushed,
        .pulled = server->session.pulled,
        .deleted = deleted_so_far(server),
    };

    remote_log_end(&about, result == REMOTE_ENDED ? "ended in order"
                           : result == 0          ? "client gone"
                                                  : err_text(result));
}

static void log_login(const struct remote_server *server, enum log_login why, struct span user)
{
    remote_log_login(&server->worker->client, why, user, (uint64_t)(now_ms() - server->began_ms));
}

/* ---- logging in ---- */

/* The socket of the one session of this process; -1: none. */
static volatile sig_atomic_t session_socket = -1;

/* A newer session of this mirror wants the place: the client's end of file is made up, and all else
 * follows. */
static void on_term(int number)
{
    (void)number;
    if (session_socket >= 0)
        shutdown(session_socket, SHUT_RDWR);
}

static void close_maildrop(struct remote_server *server)
{
    if (!server->open)
        return;
    server->deleted_earlier = deleted_so_far(server);
    server->open = false;
    maildrop_close(&server->maildrop);
}

static int take_place(struct remote_server *server, struct span mirror)
{
    int r;

    close_maildrop(server); /* of an earlier attempt */
    r = maildrop_view(store_of(server), server->user, &server->maildrop);

    if (r < 0)
        return r;
    server->open = true;
    server->place = mirror_lock_take(server->maildrop.folder, mirror);
    return server->place < 0 ? server->place : uploads_open(&server->uploads, server->user);
}

static int enter(struct remote_server *server, struct span mirror)
{
    int r = take_place(server, mirror);

    if (r == 0)
        return REMOTE_LOGIN_DONE;
    log_failure(server, "the mailbox cannot be opened", r);
    server->user[0] = '\0';
    return r == -EACCES || r == -EPERM || r == -ENOTDIR || r == -ELOOP ? REMOTE_LOGIN_PERMANENT
                                                                       : REMOTE_LOGIN_TEMPORARY;
}

static int on_login(void *context, struct span name, struct span password, struct span mirror)
{
    struct remote_server *server = context;
    const struct settings *settings = server->worker->settings;
    int r;

    /* What can be no name is checked as well: it takes as long as a wrong password. */
    if (users_normalize(name, settings->mailstore.domains.items[0], server->user) != USERS_OK)
        server->user[0] = '\0';
    r = worker_check_password(server->worker, server->user, password);
    if (r == USERS_OK)
        return enter(server, mirror);
    if (r < 0)
        log_failure(server, "the users file cannot be read", r);
    else
        log_login(server, LOG_LOGIN_WRONG, name);
    server->user[0] = '\0';
    return r < 0 ? REMOTE_LOGIN_TEMPORARY : REMOTE_LOGIN_WRONG;
}

/* ---- the mailbox ---- */

static int complete(struct remote_server *server)
{
    int r = server->open ? maildrop_remove_acked(&server->maildrop) : 0;

    if (r < 0)
        log_failure(server, "an acknowledged message could not be removed", r);
    return r;
}

static int on_complete(void *context, uint64_t *ret_deleted)
{
    struct remote_server *server = context;
    int r = complete(server);

    if (r == 0)
        *ret_deleted = deleted_so_far(server);
    return r;
}

static int on_refresh(void *context, struct remote_mailbox *ret_mailbox)
{
    struct remote_server *server = context;
    struct maildrop fresh;
    int r = complete(server);

    if (r == 0)
        r = maildrop_view(store_of(server), server->user, &fresh);
    if (r < 0) {
        log_failure(server, "the mailbox cannot be listed", r);
        return r;
    }
    close_maildrop(server);
    server->maildrop = fresh;
    server->open = true;
    *ret_mailbox = (struct remote_mailbox){ fresh.messages, fresh.count, fresh.epoch };
    return 0;
}

/* ---- frames ---- */

static int on_open_message(void *context, size_t index, uint64_t offset, uint64_t *ret_octets)
{
    struct remote_server *server = context;
    int r = remote_message_open(&server->message, &server->maildrop, index, offset);

    if (r == 0)
        *ret_octets = server->message.octets;
    else if (r != -ENOENT && r != -ERANGE)
        log_failure(server, "a message cannot be read", r);
    return r;
}

static int on_send_piece(void *context, char *ret_digest)
{
    struct remote_server *server = context;
    unsigned char room[REMOTE_MESSAGE_ROOM];
    struct span octets = { NULL, 0 };
    int r = remote_message_read(&server->message, room, &octets, ret_digest), sent;

    if (r == -EIO)
        log_failure(server, "a message could not be read to its end", r);
    if (r < 0)
        return r;
    sent = remote_link_write(&server->link, octets);
    if (sent < 0)
        return sent;
    return r == REMOTE_MESSAGE_LAST ? REMOTE_PIECE_LAST : REMOTE_PIECE_MORE;
}

/* ---- uploads ---- */

static int on_have(void *context, struct span id, uint64_t *ret_octets)
{
    struct remote_server *server = context;

    return uploads_have(&server->uploads, id, ret_octets) == UPLOAD_DONE ? REMOTE_PUSH_DONE : 0;
}

static int push_result(struct remote_server *server, int result)
{
    switch (result) {
    case UPLOAD_DONE:
        return REMOTE_PUSH_DONE;
    case UPLOAD_TAKEN:
        return REMOTE_PUSH_TAKEN;
    case UPLOAD_REFUSED:
        return REMOTE_PUSH_REFUSED;
    default:
        log_failure(server, "an upload cannot be taken", result);
        return result;
    }
}

static int on_push_begin(void *context, const struct remote_upload *upload, struct text *reason)
{
    struct remote_server *server = context;
    const struct upload_claim claim = { .id = upload->id,
                                        .octets = upload->octets,
                                        .offset = upload->offset,
                                        .digest = upload->digest,
                                        .envelope = upload->envelope };

    return push_result(server, uploads_begin(&server->uploads, &claim, reason));
}

static int on_push_write(void *context, struct span octets)
{
    struct remote_server *server = context;
    int r = uploads_write(&server->uploads, octets);

    if (r < 0)
        log_failure(server, "an upload cannot be written", r);
    return r;
}

/* The fields that a message gets which an authenticated SMTP client has submitted. */
static void put_trace(const struct remote_server *server, struct text *trace)
{
    const struct settings *settings = server->worker->settings;
    const struct smtp_facts facts = { .hostname = settings->gatepost.hostname,
                                      .tls = server->worker->client.tls };
    struct smtp_session session = { .facts = &facts, .esmtp = true };

    snprintf(session.helo, sizeof(session.helo), "remote-mail");
    snprintf(session.user, sizeof(session.user), "%s", server->user);
    snprintf(session.mail.id, sizeof(session.mail.id), "%s", server->uploads.id);
    session.mail.relayed = true; /* Return-Path is put where it is known */
    smtp_trace_put(trace, &session, &server->worker->client, time(NULL));
}

static int on_push_end(void *context, struct text *reason)
{
    struct remote_server *server = context;
    char room[SMTP_TRACE_MAX];
    struct text trace = TEXT_OVER(room);
    int r;

    put_trace(server, &trace);
    r = uploads_finish(&server->uploads, text_str(&trace), reason);
    log_line(LOG_LEVEL_INFO, "remote user %s upload %s of %llu octets: %s", server->user,
             server->uploads.id, (unsigned long long)server->uploads.octets,
             r == UPLOAD_DONE      ? "delivered"
             : r == UPLOAD_REFUSED ? "refused"
                                   : err_text(r));
    return push_result(server, r);
}

static void on_push_stop(void *context)
{
    struct remote_server *server = context;

    uploads_stop(&server->uploads);
}

/* ---- waiting for mail ---- */

static void on_wait(void *context, uint32_t seconds)
{
    struct remote_server *server = context;

    server->wait_end_ms = now_ms() + seconds * 1000LL;
    server->look_now = true;
    if (server->link.watched < 0)
        server->link.watched = maildir_watch_open(store_of(server), server->user);
}

static void stop_watching(struct remote_server *server)
{
    if (server->link.watched >= 0)
        close(server->link.watched);
    server->link.watched = -1;
}

/* ---- the session ---- */

static int on_write(void *context, struct span octets)
{
    struct remote_server *server = context;

    return remote_link_write(&server->link, octets);
}

/* Reads and feeds. How the session goes on: a remote_result, 0 at end of file, or -errno. */
static int take_input(struct remote_server *server, unsigned char *in, struct span *held)
{
    long size = remote_link_read(&server->link, in, IN_BYTES);
    int r;

    if (size == -EAGAIN)
        return REMOTE_MORE;
    if (size <= 0)
        return (int)size;
    *held = span_of(in, (size_t)size);
    r = remote_session_feed(&server->session, held);
    explicit_bzero(in, (size_t)size - held->size); /* it may have been a password */
    return r;
}

/* How long poll() may wait. */
static int patience_ms(const struct remote_server *server, bool can_pump)
{
    long long left = server->wait_end_ms - now_ms();
    long long look = server->link.watched >= 0 ? WAIT_LOOK_MS : WAIT_UNWATCHED_MS;

    if (can_pump)
        return 0;
    if (server->session.state != REMOTE_WAITING)
        return (int)server->worker->settings->mailstore.command_timeout_ms;
    if (left <= 0 || server->look_now)
        return 0;
    return (int)(left < look ? left + 1 : look);
}

static int wake(struct remote_server *server)
{
    int r = remote_session_wake(&server->session, now_ms() >= server->wait_end_ms);

    server->look_now = false;
    if (server->session.state != REMOTE_WAITING)
        stop_watching(server);
    return r;
}

/* One turn: what there is to say, then what there is to hear. A remote_result, 0 at end of file, or
 * -errno. */
static int turn(struct remote_server *server, unsigned char *in, struct span *held)
{
    struct remote_session *session = &server->session;
    bool can_pump;
    int r = REMOTE_MORE;

    for (int i = 0; r == REMOTE_MORE && i < PUMPS && remote_session_pumping(session) &&
                    remote_link_has_room(&server->link);
         i++)
        r = remote_session_pump(session);
    if (r == REMOTE_MORE && held->size > 0 && remote_session_listening(session))
        r = remote_session_feed(session, held);
    if (r != REMOTE_MORE)
        return r;
    r = remote_link_send(&server->link);
    if (r < 0)
        return r;
    can_pump = (remote_session_pumping(session) && remote_link_has_room(&server->link)) ||
               (held->size > 0 && remote_session_listening(session));
    r = remote_link_wait(&server->link, remote_session_listening(session) && held->size == 0,
                         patience_ms(server, can_pump));
    switch (r) {
    case REMOTE_LINK_READABLE:
        return take_input(server, in, held);
    case REMOTE_LINK_WATCHED:
        maildir_watch_drain(server->link.watched);
        return wake(server);
    case REMOTE_LINK_TIMEOUT:
        if (session->state == REMOTE_WAITING)
            return wake(server);
        return can_pump ? REMOTE_MORE : -ETIMEDOUT;
    case REMOTE_LINK_WRITTEN:
        return REMOTE_MORE;
    default:
        return r;
    }
}

static int converse(struct remote_server *server)
{
    static unsigned char in[IN_BYTES]; /* one session is one process */
    struct span held = { NULL, 0 };
    int r;

    do
        r = turn(server, in, &held);
    while (r == REMOTE_MORE);
    explicit_bzero(in, sizeof(in));
    return r;
}

static void catch_term(const struct remote_server *server)
{
    struct sigaction action = { .sa_handler = on_term };

    session_socket = server->worker->connection->fd;
    sigaction(SIGTERM, &action, NULL);
}

static int serve(struct remote_server *server)
{
    static const struct remote_caller caller = {
        .login = on_login,
        .refresh = on_refresh,
        .complete = on_complete,
        .open_message = on_open_message,
        .send_piece = on_send_piece,
        .have = on_have,
        .push_begin = on_push_begin,
        .push_write = on_push_write,
        .push_end = on_push_end,
        .push_stop = on_push_stop,
        .wait = on_wait,
        .write = on_write,
    };
    const struct settings *settings = server->worker->settings;
    const struct remote_facts facts = {
        .hostname = settings->gatepost.hostname,
        .passwords = settings->mailstore.auth_without_tls || server->worker->client.tls,
        .max_errors = settings->limits.max_errors,
        .limit_bytes = settings->mailstore.message_size_limit_bytes,
    };
    int r;

    remote_session_init(&server->session, &facts, &caller, server);
    r = converse(server);
    if (r == REMOTE_ENDED)
        remote_link_flush(&server->link);
    complete(server);
    if (server->session.login_in_clear)
        log_login(server, LOG_LOGIN_IN_CLEAR, span_of(NULL, 0));
    log_end(server, r);
    remote_session_deinit(&server->session);
    return r;
}

void remote_serve(struct worker_session *worker)
{
    static struct remote_server server; /* one session is one process */

    server.worker = worker;
    server.began_ms = now_ms();
    server.place = server.link.watched = -1;
    server.link.connection = worker->connection;
    if (remote_message_init(&server.message) < 0)
        return;
    catch_term(&server);
    uploads_init(&server.uploads, worker->settings);
    serve(&server);
    uploads_deinit(&server.uploads);
    stop_watching(&server);
    remote_message_deinit(&server.message);
    close_maildrop(&server);
    session_socket = -1;
}

/* Walks a session through the script: one function for each kind of step, in a table.
 *
 * Happy path: an event comes, steps are done until one has to wait for the proxy. Fails, and is
 * counted, where the proxy refuses, closes early, says what nobody waits for, or delivers octets
 * that are not the expected ones. */
#include "tools/bench/session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/epoll.h>

#include "proxy/base/err.h"
#include "proxy/base/text.h"
#include "tools/bench/clock.h"

#define READ_ROOM  65536
#define WRITE_MOST 16384 /* octets of a body in one write: one TLS record */

enum step_result {
    STEP_WENT,  /* on to the next */
    STEP_MOVED, /* `at` is set, or the session is closed */
    STEP_WAITS,
    STEP_FAILED /* counted */
};

static unsigned char read_room[READ_ROOM];
static struct span unread; /* of read_room: octets that no step has taken yet */

/* ---- failures ---- */

static void judge(struct session *session, atomic_ulong *outcome)
{
    if (!session->judged)
        (*outcome)++;
    session->judged = true;
}

static void note_error(struct session *session, struct session_world *world, const char *words)
{
    struct load_counts *counts = world->counts;
    struct text text = TEXT_OVER(counts->first_error);

    counts->errors++;
    if (counts->first_error[0])
        return;
    text_put_escaped(&text, span_of_text(words), 100);
    text_printf(&text, " (step %u)", session->at);
    text_str(&text);
}

__attribute__((format(printf, 3, 4))) static enum step_result fail(struct session *session,
                                                                   struct session_world *world,
                                                                   const char *format, ...)
{
    char words[128];
    va_list list;

    va_start(list, format);
    vsnprintf(words, sizeof(words), format, list);
    va_end(list);
    if (world->options->mode == LOAD_BURST)
        judge(session, &world->counts->closed);
    else
        note_error(session, world, words);
    if (session->state == SESSION_HELD)
        world->counts->held--;
    session_close(session);
    return STEP_FAILED;
}

static enum step_result fail_moving(struct session *session, struct session_world *world,
                                    const char *doing, ssize_t status)
{
    if (status == LINK_ENDED)
        return fail(session, world, "%s: closed early", doing);
    return fail(session, world, "%s: %s", doing,
                status == -EPROTO ? link_words() : err_text((int)status));
}

/* ---- octets ---- */

/* Makes sure that there are unread octets: STEP_WENT, STEP_WAITS or STEP_FAILED. */
static enum step_result need_octets(struct session *session, struct session_world *world)
{
    ssize_t size;

    if (unread.size > 0)
        return STEP_WENT;
    size = link_read(&session->link, read_room, sizeof(read_room));
    if (size == 0)
        return STEP_WAITS;
    if (size < 0)
        return fail_moving(session, world, "reading", size);
    unread = span_of(read_room, (size_t)size);
    return STEP_WENT;
}

/* Sends what is left of the octets of this step. */
static enum step_result send_all(struct session *session, struct session_world *world,
                                 struct span octets)
{
    while (session->sent < octets.size) {
        ssize_t size = link_write(&session->link, span_skip(octets, (size_t)session->sent));

        if (size == 0)
            return STEP_WAITS;
        if (size < 0)
            return fail_moving(session, world, "writing", size);
        session->sent += (uint64_t)size;
    }
    session->sent = 0;
    return STEP_WENT;
}

__attribute__((format(printf, 3, 4))) static enum step_result send_line(struct session *session,
                                                                        struct session_world *world,
                                                                        const char *format, ...)
{
    va_list list;
    int size;

    va_start(list, format);
    size = vsnprintf(session->line, sizeof(session->line), format, list);
    va_end(list);
    return send_all(session, world, span_of(session->line, (size_t)size));
}

/* ---- steps ---- */

static enum step_result do_tls(struct session *session, struct session_world *world,
                               const struct step *step)
{
    int status = link_handshake(&session->link, world->tls);

    (void)step;
    if (status == LINK_WAIT)
        return STEP_WAITS;
    if (status < 0)
        return fail(session, world, "handshake: %s", link_words());
    world->counts->handshakes++;
    if (link_resumed(&session->link))
        world->counts->resumed++;
    return STEP_WENT;
}

static enum step_result do_send(struct session *session, struct session_world *world,
                                const struct step *step)
{
    return send_all(session, world, span_of_text(step->text));
}

/* The sink reads from the number what it shall send: KiB, and the phase in three digits. */
static enum step_result do_send_retr(struct session *session, struct session_world *world,
                                     const struct step *step)
{
    (void)step;
    message_check_begin(&session->check, &session->message);
    return send_line(session, world, "RETR %llu%03u\r\n",
                     (unsigned long long)session->message.octets / 1024, session->message.phase);
}

/* The sink reads from the address what it shall get: phase and octets. */
static enum step_result do_send_mail(struct session *session, struct session_world *world,
                                     const struct step *step)
{
    (void)step;
    return send_line(session, world, "MAIL FROM:<%u.%llu@bench.example>\r\n",
                     session->message.phase, (unsigned long long)session->message.octets);
}

static enum step_result do_send_bdat(struct session *session, struct session_world *world,
                                     const struct step *step)
{
    (void)step;
    return send_line(session, world, "BDAT %llu LAST\r\n",
                     (unsigned long long)session->message.octets);
}

static enum step_result do_send_body(struct session *session, struct session_world *world,
                                     const struct step *step)
{
    (void)step;
    while (session->sent < session->message.octets) {
        struct span piece = message_piece(&session->message, session->sent);
        ssize_t size = link_write(&session->link, span_first(piece, WRITE_MOST));

        if (size == 0)
            return STEP_WAITS;
        if (size < 0)
            return fail_moving(session, world, "writing a message", size);
        session->sent += (uint64_t)size;
        world->counts->octets += (uint64_t)size;
    }
    session->sent = 0;
    return STEP_WENT;
}

static enum step_result refused(struct session *session, struct session_world *world)
{
    const unsigned char *first = session->reply.first;

    if (world->options->mode == LOAD_BURST)
        judge(session, &world->counts->refused);
    return fail(session, world, "refused: %c%c%c%c", first[0], first[1], first[2], first[3]);
}

static enum step_result do_reply(struct session *session, struct session_world *world,
                                 const struct step *step)
{
    bool smtp = world->options->protocol == LOAD_SMTP;
    enum step_result result;

    (void)step;
    while ((result = need_octets(session, world)) == STEP_WENT)
        switch (reply_take(&session->reply, smtp, &unread)) {
        case REPLY_YES:
            return STEP_WENT;
        case REPLY_NO:
            return refused(session, world);
        case REPLY_MORE:
            break;
        }
    return result;
}

static enum step_result judge_message(struct session *session, struct session_world *world)
{
    if (message_check_good(&session->check))
        return STEP_WENT;
    return fail(session, world, "message: octet %llu of %llu is wrong",
                (unsigned long long)session->check.wrong_at,
                (unsigned long long)session->message.octets);
}

static enum step_result do_message(struct session *session, struct session_world *world,
                                   const struct step *step)
{
    enum step_result result;

    (void)step;
    while ((result = need_octets(session, world)) == STEP_WENT) {
        size_t before = unread.size;
        bool ended = message_check_dotted(&session->check, &unread);

        world->counts->octets += before - unread.size;
        if (ended)
            return judge_message(session, world);
    }
    return result;
}

static enum step_result do_begin(struct session *session, struct session_world *world,
                                 const struct step *step)
{
    (void)world;
    (void)step;
    session->begun_us = clock_now_us();
    return STEP_WENT;
}

static enum step_result do_done(struct session *session, struct session_world *world,
                                const struct step *step)
{
    (void)step;
    world->counts->operations++;
    if (world->measuring)
        histogram_add(&world->counts->measured, clock_now_us() - session->begun_us);
    if (world->options->mode == LOAD_BURST)
        judge(session, &world->counts->served);
    return STEP_WENT;
}

static enum step_result do_pause(struct session *session, struct session_world *world,
                                 const struct step *step)
{
    uint64_t now = clock_now_us();

    (void)step;
    if (session->resume_us == 0)
        session->resume_us = now + (uint64_t)world->options->pause_ms * 1000u;
    if (now < session->resume_us)
        return STEP_WAITS;
    session->resume_us = 0;
    return STEP_WENT;
}

static enum step_result do_jump(struct session *session, struct session_world *world,
                                const struct step *step)
{
    (void)world;
    session->at = step->target;
    return STEP_MOVED;
}

static enum step_result do_await_end(struct session *session, struct session_world *world,
                                     const struct step *step)
{
    ssize_t size = link_read(&session->link, read_room, sizeof(read_room));

    (void)step;
    if (size == 0)
        return STEP_WAITS;
    if (size > 0)
        return fail(session, world, "octets after the end");
    return STEP_WENT; /* a reset after QUIT is no better and no worse */
}

static enum step_result do_again(struct session *session, struct session_world *world,
                                 const struct step *step)
{
    (void)world;
    (void)step;
    session_close(session);
    return STEP_MOVED;
}

static void hold(struct session *session, struct session_world *world)
{
    if (session->state != SESSION_HELD)
        world->counts->held++;
    session->state = SESSION_HELD;
}

static enum step_result do_stall(struct session *session, struct session_world *world,
                                 const struct step *step)
{
    enum step_result result = STEP_WAITS;

    (void)step;
    if (session->state != SESSION_HELD)
        result = need_octets(session, world);
    if (result != STEP_WENT)
        return result;
    unread.size = 0;
    hold(session, world);
    return STEP_WAITS;
}

static enum step_result do_hold(struct session *session, struct session_world *world,
                                const struct step *step)
{
    ssize_t size;

    (void)step;
    hold(session, world);
    size = link_read(&session->link, read_room, sizeof(read_room)); /* tickets of TLS 1.3 */
    if (size == 0)
        return STEP_WAITS;
    if (size > 0)
        return fail(session, world, "octets while idle");
    return fail_moving(session, world, "while idle", size);
}

static enum step_result (*const steps[STEP_KINDS])(struct session *, struct session_world *,
                                                   const struct step *) = {
    [STEP_TLS] = do_tls,
    [STEP_SEND] = do_send,
    [STEP_SEND_RETR] = do_send_retr,
    [STEP_SEND_MAIL] = do_send_mail,
    [STEP_SEND_BDAT] = do_send_bdat,
    [STEP_SEND_BODY] = do_send_body,
    [STEP_REPLY] = do_reply,
    [STEP_MESSAGE] = do_message,
    [STEP_BEGIN] = do_begin,
    [STEP_DONE] = do_done,
    [STEP_PAUSE] = do_pause,
    [STEP_JUMP] = do_jump,
    [STEP_AWAIT_END] = do_await_end,
    [STEP_AGAIN] = do_again,
    [STEP_STALL] = do_stall,
    [STEP_HOLD] = do_hold,
};

/* ---- the whole ---- */

void session_init(struct session *session, unsigned number, const struct load_options *options)
{
    *session = (struct session){ .link = { .fd = -1, .tls = NULL, .ticket = NULL } };
    session->number = number;
    session->message.octets = options->message_octets;
    session->message.phase = number % MESSAGE_PHASES;
}

void session_open(struct session *session, struct session_world *world)
{
    struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLET,
                                 .data = { .ptr = session } };
    int status;

    session->state = SESSION_CONNECTING;
    session->at = 0;
    session->sent = 0;
    session->resume_us = 0;
    session->reply.column = 0;
    session->begun_us = clock_now_us();
    status = link_open(&session->link, world->options, session->number % world->options->sources);
    if (status == 0 && epoll_ctl(world->epoll, EPOLL_CTL_ADD, session->link.fd, &event) != 0)
        status = -errno;
    if (status < 0)
        fail(session, world, "connect: %s", err_text(status));
}

/* Does what step by step can be done; octets that no step has waited for are a failure. */
static void walk(struct session *session, struct session_world *world)
{
    enum step_result result;

    unread.size = 0;
    do {
        const struct step *step = &world->script->steps[session->at];

        result = steps[step->kind](session, world, step);
        if (result == STEP_WENT)
            session->at++;
        if (session->state == SESSION_CLOSED)
            return;
    } while (result == STEP_WENT || result == STEP_MOVED);
    if (unread.size > 0)
        fail(session, world, "octets that nobody asked for");
}

void session_run(struct session *session, struct session_world *world)
{
    int status = 0;

    if (session->state == SESSION_CONNECTING)
        status = link_connected(&session->link);
    if (status < 0) {
        fail(session, world, "connect: %s", err_text(status));
        return;
    }
    if (session->state == SESSION_CONNECTING)
        session->state = SESSION_RUNNING;
    walk(session, world);
}

void session_close(struct session *session)
{
    link_close(&session->link);
    session->state = SESSION_CLOSED;
}

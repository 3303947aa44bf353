/* Lines, login and the command table of Remote Mail. What the requests do: remote_session_mail.c
 * and remote_session_push.c.
 *
 * Happy path: RM/1, AUTH, PULL with its frames, ACK and SYNC while they come, QUIT. A request that
 * cannot be done is refused with a code and counted; the last one that is allowed ends the session.
 * What breaks the lines themselves (too long, a bare LF, a NUL), a first line that is no RM/1, and
 * an ACK that names no uid end it at once: nothing behind them can be trusted. While a frame is
 * being sent nothing can be said: the session is then closed without words, and the client sees a
 * frame that is not whole.
 *
 * Deletion happens in complete() only: at SYNC, at QUIT, and before the mailbox is listed anew. */
#include "backends/remote_session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/remote_session_private.h"
#include "proxy/base/sasl_plain.h"

/* ---- replies ---- */

int remote_reply(struct remote_session *session, const char *format, ...)
{
    char room[REMOTE_LINE_MAX + 1];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(room, sizeof(room) - 2, format, args);
    va_end(args);
    if (size < 0 || (size_t)size >= sizeof(room) - 2)
        return -EOVERFLOW;
    memcpy(room + size, "\r\n", 2);
    return session->caller->write(session->context, span_of(room, (size_t)size + 2));
}

int remote_refuse(struct remote_session *session, const char *words)
{
    int r = remote_reply(session, "- %s", words);

    session->errors++;
    return r < 0 || session->errors < session->facts->max_errors ? r : REMOTE_ENDED;
}

int remote_refuse_and_end(struct remote_session *session, const char *words)
{
    int r = session->inside ? 0 : remote_refuse(session, words);

    return r < 0 ? r : REMOTE_ENDED;
}

int remote_refuse_store(struct remote_session *session)
{
    return remote_refuse(session, "[TEMP] the mailbox cannot be read now, please try again");
}

/* ---- the first lines ---- */

static int do_greeting(struct remote_session *session, struct span line)
{
    struct span verb = span_take_word(&line), agent = span_take_word(&line),
                id = span_take_word(&line);

    if (!span_equal_nocase(verb, SPAN_LIT("RM/1")))
        return remote_refuse_and_end(session, "[SYNTAX] versions: RM/1");
    if (agent.size == 0 || !span_starts_nocase(id, SPAN_LIT("id=")) || line.size > 0 ||
        !remote_is_hex(span_skip(id, 3), REMOTE_MIRROR_MAX))
        return remote_refuse_and_end(session, "[SYNTAX] write RM/1 agent id=, and 16 of 0-9a-f");
    memcpy(session->mirror, id.data + 3, REMOTE_MIRROR_MAX);
    session->state = REMOTE_LOGGED_OUT;
    return remote_reply(session, "+ RM/1 %.200s SIZE=%llu WAIT=%d PUSH", session->facts->hostname,
                        (unsigned long long)session->facts->limit_bytes, REMOTE_WAIT_MAX);
}

static int login(struct remote_session *session, struct span name, struct span password)
{
    struct span mirror = span_of(session->mirror, REMOTE_MIRROR_MAX);

    switch ((enum remote_login)session->caller->login(session->context, name, password, mirror)) {
    case REMOTE_LOGIN_DONE:
        if (remote_mail_refresh(session) < 0)
            return remote_refuse_store(session);
        session->state = REMOTE_READY;
        return remote_mail_tell(session);
    case REMOTE_LOGIN_WRONG:
        return remote_refuse(session, "[AUTH] wrong name or password");
    case REMOTE_LOGIN_PERMANENT:
        return remote_refuse(
            session, "[PERM] the mail store is out of order, please tell its administrator");
    case REMOTE_LOGIN_TEMPORARY:
        break;
    }
    return remote_refuse_store(session);
}

static int login_plain(struct remote_session *session, struct span decoded)
{
    struct sasl_plain plain;

    if (!sasl_plain_parse(decoded, &plain))
        return remote_refuse(session, "[SYNTAX] this is no PLAIN response");
    if (sasl_plain_for_another(&plain))
        return remote_refuse(session, "[AUTH] nobody can act for another user here");
    return login(session, plain.authcid, plain.password);
}

static int do_auth(struct remote_session *session, struct span args)
{
    unsigned char decoded[REMOTE_LINE_MAX];
    struct span mechanism = span_take_word(&args), response = span_take_word(&args);
    long size;
    int r;

    if (!session->facts->passwords) {
        session->login_in_clear = true;
        return remote_refuse(session, "[TLS] passwords are not taken without TLS");
    }
    if (!span_equal_nocase(mechanism, SPAN_LIT("PLAIN")))
        return remote_refuse(session, "[SYNTAX] PLAIN is the only mechanism here");
    size = base64_decode(response, decoded, sizeof(decoded));
    if (size < 0)
        return remote_refuse(session, "[SYNTAX] this is no base64");
    r = login_plain(session, span_of(decoded, (size_t)size));
    explicit_bzero(decoded, (size_t)size);
    return r;
}

static int do_noop(struct remote_session *session, struct span args)
{
    (void)args;
    return remote_reply(session, "+ NOOP");
}

static int do_quit(struct remote_session *session, struct span args)
{
    uint64_t deleted;
    int r = 0;

    (void)args;
    if (session->state == REMOTE_READY)
        r = session->caller->complete(session->context, &deleted);
    r = r < 0 ? remote_reply(session, "- [TEMP] the deletion cannot be made durable now")
              : remote_reply(session, "+ BYE");
    return r < 0 ? r : REMOTE_ENDED;
}

/* ---- the table ---- */

enum where { BEFORE_LOGIN = 1, AFTER_LOGIN = 2, ANYWHERE = 3 };

static const struct request {
    char name[5];
    uint8_t where;
    uint16_t least_words, most_words;
    int (*run)(struct remote_session *session, struct span args);
} requests[] = {
    { "AUTH", BEFORE_LOGIN, 2, 2, do_auth },
    { "LIST", AFTER_LOGIN, 0, 1, remote_do_list },
    { "PULL", AFTER_LOGIN, 0, 2, remote_do_pull },
    { "ACK", AFTER_LOGIN, 0, REMOTE_LINE_MAX, remote_do_ack },
    { "SYNC", AFTER_LOGIN, 0, 0, remote_do_sync },
    { "WAIT", AFTER_LOGIN, 1, 1, remote_do_wait },
    { "HAVE", AFTER_LOGIN, 1, 1, remote_do_have },
    { "PUSH", AFTER_LOGIN, 3, 4, remote_do_push },
    { "NOOP", ANYWHERE, 0, 0, do_noop },
    { "QUIT", ANYWHERE, 0, 0, do_quit },
};

static const struct request *find_request(struct span word)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        if (span_equal_nocase(word, span_of_text(requests[i].name)))
            return &requests[i];
    return NULL;
}

int remote_run_request(struct remote_session *session, struct span line)
{
    size_t space = span_find(line, ' ');
    struct span args = span_trim(span_skip(line, space + 1));
    const struct request *request = find_request(span_first(line, space));
    size_t words = span_count_words(args);

    if (!request)
        return remote_refuse(session, "[SYNTAX] unknown request");
    if (session->state == REMOTE_LOGGED_OUT && !(request->where & BEFORE_LOGIN))
        return remote_refuse(session, "[STATE] AUTH comes first");
    if (session->state != REMOTE_LOGGED_OUT && !(request->where & AFTER_LOGIN))
        return remote_refuse(session, "[STATE] you are logged in already");
    if ((words < request->least_words || words > request->most_words) &&
        request->run != remote_do_push)
        return remote_refuse(session, "[SYNTAX] wrong number of words");
    return request->run(session, args);
}

/* A request while a LIST or PULL goes out. */
static int run_beside(struct remote_session *session, struct span line)
{
    struct span verb = span_first(line, span_find(line, ' '));

    if (span_equal_nocase(verb, SPAN_LIT("ACK")))
        return remote_run_request(session, line);
    if (session->state == REMOTE_PULLING && span_equal_nocase(line, SPAN_LIT("SYNC")))
        return remote_run_request(session, line);
    session->quitting =
        session->state == REMOTE_PULLING && span_equal_nocase(line, SPAN_LIT("QUIT"));
    memcpy(session->kept, line.data, line.size);
    session->kept_size = line.size;
    session->is_kept = true;
    return 0;
}

/* ---- the session ---- */

void remote_session_init(struct remote_session *session, const struct remote_facts *facts,
                         const struct remote_caller *caller, void *context)
{
    *session = (struct remote_session){ .facts = facts, .caller = caller, .context = context };
    line_init(&session->line, LINE_STRICT, REMOTE_LINE_MAX);
}

void remote_session_deinit(struct remote_session *session)
{
    if (session->state == REMOTE_UPLOAD)
        session->caller->push_stop(session->context);
    free(session->envelope);
    session->envelope = NULL;
    line_reset(&session->line);
    explicit_bzero(session->kept, sizeof(session->kept));
}

static int run_line(struct remote_session *session, struct span line)
{
    switch (session->state) {
    case REMOTE_GREETING:
        return do_greeting(session, line);
    case REMOTE_LISTING:
    case REMOTE_PULLING:
        return run_beside(session, line);
    case REMOTE_ENVELOPE:
        return remote_push_envelope(session, line);
    case REMOTE_LOGGED_OUT:
    case REMOTE_READY:
    case REMOTE_WAITING:
    case REMOTE_UPLOAD:
    case REMOTE_DISCARD:
    case REMOTE_STATE_COUNT:
        break;
    }
    return remote_run_request(session, line);
}

bool remote_session_listening(const struct remote_session *session)
{
    return !session->is_kept;
}

int remote_session_feed(struct remote_session *session, struct span *in)
{
    int r = 0;

    if (in->size > 0) /* any octet ends a wait */
        r = remote_mail_look(session, true);
    while (r == 0 && remote_session_listening(session)) {
        struct span line;

        if (remote_push_takes(session) && in->size == 0)
            return REMOTE_MORE;
        if (remote_push_takes(session)) {
            r = remote_push_take(session, in);
            continue;
        }
        r = line_next(&session->line, in, &line);
        if (r == LINE_MORE)
            return REMOTE_MORE;
        if (r > 0)
            r = r == LINE_READY
                    ? run_line(session, line)
                    : remote_refuse_and_end(
                          session, "[SYNTAX] a line is at most 512 octets, ended by CR LF");
        if (r == 0 && in->size > 0)
            r = remote_mail_look(session, true);
    }
    return r == 0 ? REMOTE_MORE : r;
}

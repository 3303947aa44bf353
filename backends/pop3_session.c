/* The POP3 command table and what stands behind each command.
 *
 * Happy path: USER, PASS, STAT, LIST or UIDL, RETR, DELE, QUIT. A command that is unknown, out of
 * place, misspelt or too long, and a wrong password, get -ERR and are counted; the last one that is
 * allowed ends the session. The UPDATE of RFC 1939 section 6 happens at QUIT in TRANSACTION and
 * nowhere else: a client that vanishes deletes nothing. */
#include "backends/pop3_session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "proxy/base/sasl_plain.h"
#include "proxy/base/text.h"

/* Each of these and of the commands returns 0 to go on, POP3_ENDED, or -errno. */

static int reply(struct pop3_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- replies ---- */

static int reply(struct pop3_session *session, const char *format, ...)
{
    char room[512];
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

/* A command that was wrong in itself. */
static int bad(struct pop3_session *session, const char *words)
{
    int r;

    session->errors++;
    if (session->errors < session->max_errors)
        return reply(session, "-ERR %s", words);
    r = reply(session, "-ERR Too many errors");
    return r < 0 ? r : POP3_ENDED;
}

/* ---- messages ---- */

static void totals(const struct pop3_session *session, size_t *ret_count, uint64_t *ret_octets)
{
    *ret_count = 0;
    *ret_octets = 0;
    for (size_t i = 0; i < session->count; i++)
        if (!session->messages[i].deleted) {
            ++*ret_count;
            *ret_octets += session->messages[i].octets;
        }
}

/* Takes a message number off *args. NULL: *ret_result is what the command returns. */
static struct maildrop_message *take_message(struct pop3_session *session, struct span *args,
                                             int *ret_result)
{
    struct maildrop_message *message;
    uint64_t number;

    if (!span_parse_u64(span_take_word(args), &number)) {
        *ret_result = bad(session, "A message number is a number");
        return NULL;
    }
    if (number < 1 || number > session->count) {
        *ret_result = reply(session, "-ERR No such message, there are %zu", session->count);
        return NULL;
    }
    message = &session->messages[number - 1];
    if (message->deleted) {
        *ret_result = reply(session, "-ERR Message %llu is deleted", (unsigned long long)number);
        return NULL;
    }
    return message;
}

static size_t number_of(const struct pop3_session *session, const struct maildrop_message *message)
{
    return (size_t)(message - session->messages) + 1;
}

/* ---- logging in ---- */

static int login(struct pop3_session *session, struct span name, struct span password)
{
    size_t count = 0;
    uint64_t octets;

    switch ((enum pop3_login)session->caller->login(session->context, name, password,
                                                    &session->messages, &session->count)) {
    case POP3_LOGIN_DONE:
        session->state = POP3_TRANSACTION;
        totals(session, &count, &octets);
        return reply(session, "+OK %zu messages (%llu octets)", count, (unsigned long long)octets);
    case POP3_LOGIN_WRONG:
        return bad(session, "[AUTH] Wrong name or password");
    case POP3_LOGIN_IN_USE:
        return reply(session, "-ERR [IN-USE] Another session has this mailbox open");
    case POP3_LOGIN_PERMANENT:
        return reply(session, "-ERR [SYS/PERM] The mail store is out of order, please tell its "
                              "administrator");
    case POP3_LOGIN_TEMPORARY:
        break;
    }
    return reply(session, "-ERR [SYS/TEMP] The mail store cannot be read now, please try again");
}

/* With the code that the proxy uses for the same refusal. */
static int refuse_login(struct pop3_session *session)
{
    return bad(session, "[AUTH] Turn on TLS: passwords are not taken without it");
}

static int do_user(struct pop3_session *session, struct span args)
{
    struct span name = span_trim(args);

    if (!session->passwords)
        return refuse_login(session);
    if (name.size == 0 || name.size > sizeof(session->name))
        return bad(session, "USER needs a name");
    memcpy(session->name, name.data, name.size);
    session->name_size = name.size;
    return reply(session, "+OK Now the password"); /* for any name: who exists is not told */
}

/* The password is all behind one space; it may have spaces itself (RFC 1939 section 7). */
static int do_pass(struct pop3_session *session, struct span args)
{
    struct span name = span_of(session->name, session->name_size);

    if (!session->passwords)
        return refuse_login(session);
    if (name.size == 0)
        return bad(session, "USER comes first");
    if (args.size == 0)
        return bad(session, "PASS needs a password");
    session->name_size = 0;
    return login(session, name, args);
}

static int login_plain(struct pop3_session *session, struct span decoded)
{
    struct sasl_plain plain;

    if (!sasl_plain_parse(decoded, &plain))
        return bad(session, "This is no PLAIN response");
    if (sasl_plain_for_another(&plain))
        return bad(session, "[AUTH] Nobody can act for another user here");
    return login(session, plain.authcid, plain.password);
}

/* A whole response, in base64; "=" stands for an empty one (RFC 5034 section 4). */
static int auth_response(struct pop3_session *session, struct span encoded)
{
    unsigned char decoded[POP3_AUTH_LINE_MAX / 4 * 3];
    long size =
        span_equal(encoded, SPAN_LIT("=")) ? 0 : base64_decode(encoded, decoded, sizeof(decoded));
    int r = size < 0 ? bad(session, "This is no base64")
                     : login_plain(session, span_of(decoded, (size_t)size));

    explicit_bzero(decoded, size > 0 ? (size_t)size : 0);
    return r;
}

static int do_auth(struct pop3_session *session, struct span args)
{
    struct span mechanism = span_take_word(&args), response = span_take_word(&args);

    if (!session->passwords)
        return refuse_login(session);
    if (mechanism.size == 0)
        return reply(session, "+OK Mechanisms follow\r\nPLAIN\r\n.");
    if (!span_equal_nocase(mechanism, SPAN_LIT("PLAIN")))
        return bad(session, "PLAIN is the only mechanism here");
    session->name_size = 0;
    if (response.size > 0)
        return auth_response(session, response);
    session->state = POP3_AUTH_ANSWER;
    session->line.limit = POP3_AUTH_LINE_MAX;
    return reply(session, "+ ");
}

/* The line behind "+ ". */
static int auth_answer(struct pop3_session *session, struct span line)
{
    session->state = POP3_AUTHORIZATION;
    session->line.limit = POP3_LINE_MAX;
    /* Neither an error nor a failed login: no password was tried, so that it helps nobody more than
     * NOOP would (RFC 5034 section 4). */
    if (span_equal(line, SPAN_LIT("*")))
        return reply(session, "-ERR Cancelled");
    return auth_response(session, line);
}

/* ---- commands of both states ---- */

static int do_capa(struct pop3_session *session, struct span args)
{
    (void)args;
    return reply(session,
                 "+OK Capabilities follow\r\nTOP\r\nUIDL\r\n%sRESP-CODES\r\nAUTH-RESP-CODE\r\n"
                 "PIPELINING\r\nEXPIRE NEVER\r\nIMPLEMENTATION Gatepost\r\n.",
                 session->passwords ? "USER\r\nSASL PLAIN\r\n" : "");
}

static int do_noop(struct pop3_session *session, struct span args)
{
    (void)args;
    return reply(session, "+OK");
}

static int do_quit(struct pop3_session *session, struct span args)
{
    int r = session->state == POP3_TRANSACTION ? session->caller->update(session->context) : 0;

    (void)args;
    r = r < 0 ? reply(session, "-ERR [SYS/TEMP] Some deleted messages could not be removed")
              : reply(session, "+OK Goodbye");
    return r < 0 ? r : POP3_ENDED;
}

/* ---- TRANSACTION ---- */

static int do_stat(struct pop3_session *session, struct span args)
{
    size_t count;
    uint64_t octets;

    (void)args;
    totals(session, &count, &octets);
    return reply(session, "+OK %zu %llu", count, (unsigned long long)octets);
}

static int do_list(struct pop3_session *session, struct span args)
{
    struct maildrop_message *message;
    size_t count;
    uint64_t octets;
    int r;

    if (args.size > 0) {
        message = take_message(session, &args, &r);
        return message ? reply(session, "+OK %zu %llu", number_of(session, message),
                               (unsigned long long)message->octets)
                       : r;
    }
    totals(session, &count, &octets);
    r = reply(session, "+OK %zu messages (%llu octets)", count, (unsigned long long)octets);
    for (size_t i = 0; r == 0 && i < session->count; i++)
        if (!session->messages[i].deleted)
            r = reply(session, "%zu %llu", i + 1, (unsigned long long)session->messages[i].octets);
    return r == 0 ? reply(session, ".") : r;
}

static int do_uidl(struct pop3_session *session, struct span args)
{
    struct maildrop_message *message;
    int r;

    if (args.size > 0) {
        message = take_message(session, &args, &r);
        return message ? reply(session, "+OK %zu %s", number_of(session, message), message->uid)
                       : r;
    }
    r = reply(session, "+OK");
    for (size_t i = 0; r == 0 && i < session->count; i++)
        if (!session->messages[i].deleted)
            r = reply(session, "%zu %s", i + 1, session->messages[i].uid);
    return r == 0 ? reply(session, ".") : r;
}

static int open_text(struct pop3_session *session, const struct maildrop_message *message)
{
    return session->caller->open_text(session->context, number_of(session, message) - 1);
}

static int refuse_text(struct pop3_session *session, int error)
{
    return error == -ENOENT ? reply(session, "-ERR Another program has removed this message")
                            : reply(session, "-ERR [SYS/TEMP] This message cannot be read now");
}

static int do_retr(struct pop3_session *session, struct span args)
{
    int r, opened;
    struct maildrop_message *message = take_message(session, &args, &r);

    if (!message)
        return r;
    opened = open_text(session, message);
    if (opened < 0)
        return refuse_text(session, opened);
    r = reply(session, "+OK %llu octets", (unsigned long long)message->octets);
    if (r == 0)
        r = session->caller->send_text(session->context, false, 0);
    if (r == 0)
        session->retrieved++;
    return r == 0 ? reply(session, ".") : r;
}

static int do_top(struct pop3_session *session, struct span args)
{
    int r, opened;
    struct maildrop_message *message = take_message(session, &args, &r);
    uint64_t lines;

    if (!message)
        return r;
    if (!span_parse_u64(span_take_word(&args), &lines))
        return bad(session, "TOP needs a message number and a number of lines");
    opened = open_text(session, message);
    if (opened < 0)
        return refuse_text(session, opened);
    r = reply(session, "+OK");
    if (r == 0)
        r = session->caller->send_text(session->context, true, lines);
    return r == 0 ? reply(session, ".") : r;
}

static int do_dele(struct pop3_session *session, struct span args)
{
    int r;
    struct maildrop_message *message = take_message(session, &args, &r);

    if (!message)
        return r;
    message->deleted = true;
    return reply(session, "+OK Message %zu deleted", number_of(session, message));
}

static int do_rset(struct pop3_session *session, struct span args)
{
    for (size_t i = 0; i < session->count; i++)
        session->messages[i].deleted = false;
    return do_stat(session, args);
}

/* ---- the table ---- */

#define ANY_WORDS UINT8_MAX

enum where { BEFORE_LOGIN = 1, AFTER_LOGIN = 2, ANYWHERE = 3 };

static const struct command {
    char name[5];
    uint8_t where;
    uint8_t least_words, most_words;
    int (*run)(struct pop3_session *session, struct span args);
} commands[] = {
    { "USER", BEFORE_LOGIN, 0, ANY_WORDS, do_user },
    { "PASS", BEFORE_LOGIN, 0, ANY_WORDS, do_pass },
    { "AUTH", BEFORE_LOGIN, 0, 2, do_auth },
    { "CAPA", ANYWHERE, 0, 0, do_capa },
    { "NOOP", ANYWHERE, 0, 0, do_noop },
    { "QUIT", ANYWHERE, 0, 0, do_quit },
    { "STAT", AFTER_LOGIN, 0, 0, do_stat },
    { "LIST", AFTER_LOGIN, 0, 1, do_list },
    { "UIDL", AFTER_LOGIN, 0, 1, do_uidl },
    { "RETR", AFTER_LOGIN, 1, 1, do_retr },
    { "TOP", AFTER_LOGIN, 2, 2, do_top },
    { "DELE", AFTER_LOGIN, 1, 1, do_dele },
    { "RSET", AFTER_LOGIN, 0, 0, do_rset },
};

static const struct command *find_command(struct span word)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (span_equal_nocase(word, span_of_text(commands[i].name)))
            return &commands[i];
    return NULL;
}

static int run_command(struct pop3_session *session, struct span line)
{
    size_t space = span_find(line, ' ');
    struct span args = span_skip(line, space + 1);
    const struct command *command = find_command(span_first(line, space));
    size_t words = span_count_words(args);

    if (!command)
        return bad(session, "Unknown command");
    if (session->state == POP3_TRANSACTION && !(command->where & AFTER_LOGIN))
        return bad(session, "You are logged in already");
    if (session->state == POP3_AUTHORIZATION && !(command->where & BEFORE_LOGIN))
        return bad(session, "Log in first");
    if (command->most_words != ANY_WORDS &&
        (words < command->least_words || words > command->most_words))
        return bad(session, "Wrong number of arguments");
    if (command->most_words != ANY_WORDS)
        args = span_trim(args);
    return command->run(session, args);
}

/* ---- the session ---- */

int pop3_session_init(struct pop3_session *session, const struct pop3_caller *caller, void *context,
                      const char *hostname, bool passwords, uint32_t max_errors)
{
    *session = (struct pop3_session){
        .caller = caller, .context = context, .passwords = passwords, .max_errors = max_errors
    };
    line_init(&session->line, LINE_LENIENT, POP3_LINE_MAX);
    /* no "<...>": that would offer APOP (RFC 1939 section 7), which needs the password itself on
     * disk */
    return reply(session, "+OK %s POP3 ready", hostname);
}

void pop3_session_deinit(struct pop3_session *session)
{
    line_reset(&session->line);
}

static int too_long(struct pop3_session *session)
{
    session->line.limit = POP3_LINE_MAX;
    if (session->state == POP3_AUTH_ANSWER)
        session->state = POP3_AUTHORIZATION;
    return bad(session, "Line too long");
}

int pop3_session_feed(struct pop3_session *session, struct span in)
{
    for (;;) {
        struct span line;
        int r = line_next(&session->line, &in, &line);

        if (r == LINE_MORE || r < 0)
            return r < 0 ? r : POP3_MORE;
        if (r != LINE_READY)
            r = too_long(session);
        else if (session->state == POP3_AUTH_ANSWER)
            r = auth_answer(session, line);
        else
            r = run_command(session, line);
        if (r != 0)
            return r;
    }
}

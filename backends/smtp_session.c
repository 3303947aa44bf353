/* The command table of an SMTP session: lines in, the right function called, replies out.
 *
 * Happy path: octets are cut into strict lines, the verb is found in the table, its function
 * answers. Between DATA or BDAT and the end of the message the octets go to smtp_transaction.c,
 * inside AUTH the lines go to smtp_auth.c. Fails when the host cannot send, or for want of memory.
 * Bad lines are answered and counted. */
#include "backends/smtp_session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "backends/smtp_commands.h"

#define LINE_MAX_COMMAND 512   /* octets with CRLF (RFC 5321 section 4.5.3.1.4) */
#define LINE_MAX_PATH    2048  /* MAIL and RCPT, with room for all parameters */
#define LINE_MAX_AUTH    12288 /* AUTH and its continuation (RFC 4954 section 4) */

void smtp_session_init(struct smtp_session *session, const struct smtp_facts *facts,
                       const struct smtp_host *host, void *context)
{
    *session = (struct smtp_session){ .facts = facts, .host = host, .context = context };
    line_init(&session->line, LINE_STRICT, LINE_MAX_AUTH);
}

void smtp_session_deinit(struct smtp_session *session)
{
    bool inside = session->phase == SMTP_PHASE_DATA || session->phase == SMTP_PHASE_CHUNK ||
                  session->chunking;

    smtp_end_transaction(session, inside ? "client vanished inside the message" : "no message");
    line_reset(&session->line);
    explicit_bzero(session, sizeof(*session));
    session->phase = SMTP_PHASE_CLOSED;
}

int smtp_reply(struct smtp_session *session, const char *format, ...)
{
    char room[SMTP_REPLY_MAX];
    va_list args;
    int size;

    va_start(args, format);
    size = vsnprintf(room, sizeof(room) - 2, format, args);
    va_end(args);
    if (size < 0)
        return -EINVAL;
    if ((size_t)size > sizeof(room) - 3)
        size = sizeof(room) - 3;
    memcpy(room + size, "\r\n", 2);
    return session->host->send(session->context, span_of(room, (size_t)size + 2));
}

int smtp_reply_error(struct smtp_session *session, const char *reply)
{
    if (++session->errors < session->facts->max_errors)
        return smtp_reply(session, "%s", reply);
    session->phase = SMTP_PHASE_CLOSED;
    return smtp_reply(session, "421 4.7.0 %s Too many errors, closing", session->facts->hostname);
}

int smtp_session_greet(struct smtp_session *session)
{
    return smtp_reply(session, "220 %s ESMTP Gatepost", session->facts->hostname);
}

/* RFC 5321 section 4.1.4: EHLO and HELO also reset. False where `argument` is no name. */
static bool take_helo_name(struct smtp_session *session, struct span argument)
{
    struct span name = span_take_word(&argument);

    if (name.size == 0 || name.size > SMTP_HELO_MAX)
        return false;
    smtp_end_transaction(session, "no message");
    memcpy(session->helo, name.data, name.size);
    session->helo[name.size] = '\0';
    return true;
}

static int command_ehlo(struct smtp_session *session, struct span argument)
{
    char room[SMTP_REPLY_MAX];
    struct text reply = TEXT_OVER(room);

    if (!take_helo_name(session, argument))
        return smtp_reply_error(session, "501 5.5.4 EHLO needs the name of the client");
    session->esmtp = true;
    text_printf(&reply, "250-%.255s\r\n", session->facts->hostname);
    text_printf(&reply, "250-PIPELINING\r\n250-SIZE %llu\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n",
                (unsigned long long)session->facts->limit_bytes);
    text_puts(&reply, "250-CHUNKING\r\n250-ENHANCEDSTATUSCODES\r\n");
    if (smtp_auth_offered(session))
        text_puts(&reply, "250-AUTH PLAIN LOGIN\r\n");
    text_puts(&reply, "250 HELP\r\n");
    return session->host->send(session->context, text_span(&reply));
}

static int command_helo(struct smtp_session *session, struct span argument)
{
    if (!take_helo_name(session, argument))
        return smtp_reply_error(session, "501 5.5.4 HELO needs the name of the client");
    session->esmtp = false;
    return smtp_reply(session, "250 %s", session->facts->hostname);
}

static int command_rset(struct smtp_session *session, struct span argument)
{
    if (argument.size > 0)
        return smtp_reply_error(session, "501 5.5.4 RSET takes no argument");
    smtp_end_transaction(session, "no message");
    return smtp_reply(session, "250 2.0.0 Ok");
}

static int command_noop(struct smtp_session *session, struct span argument)
{
    (void)argument; /* RFC 5321 section 4.1.1.9: a string is allowed and ignored */
    return smtp_reply(session, "250 2.0.0 Ok");
}

static int command_vrfy(struct smtp_session *session, struct span argument)
{
    if (argument.size == 0)
        return smtp_reply_error(session, "501 5.5.4 VRFY needs a name");
    return smtp_reply(session, "252 2.5.0 Cannot tell; send mail and see");
}

static int command_expn(struct smtp_session *session, struct span argument)
{
    (void)argument;
    return smtp_reply_error(session, "502 5.5.1 EXPN is not implemented");
}

static int command_help(struct smtp_session *session, struct span argument)
{
    (void)argument;
    return smtp_reply(session, "214 2.0.0 EHLO HELO MAIL RCPT DATA BDAT RSET NOOP VRFY AUTH QUIT");
}

static int command_quit(struct smtp_session *session, struct span argument)
{
    if (argument.size > 0)
        return smtp_reply_error(session, "501 5.5.4 QUIT takes no argument");
    smtp_end_transaction(session, "no message");
    session->phase = SMTP_PHASE_CLOSED;
    return smtp_reply(session, "221 2.0.0 %s closing", session->facts->hostname);
}

static const struct command {
    const char *verb;
    uint32_t line_max; /* octets, with CRLF */
    bool needs_helo;
    int (*run)(struct smtp_session *session, struct span argument);
} commands[] = {
    { "EHLO", LINE_MAX_COMMAND, false, command_ehlo },
    { "HELO", LINE_MAX_COMMAND, false, command_helo },
    { "MAIL", LINE_MAX_PATH, true, smtp_command_mail },
    { "RCPT", LINE_MAX_PATH, true, smtp_command_rcpt },
    { "DATA", LINE_MAX_COMMAND, true, smtp_command_data },
    /* BDAT asks for EHLO itself, behind its chunk: the octets come whatever the answer will be. */
    { "BDAT", LINE_MAX_COMMAND, false, smtp_command_bdat },
    { "RSET", LINE_MAX_COMMAND, false, command_rset },
    { "NOOP", LINE_MAX_COMMAND, false, command_noop },
    { "VRFY", LINE_MAX_COMMAND, true, command_vrfy },
    { "EXPN", LINE_MAX_COMMAND, true, command_expn },
    { "HELP", LINE_MAX_COMMAND, false, command_help },
    { "QUIT", LINE_MAX_COMMAND, false, command_quit },
    { "AUTH", LINE_MAX_AUTH, true, smtp_command_auth },
};

static const struct command *find_command(struct span verb)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (span_equal_nocase(verb, span_of_text(commands[i].verb)))
            return &commands[i];
    return NULL;
}

static int take_command(struct smtp_session *session, struct span line)
{
    struct span argument = line;
    struct span verb = span_take_word(&argument);
    const struct command *command = find_command(verb);

    if (line.size + 2 > (command ? command->line_max : LINE_MAX_COMMAND))
        return smtp_reply_error(session, "500 5.5.2 Line too long");
    if (!command || verb.data != line.data)
        return smtp_reply_error(session, "500 5.5.1 Unknown command");
    if (command->needs_helo && session->helo[0] == '\0')
        return smtp_reply_error(session, "503 5.5.1 Say EHLO or HELO first");
    return command->run(session, span_trim(argument));
}

/* A line that is no line; inside AUTH it also ends the exchange. */
static int refuse_line(struct smtp_session *session, int result)
{
    bool inside_auth = session->phase != SMTP_PHASE_COMMAND;

    session->phase = SMTP_PHASE_COMMAND;
    if (result == LINE_TOO_LONG && inside_auth)
        return smtp_reply_error(session, "500 5.5.6 Line too long, authentication cancelled");
    if (result == LINE_TOO_LONG)
        return smtp_reply_error(session, "500 5.5.2 Line too long");
    return smtp_reply_error(session,
                            "500 5.5.2 Lines end in CR LF and hold no other CR, LF or NUL");
}

static int take_line(struct smtp_session *session, struct span *in)
{
    struct span line;
    int r = line_next(&session->line, in, &line);

    switch (r) {
    case LINE_MORE:
        return 0;
    case LINE_READY:
        break;
    case LINE_TOO_LONG:
    case LINE_SPOILED:
        return refuse_line(session, r);
    default:
        return r;
    }
    if (session->phase == SMTP_PHASE_COMMAND)
        return take_command(session, line);
    return smtp_take_auth_line(session, line);
}

int smtp_session_feed(struct smtp_session *session, struct span octets)
{
    int r = 0;

    while (octets.size > 0 && r == 0) {
        switch (session->phase) {
        case SMTP_PHASE_COMMAND:
        case SMTP_PHASE_AUTH_PLAIN:
        case SMTP_PHASE_AUTH_NAME:
        case SMTP_PHASE_AUTH_PASSWORD:
            r = take_line(session, &octets);
            break;
        case SMTP_PHASE_DATA:
            r = smtp_take_data(session, &octets);
            break;
        case SMTP_PHASE_CHUNK:
            r = smtp_take_chunk(session, &octets);
            break;
        case SMTP_PHASE_CLOSED:
            return SMTP_SESSION_CLOSE;
        }
    }
    if (r < 0)
        return r;
    return session->phase == SMTP_PHASE_CLOSED ? SMTP_SESSION_CLOSE : SMTP_SESSION_OPEN;
}

bool smtp_session_between_commands(const struct smtp_session *session)
{
    return session->phase < SMTP_PHASE_DATA;
}

/* The canned server's dialogue: tables of commands and what is said to them.
 *
 * Happy path: lines are cut, each is looked up and answered; octets of messages are compared with
 * the announced ones. A message that is not what was announced is answered by 554 with the number
 * of the first octet that is wrong, so the load generator counts it as an error. */
#include "tools/bench/sink_session.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define LINE_MOST 2048
#define DOT_LINE  ".\r\n"

enum action {
    ACTION_SAY,
    ACTION_QUIT,
    ACTION_AUTH,
    ACTION_RETR,
    ACTION_LIST,
    ACTION_MAIL,
    ACTION_DATA,
    ACTION_BDAT
};

struct command {
    const char *word; /* empty: any other */
    enum action action;
    const char *reply;
};

static const struct command pop3_commands[] = {
    { "NOOP", ACTION_SAY, "+OK\r\n" },
    { "RETR", ACTION_RETR, NULL },
    { "USER", ACTION_SAY, "+OK send PASS\r\n" },
    { "PASS", ACTION_SAY, "+OK logged in\r\n" },
    { "AUTH", ACTION_AUTH, "+OK logged in\r\n" },
    { "STAT", ACTION_SAY, "+OK 2 5120\r\n" },
    { "LIST", ACTION_LIST, "+OK 2 messages\r\n1 1024\r\n4 4096\r\n.\r\n" },
    { "UIDL", ACTION_LIST, "+OK 2 messages\r\n1 1024\r\n4 4096\r\n.\r\n" },
    { "CAPA", ACTION_SAY, "+OK\r\nUSER\r\nTOP\r\nUIDL\r\nPIPELINING\r\nSASL PLAIN\r\n.\r\n" },
    { "QUIT", ACTION_QUIT, "+OK bye\r\n" },
    { "RSET", ACTION_SAY, "+OK\r\n" },
    { "DELE", ACTION_SAY, "+OK\r\n" },
    { "", ACTION_SAY, "-ERR unknown command\r\n" },
};

static const struct command smtp_commands[] = {
    { "NOOP", ACTION_SAY, "250 2.0.0 Ok\r\n" },
    { "MAIL", ACTION_MAIL, "250 2.1.0 Ok\r\n" },
    { "RCPT", ACTION_SAY, "250 2.1.5 Ok\r\n" },
    { "DATA", ACTION_DATA, "354 End data with <CR><LF>.<CR><LF>\r\n" },
    { "BDAT", ACTION_BDAT, NULL },
    { "EHLO", ACTION_SAY,
      "250-sink.example\r\n250-PIPELINING\r\n250-SIZE 104857600\r\n250-CHUNKING\r\n250-8BITMIME\r\n"
      "250-AUTH PLAIN LOGIN\r\n250 ENHANCEDSTATUSCODES\r\n" },
    { "HELO", ACTION_SAY, "250 sink.example\r\n" },
    { "AUTH", ACTION_AUTH, "235 2.7.0 Authentication successful\r\n" },
    { "RSET", ACTION_SAY, "250 2.0.0 Ok\r\n" },
    { "QUIT", ACTION_QUIT, "221 2.0.0 Bye\r\n" },
    { "", ACTION_SAY, "500 5.5.2 unknown command\r\n" },
};

/* ---- replies ---- */

/* What does not fit belongs to a client that sends commands and reads nothing: it is closed. */
__attribute__((format(printf, 2, 3))) static void say(struct sink_session *session,
                                                      const char *format, ...)
{
    size_t room = sizeof(session->out) - session->out_size;
    va_list list;
    int size;

    va_start(list, format);
    size = vsnprintf(session->out + session->out_size, room, format, list);
    va_end(list);
    if (size < 0 || (size_t)size >= room)
        session->closing = true;
    else
        session->out_size += (size_t)size;
}

static void say_what_came(struct sink_session *session)
{
    if (session->checked && !message_check_good(&session->check))
        say(session, "554 5.6.0 octet %llu of %llu is wrong\r\n",
            (unsigned long long)session->check.wrong_at,
            (unsigned long long)session->check.expected.octets);
    else
        say(session, "250 2.0.0 Ok: queued as SINK\r\n");
}

/* ---- commands ---- */

static uint64_t number_at(struct span text, size_t *at)
{
    uint64_t number = 0;

    while (*at < text.size && text.data[*at] >= '0' && text.data[*at] <= '9')
        number = number % 1000000000000u * 10 + (uint64_t)(text.data[(*at)++] - '0');
    return number;
}

/* The number says KiB and, in its last three digits, the phase. */
static void send_message(struct sink_session *session, struct span argument)
{
    size_t at = 0;
    uint64_t number = number_at(argument, &at);
    uint64_t kib = number / MESSAGE_PHASES > 0 ? number / MESSAGE_PHASES : 1;

    say(session, "+OK %llu octets\r\n", (unsigned long long)kib * 1024);
    session->sending.octets = kib * 1024;
    session->sending.phase = (uint32_t)(number % MESSAGE_PHASES);
    session->sent = 0;
    session->dot_waits = true;
}

/* FROM:<phase.octets@bench.example> announces a message; others are taken unseen. */
static void expect_message(struct sink_session *session, struct span argument)
{
    struct message message = { 0 };
    size_t at = span_find(argument, '<') + 1;

    message.phase = (uint32_t)(number_at(argument, &at) % MESSAGE_PHASES);
    session->checked = at < argument.size && argument.data[at] == '.';
    at++;
    message.octets = number_at(argument, &at);
    message_check_begin(&session->check, &message);
}

static void begin_chunk(struct sink_session *session, struct span argument)
{
    struct span size = span_take_word(&argument);

    if (!span_parse_u64(size, &session->chunk_left)) {
        say(session, "501 5.5.4 BDAT needs a size\r\n");
        return;
    }
    session->last_chunk = span_equal_nocase(argument, SPAN_LIT("LAST"));
    session->state = SINK_CHUNK;
}

static void begin_auth(struct sink_session *session, struct span argument, const char *reply)
{
    struct span mechanism = span_take_word(&argument);

    if (argument.size > 0) {
        say(session, "%s", reply);
        return;
    }
    session->auth_lines = span_equal_nocase(mechanism, SPAN_LIT("LOGIN")) ? 2 : 1;
    session->state = SINK_AUTH_LINE;
    say(session, session->protocol == SINK_SMTP ? "334 \r\n" : "+ \r\n");
}

static void take_auth_line(struct sink_session *session)
{
    bool smtp = session->protocol == SINK_SMTP;

    if (--session->auth_lines > 0) {
        say(session, smtp ? "334 \r\n" : "+ \r\n");
        return;
    }
    session->state = SINK_COMMAND;
    say(session, smtp ? "235 2.7.0 Authentication successful\r\n" : "+OK logged in\r\n");
}

static void act(struct sink_session *session, const struct command *command, struct span argument)
{
    switch (command->action) {
    case ACTION_SAY:
        break;
    case ACTION_QUIT:
        session->closing = true;
        break;
    case ACTION_AUTH:
        begin_auth(session, argument, command->reply);
        return;
    case ACTION_RETR:
        send_message(session, argument);
        return;
    case ACTION_LIST:
        if (argument.size == 0)
            break;
        say(session, "+OK 4 4096\r\n");
        return;
    case ACTION_MAIL:
        expect_message(session, argument);
        break;
    case ACTION_DATA:
        session->state = SINK_MESSAGE;
        break;
    case ACTION_BDAT:
        begin_chunk(session, argument);
        return;
    }
    say(session, "%s", command->reply);
}

static void take_command(struct sink_session *session, struct span line)
{
    const struct command *command = session->protocol == SINK_SMTP ? smtp_commands : pop3_commands;
    struct span word = span_take_word(&line);

    while (command->word[0] && !span_equal_nocase(word, span_of_text(command->word)))
        command++;
    act(session, command, line);
}

/* One request of nginx (ngx_mail_auth_http_module): headers in, headers out. */
static void take_header(struct sink_session *session, struct span line)
{
    const struct sink_ports *ports = session->ports;

    if (span_equal_nocase(line, SPAN_LIT("Auth-Protocol: smtp")))
        session->nginx_smtp = true;
    if (line.size > 0)
        return;
    say(session,
        "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: %u\r\n\r\n",
        session->nginx_smtp ? ports->smtp : ports->pop3);
    session->closing = true;
}

static int take_line(struct sink_session *session, struct span *in)
{
    struct span line;
    int result = line_next(&session->lines, in, &line);

    if (result == LINE_MORE)
        return 0;
    if (result != LINE_READY)
        return -EPROTO;
    if (session->protocol == SINK_NGINX_AUTH)
        take_header(session, line);
    else if (session->state == SINK_AUTH_LINE)
        take_auth_line(session);
    else
        take_command(session, line);
    return 0;
}

/* ---- messages ---- */

static void take_message(struct sink_session *session, struct span *in)
{
    if (!message_check_dotted(&session->check, in))
        return;
    say_what_came(session);
    session->state = SINK_COMMAND;
}

static void take_chunk(struct sink_session *session, struct span *in)
{
    size_t most = session->chunk_left < in->size ? (size_t)session->chunk_left : in->size;

    message_check_counted(&session->check, span_first(*in, most));
    *in = span_skip(*in, most);
    session->chunk_left -= most;
    if (session->chunk_left > 0)
        return;
    session->state = SINK_COMMAND;
    if (session->last_chunk)
        say_what_came(session);
    else
        say(session, "250 2.0.0 Ok\r\n");
}

/* ---- the session ---- */

void sink_session_init(struct sink_session *session, enum sink_protocol protocol,
                       const struct sink_ports *ports)
{
    *session = (struct sink_session){ .protocol = (uint8_t)protocol, .ports = ports };
    line_init(&session->lines, LINE_LENIENT, LINE_MOST);
    if (protocol == SINK_POP3)
        say(session, "+OK sink ready\r\n");
    else if (protocol == SINK_SMTP)
        say(session, "220 sink.example ESMTP\r\n");
}

void sink_session_deinit(struct sink_session *session)
{
    line_reset(&session->lines);
}

static int take_some(struct sink_session *session, struct span *in)
{
    switch ((enum sink_state)session->state) {
    case SINK_MESSAGE:
        take_message(session, in);
        return 0;
    case SINK_CHUNK:
        take_chunk(session, in);
        return 0;
    case SINK_COMMAND:
    case SINK_AUTH_LINE:
        break;
    }
    return take_line(session, in);
}

int sink_session_take(struct sink_session *session, struct span in)
{
    int status = 0;

    while (status == 0 && in.size > 0 && !session->closing) {
        if (session->dot_waits)
            return -EPROTO; /* a command while a message is sent: nobody here does so */
        status = take_some(session, &in);
        if (session->state == SINK_CHUNK && session->chunk_left == 0)
            take_chunk(session, &in); /* BDAT 0 LAST */
    }
    return status;
}

size_t sink_session_pieces(const struct sink_session *session,
                           struct span ret_pieces[static SINK_PIECES])
{
    const struct message *message = &session->sending;
    struct span reply =
        span_of(session->out + session->out_sent, session->out_size - session->out_sent);
    struct span piece = message_piece(message, session->sent);
    uint64_t after = session->sent + piece.size;
    size_t count = 0;

    if (reply.size > 0)
        ret_pieces[count++] = reply;
    if (piece.size > 0)
        ret_pieces[count++] = piece;
    if (session->dot_waits && after >= message->octets)
        ret_pieces[count++] = span_skip(SPAN_LIT(DOT_LINE), (size_t)(after - message->octets));
    return count;
}

void sink_session_advance(struct sink_session *session, size_t count)
{
    size_t reply = session->out_size - session->out_sent;

    if (reply > count)
        reply = count;
    session->out_sent += reply;
    if (session->out_sent == session->out_size)
        session->out_sent = session->out_size = 0;
    session->sent += count - reply;
    if (session->dot_waits && session->sent == session->sending.octets + sizeof(DOT_LINE) - 1) {
        session->dot_waits = false;
        session->sending.octets = session->sent = 0;
    }
}

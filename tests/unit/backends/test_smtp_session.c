/* The SMTP session machine: conversations in a table, each played whole, byte by byte and in pieces
 * of three. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "tests/lib/smtp_recorder.h"

#define EHLO  "EHLO client.example\r\n"
#define MAIL  "MAIL FROM:<bob@elsewhere.example>\r\n"
#define RCPT  "RCPT TO:<anna@example.org>\r\n"
#define LOGIN "AUTH PLAIN AGFubmEAc2VjcmV0\r\n" /* NUL anna NUL secret */
#define TEXT  "Subject: x\r\n\r\nbody\r\n"
#define A100                                                                                       \
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" \
    "aaaaaaaa"
#define A500   A100 A100 A100 A100 A100
#define A1000  A500 A500
#define OPENED "250 250 2.1.0 250 2.1.5 "

struct row {
    const char *name;
    const char *in;
    size_t in_size;      /* 0: strlen(in) */
    const char *replies; /* code and enhanced code of every reply */
    const char *trace;   /* a piece that the trace must hold; NULL: no matter */
    const char *never;   /* a piece that it must not hold */
    bool no_auth_in_clear, tls, relay;
    size_t room_bytes; /* 0: enough */
    int begin_result, commit_result, login_result;
    bool closes;
};

/* "250 2.1.0 " for each reply line that ends a reply. */
static void summarize(const char *trace, char *into, size_t room)
{
    struct text text = { into, 0, room, false };

    while (*trace) {
        const char *end = strchr(trace, '\n');
        size_t size = (size_t)(end + 1 - trace);

        if (strncmp(trace, "S: ", 3) == 0 && trace[6] != '-') {
            struct span rest = span_of(trace + 3, size - 3), word = span_take_word(&rest);

            text_printf(&text, "%.3s ", (const char *)word.data);
            word = span_take_word(&rest);
            if (word.size == 5 || word.size == 6)
                if (word.data[1] == '.' && word.data[3] == '.')
                    text_printf(&text, "%.*s ", (int)word.size, (const char *)word.data);
        }
        trace = end + 1;
    }
    text_str(&text);
}

static void set_up(struct recorder *recorder, const struct row *row)
{
    recorder_init(recorder);
    recorder->facts.auth_without_tls = !row->no_auth_in_clear;
    recorder->facts.tls = row->tls;
    recorder->facts.relay = row->relay;
    recorder->room_bytes = row->room_bytes ? row->room_bytes : SIZE_MAX;
    recorder->begin_result = row->begin_result;
    recorder->commit_result = row->commit_result;
    recorder->login_result = row->login_result;
}

static void play_row(const struct row *row, size_t piece)
{
    struct span input = span_of(row->in, row->in_size ? row->in_size : strlen(row->in));
    struct recorder recorder;
    char replies[8192], wanted[8192];
    int r;

    set_up(&recorder, row);
    r = recorder_play(&recorder, input, piece);
    summarize(recorder.trace_text, replies, sizeof(replies));
    snprintf(wanted, sizeof(wanted), "%s%s", row->replies, row->replies[0] ? " " : "");
    if (strcmp(replies, wanted) != 0 || (r == SMTP_SESSION_CLOSE) != row->closes ||
        (row->trace && !strstr(recorder.trace_text, row->trace)) ||
        (row->never && strstr(recorder.trace_text, row->never)))
        fail_msg("%s (pieces of %zu)\n replies %s\n wanted  %s\n closed %d\n%s", row->name, piece,
                 replies, wanted, r == SMTP_SESSION_CLOSE, recorder.trace_text);
    recorder_deinit(&recorder);
}

static void play(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        play_row(&rows[i], SIZE_MAX);
        play_row(&rows[i], 1);
        play_row(&rows[i], 3);
    }
}

#define PLAY(rows) play(rows, sizeof(rows) / sizeof((rows)[0]))

static void the_beginning_and_small_commands(void **state)
{
    static const struct row rows[] = {
        { "EHLO lists what is offered", .in = EHLO, .replies = "250",
          .trace = "S: 250-mail.example.org\r\nS: 250-PIPELINING\r\nS: 250-SIZE 1000\r\n"
                   "S: 250-8BITMIME\r\nS: 250-SMTPUTF8\r\nS: 250-CHUNKING\r\n"
                   "S: 250-ENHANCEDSTATUSCODES\r\nS: 250-AUTH PLAIN LOGIN\r\nS: 250 HELP\r\n" },
        { "AUTH is hidden in clear", .in = EHLO, .no_auth_in_clear = true, .replies = "250",
          .never = "AUTH" },
        { "AUTH is shown under TLS", .in = EHLO, .no_auth_in_clear = true, .tls = true,
          .replies = "250", .trace = "250-AUTH PLAIN LOGIN\r\n" },
        { "HELO has one line", .in = "HELO c\r\n", .replies = "250", .never = "PIPELINING" },
        { "verbs in any case, blanks behind", .in = "ehlo c  \r\nnoop\t\r\n",
          .replies = "250 250 2.0.0" },
        { "EHLO without a name", .in = "EHLO\r\nEHLO  \r\n", .replies = "501 5.5.4 501 5.5.4" },
        { "HELO without a name", .in = "HELO\r\n", .replies = "501 5.5.4" },
        { "EHLO with too long a name", .in = "EHLO " A100 A100 A100 "\r\n",
          .replies = "501 5.5.4" },
        { "a failed EHLO opens nothing", .in = "EHLO\r\n" MAIL, .replies = "501 5.5.4 503 5.5.1" },
        { "MAIL before EHLO", .in = MAIL, .replies = "503 5.5.1" },
        { "RCPT before EHLO", .in = RCPT, .replies = "503 5.5.1" },
        { "DATA before EHLO", .in = "DATA\r\n", .replies = "503 5.5.1" },
        { "AUTH before EHLO", .in = LOGIN, .replies = "503 5.5.1", .never = "login" },
        { "NOOP RSET HELP before EHLO", .in = "NOOP x y\r\nRSET\r\nHELP\r\nHELP mail\r\n",
          .replies = "250 2.0.0 250 2.0.0 214 2.0.0 214 2.0.0" },
        { "VRFY tells nothing", .in = EHLO "VRFY anna\r\nVRFY nobody\r\nVRFY\r\n",
          .replies = "250 252 2.5.0 252 2.5.0 501 5.5.4", .never = "recipient" },
        { "EXPN is not implemented", .in = EHLO "EXPN staff\r\n", .replies = "250 502 5.5.1" },
        { "QUIT closes and voids the rest", .in = EHLO "QUIT\r\nNOOP\r\n",
          .replies = "250 221 2.0.0", .closes = true },
        { "QUIT and RSET take no argument", .in = "QUIT now\r\nRSET now\r\n",
          .replies = "501 5.5.4 501 5.5.4" },
        { "unknown verbs",
          .in = "\r\n \r\n NOOP\r\nSTARTTLS\r\nXCLIENT a=b\r\nMAILFROM:<a@b.c>\r\n",
          .replies = "500 5.5.1 500 5.5.1 500 5.5.1 500 5.5.1 500 5.5.1 500 5.5.1" },
        { "the tenth bad command closes",
          .in = "A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nG\r\nH\r\nI\r\nJ\r\nK\r\n",
          .replies = "500 5.5.1 500 5.5.1 500 5.5.1 500 5.5.1 500 5.5.1 500 5.5.1 500 5.5.1 "
                     "500 5.5.1 500 5.5.1 421 4.7.0",
          .closes = true },
    };

    (void)state;
    PLAY(rows);
}

static void lines_that_are_none(void **state)
{
    static const struct row rows[] = {
        { "bare LF ends nothing", .in = "EHLO c\nNOOP\r\nNOOP\r\n",
          .replies = "500 5.5.2 250 2.0.0" },
        { "bare CR inside", .in = "NOOP\rNOOP\r\nNOOP\r\n", .replies = "500 5.5.2 250 2.0.0" },
        { "NUL inside", .in = "NO\0OP\r\nNOOP\r\n", .in_size = 13,
          .replies = "500 5.5.2 250 2.0.0" },
        { "CR CR LF", .in = "NOOP\r\r\nNOOP\r\n", .replies = "500 5.5.2 250 2.0.0" },
        { "MAIL by bare LF reaches nothing", .in = EHLO "MAIL FROM:<a@b.c>\n" RCPT,
          .replies = "250 500 5.5.2", .never = "recipient" },
        { "NOOP of 512 octets", .in = "NOOP " A500 "aaaaa\r\n", .replies = "250 2.0.0" },
        { "NOOP of 513 octets", .in = "NOOP " A500 "aaaaaa\r\nNOOP\r\n",
          .replies = "500 5.5.2 250 2.0.0" },
        { "an unknown verb of 600 octets", .in = A500 A100 "\r\n", .replies = "500 5.5.2" },
        { "MAIL of 513 octets may be", .in = EHLO "MAIL FROM:<b@c.d> AUTH=" A500 "\r\n",
          .replies = "250 250 2.1.0" },
        { "MAIL of more than 2048", .in = EHLO "MAIL FROM:<b@c.d> AUTH=" A1000 A1000 A100 "\r\n",
          .replies = "250 500 5.5.2" },
        { "AUTH of more than 2048 is decoded", .in = EHLO "AUTH PLAIN " A1000 A1000 A100 "\r\n",
          .replies = "250 501 5.5.2" },
        { "a line without end is dropped", .in = EHLO "NOOP", .replies = "250" },
    };

    (void)state;
    PLAY(rows);
}

static void senders(void **state)
{
    static const struct row rows[] = {
        { "plain", .in = EHLO MAIL, .replies = "250 250 2.1.0" },
        { "null sender", .in = EHLO "MAIL FROM:<>\r\n", .replies = "250 250 2.1.0" },
        { "a blank behind the colon, as old programs write", .in = EHLO "mail from: <b@c.d>\r\n",
          .replies = "250 250 2.1.0" },
        { "all parameters",
          .in = EHLO "MAIL FROM:<b@c.d> SIZE=1000 BODY=8BITMIME SMTPUTF8 AUTH=<>\r\n" RCPT
                     "DATA\r\n.\r\n",
          .replies = OPENED "354 250 2.0.0",
          .trace = "begin id.1 <b@c.d> 8bit utf8 anna@example.org" },
        { "7BIT", .in = EHLO "MAIL FROM:<b@c.d> body=7bit\r\n", .replies = "250 250 2.1.0" },
        { "SIZE too big", .in = EHLO "MAIL FROM:<b@c.d> SIZE=1001\r\n" RCPT,
          .replies = "250 552 5.3.4 503 5.5.1" },
        { "SIZE no number", .in = EHLO "MAIL FROM:<b@c.d> SIZE=-1\r\n",
          .replies = "250 501 5.5.4" },
        { "SIZE of 2^64", .in = EHLO "MAIL FROM:<b@c.d> SIZE=18446744073709551616\r\n",
          .replies = "250 501 5.5.4" },
        { "SIZE without a value", .in = EHLO "MAIL FROM:<b@c.d> SIZE\r\n",
          .replies = "250 501 5.5.4" },
        { "SIZE twice", .in = EHLO "MAIL FROM:<b@c.d> SIZE=1 SIZE=1\r\n",
          .replies = "250 501 5.5.4" },
        { "BINARYMIME is not offered", .in = EHLO "MAIL FROM:<b@c.d> BODY=BINARYMIME\r\n",
          .replies = "250 501 5.5.4" },
        { "SMTPUTF8 with a value", .in = EHLO "MAIL FROM:<b@c.d> SMTPUTF8=1\r\n",
          .replies = "250 501 5.5.4" },
        { "AUTH that is no xtext", .in = EHLO "MAIL FROM:<b@c.d> AUTH=a+zz\r\n",
          .replies = "250 501 5.5.4" },
        { "unknown parameter", .in = EHLO "MAIL FROM:<b@c.d> RET=FULL\r\n",
          .replies = "250 555 5.5.4" },
        { "no parameter at all", .in = EHLO "MAIL FROM:<b@c.d> =x\r\n",
          .replies = "250 501 5.5.4" },
        { "no brackets", .in = EHLO "MAIL FROM:b@c.d\r\n", .replies = "250 501 5.1.7" },
        { "no closing bracket", .in = EHLO "MAIL FROM:<b@c.d\r\n", .replies = "250 501 5.1.7" },
        { "no domain", .in = EHLO "MAIL FROM:<bob>\r\n", .replies = "250 501 5.1.7" },
        { "no FROM", .in = EHLO "MAIL <b@c.d>\r\nMAIL\r\n", .replies = "250 501 5.5.4 501 5.5.4" },
        { "text glued to the bracket", .in = EHLO "MAIL FROM:<b@c.d>SIZE=1\r\n",
          .replies = "250 501 5.1.7" },
        { "UTF-8 without SMTPUTF8", .in = EHLO "MAIL FROM:<b\xc3\xbc@c.d>\r\n",
          .replies = "250 553 5.6.7" },
        { "UTF-8 with it", .in = EHLO "MAIL FROM:<b\xc3\xbc@c.d> SMTPUTF8\r\n",
          .replies = "250 250 2.1.0" },
        { "Latin-1 with it", .in = EHLO "MAIL FROM:<b\xfc@c.d> SMTPUTF8\r\n",
          .replies = "250 501 5.1.7" },
        { "MAIL twice", .in = EHLO MAIL MAIL, .replies = "250 250 2.1.0 503 5.5.1" },
        { "MAIL, RSET, MAIL", .in = EHLO MAIL "RSET\r\n" MAIL,
          .replies = "250 250 2.1.0 250 2.0.0 250 2.1.0", .trace = "end id.2" },
        { "EHLO resets", .in = EHLO MAIL EHLO RCPT, .replies = "250 250 2.1.0 250 503 5.5.1",
          .trace = "end id.1 bytes=0 no message" },
        { "a refused MAIL leaves no parameters behind",
          .in = EHLO "MAIL FROM:<b@c.d> SMTPUTF8 X=1\r\nMAIL FROM:<b\xc3\xbc@c.d>\r\n",
          .replies = "250 555 5.5.4 553 5.6.7" },
    };

    (void)state;
    PLAY(rows);
}

static void recipients(void **state)
{
    static const struct row rows[] = {
        { "a local user", .in = EHLO MAIL RCPT, .replies = "250 250 2.1.0 250 2.1.5" },
        { "postmaster without a domain", .in = EHLO MAIL "RCPT TO:<PostMaster>\r\n",
          .replies = "250 250 2.1.0 250 2.1.5", .trace = "recipient PostMaster\n" },
        { "a blank behind the colon", .in = EHLO MAIL "RCPT TO: <anna@example.org>\r\n",
          .replies = "250 250 2.1.0 250 2.1.5" },
        { "a source route is read over", .in = EHLO MAIL "RCPT TO:<@a.b,@c.d:anna@example.org>\r\n",
          .replies = "250 250 2.1.0 250 2.1.5", .trace = "recipient anna@example.org" },
        { "needless quotes", .in = EHLO MAIL "RCPT TO:<\"anna\"@example.org>\r\n",
          .replies = "250 250 2.1.0 250 2.1.5", .trace = "recipient anna@example.org" },
        { "an unknown user", .in = EHLO MAIL "RCPT TO:<nobody@example.org>\r\n",
          .replies = "250 250 2.1.0 550 5.1.1" },
        { "users cannot be read", .in = EHLO MAIL "RCPT TO:<broken@example.org>\r\n",
          .replies = "250 250 2.1.0 451 4.3.0" },
        { "the relay test of the proxy",
          .in = EHLO "MAIL FROM:<>\r\nRCPT TO:<relay-test@example.invalid>\r\nRSET\r\nQUIT\r\n",
          .replies = "250 250 2.1.0 550 5.7.1 250 2.0.0 221 2.0.0", .closes = true },
        { "the relay test with a relay",
          .in = EHLO "MAIL FROM:<>\r\nRCPT TO:<relay-test@example.invalid>\r\n", .relay = true,
          .replies = "250 250 2.1.0 550 5.7.1", .never = "relay <" },
        { "percent hack", .in = EHLO MAIL "RCPT TO:<x%other.example@example.org>\r\n",
          .relay = true, .replies = "250 250 2.1.0 550 5.1.1" },
        { "quoted hack", .in = EHLO MAIL "RCPT TO:<\"x@other.example\"@example.org>\r\n",
          .relay = true, .replies = "250 250 2.1.0 550 5.1.1" },
        { "two at signs", .in = EHLO MAIL "RCPT TO:<x@other.example@example.org>\r\n",
          .replies = "250 250 2.1.0 501 5.1.3" },
        { "a user without a relay", .in = EHLO LOGIN MAIL "RCPT TO:<x@other.example>\r\n",
          .replies = "250 235 2.7.0 250 2.1.0 550 5.7.1" },
        { "a user with a relay", .in = EHLO LOGIN MAIL "RCPT TO:<x@other.example>\r\n",
          .relay = true, .replies = "250 235 2.7.0 250 2.1.0 250 2.1.5",
          .trace = "relay bob@elsewhere.example -> x@other.example" },
        { "the relay refuses", .in = EHLO LOGIN MAIL "RCPT TO:<no@other.example>\r\n",
          .relay = true, .replies = "250 235 2.7.0 250 2.1.0 550 5.1.1" },
        { "the relay is away", .in = EHLO LOGIN MAIL "RCPT TO:<off@other.example>\r\n",
          .relay = true, .replies = "250 235 2.7.0 250 2.1.0 451 4.4.1" },
        { "local first, then another domain",
          .in = EHLO LOGIN MAIL RCPT "RCPT TO:<x@other.example>\r\n", .relay = true,
          .replies = "250 235 2.7.0 250 2.1.0 250 2.1.5 452 4.5.3", .never = "relay " },
        { "another domain first, then local",
          .in = EHLO LOGIN MAIL "RCPT TO:<x@other.example>\r\n" RCPT, .relay = true,
          .replies = "250 235 2.7.0 250 2.1.0 250 2.1.5 452 4.5.3" },
        { "a refused relay leaves the choice open",
          .in = EHLO LOGIN MAIL "RCPT TO:<no@other.example>\r\n" RCPT "DATA\r\n.\r\n",
          .relay = true, .replies = "250 235 2.7.0 250 2.1.0 550 5.1.1 250 2.1.5 354 250 2.0.0",
          .never = " relayed" },
        { "more than max_recipients", .in = EHLO MAIL RCPT RCPT RCPT RCPT,
          .replies = "250 250 2.1.0 250 2.1.5 250 2.1.5 250 2.1.5 452 4.5.3" },
        { "no domain", .in = EHLO MAIL "RCPT TO:<anna>\r\n", .replies = "250 250 2.1.0 501 5.1.3" },
        { "null recipient", .in = EHLO MAIL "RCPT TO:<>\r\n",
          .replies = "250 250 2.1.0 501 5.1.3" },
        { "no brackets", .in = EHLO MAIL "RCPT TO:anna@example.org\r\n",
          .replies = "250 250 2.1.0 501 5.1.3" },
        { "parameters", .in = EHLO MAIL "RCPT TO:<anna@example.org> NOTIFY=NEVER\r\n",
          .replies = "250 250 2.1.0 555 5.5.4" },
        { "UTF-8 without SMTPUTF8", .in = EHLO MAIL "RCPT TO:<\xc3\xbc@example.org>\r\n",
          .replies = "250 250 2.1.0 553 5.6.7", .never = "recipient" },
        { "UTF-8 with it", .in = EHLO "MAIL FROM:<> SMTPUTF8\r\nRCPT TO:<\xc3\xbc@example.org>\r\n",
          .replies = "250 250 2.1.0 550 5.1.1" },
        { "no MAIL", .in = EHLO RCPT, .replies = "250 503 5.5.1" },
    };

    (void)state;
    PLAY(rows);
}

static void messages_by_data(void **state)
{
    static const struct row rows[] = {
        { "a message", .in = EHLO MAIL RCPT "DATA\r\n" TEXT ".\r\nQUIT\r\n",
          .replies = OPENED "354 250 2.0.0 221 2.0.0", .trace = "commit [" TEXT "]",
          .closes = true },
        { "an empty message", .in = EHLO MAIL RCPT "DATA\r\n.\r\n",
          .replies = OPENED "354 250 2.0.0", .trace = "commit []" },
        { "dots are taken away",
          .in = EHLO MAIL RCPT "DATA\r\n..a\r\n...\r\n.b\r\na.\r\n.\tc\r\n..\r\n.\r\n",
          .replies = OPENED "354 250 2.0.0",
          .trace = "commit [.a\r\n..\r\nb\r\na.\r\n\tc\r\n.\r\n]" },
        { "commands inside are message", .in = EHLO MAIL RCPT "DATA\r\nQUIT\r\nRSET\r\n.\r\n",
          .replies = OPENED "354 250 2.0.0", .trace = "commit [QUIT\r\nRSET\r\n]" },
        { "two messages in one session",
          .in = EHLO MAIL RCPT "DATA\r\n1\r\n.\r\n" MAIL RCPT "DATA\r\n2\r\n.\r\n",
          .replies = OPENED "354 250 2.0.0 250 2.1.0 250 2.1.5 354 250 2.0.0",
          .trace = "S: 250 2.0.0 Taken as id.2\r\n" },
        { "p3_half a message delivers nothing", .in = EHLO MAIL RCPT "DATA\r\n" TEXT,
          .replies = OPENED "354", .trace = "abort\nend id.1 bytes=20 client vanished",
          .never = "commit" },
        { "p3_all but the last octet", .in = EHLO MAIL RCPT "DATA\r\n" TEXT ".\r",
          .replies = OPENED "354", .trace = "abort\nend", .never = "commit" },
        { "as big as allowed",
          .in = EHLO MAIL RCPT "DATA\r\n" A500 A100 A100 A100 A100 "aaaaaaaaaa"
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n.\r\n",
          .replies = OPENED "354 250 2.0.0", .trace = "bytes=1000" },
        { "too big, known only underway",
          .in = EHLO MAIL RCPT "DATA\r\n" A1000 A1000 "\r\n.\r\nNOOP\r\n",
          .replies = OPENED "354 552 5.3.4 250 2.0.0", .trace = "abort\nend id.1 bytes=2002 552",
          .never = "commit" },
        { "p4_disk full while writing", .in = EHLO MAIL RCPT "DATA\r\n" TEXT ".\r\nNOOP\r\n",
          .room_bytes = 5, .replies = OPENED "354 452 4.3.1 250 2.0.0", .trace = "abort\nend",
          .never = "commit" },
        { "p4_disk full at the end", .in = EHLO MAIL RCPT "DATA\r\n" TEXT ".\r\n",
          .commit_result = -ENOSPC, .replies = OPENED "354 452 4.3.1" },
        { "p4_quota at the end", .in = EHLO MAIL RCPT "DATA\r\n" TEXT ".\r\n",
          .commit_result = -EDQUOT, .replies = OPENED "354 452 4.3.1" },
        { "p4_another error at the end", .in = EHLO MAIL RCPT "DATA\r\n" TEXT ".\r\n",
          .commit_result = -EIO, .replies = OPENED "354 451 4.3.0" },
        { "the host refuses at the end", .in = EHLO MAIL RCPT "DATA\r\n" TEXT ".\r\n",
          .commit_result = SMTP_REFUSED, .replies = OPENED "354 554 5.6.0" },
        { "disk full before the message", .in = EHLO MAIL RCPT "DATA\r\nNOOP\r\n",
          .begin_result = -ENOSPC, .replies = OPENED "452 4.3.1 250 2.0.0", .never = "commit" },
        { "the host refuses to begin", .in = EHLO MAIL RCPT "DATA\r\nNOOP\r\n",
          .begin_result = SMTP_REFUSED, .replies = OPENED "554 5.7.0 250 2.0.0" },
        { "the relay is lost at the end", .in = EHLO LOGIN MAIL "RCPT TO:<x@y.z>\r\nDATA\r\n.\r\n",
          .relay = true, .commit_result = -EPIPE,
          .replies = "250 235 2.7.0 250 2.1.0 250 2.1.5 354 451 4.4.2" },
        { "DATA with an argument", .in = EHLO MAIL RCPT "DATA now\r\n",
          .replies = OPENED "501 5.5.4" },
        { "DATA without MAIL", .in = EHLO "DATA\r\n", .replies = "250 503 5.5.1" },
        { "DATA without RCPT", .in = EHLO MAIL "DATA\r\n", .replies = "250 250 2.1.0 503 5.5.1" },
        { "DATA when all recipients were refused, pipelined",
          .in = EHLO MAIL "RCPT TO:<nobody@example.org>\r\nDATA\r\nRSET\r\n",
          .replies = "250 250 2.1.0 550 5.1.1 554 5.5.1 250 2.0.0" },
        { "a bare LF inside", .in = EHLO MAIL RCPT "DATA\r\na\nb\r\n.\r\nNOOP\r\n",
          .replies = OPENED "354 550 5.5.2 250 2.0.0", .never = "commit" },
        { "a bare CR inside", .in = EHLO MAIL RCPT "DATA\r\na\rb\r\n.\r\nNOOP\r\n",
          .replies = OPENED "354 550 5.5.2 250 2.0.0", .never = "commit" },
        { "too big and spoiled: the same word however it is cut",
          .in = EHLO MAIL RCPT "DATA\r\n" A1000 A100 "\n\r\n.\r\n",
          .replies = OPENED "354 550 5.5.2", .never = "commit" },
        { "the next message is not spoiled too",
          .in = EHLO MAIL RCPT "DATA\r\na\n\r\n.\r\n" MAIL RCPT "DATA\r\n.\r\n",
          .replies = OPENED "354 550 5.5.2 250 2.1.0 250 2.1.5 354 250 2.0.0" },
    };

    (void)state;
    PLAY(rows);
}

/* rule_16: what stands before and behind the dot in a false end. Behind it a message would be
 * smuggled. */
static void rule_16_false_ends_of_data_end_nothing(void **state)
{
    static const char *const ends[] = {
        "\n.\n",     "\n.\r\n",           "\r\n.\n",   "\r.\r",       "\n.\r",       "\r.\n",
        "\r.\r\n",   "\r\n.\r",           "\n\n.\r\n", "\r\n.\r\r\n", "\r\n.\n\r\n", "\r\r\n.\n",
        "\n.\r\r\n", "\r\n\r\r\n.\r\r\n",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
        char name[64], in[512];
        struct row row = { .name = name,
                           .in = in,
                           .replies = OPENED "354 550 5.5.2 250 2.0.0",
                           .never = "commit",
                           .trace = "abort" };

        snprintf(name, sizeof(name), "false end %zu", i);
        snprintf(in, sizeof(in),
                 EHLO MAIL RCPT "DATA\r\nfirst%s"
                                "MAIL FROM:<smuggled@b.c>\r\n" RCPT
                                "DATA\r\nsecond\r\n.\r\nNOOP\r\n",
                 ends[i]);
        play(&row, 1);
        /* And at the very beginning of the message, where the CRLF of DATA stands before it. */
        snprintf(in, sizeof(in),
                 EHLO MAIL RCPT "DATA\r\n%s"
                                "MAIL FROM:<smuggled@b.c>\r\n" RCPT
                                "DATA\r\nsecond\r\n.\r\nNOOP\r\n",
                 ends[i]);
        play(&row, 1);
    }
}

static void messages_by_bdat(void **state)
{
    static const struct row rows[] = {
        { "one chunk", .in = EHLO MAIL RCPT "BDAT 20 LAST\r\n" TEXT "NOOP\r\n",
          .replies = OPENED "250 2.0.0 250 2.0.0", .trace = "commit [" TEXT "]" },
        { "two chunks and an empty last",
          .in = EHLO MAIL RCPT "BDAT 12\r\nSubject: x\r\nbdat 8\r\n\r\nbody\r\nBDAT 0 last\r\n",
          .replies = OPENED "250 2.0.0 250 2.0.0 250 2.0.0", .trace = "commit [" TEXT "]" },
        { "CR and LF in two chunks", .in = EHLO MAIL RCPT "BDAT 2\r\na\rBDAT 1 LAST\r\n\n",
          .replies = OPENED "250 2.0.0 250 2.0.0", .trace = "commit [a\r\n]" },
        { "dots are octets like others", .in = EHLO MAIL RCPT "BDAT 8 LAST\r\n..\r\n.\r\n.",
          .replies = OPENED "250 2.0.0", .trace = "commit [..\r\n.\r\n.\r\n]" },
        { "an empty message", .in = EHLO MAIL RCPT "BDAT 0 LAST\r\n", .replies = OPENED "250 2.0.0",
          .trace = "commit []" },
        { "the last line gets its end", .in = EHLO MAIL RCPT "BDAT 1 LAST\r\na",
          .replies = OPENED "250 2.0.0", .trace = "commit [a\r\n]" },
        { "a bare LF", .in = EHLO MAIL RCPT "BDAT 4 LAST\r\na\n\r\nNOOP\r\n",
          .replies = OPENED "550 5.6.0 250 2.0.0", .never = "commit" },
        { "a bare CR at the end", .in = EHLO MAIL RCPT "BDAT 2 LAST\r\na\rNOOP\r\n",
          .replies = OPENED "550 5.6.0 250 2.0.0", .never = "commit" },
        { "a bare CR over two chunks; the second is counted",
          .in = EHLO MAIL RCPT "BDAT 2\r\na\rBDAT 5\r\nbQUITBDAT 6 LAST\r\nQUIT\r\n"
                               "NOOP\r\n",
          .replies = OPENED "250 2.0.0 550 5.6.0 503 5.5.1 250 2.0.0", .never = "commit" },
        { "without MAIL the octets are counted", .in = EHLO "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
          .replies = "250 503 5.5.1 250 2.0.0" },
        { "without EHLO too", .in = "BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
          .replies = "503 5.5.1 250 2.0.0" },
        { "without RCPT too", .in = EHLO MAIL "BDAT 6\r\nQUIT\r\nNOOP\r\n",
          .replies = "250 250 2.1.0 503 5.5.1 250 2.0.0" },
        { "all recipients refused",
          .in = EHLO MAIL "RCPT TO:<nobody@example.org>\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n",
          .replies = "250 250 2.1.0 550 5.1.1 554 5.5.1 250 2.0.0" },
        { "too big: read to the end",
          .in = EHLO MAIL RCPT "BDAT 1100 LAST\r\n" A1000 A100 "NOOP\r\n",
          .replies = OPENED "552 5.3.4 250 2.0.0", .never = "commit" },
        { "too big in the second chunk",
          .in = EHLO MAIL RCPT "BDAT 500\r\n" A500 "BDAT 600\r\n" A500 A100
                               "BDAT 4 LAST\r\nQUITNOOP\r\n",
          .replies = OPENED "250 2.0.0 552 5.3.4 503 5.5.1 250 2.0.0", .never = "commit" },
        { "disk full", .in = EHLO MAIL RCPT "BDAT 20\r\n" TEXT "NOOP\r\n", .room_bytes = 5,
          .replies = OPENED "452 4.3.1 250 2.0.0", .trace = "abort\nend" },
        { "disk full before the first chunk", .in = EHLO MAIL RCPT "BDAT 4 LAST\r\nQUITNOOP\r\n",
          .begin_result = -ENOSPC, .replies = OPENED "452 4.3.1 250 2.0.0" },
        { "DATA behind BDAT", .in = EHLO MAIL RCPT "BDAT 3\r\na\r\nDATA\r\nRSET\r\n",
          .replies = OPENED "250 2.0.0 503 5.5.1 250 2.0.0", .trace = "abort" },
        { "RCPT behind BDAT", .in = EHLO MAIL RCPT "BDAT 3\r\na\r\n" RCPT,
          .replies = OPENED "250 2.0.0 503 5.5.1" },
        { "MAIL behind BDAT", .in = EHLO MAIL RCPT "BDAT 3\r\na\r\n" MAIL,
          .replies = OPENED "250 2.0.0 503 5.5.1" },
        { "p3_vanished between chunks", .in = EHLO MAIL RCPT "BDAT 3\r\na\r\n",
          .replies = OPENED "250 2.0.0", .trace = "abort\nend id.1 bytes=3 client vanished",
          .never = "commit" },
        { "p3_vanished inside the last chunk", .in = EHLO MAIL RCPT "BDAT 30 LAST\r\n" TEXT,
          .replies = "250 250 2.1.0 250 2.1.5", .trace = "abort", .never = "commit" },
        { "p3_QUIT between chunks delivers nothing", .in = EHLO MAIL RCPT "BDAT 3\r\na\r\nQUIT\r\n",
          .replies = OPENED "250 2.0.0 221 2.0.0", .trace = "abort", .never = "commit",
          .closes = true },
        { "no size", .in = EHLO MAIL RCPT "BDAT\r\nQUIT\r\n", .replies = OPENED "501 5.5.4",
          .closes = true },
        { "no number", .in = EHLO MAIL RCPT "BDAT x LAST\r\nQUIT\r\n",
          .replies = OPENED "501 5.5.4", .closes = true },
        { "not LAST", .in = EHLO MAIL RCPT "BDAT 1 LEAST\r\nQUIT\r\n",
          .replies = OPENED "501 5.5.4", .closes = true },
        { "2^63", .in = EHLO MAIL RCPT "BDAT 9223372036854775808\r\nQUIT\r\n",
          .replies = OPENED "501 5.5.4", .closes = true },
    };

    (void)state;
    PLAY(rows);
}

static void logins(void **state)
{
    static const struct row rows[] = {
        { "PLAIN with an initial response", .in = EHLO LOGIN, .replies = "250 235 2.7.0",
          .trace = "login anna/secret" },
        { "PLAIN without", .in = EHLO "AUTH plain\r\nAGFubmEAc2VjcmV0\r\n",
          .replies = "250 334 235 2.7.0", .trace = "S: 334 \r\n" },
        { "PLAIN as oneself", .in = EHLO "AUTH PLAIN YW5uYQBhbm5hAHNlY3JldA==\r\n",
          .replies = "250 235 2.7.0" },
        { "PLAIN as somebody else", .in = EHLO "AUTH PLAIN YmVydABhbm5hAHNlY3JldA==\r\n",
          .replies = "250 535 5.7.8", .never = "login" },
        { "LOGIN", .in = EHLO "AUTH LOGIN\r\nYW5uYQ==\r\nc2VjcmV0\r\n",
          .replies = "250 334 334 235 2.7.0",
          .trace = "S: 334 VXNlcm5hbWU6\r\nS: 334 UGFzc3dvcmQ6\r\nlogin anna/secret" },
        { "LOGIN with an initial response", .in = EHLO "AUTH LOGIN YW5uYQ==\r\nc2VjcmV0\r\n",
          .replies = "250 334 235 2.7.0" },
        { "LOGIN with an empty initial response", .in = EHLO "AUTH LOGIN =\r\nc2VjcmV0\r\n",
          .replies = "250 334 535 5.7.8" },
        { "LOGIN with the name of no user at all, over 254 bytes",
          .in = EHLO "AUTH LOGIN " A100 A100 A100 A100 "\r\nc2VjcmV0\r\n",
          .replies = "250 334 535 5.7.8", .never = "login" },
        { "PLAIN with an empty response", .in = EHLO "AUTH PLAIN =\r\n",
          .replies = "250 501 5.5.2" },
        { "PLAIN without a second NUL", .in = EHLO "AUTH PLAIN AGFubmE=\r\n",
          .replies = "250 501 5.5.2" },
        { "PLAIN with a third NUL", .in = EHLO "AUTH PLAIN AGFubmEAc2VjcmV0AA==\r\n",
          .replies = "250 501 5.5.2" },
        { "no base64", .in = EHLO "AUTH PLAIN AGFubmEAc2Vjcm!!\r\nAUTH LOGIN\r\nx\r\n",
          .replies = "250 501 5.5.2 334 501 5.5.2" },
        { "cancelled",
          .in = EHLO "AUTH PLAIN\r\n*\r\nAUTH LOGIN\r\n*\r\nAUTH LOGIN\r\nYQ==\r\n*\r\nNOOP\r\n",
          .replies = "250 334 501 5.7.0 334 501 5.7.0 334 334 501 5.7.0 250 2.0.0",
          .never = "login" },
        { "a wrong password", .in = EHLO "AUTH PLAIN AGFubmEAd3Jvbmc=\r\n",
          .replies = "250 535 5.7.8" },
        { "users cannot be read", .in = EHLO LOGIN, .login_result = -EIO,
          .replies = "250 454 4.7.0" },
        { "another mechanism", .in = EHLO "AUTH CRAM-MD5\r\nAUTH\r\n",
          .replies = "250 504 5.5.4 501 5.5.4" },
        { "twice", .in = EHLO LOGIN LOGIN, .replies = "250 235 2.7.0 503 5.5.1" },
        { "inside a transaction", .in = EHLO MAIL LOGIN, .replies = "250 250 2.1.0 503 5.5.1",
          .never = "login" },
        { "in clear where that is not wanted", .in = EHLO LOGIN, .no_auth_in_clear = true,
          .replies = "250 538 5.7.11", .never = "login" },
        { "a spoiled line ends the exchange", .in = EHLO "AUTH PLAIN\r\nAG\rF\r\nNOOP\r\n",
          .replies = "250 334 500 5.5.2 250 2.0.0" },
        { "p7_a failed login closes after five",
          .in =
              EHLO "AUTH PLAIN AGEAYg==\r\nAUTH PLAIN AGEAYg==\r\n"
                   "AUTH PLAIN AGEAYg==\r\nAUTH PLAIN AGEAYg==\r\nAUTH PLAIN AGEAYg==\r\nNOOP\r\n",
          .replies = "250 535 5.7.8 535 5.7.8 535 5.7.8 535 5.7.8 535 5.7.8 421 4.7.0",
          .closes = true },
    };

    (void)state;
    PLAY(rows);
}

static void lines_over_12288_octets_are_dropped(void **state)
{
    static const struct {
        const char *beginning, *replies;
    } rows[] = {
        { EHLO "AUTH PLAIN\r\n", "250 334 500 5.5.6 250 2.0.0" },
        { EHLO, "250 500 5.5.2 250 2.0.0" },
        { EHLO MAIL "AUTH PLAIN ", "250 250 2.1.0 500 5.5.2 250 2.0.0" },
    };
    char in[14000];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct row row = { .name = rows[i].beginning, .in = in, .replies = rows[i].replies };

        snprintf(in, sizeof(in), "%s%012500d\r\nNOOP\r\n", rows[i].beginning, 0);
        play(&row, 1);
    }
}

static void a_session_knows_when_a_421_may_be_said(void **state)
{
    struct row row = { .name = "" };
    struct recorder recorder;
    struct smtp_session *session = &recorder.session;

    (void)state;
    set_up(&recorder, &row);
    smtp_session_init(session, &recorder.facts, &recorder_host, &recorder);
    assert_int_equal(smtp_session_greet(session), 0);
    assert_true(smtp_session_between_commands(session));
    smtp_session_feed(session, SPAN_LIT(EHLO MAIL RCPT "DATA\r\nx"));
    assert_false(smtp_session_between_commands(session));
    smtp_session_feed(session, SPAN_LIT("\r\n.\r\n"));
    assert_true(smtp_session_between_commands(session));
    smtp_session_feed(session, SPAN_LIT(MAIL RCPT "BDAT 5\r\n"));
    assert_false(smtp_session_between_commands(session));
    smtp_session_feed(session, SPAN_LIT("abc\r\nQUIT\r\n"));
    assert_false(smtp_session_between_commands(session));
    smtp_session_deinit(session);
    fflush(recorder.trace);
    assert_ptr_equal(strstr(recorder.trace_text, "S: 220 mail.example.org ESMTP Gatepost\r\n"),
                     recorder.trace_text);
    recorder_deinit(&recorder);
}

static int send_nothing(void *context, struct span reply)
{
    (void)context;
    (void)reply;
    return -EPIPE;
}

static void a_reply_that_cannot_be_sent_ends_the_session(void **state)
{
    struct smtp_host host = recorder_host;
    struct row row = { .name = "" };
    struct recorder recorder;

    (void)state;
    set_up(&recorder, &row);
    host.send = send_nothing;
    smtp_session_init(&recorder.session, &recorder.facts, &host, &recorder);
    assert_int_equal(smtp_session_feed(&recorder.session, SPAN_LIT("NOOP\r\nNOOP\r\n")), -EPIPE);
    smtp_session_deinit(&recorder.session);
    recorder_deinit(&recorder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_beginning_and_small_commands),
        cmocka_unit_test(lines_that_are_none),
        cmocka_unit_test(senders),
        cmocka_unit_test(recipients),
        cmocka_unit_test(messages_by_data),
        cmocka_unit_test(rule_16_false_ends_of_data_end_nothing),
        cmocka_unit_test(messages_by_bdat),
        cmocka_unit_test(logins),
        cmocka_unit_test(lines_over_12288_octets_are_dropped),
        cmocka_unit_test(a_session_knows_when_a_421_may_be_said),
        cmocka_unit_test(a_reply_that_cannot_be_sent_ends_the_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

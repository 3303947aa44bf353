/* The dialogue before a backend is needed: conversations in tables, each played whole, byte by byte
 * and in pieces of three.
 *
 * What comes out is one list of lines: replies as they are, and what the session would do in angle
 * brackets. A row names the beginning of each line, "|" between them; with "$" at its end the whole
 * line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/negotiate.h"

#define EHLO     "EHLO me\r\n"
#define EHLO_OUT "<LEARN>|250-|250-STARTTLS|250-SIZE|250 AUTH|"
#define TLS_ON   EHLO "STARTTLS\r\n"
#define TLS_OUT  EHLO_OUT "220 2.0.0|<TLS>|"

#define SMTP_LIST "250-old.example\r\n250-SIZE 1000\r\n250 AUTH PLAIN LOGIN NTLM\r\n"
#define POP3_LIST "+OK\r\nTOP\r\nUIDL\r\nUSER\r\nSASL PLAIN CRAM-MD5 EXTERNAL\r\nLANG\r\n.\r\n"

struct row {
    const char *name;
    const char *in; /* "~" stands for `fill` octets */
    size_t in_size; /* 0: strlen(in) */
    size_t fill;
    const char *out;
    const char *list; /* what the server says; NULL: the usual; "": it knows no EHLO or CAPA */
    enum require_tls require_tls;
    unsigned max_errors; /* 0: 10 */
    unsigned errors;     /* counted at the end, looked at where not 0 */
    bool tls, implicit_tls, no_tls, require_auth, apop, legacy_auth_line, no_other_ports;
    bool reads_login;
    uint64_t size_limit;
};

struct play {
    const struct row *row;
    struct dialogue_rule rule;
    struct negotiate negotiate;
    struct capabilities *list;
    struct line line;
    struct text out;
    bool closed;
};

static void set_up(struct play *play, const struct row *row, enum port_protocol protocol)
{
    bool pop3 = protocol == PROTOCOL_POP3;
    const char *list = row->list ? row->list : pop3 ? POP3_LIST : SMTP_LIST;

    play->row = row;
    play->rule = (struct dialogue_rule){
        .protocol = protocol,
        .hostname = "mail.example",
        .implicit_tls = row->implicit_tls,
        .tls_available = !row->no_tls,
        .require_tls = row->require_tls,
        .require_auth = row->require_auth,
        .legacy_auth_line = row->legacy_auth_line,
        .apop = row->apop,
        .reads_login = row->reads_login,
        .max_errors = row->max_errors ? row->max_errors : 10,
        .size_limit = row->size_limit,
        .port = row->implicit_tls ? 995 : 110,
        .implicit_port = row->no_other_ports ? 0 : 995,
        .starttls_port = row->no_other_ports ? 0 : 110,
    };
    if (list[0])
        assert_int_equal(capabilities_parse(protocol, span_of_text(list), &play->list), 0);
    else
        play->list = capabilities_new_none(protocol);
    assert_non_null(play->list);
    negotiate_init(&play->negotiate, &play->rule, row->tls);
    line_init(&play->line, pop3 ? LINE_LENIENT : LINE_STRICT,
              negotiate_line_limit(&play->negotiate));
}

/* A login that was read is replayed, and then it is over. */
static void note_login(struct play *play, struct span line)
{
    struct login *login = play->negotiate.login;
    char room[16];
    struct text nothing = TEXT_OVER(room);

    if (!login)
        return;
    text_puts(&play->out, "<LOGIN ");
    text_put(&play->out, negotiate_user(&play->negotiate));
    text_puts(&play->out, " BY ");
    text_put(&play->out, login_command(login)); /* with CRLF */
    assert_int_equal(negotiate_line(&play->negotiate, line, &nothing), NEGOTIATE_FORWARD);
    assert_int_equal(nothing.size, 0);
    negotiate_forget_login(&play->negotiate);
    assert_null(play->negotiate.login);
}

static void note_verdict(struct play *play, int verdict, struct span line)
{
    switch (verdict) {
    case NEGOTIATE_ANSWER:
        return;
    case NEGOTIATE_TLS:
        text_puts(&play->out, "<TLS>\r\n");
        negotiate_tls_done(&play->negotiate);
        assert_null(play->negotiate.hello);
        assert_null(play->negotiate.learned);
        assert_false(play->negotiate.offered);
        return;
    case NEGOTIATE_FORWARD:
        text_puts(&play->out, "<FORWARD ");
        text_put(&play->out, line);
        text_puts(&play->out, " AFTER ");
        text_put(&play->out, span_of(play->negotiate.hello, play->negotiate.hello_size));
        text_puts(&play->out, ">\r\n");
        note_login(play, line);
        return;
    case NEGOTIATE_CLOSE:
        text_puts(&play->out, "<CLOSE>\r\n");
        play->closed = true;
        return;
    default:
        fail_msg("%s: verdict %d", play->row->name, verdict);
    }
}

static void one_line(struct play *play, int result, struct span line)
{
    int verdict;

    if (result != LINE_READY) {
        verdict = negotiate_bad_line(&play->negotiate, result, &play->out);
    } else {
        verdict = negotiate_line(&play->negotiate, line, &play->out);
        if (verdict == NEGOTIATE_LEARN) {
            assert_null(play->negotiate.learned);
            text_puts(&play->out, "<LEARN>\r\n");
            play->negotiate.learned = play->list;
            verdict = negotiate_line(&play->negotiate, line, &play->out);
        }
    }
    note_verdict(play, verdict, line);
}

static void feed(struct play *play, struct span input, size_t piece)
{
    while (input.size > 0 && !play->closed) {
        size_t size = input.size < piece ? input.size : piece;
        unsigned char *copy = malloc(size); /* exact, so that the address sanitizer sees its end */
        struct span in = span_of(copy, size), line;
        int result;

        assert_non_null(copy);
        memcpy(copy, input.data, size);
        while (!play->closed && (play->line.limit = negotiate_line_limit(&play->negotiate),
                                 result = line_next(&play->line, &in, &line)) != LINE_MORE)
            one_line(play, result, line);
        free(copy);
        input = span_skip(input, size);
    }
}

/* Compares the lines that came with the beginnings that were expected. */
static void compare(const struct row *row, size_t piece, struct span out)
{
    struct span wanted = span_of_text(row->out), all = out;

    while (wanted.size > 0 || out.size > 0) {
        size_t end = span_find(out, '\n'), bar = span_find(wanted, '|');
        struct span line = span_first(out, end), start = span_first(wanted, bar);
        bool whole = start.size > 0 && start.data[start.size - 1] == '$';

        if (whole)
            start.size--;
        if (end == out.size || line.size == 0 || line.data[line.size - 1] != '\r')
            fail_msg("%s (pieces of %zu): no line for \"%.*s\" in:\n%.*s", row->name, piece,
                     (int)wanted.size, (const char *)wanted.data, (int)all.size,
                     (const char *)all.data);
        line.size--;
        if (wanted.size == 0 || !span_equal(span_first(line, start.size), start) ||
            (whole && line.size != start.size))
            fail_msg("%s (pieces of %zu): \"%.*s\" is not \"%.*s\" in:\n%.*s", row->name, piece,
                     (int)line.size, (const char *)line.data, (int)start.size,
                     (const char *)start.data, (int)all.size, (const char *)all.data);
        out = span_skip(out, end + 1);
        wanted = span_skip(wanted, bar + 1);
    }
}

/* The input with its "~" filled in, on the heap. */
static struct span input_of(const struct row *row)
{
    struct span in = span_of(row->in, row->in_size ? row->in_size : strlen(row->in));
    struct text into = { .room = in.size * (row->fill + 1) };

    into.data = malloc(into.room);
    assert_non_null(into.data);
    for (size_t i = 0; i < in.size; i++) {
        if (row->fill == 0 || in.data[i] != '~')
            text_put(&into, span_of(in.data + i, 1));
        for (size_t k = 0; in.data[i] == '~' && k < row->fill; k++)
            text_puts(&into, "a");
    }
    return text_span(&into);
}

static void play_row(const struct row *row, enum port_protocol protocol, size_t piece)
{
    struct span input = input_of(row);
    struct play play = { 0 };
    char room[32768];

    play.out = TEXT_OVER(room);
    set_up(&play, row, protocol);
    feed(&play, input, piece);
    assert_false(play.out.overflow);
    compare(row, piece, text_span(&play.out));
    if (row->errors)
        assert_int_equal(play.negotiate.errors, row->errors);
    free((void *)(uintptr_t)input.data);
    line_reset(&play.line);
    negotiate_deinit(&play.negotiate);
    capabilities_unref(play.list);
}

static void play_all(const struct row *rows, size_t count, enum port_protocol protocol)
{
    static const size_t pieces[] = { 1 << 20, 1, 3 };

    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < 3; k++)
            play_row(&rows[i], protocol, pieces[k]);
}

#define PLAY(rows, protocol) play_all(rows, sizeof(rows) / sizeof(rows[0]), protocol)

static const struct row smtp_rows[] = {
    { "rule 2: an unknown verb", "FOO bar\r\n", .out = "500 5.5.1", .errors = 1 },
    { "rule 2: an empty line", "\r\n", .out = "500 5.5.2", .errors = 1 },
    { "rule 2: a blank before the verb", " NOOP\r\n", .out = "500 5.5.2", .errors = 1 },
    { "rule 2: part of a verb is no verb", "NOO\r\nNOOPS\r\n", .out = "500 5.5.1|500 5.5.1" },
    { "rule 2: case of a verb does not matter", "nOoP\r\n", .out = "250 2.0.0" },
    { "rule 2: a bare LF is told at once, and what stands behind it up to CRLF is void",
      "NOOP\nNOOP\r\nNOOP\r\n", .out = "500 5.5.2|250", .errors = 1 },
    { "rule 2: a bare CR", "NOOP\rNOOP\r\nNOOP\r\n", .out = "500 5.5.2|250" },
    { "rule 2: a NUL", "NOOP \0\r\nNOOP\r\n", .in_size = 14, .out = "500 5.5.2|250" },
    { "rule 2: a bare LF inside MAIL is never forwarded", EHLO "MAIL FROM:<a@b>\nRCPT TO:<c>\r\n",
      .out = EHLO_OUT "500 5.5.2" },
    { "rule 2: a command of 512 octets", "NOOP ~\r\n", .fill = 505, .out = "250" },
    { "rule 2: a command of 513 octets", "NOOP ~\r\n", .fill = 506,
      .out = "500 5.5.2 Line too long", .errors = 1 },
    { "rule 2: an unknown command of 513 octets", "FOOO ~\r\n", .fill = 506,
      .out = "500 5.5.2 Line too long" },
    { "rule 2: MAIL of 2,048 octets", EHLO "MAIL FROM:<~>\r\n", .fill = 2034,
      .out = EHLO_OUT "<FORWARD MAIL FROM:<aa" },
    { "rule 2: MAIL of 2,049 octets", EHLO "MAIL FROM:<~>\r\n", .fill = 2035,
      .out = EHLO_OUT "500 5.5.2 Line too long" },
    { "rule 2: RCPT of 2,049 octets", EHLO "RCPT TO:<~>\r\n", .fill = 2037,
      .out = EHLO_OUT "500 5.5.2 Line too long" },
    { "rule 2: AUTH of 12,288 octets", EHLO "AUTH PLAIN ~\r\n", .fill = 12275,
      .out = EHLO_OUT "<FORWARD AUTH PLAIN aa" },
    { "rule 2: AUTH of 12,289 octets", EHLO "AUTH PLAIN ~\r\nNOOP\r\n", .fill = 12276,
      .out = EHLO_OUT "500 5.5.2 Line too long|250" },
    { "rule 2: behind an endless line the dialogue goes on", "~\r\nNOOP\r\n", .fill = 100000,
      .out = "500 5.5.2 Line too long|250" },
    { "rule 2: the third bad command is the last of three", "A\r\nB\r\nC\r\nNOOP\r\n",
      .max_errors = 3, .out = "500|500|500|421 4.7.0|<CLOSE>", .errors = 3 },
    { "rule 2: good commands between the bad do not reset the count", "A\r\nNOOP\r\nB\r\nNOOP\r\n",
      .max_errors = 2, .out = "500|250|500|421 4.7.0|<CLOSE>" },
    { "rule 2: lines over the limit and spoiled lines count too", "\n\r\nNOOP ~\r\n",
      .max_errors = 2, .fill = 510, .out = "500 5.5.2|500 5.5.2|421 4.7.0|<CLOSE>" },
    { "rule 2: ten bad commands by default",
      "A\r\nA\r\nA\r\nA\r\nA\r\nA\r\nA\r\nA\r\nA\r\nA\r\nA\r\n",
      .out = "500|500|500|500|500|500|500|500|500|500|421|<CLOSE>" },
    { "rule 2: GET", "GET / HTTP/1.1\r\nNOOP\r\n", .out = "<CLOSE>" },
    { "rule 2: POST", "POST / HTTP/1.1\r\n", .out = "<CLOSE>" },
    { "rule 2: PUT, HEAD, OPTIONS and CONNECT under TLS", "connect a:25 HTTP/1.1\r\n", .tls = true,
      .out = "<CLOSE>" },
    { "rule 2: HEAD where TLS is required", "HEAD / HTTP/1.1\r\n", .require_tls = REQUIRE_TLS_YES,
      .out = "<CLOSE>" },
    { "rule 2: a word that begins like one of HTTP", "GETS\r\n", .out = "500" },
    { "rule 4: errors are kept over STARTTLS", "A\r\n" TLS_ON "B\r\n", .max_errors = 2,
      .out = "500|" TLS_OUT "500|421|<CLOSE>" },
    { "rule 9: EHLO is answered from what was learned, with STARTTLS in the second line", EHLO,
      .out = "<LEARN>|250-mail.example$|250-STARTTLS$|250-SIZE 1000$|250 AUTH PLAIN LOGIN$" },
    { "rule 9: EHLO again needs no learning", EHLO EHLO,
      .out = EHLO_OUT "250-|250-STARTTLS|250-SIZE|250 AUTH" },
    { "rule 9: EHLO without an argument", "EHLO\r\n", .out = "501 5.5.4", .errors = 1 },
    { "rule 9: EHLO with blanks only", "EHLO  \t\r\n", .out = "501 5.5.4" },
    { "rule 9: EHLO in front of a server that knows only HELO", EHLO, .list = "",
      .out = "<LEARN>|250-mail.example$|250 STARTTLS$" },
    { "rule 9: the same under TLS is one line", EHLO, .list = "", .tls = true,
      .out = "<LEARN>|250 mail.example$" },
    { "rule 9: HELO is answered without learning, and shows no list", "HELO me\r\n",
      .out = "250 mail.example$" },
    { "rule 9: HELO without an argument", "HELO\r\n", .out = "501 5.5.4" },
    { "rule 9: the old line of AUTH for old clients", EHLO, .tls = true, .legacy_auth_line = true,
      .out = "<LEARN>|250-|250-SIZE|250-AUTH PLAIN LOGIN$|250 AUTH=PLAIN LOGIN$" },
    { "rule 10: STARTTLS with an argument", EHLO "STARTTLS now\r\n", .out = EHLO_OUT "501 5.5.4",
      .errors = 1 },
    { "rule 10: STARTTLS before EHLO", "STARTTLS\r\n", .out = "503 5.5.1" },
    { "rule 10: STARTTLS after HELO only", "HELO me\r\nSTARTTLS\r\n", .out = "250|503 5.5.1" },
    { "rule 10: STARTTLS after EHLO and then HELO", EHLO "HELO me\r\nSTARTTLS\r\n",
      .out = EHLO_OUT "250|503 5.5.1" },
    { "rule 10: STARTTLS where there is no TLS", EHLO "STARTTLS\r\n", .no_tls = true,
      .out = "<LEARN>|250-|250-SIZE|250 AUTH|502 5.5.1" },
    { "rule 10: STARTTLS under TLS", EHLO "STARTTLS\r\n", .tls = true,
      .out = "<LEARN>|250-|250-SIZE|250 AUTH|503 5.5.1" },
    { "rule 10: STARTTLS twice", TLS_ON EHLO "STARTTLS\r\n",
      .out = TLS_OUT "<LEARN>|250-|250-SIZE|250 AUTH|503 5.5.1" },
    { "rule 10: STARTTLS after EHLO", TLS_ON, .out = EHLO_OUT "220 2.0.0|<TLS>" },
    { "rule 10: STARTTLS in lower case with a blank behind it", EHLO "starttls \r\n",
      .out = TLS_OUT },
    { "rule 11: MAIL under TLS before a fresh EHLO", TLS_ON "MAIL FROM:<a@b>\r\n",
      .out = TLS_OUT "503 5.5.1" },
    { "rule 11: AUTH under TLS before a fresh EHLO", TLS_ON "AUTH PLAIN AAA=\r\n",
      .out = TLS_OUT "503 5.5.1" },
    { "rule 11: only the EHLO sent under TLS is replayed",
      "EHLO clear\r\nSTARTTLS\r\nEHLO hidden\r\nMAIL FROM:<a@b>\r\n",
      .out =
          TLS_OUT "<LEARN>|250-|250-SIZE|250 AUTH|<FORWARD MAIL FROM:<a@b> AFTER EHLO hidden>$" },
    { "rule 12: TLS required, commands that work", "HELO me\r\nNOOP\r\nHELP\r\nEHLO me\r\nQUIT\r\n",
      .require_tls = REQUIRE_TLS_YES,
      .out = "250|250|214|<LEARN>|250-|250-STARTTLS|250 SIZE|221|<CLOSE>" },
    { "rule 12: TLS required, MAIL", EHLO "MAIL FROM:<a@b>\r\n", .require_tls = REQUIRE_TLS_YES,
      .out = "<LEARN>|250-|250-STARTTLS|250 SIZE|530 5.7.0 Must issue a STARTTLS command first$" },
    { "rule 12: TLS required, others",
      "AUTH PLAIN\r\nRCPT TO:<a>\r\nDATA\r\nRSET\r\nVRFY a\r\nFOO\r\n",
      .require_tls = REQUIRE_TLS_YES,
      .out = "530 5.7.0|530 5.7.0|530 5.7.0|530 5.7.0|530 5.7.0|530 5.7.0", .errors = 6 },
    { "rule 12: TLS required, and it is there", EHLO "MAIL FROM:<a@b>\r\n", .tls = true,
      .require_tls = REQUIRE_TLS_YES, .out = "<LEARN>|250-|250-SIZE|250 AUTH|<FORWARD MAIL" },
    { "rule 12: TLS required to log in, AUTH is hidden and refused", EHLO "AUTH PLAIN AAA=\r\n",
      .require_tls = REQUIRE_TLS_AUTH, .out = "<LEARN>|250-|250-STARTTLS|250 SIZE|538 5.7.11" },
    { "rule 12: TLS required to log in, AUTH before EHLO", "AUTH PLAIN AAA=\r\n",
      .require_tls = REQUIRE_TLS_AUTH, .out = "538 5.7.11" },
    { "rule 12: TLS required to log in, MAIL passes", EHLO "MAIL FROM:<a@b>\r\n",
      .require_tls = REQUIRE_TLS_AUTH, .out = "<LEARN>|250-|250-STARTTLS|250 SIZE|<FORWARD MAIL" },
    { "rule 12: TLS required to log in, AUTH passes under TLS", EHLO "AUTH PLAIN AAA=\r\n",
      .tls = true, .require_tls = REQUIRE_TLS_AUTH,
      .out = "<LEARN>|250-|250-SIZE|250 AUTH|<FORWARD AUTH" },
    { "rule 13: a mechanism that is offered", EHLO "AUTH login\r\n",
      .out = EHLO_OUT "<FORWARD AUTH login AFTER EHLO me>$" },
    { "rule 13: a mechanism that the server has and the proxy strips", EHLO "AUTH NTLM\r\n",
      .out = EHLO_OUT "504 5.5.4" },
    { "rule 13: a mechanism that nobody has", EHLO "AUTH CRAM-MD5\r\n",
      .out = EHLO_OUT "504 5.5.4" },
    { "rule 13: AUTH without a mechanism", EHLO "AUTH\r\n", .out = EHLO_OUT "501 5.5.4" },
    { "rule 13: AUTH before EHLO", "AUTH PLAIN AAA=\r\n", .out = "503 5.5.1" },
    { "rule 13: AUTH after HELO", "HELO me\r\nAUTH PLAIN AAA=\r\n", .out = "250|503 5.5.1" },
    { "rule 13: only stripped mechanisms are no AUTH", EHLO "AUTH NTLM\r\n",
      .list = "250-x\r\n250-AUTH NTLM GSSAPI SCRAM-SHA-256-PLUS\r\n250 DSN\r\n", .tls = true,
      .out = "<LEARN>|250-|250 DSN$|502 5.5.1" },
    { "rule 13: AUTH of a server that has none", EHLO "AUTH PLAIN AAA=\r\n", .list = "250 x\r\n",
      .tls = true, .out = "<LEARN>|250 mail.example$|502 5.5.1" },
    { "rule 14: login required, the server has none: MAIL", EHLO "MAIL FROM:<a@b>\r\n",
      .list = "250-x\r\n250 DSN\r\n", .tls = true, .require_auth = true,
      .out = "<LEARN>|250-|250 DSN|454 4.7.0" },
    { "rule 14: login required, the server has none: AUTH", EHLO "AUTH PLAIN AAA=\r\n",
      .list = "250 x\r\n", .tls = true, .require_auth = true, .out = "<LEARN>|250 |454 4.7.0" },
    { "rule 14: login required, the server knows no EHLO: MAIL", EHLO "MAIL FROM:<a@b>\r\n",
      .list = "", .tls = true, .require_auth = true, .out = "<LEARN>|250 |454 4.7.0" },
    { "rule 14: login required: MAIL", EHLO "MAIL FROM:<a@b>\r\n", .require_auth = true,
      .out = EHLO_OUT "530 5.7.0 Authentication required$" },
    { "rule 14: login required: MAIL after HELO", "HELO me\r\nMAIL FROM:<a@b>\r\n",
      .require_auth = true, .out = "250|530 5.7.0 Authentication required$" },
    { "rule 14: login required: AUTH is forwarded", EHLO "AUTH PLAIN AAA=\r\n",
      .require_auth = true, .out = EHLO_OUT "<FORWARD AUTH" },
    { "rule 16: BDAT before MAIL closes, for its octets are no commands",
      EHLO "BDAT 10\r\nQUIT\r\nNOOP\r\n", .out = EHLO_OUT "503 5.5.1|<CLOSE>" },
    { "rule 16: BDAT of no octets", EHLO "BDAT 0 LAST\r\nNOOP\r\n",
      .out = EHLO_OUT "503 5.5.1|250" },
    { "rule 16: BDAT without a number that parses", EHLO "BDAT x\r\nNOOP\r\n",
      .out = EHLO_OUT "501 5.5.4|<CLOSE>" },
    { "rule 16: BDAT without a number", EHLO "BDAT\r\nNOOP\r\n",
      .out = EHLO_OUT "501 5.5.4|<CLOSE>" },
    { "rule 16: BDAT behind a MAIL that TLS is required for",
      "EHLO me\r\nMAIL FROM:<a@b>\r\nBDAT 6\r\nQUIT\r\n", .require_tls = REQUIRE_TLS_YES,
      .out = "<LEARN>|250-|250-STARTTLS|250 SIZE|530|530|<CLOSE>" },
    { "rule 17: SIZE is lowered", EHLO, .tls = true, .size_limit = 500,
      .out = "<LEARN>|250-|250-SIZE 500$|250 AUTH" },
    { "rule 17: parameters of MAIL are not touched", EHLO "mail from:<a@b> SIZE=99999 X=Y\r\n",
      .out = EHLO_OUT "<FORWARD mail from:<a@b> SIZE=99999 X=Y AFTER EHLO me>$" },
    { "rule 18: XCLIENT and XFORWARD", EHLO "XCLIENT ADDR=1.2.3.4\r\nXFORWARD NAME=x\r\n",
      .out = EHLO_OUT "550 5.7.0|550 5.7.0", .errors = 2 },
    { "section 4: MAIL before EHLO", "MAIL FROM:<a@b>\r\n", .out = "503 5.5.1" },
    { "section 4: MAIL after HELO", "HELO me\r\nMAIL FROM:<a@b>\r\n",
      .out = "250|<FORWARD MAIL FROM:<a@b> AFTER HELO me>$" },
    { "section 4: VRFY, EXPN and ETRN before EHLO", "VRFY a\r\nEXPN a\r\nETRN a\r\n",
      .out = "503 5.5.1|503 5.5.1|503 5.5.1" },
    { "section 4: VRFY, EXPN and ETRN", EHLO "VRFY a\r\nEXPN b\r\nETRN c\r\n",
      .out = EHLO_OUT "<FORWARD VRFY a AFTER EHLO me>$|<FORWARD EXPN b|<FORWARD ETRN c" },
    { "section 4: RCPT and DATA before MAIL", EHLO "RCPT TO:<a>\r\nDATA\r\n",
      .out = EHLO_OUT "503 5.5.1|503 5.5.1" },
    { "section 4: RSET, HELP and NOOP need no server", "RSET\r\nHELP me\r\nNOOP x\r\n",
      .out = "250 2.0.0|214 2.0.0|250 2.0.0" },
    { "section 4: RSET with an argument", "RSET x\r\n", .out = "501 5.5.4" },
    { "section 4: QUIT", "QUIT\r\nNOOP\r\n", .out = "221 2.0.0|<CLOSE>" },
    { "section 4: the latest hello is replayed",
      "EHLO one\r\nHELO two\r\nEHLO three\r\nMAIL FROM:<>\r\n",
      .out = EHLO_OUT
      "250|250-|250-STARTTLS|250-SIZE|250 AUTH|<FORWARD MAIL FROM:<> AFTER EHLO three>$" },
    { "rule 7: plain on a port that speaks TLS first: what leads to TLS",
      "NOOP\r\nHELO me\r\nEHLO me\r\nSTARTTLS\r\n", .implicit_tls = true,
      .out = "250|250|250-mail.example$|250 STARTTLS$|220|<TLS>" },
    { "rule 7: plain on a port that speaks TLS first: QUIT", "QUIT\r\n", .implicit_tls = true,
      .out = "221|<CLOSE>" },
    { "rule 7: plain on a port that speaks TLS first: the rest is told what to set",
      EHLO "MAIL FROM:<a>\r\nAUTH PLAIN\r\nFOO\r\nHELP\r\n", .implicit_tls = true, .errors = 4,
      .out = "250-|250 STARTTLS|530 5.7.0 This port speaks TLS first: set your mail program to "
             "SSL/TLS for port 995, or use STARTTLS on port 110$|530 5.7.0|530 5.7.0|530 5.7.0" },
    { "rule 7: where no other port is open, none is named", "MAIL FROM:<a>\r\n",
      .implicit_tls = true, .no_other_ports = true,
      .out =
          "530 5.7.0 This port speaks TLS first: set your mail program to SSL/TLS for port 995$" },
    { "rule 7: after STARTTLS there all works",
      "EHLO me\r\nSTARTTLS\r\nEHLO me\r\nMAIL FROM:<a>\r\n", .implicit_tls = true,
      .out = "250-|250 STARTTLS|220|<TLS>|<LEARN>|250-|250-SIZE|250 AUTH|<FORWARD MAIL" },
    { "rule 7: TLS on a port that speaks TLS first", EHLO "MAIL FROM:<a>\r\n", .implicit_tls = true,
      .tls = true, .out = "<LEARN>|250-|250-SIZE|250 AUTH|<FORWARD MAIL" },
};

#define JOE_PASS "AGpvZQBwYXNz" /* NUL joe NUL pass */

static const struct row smtp_login_rows[] = {
    { "PLAIN with an initial response", EHLO "AUTH PLAIN " JOE_PASS "\r\nNOOP\r\n",
      .out = EHLO_OUT "<FORWARD AUTH PLAIN|<LOGIN joe BY AUTH PLAIN " JOE_PASS "$|250" },
    { "PLAIN without", EHLO "AUTH plain\r\n" JOE_PASS "\r\n",
      .out = EHLO_OUT "334 $|<FORWARD " JOE_PASS " AFTER EHLO me>$|<LOGIN joe BY AUTH plain$" },
    { "LOGIN", EHLO "AUTH LOGIN\r\nam9l\r\ncGFzcw==\r\n",
      .out = EHLO_OUT "334 VXNlcm5hbWU6$|334 UGFzc3dvcmQ6$|<FORWARD cGFzcw==|<LOGIN joe BY AUTH "
                      "LOGIN$" },
    { "other mechanisms are refused", EHLO "AUTH CRAM-MD5\r\nAUTH NTLM\r\n", .errors = 2,
      .list = "250-x\r\n250 AUTH PLAIN CRAM-MD5 NTLM\r\n", .tls = true,
      .out = "<LEARN>|250-|250 AUTH|504 5.5.4|504 5.5.4" },
    { "one that the server does not offer is refused", EHLO "AUTH LOGIN\r\n", .tls = true,
      .list = "250-x\r\n250 AUTH PLAIN\r\n", .out = "<LEARN>|250-|250 AUTH|504 5.5.4" },
    { "cancelled, which is no error, and then in order",
      EHLO "AUTH PLAIN\r\n*\r\nAUTH PLAIN " JOE_PASS "\r\n", .max_errors = 1,
      .out = EHLO_OUT "334 $|501 5.7.0|<FORWARD|<LOGIN joe BY" },
    { "no base64 counts as an error", EHLO "AUTH PLAIN !\r\nAUTH PLAIN\r\n!\r\nNOOP\r\n",
      .out = EHLO_OUT "501 5.5.2|334 $|501 5.5.2|250", .errors = 2 },
    { "too many of them", EHLO "AUTH PLAIN\r\n!\r\n", .max_errors = 1,
      .out = EHLO_OUT "334|501 5.5.2|421 4.7.0|<CLOSE>" },
    { "an answer is no command, whatever it says", EHLO "AUTH PLAIN\r\nQUIT\r\nNOOP\r\n",
      .out = EHLO_OUT "334|501 5.5.2|250" },
    { "a verb of HTTP as an answer", EHLO "AUTH PLAIN\r\nGET /\r\nNOOP\r\n",
      .out = EHLO_OUT "334|501 5.5.2|250" },
    { "an answer of 12,288 octets", EHLO "AUTH PLAIN\r\n~\r\n", .fill = 12286,
      .out = EHLO_OUT "334|501 5.5.2 The login" },
    { "an answer of 12,289 octets ends the login", EHLO "AUTH PLAIN\r\n~\r\nNOOP\r\n",
      .fill = 12287, .out = EHLO_OUT "334|500 5.5.2 Line too long|250", .errors = 1 },
    { "a spoiled answer ends the login", EHLO "AUTH PLAIN\r\nab\rcd\r\nNOOP\r\n",
      .out = EHLO_OUT "334|500 5.5.2 A line|250", .errors = 1 },
    { "before EHLO there is no login", "AUTH PLAIN " JOE_PASS "\r\n", .out = "503 5.5.1" },
    { "nor before TLS where that is required", EHLO "AUTH PLAIN " JOE_PASS "\r\n",
      .require_tls = REQUIRE_TLS_AUTH, .out = "<LEARN>|250-|250-STARTTLS|250 SIZE|538 5.7.11" },
    { "mail without a login is nobody's", EHLO "MAIL FROM:<>\r\n",
      .out = EHLO_OUT "<FORWARD MAIL FROM:<> AFTER EHLO me>$" },
};

static const struct row pop3_login_rows[] = {
    { "USER and PASS", "USER  joe \r\nPASS x\r\n",
      .out = "+OK|<FORWARD PASS x AFTER USER  joe >$" },
    { "PLAIN with an initial response", "AUTH PLAIN " JOE_PASS "\r\nNOOP\r\n",
      .out = "<LEARN>|<FORWARD|<LOGIN joe BY AUTH PLAIN " JOE_PASS "$|+OK" },
    { "PLAIN without, behind a USER of another name", "USER ann\r\nAUTH PLAIN\r\n" JOE_PASS "\r\n",
      .out = "+OK|<LEARN>|+ $|<FORWARD " JOE_PASS " AFTER USER ann>$|<LOGIN joe BY AUTH PLAIN$" },
    { "LOGIN of a server that says nothing of SASL", "AUTH LOGIN\nam9l\ncGFzcw==\n",
      .list = "+OK\r\nTOP\r\n.\r\n",
      .out = "<LEARN>|+ VXNlcm5hbWU6$|+ UGFzc3dvcmQ6$|<FORWARD|<LOGIN joe BY AUTH LOGIN$" },
    { "another mechanism of such a server", "AUTH CRAM-MD5\r\n", .list = "+OK\r\nTOP\r\n.\r\n",
      .out = "<LEARN>|-ERR This mechanism", .errors = 1 },
    { "another mechanism that the server offers", "AUTH CRAM-MD5\r\n",
      .out = "<LEARN>|-ERR This mechanism", .errors = 1 },
    { "cancelled", "AUTH PLAIN\r\n*\r\nNOOP\r\n", .max_errors = 1,
      .out = "<LEARN>|+ $|-ERR The login was cancelled$|+OK" },
    { "no base64", "AUTH PLAIN\r\nPASS x\r\nNOOP\r\n", .errors = 1,
      .out = "<LEARN>|+ $|-ERR The login cannot be read$|+OK" },
    { "an answer may be longer than a command, and behind it the limit is that of commands again",
      "AUTH PLAIN\r\n~\r\nNOOP ~\r\n", .fill = 300, .errors = 2,
      .out = "<LEARN>|+ $|-ERR The login cannot be read$|-ERR line too long" },
    { "an answer that is too long", "AUTH PLAIN\r\n~\r\nNOOP\r\n", .fill = 12287, .errors = 1,
      .out = "<LEARN>|+ $|-ERR line too long$|+OK" },
    { "a command that is too long", "AUTH PLAIN ~\r\nNOOP\r\n", .fill = 300, .errors = 1,
      .out = "-ERR line too long$|+OK" },
};

#define PLAIN_CAPA                                                                                 \
    "<LEARN>|+OK|TOP$|UIDL$|USER$|SASL PLAIN CRAM-MD5$|LANG$|RESP-CODES$|AUTH-RESP-CODE$|"
#define CAPA_OUT PLAIN_CAPA "STLS$|.$|"

static const struct row pop3_rows[] = {
    { "rule 2: an unknown verb", "FOO\r\n", .out = "-ERR", .errors = 1 },
    { "rule 2: an unknown verb where TLS is required", "FOO\r\n", .require_tls = REQUIRE_TLS_YES,
      .out = "-ERR Unknown" },
    { "rule 2: an empty line", "\r\n", .out = "-ERR" },
    { "rule 2: a bare LF ends a line", "NOOP\nNOOP\r\nUSER a\nPASS b\n",
      .out = "+OK|+OK|+OK|<FORWARD PASS b AFTER USER a>$" },
    { "rule 2: a NUL in a name is never kept", "USER a\0b\r\nPASS b\r\n", .in_size = 18,
      .out = "-ERR|-ERR", .errors = 2 },
    { "rule 2: a CR in a password is never forwarded", "USER a\r\nPASS b\rQUIT\r\n",
      .out = "+OK|-ERR" },
    { "rule 2: a command of 255 octets", "NOOP ~\r\n", .fill = 248, .out = "+OK" },
    { "rule 2: a command of 256 octets", "NOOP ~\r\nNOOP\r\n", .fill = 249,
      .out = "-ERR line too long|+OK" },
    { "rule 2: a long line counts", "~\r\n~\n", .max_errors = 2, .fill = 2000,
      .out = "-ERR line too long|-ERR line too long|-ERR Too many|<CLOSE>" },
    { "rule 2: the words of HTTP", "OPTIONS * HTTP/1.1\r\nNOOP\r\n", .out = "<CLOSE>" },
    { "rule 2: too many errors", "A\r\nNOOP\r\nB\r\nC\r\n", .max_errors = 2,
      .out = "-ERR|+OK|-ERR|-ERR Too many|<CLOSE>" },
    { "rule 4: errors are kept over STLS", "A\r\nSTLS\r\nB\r\n", .max_errors = 2,
      .out = "-ERR|+OK|<TLS>|-ERR|-ERR|<CLOSE>" },
    { "rule 19: APOP where the server has none", "APOP a 00\r\n", .out = "-ERR", .errors = 1 },
    { "rule 19: APOP where the server has it", "APOP a 00\r\n", .apop = true,
      .out = "<FORWARD APOP a 00 AFTER >$" },
    { "rule 20: CAPA", "CAPA\r\nCAPA\r\n",
      .out = CAPA_OUT "+OK|TOP|UIDL|USER|SASL|LANG|RESP-CODES|AUTH-RESP-CODE|STLS|." },
    { "rule 20: CAPA under TLS shows no STLS", "CAPA\r\n", .tls = true, .out = PLAIN_CAPA ".$" },
    { "rule 20: CAPA where there is no TLS", "CAPA\r\n", .no_tls = true, .out = PLAIN_CAPA ".$" },
    { "rule 20: CAPA with an argument", "CAPA x\r\n", .out = "-ERR" },
    { "rule 20: CAPA where TLS is required shows no login", "CAPA\r\n",
      .require_tls = REQUIRE_TLS_YES,
      .out = "<LEARN>|+OK|TOP|UIDL|LANG|RESP-CODES|AUTH-RESP-CODE|STLS|.$" },
    { "rule 20: the same where it is required to log in", "CAPA\r\n",
      .require_tls = REQUIRE_TLS_AUTH,
      .out = "<LEARN>|+OK|TOP|UIDL|LANG|RESP-CODES|AUTH-RESP-CODE|STLS|.$" },
    { "rule 20: CAPA in front of a server without CAPA", "CAPA\r\n", .list = "",
      .out = "<LEARN>|+OK|USER|RESP-CODES|AUTH-RESP-CODE|STLS|.$" },
    { "rule 21: STLS with an argument", "STLS now\r\n", .out = "-ERR", .errors = 1 },
    { "rule 21: STLS under TLS", "STLS\r\n", .tls = true, .out = "-ERR TLS is on" },
    { "rule 21: STLS twice", "STLS\r\nSTLS\r\n", .out = "+OK|<TLS>|-ERR TLS is on" },
    { "rule 21: STLS where there is no TLS", "STLS\r\n", .no_tls = true,
      .out = "-ERR TLS is not available" },
    { "rule 21: STLS", "STLS\r\n", .out = "+OK Begin TLS negotiation$|<TLS>" },
    { "rule 21: a USER from before STLS is forgotten", "USER a\r\nSTLS\r\nPASS b\r\n",
      .out = "+OK|+OK|<TLS>|-ERR" },
    { "rule 21: the USER from after STLS counts", "USER a\r\nSTLS\r\nUSER c\r\nPASS b\r\n",
      .out = "+OK|+OK|<TLS>|+OK|<FORWARD PASS b AFTER USER c>$" },
    { "rule 21: CAPA after STLS is learned anew", "CAPA\r\nSTLS\r\nCAPA\r\n",
      .out = CAPA_OUT "+OK|<TLS>|" PLAIN_CAPA "." },
    { "rule 22: TLS required, login", "USER a\r\nPASS b\r\nAUTH PLAIN\r\nAUTH\r\nAPOP a 00\r\n",
      .require_tls = REQUIRE_TLS_YES, .apop = true, .errors = 5,
      .out = "-ERR [AUTH] Turn on TLS: use port 995, or STLS on port 110$|-ERR [AUTH]|-ERR "
             "[AUTH]|-ERR [AUTH]|-ERR [AUTH]" },
    { "rule 22: TLS required to log in", "USER a\r\n", .require_tls = REQUIRE_TLS_AUTH,
      .out = "-ERR [AUTH] Turn on TLS: use port 995, or STLS on port 110$" },
    { "rule 22: TLS required, no port to name", "USER a\r\n", .require_tls = REQUIRE_TLS_YES,
      .no_other_ports = true, .out = "-ERR [AUTH] Turn on TLS$" },
    { "rule 22: TLS required, what works", "NOOP\r\nLANG\r\nUTF8\r\nQUIT\r\n",
      .require_tls = REQUIRE_TLS_YES,
      .out = "+OK|<LEARN>|<FORWARD LANG|-ERR There is no UTF8|+OK|<CLOSE>" },
    { "rule 22: TLS required, and it is there", "USER a\r\nPASS b\r\n",
      .require_tls = REQUIRE_TLS_YES, .tls = true, .out = "+OK|<FORWARD PASS b AFTER USER a>$" },
    { "rule 22: PASS without USER", "PASS b\r\n", .out = "-ERR", .errors = 1 },
    { "rule 22: USER without a name", "USER\r\nUSER \r\n", .out = "-ERR|-ERR" },
    { "rule 22: PASS without a password", "USER a\r\nPASS\r\n", .out = "+OK|-ERR" },
    { "rule 22: the latest USER is replayed, as it was sent",
      "USER a\r\nuser  b c \r\nPASS x  y \r\n",
      .out = "+OK|+OK|<FORWARD PASS x  y  AFTER user  b c >$" },
    { "rule 22: QUIT before login", "QUIT\r\nNOOP\r\n", .out = "+OK|<CLOSE>" },
    { "section 4: AUTH alone lists the mechanisms that work", "AUTH\r\n",
      .out = "<LEARN>|+OK$|PLAIN$|CRAM-MD5$|.$" },
    { "section 4: AUTH alone where there is none", "AUTH\r\n", .list = "", .out = "<LEARN>|-ERR" },
    { "section 4: AUTH with a mechanism that is offered", "AUTH plain AAA=\r\n",
      .out = "<LEARN>|<FORWARD AUTH plain AAA=" },
    { "section 4: AUTH with a mechanism that is stripped", "AUTH EXTERNAL =\r\n",
      .out = "<LEARN>|-ERR" },
    { "section 4: AUTH EXTERNAL in front of a server without CAPA", "AUTH EXTERNAL =\r\n",
      .list = "", .out = "<LEARN>|-ERR" },
    { "section 4: AUTH PLAIN in front of a server without CAPA", "AUTH PLAIN\r\n", .list = "",
      .out = "<LEARN>|<FORWARD AUTH PLAIN" },
    { "section 4: AUTH with a mechanism that nobody has", "AUTH SCRAM-SHA-1\r\n",
      .out = "<LEARN>|-ERR" },
    { "section 4: the mailbox before login",
      "STAT\r\nLIST\r\nRETR 1\r\nDELE 1\r\nRSET\r\nTOP 1 1\r\nUIDL\r\nLAST\r\n",
      .out = "-ERR|-ERR|-ERR|-ERR|-ERR|-ERR|-ERR|-ERR", .errors = 8 },
    { "rule 7: plain on a port that speaks TLS first: what leads to TLS",
      "NOOP\r\nCAPA\r\nSTLS\r\n", .implicit_tls = true,
      .out = "+OK|+OK|RESP-CODES|AUTH-RESP-CODE|STLS|.|+OK|<TLS>" },
    { "rule 7: plain on a port that speaks TLS first: QUIT", "QUIT\r\n", .implicit_tls = true,
      .out = "+OK|<CLOSE>" },
    { "rule 7: plain on a port that speaks TLS first: the rest is told what to set",
      "USER a\r\nAPOP a b\r\nFOO\r\n", .implicit_tls = true, .errors = 3,
      .out = "-ERR [AUTH] This port speaks TLS first: set your mail program to SSL/TLS for port "
             "995, or use STLS on port 110$|-ERR [AUTH]|-ERR [AUTH]" },
    { "rule 7: after STLS there all works", "STLS\r\nUSER a\r\nPASS b\r\n", .implicit_tls = true,
      .out = "+OK|<TLS>|+OK|<FORWARD PASS b" },
};

static void smtp_conversations(void **state)
{
    (void)state;
    PLAY(smtp_rows, PROTOCOL_SMTP);
}

static void pop3_conversations(void **state)
{
    (void)state;
    PLAY(pop3_rows, PROTOCOL_POP3);
}

static void check_greeting(enum port_protocol protocol, bool implicit_tls, bool tls,
                           const char *wanted)
{
    struct dialogue_rule rule = {
        .protocol = protocol,
        .hostname = "mail.example",
        .implicit_tls = implicit_tls,
        .port = 995,
        .starttls_port = 110,
    };
    struct negotiate negotiate;
    char room[512];
    struct text reply = TEXT_OVER(room);

    negotiate_init(&negotiate, &rule, tls);
    negotiate_greeting(&negotiate, &reply);
    assert_string_equal(text_str(&reply), wanted);
    negotiate_deinit(&negotiate);
}

static void rule_8_and_rule_19_greetings(void **state)
{
    (void)state;
    check_greeting(PROTOCOL_SMTP, false, false, "220 mail.example ESMTP Gatepost ready\r\n");
    check_greeting(PROTOCOL_SMTP, true, true, "220 mail.example ESMTP Gatepost ready\r\n");
    check_greeting(PROTOCOL_POP3, false, true, "+OK mail.example Gatepost ready\r\n");
    check_greeting(PROTOCOL_POP3, true, false,
                   "+OK mail.example This port speaks TLS first: set your mail program to SSL/TLS "
                   "for port 995, or use STLS on port 110\r\n");
}

/* The beginnings of the last words, in both protocols. */
static const struct {
    const char *name;
    enum negotiate_event event;
    const char *smtp, *pop3;
} event_rows[] = {
    { "rule 3: surplus behind STARTTLS", NEGOTIATE_SURPLUS, "554 5.5.1 ", "-ERR Nothing" },
    { "rule 10, rule 21: no TLS now", NEGOTIATE_TLS_TEMPORARY, "454 4.7.0 ", "-ERR [SYS/TEMP] " },
    { "the server does not answer", NEGOTIATE_NO_BACKEND, "421 4.4.1 ", "-ERR [SYS/TEMP] " },
    { "rule 9: the server changed", NEGOTIATE_SERVER_CHANGED,
      "421 4.3.2 Server changed, please connect again\r\n", "-ERR [SYS/TEMP] " },
    { "rule 26: the server relays for anybody", NEGOTIATE_OPEN_RELAY,
      "554 5.7.1 This gate is not open: its server relays for anybody\r\n", "-ERR [SYS/PERM] " },
    { "rule 8: shutdown", NEGOTIATE_SHUTDOWN, "421 4.3.2 ", "-ERR [SYS/TEMP] " },
    { "the operator ends it", NEGOTIATE_KICKED,
      "421 4.3.2 This session was ended by the operator\r\n",
      "-ERR [SYS/TEMP] This session was ended by the operator\r\n" },
    { "rule 8: too many sessions", NEGOTIATE_TOO_MANY, "421 4.3.2 ", "-ERR [SYS/TEMP] " },
    { "rule 1, rule 23: time is up", NEGOTIATE_TIMEOUT, "421 4.4.2 ", "" },
    { "a client that talks before the greeting", NEGOTIATE_EARLY_TALKER, "554 5.5.1 ", "-ERR " },
    { "the server closed while it owed a reply", NEGOTIATE_BACKEND_LOST,
      "421 4.4.2 The mail server closed", "-ERR [SYS/TEMP] The mail server closed" },
    { "rule 24: garbage", NEGOTIATE_BACKEND_GARBAGE, "421 4.4.2 ", "-ERR [SYS/TEMP] " },
};

static void check_event(const char *name, enum port_protocol protocol, enum negotiate_event event,
                        const char *wanted)
{
    struct dialogue_rule rule = { .protocol = protocol, .hostname = "mail.example" };
    char room[512];
    struct text reply = TEXT_OVER(room);
    struct span said;

    negotiate_event(&rule, event, &reply);
    said = text_span(&reply);
    if (!span_equal(span_first(said, strlen(wanted)), span_of_text(wanted)))
        fail_msg("%s: %.*s", name, (int)said.size, (const char *)said.data);
    if (wanted[0] == '\0')
        assert_int_equal(said.size, 0);
    else
        assert_int_equal(span_search(said, SPAN_LIT("\r\n")), said.size - 2); /* one line */
}

static void last_words_are_one_line_in_the_words_of_the_protocol(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(event_rows) / sizeof(event_rows[0]); i++) {
        check_event(event_rows[i].name, PROTOCOL_SMTP, event_rows[i].event, event_rows[i].smtp);
        check_event(event_rows[i].name, PROTOCOL_POP3, event_rows[i].event, event_rows[i].pop3);
        check_event(event_rows[i].name, PROTOCOL_OPAQUE, event_rows[i].event, "");
    }
}

static void rule_13_a_login_that_chooses_the_server_is_read(void **state)
{
    struct row row;

    (void)state;
    for (size_t i = 0; i < sizeof(smtp_login_rows) / sizeof(row); i++) {
        row = smtp_login_rows[i];
        row.reads_login = true;
        play_all(&row, 1, PROTOCOL_SMTP);
    }
    for (size_t i = 0; i < sizeof(pop3_login_rows) / sizeof(row); i++) {
        row = pop3_login_rows[i];
        row.reads_login = true;
        play_all(&row, 1, PROTOCOL_POP3);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_13_a_login_that_chooses_the_server_is_read),
        cmocka_unit_test(smtp_conversations),
        cmocka_unit_test(pop3_conversations),
        cmocka_unit_test(rule_8_and_rule_19_greetings),
        cmocka_unit_test(last_words_are_one_line_in_the_words_of_the_protocol),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

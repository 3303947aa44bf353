/* One login that is read and replayed: conversations in tables, each played whole, byte by byte and
 * in pieces of three.
 *
 * What comes out is one text: the replies of ours, then "<name>" when all is there, then for each
 * line of the server "> " and what is replayed, or "< " and the line that the client sees. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/base/line.h"
#include "proxy/dialogue.h"
#include "proxy/login.h"

#define USERNAME "VXNlcm5hbWU6"
#define PASSWORD "UGFzc3dvcmQ6"
#define JOE      "am9l"             /* joe */
#define PASS     "cGFzcw=="         /* pass */
#define JOE_PASS "AGpvZQBwYXNz"     /* NUL joe NUL pass */
#define ANN_JOE  "YW5uAGpvZQBwYXNz" /* ann NUL joe NUL pass */

struct row {
    const char *name;
    const char *in;  /* lines of the client; "~" stands for `fill` times "YWFh", three letters a */
    const char *out; /* of ours, "|" behind each line */
    const char *server; /* lines of the server, "|" behind each; NULL: no replay */
    size_t fill;
    bool pop3;
};

static const struct row read_rows[] = {
    { "PLAIN with an initial response", "AUTH PLAIN " JOE_PASS "\r\n", .out = "<joe>|" },
    { "PLAIN without", "AUTH PLAIN\r\n" JOE_PASS "\r\n", .out = "334 |<joe>|" },
    { "LOGIN without an initial response", "AUTH LOGIN\r\n" JOE "\r\n" PASS "\r\n",
      .out = "334 " USERNAME "|334 " PASSWORD "|<joe>|" },
    { "LOGIN with one", "AUTH LOGIN " JOE "\r\n" PASS "\r\n", .out = "334 " PASSWORD "|<joe>|" },
    { "letter case of the words, and blanks around them",
      "auth  Login \t\r\n" JOE "\r\n" PASS "\r\n",
      .out = "334 " USERNAME "|334 " PASSWORD "|<joe>|" },
    { "a blank behind the initial response", "AUTH PLAIN " JOE_PASS " \r\n", .out = "<joe>|" },
    { "the authentication identity counts, not the authorization identity",
      "AUTH PLAIN " ANN_JOE "\r\n", .out = "<joe>|" },
    { "an empty password is the server's to judge", "AUTH PLAIN AGpvZQA=\r\n", .out = "<joe>|" },
    { "the same for LOGIN", "AUTH LOGIN " JOE "\r\n\r\n", .out = "334 " PASSWORD "|<joe>|" },
    { "a blank in a name", "AUTH LOGIN YSBi\r\n" PASS "\r\n", .out = "334 " PASSWORD "|<a b>|" },
    { "a name of 255 octets", "AUTH LOGIN ~\r\n" PASS "\r\n", .out = "334 " PASSWORD "|<~>|",
      .fill = 85 },
    { "a name of 258 octets", "AUTH LOGIN ~\r\n" PASS "\r\n", .out = "501 5.5.2|", .fill = 86 },
    { "an answer as long as a line may be", "AUTH LOGIN\r\n~\r\n",
      .out = "334 " USERNAME "|501 5.5.2|", .fill = 3071 },
    { "a password as long as a line may be", "AUTH LOGIN " JOE "\r\n~\r\n",
      .out = "334 " PASSWORD "|<joe>|", .fill = 3071 },
    { "PLAIN, and the client cancels", "AUTH PLAIN\r\n*\r\n", .out = "334 |501 5.7.0|" },
    { "LOGIN, and the client cancels at the name", "AUTH LOGIN\r\n*\r\n",
      .out = "334 " USERNAME "|501 5.7.0|" },
    { "LOGIN, and the client cancels at the password", "AUTH LOGIN\r\n" JOE "\r\n*\r\n",
      .out = "334 " USERNAME "|334 " PASSWORD "|501 5.7.0|" },
    { "a star as the initial response cancels nothing", "AUTH PLAIN *\r\n", .out = "501 5.5.2|" },
    { "two stars cancel nothing", "AUTH PLAIN\r\n**\r\n", .out = "334 |501 5.5.2|" },
    { "PLAIN with an empty initial response", "AUTH PLAIN =\r\n", .out = "501 5.5.2|" },
    { "LOGIN with an empty initial response", "AUTH LOGIN =\r\n", .out = "501 5.5.2|" },
    { "an equals sign as an answer is no base64", "AUTH PLAIN\r\n=\r\n", .out = "334 |501 5.5.2|" },
    { "an empty answer", "AUTH PLAIN\r\n\r\n", .out = "334 |501 5.5.2|" },
    { "an empty name", "AUTH LOGIN\r\n\r\n", .out = "334 " USERNAME "|501 5.5.2|" },
    { "no base64: a letter that it has not", "AUTH PLAIN\r\nAGpv!QBwYXNz\r\n",
      .out = "334 |501 5.5.2|" },
    { "no base64: without padding", "AUTH LOGIN\r\nam9lcw\r\n",
      .out = "334 " USERNAME "|501 5.5.2|" },
    { "no base64: a blank before it", "AUTH PLAIN\r\n " JOE_PASS "\r\n", .out = "334 |501 5.5.2|" },
    { "no base64: two words", "AUTH PLAIN " JOE_PASS " " JOE_PASS "\r\n", .out = "501 5.5.2|" },
    { "a password that is no base64", "AUTH LOGIN " JOE "\r\n???\r\n",
      .out = "334 " PASSWORD "|501 5.5.2|" },
    { "PLAIN without a NUL", "AUTH PLAIN " JOE "\r\n", .out = "501 5.5.2|" },
    { "PLAIN with one NUL", "AUTH PLAIN AGpvZQ==\r\n", .out = "501 5.5.2|" },
    { "PLAIN with three NULs", "AUTH PLAIN AGpvZQBwYQBzcw==\r\n", .out = "501 5.5.2|" },
    { "PLAIN without a name", "AUTH PLAIN AABwYXNz\r\n", .out = "501 5.5.2|" },
    { "LOGIN with a NUL in the name", "AUTH LOGIN YQBi\r\n", .out = "501 5.5.2|" },
    { "LOGIN with a CR in the name", "AUTH LOGIN YQ1i\r\n", .out = "501 5.5.2|" },
    { "LOGIN with an LF in the name", "AUTH LOGIN YQpi\r\n", .out = "501 5.5.2|" },
    { "PLAIN with an LF in the name", "AUTH PLAIN AGEKYgBwYXNz\r\n", .out = "501 5.5.2|" },
    { "POP3: PLAIN without an initial response", "AUTH PLAIN\r\n" JOE_PASS "\r\n",
      .out = "+ |<joe>|", .pop3 = true },
    { "POP3: LOGIN", "AUTH LOGIN\r\n" JOE "\n" PASS "\n",
      .out = "+ " USERNAME "|+ " PASSWORD "|<joe>|", .pop3 = true },
    { "POP3: cancelled", "AUTH PLAIN\r\n*\r\n", .out = "+ |-ERR The login was cancelled|",
      .pop3 = true },
    { "POP3: no base64", "AUTH PLAIN\r\nx\r\n", .out = "+ |-ERR The login cannot be read|",
      .pop3 = true },
    { "POP3: an empty initial response", "AUTH PLAIN =\r\n", .out = "-ERR|", .pop3 = true },
};

#define READ_PLAIN "AUTH PLAIN\r\n" JOE_PASS "\r\n", "334 |<joe>|> AUTH PLAIN|"
#define READ_LOGIN                                                                                 \
    "AUTH LOGIN\r\n" JOE "\r\n" PASS "\r\n", "334 " USERNAME "|334 " PASSWORD "|<joe>|> AUTH "     \
                                             "LOGIN|"
#define READ_LOGIN_JOE                                                                             \
    "AUTH LOGIN " JOE "\r\n" PASS "\r\n", "334 " PASSWORD "|<joe>|> AUTH LOGIN " JOE "|"

static const struct row replay_rows[] = {
    { "PLAIN with an initial response: nothing of the server is swallowed",
      "AUTH PLAIN " JOE_PASS "\r\n", "<joe>|> AUTH PLAIN " JOE_PASS "|< 235 2.7.0|",
      .server = "235 2.7.0|" },
    { "and not its challenge, which the client has not answered", "AUTH PLAIN " JOE_PASS "\r\n",
      "<joe>|> AUTH PLAIN " JOE_PASS "|< 334 |", .server = "334 |" },
    { "PLAIN: the one challenge", READ_PLAIN "> " JOE_PASS "|< 235 ok|", .server = "334 |235 ok|" },
    { "PLAIN: a challenge without a blank", READ_PLAIN "> " JOE_PASS "|< 235 ok|",
      .server = "334|235 ok|" },
    { "PLAIN: a challenge with words", READ_PLAIN "> " JOE_PASS "|", .server = "334 Z28gb24=|" },
    { "PLAIN: a second challenge goes to the client", READ_PLAIN "> " JOE_PASS "|< 334 eA==|",
      .server = "334 |334 eA==|" },
    { "PLAIN: refused at once, the password is not sent", READ_PLAIN "< 504 5.5.4 no|",
      .server = "504 5.5.4 no|334 |" },
    { "PLAIN: 535 instead of a challenge", READ_PLAIN "< 535 5.7.8|", .server = "535 5.7.8|" },
    { "PLAIN: 235 instead of a challenge", READ_PLAIN "< 235 2.7.0|", .server = "235 2.7.0|" },
    { "PLAIN: a code that begins like a challenge", READ_PLAIN "< 3344 x|", .server = "3344 x|" },
    { "PLAIN: a challenge of many lines is none", READ_PLAIN "< 334-x|", .server = "334-x|" },
    { "LOGIN: both challenges", READ_LOGIN "> " JOE "|> " PASS "|< 235 ok|",
      .server = "334 " USERNAME "|334 " PASSWORD "|235 ok|" },
    { "LOGIN: refused after the name, the password is not sent", READ_LOGIN "> " JOE "|< 535 no|",
      .server = "334 " USERNAME "|535 no|334 |" },
    { "LOGIN: other words, as old servers say them", READ_LOGIN "> " JOE "|> " PASS "|< 235|",
      .server = "334 VXNlciBOYW1lAA==|334 UGFzc3dvcmQA|235|" },
    { "LOGIN: a challenge that asks for the user's password", READ_LOGIN "> " JOE "|> " PASS "|",
      .server = "334 " USERNAME "|334 VXNlciBQYXNzd29yZDo=|" },
    { "LOGIN: a server that asks for the name twice never gets the password for it",
      READ_LOGIN "> " JOE "|< 334 " USERNAME "|",
      .server = "334 " USERNAME "|334 " USERNAME "|334 " PASSWORD "|" },
    { "LOGIN with a name: one challenge", READ_LOGIN_JOE "> " PASS "|< 235|",
      .server = "334 " PASSWORD "|235|" },
    { "LOGIN with a name that the server does not look at: it is asked for, and given",
      READ_LOGIN_JOE "> " JOE "|> " PASS "|< 235|",
      .server = "334 " USERNAME "|334 " PASSWORD "|235|" },
    { "but once", READ_LOGIN_JOE "> " JOE "|< 334 " USERNAME "|",
      .server = "334 " USERNAME "|334 " USERNAME "|334 " PASSWORD "|" },
    { "the name in lower case is asked for as well", READ_LOGIN_JOE "> " JOE "|> " PASS "|",
      .server = "334 dXNlcm5hbWU6|334 " PASSWORD "|" },
    { "POP3: PLAIN", "AUTH PLAIN\r\n" JOE_PASS "\r\n",
      "+ |<joe>|> AUTH PLAIN|> " JOE_PASS "|< +OK|", .server = "+ |+OK|", .pop3 = true },
    { "POP3: a challenge of one sign", "AUTH PLAIN\r\n" JOE_PASS "\r\n",
      "+ |<joe>|> AUTH PLAIN|> " JOE_PASS "|", .server = "+|", .pop3 = true },
    { "POP3: refused at once", "AUTH PLAIN\r\n" JOE_PASS "\r\n", "+ |<joe>|> AUTH PLAIN|< -ERR no|",
      .server = "-ERR no|+ |", .pop3 = true },
    { "POP3: +OK is no challenge", "AUTH PLAIN\r\n" JOE_PASS "\r\n", "+ |<joe>|> AUTH PLAIN|< +OK|",
      .server = "+OK|", .pop3 = true },
    { "POP3: lines that ended in LF alone are replayed with CRLF",
      "AUTH LOGIN\n" JOE "\n" PASS "\n",
      "+ " USERNAME "|+ " PASSWORD "|<joe>|> AUTH LOGIN|> " JOE "|> " PASS "|",
      .server = "+ " USERNAME "|+ " PASSWORD "|", .pop3 = true },
};

/* "~" filled in; on the heap. */
static struct text filled(const char *text, size_t fill, const char *with)
{
    struct text into = { .room = (strlen(text) + 1) * (fill * 4 + 1) };

    into.data = malloc(into.room);
    assert_non_null(into.data);
    for (; *text; text++) {
        if (*text != '~')
            text_put(&into, span_of(text, 1));
        for (size_t i = 0; *text == '~' && i < fill; i++)
            text_puts(&into, with);
    }
    assert_false(into.overflow);
    return into;
}

/* One replayed line, which must have its CRLF. */
static void note_replayed(struct text *out, struct span line)
{
    assert_true(line.size >= 2);
    assert_memory_equal(line.data + line.size - 2, "\r\n", 2);
    text_puts(out, "> ");
    text_put(out, span_first(line, line.size - 2));
    text_puts(out, "|");
}

static void replay(struct login *login, const char *server, struct text *out)
{
    struct span rest = span_of_text(server);

    note_replayed(out, login_command(login));
    while (rest.size > 0) {
        size_t end = span_find(rest, '|');
        char line[64];

        snprintf(line, sizeof(line), "%.*s\r\n", (int)end, (const char *)rest.data);
        rest = span_skip(rest, end + 1);
        if (!login_answers(login, span_of_text(line))) {
            assert_int_equal(login_next(login).size, 0);
            text_puts(out, "< ");
            text_put(out, span_of(line, end));
            text_puts(out, "|");
            return;
        }
        note_replayed(out, login_next(login));
        assert_int_equal(login_next(login).size, 0);
    }
}

/* One line of the client. False: the login is over. */
static bool one_line(const struct row *row, struct login *login, struct span line, struct text *out)
{
    char room[128];
    struct text reply = TEXT_OVER(room);
    int verdict = login_line(login, line, &reply);

    text_put(out, text_span(&reply));
    if (verdict != LOGIN_READY) {
        assert_true(reply.size > 0);
        assert_false(login_ready(login));
        text_puts(out, "|");
        return verdict == LOGIN_MORE;
    }
    assert_true(login_ready(login));
    assert_int_equal(reply.size, 0);
    text_puts(out, "<");
    text_put(out, login_user(login));
    text_puts(out, ">|");
    if (row->server)
        replay(login, row->server, out);
    return false;
}

/* Each line of `got` begins with the same line of `wanted`, and there are as many. */
static bool same_lines(struct span got, struct span wanted)
{
    while (got.size > 0 && wanted.size > 0) {
        struct span line = span_first(got, span_find(got, '|'));
        struct span start = span_first(wanted, span_find(wanted, '|'));

        if (!span_equal(span_first(line, start.size), start) ||
            (start.size > 0 && start.data[0] != '5' && start.data[0] != '-' &&
             line.size != start.size))
            return false;
        got = span_skip(got, line.size + 1);
        wanted = span_skip(wanted, start.size + 1);
    }
    return got.size == 0 && wanted.size == 0;
}

static void play(const struct row *row, size_t piece)
{
    struct text input = filled(row->in, row->fill, "YWFh");
    struct text wanted = filled(row->out, row->fill, "aaa");
    struct text out = { .data = malloc(65536), .room = 65536 };
    struct login *login = login_new(row->pop3 ? PROTOCOL_POP3 : PROTOCOL_SMTP);
    struct span rest = text_span(&input);
    struct line cut;
    bool more = true;

    assert_non_null(login);
    assert_non_null(out.data);
    line_init(&cut, row->pop3 ? LINE_LENIENT : LINE_STRICT, AUTH_LINE_MAX);
    while (more && rest.size > 0) {
        struct span in = span_first(rest, piece), line;

        rest = span_skip(rest, in.size);
        while (more && line_next(&cut, &in, &line) == LINE_READY)
            more = one_line(row, login, line, &out);
    }
    assert_false(out.overflow);
    if (!same_lines(text_span(&out), text_span(&wanted)))
        fail_msg("%s (pieces of %zu): %.*s is not %.*s", row->name, piece, (int)out.size, out.data,
                 (int)wanted.size, wanted.data);
    line_reset(&cut);
    login_free(login);
    free(input.data);
    free(wanted.data);
    free(out.data);
}

#define PLAY(rows)                                                                                 \
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {                                  \
        play(&rows[i], SIZE_MAX);                                                                  \
        play(&rows[i], 1);                                                                         \
        play(&rows[i], 3);                                                                         \
    }

static void rule_13_a_login_is_read_to_its_name_or_refused_in_words(void **state)
{
    (void)state;
    PLAY(read_rows);
}

static void rule_13_a_server_gets_what_it_asks_for_and_nothing_else(void **state)
{
    (void)state;
    PLAY(replay_rows);
}

static void only_mechanisms_that_show_the_name_can_be_read(void **state)
{
    (void)state;
    assert_true(login_reads(SPAN_LIT("PLAIN")));
    assert_true(login_reads(SPAN_LIT("login")));
    assert_false(login_reads(SPAN_LIT("")));
    assert_false(login_reads(SPAN_LIT("PLAI")));
    assert_false(login_reads(SPAN_LIT("PLAINS")));
    assert_false(login_reads(SPAN_LIT("CRAM-MD5")));
    assert_false(login_reads(SPAN_LIT("XOAUTH2")));
    assert_false(login_reads(SPAN_LIT("SCRAM-SHA-256")));
}

static void nothing_is_freed_twice_and_no_login_is_no_fault(void **state)
{
    (void)state;
    login_free(NULL);
    login_free(login_new(PROTOCOL_POP3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_13_a_login_is_read_to_its_name_or_refused_in_words),
        cmocka_unit_test(rule_13_a_server_gets_what_it_asks_for_and_nothing_else),
        cmocka_unit_test(only_mechanisms_that_show_the_name_can_be_read),
        cmocka_unit_test(nothing_is_freed_twice_and_no_login_is_no_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The canned server's dialogue: what it says to what. Each row is taken whole, as far as a row may
 * be, and one octet at a time. "%M" in a row stands for a message of 1 KiB in phase 5, "%W" for one
 * with a wrong octet, number 100. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/base/text.h"
#include "tools/bench/sink_session.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define ROOM        8192

static const struct row {
    enum sink_protocol protocol;
    const char *in, *out;
    int result;
    bool closing;
} rows[] = {
    { SINK_POP3, "", "+OK sink ready\r\n", 0, false },
    { SINK_POP3, "noop\r\n", "+OK sink ready\r\n+OK\r\n", 0, false },
    { SINK_POP3, "RETR 1005\r\n", "+OK sink ready\r\n+OK 1024 octets\r\n%M.\r\n", 0, false },
    { SINK_POP3, "LIST\r\nLIST 4\r\n",
      "+OK sink ready\r\n+OK 2 messages\r\n1 1024\r\n4 4096\r\n.\r\n+OK 4 4096\r\n", 0, false },
    { SINK_POP3, "AUTH PLAIN\r\nAGEAYg==\r\n", "+OK sink ready\r\n+ \r\n+OK logged in\r\n", 0,
      false },
    { SINK_POP3, "XYZZY\r\n\r\n",
      "+OK sink ready\r\n-ERR unknown command\r\n-ERR unknown command\r\n", 0, false },
    { SINK_POP3, "QUIT\r\n", "+OK sink ready\r\n+OK bye\r\n", 0, true },
    { SINK_SMTP, "MAIL FROM:<5.1024@bench.example>\r\nDATA\r\n%M.\r\n",
      "220 sink.example ESMTP\r\n250 2.1.0 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
      "250 2.0.0 Ok: queued as SINK\r\n",
      0, false },
    { SINK_SMTP, "MAIL FROM:<5.1024@bench.example>\r\nDATA\r\n%W.\r\n",
      "220 sink.example ESMTP\r\n250 2.1.0 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
      "554 5.6.0 octet 100 of 1024 is wrong\r\n",
      0, false },
    { SINK_SMTP, "MAIL FROM:<6.1024@bench.example>\r\nBDAT 1024 LAST\r\n%M",
      "220 sink.example ESMTP\r\n250 2.1.0 Ok\r\n554 5.6.0 octet 0 of 1024 is wrong\r\n", 0,
      false },
    { SINK_SMTP, "MAIL FROM:<5.1024@bench.example>\r\nBDAT 1024\r\n%MBDAT 0 LAST\r\n",
      "220 sink.example ESMTP\r\n250 2.1.0 Ok\r\n250 2.0.0 Ok\r\n250 2.0.0 Ok: queued as SINK\r\n",
      0, false },
    { SINK_SMTP, "MAIL FROM:<5.2048@bench.example>\r\nBDAT 1024 LAST\r\n%M",
      "220 sink.example ESMTP\r\n250 2.1.0 Ok\r\n554 5.6.0 octet 0 of 2048 is wrong\r\n", 0,
      false },
    { SINK_SMTP, "MAIL FROM:<anna@example.org>\r\nDATA\r\nwhatever\r\n.\r\n",
      "220 sink.example ESMTP\r\n250 2.1.0 Ok\r\n354 End data with <CR><LF>.<CR><LF>\r\n"
      "250 2.0.0 Ok: queued as SINK\r\n",
      0, false },
    { SINK_SMTP, "AUTH LOGIN\r\nYQ==\r\nYg==\r\n",
      "220 sink.example ESMTP\r\n334 \r\n334 \r\n235 2.7.0 Authentication successful\r\n", 0,
      false },
    { SINK_SMTP, "AUTH PLAIN AGEAYg==\r\n",
      "220 sink.example ESMTP\r\n235 2.7.0 Authentication successful\r\n", 0, false },
    { SINK_SMTP, "BDAT much\r\n", "220 sink.example ESMTP\r\n501 5.5.4 BDAT needs a size\r\n", 0,
      false },
    { SINK_NGINX_AUTH, "GET / HTTP/1.0\r\nAuth-Protocol: smtp\r\n\r\n",
      "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: 25\r\n\r\n", 0,
      true },
    { SINK_NGINX_AUTH, "GET / HTTP/1.0\r\nAuth-Protocol: pop3\r\n\r\n",
      "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: 110\r\n\r\n", 0,
      true },
};

/* The row's text with its messages. */
static struct span expand(const char *pattern, char *room)
{
    static const struct message message = { 1024, 5 };
    struct text text = { room, 0, ROOM, false };

    for (; *pattern; pattern++) {
        if (*pattern != '%') {
            text_put(&text, span_of(pattern, 1));
            continue;
        }
        text_put(&text, message_piece(&message, 0));
        if (*++pattern == 'W')
            room[text.size - 1024 + 100] ^= 1;
    }
    assert_false(text.overflow);
    return text_span(&text);
}

static int feed(struct sink_session *session, struct span in, size_t step, struct text *out)
{
    int result = 0;

    for (;;) {
        struct span pieces[SINK_PIECES];
        size_t count;

        while ((count = sink_session_pieces(session, pieces)) > 0) {
            struct span piece = span_first(pieces[0], step); /* as a socket with little room */

            text_put(out, piece);
            sink_session_advance(session, piece.size);
        }
        if (in.size == 0 || result < 0 || session->closing)
            return result;
        result = sink_session_take(session, span_first(in, step));
        in = span_skip(in, step);
    }
}

static void check(const struct row *row, size_t step)
{
    static const struct sink_ports ports = { .pop3 = 110, .smtp = 25 };
    char in_room[ROOM], expected_room[ROOM], out_room[ROOM];
    struct text out = TEXT_OVER(out_room);
    struct span expected = expand(row->out, expected_room);
    struct sink_session session;

    sink_session_init(&session, row->protocol, &ports);
    if (feed(&session, expand(row->in, in_room), step, &out) != row->result ||
        session.closing != row->closing)
        fail_msg("\"%s\" by %zu: result or end", row->in, step);
    if (!span_equal(text_span(&out), expected))
        fail_msg("\"%s\" by %zu: %s", row->in, step, text_str(&out));
    sink_session_deinit(&session);
}

static void everything_is_answered_as_the_table_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        check(&rows[i], SIZE_MAX);
        check(&rows[i], 1);
    }
}

static void a_command_that_comes_while_a_message_is_sent_is_an_error(void **state)
{
    static const struct sink_ports ports = { .pop3 = 0, .smtp = 0 };
    struct sink_session session;

    (void)state;
    sink_session_init(&session, SINK_POP3, &ports);
    assert_true(sink_session_take(&session, SPAN_LIT("RETR 1000\r\nNOOP\r\n")) < 0);
    sink_session_deinit(&session);
}

static void a_client_that_floods_is_closed_and_nothing_is_overrun(void **state)
{
    static const struct sink_ports ports = { .pop3 = 0, .smtp = 0 };
    struct sink_session session;

    (void)state;
    sink_session_init(&session, SINK_POP3, &ports);
    for (int i = 0; i < 1000 && !session.closing; i++)
        assert_int_equal(sink_session_take(&session, SPAN_LIT("CAPA\r\n")), 0);
    assert_true(session.closing);
    assert_true(session.out_size <= sizeof(session.out));
    sink_session_deinit(&session);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_is_answered_as_the_table_says),
        cmocka_unit_test(a_command_that_comes_while_a_message_is_sent_is_an_error),
        cmocka_unit_test(a_client_that_floods_is_closed_and_nothing_is_overrun),
    };

    message_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Replies of POP3 and SMTP servers: where they end, and whether they say yes. Each row is taken
 * whole, and one octet at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tools/bench/reply.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct row {
    bool smtp;
    const char *in;
    int result;
    const char *left;
} rows[] = {
    { false, "+OK ready\r\n", REPLY_YES, "" },
    { false, "+ \r\n", REPLY_YES, "" },
    { false, "+OK\r\nline\r\n.\r\n", REPLY_YES, "line\r\n.\r\n" },
    { false, "+OK ready", REPLY_MORE, "" },
    { false, "-ERR no\r\n", REPLY_NO, "" },
    { false, "\r\n", REPLY_NO, "" },
    { false, "OK\r\n", REPLY_NO, "" },
    { false, "250 Ok\r\n", REPLY_NO, "" },
    { true, "220 sink.example\r\n", REPLY_YES, "" },
    { true, "354 go on\r\n250 x", REPLY_YES, "250 x" },
    { true, "250-one\r\n250-two\r\n250 three\r\n", REPLY_YES, "" },
    { true, "250-one\r\n250-two\r\n", REPLY_MORE, "" },
    { true, "250\r\n", REPLY_YES, "" },
    { true, "25\n", REPLY_NO, "" },
    { true, "421 busy\r\n", REPLY_NO, "" },
    { true, "550-no\r\n550 no\r\n", REPLY_NO, "550 no\r\n" },
    { true, "250-one\r\n451 lost\r\n", REPLY_NO, "" },
    { true, "+OK\r\n", REPLY_NO, "" },
    { true, "\r\n", REPLY_NO, "" },
};

static void check(const struct row *row, size_t step)
{
    struct reply reply = { .column = 0 };
    struct span left = span_of_text(row->in);
    int result = REPLY_MORE;

    while (left.size > 0 && result == REPLY_MORE) {
        struct span in = span_first(left, step);
        size_t before = in.size;

        result = reply_take(&reply, row->smtp, &in);
        left = span_skip(left, before - in.size);
    }
    if (result != row->result || !span_equal(left, span_of_text(row->left)))
        fail_msg("\"%s\" by %zu: %d, %zu octets left", row->in, step, result, left.size);
}

static void replies_end_where_they_end_and_say_what_they_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        check(&rows[i], SIZE_MAX);
        check(&rows[i], 1);
    }
}

static void the_next_reply_is_judged_by_itself(void **state)
{
    struct reply reply = { .column = 0 };
    struct span in = SPAN_LIT("550 no\r\n250 yes\r\n");

    (void)state;
    assert_int_equal(reply_take(&reply, true, &in), REPLY_NO);
    assert_int_equal(reply_take(&reply, true, &in), REPLY_YES);
    assert_int_equal(in.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_end_where_they_end_and_say_what_they_say),
        cmocka_unit_test(the_next_reply_is_judged_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

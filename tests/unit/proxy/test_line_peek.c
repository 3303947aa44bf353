/* Lines that are looked at before they are taken: the same lines as line_next() gives, whatever the
 * input and however it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/base/text.h"
#include "proxy/line_peek.h"

static void note(struct text *text, int result, struct span line)
{
    text_printf(text, "%d:", result);
    if (result == LINE_READY)
        text_put(text, line);
    text_puts(text, "|");
}

static void read_with_next(struct line *line, struct span in, struct text *text)
{
    struct span got;
    int r;

    while (in.size > 0) {
        r = line_next(line, &in, &got);
        assert_true(r > 0);
        if (r != LINE_MORE)
            note(text, r, got);
    }
}

/* Each line is looked at twice before it is taken. */
static void read_with_peek(struct line *line, struct span in, struct text *text)
{
    struct line_ahead ahead, again;
    struct span unused;

    while (in.size > 0) {
        int r = line_peek(line, &in, &ahead);

        assert_true(r > 0);
        if (r == LINE_MORE) {
            assert_int_equal(in.size, 0);
            return;
        }
        assert_true(in.size > 0);
        assert_int_equal(line_peek(line, &in, &again), r);
        if (r == LINE_SPOILED) {
            r = line_next(line, &in, &unused);
            assert_true(r == LINE_SPOILED || r == LINE_TOO_LONG);
            note(text, r, unused);
            continue;
        }
        assert_true(span_equal(again.line, ahead.line));
        note(text, r, ahead.line);
        if (ahead.raw.data)
            assert_memory_equal(ahead.raw.data, in.data, ahead.raw.size);
        assert_int_equal(line_take(line, &in, &ahead), 0);
    }
}

static void compare(enum line_mode mode, struct span in, size_t cut)
{
    char room[2][256];
    struct text next = TEXT_OVER(room[0]), peek = TEXT_OVER(room[1]);
    struct line a, b;

    line_init(&a, mode, 5);
    line_init(&b, mode, 5);
    read_with_next(&a, span_first(in, cut), &next);
    read_with_next(&a, span_skip(in, cut), &next);
    read_with_peek(&b, span_first(in, cut), &peek);
    read_with_peek(&b, span_skip(in, cut), &peek);
    assert_string_equal(text_str(&next), text_str(&peek));
    assert_int_equal(line_unfinished(&a), line_unfinished(&b));
    line_reset(&a);
    line_reset(&b);
}

/* All strings of up to seven of the octets that matter, cut in two at each place; the longest line
 * has three octets. */
static void peeking_gives_the_lines_that_taking_gives(void **state)
{
    static const unsigned char alphabet[] = { '\r', '\n', 'a', '\0' };
    unsigned char in[8];

    (void)state;
    for (unsigned length = 0; length <= 7; length++) {
        for (unsigned long number = 0; number < 1ul << (2 * length); number++) {
            for (unsigned i = 0; i < length; i++)
                in[i] = alphabet[number >> (2 * i) & 3];
            for (size_t cut = 0; cut <= length; cut++) {
                compare(LINE_STRICT, span_of(in, length), cut);
                compare(LINE_LENIENT, span_of(in, length), cut);
            }
        }
    }
}

static void a_line_that_came_in_parts_is_let_go_when_taken(void **state)
{
    struct span first = SPAN_LIT("PASS se"), rest = SPAN_LIT("cret\r\n");
    struct line_ahead ahead;
    struct line line;

    (void)state;
    line_init(&line, LINE_LENIENT, 255);
    assert_int_equal(line_peek(&line, &first, &ahead), LINE_MORE);
    assert_int_equal(line_peek(&line, &rest, &ahead), LINE_READY);
    assert_true(span_equal(ahead.line, SPAN_LIT("PASS secret")));
    assert_null(ahead.raw.data);
    assert_int_equal(rest.size, 1);
    assert_int_equal(line_take(&line, &rest, &ahead), 0);
    assert_int_equal(rest.size, 0);
    assert_null(line.held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(peeking_gives_the_lines_that_taking_gives),
        cmocka_unit_test(a_line_that_came_in_parts_is_let_go_when_taken),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

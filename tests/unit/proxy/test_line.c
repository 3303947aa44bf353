/* Cutting lines: rows of octets and what they are cut into, fed whole, byte by byte and in pieces
 * of three and seven. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/base/line.h"
#include "proxy/base/text.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define LIMIT       10 /* octets of the longest line, with its line end */

static const struct row {
    const char *name;
    const char *in;
    size_t in_size; /* 0: strlen(in) */
    const char
        *strict; /* lines in brackets, "S" spoiled, "L" too long, "+" at the end: unfinished */
    const char *lenient; /* the same; NULL: equal to strict */
} rows[] = {
    { "nothing", "", 0, "", NULL },
    { "a line", "ab\r\n", 0, "[ab]", NULL },
    { "an empty line", "\r\n", 0, "[]", NULL },
    { "two lines", "a\r\nb\r\n", 0, "[a][b]", NULL },
    { "the beginning of a line", "a\r\nb", 0, "[a]+", NULL },
    { "only a CR", "\r", 0, "+", NULL },
    { "a line up to its CR", "a\r", 0, "+", NULL },
    { "octets from 0x80 up", "\xc3\xa4\xff\r\n", 0, "[\\xc3\\xa4\\xff]", NULL },
    { "rule 2: a bare LF", "a\nb\r\nc\r\n", 0, "S[c]", "[a][b][c]" },
    { "rule 2: only a bare LF", "\n", 0, "S+", "[]" },
    { "rule 2: two bare LF", "a\nb\nc\r\nd\r\n", 0, "SS[d]", "[a][b][c][d]" },
    { "rule 2: a bare LF, then CRLF at once", "a\n\r\nb\r\n", 0, "S[b]", "[a][][b]" },
    { "rule 2: a bare CR", "a\rb\r\nc\r\n", 0, "S[c]", "[a\\x0db][c]" },
    { "rule 2: two CR before LF", "a\r\r\nc\r\n", 0, "S[c]", "[a\\x0d][c]" },
    { "rule 2: a CR, then a line", "\ra\r\n", 0, "S", "[\\x0da]" },
    { "rule 2: a NUL", "a\0b\r\nc\r\n", 8, "S[c]", "[a\\x00b][c]" },
    { "rule 2: a NUL at the end", "a\0\r\n", 4, "S", "[a\\x00]" },
    { "rule 2: behind a bare LF a bare CR does not end the void", "a\nb\rc\r\nd\r\n", 0, "S[d]",
      "[a][b\\x0dc][d]" },
    { "rule 2: a false end of data", "a\r\n.\nb\r\n", 0, "[a]S", "[a][.][b]" },
    { "rule 2: LF CR", "a\n\rb\r\nc\r\n", 0, "S[c]", "[a][\\x0db][c]" },
    { "rule 2: the longest line", "12345678\r\n", 0, "[12345678]", NULL },
    { "rule 2: a line of one octet more", "123456789\r\n1\r\n", 0, "L[1]", NULL },
    { "rule 2: a line that is much too long", "1234567890123456789012345\r\n1\r\n", 0, "L[1]",
      NULL },
    { "rule 2: a line that is too long and has no end", "1234567890123", 0, "+", NULL },
    { "rule 2: the longest line that ends in LF", "12345678\n\r\n", 0, "S", "[12345678][]" },
    { "rule 2: one octet more and LF", "123456789\n\r\n", 0, "S", "L[]" },
    { "rule 2: too long and a bare LF", "1234567890123\nb\r\n", 0, "S", "L[b]" },
    { "rule 2: too long and a bare CR", "12345\r67890123\r\nb\r\n", 0, "L[b]", NULL },
    { "rule 2: too long and a NUL",
      "12345\0"
      "67890123\r\nb\r\n",
      19, "L[b]", NULL },
    { "rule 2: nine octets, then two CR", "12345678\r\r\nb\r\n", 0, "L[b]", NULL },
    { "rule 2: too long twice", "123456789\r\n1234567890\r\nb\r\n", 0, "LL[b]", NULL },
    { "rule 2: CR at the limit that ends nothing", "12345678\rb\r\nc\r\n", 0, "L[c]", NULL },
};

/* Feeds `in` in pieces of exact size, so that the address sanitizer sees a read behind one. */
static void cut(struct line *line, struct span in, size_t piece, struct text *out)
{
    while (in.size > 0) {
        size_t size = in.size < piece ? in.size : piece;
        unsigned char *copy = malloc(size);
        struct span rest = span_of(copy, size), cut_line;
        int result;

        assert_non_null(copy);
        memcpy(copy, in.data, size);
        while ((result = line_next(line, &rest, &cut_line)) != LINE_MORE) {
            if (result == LINE_READY) {
                text_puts(out, "[");
                text_put_escaped(out, cut_line, SIZE_MAX);
            }
            text_puts(out, result == LINE_READY ? "]" : result == LINE_SPOILED ? "S" : "L");
            assert_true(result > 0);
        }
        assert_int_equal(rest.size, 0);
        free(copy);
        in = span_skip(in, size);
    }
    if (line_unfinished(line))
        text_puts(out, "+");
}

static void check(const struct row *row, enum line_mode mode, const char *wanted, size_t piece)
{
    char room[512];
    struct text out = TEXT_OVER(room);
    struct line line;

    line_init(&line, mode, LIMIT);
    cut(&line, span_of(row->in, row->in_size ? row->in_size : strlen(row->in)), piece, &out);
    if (strcmp(text_str(&out), wanted) != 0)
        fail_msg("%s (%s, pieces of %zu): %s", row->name,
                 mode == LINE_STRICT ? "strict" : "lenient", piece, room);
    line_reset(&line);
    assert_null(line.held);
    assert_false(line_unfinished(&line));
}

static void octets_are_cut_into_lines(void **state)
{
    static const size_t pieces[] = { 1000, 1, 3, 7 };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t k = 0; k < COUNT(pieces); k++) {
            check(&rows[i], LINE_STRICT, rows[i].strict, pieces[k]);
            check(&rows[i], LINE_LENIENT, rows[i].lenient ? rows[i].lenient : rows[i].strict,
                  pieces[k]);
        }
}

static void a_line_that_arrives_whole_is_not_copied(void **state)
{
    const struct span whole = SPAN_LIT("NOOP\r\nQUIT\r\n");
    struct span in = whole, cut_line;
    struct line line;

    (void)state;
    line_init(&line, LINE_STRICT, 512);
    assert_int_equal(line_next(&line, &in, &cut_line), LINE_READY);
    assert_ptr_equal(cut_line.data, whole.data);
    assert_int_equal(in.size, 6); /* the next line stays where it is */
    assert_null(line.held);
    assert_int_equal(line_next(&line, &in, &cut_line), LINE_READY);
    assert_ptr_equal(cut_line.data, whole.data + 6);
    assert_int_equal(line_next(&line, &in, &cut_line), LINE_MORE);
}

static void p8_what_is_held_is_bounded_and_given_back(void **state)
{
    const struct span flood = SPAN_LIT("aaaaaaaaaaaaaaaa");
    struct span in = SPAN_LIT("b"), cut_line;
    struct line line;

    (void)state;
    line_init(&line, LINE_STRICT, 100);
    for (unsigned i = 0; i < 100000; i++) {
        struct span more = flood;

        assert_int_equal(line_next(&line, &more, &cut_line), LINE_MORE);
        assert_true(line.held_room <= 128);
    }
    assert_null(line.held); /* a line that is too long already costs nothing */
    assert_true(line_unfinished(&line));
    in = SPAN_LIT("\r\nNO");
    assert_int_equal(line_next(&line, &in, &cut_line), LINE_TOO_LONG);
    assert_int_equal(line_next(&line, &in, &cut_line), LINE_MORE);
    assert_non_null(line.held);
    in = SPAN_LIT("OP\r\n");
    assert_int_equal(line_next(&line, &in, &cut_line), LINE_READY);
    assert_true(span_equal(cut_line, SPAN_LIT("NOOP")));
    assert_false(line_unfinished(&line)); /* held is only lent */
    assert_int_equal(line_next(&line, &in, &cut_line), LINE_MORE);
    assert_null(line.held);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(octets_are_cut_into_lines),
        cmocka_unit_test(a_line_that_arrives_whole_is_not_copied),
        cmocka_unit_test(p8_what_is_held_is_bounded_and_given_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

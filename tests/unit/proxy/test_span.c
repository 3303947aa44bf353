/* Looking at borrowed bytes: rows of what is compared, searched, taken and parsed. Every span lies
 * in memory of exactly its size, so that the address sanitizer sees a read behind it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/base/span.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct span exact(const char *text)
{
    size_t size = strlen(text);
    unsigned char *copy = malloc(size ? size : 1);

    assert_non_null(copy);
    memcpy(copy, text, size);
    return span_of(copy, size);
}

static void drop(struct span span)
{
    free((void *)(uintptr_t)span.data);
}

static const struct pair_row {
    const char *a, *b;
    bool equal, equal_nocase, starts_nocase; /* starts: a begins with b */
} pair_rows[] = {
    { "", "", true, true, true },
    { "a", "", false, false, true },
    { "", "a", false, false, false },
    { "QUIT", "QUIT", true, true, true },
    { "quit", "QUIT", false, true, true },
    { "QUITS", "quit", false, false, true },
    { "QUI", "QUIT", false, false, false },
    { "QUIX", "QUIT", false, false, false },
    { "[", "{", false, false, false },       /* 0x20 apart, and no letters */
    { "@", "`", false, false, false },       /* the same, below */
    { "\xc4", "\xe4", false, false, false }, /* letters of ISO 8859-1: left alone */
    { "a\xff", "A\xff", false, true, true },
};

static void spans_are_compared(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(pair_rows); i++) {
        const struct pair_row *row = &pair_rows[i];
        struct span a = exact(row->a), b = exact(row->b);

        if (span_equal(a, b) != row->equal || span_equal_nocase(a, b) != row->equal_nocase ||
            span_starts_nocase(a, b) != row->starts_nocase)
            fail_msg("\"%s\" and \"%s\"", row->a, row->b);
        drop(a);
        drop(b);
    }
}

static const struct search_row {
    const char *in, *needle;
    size_t found, byte_found; /* of the needle, and of its first byte */
} search_rows[] = {
    { "", "x", 0, 0 },      { "abc", "a", 0, 0 },  { "abc", "c", 2, 2 },
    { "abc", "d", 3, 3 },   { "abc", "bc", 1, 1 }, { "abc", "bcd", 3, 1 },
    { "abab", "ab", 0, 0 }, { "aab", "ab", 1, 0 }, { "a\r\n.\r\n", "\r\n.", 1, 1 },
    { "a", "abc", 1, 0 },
};

static void bytes_are_found_or_the_size_says_no(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(search_rows); i++) {
        const struct search_row *row = &search_rows[i];
        struct span in = exact(row->in), needle = exact(row->needle);

        if (span_search(in, needle) != row->found ||
            span_find(in, needle.data[0]) != row->byte_found)
            fail_msg("\"%s\" in \"%s\"", row->needle, row->in);
        drop(in);
        drop(needle);
    }
}

static const struct word_row {
    const char *in, *word, *rest, *trimmed;
    size_t words;
} word_rows[] = {
    { "", "", "", "", 0 },
    { " \t ", "", "", "", 0 },
    { "a", "a", "", "a", 1 },
    { "a b", "a", "b", "a b", 2 },
    { " a  b ", "a", "b ", "a  b", 2 },
    { "\ta\t\tb\t", "a", "b\t", "a\t\tb", 2 },
    { "a\r", "a\r", "", "a\r", 1 }, /* only spaces and tabs part words */
    { "MAIL FROM:<a b>", "MAIL", "FROM:<a b>", "MAIL FROM:<a b>", 3 },
};

static void words_are_taken_off_the_front(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(word_rows); i++) {
        const struct word_row *row = &word_rows[i];
        struct span in = exact(row->in), rest = in;
        struct span word = span_take_word(&rest);

        if (!span_equal(word, span_of_text(row->word)) ||
            !span_equal(rest, span_of_text(row->rest)) ||
            !span_equal(span_trim(in), span_of_text(row->trimmed)) ||
            span_count_words(in) != row->words)
            fail_msg("\"%s\"", row->in);
        drop(in);
    }
}

static const struct number_row {
    const char *in;
    bool parses;
    uint64_t value;
} number_rows[] = {
    { "0", true, 0 },
    { "7", true, 7 },
    { "0010", true, 10 },
    { "18446744073709551615", true, UINT64_MAX },
    { "18446744073709551616", false, 0 },
    { "18446744073709551620", false, 0 },
    { "99999999999999999999", false, 0 },
    { "00000000000000000001", true, 1 },
    { "000000000000000000001", false, 0 },
    { "", false, 0 },
    { " 1", false, 0 },
    { "1 ", false, 0 },
    { "+1", false, 0 },
    { "-1", false, 0 },
    { "1.0", false, 0 },
    { "0x1", false, 0 },
    { "1/", false, 0 }, /* the neighbours of the digits */
    { "1:", false, 0 },
    { "\xb1", false, 0 },
};

static void only_digits_are_a_number(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(number_rows); i++) {
        const struct number_row *row = &number_rows[i];
        struct span in = exact(row->in);
        uint64_t value = 4711;

        if (span_parse_u64(in, &value) != row->parses || value != (row->parses ? row->value : 4711))
            fail_msg("\"%s\"", row->in);
        drop(in);
    }
}

static void parts_stay_inside(void **state)
{
    struct span abc = SPAN_LIT("abc"), none = span_of(NULL, 0);

    (void)state;
    assert_true(span_equal(span_skip(abc, 1), SPAN_LIT("bc")));
    assert_int_equal(span_skip(abc, 4).size, 0);
    assert_true(span_equal(span_first(abc, 2), SPAN_LIT("ab")));
    assert_true(span_equal(span_first(abc, 4), abc));
    assert_int_equal(span_skip(none, 1).size, 0);
    assert_int_equal(span_take_word(&none).size, 0);
    assert_int_equal(span_trim(none).size, 0);
    assert_int_equal(span_find(none, 'a'), 0);
    assert_true(span_equal(none, SPAN_LIT("")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_compared),
        cmocka_unit_test(bytes_are_found_or_the_size_says_no),
        cmocka_unit_test(words_are_taken_off_the_front),
        cmocka_unit_test(only_digits_are_a_number),
        cmocka_unit_test(parts_stay_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Tests of conf/utf8.c: what is a character, and what of a text may be printed. */
#include "conf/utf8.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static const struct size_row {
    const char *name;
    const char *text;
    size_t size;
} size_rows[] = {
    { "a letter", "a", 1 },
    { "a letter and more", "ab", 1 },
    { "a control character", "\x01", 1 },
    { "the first of two octets", "\xc2\x80", 2 },
    { "the last of two octets", "\xdf\xbf", 2 },
    { "the first of three octets", "\xe0\xa0\x80", 3 },
    { "the last before the surrogates", "\xed\x9f\xbf", 3 },
    { "the first behind the surrogates", "\xee\x80\x80", 3 },
    { "the first of four octets", "\xf0\x90\x80\x80", 4 },
    { "the last of all", "\xf4\x8f\xbf\xbf", 4 },
    /* none */
    { "nothing", "", 0 },
    { "a later octet alone", "\x80", 0 },
    { "Latin-1", "\xe4=", 0 },
    { "a letter in too many octets", "\xc1\xa1", 0 },
    { "a slash in too many octets", "\xc0\xaf", 0 },
    { "three octets where two do", "\xe0\x9f\xbf", 0 },
    { "four octets where three do", "\xf0\x8f\xbf\xbf", 0 },
    { "a surrogate", "\xed\xa0\x80", 0 },
    { "beyond the last", "\xf4\x90\x80\x80", 0 },
    { "far beyond the last", "\xf5\x80\x80\x80", 0 },
    { "five octets", "\xf8\x88\x80\x80\x80", 0 },
    { "0xff", "\xff", 0 },
    { "cut behind the first of two", "\xc3", 0 },
    { "cut behind the second of three", "\xe2\x82", 0 },
    { "cut behind the third of four", "\xf0\x9f\x98", 0 },
    { "a letter within a character", "\xe2\x82z", 0 },
};

static void a_character_has_a_size_and_anything_else_has_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(size_rows); i++) {
        const struct size_row *row = &size_rows[i];
        size_t size = strlen(row->text);
        char *exact = malloc(size ? size : 1); /* the address sanitizer sees its end */

        assert_non_null(exact);
        memcpy(exact, row->text, size);
        if (utf8_size(exact, size) != row->size)
            fail_msg("%s: %zu", row->name, utf8_size(exact, size));
        for (size_t less = 0; less < row->size; less++)
            assert_int_equal(utf8_size(exact, less), 0);
        free(exact);
    }
}

static void a_nul_is_a_character(void **state)
{
    (void)state;
    assert_int_equal(utf8_size("\0x", 2), 1);
}

static const struct print_row {
    const char *text;
    const char *printed;
} print_rows[] = {
    { "", "" },
    { "a\tb", "a\tb" },
    { "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80" },
    { "\x1b[2J", "?[2J" },
    { "a\nb\r", "a?b?" },
    { "\x7f", "?" },
    { "\xc2\x9b"
      "31m",
      "?31m" },
    { "\xc2\xa0", "\xc2\xa0" },
    { "\xff\xfe", "??" },
    { "\xe2\x82", "??" },
    { "\xe2\x82x", "??x" },
};

static void nothing_printed_moves_a_cursor(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(print_rows); i++) {
        char *printed;
        size_t size;
        FILE *out = open_memstream(&printed, &size);

        assert_non_null(out);
        utf8_print_harmless(print_rows[i].text, out);
        fclose(out);
        assert_string_equal(printed, print_rows[i].printed);
        free(printed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_character_has_a_size_and_anything_else_has_none),
        cmocka_unit_test(a_nul_is_a_character),
        cmocka_unit_test(nothing_printed_moves_a_cursor),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

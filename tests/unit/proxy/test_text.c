/* The bounded writer, escaping and base64. Room is always exact, so that the address sanitizer sees
 * a write behind it. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/base/text.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct text with_room(size_t room)
{
    struct text text = { malloc(room ? room : 1), 0, room, false };

    assert_non_null(text.data);
    return text;
}

static void what_does_not_fit_is_not_half_written(void **state)
{
    struct text text = with_room(5);

    (void)state;
    text_puts(&text, "abc");
    assert_false(text.overflow);
    text_puts(&text, "def");
    assert_true(text.overflow);
    assert_true(span_equal(text_span(&text), SPAN_LIT("abc")));
    text_puts(&text, "d"); /* it would fit, but something before it is missing */
    text_printf(&text, "d");
    assert_true(span_equal(text_span(&text), SPAN_LIT("abc")));
    free(text.data);
}

static void what_fits_exactly_is_written(void **state)
{
    struct text text = with_room(5);

    (void)state;
    text_puts(&text, "abcde");
    assert_false(text.overflow);
    text_puts(&text, "");
    assert_false(text.overflow);
    assert_true(span_equal(text_span(&text), SPAN_LIT("abcde")));
    assert_string_equal(text_str(&text), "abcd"); /* the NUL takes the place of the last byte */
    free(text.data);
}

static void formatted_text_needs_room_for_its_nul(void **state)
{
    struct text text = with_room(5);

    (void)state;
    text_printf(&text, "%d", 12);
    assert_true(span_equal(text_span(&text), SPAN_LIT("12")));
    text_printf(&text, "%s", "345");
    assert_true(text.overflow);
    assert_true(span_equal(text_span(&text), SPAN_LIT("12")));
    free(text.data);
}

static void no_room_is_an_empty_text(void **state)
{
    struct text none = { NULL, 0, 0, false };

    (void)state;
    text_put(&none, span_of(NULL, 0));
    assert_false(none.overflow);
    assert_string_equal(text_str(&none), "");
    text_puts(&none, "a");
    assert_true(none.overflow);
}

static void a_number_is_written_in_decimal_digits_whole_or_not(void **state)
{
    static const uint64_t numbers[] = { 0, 9, 10, 587, 1000000, UINT64_MAX };

    (void)state;
    for (size_t i = 0; i < COUNT(numbers); i++) {
        struct text text = with_room(20);
        char wanted[24];

        snprintf(wanted, sizeof(wanted), "%" PRIu64, numbers[i]);
        text_put_number(&text, numbers[i]);
        assert_true(span_equal(text_span(&text), span_of_text(wanted)));
        text.room = text.size + strlen(wanted) - 1;
        text_put_number(&text, numbers[i]);
        assert_true(text.overflow);
        assert_int_equal(text.size, strlen(wanted));
        free(text.data);
    }
}

static const struct escape_row {
    const char *in;
    size_t size, limit;
    const char *out;
} escape_rows[] = {
    { "", 0, 10, "" },
    { "abc ~", 5, 10, "abc ~" },
    { "a\r\nb", 4, 10, "a\\x0d\\x0ab" },
    { "\0\x1b[2J", 5, 10, "\\x00\\x1b[2J" },
    { "\\x41", 4, 10, "\\x5cx41" }, /* nobody can write an escape of his own */
    { "\x7f\x80\xff", 3, 10, "\\x7f\\x80\\xff" },
    { "\xc2\x9b", 2, 10, "\\xc2\\x9b" }, /* CSI in UTF-8 */
    { "a\nb\\c\n", 6, 10, "a\\x0ab\\x5cc\\x0a" },
    { "abcdef", 6, 6, "abcdef" },
    { "ab\ncd", 5, 3, "ab\\x0a..." },
    { "abcdef", 6, 5, "abcde..." },
    { "abcdef", 6, 0, "..." },
};

static void p7_bytes_of_a_peer_are_made_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(escape_rows); i++) {
        const struct escape_row *row = &escape_rows[i];
        struct text text = with_room(64);

        text_put_escaped(&text, span_of(row->in, row->size), row->limit);
        if (!span_equal(text_span(&text), span_of_text(row->out)))
            fail_msg("row %zu: %s", i, text_str(&text));
        free(text.data);
    }
}

static void an_escape_is_never_half_written(void **state)
{
    (void)state;
    for (size_t room = 0; room < 9; room++) {
        struct text text = with_room(room);

        text_put_escaped(&text, SPAN_LIT("a\n\n"), 10);
        assert_true(text.overflow);
        assert_int_equal(text.size, room == 0 ? 0 : room < 5 ? 1 : 5);
        free(text.data);
    }
}

/* RFC 4648 section 10, and credentials as of AUTH PLAIN. */
static const struct base64_row {
    const char *plain;
    size_t size;
    const char *encoded;
} base64_rows[] = {
    { "", 0, "" },
    { "f", 1, "Zg==" },
    { "fo", 2, "Zm8=" },
    { "foo", 3, "Zm9v" },
    { "foob", 4, "Zm9vYg==" },
    { "fooba", 5, "Zm9vYmE=" },
    { "foobar", 6, "Zm9vYmFy" },
    { "\0anna\0secret", 12, "AGFubmEAc2VjcmV0" },
    { "\xff\xff\xbe", 3, "//++" },
};

static void base64_goes_both_ways(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(base64_rows); i++) {
        const struct base64_row *row = &base64_rows[i];
        struct text text = with_room(strlen(row->encoded));
        unsigned char *decoded = malloc(row->size ? row->size : 1);

        assert_non_null(decoded);
        text_put_base64(&text, span_of(row->plain, row->size));
        assert_false(text.overflow);
        assert_true(span_equal(text_span(&text), span_of_text(row->encoded)));
        assert_int_equal(base64_decode(text_span(&text), decoded, row->size), row->size);
        assert_memory_equal(decoded, row->plain, row->size);
        if (row->size > 0) /* one byte short of room */
            assert_int_equal(base64_decode(text_span(&text), decoded, row->size - 1), -1);
        free(decoded);
        free(text.data);
    }
}

static const char *const not_base64[] = {
    "Z",      "Zg",    "Zg=",     "Z===", "====", "=g==", "Zg=g",  "Zg==Zg==", "Zm9v ",
    "Zm9v\n", " Zm9v", "Zm9\xff", "Zm9_", "Zm9-", "Zm9*", "Zm9vZ", "Zm 9",
};

static void what_is_no_base64_is_refused(void **state)
{
    unsigned char decoded[64];

    (void)state;
    for (size_t i = 0; i < COUNT(not_base64); i++)
        if (base64_decode(span_of_text(not_base64[i]), decoded, sizeof(decoded)) != -1)
            fail_msg("%s", not_base64[i]);
    assert_int_equal(base64_decode(span_of("Zm9\0", 4), decoded, sizeof(decoded)), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_does_not_fit_is_not_half_written),
        cmocka_unit_test(what_fits_exactly_is_written),
        cmocka_unit_test(formatted_text_needs_room_for_its_nul),
        cmocka_unit_test(no_room_is_an_empty_text),
        cmocka_unit_test(p7_bytes_of_a_peer_are_made_harmless),
        cmocka_unit_test(a_number_is_written_in_decimal_digits_whole_or_not),
        cmocka_unit_test(an_escape_is_never_half_written),
        cmocka_unit_test(base64_goes_both_ways),
        cmocka_unit_test(what_is_no_base64_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

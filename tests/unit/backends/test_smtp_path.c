/* Paths and parameters of MAIL and RCPT. Lines arrive whole, so there are no pieces to try. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "backends/smtp_path.h"

/* The printable octets that the addresses below have. */
#define ASCII                                                                                      \
    " !\"#$%&'()*+,-./"                                                                            \
    "0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~"

static void paths_are_read(void **state)
{
    static const struct {
        const char *in;
        int result;
        const char *address, *rest;
    } rows[] = {
        { "<a@b.c>", SMTP_PATH_OK, "a@b.c", "" },
        { " <a@b.c>\t SIZE=1 ", SMTP_PATH_OK, "a@b.c", "SIZE=1" },
        { "<>", SMTP_PATH_NULL, "", "" },
        { "<postmaster>", SMTP_PATH_NO_DOMAIN, "postmaster", "" },
        { "<A.b+c=d/e!f@X-y.z_1>", SMTP_PATH_OK, "A.b+c=d/e!f@X-y.z_1", "" },
        { "<a..b.@c.d>", SMTP_PATH_OK, "a..b.@c.d", "" },
        { "<a@[192.0.2.1]>", SMTP_PATH_OK, "a@[192.0.2.1]", "" },
        { "<a@[IPv6:2001:db8::1]>", SMTP_PATH_OK, "a@[IPv6:2001:db8::1]", "" },
        { "<@x.y:a@b.c>", SMTP_PATH_OK, "a@b.c", "" },
        { "<@x.y,@z:a@b.c>", SMTP_PATH_OK, "a@b.c", "" },
        { "<\"a\"@b.c>", SMTP_PATH_OK, "a@b.c", "" },
        { "<\"a b\"@c.d>", SMTP_PATH_OK, "\"a b\"@c.d", "" },
        { "<\"a>b\"@c.d> X", SMTP_PATH_OK, "\"a>b\"@c.d", "X" },
        { "<\"a@b\"@c.d>", SMTP_PATH_OK, "\"a@b\"@c.d", "" },
        { "<\"a\\\"b\"@c.d>", SMTP_PATH_OK, "\"a\\\"b\"@c.d", "" },
        { "<\"a..b\"@c.d>", SMTP_PATH_OK, "\"a..b\"@c.d", "" },
        { "<\".a\"@c.d>", SMTP_PATH_OK, "\".a\"@c.d", "" },
        { "<\"\"@c.d>", SMTP_PATH_OK, "\"\"@c.d", "" },
        { "<\xc3\xbc@b.c>", SMTP_PATH_OK, "\xc3\xbc@b.c", "" },
        { "<a@\xe4\xb8\xad.c>", SMTP_PATH_OK, "a@\xe4\xb8\xad.c", "" },
        { "<\xf0\x9f\x93\xac@b.c>", SMTP_PATH_OK, "\xf0\x9f\x93\xac@b.c", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct span rest = span_of_text(rows[i].in);
        struct smtp_path path;

        if (smtp_path_take(&rest, &path) != rows[i].result)
            fail_msg("%s", rows[i].in);
        assert_string_equal(path.address, rows[i].address);
        assert_true(span_equal(rest, span_of_text(rows[i].rest)));
        assert_int_equal(path.ascii, strspn(path.address, ASCII) == strlen(path.address));
    }
}

static void what_is_no_path_is_refused(void **state)
{
    static const char *const rows[] = {
        "",
        "a@b.c",
        "<a@b.c",
        "<a@b.c>x",
        "<a@b.c>>",
        "<<a@b.c>>",
        "< a@b.c>",
        "<a@b.c >",
        "<a b@c.d>",
        "<@b.c>",
        "<a@>",
        "<a@b@c>",
        "<a@.b>",
        "<a@b.>",
        "<a@b..c>",
        "<a@b/c>",
        "<a@[192.0.2.1>",
        "<a@[]>",
        "<a@[x[y]>",
        "<@x.y:>",
        "<@x.y a@b.c>",
        "<@x y:a@b.c>",
        "<\"a@b.c>",
        "<\"a\"b@c.d>",
        "<a\"b\"@c.d>",
        "<a,b@c.d>",
        "<a;b@c.d>",
        "<a(b)@c.d>",
        "<\x01@b.c>",
        "<\x7f@b.c>",
        "<\"\x01\"@b.c>",
        "<\xfc@b.c>",             /* Latin-1 */
        "<\xc0\x80@b.c>",         /* overlong */
        "<\xe0\x80\x80@b.c>",     /* overlong */
        "<\xed\xa0\x80@b.c>",     /* surrogate */
        "<\xf4\x90\x80\x80@b.c>", /* above U+10FFFF */
        "<a@\xc3>",               /* cut off */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct span rest = span_of_text(rows[i]);
        struct smtp_path path = { .address = "untouched" };

        if (smtp_path_take(&rest, &path) != SMTP_PATH_SYNTAX)
            fail_msg("%s", rows[i]);
        assert_string_equal(path.address, "untouched");
        assert_true(span_equal(rest, span_of_text(rows[i])));
    }
}

static void an_address_has_at_most_254_bytes(void **state)
{
    (void)state;
    for (unsigned size = 250; size < 260; size++) {
        char in[300];
        struct span rest;
        struct smtp_path path;

        snprintf(in, sizeof(in), "<%0*d@b.c>", (int)size - 4, 0);
        rest = span_of_text(in);
        assert_int_equal(smtp_path_take(&rest, &path),
                         size <= SMTP_ADDRESS_MAX ? SMTP_PATH_OK : SMTP_PATH_SYNTAX);
    }
}

static void parameters_are_taken_one_by_one(void **state)
{
    struct span rest = SPAN_LIT("SIZE=10  X-y\tA=");
    struct smtp_parameter parameter;

    (void)state;
    assert_true(smtp_path_parameter(&rest, &parameter));
    assert_true(span_equal(parameter.keyword, SPAN_LIT("SIZE")) && parameter.has_value);
    assert_true(span_equal(parameter.value, SPAN_LIT("10")));
    assert_true(smtp_path_parameter(&rest, &parameter));
    assert_true(span_equal(parameter.keyword, SPAN_LIT("X-y")) && !parameter.has_value);
    assert_true(smtp_path_parameter(&rest, &parameter));
    assert_true(span_equal(parameter.keyword, SPAN_LIT("A")) && parameter.has_value);
    assert_int_equal(parameter.value.size, 0);
    assert_false(smtp_path_parameter(&rest, &parameter));
    assert_int_equal(rest.size, 0);
}

static void what_is_no_parameter_stays(void **state)
{
    static const char *const rows[] = { "=x",     "-a=x",       "a_b=x", "a=b=c",
                                        "a=\x01", "\xc3\xbc=x", "<b@c>" };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct span rest = span_of_text(rows[i]);
        struct smtp_parameter parameter;

        assert_false(smtp_path_parameter(&rest, &parameter));
        assert_int_equal(rest.size, strlen(rows[i]));
    }
}

static void xtext_is_known(void **state)
{
    (void)state;
    assert_true(smtp_path_is_xtext(SPAN_LIT("<>")));
    assert_true(smtp_path_is_xtext(SPAN_LIT("a@b.c")));
    assert_true(smtp_path_is_xtext(SPAN_LIT("a+2Bb+3D")));
    assert_false(smtp_path_is_xtext(SPAN_LIT("a+2bb")));
    assert_false(smtp_path_is_xtext(SPAN_LIT("a+2")));
    assert_false(smtp_path_is_xtext(SPAN_LIT("a+")));
    assert_false(smtp_path_is_xtext(SPAN_LIT("a=b")));
    assert_false(smtp_path_is_xtext(SPAN_LIT("\xc3\xbc")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_are_read),
        cmocka_unit_test(what_is_no_path_is_refused),
        cmocka_unit_test(an_address_has_at_most_254_bytes),
        cmocka_unit_test(parameters_are_taken_one_by_one),
        cmocka_unit_test(what_is_no_parameter_stays),
        cmocka_unit_test(xtext_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

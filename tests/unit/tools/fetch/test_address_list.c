/* Addresses out of lists, in all their spellings, and what is none. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "proxy/base/text.h"
#include "tools/fetch/address_list.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct row {
    const char *list;
    const char *found; /* each address with a blank behind it; then "! why" where it is bad */
} rows[] = {
    { "", "" },
    { " \t\r\n ", "" },
    { ",, ,", "" },
    { "(nobody)", "" },
    { "a@b", "a@b " },
    { "a@b,c@d", "a@b c@d " },
    { " a@b ,, c@d , ", "a@b c@d " },
    { "<a@b>", "a@b " },
    { "Anna <a@b>", "a@b " },
    { "Anna Maria Example <a@b>, Bert <c@d>", "a@b c@d " },
    { "\"Example, Anna\" <a@b>", "a@b " },
    { "\"An\\\"na, <x@y>\" <a@b>", "a@b " },
    { "Anna B. Example <a@b>", "a@b " },
    { "=?utf-8?q?J=C3=BCrgen_M=2E?= <a@b>", "a@b " },
    { "J\xc3\xbcrgen <a@b>", "a@b " },
    { "\"J\xc3\xbcrgen, M\" <a@b>", "a@b " },
    { "(J\xc3\xbcrgen) a@b", "a@b " },
    { "a@b (Anna)", "a@b " },
    { "(x) a (y) @ (z) b (w), c@d", "a@b c@d " },
    { "a(nested (very (deep) indeed) \\) still, <x@y>)@b", "a@b " },
    { "Anna (x, y) < a @ b >", "a@b " },
    { "a @ b . c", "a@b.c " },
    { "a . b @ c", "a.b@c " },
    { "first.last+tag@mail.example.org", "first.last+tag@mail.example.org " },
    { "a.@b, .a@b, a..b@c", "a.@b .a@b a..b@c " },
    { "{a}|/=?^_`~!#$%&'*@b", "{a}|/=?^_`~!#$%&'*@b " },
    { "\"anna\"@b", "anna@b " },
    { "\"john doe\"@b", "\"john doe\"@b " },
    { "john.\"d e\"@b", "\"john.d e\"@b " },
    { "\"a@b\"@c", "\"a@b\"@c " },
    { "\"a\\\"b\\\\c\"@d", "\"a\\\"b\\\\c\"@d " },
    { "\"a>,b\"@c, d@e", "\"a>,b\"@c d@e " },
    { "a@[192.0.2.1], b@[IPv6:2001:db8::1]", "a@[192.0.2.1] b@[IPv6:2001:db8::1] " },
    { "a@my_host, a@xn--bcher-kva.example", "a@my_host a@xn--bcher-kva.example " },

    { "undisclosed-recipients:;", "" },
    { "undisclosed recipients: ;", "" },
    { "\"All: of us\": a@b, Carl <c@d>;", "a@b c@d " },
    { "All:a@b,,c@d,;, e@f, None:;, g@h", "a@b c@d e@f g@h " },

    { "anna", "! an address without a domain" },
    { "<anna>", "! no address" },
    { "a@b, anna, c@d", "a@b ! an address without a domain" },
    { "Anna Example", "! no address" },
    { "a@b c@d", "a@b ! no comma behind an address" },
    { "a@b <c@d>", "a@b ! no comma behind an address" },
    { "<a@b> c", "a@b ! no comma behind an address" },
    { "<a@b>, <c@d> e@f", "a@b c@d ! no comma behind an address" },
    { "a@b; c@d", "a@b ! a list is separated by commas" },
    { "a@b;", "a@b ! a list is separated by commas" },
    { ";", "! a list is separated by commas" },
    { "john doe@b", "! a blank in an address" },
    { "john \"d\"@b", "! a blank in an address" },
    { "@b", "! nothing before the @" },
    { "\"\"@b", "! nothing before the @" },
    { "a@", "! no domain name" },
    { "a@,c@d", "! no domain name" },
    { "a@b.", "! no domain name" },
    { "a@.b", "! no domain name" },
    { "a@b..c", "! no domain name" },
    { "a@b@c", "a@b ! no comma behind an address" },
    { "a@\"b\"", "! no domain name" },
    { "a@b!c", "! no domain name" },
    { "a@[]", "! no domain name" },
    { "a@[1.2", "! no domain name" },
    { "a@[1 2]", "! no domain name" },
    { "a@[1>2]", "! no domain name" },
    { "<>", "! an empty address" },
    { "Anna <>", "! an empty address" },
    { "<a@b", "! no > behind an address" },
    { "<a@b c>", "! no > behind an address" },
    { "<a@b, c@d>", "! no > behind an address" },
    { "<<a@b>>", "! no address" },
    { "a@b>", "a@b ! no comma behind an address" },
    { "a>b@c", "! no address" },
    { "<@relay:a@b>", "! a route in an address" },
    { "<@r1,@r2:a@b>", "! a route in an address" },
    { "@relay:a@b", "! nothing before the @" },
    { "Anna \"Example <a@b>", "! no address" },
    { "a@b (never ends", "a@b ! no comma behind an address" },
    { "(never ends", "! no address" },
    { "(never ends a@b", "! no address" },
    { "Anna ) <a@b>", "! no address" },
    { "[1.2.3.4] <a@b>", "! no address" },
    { "a\\b@c", "! no address" },
    { "a\x01@b", "! no address" },
    { "\"a\x01\"@b", "! no address" },
    { "\"a\x7f\"@b", "! no address" },
    { "\"a\tb\"@b", "! a control character in an address" },
    { "J\xc3\xbcrgen@b", "! not ASCII" },
    { "\"J\xc3\xbc\"@b", "! not ASCII" },
    { "a@b\xc3\xbc"
      "cher.example",
      "! not ASCII (a domain can be written as xn--...)" },
    { "All: a@b", "a@b ! a group that does not end" },
    { "All:", "! a group that does not end" },
    { "All: Some: a@b;;", "! a group in a group" },
    { ":a@b;", "! a group in a group" },
    { "All: a@b; c@d", "a@b ! no comma behind an address" },
    { "All: a@b;;", "a@b ! a list is separated by commas" },
};

static const char *read_all(struct span list, struct text *found)
{
    struct address_list reader;
    struct address address;
    int r;

    address_list_init(&reader, list);
    while ((r = address_list_next(&reader, &address)) == ADDRESS_FOUND)
        text_printf(found, "%s ", address.text);
    if (r == ADDRESS_BAD)
        text_printf(found, "! %s", reader.why);
    assert_int_equal(address_list_next(&reader, &address), r); /* and it stays so */
    return text_str(found);
}

static void test_every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char room[512];
        struct text found = TEXT_OVER(room);

        if (strcmp(read_all(span_of_text(rows[i].list), &found), rows[i].found) != 0)
            fail_msg("%s: %s", rows[i].list, room);
    }
}

static void test_the_longest_address_and_one_octet_more(void **state)
{
    char list[300], room[512];
    struct text found = TEXT_OVER(room);

    (void)state;
    memset(list, 'a', sizeof(list));
    list[60] = '@';
    assert_string_equal(read_all(span_of(list, 255), &found), "! an address that is too long");
    found = TEXT_OVER(room);
    read_all(span_of(list, 254), &found);
    assert_int_equal(found.size, 255);
    assert_memory_equal(room, list, 254);
    found = TEXT_OVER(room);
    memset(list, 'a', sizeof(list));
    memcpy(list + 290, "@b", 2);
    assert_string_equal(read_all(span_of(list, 292), &found), "! an address that is too long");
}

static void test_a_nul_is_no_address(void **state)
{
    char room[64];
    struct text found = TEXT_OVER(room);

    (void)state;
    assert_string_equal(read_all(SPAN_LIT("a\0b@c"), &found), "! no address");
    found = TEXT_OVER(room);
    assert_string_equal(read_all(SPAN_LIT("a@b\0"), &found), "a@b ! no comma behind an address");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_the_longest_address_and_one_octet_more),
        cmocka_unit_test(test_a_nul_is_no_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

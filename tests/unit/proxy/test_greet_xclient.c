/* The XCLIENT commands that are written for a client, from tables of clients and of attributes that
 * a server lists. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <cmocka.h>

#include "proxy/greet_xclient.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define ALL         "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT"

/* "192.0.2.1 25", "2001:db8::1 25"; NULL: no address. */
static const struct sockaddr *address_of(const char *text, struct sockaddr_storage *into)
{
    struct sockaddr_in inet = { .sin_family = AF_INET };
    struct sockaddr_in6 inet6 = { .sin6_family = AF_INET6, .sin6_scope_id = 3 };
    char host[64];
    unsigned port = 0;

    memset(into, 0, sizeof(*into));
    if (!text)
        return NULL;
    if (!text[0]) { /* what is no address */
        into->ss_family = AF_UNIX;
        return (struct sockaddr *)into;
    }
    assert_int_equal(sscanf(text, "%63s %u", host, &port), 2);
    inet.sin_port = inet6.sin6_port = htons((uint16_t)port);
    if (inet_pton(AF_INET, host, &inet.sin_addr) == 1) {
        memcpy(into, &inet, sizeof(inet));
    } else {
        assert_int_equal(inet_pton(AF_INET6, host, &inet6.sin6_addr), 1);
        memcpy(into, &inet6, sizeof(inet6));
    }
    return (struct sockaddr *)into;
}

static const struct xclient_row {
    const char *name;
    const char *listed, *hello;
    const char *client, *destination, *login;
    const char *command; /* NULL: -ENOTSUP */
    enum greet_purpose purpose;
} rows[] = {
    { "rule_18: all", ALL, "EHLO mail.example", "192.0.2.7 40000", "198.51.100.1 25", "",
      .command = "XCLIENT HELO=mail.example PROTO=ESMTP DESTADDR=198.51.100.1 DESTPORT=25 "
                 "LOGIN=[UNAVAILABLE] REVERSE_NAME=[UNAVAILABLE] NAME=[UNAVAILABLE] PORT=40000 "
                 "ADDR=192.0.2.7\r\n" },
    { "rule_18: only what is listed", "NAME ADDR", "EHLO a", "192.0.2.7 40000", "198.51.100.1 25",
      "a", .command = "XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.7\r\n" },
    { "rule_18: in any letter case", "addr Port", "EHLO a", "192.0.2.7 40000", NULL, "",
      .command = "XCLIENT PORT=40000 ADDR=192.0.2.7\r\n" },
    { "rule_18: what is listed and unknown to us", "ADDR X ADDR FOO=", "EHLO a", "192.0.2.7 1",
      NULL, "", .command = "XCLIENT ADDR=192.0.2.7\r\n" },
    { "rule_18: IPv6", "ADDR DESTADDR DESTPORT", "EHLO a", "2001:db8::7 1", "2001:db8::1 587", "",
      .command = "XCLIENT DESTADDR=IPV6:2001:db8::1 DESTPORT=587 ADDR=IPV6:2001:db8::7\r\n" },
    { "rule_18: an IPv6 address has no scope", "ADDR", "EHLO a", "fe80::1 1", NULL, "",
      .command = "XCLIENT ADDR=IPV6:fe80::1\r\n" },
    { "rule_18: an IPv4 address in IPv6", "ADDR PORT", "EHLO a", "::ffff:192.0.2.7 9", NULL, "",
      .command = "XCLIENT PORT=9 ADDR=192.0.2.7\r\n" },
    { "rule_18: no destination", "ADDR DESTADDR DESTPORT", "EHLO a", "192.0.2.7 1", NULL, "",
      .command = "XCLIENT DESTADDR=[UNAVAILABLE] DESTPORT=[UNAVAILABLE] ADDR=192.0.2.7\r\n" },
    { "rule_18: no address", "ADDR PORT", "EHLO a", NULL, NULL, "",
      .command = "XCLIENT PORT=[UNAVAILABLE] ADDR=[UNAVAILABLE]\r\n" },
    { "rule_18: an address of another family", "ADDR PORT", "EHLO a", "", NULL, "",
      .command = "XCLIENT PORT=[UNAVAILABLE] ADDR=[UNAVAILABLE]\r\n" },
    { "rule_18: HELO", "ADDR HELO PROTO", "helo a", "192.0.2.7 1", NULL, "",
      .command = "XCLIENT HELO=a PROTO=SMTP ADDR=192.0.2.7\r\n" },
    { "rule_18: a literal, and more behind it", "ADDR HELO PROTO", "ehlo  [IPv6:2001:db8::1] x",
      "192.0.2.7 1", NULL, "",
      .command = "XCLIENT HELO=[IPv6:2001:db8::1] PROTO=ESMTP ADDR=192.0.2.7\r\n" },
    { "rule_18: no hello", "ADDR HELO PROTO", "", "192.0.2.7 1", NULL, "",
      .command = "XCLIENT HELO=[UNAVAILABLE] PROTO=SMTP ADDR=192.0.2.7\r\n" },
    { "rule_18: a hello without a name", "ADDR HELO", "EHLO ", "192.0.2.7 1", NULL, "",
      .command = "XCLIENT HELO=[UNAVAILABLE] ADDR=192.0.2.7\r\n" },
    { "rule_18: learning", "ADDR HELO PROTO", "gate.example", "192.0.2.1 1024", NULL, "",
      .command = "XCLIENT HELO=gate.example PROTO=ESMTP ADDR=192.0.2.1\r\n", GREET_LEARN },
    { "rule_18: a name that begins with a dot", "ADDR HELO", "EHLO .a", "192.0.2.7 1", NULL, "",
      .command = "XCLIENT HELO=[UNAVAILABLE] ADDR=192.0.2.7\r\n" },
    { "rule_18: a name with an empty part", "ADDR HELO", "EHLO a..b", "192.0.2.7 1", NULL, "",
      .command = "XCLIENT HELO=[UNAVAILABLE] ADDR=192.0.2.7\r\n" },
    { "rule_18: a name with an attribute in it", "ADDR HELO", "EHLO a=b", "192.0.2.7 1", NULL, "",
      .command = "XCLIENT HELO=[UNAVAILABLE] ADDR=192.0.2.7\r\n" },
    { "rule_18: a name with a line end in it", "ADDR HELO", "EHLO a\rADDR=1", "192.0.2.7 1", NULL,
      "", .command = "XCLIENT HELO=[UNAVAILABLE] ADDR=192.0.2.7\r\n" },
    { "rule_18: a name with an octet above ASCII", "ADDR HELO", "EHLO \xc3\xa4", "192.0.2.7 1",
      NULL, "", .command = "XCLIENT HELO=[UNAVAILABLE] ADDR=192.0.2.7\r\n" },
    { "rule_18: a login", "ADDR LOGIN", "EHLO a", "192.0.2.7 1", NULL, "ann@example.org",
      .command = "XCLIENT LOGIN=ann@example.org ADDR=192.0.2.7\r\n" },
    { "rule_18: a login as xtext", "ADDR LOGIN", "EHLO a", "192.0.2.7 1", NULL,
      "a b+c=d\r\nADDR=\x7f\xc3\xa4~!",
      .command = "XCLIENT LOGIN=a+20b+2Bc+3Dd+0D+0AADDR+3D+7F+C3+A4~! ADDR=192.0.2.7\r\n" },
    { "rule_18: no attribute is listed", "", "EHLO a", "192.0.2.7 1", NULL, "", .command = NULL },
    { "rule_18: no address is taken", "NAME PORT HELO DESTADDR", "EHLO a", "192.0.2.7 1", NULL, "",
      .command = NULL },
    { "rule_18: part of a name", "ADD ADDRESS ADDR=", "EHLO a", "192.0.2.7 1", NULL, "",
      .command = NULL },
};

static int write_row(const struct xclient_row *row, unsigned part, struct text *out)
{
    struct sockaddr_storage client, destination;
    struct greet_plan plan = {
        .protocol = PROTOCOL_SMTP,
        .purpose = row->purpose,
        .hello = span_of_text(row->hello),
        .client = { address_of(row->client, &client), address_of(row->destination, &destination),
                    span_of_text(row->login) },
    };

    return greet_xclient_write(&plan, span_of_text(row->listed), part, out);
}

static void rule_18_a_server_is_told_what_it_lists_and_no_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct xclient_row *row = &rows[i];
        char room[512 + 1];
        struct text out = TEXT_OVER(room);
        int r = write_row(row, 0, &out);

        if (r != (row->command ? GREET_XCLIENT_LAST : -ENOTSUP) ||
            strcmp(text_str(&out), row->command ? row->command : "") != 0)
            fail_msg("%s: %d, %s", row->name, r, room);
    }
}

/* The greatest row: names of so many octets. */
static struct xclient_row long_row(char *hello, size_t hello_size, char *login, size_t login_size)
{
    memset(hello, 'h', hello_size);
    memcpy(hello, "EHLO ", 5);
    memset(login, 'l', login_size);
    hello[hello_size] = login[login_size] = '\0';
    return (struct xclient_row){
        .listed = ALL,
        .hello = hello,
        .client = "1111:2222:3333:4444:5555:6666:7777:8888 65535",
        .destination = "1111:2222:3333:4444:5555:6666:7777:9999 65535",
        .login = login,
    };
}

static void rule_18_names_too_long_for_one_command_go_before_the_address(void **state)
{
    char hello[300], login[300], first[600], second[600];
    struct xclient_row row = long_row(hello, 5 + 255, login, 255);
    struct text one = TEXT_OVER(first), two = TEXT_OVER(second);

    (void)state;
    assert_int_equal(write_row(&row, 0, &one), GREET_XCLIENT_MORE);
    assert_int_equal(write_row(&row, 1, &two), GREET_XCLIENT_LAST);
    assert_true(one.size <= 512 && two.size <= 512);
    text_str(&one);
    text_str(&two);
    assert_memory_equal(first, "XCLIENT HELO=hhh", 16);
    assert_string_equal(first + one.size - 16, "hh PROTO=ESMTP\r\n");
    assert_memory_equal(second, "XCLIENT DESTADDR=IPV6:", 22);
    assert_non_null(strstr(second, " LOGIN=lll"));
    assert_non_null(strstr(second, "lll REVERSE_NAME=[UNAVAILABLE] NAME=[UNAVAILABLE] PORT=65535 "
                                   "ADDR=IPV6:1111:2222:3333:4444:5555:6666:7777:8888\r\n"));
}

static void rule_18_every_command_has_at_most_512_octets(void **state)
{
    (void)state;
    for (size_t size = 200; size < 290; size++) {
        char hello[300], login[300], room[2000];
        struct xclient_row row = long_row(hello, size, login, size - 5);
        struct text out = TEXT_OVER(room);
        int r = write_row(&row, 0, &out);
        size_t first = out.size;

        assert_true(first <= 512);
        if (r == GREET_XCLIENT_MORE)
            r = write_row(&row, 1, &out);
        assert_int_equal(r, GREET_XCLIENT_LAST);
        assert_true(out.size - first <= 512);
        text_str(&out);
        assert_int_equal(strstr(room, "HELO=[UNAVAILABLE]") != NULL, size - 5 > 255);
        assert_int_equal(strstr(room, "LOGIN=[UNAVAILABLE]") != NULL, size - 5 > 255);
    }
}

static void rule_18_a_command_of_exactly_512_octets_is_one(void **state)
{
    char hello[300], login[300], room[600];
    struct xclient_row row = long_row(hello, 6, login, 255);
    struct text out = TEXT_OVER(room);
    size_t longer;

    (void)state;
    assert_int_equal(write_row(&row, 0, &out), GREET_XCLIENT_LAST);
    longer = 512 - out.size;
    for (size_t more = 0; more < 2; more++) {
        row = long_row(hello, 6 + longer + more, login, 255);
        out.size = 0;
        assert_int_equal(write_row(&row, 0, &out), more ? GREET_XCLIENT_MORE : GREET_XCLIENT_LAST);
        if (!more)
            assert_int_equal(out.size, 512);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_18_a_server_is_told_what_it_lists_and_no_more),
        cmocka_unit_test(rule_18_names_too_long_for_one_command_go_before_the_address),
        cmocka_unit_test(rule_18_every_command_has_at_most_512_octets),
        cmocka_unit_test(rule_18_a_command_of_exactly_512_octets_is_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Lists of addresses and networks, and who lies in them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#include "proxy/network.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct sockaddr_storage address(const char *text)
{
    struct sockaddr_storage storage = { 0 };
    struct sockaddr_in *inet = (void *)&storage;
    struct sockaddr_in6 *inet6 = (void *)&storage;

    if (inet_pton(AF_INET, text, &inet->sin_addr) == 1)
        inet->sin_family = AF_INET;
    else if (inet_pton(AF_INET6, text, &inet6->sin6_addr) == 1)
        inet6->sin6_family = AF_INET6;
    else
        storage.ss_family = AF_UNIX;
    return storage;
}

static const struct {
    const char *network, *address;
    bool inside;
} rows[] = {
    { "192.0.2.7", "192.0.2.7", true },
    { "192.0.2.7", "192.0.2.8", false },
    { "192.0.2.7", "192.0.2.6", false },
    { "192.0.2.7/32", "192.0.2.7", true },
    { "192.0.2.7/32", "192.0.2.6", false },
    { "192.0.2.0/24", "192.0.2.0", true },
    { "192.0.2.0/24", "192.0.2.255", true },
    { "192.0.2.0/24", "192.0.3.0", false },
    { "192.0.2.0/24", "192.0.1.255", false },
    { "192.0.2.200/24", "192.0.2.7", true },
    { "192.0.2.0/23", "192.0.3.255", true },
    { "192.0.2.0/23", "192.0.1.255", false },
    { "192.0.2.0/23", "192.0.4.0", false },
    { "192.0.2.128/25", "192.0.2.127", false },
    { "192.0.2.128/25", "192.0.2.128", true },
    { "192.0.2.6/31", "192.0.2.7", true },
    { "192.0.2.6/31", "192.0.2.8", false },
    { "128.0.0.0/1", "255.255.255.255", true },
    { "128.0.0.0/1", "127.255.255.255", false },
    { "127.0.0.0/8", "127.0.0.2", true },
    { "127.0.0.0/8", "::1", false },
    { "0.0.0.0/0", "203.0.113.9", true },
    { "0.0.0.0/0", "::ffff:203.0.113.9", true },
    { "0.0.0.0/0", "::", false },
    { "0.0.0.0/0", "2001:db8::1", false },
    { "192.0.2.0/24", "::ffff:192.0.2.7", true },
    { "192.0.2.0/24", "::ffff:192.0.3.7", false },
    { "192.0.2.0/24", "::192.0.2.7", false },
    { "::ffff:192.0.2.0/120", "192.0.2.7", true },
    { "::ffff:192.0.2.0/120", "192.0.3.7", false },
    { "::ffff:0:0/96", "192.0.2.7", true },
    { "::ffff:192.0.2.7", "192.0.2.7", true },
    { "2001:db8::/32", "2001:db8:ffff::1", true },
    { "2001:db8::/32", "2001:db9::1", false },
    { "2001:db8::/33", "2001:db8:7fff::1", true },
    { "2001:db8::/33", "2001:db8:8000::1", false },
    { "2001:db8::1", "2001:db8::1", true },
    { "2001:db8::1", "2001:db8::2", false },
    { "2001:db8::1/128", "2001:db8::1", true },
    { "2001:db8::/127", "2001:db8::1", true },
    { "2001:db8::/127", "2001:db8::2", false },
    { "::/0", "2001:db8::1", true },
    { "::/0", "192.0.2.7", false },
    { "::/0", "::ffff:192.0.2.7", false },
    { "::/1", "192.0.2.7", false },
    { "::1", "127.0.0.1", false },
    { "::/0", "a UNIX socket", false },
    { "0.0.0.0/0", "a UNIX socket", false },
};

static void rule_25_an_address_lies_in_a_network_or_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct sockaddr_storage who = address(rows[i].address);
        struct network network;

        if (network_parse(rows[i].network, &network) != 0)
            fail_msg("%s", rows[i].network);
        if (network_contains(&network, 1, &who) != rows[i].inside)
            fail_msg("%s in %s", rows[i].address, rows[i].network);
    }
}

static void what_is_no_network_is_refused(void **state)
{
    static const char *const refused[] = {
        "",
        "/",
        "/24",
        "192.0.2.0/",
        "192.0.2.0/33",
        "192.0.2.0/-1",
        "192.0.2.0/+8",
        "192.0.2.0/8 ",
        " 192.0.2.0/8",
        "192.0.2.0/8/8",
        "192.0.2.0/255.255.255.0",
        "192.0.2.0/0x8",
        "192.0.2",
        "192.0.2.256",
        "192.0.2.07/8",
        "192.0.2.0:25",
        "2001:db8::/129",
        "2001:db8::/18446744073709551617",
        "2001:db8::/4294967296",
        "[2001:db8::1]",
        "fe80::1%lo",
        "2001:db8:::1",
        "localhost",
        "*",
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/8",
    };
    struct network network;

    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++)
        if (network_parse(refused[i], &network) != -EINVAL)
            fail_msg("%s", refused[i]);
}

static void any_network_of_the_list_is_enough(void **state)
{
    struct sockaddr_storage first = address("192.0.2.7"), last = address("2001:db8::1");
    struct sockaddr_storage other = address("198.51.100.1");
    struct network networks[3];

    (void)state;
    assert_int_equal(network_parse("192.0.2.0/24", &networks[0]), 0);
    assert_int_equal(network_parse("203.0.113.1", &networks[1]), 0);
    assert_int_equal(network_parse("2001:db8::/32", &networks[2]), 0);
    assert_true(network_contains(networks, 3, &first));
    assert_true(network_contains(networks, 3, &last));
    assert_false(network_contains(networks, 2, &last));
    assert_false(network_contains(networks, 3, &other));
    assert_false(network_contains(NULL, 0, &first));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_25_an_address_lies_in_a_network_or_not),
        cmocka_unit_test(what_is_no_network_is_refused),
        cmocka_unit_test(any_network_of_the_list_is_enough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Addresses: what an item of the settings becomes, slots, words, equality. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>

#include "proxy/address.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define LONG_50     "0123456789abcdefghijklmnopqrstuvwxyz0123456789abcd"

static const struct item_row {
    const char *item, *host, *port; /* host NULL: no host and port */
    const char *text;               /* of the first slot */
    int r;
} items[] = {
    { "192.0.2.1:25", "192.0.2.1", "25", "192.0.2.1:25", 0 },
    { "127.0.0.1:65535", "127.0.0.1", "65535", "127.0.0.1:65535", 0 },
    { "[2001:db8::1]:587", "2001:db8::1", "587", "[2001:db8::1]:587", 0 },
    { "[::1]:110", "::1", "110", "[::1]:110", 0 },
    { "mail.internal:25", "mail.internal", "25", "none", 0 },
    { "localhost:1", "localhost", "1", "none", 0 },
    { "192.0.2.1.example:25", "192.0.2.1.example", "25", "none", 0 },
    { "unix:/run/legacy/smtp.sock", NULL, NULL, "unix:/run/legacy/smtp.sock", 0 },
    { "unix:/run/a:25", NULL, NULL, "unix:/run/a:25", 0 },
    { "unix:/" LONG_50 LONG_50 "012345", NULL, NULL, "unix:/" LONG_50 LONG_50 "012345", 0 },
    { "unix:/" LONG_50 LONG_50 "0123456", NULL, NULL, NULL, -ENAMETOOLONG },
    { "mail.internal", NULL, NULL, "none", 0 },
    { "mail.internal:", NULL, NULL, "none", 0 },
    { ":25", NULL, NULL, "none", 0 },
    { "[]:25", NULL, NULL, "none", 0 },
    { "[::1:25", NULL, NULL, "none", 0 },
    { "", NULL, NULL, "none", 0 },
    { "mail.internal:12345678", NULL, NULL, "none", 0 },
};

static struct settings_backend backend_of(char **names, size_t count)
{
    return (struct settings_backend){ .name = (char *)(uintptr_t) "smtp",
                                      .address = { names, count } };
}

static void an_item_becomes_host_and_port_or_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(items); i++) {
        char host[256] = "", port[8] = "";
        bool found = address_host_port(items[i].item, host, port);

        if (found != (items[i].host != NULL))
            fail_msg("%s", items[i].item);
        if (found) {
            assert_string_equal(host, items[i].host);
            assert_string_equal(port, items[i].port);
        }
    }
}

static void a_host_of_any_length_keeps_its_room(void **state)
{
    char item[400], host[256], port[8];

    (void)state;
    for (size_t size = 250; size < 260; size++) {
        memset(item, 'a', size);
        strcpy(item + size, ":25");
        assert_int_equal(address_host_port(item, host, port), size < 256);
    }
}

static void the_first_slot_holds_what_needs_no_name_server(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(items); i++) {
        char *names[] = { (char *)(uintptr_t)items[i].item };
        struct settings_backend backend = backend_of(names, 1);
        struct settings settings = { .backends = &backend, .backend_count = 1 };
        struct address address = { .to.any.sa_family = 99 };
        char text[ADDRESS_TEXT_MAX];
        int r = address_of_slot(&settings, &backend, 0, &address);

        if (r != items[i].r)
            fail_msg("%s: %d", items[i].item, r);
        if (r < 0) {
            assert_int_equal(address.to.any.sa_family, 99); /* written only on success */
            continue;
        }
        address_text(&address, text);
        assert_string_equal(text, items[i].text);
    }
}

static void the_embedded_worker_is_a_socket_below_runtime_dir(void **state)
{
    char *names[] = { (char *)(uintptr_t) "embedded" };
    struct settings_backend backend = backend_of(names, 1);
    struct settings settings = { .backends = &backend, .backend_count = 1 };
    struct address address;
    char text[ADDRESS_TEXT_MAX];

    (void)state;
    settings.gatepost.runtime_dir = (char *)(uintptr_t) "/run/gatepost";
    assert_int_equal(address_of_slot(&settings, &backend, 0, &address), 0);
    address_text(&address, text);
    assert_string_equal(text, "unix:/run/gatepost/smtp.sock");
    settings.gatepost.runtime_dir = (char *)(uintptr_t) "/" LONG_50 LONG_50;
    assert_int_equal(address_of_slot(&settings, &backend, 0, &address), -ENAMETOOLONG);
}

static void each_item_has_its_slots_in_the_order_of_the_settings(void **state)
{
    char *first[] = { (char *)(uintptr_t) "192.0.2.1:25", (char *)(uintptr_t) "192.0.2.2:25" };
    char *third[] = { (char *)(uintptr_t) "unix:/s" };
    struct settings_backend backends[] = { backend_of(first, 2), backend_of(NULL, 0),
                                           backend_of(third, 1) };
    struct settings settings = { .backends = backends, .backend_count = 3 };

    (void)state;
    assert_int_equal(address_first_slot(&settings, &backends[0]), 0);
    assert_int_equal(address_first_slot(&settings, &backends[1]), 2 * ADDRESS_PER_ITEM);
    assert_int_equal(address_first_slot(&settings, &backends[2]), 2 * ADDRESS_PER_ITEM);
    assert_int_equal(address_slot_count(&backends[0]), 2 * ADDRESS_PER_ITEM);
    assert_int_equal(address_slot_count(&backends[1]), 0);
    for (size_t i = 0; i < 3 * ADDRESS_PER_ITEM; i++) {
        struct address address;
        char text[ADDRESS_TEXT_MAX];

        assert_int_equal(address_of_slot(&settings, &backends[0], i, &address), 0);
        address_text(&address, text);
        assert_string_equal(text, i == 0                  ? "192.0.2.1:25"
                                  : i == ADDRESS_PER_ITEM ? "192.0.2.2:25"
                                                          : "none");
    }
}

static const struct equal_row {
    const char *one, *other;
    bool equal;
} equals[] = {
    { "192.0.2.1:25", "192.0.2.1:25", true },
    { "192.0.2.1:25", "192.0.2.1:26", false },
    { "192.0.2.1:25", "192.0.2.2:25", false },
    { "[::1]:25", "[0:0::1]:25", true },
    { "[::1]:25", "[::2]:25", false },
    { "[::1]:25", "[::1]:26", false },
    { "[::ffff:192.0.2.1]:25", "192.0.2.1:25", false },
    { "unix:/a", "unix:/a", true },
    { "unix:/a", "unix:/b", false },
    { "unix:/a", "unix:/ab", false },
    { "unix:/a", "192.0.2.1:25", false },
    { "name:25", "name:26", true }, /* both empty */
    { "name:25", "192.0.2.1:25", false },
};

static void addresses_are_equal_or_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(equals); i++) {
        char *names[] = { (char *)(uintptr_t)equals[i].one, (char *)(uintptr_t)equals[i].other };
        struct settings_backend backend = backend_of(names, 2);
        struct settings settings = { .backends = &backend, .backend_count = 1 };
        struct address one, other;

        assert_int_equal(address_of_slot(&settings, &backend, 0, &one), 0);
        assert_int_equal(address_of_slot(&settings, &backend, ADDRESS_PER_ITEM, &other), 0);
        if (address_equal(&one, &other) != equals[i].equal ||
            address_equal(&other, &one) != equals[i].equal)
            fail_msg("%s and %s", equals[i].one, equals[i].other);
    }
}

/* One letter for each address: lower case is 192.0.2.<letter>, upper case 2001:db8::<letter>, a dot
 * none. */
static struct address_ip ip_of(char letter)
{
    struct address_ip ip = { 0 };

    if (letter >= 'a' && letter <= 'z') {
        ip.to.in.sin_family = AF_INET;
        ip.to.in.sin_port = htons(25);
        ip.to.in.sin_addr.s_addr = htonl(0xc0000200u | (uint32_t)letter);
    } else if (letter >= 'A' && letter <= 'Z') {
        ip.to.in6.sin6_family = AF_INET6;
        ip.to.in6.sin6_port = htons(25);
        inet_pton(AF_INET6, "2001:db8::", &ip.to.in6.sin6_addr);
        ip.to.in6.sin6_addr.s6_addr[15] = (uint8_t)letter;
    }
    return ip;
}

static const struct assign_row {
    const char *name, *before, *answers, *after;
    unsigned changed;
} assigns[] = {
    { "the first answers, in their order", "....", "ba", "ba..", 3 },
    { "no answer leaves nothing", "ab..", "", "....", 3 },
    { "the same answers change nothing", "ab..", "ab", "ab..", 0 },
    { "another order changes nothing", "abc.", "cab", "abc.", 0 },
    { "one leaves, the others keep their slots", "abc.", "ac", "a.c.", 2 },
    { "a new one takes the slot that is free", "a.c.", "acd", "adc.", 2 },
    { "a new one takes the slot of one that left", "ab..", "ca", "ac..", 2 },
    { "all are others", "ab..", "cd", "cd..", 3 },
    { "both families", "....", "Aa", "Aa..", 3 },
    { "a letter of the other family is another", "a...", "A", "A...", 1 },
    { "an answer that is there twice counts once", "....", "aabb", "ab..", 3 },
    { "what has no room is left out", "....", "abcdef", "abcd", 15 },
    { "one that is in stays, though others come first", "...z", "abcdz", "abcz", 7 },
    { "when one leaves, the next has room", "abcd", "abdef", "abed", 4 },
    { "what is no address takes no slot", "....", ".a.", "a...", 1 },
    { "an empty slot is not kept by an empty answer", "a.b.", "ab.", "a.b.", 0 },
};

static void answers_take_slots_and_keep_them(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(assigns); i++) {
        struct address_ip slots[ADDRESS_PER_ITEM], answers[8];
        size_t count = strlen(assigns[i].answers);
        unsigned changed;

        for (size_t j = 0; j < ADDRESS_PER_ITEM; j++)
            slots[j] = ip_of(assigns[i].before[j]);
        for (size_t j = 0; j < count; j++)
            answers[j] = ip_of(assigns[i].answers[j]);
        changed = address_assign(answers, count, slots);
        if (changed != assigns[i].changed)
            fail_msg("%s: changed %x", assigns[i].name, changed);
        for (size_t j = 0; j < ADDRESS_PER_ITEM; j++) {
            struct address_ip wanted = ip_of(assigns[i].after[j]);
            struct address one = address_of_ip(&slots[j]), other = address_of_ip(&wanted);

            if (!address_equal(&one, &other))
                fail_msg("%s: slot %zu", assigns[i].name, j);
        }
    }
}

static void a_message_holds_what_the_channel_takes(void **state)
{
    (void)state;
    assert_true(sizeof(struct child_addresses) <= CHILD_MESSAGE_MAX);
    assert_true(ADDRESS_MESSAGE_MOST > ADDRESS_PER_ITEM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_item_becomes_host_and_port_or_not),
        cmocka_unit_test(a_host_of_any_length_keeps_its_room),
        cmocka_unit_test(the_first_slot_holds_what_needs_no_name_server),
        cmocka_unit_test(the_embedded_worker_is_a_socket_below_runtime_dir),
        cmocka_unit_test(each_item_has_its_slots_in_the_order_of_the_settings),
        cmocka_unit_test(addresses_are_equal_or_not),
        cmocka_unit_test(answers_take_slots_and_keep_them),
        cmocka_unit_test(a_message_holds_what_the_channel_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

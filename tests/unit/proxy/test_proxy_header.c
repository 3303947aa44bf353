/* An incoming PROXY header of either version, whole and one octet more at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "proxy/proxy_header.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define SIGNATURE   "\r\n\r\n\0\r\nQUIT\n"
#define INET        "\xc6\x33\x64\x07\xcb\x00\x71\x01\x12\x67\x00\x6e"
#define ZERO_10     "\0\0\0\0\0\0\0\0\0\0"
#define MAPPED      ZERO_10 "\xff\xff\xc6\x33\x64\x07" ZERO_10 "\xff\xff\xcb\x00\x71\x01\x12\x67\x00\x6e"
#define HALF_MAPPED                                                                                \
    ZERO_10 "\xff\xff\xc6\x33\x64\x07"                                                             \
            "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x02\x12\x67\x00\x6e"
#define ZERO_108                                                                                   \
    ZERO_10 ZERO_10 ZERO_10 ZERO_10 ZERO_10 ZERO_10 ZERO_10 ZERO_10 ZERO_10 ZERO_10 "\0\0\0\0\0\0" \
                                                                                    "\0\0"

static const struct row {
    const char *name;
    struct span bytes;
    int result;
    size_t at; /* octets that decide: for a header that is read, its size */
    const char *client, *server;
} rows[] = {
#define ROW(name, text, ...)                                                                       \
    {                                                                                              \
        name, { (const unsigned char *)("" text), sizeof(text) - 1 }, __VA_ARGS__                  \
    }
#define INET_TEXT PROXY_HEADER_ORIGIN, 28, "198.51.100.7:4711", "203.0.113.1:110"
    ROW("version 1", "PROXY TCP4 198.51.100.7 203.0.113.1 4711 110\r\n", PROXY_HEADER_ORIGIN, 46,
        "198.51.100.7:4711", "203.0.113.1:110"),
    ROW("version 1 and a command", "PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\nEHLO x\r\n",
        PROXY_HEADER_ORIGIN, 40, "[2001:db8::1]:1", "[2001:db8::2]:2"),
    ROW("version 1 and another header",
        "PROXY TCP4 1.2.3.4 1.2.3.5 1 2\r\nPROXY TCP4 9.9.9.9 1.2.3.5 1 2\r\n", PROXY_HEADER_ORIGIN,
        32, "1.2.3.4:1", "1.2.3.5:2"),
    ROW("version 1, IPv4 in the form of IPv6",
        "PROXY TCP6 ::ffff:198.51.100.7 ::ffff:203.0.113.1 1 2\r\n", PROXY_HEADER_ORIGIN, 55,
        "198.51.100.7:1", "203.0.113.1:2"),
    ROW("version 1, only the server in that form",
        "PROXY TCP6 2001:db8::1 ::ffff:203.0.113.1 1 2\r\n", PROXY_HEADER_ORIGIN, 47,
        "[2001:db8::1]:1", "[::ffff:203.0.113.1]:2"),
    ROW("version 1, UNKNOWN", "PROXY UNKNOWN\r\n", PROXY_HEADER_NO_ORIGIN, 15, NULL, NULL),
    ROW("version 1, UNKNOWN with an address", "PROXY UNKNOWN 1.2.3.4 1.2.3.4 1 2\r\n",
        PROXY_HEADER_NO_ORIGIN, 35, NULL, NULL),
    ROW("version 2", SIGNATURE "\x21\x11\x00\x0c" INET, INET_TEXT),
    ROW("version 2 and a ClientHello", SIGNATURE "\x21\x11\x00\x0c" INET "\x16\x03\x01", INET_TEXT),
    ROW("version 2 with TLVs", SIGNATURE "\x21\x11\x00\x12" INET "\x05\x00\x03uid",
        PROXY_HEADER_ORIGIN, 34, "198.51.100.7:4711", "203.0.113.1:110"),
    ROW("version 2, IPv4 in the form of IPv6", SIGNATURE "\x21\x21\x00\x24" MAPPED,
        PROXY_HEADER_ORIGIN, 52, "198.51.100.7:4711", "203.0.113.1:110"),
    ROW("version 2, only the client in that form", SIGNATURE "\x21\x21\x00\x24" HALF_MAPPED,
        PROXY_HEADER_ORIGIN, 52, "[::ffff:198.51.100.7]:4711", "[2001:db8::2]:110"),
    ROW("version 2, LOCAL", SIGNATURE "\x20\x00\x00\x00", PROXY_HEADER_NO_ORIGIN, 16, NULL, NULL),
    ROW("version 2, LOCAL with addresses", SIGNATURE "\x20\x11\x00\x0c" INET,
        PROXY_HEADER_NO_ORIGIN, 28, NULL, NULL),
    ROW("version 2, no family", SIGNATURE "\x21\x00\x00\x00", PROXY_HEADER_NO_ORIGIN, 16, NULL,
        NULL),
    ROW("version 2, a UNIX socket", SIGNATURE "\x21\x31\x00\xd8" ZERO_108 ZERO_108,
        PROXY_HEADER_NO_ORIGIN, 232, NULL, NULL),
    ROW("nothing", "", PROXY_HEADER_MORE, 0, NULL, NULL),
    ROW("the beginning of version 1", "PROXY TCP4 198", PROXY_HEADER_MORE, 0, NULL, NULL),
    ROW("the beginning of version 2", SIGNATURE "\x21", PROXY_HEADER_MORE, 0, NULL, NULL),
    ROW("EHLO", "EHLO x\r\n", -EPROTO, 1, NULL, NULL),
    ROW("PASS", "PASS x\r\n", -EPROTO, 2, NULL, NULL),
    ROW("a ClientHello", "\x16\x03\x01\x02\x00", -EPROTO, 1, NULL, NULL),
    ROW("an empty line and a command", "\r\nEHLO x\r\n", -EPROTO, 3, NULL, NULL),
    ROW("a space before version 1", " PROXY UNKNOWN\r\n", -EPROTO, 1, NULL, NULL),
    ROW("HTTP", "POST / HTTP/1.1\r\n", -EPROTO, 2, NULL, NULL),
    ROW("version 1 in version 2", SIGNATURE "PROXY", -EPROTO, 13, NULL, NULL),
    ROW("an address that is none", "PROXY TCP4 1.2.3.4 x 1 2\r\n", -EPROTO, 26, NULL, NULL),
    ROW("longer than any that is read", SIGNATURE "\x21\x11\x03\xf1" INET, -EPROTO, 16, NULL, NULL),
    ROW("a TLV longer than the header", SIGNATURE "\x21\x11\x00\x10" INET "\x05\x00\x02u", -EPROTO,
        32, NULL, NULL),
#undef ROW
};

static int read_exact(struct span bytes, struct origin *ret_origin, size_t *ret_size)
{
    unsigned char *exact = malloc(bytes.size ? bytes.size : 1); /* for the address sanitizer */
    int result;

    assert_non_null(exact);
    if (bytes.size > 0)
        memcpy(exact, bytes.data, bytes.size);
    result = proxy_header_read(span_of(exact, bytes.size), ret_origin, ret_size);
    free(exact);
    return result;
}

static void check(const struct row *row, int result, const struct origin *origin, size_t size)
{
    char client[64], server[64];

    if (result != row->result)
        fail_msg("%s: %d", row->name, result);
    if (result != PROXY_HEADER_ORIGIN && result != PROXY_HEADER_NO_ORIGIN)
        return;
    if (size != row->at)
        fail_msg("%s: %zu octets", row->name, size);
    if (result == PROXY_HEADER_ORIGIN &&
        (strcmp(proxy_v2_address_text(&origin->client, client, sizeof(client)), row->client) != 0 ||
         strcmp(proxy_v2_address_text(&origin->server, server, sizeof(server)), row->server) != 0))
        fail_msg("%s: %s", row->name, client);
}

static void rule_25_headers_of_both_versions_name_the_client(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct origin origin;
        size_t size = 0;
        int result = read_exact(rows[i].bytes, &origin, &size);

        check(&rows[i], result, &origin, size);
    }
}

static void rule_25_one_octet_at_a_time_tells_the_same_and_no_octet_late(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct origin origin;
        size_t size = 0, count = 0;
        int result;

        while ((result = read_exact(span_first(rows[i].bytes, count), &origin, &size)) ==
                   PROXY_HEADER_MORE &&
               count < rows[i].bytes.size)
            count++;
        check(&rows[i], result, &origin, size);
        if (result != PROXY_HEADER_MORE && count != rows[i].at)
            fail_msg("%s: decided by %zu octets", rows[i].name, count);
    }
}

static void nothing_is_written_but_for_a_header_that_names_a_client(void **state)
{
    struct origin origin, before;
    size_t size;

    (void)state;
    memset(&origin, 0x55, sizeof(origin));
    before = origin;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (rows[i].result != PROXY_HEADER_ORIGIN) {
            read_exact(rows[i].bytes, &origin, &size);
            assert_memory_equal(&origin, &before, sizeof(origin));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_25_headers_of_both_versions_name_the_client),
        cmocka_unit_test(rule_25_one_octet_at_a_time_tells_the_same_and_no_octet_late),
        cmocka_unit_test(nothing_is_written_but_for_a_header_that_names_a_client),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The line of the PROXY protocol, version 1: what is written is read again; lines of other
 * programs; lines that lie. Everything is read whole and one octet more at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "proxy/base/proxy_v1.h"
#include "proxy/base/proxy_v2.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define LONGEST6    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
#define FILL_80     "01234567890123456789012345678901234567890123456789012345678901234567890123456789"

static struct sockaddr_storage address(const char *text, unsigned port)
{
    struct sockaddr_storage storage = { 0 };
    struct sockaddr_in *inet = (void *)&storage;
    struct sockaddr_in6 *inet6 = (void *)&storage;

    if (inet_pton(AF_INET, text, &inet->sin_addr) == 1) {
        inet->sin_family = AF_INET;
        inet->sin_port = htons((uint16_t)port);
    } else if (inet_pton(AF_INET6, text, &inet6->sin6_addr) == 1) {
        inet6->sin6_family = AF_INET6;
        inet6->sin6_port = htons((uint16_t)port);
    }
    return storage;
}

static int read_exact(struct span bytes, struct sockaddr_storage *ret_client,
                      struct sockaddr_storage *ret_server, size_t *ret_size)
{
    unsigned char *exact = malloc(bytes.size ? bytes.size : 1); /* for the address sanitizer */
    int result;

    assert_non_null(exact);
    if (bytes.size > 0)
        memcpy(exact, bytes.data, bytes.size);
    result = proxy_v1_read(span_of(exact, bytes.size), ret_client, ret_server, ret_size);
    free(exact);
    return result;
}

/* The result of the first beginning that does not ask for more; *ret_at is its size. */
static int read_bytewise(struct span bytes, struct sockaddr_storage *ret_client,
                         struct sockaddr_storage *ret_server, size_t *ret_size, size_t *ret_at)
{
    int result = PROXY_V1_MORE;

    for (*ret_at = 0; *ret_at <= bytes.size; ++*ret_at) {
        result = read_exact(span_first(bytes, *ret_at), ret_client, ret_server, ret_size);
        if (result != PROXY_V1_MORE)
            return result;
    }
    return result;
}

static const struct write_row {
    const char *client, *server;
    const char *line;
} write_rows[] = {
    { "198.51.100.7", "203.0.113.1", "PROXY TCP4 198.51.100.7 203.0.113.1 4711 25\r\n" },
    { "2001:db8::1", "2001:db8::2", "PROXY TCP6 2001:db8::1 2001:db8::2 4711 25\r\n" },
    { "255.255.255.255", "0.0.0.0", "PROXY TCP4 255.255.255.255 0.0.0.0 4711 25\r\n" },
    { "198.51.100.7", "2001:db8::2", "PROXY UNKNOWN\r\n" },
    { "", "203.0.113.1", "PROXY UNKNOWN\r\n" },
    { "", "", "PROXY UNKNOWN\r\n" },
};

static void rule_25_what_is_written_is_read_again(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(write_rows); i++) {
        const struct write_row *row = &write_rows[i];
        struct sockaddr_storage client = address(row->client, 4711);
        struct sockaddr_storage server = address(row->server, 25), none = { 0 };
        struct sockaddr_storage read_client, read_server;
        bool known = client.ss_family != AF_UNSPEC && client.ss_family == server.ss_family;
        unsigned char line[PROXY_V1_LINE_MAX];
        size_t read_size, at;
        long size = proxy_v1_write(&client, &server, line, sizeof(line));

        assert_int_equal(size, strlen(row->line));
        assert_memory_equal(line, row->line, (size_t)size);
        assert_int_equal(
            read_bytewise(span_of(line, (size_t)size), &read_client, &read_server, &read_size, &at),
            PROXY_V1_READY);
        assert_int_equal(read_size, size);
        assert_int_equal(at, size);
        assert_memory_equal(&read_client, known ? &client : &none, sizeof(client));
        assert_memory_equal(&read_server, known ? &server : &none, sizeof(server));
    }
}

static void a_line_that_does_not_fit_is_not_written(void **state)
{
    struct sockaddr_storage client = address(LONGEST6, 65535), server = address(LONGEST6, 65535);
    unsigned char line[PROXY_V1_LINE_MAX];
    long whole = proxy_v1_write(&client, &server, line, sizeof(line));

    (void)state;
    assert_true(whole > 0);
    for (long room = 0; room < whole; room++) {
        unsigned char *exact = malloc(room ? (size_t)room : 1);

        assert_non_null(exact);
        assert_int_equal(proxy_v1_write(&client, &server, exact, (size_t)room), -ENOSPC);
        free(exact);
    }
}

static const struct foreign_row {
    const char *name, *bytes;
    const char *client, *server;
    size_t size; /* of the line */
} foreign_rows[] = {
    { "IPv4", "PROXY TCP4 198.51.100.7 203.0.113.1 4711 25\r\n", "198.51.100.7:4711",
      "203.0.113.1:25", 45 },
    { "a command behind it", "PROXY TCP4 198.51.100.7 203.0.113.1 4711 25\r\nEHLO x\r\n",
      "198.51.100.7:4711", "203.0.113.1:25", 45 },
    { "port 0", "PROXY TCP4 198.51.100.7 203.0.113.1 0 25\r\n", "198.51.100.7:0", "203.0.113.1:25",
      42 },
    { "the longest of IPv6", "PROXY TCP6 " LONGEST6 " " LONGEST6 " 65535 65535\r\n",
      "[" LONGEST6 "]:65535", "[" LONGEST6 "]:65535", 104 },
    { "capitals in IPv6", "PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", "[2001:db8::1]:1", "[::1]:2", 32 },
    { "UNKNOWN", "PROXY UNKNOWN\r\n", "unknown", "unknown", 15 },
    { "UNKNOWN with addresses", "PROXY UNKNOWN 198.51.100.7 203.0.113.1 1 2\r\n", "unknown",
      "unknown", 44 },
    { "UNKNOWN with what is none", "PROXY UNKNOWN  \x01\xff \r\n", "unknown", "unknown", 20 },
    { "the longest line", "PROXY UNKNOWN " FILL_80 "0123456789x\r\n", "unknown", "unknown", 107 },
};

static void lines_of_other_programs_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(foreign_rows); i++) {
        const struct foreign_row *row = &foreign_rows[i];
        struct sockaddr_storage client, server;
        size_t whole_size = 0, size = 0, at = 0;
        char from[64], to[64];

        if (read_exact(span_of_text(row->bytes), &client, &server, &whole_size) != PROXY_V1_READY ||
            read_bytewise(span_of_text(row->bytes), &client, &server, &size, &at) !=
                PROXY_V1_READY ||
            whole_size != row->size || size != row->size || at != row->size ||
            strcmp(proxy_v2_address_text(&client, from, sizeof(from)), row->client) != 0 ||
            strcmp(proxy_v2_address_text(&server, to, sizeof(to)), row->server) != 0)
            fail_msg("%s", row->name);
    }
}

static const struct lie_row {
    const char *name;
    struct span bytes;
    size_t at; /* octets that are enough to see it */
} lie_rows[] = {
#define ROW(name, text, at)                                                                        \
    {                                                                                              \
        name, { (const unsigned char *)("" text), sizeof(text) - 1 }, at                           \
    }
    ROW("a POP3 command", "PASS x\r\n", 2),
    ROW("a command of that name", "PROXY\r\n", 6),
    ROW("small letters", "proxy TCP4 ", 1),
    ROW("a NUL in the first word", "PRO\0XY TCP4 ", 4),
    ROW("two spaces behind PROXY", "PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n", 7),
    ROW("a tab behind PROXY", "PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n", 6),
    ROW("an unknown family", "PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n", 8),
    ROW("TCP5", "PROXY TCP5 1.2.3.4 1.2.3.4 1 2\r\n", 10),
    ROW("a family that goes on", "PROXY TCP44 1.2.3.4 1.2.3.4 1 2\r\n", 11),
    ROW("UNKNOWN that goes on", "PROXY UNKNOWNS\r\n", 16),
    ROW("no addresses", "PROXY TCP4 \r\n", 13),
    ROW("no ports", "PROXY TCP4 1.2.3.4 1.2.3.4\r\n", 28),
    ROW("one port", "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n", 30),
    ROW("three ports", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n", 34),
    ROW("two spaces between addresses", "PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n", 33),
    ROW("two spaces between ports", "PROXY TCP4 1.2.3.4 1.2.3.4 1  2\r\n", 33),
    ROW("a space at the end", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n", 33),
    ROW("a port too big", "PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n", 36),
    ROW("a negative port", "PROXY TCP4 1.2.3.4 1.2.3.4 -1 2\r\n", 33),
    ROW("a port with a sign", "PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n", 33),
    ROW("a port with a leading zero", "PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n", 33),
    ROW("a port in hexadecimal", "PROXY TCP4 1.2.3.4 1.2.3.4 0x1 2\r\n", 34),
    ROW("three numbers of an address", "PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n", 30),
    ROW("a number of an address too big", "PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n", 34),
    ROW("a NUL behind an address", "PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n", 33),
    ROW("a NUL in a port", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\0\r\n", 33),
    ROW("IPv6 that is said to be IPv4", "PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n", 40),
    ROW("IPv4 that is said to be IPv6", "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n", 32),
    ROW("an interface behind IPv6", "PROXY TCP6 fe80::1%lo ::1 1 2\r\n", 31),
    ROW("brackets around IPv6", "PROXY TCP6 [::1] ::1 1 2\r\n", 26),
    ROW("an address longer than any", "PROXY TCP6 " LONGEST6 ":ffff:ffff ::1 1 2\r\n", 70),
    ROW("a host name", "PROXY TCP4 localhost 1.2.3.4 1 2\r\n", 34),
    ROW("LF alone", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\nEHLO x\r\n", 31),
    ROW("CR alone", "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\rEHLO x\r\n", 32),
    ROW("LF alone in UNKNOWN", "PROXY UNKNOWN \nEHLO x\r\n", 15),
    ROW("CR alone in UNKNOWN", "PROXY UNKNOWN \rEHLO x\r\n", 16),
    ROW("one octet longer than the longest", "PROXY UNKNOWN " FILL_80 "0123456789xy\r\n", 106),
    ROW("no end", "PROXY UNKNOWN " FILL_80 FILL_80, 106),
#undef ROW
};

static void a_line_that_lies_is_refused_at_the_octet_that_shows_it(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lie_rows); i++) {
        const struct lie_row *row = &lie_rows[i];
        struct sockaddr_storage client, server;
        size_t size, at = 0;

        if (read_exact(row->bytes, &client, &server, &size) != -EPROTO)
            fail_msg("%s: read whole", row->name);
        if (read_bytewise(row->bytes, &client, &server, &size, &at) != -EPROTO || at != row->at)
            fail_msg("%s: read bytewise, %zu octets", row->name, at);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_25_what_is_written_is_read_again),
        cmocka_unit_test(a_line_that_does_not_fit_is_not_written),
        cmocka_unit_test(lines_of_other_programs_are_read),
        cmocka_unit_test(a_line_that_lies_is_refused_at_the_octet_that_shows_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

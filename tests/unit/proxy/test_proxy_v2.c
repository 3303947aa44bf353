/* The PROXY header, version 2: what is written is read again; headers of others; headers that lie.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>

#include "proxy/base/proxy_v2.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define SIGNATURE   "\r\n\r\n\0\r\nQUIT\n"
#define LONG_64     "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

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

/* Reads a header from an allocation of exactly its size, whole, and every beginning of it, which
 * must ask for more. */
static int read_all_ways(struct span bytes, struct proxy_v2 *ret_facts, size_t *ret_size)
{
    struct proxy_v2 unused;
    size_t unused_size;
    int result = 0;

    for (size_t size = 0; size <= bytes.size; size++) {
        unsigned char *exact = malloc(size ? size : 1);

        assert_non_null(exact);
        if (size > 0)
            memcpy(exact, bytes.data, size);
        result = proxy_v2_read(span_of(exact, size), size < bytes.size ? &unused : ret_facts,
                               size < bytes.size ? &unused_size : ret_size);
        free(exact);
        if (size < bytes.size && result != PROXY_V2_MORE)
            break;
    }
    return result;
}

static void what_is_written_is_read_again(void **state)
{
    struct proxy_v2 rows[] = {
        { .local = true },
        { .local = true, .tls = true, .tls_version = "TLSv1.3" },
        { .client = address("198.51.100.7", 4711), .server = address("203.0.113.1", 110) },
        { .client = address("2001:db8::1", 65535), .server = address("2001:db8::2", 25) },
        { .unique_id = "a1-b2", .alpn = "pop3", .authority = "mail.example.org" },
        { .client = address("198.51.100.7", 1),
          .server = address("203.0.113.1", 587),
          .tls = true,
          .tls_version = "TLSv1.2",
          .tls_cipher = "ECDHE-ECDSA-AES128-GCM-SHA256",
          .tls_client_name = "printer 3",
          .alpn = "smtp",
          .authority = "mail.example.org",
          .unique_id = "0000000000000001" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char header[PROXY_V2_HEADER_MAX];
        struct proxy_v2 facts;
        size_t read_size = 0;
        long size = proxy_v2_write(&rows[i], header, sizeof(header));

        assert_true(size > 0);
        assert_int_equal(read_all_ways(span_of(header, (size_t)size), &facts, &read_size),
                         PROXY_V2_READY);
        assert_int_equal(read_size, size);
        assert_memory_equal(&facts, &rows[i], sizeof(facts));
    }
}

static void a_header_that_does_not_fit_is_refused(void **state)
{
    struct proxy_v2 facts = { .client = address("198.51.100.7", 1),
                              .server = address("203.0.113.1", 587),
                              .tls = true,
                              .tls_version = "TLSv1.3",
                              .unique_id = "1" };
    unsigned char header[PROXY_V2_HEADER_MAX];
    long whole = proxy_v2_write(&facts, header, sizeof(header));

    (void)state;
    for (long room = 0; room < whole; room++) {
        unsigned char *exact = malloc(room ? (size_t)room : 1);

        assert_non_null(exact);
        assert_int_equal(proxy_v2_write(&facts, exact, (size_t)room), -ENOSPC);
        free(exact);
    }
}

static void the_longest_facts_fit_into_the_longest_header(void **state)
{
    struct proxy_v2 facts = { .client = address("2001:db8::1", 1),
                              .server = address("2001:db8::2", 2),
                              .tls = true };
    unsigned char header[PROXY_V2_HEADER_MAX];

    (void)state;
    memset(facts.tls_version, 'v', sizeof(facts.tls_version) - 1);
    memset(facts.tls_cipher, 'c', sizeof(facts.tls_cipher) - 1);
    memset(facts.tls_client_name, 'n', sizeof(facts.tls_client_name) - 1);
    memset(facts.alpn, 'a', sizeof(facts.alpn) - 1);
    memset(facts.authority, 's', sizeof(facts.authority) - 1);
    memset(facts.unique_id, 'u', sizeof(facts.unique_id) - 1);
    assert_true(proxy_v2_write(&facts, header, sizeof(header)) > 0);
}

/* Spans in constant tables, which SPAN_LIT cannot be. */
#define OCTETS(text)                                                                               \
    {                                                                                              \
        (const unsigned char *)("" text), sizeof(text) - 1                                         \
    }
#define HEADER(row) OCTETS(SIGNATURE row)
#define INET                                                                                       \
    "\xc6\x33\x64\x07\xcb\x00\x71\x01\x12\x67\x00\x6e" /* 198.51.100.7:4711, 203.0.113.1:110 */

static const struct foreign_row {
    const char *name;
    struct span header;
    const char *client;
    bool local, tls;
    const char *unique_id, *version;
} foreign_rows[] = {
    { "haproxy's health check", HEADER("\x20\x00\x00\x00"), "unknown", true, false, "", "" },
    { "a LOCAL header's addresses tell nothing", HEADER("\x20\x11\x00\x0c" INET), "unknown", true,
      false, "", "" },
    { "no TLV", HEADER("\x21\x11\x00\x0c" INET), "198.51.100.7:4711", false, false, "", "" },
    { "a datagram is taken like a stream", HEADER("\x21\x12\x00\x0c" INET), "198.51.100.7:4711",
      false, false, "", "" },
    { "an unknown TLV is skipped", HEADER("\x21\x11\x00\x14" INET "\xea\x00\x02xx\x05\x00\x00"),
      "198.51.100.7:4711", false, false, "", "" },
    { "a CRC32C TLV is skipped",
      HEADER("\x21\x11\x00\x17" INET "\x03\x00\x04\1\2\3\4\x05\x00\x01u"), "198.51.100.7:4711",
      false, false, "u", "" },
    { "the SSL TLV says: no TLS",
      HEADER("\x21\x11\x00\x1e" INET "\x20\x00\x0f\x00\0\0\0\x01\x21\x00\x07TLSv1.3"),
      "198.51.100.7:4711", false, false, "", "" },
    { "the SSL TLV says: TLS",
      HEADER("\x21\x11\x00\x1e" INET "\x20\x00\x0f\x01\0\0\0\x01\x21\x00\x07TLSv1.3"),
      "198.51.100.7:4711", false, true, "", "TLSv1.3" },
    { "a text is cut at a NUL",
      HEADER("\x21\x11\x00\x12" INET "\x05\x00\x03"
             "a\0b"),
      "198.51.100.7:4711", false, false, "a", "" },
    { "a text that is too long is cut", HEADER("\x21\x11\x00\x4f" INET "\x05\x00\x40" LONG_64),
      "198.51.100.7:4711", false, false,
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde", "" },
    { "the later of two TLVs counts",
      HEADER("\x21\x11\x00\x14" INET "\x05\x00\x01"
             "a\x05\x00\x01"
             "b"),
      "198.51.100.7:4711", false, false, "b", "" },
};

static void headers_of_other_programs_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(foreign_rows); i++) {
        const struct foreign_row *row = &foreign_rows[i];
        struct proxy_v2 facts;
        size_t size = 0;
        char text[64];

        if (read_all_ways(row->header, &facts, &size) != PROXY_V2_READY ||
            size != row->header.size || facts.local != row->local || facts.tls != row->tls ||
            strcmp(facts.unique_id, row->unique_id) != 0 ||
            strcmp(facts.tls_version, row->version) != 0 ||
            strcmp(proxy_v2_address_text(&facts.client, text, sizeof(text)), row->client) != 0)
            fail_msg("%s", row->name);
    }
}

static void the_dialogue_begins_behind_the_header(void **state)
{
    struct span bytes = SPAN_LIT(SIGNATURE "\x21\x11\x00\x0c" INET "USER anna\r\n");
    struct proxy_v2 facts;
    size_t size = 0;

    (void)state;
    assert_int_equal(proxy_v2_read(bytes, &facts, &size), PROXY_V2_READY);
    assert_true(span_equal(span_skip(bytes, size), SPAN_LIT("USER anna\r\n")));
}

static const struct lie_row {
    const char *name;
    struct span header;
} lie_rows[] = {
    { "an HTTP request", OCTETS("GET / HTTP/1.0\r\n\r\n") },
    { "a POP3 command", OCTETS("USER anna\r\n") },
    { "version 1", OCTETS("PROXY TCP4 198.51.100.7 203.0.113.1 4711 110\r\n") },
    { "a ClientHello", OCTETS("\x16\x03\x01\x02\x00") },
    { "a signature with one octet wrong", OCTETS("\r\n\r\n\0\r\nQUIT\r") },
    { "version 3", HEADER("\x31\x11\x00\x0c" INET) },
    { "version 1 in binary", HEADER("\x11\x11\x00\x0c" INET) },
    { "an unknown command", HEADER("\x22\x11\x00\x0c" INET) },
    { "an unknown family", HEADER("\x21\x41\x00\x0c" INET) },
    { "an unknown transport", HEADER("\x21\x13\x00\x0c" INET) },
    { "no room for IPv4", HEADER("\x21\x11\x00\x0b" INET) },
    { "no room for IPv6", HEADER("\x21\x21\x00\x0c" INET) },
    { "no room for a UNIX address", HEADER("\x21\x31\x00\x0c" INET) },
    { "longer than any that is read", HEADER("\x21\x11\x03\xf1" INET) },
    { "as long as can be said", HEADER("\x21\x11\xff\xff" INET) },
    { "a TLV without a length", HEADER("\x21\x11\x00\x0d" INET "\x05") },
    { "a TLV with half a length", HEADER("\x21\x11\x00\x0e" INET "\x05\x00") },
    { "a TLV longer than the header", HEADER("\x21\x11\x00\x10" INET "\x05\x00\x02u") },
    { "a TLV as long as can be said", HEADER("\x21\x11\x00\x10" INET "\x05\xff\xffu") },
    { "an unknown TLV longer than the header", HEADER("\x21\x11\x00\x10" INET "\xea\x00\x02u") },
    { "an SSL TLV without its flags", HEADER("\x21\x11\x00\x13" INET "\x20\x00\x04\x01\0\0\0") },
    { "an inner TLV longer than the SSL TLV",
      HEADER("\x21\x11\x00\x18" INET "\x20\x00\x09\x01\0\0\0\x00\x21\x00\x02T") },
    { "an inner TLV that ends behind the SSL TLV, within the header",
      HEADER("\x21\x11\x00\x1c" INET "\x20\x00\x09\x01\0\0\0\x00\x21\x00\x02T\x05\x00\x01u") },
    { "garbage for a LOCAL header", HEADER("\x20\x00\x00\x01x") },
};

static void a_header_that_lies_is_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(lie_rows); i++) {
        struct proxy_v2 facts;
        size_t size;

        if (read_all_ways(lie_rows[i].header, &facts, &size) != -EPROTO)
            fail_msg("%s", lie_rows[i].name);
    }
}

static void the_first_wrong_octet_is_enough(void **state)
{
    struct proxy_v2 facts;
    size_t size;

    (void)state;
    assert_int_equal(proxy_v2_read(SPAN_LIT("U"), &facts, &size), -EPROTO);
    assert_int_equal(proxy_v2_read(SPAN_LIT("\r\n\r\n\0\r\nQUIx"), &facts, &size), -EPROTO);
    assert_int_equal(proxy_v2_read(SPAN_LIT(SIGNATURE "\x31"), &facts, &size), -EPROTO);
    assert_int_equal(proxy_v2_read(SPAN_LIT(SIGNATURE "\x21\x13"), &facts, &size), -EPROTO);
    assert_int_equal(proxy_v2_read(SPAN_LIT(SIGNATURE "\x21\x11\xff\xff"), &facts, &size), -EPROTO);
}

static void addresses_have_a_text(void **state)
{
    struct sockaddr_storage inet = address("192.0.2.7", 4711), none = { .ss_family = AF_UNIX };
    struct sockaddr_storage inet6 = address("2001:db8::1", 4711);
    char text[64];

    (void)state;
    assert_string_equal(proxy_v2_address_text(&inet, text, sizeof(text)), "192.0.2.7:4711");
    assert_string_equal(proxy_v2_address_text(&inet6, text, sizeof(text)), "[2001:db8::1]:4711");
    assert_string_equal(proxy_v2_address_text(&none, text, sizeof(text)), "unknown");
    assert_string_equal(proxy_v2_address_text(&inet, text, 8), "192.0.2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_again),
        cmocka_unit_test(a_header_that_does_not_fit_is_refused),
        cmocka_unit_test(the_longest_facts_fit_into_the_longest_header),
        cmocka_unit_test(headers_of_other_programs_are_read),
        cmocka_unit_test(the_dialogue_begins_behind_the_header),
        cmocka_unit_test(a_header_that_lies_is_refused),
        cmocka_unit_test(the_first_wrong_octet_is_enough),
        cmocka_unit_test(addresses_have_a_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

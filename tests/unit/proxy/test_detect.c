/* The first octets of a client, whole and one more at a time, and how long they are awaited. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/detect.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct first_row {
    const char *name;
    const char *octets;
    size_t size;
    enum detect_result result; /* of all of them */
    size_t decides;            /* octets that decide; fewer are not enough */
} first_rows[] = {
    { "nothing", "", 0, DETECT_MORE, 1 },
    { "one octet of a ClientHello", "\x16", 1, DETECT_TLS, 1 },
    { "a ClientHello of TLS 1.2 or 1.3", "\x16\x03\x01\x02\x00\x01", 6, DETECT_TLS, 1 },
    { "a ClientHello of SSL 3.0", "\x16\x03\x00\x00\x2f\x01", 6, DETECT_TLS, 1 },
    { "an SSLv2 ClientHello", "\x80\x2e\x01\x00\x02", 5, DETECT_SSLV2, 3 },
    { "an SSLv2 ClientHello that offers TLS 1.0", "\x80\x67\x01\x03\x01", 5, DETECT_SSLV2, 3 },
    { "a long SSLv2 ClientHello", "\x81\x03\x01", 3, DETECT_SSLV2, 3 },
    { "half the header of SSLv2", "\x80\x2e", 2, DETECT_MORE, 3 },
    { "another message of SSLv2", "\x80\x2e\x04\x00", 4, DETECT_TEXT, 3 },
    { "text that begins with UTF-8", "\xc3\xa4\xc3", 3, DETECT_TEXT, 3 },
    { "EHLO", "EHLO x\r\n", 8, DETECT_TEXT, 1 },
    { "CAPA", "CAPA\r\n", 6, DETECT_TEXT, 1 },
    { "an empty line", "\r\n", 2, DETECT_TEXT, 1 },
    { "a NUL", "\0", 1, DETECT_TEXT, 1 },
    { "a TLS alert first", "\x15\x03\x01", 3, DETECT_TEXT, 1 },
    { "TLS data first", "\x17\x03\x03", 3, DETECT_TEXT, 1 },
    { "0x16 in the second place", "\x15\x16", 2, DETECT_TEXT, 1 },
    { "a PROXY header of version 2", "\r\n\r\n\0\r\nQUIT\n", 12, DETECT_TEXT, 1 },
};

static void rule_7_the_first_octets_tell_tls_from_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(first_rows); i++) {
        const struct first_row *row = &first_rows[i];

        for (size_t size = 0; size <= row->size; size++) {
            unsigned char *copy = malloc(size ? size : 1); /* exact, for the address sanitizer */
            enum detect_result wanted = size < row->decides ? DETECT_MORE : row->result;

            assert_non_null(copy);
            memcpy(copy, row->octets, size);
            if (detect_first(span_of(copy, size)) != wanted)
                fail_msg("%s: %zu octets", row->name, size);
            free(copy);
        }
    }
}

static void an_sslv2_client_gets_an_alert_that_it_can_read(void **state)
{
    static const unsigned char wanted[] = { 21, 3, 1, 0, 2, 2, 70 }; /* fatal protocol_version */

    (void)state;
    assert_true(span_equal(detect_sslv2_alert(), span_of(wanted, sizeof(wanted))));
}

static const struct wait_row {
    bool implicit_tls;
    uint32_t wait_ms;
    enum hint hint;
    uint32_t waits_ms;
} wait_rows[] = {
    { false, 250, HINT_NONE, 250 },  { false, 250, HINT_PLAIN, 0 },
    { false, 250, HINT_TLS, 250 },   { false, 250, HINT_TLS_LATE, 750 },
    { true, 5000, HINT_NONE, 5000 }, { true, 5000, HINT_PLAIN, 5000 }, /* never shortened */
    { true, 5000, HINT_TLS, 5000 },  { true, 5000, HINT_TLS_LATE, 15000 },
    { false, 0, HINT_TLS_LATE, 0 },  { false, UINT32_MAX, HINT_TLS_LATE, UINT32_MAX },
};

static void a_hint_shortens_or_lengthens_the_wait(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(wait_rows); i++) {
        const struct wait_row *row = &wait_rows[i];

        assert_int_equal(detect_wait_ms(row->implicit_tls, row->wait_ms, row->hint), row->waits_ms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_7_the_first_octets_tell_tls_from_text),
        cmocka_unit_test(an_sslv2_client_gets_an_alert_that_it_can_read),
        cmocka_unit_test(a_hint_shortens_or_lengthens_the_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

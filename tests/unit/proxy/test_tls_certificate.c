/* Tests of proxy/tls_certificate.c: dates and names of real certificates. */
#include "proxy/tls_certificate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include <openssl/err.h>

#include "tests/lib/tls_fixture.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* PEM that wants a pass phrase, also where no certificate does. */
#define LOCKED                                                                                     \
    "-----BEGIN CERTIFICATE-----\nProc-Type: 4,ENCRYPTED\n"                                        \
    "DEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\nAAAA\n-----END CERTIFICATE-----\n"

static struct pem_pair pair_of(const char *names, int days)
{
    struct pem_pair pair;

    make_pair(&pair, names, days, false);
    return pair;
}

static const struct cover_row {
    const char *names; /* of the certificate */
    const char *asked;
    bool covers;
} cover_rows[] = {
    { "DNS:a.example", "a.example", true },
    { "DNS:a.example", "A.Example", true },
    { "DNS:b.example,DNS:a.example", "a.example", true },
    { "DNS:*.example.org", "mail.example.org", true },
    { "DNS:*.example.org", "*.example.org", true },
    { "DNS:*.EXAMPLE.org", "*.example.org", true },
    /* not */
    { "DNS:a.example", "b.example", false },
    { "DNS:a.example", "a.example.org", false },
    { "DNS:a.example", "x.a.example", false },
    { "DNS:a.example", "*.a.example", false },
    { "DNS:a.example", "*.example", false },
    { "DNS:*.example.org", "example.org", false },
    { "DNS:*.example.org", "a.b.example.org", false },
    { "DNS:*.example.org", "*.b.example.org", false },
    { "DNS:mail.example.org", "*.example.org", false },
    { "IP:192.0.2.1", "192.0.2.1", false }, /* hosts alone are asked for */
    { "email:a@a.example", "a.example", false },
};

static void a_certificate_covers_its_names_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cover_rows); i++) {
        struct pem_pair pair = pair_of(cover_rows[i].names, 10);
        struct tls_certificate certificate;

        assert_int_equal(
            tls_certificate_read(span_of_text(pair.certificate), cover_rows[i].asked, &certificate),
            0);
        if (certificate.covers != cover_rows[i].covers)
            fail_msg("%s for %s", cover_rows[i].names, cover_rows[i].asked);
    }
}

static const struct names_row {
    const char *names;
    const char *words;
} names_rows[] = {
    { "DNS:a.example", "a.example" },
    { "DNS:a.example,DNS:*.b.example", "a.example, *.b.example" },
    { "DNS:a,DNS:b,DNS:c,DNS:d,DNS:e,DNS:f", "a, b, c, d and 2 more" },
    { "IP:192.0.2.1", "" },
    { "IP:192.0.2.1,DNS:a", "a" },
};

static void names_are_told_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(names_rows); i++) {
        struct pem_pair pair = pair_of(names_rows[i].names, 10);
        struct tls_certificate certificate;

        assert_int_equal(tls_certificate_read(span_of_text(pair.certificate), "x", &certificate),
                         0);
        assert_string_equal(certificate.names, names_rows[i].words);
    }
}

static void many_long_names_do_not_overflow_the_words(void **state)
{
    char names[2000] = "";
    struct pem_pair pair;
    struct tls_certificate certificate;

    (void)state;
    for (int i = 0; i < 20; i++)
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%sDNS:%060d.example",
                 i ? "," : "", i);
    pair = pair_of(names, 10);
    assert_int_equal(tls_certificate_read(span_of_text(pair.certificate), "x", &certificate), 0);
    assert_true(strlen(certificate.names) < sizeof(certificate.names));
    assert_non_null(strstr(certificate.names, " more"));
}

static void the_first_and_last_moment_are_told(void **state)
{
    static const int days[] = { -10, 0, 1, 13, 3650 };

    (void)state;
    for (size_t i = 0; i < COUNT(days); i++) {
        time_t before = time(NULL), after;
        struct pem_pair pair = pair_of("DNS:a.example", days[i]);
        struct tls_certificate certificate;

        after = time(NULL);
        assert_int_equal(tls_certificate_read(span_of_text(pair.certificate), "x", &certificate),
                         0);
        assert_in_range(certificate.ends, before + days[i] * 86400L, after + days[i] * 86400L);
        assert_in_range(certificate.begins, before - 2 * 86400L, after - 2 * 86400L);
    }
}

static void what_is_no_certificate_is_refused_and_forgotten(void **state)
{
    static const char *const texts[] = {
        "",
        "hello",
        "-----BEGIN CERTIFICATE-----\n",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        LOCKED,
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct tls_certificate certificate;

        assert_int_equal(tls_certificate_read(span_of_text(texts[i]), "x", &certificate), -EINVAL);
        assert_int_equal(ERR_peek_error(), 0);
    }
    assert_int_equal(tls_certificate_read(span_of(NULL, 0), "x", &(struct tls_certificate){ 0 }),
                     -EINVAL);
}

static void a_day_is_written_in_utc(void **state)
{
    char date[TLS_DATE_SIZE];

    (void)state;
    assert_string_equal(tls_date(0, date), "1970-01-01");
    assert_string_equal(tls_date(1795737599, date), "2026-11-26");
    assert_string_equal(tls_date((time_t)1 << 60, date), "a day far away");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_certificate_covers_its_names_alone),
        cmocka_unit_test(names_are_told_in_words),
        cmocka_unit_test(many_long_names_do_not_overflow_the_words),
        cmocka_unit_test(the_first_and_last_moment_are_told),
        cmocka_unit_test(what_is_no_certificate_is_refused_and_forgotten),
        cmocka_unit_test(a_day_is_written_in_utc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

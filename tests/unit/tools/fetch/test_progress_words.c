/* The words of a progress line, and the rate behind its time left. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>

#include "tools/fetch/progress_words.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define KIB         1024
#define MIB         1048576

static void test_sizes(void **state)
{
    static const struct row {
        uint64_t octets;
        const char *words;
    } rows[] = {
        { 0, "0 octets" },
        { 1, "1 octet" },
        { 1023, "1023 octets" },
        { 1024, "1.0 KiB" },
        { 1075, "1.0 KiB" },
        { 1076, "1.1 KiB" },
        { 10188, "9.9 KiB" },
        { 10189, "10 KiB" },
        { 10240, "10 KiB" },
        { 31 * MIB, "31 MiB" },
        { 5 * (uint64_t)MIB * KIB / 2, "2.5 GiB" },
        { (uint64_t)3 * MIB * MIB, "3.0 TiB" },
        { (uint64_t)5000 * MIB * MIB, "5000 TiB" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char room[64];
        struct text text = TEXT_OVER(room);

        progress_put_octets(&text, rows[i].octets);
        assert_string_equal(text_str(&text), rows[i].words);
    }
}

static void test_times(void **state)
{
    static const struct row {
        uint64_t seconds;
        const char *words;
    } rows[] = {
        { 0, "0 s" },
        { 59, "59 s" },
        { 60, "1 min 0 s" },
        { 80, "1 min 20 s" },
        { 3599, "59 min 59 s" },
        { 3600, "1 h 0 min" },
        { 7500, "2 h 5 min" },
        { 172799, "47 h 59 min" },
        { 172800, "2 days" },
        { 8640000, "100 days" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char room[64];
        struct text text = TEXT_OVER(room);

        progress_put_time(&text, rows[i].seconds);
        assert_string_equal(text_str(&text), rows[i].words);
    }
}

static void test_lines(void **state)
{
    static const struct row {
        struct progress_facts facts;
        size_t columns;
        const char *words;
    } rows[] = {
        { { "receiving", 3, 12, 4404019, 31 * MIB, 120832 },
          80,
          "receiving 3 of 12, 4.2 of 31 MiB, 118 KiB/s, 3 min 53 s left" },
        { { "receiving", 3, 12, 4404019, 31 * MIB, 120832 },
          59,
          "receiving 3 of 12, 4.2 of 31 MiB, 118 KiB/s" },
        { { "receiving", 3, 12, 4404019, 31 * MIB, 120832 },
          40,
          "receiving 3 of 12, 4.2 of 31 MiB" },
        { { "receiving", 3, 12, 4404019, 31 * MIB, 120832 }, 20, "receiving 3 of 12" },
        { { "receiving", 3, 12, 4404019, 31 * MIB, 120832 }, 16, "" },
        { { "sending", 1, 1, 0, 500, 0 }, 80, "sending 1 of 1, 0 of 500 octets" },
        { { "sending", 1, 1, 0, 1, 0 }, 80, "sending 1 of 1, 0 of 1 octet" },
        { { "sending", 1, 0, 0, 0, 0 }, 80, "sending 1, 0 octets" },
        { { "sending", 2, 1, 2048, 1024, 10 }, 80, "sending 2, 2.0 KiB, 10 octets/s" },
        { { "sending", 1, 1, MIB, MIB, 10 }, 80, "sending 1 of 1, 1.0 of 1.0 MiB, 10 octets/s" },
        { { "sending", 1, 1, 0, MIB, 0.5 }, 80, "sending 1 of 1, 0.0 of 1.0 MiB, 0 octets/s" },
        { { "sending", UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, 1e300 }, 20, "" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char room[256];
        struct text text = TEXT_OVER(room);

        progress_put(&text, &rows[i].facts, rows[i].columns);
        assert_string_equal(text_str(&text), rows[i].words);
    }
}

static void test_a_steady_link_has_its_rate(void **state)
{
    struct progress_rate rate = { 0 };

    (void)state;
    for (unsigned i = 0; i <= 100; i++)
        progress_rate_add(&rate, i > 0 ? 1000 : 0, 5000 + 100 * i);
    assert_true(rate.octets_per_s > 9990 && rate.octets_per_s < 10010);
}

static void test_no_rate_is_told_too_early(void **state)
{
    struct progress_rate rate = { 0 };

    (void)state;
    progress_rate_add(&rate, 1000000, 7);
    progress_rate_add(&rate, 1000000, 300);
    assert_true(rate.octets_per_s == 0);
    progress_rate_add(&rate, 0, 1007);
    assert_true(rate.octets_per_s == 2000000);
}

static void test_one_burst_does_not_make_it_jump(void **state)
{
    struct progress_rate rate = { 0 };

    (void)state;
    for (unsigned i = 0; i <= 20; i++)
        progress_rate_add(&rate, 500, 500 * i);
    progress_rate_add(&rate, 50000, 500 * 21);
    assert_true(rate.octets_per_s > 1000 && rate.octets_per_s < 20000);
}

static void test_a_dead_link_is_forgotten(void **state)
{
    struct progress_rate rate = { 0 };

    (void)state;
    for (unsigned i = 0; i <= 20; i++)
        progress_rate_add(&rate, 500, 500 * i);
    for (unsigned i = 21; i <= 60; i++)
        progress_rate_add(&rate, 0, 500 * i);
    assert_true(rate.octets_per_s < 10);
    progress_rate_add(&rate, 1000, 100000); /* long silence: only what is new counts */
    assert_true(rate.octets_per_s < 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_a_steady_link_has_its_rate),
        cmocka_unit_test(test_no_rate_is_told_too_early),
        cmocka_unit_test(test_one_burst_does_not_make_it_jump),
        cmocka_unit_test(test_a_dead_link_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

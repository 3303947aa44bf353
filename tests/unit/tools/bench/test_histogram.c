/* Times that were counted come back within 1.6 per cent, in order, also those of several processes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "tools/bench/histogram.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static struct histogram histogram, other;

static int clear(void **state)
{
    (void)state;
    memset(&histogram, 0, sizeof(histogram));
    memset(&other, 0, sizeof(other));
    return 0;
}

static void a_time_comes_back_a_little_shorter_at_most(void **state)
{
    static const uint64_t times[] = { 0,        1,           63,         64,
                                      127,      128,         129,        1000,
                                      65535,    65536,       1000000,    999999999,
                                      1u << 31, 3600000000u, 1ull << 40, 0xffffffffffffull };

    for (size_t i = 0; i < COUNT(times); i++) {
        uint64_t found;

        clear(state);
        histogram_add(&histogram, times[i]);
        found = histogram_share_us(&histogram, 0.5);
        if (found > times[i] || times[i] - found > times[i] / 64)
            fail_msg("%llu came back as %llu", (unsigned long long)times[i],
                     (unsigned long long)found);
        assert_int_equal(histogram.longest_us, times[i]);
    }
}

static void shares_are_those_of_the_sorted_times(void **state)
{
    (void)state;
    for (uint64_t us = 1; us <= 100; us++)
        histogram_add(&histogram, us);
    assert_int_equal(histogram_share_us(&histogram, 0), 1);
    assert_int_equal(histogram_share_us(&histogram, 0.5), 51);
    assert_int_equal(histogram_share_us(&histogram, 0.99), 100);
    assert_int_equal(histogram_share_us(&histogram, 1), 100);
}

static void without_any_time_all_shares_are_zero(void **state)
{
    (void)state;
    assert_int_equal(histogram_share_us(&histogram, 0.99), 0);
}

static void what_processes_counted_is_added(void **state)
{
    (void)state;
    histogram_add(&histogram, 10);
    histogram_add(&other, 1000);
    histogram_add(&other, 20);
    histogram_merge(&histogram, &other);
    assert_int_equal(histogram.count, 3);
    assert_int_equal(histogram.longest_us, 1000);
    assert_int_equal(histogram_share_us(&histogram, 0.5), 20);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_time_comes_back_a_little_shorter_at_most, clear),
        cmocka_unit_test_setup(shares_are_those_of_the_sorted_times, clear),
        cmocka_unit_test_setup(without_any_time_all_shares_are_zero, clear),
        cmocka_unit_test_setup(what_processes_counted_is_added, clear),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* How long to wait before trying again. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "tools/fetch/backoff.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct row {
    unsigned failures;
    uint32_t random, wait_ms;
} rows[] = {
    { 0, UINT32_MAX / 2, 999 },
    { 1, 0, 500 },
    { 1, UINT32_MAX / 2, 999 },
    { 1, UINT32_MAX, 1500 },
    { 2, 0, 1000 },
    { 2, UINT32_MAX, 3000 },
    { 5, 0, 8000 },
    { 9, 0, 128000 },
    { 9, UINT32_MAX, 384000 },
    { 10, 0, 150000 },
    { 10, UINT32_MAX, 450000 },
    { 1000, 0, 150000 },
    { UINT32_MAX, UINT32_MAX, 450000 },
};

static void test_it_doubles_up_to_five_minutes_and_spreads(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        assert_int_equal(backoff_ms(rows[i].failures, rows[i].random), rows[i].wait_ms);
}

static void test_more_failures_never_wait_less(void **state)
{
    (void)state;
    for (unsigned failures = 1; failures < 20; failures++)
        assert_true(backoff_ms(failures + 1, 12345) >= backoff_ms(failures, 12345));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_doubles_up_to_five_minutes_and_spreads),
        cmocka_unit_test(test_more_failures_never_wait_less),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

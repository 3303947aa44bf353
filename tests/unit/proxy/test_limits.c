/* The bucket of tokens: rows of a rate, moments, and what may be taken then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/limits.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define BEGIN_MS    1000000

static const struct row {
    const char *name;
    uint32_t rate;
    int64_t first_ms, second_ms; /* from the beginning; at both, all that is there is taken */
    unsigned first, second;
} rows[] = {
    { "at once a second's worth, then nothing", 10, 0, 0, 10, 0 },
    { "a tenth of a second brings one of ten", 10, 0, 100, 10, 1 },
    { "a millisecond less brings none", 10, 0, 99, 10, 0 },
    { "half a second brings half", 10, 0, 500, 10, 5 },
    { "an hour brings no more than a second", 10, 0, 3600000, 10, 10 },
    { "an hour of quiet at first brings no more", 10, 3600000, 3600000, 10, 0 },
    { "one a second", 1, 0, 999, 1, 0 },
    { "one a second, the next", 1, 0, 1000, 1, 1 },
    { "a clock that goes back brings nothing", 10, 0, -5000, 10, 0 },
    { "a thousand a second", 1000, 0, 1, 1000, 1 },
};

static unsigned take_all(struct limits *limits, uint64_t now_ms)
{
    unsigned count = 0;

    while (count <= 1000000 && limits_take(limits, now_ms))
        count++;
    return count;
}

static void a_rate_is_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct limits limits;

        limits_init(&limits, rows[i].rate, BEGIN_MS);
        if (take_all(&limits, (uint64_t)(BEGIN_MS + rows[i].first_ms)) != rows[i].first ||
            take_all(&limits, (uint64_t)(BEGIN_MS + rows[i].second_ms)) != rows[i].second)
            fail_msg("%s", rows[i].name);
    }
}

static void small_steps_bring_what_one_step_brings(void **state)
{
    struct limits limits;
    unsigned count = 0;

    (void)state;
    limits_init(&limits, 7, BEGIN_MS);
    take_all(&limits, BEGIN_MS);
    for (unsigned ms = 1; ms <= 10000 && count <= 70; ms++)
        count += take_all(&limits, BEGIN_MS + ms);
    assert_int_equal(count, 70);
}

static void the_highest_rate_does_not_overflow(void **state)
{
    struct limits limits;

    (void)state;
    limits_init(&limits, 1000000, 0);
    assert_int_equal(take_all(&limits, 0), 1000000);
    assert_int_equal(take_all(&limits, UINT64_MAX), 1000000);
}

static void no_rate_is_no_limit(void **state)
{
    struct limits limits;

    (void)state;
    limits_init(&limits, 0, BEGIN_MS);
    for (int i = 0; i < 1000; i++)
        assert_true(limits_take(&limits, BEGIN_MS));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rate_is_kept),
        cmocka_unit_test(small_steps_bring_what_one_step_brings),
        cmocka_unit_test(the_highest_rate_does_not_overflow),
        cmocka_unit_test(no_rate_is_no_limit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The high water of sessions: rows of how their number goes, and how often memory is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/ebb.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define STEPS       7
#define END         SIZE_MAX

static const struct row {
    const char *name;
    size_t sessions[STEPS]; /* from 0 to each of them in turn; the last: END */
    unsigned given;
} rows[] = {
    { "few come and go", { 79, 0, 79, 0, 79, 0, END }, 0 },
    { "so many that it counts", { 86, 0, END }, 1 },
    { "and they come again", { 86, 0, 86, 0, 86, 0, END }, 3 },
    { "a thousand, and a part of them goes", { 1000, 687, END }, 0 },
    { "a thousand, and one more than that part", { 1000, 686, END }, 1 },
    { "a thousand that go up and down", { 1000, 700, 1000, 700, 1000, 700, END }, 0 },
    { "a thousand that all go", { 1000, 0, END }, 5 },
    { "behind it the mark is at what is left", { 1000, 686, 999, 680, END }, 2 },
    { "nine thousand that all go", { 9000, 0, END }, 12 },
};

static unsigned play(const struct row *row)
{
    struct ebb ebb = { 0 };
    size_t sessions = 0;
    unsigned given = 0;

    for (size_t i = 0; row->sessions[i] != END; i++) {
        if (row->sessions[i] > sessions)
            sessions = row->sessions[i];
        while (sessions > row->sessions[i]) {
            sessions--;
            if (!ebb_one_ended(&ebb, sessions))
                continue;
            ebb_given_back(&ebb, sessions);
            given++;
        }
    }
    return given;
}

static void memory_goes_back_where_far_fewer_are_left(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        if (play(&rows[i]) != rows[i].given)
            fail_msg("%s: %u times", rows[i].name, play(&rows[i]));
}

static void it_stays_where_the_next_have_come_meanwhile(void **state)
{
    struct ebb ebb = { 0 };

    (void)state;
    assert_false(ebb_one_ended(&ebb, 999));
    assert_true(ebb_one_ended(&ebb, 100));
    assert_true(ebb_is_low(&ebb, 686));
    assert_false(ebb_is_low(&ebb, 687));
    assert_false(ebb_is_low(&ebb, 1000));
    assert_false(ebb_is_low(&ebb, 2000));
}

static void before_the_first_session_ends_there_is_nothing_to_give(void **state)
{
    const struct ebb ebb = { 0 };

    (void)state;
    assert_false(ebb_is_low(&ebb, 0));
    assert_false(ebb_is_low(&ebb, 1000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_goes_back_where_far_fewer_are_left),
        cmocka_unit_test(it_stays_where_the_next_have_come_meanwhile),
        cmocka_unit_test(before_the_first_session_ends_there_is_nothing_to_give),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

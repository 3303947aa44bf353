/* Addresses in and out of service: scripts of events over moments, and processes that take places
 * at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/health.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

enum act { END, FAILED, RECOVERED, RESET, CLAIM, IN_SERVICE };

static const struct row {
    const char *name;
    struct {
        enum act act;
        uint64_t now_ms, began_ms;
        bool result;
    } steps[16];
    uint32_t generation;
} rows[] = {
    { "all zero is in service", { { IN_SERVICE, 1000, 0, true } }, 0 },
    { "in service there is nothing to claim", { { CLAIM, 1000, 0, false } }, 0 },
    { "a success in service is no news", { { RECOVERED, 1000, 0, false } }, 0 },
    { "the first failure is told, the second is not",
      { { FAILED, 1000, 990, true }, { FAILED, 1001, 990, false }, { IN_SERVICE, 1001, 0, false } },
      1 },
    { "an attempt is due after the first back-off",
      { { FAILED, 1000, 990, true },
        { CLAIM, 1499, 0, false },
        { CLAIM, 1500, 0, true },
        { CLAIM, 1500, 0, false } },
      1 },
    { "failures of sessions that were under way move nothing",
      { { FAILED, 1000, 990, true }, { FAILED, 1400, 991, false }, { CLAIM, 1500, 0, true } },
      1 },
    { "each attempt doubles the wait, also one that is never told of",
      { { FAILED, 1000, 990, true },
        { CLAIM, 1500, 0, true },
        { CLAIM, 2499, 0, false },
        { CLAIM, 2500, 0, true },
        { FAILED, 2501, 2500, false },
        { CLAIM, 4499, 0, false },
        { CLAIM, 4500, 0, true },
        { CLAIM, 8499, 0, false },
        { CLAIM, 8500, 0, true } },
      1 },
    { "the wait has a most",
      { { FAILED, 0, 0, true },
        { CLAIM, 100000, 0, true },
        { CLAIM, 200000, 0, true },
        { CLAIM, 300000, 0, true },
        { CLAIM, 400000, 0, true },
        { CLAIM, 500000, 0, true },
        { CLAIM, 600000, 0, true },
        { CLAIM, 700000, 0, true },
        { CLAIM, 729999, 0, false },
        { CLAIM, 730000, 0, true },
        { CLAIM, 759999, 0, false } },
      1 },
    { "the recovery is told once",
      { { FAILED, 1000, 990, true },
        { RECOVERED, 1500, 0, true },
        { RECOVERED, 1501, 0, false },
        { IN_SERVICE, 1501, 0, true },
        { CLAIM, 9000, 0, false } },
      1 },
    { "a failure that began before the recovery says nothing",
      { { FAILED, 1000, 990, true },
        { RECOVERED, 1500, 0, true },
        { FAILED, 11400, 1400, false },
        { IN_SERVICE, 11400, 0, true } },
      1 },
    { "one that began at the recovery or later does",
      { { FAILED, 1000, 990, true }, { RECOVERED, 1500, 0, true }, { FAILED, 1600, 1500, true } },
      2 },
    { "a new outage begins with the first back-off",
      { { FAILED, 1000, 990, true },
        { CLAIM, 1500, 0, true },
        { CLAIM, 2500, 0, true },
        { RECOVERED, 2600, 0, true },
        { FAILED, 3000, 2700, true },
        { CLAIM, 3499, 0, false },
        { CLAIM, 3500, 0, true } },
      2 },
    { "another address begins in service, and nothing learned counts",
      { { FAILED, 1000, 990, true }, { RESET, 1100, 0, true }, { IN_SERVICE, 1100, 0, true } },
      2 },
    { "what failed at the old address says nothing about the new one",
      { { RESET, 1100, 0, true }, { FAILED, 1200, 1000, false }, { IN_SERVICE, 1200, 0, true } },
      1 },
};

static bool act(struct health *health, enum act what, uint64_t began_ms, uint64_t now_ms)
{
    switch (what) {
    case FAILED:
        return health_failed(health, began_ms, now_ms);
    case RECOVERED:
        return health_recovered(health, now_ms);
    case CLAIM:
        return health_claim_retry(health, now_ms);
    case IN_SERVICE:
        return health_in_service(health);
    case RESET:
        health_reset(health, now_ms);
        return true;
    case END:
        break;
    }
    return false;
}

static void outages_are_told_once_and_tried_again_after_a_back_off(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct health health = { 0 };

        for (size_t j = 0; rows[i].steps[j].act != END; j++)
            if (act(&health, rows[i].steps[j].act, rows[i].steps[j].began_ms,
                    rows[i].steps[j].now_ms) != rows[i].steps[j].result)
                fail_msg("%s: step %zu", rows[i].name, j);
        if (atomic_load(&health.generation) != rows[i].generation)
            fail_msg("%s: generation %u", rows[i].name, atomic_load(&health.generation));
    }
}

static void the_time_of_an_outage_is_that_of_its_beginning(void **state)
{
    struct health health = { 0 };

    (void)state;
    assert_int_equal(atomic_load(&health.failed_ms), 0);
    assert_true(health_failed(&health, 900, 1000));
    assert_false(health_failed(&health, 1100, 1200)); /* known */
    assert_true(health_claim_retry(&health, 5000));
    assert_int_equal(atomic_load(&health.failed_ms), 1000);
    assert_true(health_recovered(&health, 6000));
    assert_false(health_failed(&health, 5500, 6100)); /* it says nothing of now */
    assert_int_equal(atomic_load(&health.failed_ms), 1000);
    assert_true(health_failed(&health, 7000, 7100));
    assert_int_equal(atomic_load(&health.failed_ms), 7100);
}

static void places_are_counted_over_all_workers(void **state)
{
    struct health health = { 0 };

    (void)state;
    assert_true(health_take(&health, 0, 2));
    assert_true(health_take(&health, 7, 2));
    assert_false(health_take(&health, 3, 2));
    assert_false(health_take(&health, 0, 1));
    assert_true(health_take(&health, 3, 0)); /* no limit */
    health_give(&health, 0);
    assert_false(health_take(&health, 0, 2));
    health_give(&health, 7);
    assert_true(health_take(&health, 0, 2));
}

static void a_dead_worker_holds_no_place_and_others_keep_theirs(void **state)
{
    struct health health = { 0 };

    (void)state;
    assert_true(health_take(&health, 1, 3));
    assert_true(health_take(&health, 1, 3));
    assert_true(health_take(&health, 2, 3));
    health_forget_worker(&health, 1);
    health_give(&health, 1); /* never below none */
    assert_true(health_take(&health, 5, 3));
    assert_true(health_take(&health, 5, 3));
    assert_false(health_take(&health, 5, 3));
}

static const struct turn_row {
    const char *name;
    struct {
        unsigned worker;
        uint32_t ticket;
        uint64_t now_ms;
        bool result;
    } steps[6];
} turn_rows[] = {
    { "nobody waits", { { 0, 0, 1000, true }, { 1, 0, 1000, true } } },
    { "who waits alone is next", { { 3, 7, 1000, true } } },
    { "who came first is next, at whichever worker",
      { { 0, 8, 1000, true }, { 1, 7, 1000, true }, { 0, 8, 1001, false }, { 1, 7, 1002, true } } },
    { "who comes does not overtake those that wait elsewhere",
      { { 0, 8, 1000, true }, { 1, 0, 1000, false } } },
    { "who was served lets the next one on",
      { { 0, 7, 1000, true },
        { 1, 8, 1000, false },
        { 0, 9, 1001, false },
        { 1, 8, 1001, true } } },
    { "a worker whose last one has gone holds nobody up",
      { { 0, 7, 1000, true }, { 0, 0, 1001, true }, { 1, 8, 1001, true } } },
    { "a worker that has hung holds nobody up",
      { { 0, 7, 1000, true }, { 1, 8, 3000, false }, { 1, 8, 3001, true } } },
    { "a clock that is a little behind the other's is no age",
      { { 0, 7, 1000, true }, { 1, 8, 990, false } } },
    { "tickets go on behind the largest number",
      { { 0, UINT32_MAX, 1000, true }, { 1, 1, 1000, false }, { 0, 2, 1000, false } } },
    { "milliseconds go on behind the largest number",
      { { 0, 7, UINT32_MAX, true }, { 1, 8, (uint64_t)UINT32_MAX + 100, false } } },
};

static void those_that_wait_are_served_in_the_order_in_which_they_came(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(turn_rows); i++) {
        const struct turn_row *row = &turn_rows[i];
        struct health health = { 0 };

        for (size_t n = 0; n < COUNT(row->steps) && row->steps[n].now_ms > 0; n++)
            if (health_turn(&health, row->steps[n].worker, row->steps[n].ticket,
                            row->steps[n].now_ms) != row->steps[n].result)
                fail_msg("%s: step %zu", row->name, n);
    }
}

static void a_ticket_is_never_none_and_a_dead_worker_holds_nobody_up(void **state)
{
    struct health health = { .tickets = UINT32_MAX - 1 };

    (void)state;
    assert_int_equal(health_ticket(&health), UINT32_MAX);
    assert_int_equal(health_ticket(&health), 1);
    assert_int_equal(health_ticket(&health), 2);
    assert_true(health_turn(&health, 0, 1, 1000));
    assert_false(health_turn(&health, 1, 2, 1000));
    health_forget_worker(&health, 0);
    assert_true(health_turn(&health, 1, 2, 1000));
}

/* What the processes share. `inside` is counted by itself, so that a place given twice shows. */
struct crowd {
    struct health health;
    _Atomic uint32_t inside, most_seen, taken, told, retries;
};

#define WORKERS 4
#define ROUNDS  20000
#define PLACES  2

static void note_most(struct crowd *crowd, uint32_t inside)
{
    uint32_t seen = atomic_load(&crowd->most_seen);

    while (inside > seen && !atomic_compare_exchange_weak(&crowd->most_seen, &seen, inside))
        ;
}

static void hammer_places(struct crowd *crowd, unsigned worker)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        if (!health_take(&crowd->health, worker, PLACES))
            continue;
        note_most(crowd, atomic_fetch_add(&crowd->inside, 1) + 1);
        atomic_fetch_add(&crowd->taken, 1);
        atomic_fetch_sub(&crowd->inside, 1);
        health_give(&crowd->health, worker);
    }
}

static void hammer_outages(struct crowd *crowd, unsigned worker)
{
    (void)worker;
    if (health_failed(&crowd->health, 1000, 1000))
        atomic_fetch_add(&crowd->told, 1);
    for (uint64_t now_ms = 1000; now_ms < 100000; now_ms += 10)
        if (health_claim_retry(&crowd->health, now_ms))
            atomic_fetch_add(&crowd->retries, 1);
    if (health_recovered(&crowd->health, 100000))
        atomic_fetch_add(&crowd->told, 0x10000);
}

static void run_crowd(struct crowd *crowd, void hammer(struct crowd *crowd, unsigned worker))
{
    pid_t pids[WORKERS];

    for (unsigned i = 0; i < WORKERS; i++) {
        pids[i] = fork();
        if (pids[i] == 0) {
            hammer(crowd, i);
            _exit(0);
        }
        assert_true(pids[i] > 0);
    }
    for (unsigned i = 0; i < WORKERS; i++) {
        int status = -1;

        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_int_equal(status, 0);
    }
}

static struct crowd *new_crowd(void)
{
    struct crowd *crowd =
        mmap(NULL, sizeof(*crowd), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    assert_ptr_not_equal(crowd, MAP_FAILED);
    return crowd;
}

static void processes_never_exceed_the_limit(void **state)
{
    struct crowd *crowd = new_crowd();

    (void)state;
    run_crowd(crowd, hammer_places);
    assert_in_range(atomic_load(&crowd->most_seen), 1, PLACES);
    assert_in_range(atomic_load(&crowd->taken), ROUNDS / 100, UINT32_MAX);
    for (unsigned i = 0; i < HEALTH_WORKERS_MAX; i++)
        assert_int_equal(atomic_load(&crowd->health.connections[i]), 0);
    munmap(crowd, sizeof(*crowd));
}

/* 500, 1000 ... 16000, 30000 ms: all that fit in 99 seconds, at most one each. */
static void of_many_processes_one_tells_and_one_retries(void **state)
{
    struct crowd *crowd = new_crowd();

    (void)state;
    run_crowd(crowd, hammer_outages);
    /* A late process may see a new outage behind the recovery of an early one: both are told. */
    assert_in_range(atomic_load(&crowd->told) & 0xffff, 1, WORKERS);
    assert_int_equal(atomic_load(&crowd->told) >> 16, atomic_load(&crowd->told) & 0xffff);
    assert_in_range(atomic_load(&crowd->retries), 1, 9 * WORKERS);
    munmap(crowd, sizeof(*crowd));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outages_are_told_once_and_tried_again_after_a_back_off),
        cmocka_unit_test(the_time_of_an_outage_is_that_of_its_beginning),
        cmocka_unit_test(places_are_counted_over_all_workers),
        cmocka_unit_test(a_dead_worker_holds_no_place_and_others_keep_theirs),
        cmocka_unit_test(those_that_wait_are_served_in_the_order_in_which_they_came),
        cmocka_unit_test(a_ticket_is_never_none_and_a_dead_worker_holds_nobody_up),
        cmocka_unit_test(processes_never_exceed_the_limit),
        cmocka_unit_test(of_many_processes_one_tells_and_one_retries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

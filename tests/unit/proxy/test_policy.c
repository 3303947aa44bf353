/* In which order addresses are tried: each policy, and who moves when one leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "proxy/policy.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define USERS       2000

static const struct row {
    const char *name;
    enum policy policy;
    uint64_t key;
    uint32_t turn;
    size_t count;
    unsigned char order[4];
} rows[] = {
    { "failover: as written", POLICY_FAILOVER, 1, 0, 4, { 0, 1, 2, 3 } },
    { "failover: neither turn nor key counts", POLICY_FAILOVER, 77, 3, 4, { 0, 1, 2, 3 } },
    { "round-robin: the first turn", POLICY_ROUND_ROBIN, 0, 0, 3, { 0, 1, 2 } },
    { "round-robin: the second turn", POLICY_ROUND_ROBIN, 0, 1, 3, { 1, 2, 0 } },
    { "round-robin: the key does not count", POLICY_ROUND_ROBIN, 99, 2, 3, { 2, 0, 1 } },
    { "round-robin: it begins anew", POLICY_ROUND_ROBIN, 0, 3, 3, { 0, 1, 2 } },
    { "round-robin: the last turn that counts", POLICY_ROUND_ROBIN, 0, UINT32_MAX, 2, { 1, 0 } },
    { "hash: one address is the only one", POLICY_HASH_USER, 12345, 0, 1, { 0 } },
};

static void each_policy_has_its_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char order[4] = { 9, 9, 9, 9 };

        policy_order(rows[i].policy, rows[i].key, rows[i].turn, rows[i].count, order);
        if (memcmp(order, rows[i].order, rows[i].count) != 0)
            fail_msg("%s", rows[i].name);
        for (size_t j = rows[i].count; j < sizeof(order); j++)
            if (order[j] != 9)
                fail_msg("%s: wrote too far", rows[i].name);
    }
}

static void no_address_gives_no_order(void **state)
{
    unsigned char order[1] = { 9 };

    (void)state;
    for (int policy = POLICY_FAILOVER; policy <= POLICY_HASH_CLIENT; policy++)
        policy_order((enum policy)policy, 1, 1, 0, order);
    assert_int_equal(order[0], 9);
}

static void every_order_names_each_address_once(void **state)
{
    static const size_t counts[] = { 1, 2, 7, 255, 256 };

    (void)state;
    for (int policy = POLICY_FAILOVER; policy <= POLICY_HASH_CLIENT; policy++) {
        for (size_t i = 0; i < COUNT(counts); i++) {
            unsigned char order[256];
            unsigned seen[256] = { 0 };

            policy_order((enum policy)policy, 42, 1000003, counts[i], order);
            for (size_t j = 0; j < counts[i]; j++)
                seen[order[j]]++;
            for (size_t j = 0; j < counts[i]; j++)
                assert_int_equal(seen[j], 1);
        }
    }
}

static uint64_t user_key(unsigned number)
{
    char name[32];

    return policy_key(name, (size_t)snprintf(name, sizeof(name), "user%u@example.org", number));
}

/* The first of the order that is not `out`: where the user's session goes. */
static unsigned char goes_to(uint64_t key, size_t count, int out)
{
    unsigned char order[16];

    policy_order(POLICY_HASH_USER, key, 0, count, order);
    return order[0] == out ? order[1] : order[0];
}

static void an_address_that_leaves_moves_only_its_users(void **state)
{
    (void)state;
    for (int out = 0; out < 5; out++) {
        unsigned moved_to[5] = { 0 };

        for (unsigned i = 0; i < USERS; i++) {
            uint64_t key = user_key(i);
            unsigned char before = goes_to(key, 5, -1), after = goes_to(key, 5, out);

            if (before != out)
                assert_int_equal(after, before);
            else
                moved_to[after]++;
        }
        for (int i = 0; i < 5; i++) /* and spreads them over all that are left */
            assert_true(i == out ? moved_to[i] == 0 : moved_to[i] > USERS / 5 / 4 / 2);
    }
}

static void an_address_that_is_added_takes_only_its_share(void **state)
{
    unsigned moved = 0;

    (void)state;
    for (unsigned i = 0; i < USERS; i++) {
        uint64_t key = user_key(i);
        unsigned char before = goes_to(key, 4, -1), after = goes_to(key, 5, -1);

        assert_true(after == before || after == 4);
        moved += after == 4;
    }
    assert_in_range(moved, USERS / 5 * 3 / 4, USERS / 5 * 5 / 4);
}

static void users_are_spread_evenly(void **state)
{
    unsigned users[5] = { 0 };

    (void)state;
    for (unsigned i = 0; i < USERS; i++)
        users[goes_to(user_key(i), 5, -1)]++;
    for (size_t i = 0; i < COUNT(users); i++)
        assert_in_range(users[i], USERS / 5 * 3 / 4, USERS / 5 * 5 / 4);
}

static const struct pair {
    const char *name, *one, *other;
    bool equal;
} pairs[] = {
    { "letter case does not count", "Alice@Example.ORG", "alice@example.org", true },
    { "a letter more", "alice", "alicea", false },
    { "another order", "ab", "ba", false },
    { "nothing and something", "", "a", false },
    { "no case beside letters", "a@b", "a`b", false },
    { "no case beside letters, brackets", "a[b", "a{b", false },
    { "no case beyond ASCII", "\xc4", "\xe4", false },
};

static void keys_are_those_of_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(pairs); i++)
        if ((policy_key(pairs[i].one, strlen(pairs[i].one)) ==
             policy_key(pairs[i].other, strlen(pairs[i].other))) != pairs[i].equal)
            fail_msg("%s", pairs[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_policy_has_its_order),
        cmocka_unit_test(no_address_gives_no_order),
        cmocka_unit_test(every_order_names_each_address_once),
        cmocka_unit_test(an_address_that_leaves_moves_only_its_users),
        cmocka_unit_test(an_address_that_is_added_takes_only_its_share),
        cmocka_unit_test(users_are_spread_evenly),
        cmocka_unit_test(keys_are_those_of_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

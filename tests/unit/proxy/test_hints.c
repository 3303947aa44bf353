/* Hints by address: histories of sessions in a table, keys that must differ or agree, and entries
 * that collide. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/hints.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define DAY_S       86400
#define BEGIN_S     1750000000u /* some day of 2025 */

static const unsigned char secret[HINTS_SECRET] = { 0, 1, 2,  3,  4,  5,  6,  7,
                                                    8, 9, 10, 11, 12, 13, 14, 15 };

static hints_entry *new_table(void)
{
    hints_entry *table = calloc(HINTS_ENTRIES, sizeof(*table));

    assert_non_null(table);
    return table;
}

/* p: a plain session, t: TLS first, l: TLS after our banner, d: a day passes, m: 30 days pass, b:
 * the clock goes back a day. */
static const struct history_row {
    const char *name;
    const char *history;
    enum hint hint;
} history_rows[] = {
    { "nothing", "", HINT_NONE },
    { "one plain session", "p", HINT_NONE },
    { "four plain sessions", "pppp", HINT_NONE },
    { "five plain sessions", "ppppp", HINT_PLAIN },
    { "many plain sessions", "ppppppppppppppppppppp", HINT_PLAIN },
    { "five plain sessions, long ago", "pppppmmm", HINT_PLAIN },
    { "TLS first", "t", HINT_TLS },
    { "TLS first after a habit of plain", "pppppt", HINT_TLS },
    { "TLS first, then five plain sessions at once", "tppppp", HINT_TLS },
    { "TLS first, then many plain sessions", "tpppppppppppp", HINT_TLS },
    { "TLS first 30 days ago", "tm", HINT_TLS },
    { "TLS first 31 days ago", "tmd", HINT_NONE },
    { "TLS first 31 days ago and five plain sessions since", "tpppppmd", HINT_PLAIN },
    { "TLS first 31 days ago and four plain sessions since", "tppppmd", HINT_NONE },
    { "TLS first breaks the row", "pppptmdp", HINT_NONE },
    { "TLS first again starts the 30 days again", "tddddddddddtmp", HINT_TLS },
    { "TLS after our banner", "l", HINT_TLS_LATE },
    { "late once, early since: the longer wait helped", "ltt", HINT_TLS_LATE },
    { "early, then late", "tl", HINT_TLS_LATE },
    { "late, then plain", "lppppppp", HINT_TLS_LATE },
    { "late 31 days ago", "lmd", HINT_NONE },
    { "late 31 days ago, early today", "lmdt", HINT_TLS },
    { "late 31 days ago, plain, then early", "lmdpt", HINT_TLS },
    { "a clock that goes back does not forget", "tb", HINT_TLS },
    { "a clock that goes back does not make a habit", "tbppppp", HINT_TLS },
};

static void a_history_gives_a_hint(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(history_rows); i++) {
        const struct history_row *row = &history_rows[i];
        hints_entry *table = new_table();
        uint64_t now_s = BEGIN_S, key = 0x123456789abcdef0u;

        for (const char *event = row->history; *event; event++) {
            if (*event == 'p')
                hints_note_plain(table, key, now_s);
            else if (*event == 't' || *event == 'l')
                hints_note_tls(table, key, now_s, *event == 'l');
            else if (*event == 'b')
                now_s -= DAY_S;
            else
                now_s += *event == 'd' ? DAY_S : HINTS_TLS_DAYS * DAY_S;
        }
        if (hints_lookup(table, key, now_s) != row->hint)
            fail_msg("%s: %d", row->name, hints_lookup(table, key, now_s));
        free(table);
    }
}

static uint64_t key_of(const char *address, uint32_t listener)
{
    struct sockaddr_in in4 = { .sin_family = AF_INET, .sin_port = htons(4711) };
    struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = htons(4712) };

    if (inet_pton(AF_INET, address, &in4.sin_addr) == 1)
        return hints_key(secret, (const struct sockaddr *)&in4, listener);
    assert_int_equal(inet_pton(AF_INET6, address, &in6.sin6_addr), 1);
    return hints_key(secret, (const struct sockaddr *)&in6, listener);
}

static const struct key_row {
    const char *name;
    const char *a, *b;
    uint32_t listener_a, listener_b;
    bool same;
} key_rows[] = {
    { "one IPv4 address", "192.0.2.7", "192.0.2.7", 1, 1, true },
    { "two IPv4 addresses", "192.0.2.7", "192.0.2.6", 1, 1, false },
    { "two listeners", "192.0.2.7", "192.0.2.7", 1, 2, false },
    { "two addresses of one /64", "2001:db8:1:2::1", "2001:db8:1:2:ffff::9", 1, 1, true },
    { "two /64", "2001:db8:1:2::1", "2001:db8:1:3::1", 1, 1, false },
    { "IPv4 written as IPv6", "192.0.2.7", "::ffff:192.0.2.7", 1, 1, true },
    { "two IPv4 addresses written as IPv6", "::ffff:192.0.2.6", "::ffff:192.0.2.7", 1, 1, false },
    { "IPv6 that begins like an IPv4 address", "192.0.2.7", "c000:207::", 1, 1, false },
};

static void a_key_is_the_address_and_the_listener(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(key_rows); i++) {
        const struct key_row *row = &key_rows[i];
        bool same = key_of(row->a, row->listener_a) == key_of(row->b, row->listener_b);

        if (same != row->same)
            fail_msg("%s", row->name);
    }
}

static void the_hash_is_siphash_with_the_secret(void **state)
{
    unsigned char other[HINTS_SECRET] = { 1 };
    struct sockaddr_in in4 = { .sin_family = AF_INET };
    struct sockaddr_un {
        sa_family_t family;
        char path[14];
    } un = { AF_UNIX, "x" };

    (void)state;
    /* Computed by another implementation of SipHash-2-4, itself checked with the vector of the
     * paper. */
    assert_true(key_of("192.0.2.7", 1) == 0xb28d58f12af9b3e6u);
    assert_true(key_of("2001:db8:1:2::9", 3) == 0x8373150a0106524bu);
    assert_int_equal(inet_pton(AF_INET, "192.0.2.7", &in4.sin_addr), 1);
    assert_true(hints_key(other, (const struct sockaddr *)&in4, 1) != 0xb28d58f12af9b3e6u);
    hints_key(secret, (const struct sockaddr *)&un, 1); /* no address: any key, no harm */
}

static void an_entry_of_somebody_else_says_nothing_and_is_overwritten(void **state)
{
    hints_entry *table = new_table();
    uint64_t mine = 0x1111110000000042u, other = 0x2222220000000042u; /* the same entry */

    (void)state;
    hints_note_tls(table, mine, BEGIN_S, true);
    assert_int_equal(hints_lookup(table, other, BEGIN_S), HINT_NONE);
    hints_note_plain(table, other, BEGIN_S);
    assert_int_equal(hints_lookup(table, mine, BEGIN_S), HINT_NONE);
    for (int i = 0; i < 4; i++)
        hints_note_plain(table, other, BEGIN_S);
    assert_int_equal(hints_lookup(table, other, BEGIN_S), HINT_PLAIN);
    hints_note_plain(table, mine, BEGIN_S);
    assert_int_equal(hints_lookup(table, mine, BEGIN_S), HINT_NONE); /* it inherits no row */
    free(table);
}

static void neighbours_do_not_touch_each_other(void **state)
{
    hints_entry *table = new_table();
    uint64_t last = UINT64_MAX; /* the last entry of the table, with every bit of the tag */

    (void)state;
    hints_note_tls(table, last, BEGIN_S, false);
    hints_note_tls(table, last - 1, BEGIN_S, true);
    hints_note_plain(table, 0, BEGIN_S);
    assert_int_equal(hints_lookup(table, last, BEGIN_S), HINT_TLS);
    assert_int_equal(hints_lookup(table, last - 1, BEGIN_S), HINT_TLS_LATE);
    assert_int_equal(hints_lookup(table, 0, BEGIN_S), HINT_NONE);
    free(table);
}

/* Whatever bits an entry holds, it is one of the four hints, and the next session mends it. */
static void any_bits_are_some_hint(void **state)
{
    hints_entry *table = new_table();
    uint64_t word = 88172645463325252u; /* xorshift64 */

    (void)state;
    for (int i = 0; i < 10000; i++) {
        uint64_t key;

        word ^= word << 13, word ^= word >> 7, word ^= word << 17;
        key = word & ~UINT64_C(0xffff);
        table[0] = word;
        assert_in_range(hints_lookup(table, key, BEGIN_S), HINT_NONE, HINT_TLS_LATE);
        hints_note_plain(table, key, BEGIN_S);
        hints_note_tls(table, key, BEGIN_S, false);
        assert_in_range(hints_lookup(table, key, BEGIN_S), HINT_TLS, HINT_TLS_LATE);
    }
    free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_history_gives_a_hint),
        cmocka_unit_test(a_key_is_the_address_and_the_listener),
        cmocka_unit_test(the_hash_is_siphash_with_the_secret),
        cmocka_unit_test(an_entry_of_somebody_else_says_nothing_and_is_overwritten),
        cmocka_unit_test(neighbours_do_not_touch_each_other),
        cmocka_unit_test(any_bits_are_some_hint),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Health slots over reloads: what stays keeps them, what is new never takes those of the living. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "proxy/address_slots.h"

#define COUNT(rows)  (sizeof(rows) / sizeof((rows)[0]))
#define ITEMS_MAX    64
#define BACKENDS_MAX 4

/* Settings made of "NAME=ITEM,ITEM NAME=ITEM". */
struct fixture {
    char text[4096];
    struct settings_backend backends[BACKENDS_MAX];
    char *items[BACKENDS_MAX][ITEMS_MAX + 8];
    struct settings settings;
    uint16_t slots[ADDRESS_SLOTS_MAX];
    bool fresh[ADDRESS_SLOTS_MAX];
};

static void make(struct fixture *fixture, const char *text)
{
    char *backend_rest, *item_rest;

    memset(fixture, 0, sizeof(*fixture));
    snprintf(fixture->text, sizeof(fixture->text), "%s", text);
    fixture->settings.backends = fixture->backends;
    for (char *word = strtok_r(fixture->text, " ", &backend_rest); word;
         word = strtok_r(NULL, " ", &backend_rest)) {
        size_t number = fixture->settings.backend_count++;
        struct settings_backend *backend = &fixture->backends[number];

        backend->name = word;
        *strchr(word, '=') = '\0';
        backend->address.items = fixture->items[number];
        for (char *item = strtok_r(word + strlen(word) + 1, ",", &item_rest); item;
             item = strtok_r(NULL, ",", &item_rest))
            fixture->items[number][backend->address.count++] = item;
    }
}

static void assign(struct address_slots *table, uint32_t number, const struct fixture *before,
                   struct fixture *now)
{
    struct address_slots_of former = { before ? &before->settings : NULL,
                                       before ? before->slots : NULL };

    address_slots_assign(table, number, &former, &now->settings, now->slots, now->fresh);
}

static size_t slot_count(const struct fixture *fixture)
{
    size_t count = 0;

    for (size_t i = 0; i < fixture->settings.backend_count; i++)
        count += fixture->backends[i].address.count * ADDRESS_PER_ITEM;
    return count < ADDRESS_SLOTS_MAX ? count : ADDRESS_SLOTS_MAX;
}

static bool uses(const struct fixture *fixture, uint16_t slot)
{
    for (size_t i = 0; i < slot_count(fixture); i++)
        if (fixture->slots[i] == slot)
            return true;
    return false;
}

static void assert_distinct(const struct fixture *fixture)
{
    for (size_t i = 0; i < slot_count(fixture); i++) {
        assert_true(fixture->slots[i] < HEALTH_SLOTS);
        for (size_t k = 0; k < i; k++)
            assert_int_not_equal(fixture->slots[i], fixture->slots[k]);
    }
}

static void the_first_configuration_gets_fresh_slots_in_order(void **state)
{
    static struct address_slots table;
    static struct fixture now;

    (void)state;
    make(&now, "smtp=a:25,b:25 pop3=unix:/c");
    assign(&table, 1, NULL, &now);
    for (size_t i = 0; i < 3 * ADDRESS_PER_ITEM; i++) {
        assert_int_equal(now.slots[i], i);
        assert_true(now.fresh[i]);
    }
    assert_int_equal(now.slots[3 * ADDRESS_PER_ITEM], 0);
    assert_false(now.fresh[3 * ADDRESS_PER_ITEM]);
}

/* `same`: for each item of `now`, in order, the number of the item before whose slots it keeps, '-'
 * for none. */
static const struct reload_row {
    const char *name, *before, *now, *same;
} reloads[] = {
    { "nothing changes", "smtp=a:25 pop3=b:110", "smtp=a:25 pop3=b:110", "01" },
    { "one is added behind", "smtp=a:25", "smtp=a:25,b:25", "0-" },
    { "one is added in front", "smtp=a:25", "smtp=b:25,a:25", "-0" },
    { "one is removed", "smtp=a:25,b:25,c:25", "smtp=a:25,c:25", "02" },
    { "they are turned round", "smtp=a:25,b:25", "smtp=b:25,a:25", "10" },
    { "a backend is added in front", "pop3=b:110", "smtp=a:25 pop3=b:110", "-0" },
    { "a backend is removed", "smtp=a:25 pop3=b:110", "pop3=b:110", "1" },
    { "the same item in another backend is another", "smtp=a:25", "other=a:25", "-" },
    { "a backend of the same name with another item", "smtp=a:25", "smtp=a:26", "-" },
    { "a name that only begins alike", "smtp=a:25", "smtp=a:2", "-" },
    { "all new", "smtp=a:25,b:25", "smtp=c:25,d:25", "--" },
    { "an item twice that was there once", "smtp=a:25", "smtp=a:25,a:25", "0-" },
    { "an item twice that was there twice", "smtp=a:25,a:25", "smtp=a:25,a:25", "01" },
    { "an address after none", "smtp=", "smtp=a:25", "-" },
    { "none after an address", "smtp=a:25", "smtp=", "" },
    { "two backends swap their items", "smtp=a:25 alt=b:25", "smtp=b:25 alt=a:25", "--" },
};

static void what_stays_keeps_its_slots_and_what_is_new_takes_none_of_theirs(void **state)
{
    static struct address_slots table;
    static struct fixture before, now;

    (void)state;
    for (size_t row = 0; row < COUNT(reloads); row++) {
        print_message("    %s\n", reloads[row].name);
        memset(&table, 0, sizeof(table));
        make(&before, reloads[row].before);
        make(&now, reloads[row].now);
        assign(&table, 1, NULL, &before);
        assign(&table, 2, &before, &now);
        assert_distinct(&now);
        assert_int_equal(slot_count(&now) / ADDRESS_PER_ITEM, strlen(reloads[row].same));
        for (size_t i = 0; i < slot_count(&now); i++) {
            char same = reloads[row].same[i / ADDRESS_PER_ITEM];
            size_t former = (size_t)(same - '0') * ADDRESS_PER_ITEM + i % ADDRESS_PER_ITEM;

            assert_int_equal(now.fresh[i], same == '-');
            if (same == '-')
                assert_false(uses(&before, now.slots[i]));
            else
                assert_int_equal(now.slots[i], before.slots[former]);
        }
    }
}

static void many_items(struct fixture *fixture, size_t count, unsigned generation)
{
    char text[4096] = "smtp=";
    size_t size = strlen(text);

    for (size_t i = 0; i < count; i++)
        size += (size_t)snprintf(text + size, sizeof(text) - size, "%sg%u-%zu:25", i ? "," : "",
                                 generation, i);
    make(fixture, text);
}

static void slots_come_back_only_after_several_configurations(void **state)
{
    static struct address_slots table;
    static struct fixture fixtures[40];

    (void)state;
    for (unsigned i = 0; i < COUNT(fixtures); i++) {
        many_items(&fixtures[i], ITEMS_MAX, i); /* as many as there may be, and all new */
        assign(&table, i + 1, i ? &fixtures[i - 1] : NULL, &fixtures[i]);
        assert_distinct(&fixtures[i]);
        for (size_t slot = 0; slot < slot_count(&fixtures[i]); slot++) {
            assert_true(fixtures[i].fresh[slot]);
            for (unsigned back = 1; back < HEALTH_SLOTS / ADDRESS_SLOTS_MAX && back <= i; back++)
                assert_false(uses(&fixtures[i - back], fixtures[i].slots[slot]));
        }
    }
}

static void a_slot_that_stays_in_use_is_never_old(void **state)
{
    static struct address_slots table;
    static struct fixture fixtures[2];
    char text[64];
    uint16_t kept;

    (void)state;
    make(&fixtures[0], "smtp=stays:25 pop3=p0:110");
    assign(&table, 1, NULL, &fixtures[0]);
    kept = fixtures[0].slots[0];
    for (unsigned i = 1; i < 2000; i++) {
        snprintf(text, sizeof(text), "smtp=stays:25 pop3=p%u:110", i);
        make(&fixtures[i % 2], text);
        assign(&table, i + 1, &fixtures[(i - 1) % 2], &fixtures[i % 2]);
        assert_int_equal(fixtures[i % 2].slots[0], kept);
        assert_false(fixtures[i % 2].fresh[0]);
        assert_distinct(&fixtures[i % 2]);
    }
}

static void items_beyond_the_last_slot_are_left_out(void **state)
{
    static struct address_slots table;
    static struct fixture before, now;

    (void)state;
    many_items(&before, ITEMS_MAX + 2, 0);
    assign(&table, 1, NULL, &before);
    many_items(&now, ITEMS_MAX + 2, 0);
    assign(&table, 2, &before, &now);
    assert_distinct(&now);
    assert_memory_equal(now.slots, before.slots, sizeof(now.slots));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_configuration_gets_fresh_slots_in_order),
        cmocka_unit_test(what_stays_keeps_its_slots_and_what_is_new_takes_none_of_theirs),
        cmocka_unit_test(slots_come_back_only_after_several_configurations),
        cmocka_unit_test(a_slot_that_stays_in_use_is_never_old),
        cmocka_unit_test(items_beyond_the_last_slot_are_left_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Maps of routes: who is found where, and what is no map. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "tests/lib/cdb_make.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define LONG_63     "abcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabcdefghijabc"

static const struct cdb_pair pairs[] = {
    CDB_PAIR("anna@example.org", "one"),
    CDB_PAIR("Anna@example.org", "two"),
    CDB_PAIR("@example.org", "domain"),
    CDB_PAIR("example.org", "never: the other form of the key is first"),
    CDB_PAIR("example.net", "net"),
    CDB_PAIR("bert", "three"),
    CDB_PAIR("spaces", " \t four\r\n"),
    CDB_PAIR("nul", "five\0"),
    CDB_PAIR("longest", LONG_63),
    CDB_PAIR("too long", LONG_63 "d"),
    CDB_PAIR("empty", ""),
    CDB_PAIR("blank", " \r\n"),
    CDB_PAIR("hole", "si\0x"),
    CDB_PAIR("twice", "first"),
    CDB_PAIR("twice", "second"),
    CDB_PAIR("", "nobody"),
    CDB_PAIR("@", "no domain"),
};

static const struct row {
    const char *name;
    struct span user;
    const char *backend; /* NULL: not found */
} rows[] = {
    { "as given", CDB_TEXT("anna@example.org"), "one" },
    { "as given before lower case", CDB_TEXT("Anna@example.org"), "two" },
    { "in lower case", CDB_TEXT("ANNA@Example.ORG"), "one" },
    { "a name without a domain", CDB_TEXT("bert"), "three" },
    { "a name without a domain, in lower case", CDB_TEXT("Bert"), "three" },
    { "by domain with @, before the domain alone", CDB_TEXT("carl@example.org"), "domain" },
    { "by domain alone", CDB_TEXT("carl@example.net"), "net" },
    { "by domain, in lower case", CDB_TEXT("Carl@EXAMPLE.net"), "net" },
    { "by the domain behind the last @", CDB_TEXT("carl@example.com@example.net"), "net" },
    { "not by a domain before it", CDB_TEXT("carl@example.net@example.com"), NULL },
    { "another domain", CDB_TEXT("anna@example.com"), NULL },
    { "a part of a domain", CDB_TEXT("anna@mail.example.org"), NULL },
    { "an unknown name", CDB_TEXT("dora"), NULL },
    { "a beginning of a name", CDB_TEXT("ber"), NULL },
    { "a name and more", CDB_TEXT("bert "), NULL },
    { "a name and a NUL", CDB_TEXT("bert\0"), NULL },
    { "nobody is not found by the empty key", CDB_TEXT(""), NULL },
    { "an empty domain is found by @ alone", CDB_TEXT("anna@"), "no domain" },
    { "white space around a value is not of it", CDB_TEXT("spaces"), "four" },
    { "a NUL behind a value is not of it", CDB_TEXT("nul"), "five" },
    { "the longest name of a backend", CDB_TEXT("longest"), LONG_63 },
    { "a longer one is none", CDB_TEXT("too long"), "?" },
    { "an empty value is no name", CDB_TEXT("empty"), "?" },
    { "a blank value is no name", CDB_TEXT("blank"), "?" },
    { "a value with a NUL in it is no name", CDB_TEXT("hole"), "?" },
    { "the first of two entries", CDB_TEXT("twice"), "first" },
};

static struct route *route_of(int fd)
{
    struct route *route = NULL;

    assert_int_equal(route_new(fd, &route), 0);
    close(fd);
    return route;
}

static void users_are_found_by_name_then_by_domain(void **state)
{
    struct route *route = route_of(route_seal(cdb_of_pairs(pairs, COUNT(pairs))));

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char backend[ROUTE_BACKEND_MAX] = "untouched";
        bool found = route_find(route, rows[i].user, backend);

        if (found != (rows[i].backend != NULL) ||
            strcmp(backend, found ? rows[i].backend : "untouched") != 0)
            fail_msg("%s: %s", rows[i].name, backend);
    }
    route_unref(route);
}

static void a_name_of_any_length_is_looked_up_or_not(void **state)
{
    char name[ROUTE_USER_MAX + 2], backend[ROUTE_BACKEND_MAX];
    struct cdb_pair known[2];
    struct route *route;

    (void)state;
    memset(name, 'x', sizeof(name));
    known[0] = (struct cdb_pair){ span_of(name, ROUTE_USER_MAX), SPAN_LIT("fits") };
    known[1] = (struct cdb_pair){ span_of(name, ROUTE_USER_MAX + 1), SPAN_LIT("does not") };
    route = route_of(route_seal(cdb_of_pairs(known, 2)));
    assert_true(route_find(route, span_of(name, ROUTE_USER_MAX), backend));
    assert_string_equal(backend, "fits");
    assert_false(route_find(route, span_of(name, ROUTE_USER_MAX + 1), backend));
    route_unref(route);
}

static void a_map_lives_as_long_as_somebody_holds_it(void **state)
{
    struct route *route = route_of(route_seal(cdb_of_pairs(pairs, COUNT(pairs))));
    char backend[ROUTE_BACKEND_MAX];

    (void)state;
    assert_ptr_equal(route_ref(route), route);
    route_unref(route);
    assert_true(route_find(route, SPAN_LIT("bert"), backend));
    route_unref(route);
    route_unref(NULL);
}

static void the_entries_of_a_sound_map_are_counted(void **state)
{
    (void)state;
    for (size_t count = 0; count <= COUNT(pairs); count++) {
        int fd = route_seal(cdb_of_pairs(pairs, count));
        size_t entries = 99;

        assert_int_equal(route_check(fd, &entries), 0);
        assert_int_equal(entries, count);
        close(fd);
    }
}

static void an_entry_that_was_replaced_is_not_counted(void **state)
{
    struct cdb_make make;
    int fd = cdb_memfd();
    size_t entries = 99;
    struct route *route;
    char backend[ROUTE_BACKEND_MAX];

    (void)state;
    assert_int_equal(cdb_make_start(&make, fd), 0);
    assert_int_equal(cdb_make_add(&make, "bert", 4, "one", 3), 0);
    assert_int_equal(cdb_make_add(&make, "anna", 4, "one", 3), 0);
    assert_int_equal(cdb_make_put(&make, "bert", 4, "two", 3, CDB_PUT_REPLACE0), 1);
    assert_int_equal(cdb_make_finish(&make), 0);
    fd = route_seal(fd);
    assert_int_equal(route_check(fd, &entries), 0);
    assert_int_equal(entries, 2);
    route = route_of(fd);
    assert_true(route_find(route, SPAN_LIT("bert"), backend));
    assert_string_equal(backend, "two");
    route_unref(route);
}

/* A sound map in ordinary memory, to be spoilt. */
static size_t sound_map(unsigned char *into, size_t room)
{
    int fd = cdb_of_pairs(pairs, COUNT(pairs));
    ssize_t size = pread(fd, into, room, 0);

    close(fd);
    assert_in_range(size, 2048, (ssize_t)room - 1);
    return (size_t)size;
}

static int judge(struct span octets)
{
    int fd = cdb_of_octets(octets), r;
    size_t entries;

    r = route_check(fd, &entries);
    close(fd);
    return r;
}

static void a_map_that_was_cut_anywhere_is_none(void **state)
{
    unsigned char map[8192];
    size_t size = sound_map(map, sizeof(map));

    (void)state;
    assert_int_equal(judge(span_of(map, size)), 0);
    for (size_t cut = 0; cut < size; cut++)
        assert_int_equal(judge(span_of(map, cut)), -EPROTO);
    map[size] = 0;
    assert_int_equal(judge(span_of(map, size + 1)), -EPROTO); /* nor one with more behind it */
}

/* What a file holds whose writer has not come to its end: zeros. */
static void a_map_with_a_hole_in_its_tables_is_none(void **state)
{
    unsigned char map[8192], spoilt[8192];
    size_t size = sound_map(map, sizeof(map));
    size_t tables = (size_t)map[0] | (size_t)map[1] << 8;

    (void)state;
    memcpy(spoilt, map, size);
    memset(spoilt, 0, 2048);
    assert_int_equal(judge(span_of(spoilt, size)), -EPROTO);
    for (size_t i = 0; i < 256; i++) {
        memcpy(spoilt, map, size);
        memset(spoilt + 8 * i, 0, 8); /* one table's place in the header */
        assert_int_equal(judge(span_of(spoilt, size)), -EPROTO);
    }
    memcpy(spoilt, map, size);
    memset(spoilt + 2048, 0xff, tables - 2048); /* the records' lengths */
    assert_int_equal(judge(span_of(spoilt, size)), -EPROTO);
    memcpy(spoilt, map, size);
    memset(spoilt + tables, 0xff, size - tables); /* every place taken: a search would not end */
    assert_int_equal(judge(span_of(spoilt, size)), -EPROTO);
}

static void what_is_not_sealed_is_not_mapped(void **state)
{
    int fd = cdb_of_pairs(pairs, COUNT(pairs));
    struct route *route = NULL;
    size_t entries;

    (void)state;
    assert_int_equal(route_new(fd, &route), -EPROTO);
    assert_int_equal(route_check(fd, &entries), -EPROTO);
    assert_null(route);
    fd = route_seal(fd);
    assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    assert_int_equal(write(fd, "x", 1), -1);
    route_unref(route_of(fd));
}

static void what_is_no_map_is_not_mapped(void **state)
{
    struct route *route = NULL;
    int fd = cdb_of_octets(SPAN_LIT("anna: one\n"));

    (void)state;
    assert_int_equal(route_new(fd, &route), -EPROTO);
    close(fd);
    assert_int_equal(route_new(-1, &route), -EPROTO);
    assert_null(route);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(users_are_found_by_name_then_by_domain),
        cmocka_unit_test(a_name_of_any_length_is_looked_up_or_not),
        cmocka_unit_test(a_map_lives_as_long_as_somebody_holds_it),
        cmocka_unit_test(the_entries_of_a_sound_map_are_counted),
        cmocka_unit_test(an_entry_that_was_replaced_is_not_counted),
        cmocka_unit_test(a_map_that_was_cut_anywhere_is_none),
        cmocka_unit_test(a_map_with_a_hole_in_its_tables_is_none),
        cmocka_unit_test(what_is_not_sealed_is_not_mapped),
        cmocka_unit_test(what_is_no_map_is_not_mapped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

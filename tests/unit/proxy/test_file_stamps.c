/* Stamps of files: every way in which a file becomes another is seen. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/file_stamps.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static char root[] = "/tmp/gatepost-stamps-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[4][200];
    static unsigned next;
    char *path = paths[next++ % 4];

    snprintf(path, sizeof(paths[0]), "%s/%s", root, name);
    return path;
}

static void write_file(const char *name, const char *content)
{
    FILE *out = fopen(path_of(name), "w");

    assert_non_null(out);
    fputs(content, out);
    fclose(out);
}

/* Long ago, so that it counts as settled. Its change time cannot be set: stamp() undoes that. */
static void make_old(const char *name)
{
    struct timespec times[2] = { { 1000, 5 }, { 1000, 5 } };

    assert_int_equal(utimensat(AT_FDCWD, path_of(name), times, 0), 0);
}

static void stamp(struct file_stamps *stamps, const char *name)
{
    struct stat status;

    assert_int_equal(
        file_stamps_add(stamps, path_of(name), stat(path_of(name), &status) == 0 ? &status : NULL),
        0);
    stamps->items[stamps->count - 1].recent = false;
}

static void nothing(void)
{
}

static void rewrite(void)
{
    write_file("a", "other"); /* of the same size */
}

static void grow(void)
{
    write_file("a", "longer than before");
    make_old("a");
}

static void replace(void)
{
    write_file("b", "first");
    make_old("b");
    assert_int_equal(rename(path_of("b"), path_of("a")), 0);
}

static void take_away(void)
{
    assert_int_equal(unlink(path_of("a")), 0);
}

static void touch(void)
{
    struct timespec times[2] = { { 1000, 5 }, { 1000, 6 } };

    assert_int_equal(utimensat(AT_FDCWD, path_of("a"), times, 0), 0);
}

static void touch_another(void)
{
    write_file("b", "x");
}

static const struct row {
    const char *name;
    void (*act)(void);
    bool changed;
} rows[] = {
    { "nothing", nothing, false },
    { "another file in the folder", touch_another, false },
    { "other octets of the same size", rewrite, true },
    { "another size with the old time", grow, true },
    { "another file by rename, of the same size and time", replace, true },
    { "gone", take_away, true },
    { "another nanosecond", touch, true },
};

static void a_change_is_seen(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct file_stamps stamps = { 0 };

        print_message("    %s\n", rows[i].name);
        write_file("a", "first");
        make_old("a");
        stamp(&stamps, "a");
        rows[i].act();
        assert_int_equal(file_stamps_changed(&stamps), rows[i].changed);
        file_stamps_deinit(&stamps);
        unlink(path_of("a"));
        unlink(path_of("b"));
    }
}

static void a_file_that_was_absent_has_changed_when_it_is_there(void **state)
{
    struct file_stamps stamps = { 0 };

    (void)state;
    stamp(&stamps, "a");
    assert_false(file_stamps_changed(&stamps));
    write_file("a", "first");
    assert_true(file_stamps_changed(&stamps));
    file_stamps_deinit(&stamps);
    unlink(path_of("a"));
}

static void a_file_that_was_just_written_counts_as_changed(void **state)
{
    struct file_stamps stamps = { 0 };
    struct stat status;

    (void)state;
    write_file("a", "first");
    assert_int_equal(stat(path_of("a"), &status), 0);
    assert_int_equal(file_stamps_add(&stamps, path_of("a"), &status), 0);
    assert_true(file_stamps_changed(&stamps));
    status.st_mtim.tv_sec -= FILE_STAMPS_SETTLED_S + 1;
    status.st_ctim.tv_sec -= FILE_STAMPS_SETTLED_S + 1;
    file_stamps_deinit(&stamps);
    assert_int_equal(file_stamps_add(&stamps, path_of("a"), &status), 0);
    assert_false(stamps.items[0].recent);
    file_stamps_deinit(&stamps);
    unlink(path_of("a"));
}

static void one_of_many_is_enough(void **state)
{
    struct file_stamps stamps = { 0 };

    (void)state;
    for (int i = 0; i < 20; i++) {
        char name[8];

        snprintf(name, sizeof(name), "n%d", i);
        write_file(name, "x");
        stamp(&stamps, name);
    }
    assert_false(file_stamps_changed(&stamps));
    unlink(path_of("n19"));
    assert_true(file_stamps_changed(&stamps));
    for (size_t i = 0; i < 20; i++)
        unlink(stamps.items[i].path);
    file_stamps_deinit(&stamps);
    assert_false(file_stamps_changed(&stamps));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_is_seen),
        cmocka_unit_test(a_file_that_was_absent_has_changed_when_it_is_there),
        cmocka_unit_test(a_file_that_was_just_written_counts_as_changed),
        cmocka_unit_test(one_of_many_is_enough),
    };
    int failed;

    if (!mkdtemp(root))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    rmdir(root);
    return failed;
}

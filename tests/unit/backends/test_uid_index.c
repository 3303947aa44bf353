/* Unique ids on disk: given once, kept over moves, crashes and compaction; and the journal of
 * acknowledged messages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/maildir.h"
#include "tests/lib/folder.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define MAILDIR     "x/anna/Maildir/"

static struct maildrop drop;

static int setup(void **state)
{
    return folder_setup(state) < 0 ? -1 : maildir_create(folder, "anna@x");
}

static const char *path_of(const char *name)
{
    static char path[512];

    snprintf(path, sizeof(path), "%s/" MAILDIR "%s", folder, name);
    return path;
}

static void write_file(const char *name, const char *text)
{
    char path[512];

    snprintf(path, sizeof(path), MAILDIR "%s", name);
    folder_write(path, text, strlen(text));
}

static void read_file(const char *name, char *text, size_t room)
{
    FILE *file = fopen(path_of(name), "r");
    size_t size;

    assert_non_null(file);
    size = fread(text, 1, room - 1, file);
    text[size] = '\0';
    fclose(file);
}

/* The numbers of the messages that a new session sees: "1 2 5". Writes the epoch. */
static void assert_numbers(const char *want, uint32_t *ret_epoch)
{
    char got[256] = "";

    assert_int_equal(maildrop_view(folder, "anna@x", &drop), 0);
    for (size_t i = 0; i < drop.count; i++)
        snprintf(got + strlen(got), sizeof(got) - strlen(got), i ? " %d" : "%d",
                 (int)drop.messages[i].number);
    *ret_epoch = drop.epoch;
    maildrop_close(&drop);
    assert_string_equal(got, want);
}

static void numbers_stay_and_are_given_once(void **state)
{
    uint32_t epoch, again;

    (void)state;
    assert_numbers("", &epoch);
    write_file("new/20.b", "b\n");
    write_file("new/10.a", "a\n");
    assert_numbers("1 2", &again);
    assert_int_equal(epoch, again);
    write_file("cur/20.b,S=2,W=3:2,S", "b\n"); /* moved, and its sizes told */
    assert_int_equal(unlink(path_of("new/20.b")), 0);
    write_file("new/5.c", "c\n");
    assert_numbers("1 2 3", &again);
    assert_int_equal(unlink(path_of("new/5.c")), 0);
    write_file("new/6.d", "d\n");
    assert_numbers("1 2 4", &again);
    assert_int_equal(epoch, again);
}

static const struct tail_row {
    const char *name, *tail;
    bool same_epoch;
} tail_rows[] = {
    { "part of a line", "3 + 30.", true },
    { "part of a number", "3", true },
    { "a number that was given", "2 + 30.c\n", false },
    { "a smaller number", "1 + 30.c\n", false },
    { "no mark", "3 30.c\n", false },
    { "another mark", "3 * 30.c\n", false },
    { "no name", "3 +\n", false },
    { "one word more", "3 + 30.c x\n", false },
    { "no number", "x + 30.c\n", false },
    { "zero", "0 + 30.c\n", false },
    { "a number without end", "99999999999999999999 + 30.c\n", false },
    { "the last number", "9223372036854775807 + 30.c\n", false },
    { "a good line", "3 + 30.c\n", true },
    { "a message that was missed", "3 - 30.c\n", true },
};

static void a_cut_line_is_cut_off_and_damage_begins_an_epoch(void **state)
{
    (void)state;
    write_file("new/10.a", "a\n");
    write_file("new/20.b", "b\n");
    for (size_t i = 0; i < COUNT(tail_rows); i++) {
        const struct tail_row *row = &tail_rows[i];
        char text[512];
        uint32_t epoch, again;
        FILE *index;

        unlink(path_of("gatepost-uids"));
        assert_numbers("1 2", &epoch);
        index = fopen(path_of("gatepost-uids"), "a");
        assert_non_null(index);
        fputs(row->tail, index);
        fclose(index);
        write_file("new/30.c", "c\n");
        assert_numbers("1 2 3", &again);
        if ((epoch == again) != row->same_epoch)
            fail_msg("%s", row->name);
        read_file("gatepost-uids", text, sizeof(text));
        assert_int_equal(text[strlen(text) - 1], '\n');
        assert_numbers("1 2 3", &epoch);
        assert_int_equal(epoch, again);
        assert_int_equal(unlink(path_of("new/30.c")), 0);
    }
}

static void zeros_behind_the_last_line_are_cut_off(void **state)
{
    uint32_t epoch, again;
    struct stat status;

    (void)state;
    write_file("new/10.a", "a\n");
    assert_numbers("1", &epoch);
    assert_int_equal(stat(path_of("gatepost-uids"), &status), 0);
    assert_int_equal(truncate(path_of("gatepost-uids"), status.st_size + 4096), 0);
    write_file("new/20.b", "b\n");
    assert_numbers("1 2", &again);
    assert_int_equal(epoch, again);
    assert_numbers("1 2", &again);
    assert_int_equal(epoch, again);
}

static const char *const bad_heads[] = { "",
                                         "\n",
                                         "gatepost-uids 2 0000beef 1\n",
                                         "gatepost-uids 1 beef 1\n",
                                         "gatepost-uids 1 0000beef 0\n",
                                         "gatepost-uids 1 0000beef\n",
                                         "gatepost-uids 1 0000beef 1 1\n",
                                         "x" };

static void a_file_that_is_none_begins_an_epoch(void **state)
{
    uint32_t epoch;

    (void)state;
    write_file("new/10.a", "a\n");
    for (size_t i = 0; i < COUNT(bad_heads); i++) {
        write_file("gatepost-uids", bad_heads[i]);
        assert_numbers("1", &epoch);
        assert_int_not_equal(epoch, 0xbeef);
    }
}

static void compaction_keeps_numbers_and_what_was_missed_once(void **state)
{
    char *text;
    size_t size;
    FILE *lines = open_memstream(&text, &size);
    uint32_t epoch;
    char head[256];

    (void)state;
    fputs("gatepost-uids 1 0000beef 1\n", lines);
    for (int i = 1; i <= 1200; i++)
        fprintf(lines, "%d %c %d.m\n", i, i % 2 ? '+' : '-', i);
    fclose(lines);
    write_file("gatepost-uids", text);
    free(text);
    write_file("new/7.m", "a\n");
    write_file("new/8.m", "a\n");
    write_file("new/9999.m", "a\n");
    assert_numbers("7 8 1201", &epoch);
    assert_int_equal(epoch, 0xbeef);
    read_file("gatepost-uids", head, sizeof(head));
    assert_non_null(strstr(
        head,
        "gatepost-uids 1 0000beef 1201\n1 - 1.m\n3 - 3.m\n5 - 5.m\n7 + 7.m\n8 + 8.m\n9 - 9.m\n"));
    write_file("new/3.m", "a\n"); /* it was there all the time, and a listing missed it */
    write_file("new/4.m", "a\n"); /* nobody saw it twice */
    assert_numbers("3 7 8 1201 1202", &epoch);
}

static void names_of_any_octets_have_lines_of_their_own(void **state)
{
    uint32_t epoch, again;

    (void)state;
    write_file("new/1.a b", "a\n");
    write_file("new/2.a\nb", "a\n");
    write_file("new/3.%41", "a\n");
    write_file("new/4.\xc3\xbc", "a\n");
    assert_numbers("1 2 3 4", &epoch);
    assert_numbers("1 2 3 4", &again);
    assert_int_equal(epoch, again);
}

static void without_an_index_nothing_is_shown(void **state)
{
    uint32_t epoch;

    (void)state;
    write_file("new/10.a", "a\n");
    assert_numbers("1", &epoch);
    assert_int_equal(unlink(path_of("gatepost-uids")), 0);
    assert_int_equal(mkdir(path_of("gatepost-uids"), 0700), 0);
    assert_true(maildrop_view(folder, "anna@x", &drop) < 0);
    assert_int_equal(rmdir(path_of("gatepost-uids")), 0);
}

static bool there(const char *name)
{
    return access(path_of(name), F_OK) == 0;
}

static void acknowledged_messages_are_removed_when_the_lock_is_free(void **state)
{
    struct maildrop locked, view;
    uint32_t epoch;

    (void)state;
    write_file("new/1.a", "a\n");
    write_file("new/2.b", "b\n");
    write_file("new/3.c", "c\n");
    assert_int_equal(maildrop_view(folder, "anna@x", &view), 0);
    view.messages[0].deleted = true;
    assert_int_equal(maildrop_remove_acked(&view), 0);
    assert_false(there("new/1.a"));
    assert_true(view.messages[0].removed);

    assert_int_equal(maildrop_open(folder, "anna@x", &locked), 0);
    view.messages[1].deleted = true;
    assert_int_equal(maildrop_remove_acked(&view), 0);
    assert_int_equal(maildrop_remove_acked(&view), 0); /* once more changes nothing */
    assert_true(there("new/2.b") && view.messages[1].journalled && !view.messages[1].removed);
    assert_numbers("3", &epoch);
    maildrop_close(&locked);
    maildrop_close(&view);

    assert_int_equal(maildrop_open(folder, "anna@x", &locked), 0);
    assert_int_equal(locked.count, 1);
    assert_false(there("new/2.b"));
    assert_true(there("new/3.c"));
    maildrop_close(&locked);
}

static void a_view_keeps_lines_of_the_journal_that_it_does_not_know(void **state)
{
    struct maildrop locked, old, fresh;
    uint32_t epoch;

    (void)state;
    write_file("new/1.a", "a\n");
    assert_int_equal(maildrop_view(folder, "anna@x", &old), 0);
    write_file("new/2.b", "b\n");
    assert_int_equal(maildrop_view(folder, "anna@x", &fresh), 0);
    assert_int_equal(maildrop_open(folder, "anna@x", &locked), 0);
    fresh.messages[1].deleted = true;
    assert_int_equal(maildrop_remove_acked(&fresh), 0);
    maildrop_close(&locked);
    old.messages[0].deleted = true;
    assert_int_equal(maildrop_remove_acked(&old), 0);
    assert_false(there("new/1.a"));
    assert_true(there("new/2.b"));
    assert_numbers("", &epoch);
    assert_false(there("new/2.b"));
    maildrop_close(&old);
    maildrop_close(&fresh);
}

static void a_journal_of_anything_deletes_nothing(void **state)
{
    uint32_t epoch;
    char text[256];

    (void)state;
    write_file("new/1.a", "a\n");
    assert_numbers("1", &epoch);
    snprintf(text, sizeof(text), "\n%08x.1x\n%08x.1 \n%08x.2\n%08x.1\n%08x.1", epoch, epoch, epoch,
             epoch ^ 1, epoch);
    write_file("gatepost-acks", text);
    assert_numbers("1", &epoch);
    assert_true(there("new/1.a"));
    snprintf(text, sizeof(text), "%08x.1\n", epoch);
    write_file("gatepost-acks", text);
    assert_numbers("", &epoch);
    assert_false(there("new/1.a"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(numbers_stay_and_are_given_once, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_cut_line_is_cut_off_and_damage_begins_an_epoch, setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(zeros_behind_the_last_line_are_cut_off, setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(a_file_that_is_none_begins_an_epoch, setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(compaction_keeps_numbers_and_what_was_missed_once, setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(names_of_any_octets_have_lines_of_their_own, setup,
                                        folder_teardown),
        cmocka_unit_test_setup_teardown(without_an_index_nothing_is_shown, setup, folder_teardown),
        cmocka_unit_test_setup_teardown(acknowledged_messages_are_removed_when_the_lock_is_free,
                                        setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_view_keeps_lines_of_the_journal_that_it_does_not_know,
                                        setup, folder_teardown),
        cmocka_unit_test_setup_teardown(a_journal_of_anything_deletes_nothing, setup,
                                        folder_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A maildrop over real files: order, sizes, unique ids, locking, other programs beside us, UPDATE.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/maildir.h"
#include "tests/lib/folder.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define MAILDIR     "x/anna/Maildir/"
#define TEN         "0123456789"
#define LONG_80     TEN TEN TEN TEN TEN TEN TEN TEN

static int setup(void **state)
{
    return folder_setup(state) < 0 ? -1 : maildir_create(folder, "anna@x");
}

static void write_message(const char *name, const char *text)
{
    char path[512];

    snprintf(path, sizeof(path), MAILDIR "%s", name);
    folder_write(path, text, strlen(text));
}

static void move_message(const char *from, const char *to)
{
    char old[512], new[512];

    snprintf(old, sizeof(old), "%s/" MAILDIR "%s", folder, from);
    snprintf(new, sizeof(new), "%s/" MAILDIR "%s", folder, to);
    assert_int_equal(rename(old, new), 0);
}

static bool there(const char *name)
{
    char path[512];

    snprintf(path, sizeof(path), "%s/" MAILDIR "%s", folder, name);
    return access(path, F_OK) == 0;
}

static void assert_text(struct maildrop *maildrop, size_t index, const char *text)
{
    char room[256];
    FILE *file;
    size_t size;

    assert_int_equal(maildrop_read(maildrop, index, &file), 0);
    size = fread(room, 1, sizeof(room) - 1, file);
    room[size] = '\0';
    fclose(file);
    assert_string_equal(room, text);
}

static void messages_stand_in_order_of_arrival(void **state)
{
    static const char *const names[] = { "new/999.M1P1.h", "cur/1000.M2P1.h:2,S", "new/1000.M3P1.h",
                                         "cur/1000.M3P1.hh:2,", "new/20000.a" };
    struct maildrop maildrop;

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        write_message(names[(i * 3 + 2) % COUNT(names)], "a\n");
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    assert_int_equal(maildrop.count, COUNT(names));
    for (size_t i = 0; i < COUNT(names); i++)
        assert_string_equal(maildrop.messages[i].path, names[i]);
    maildrop_close(&maildrop);
}

static const struct message_row {
    const char *name, *text;
    uint64_t octets;
} message_rows[] = {
    { "new/1.M1P1Q1.h,S=2,W=3", "a\n", 3 },
    { "cur/2.M1.h,S=2,W=3:2,RS", "a\n", 3 },
    { "new/3.M1.h", "a\nb\n", 6 },
    { "new/4.M1.h,S=4", "a\nb\n", 6 },
    { "new/5.crlf", "a\r\nb\r\n", 6 },
    { "new/6.noend", "a\nb", 6 },
    { "new/7.empty", "", 0 },
    { "new/8.barecr", "a\rb\n", 5 },
    { "new/9.W=9", "a\n", 3 },                       /* no size: it does not follow a comma */
    { "new/10.h,W=x", "a\n", 3 },                    /* no number */
    { "new/11.h,W=", "a\n", 3 },                     /* nothing */
    { "new/12.h,W=99999999999999999999", "a\n", 3 }, /* 2^64 is less */
    { "cur/13.h:2,W=7", "a\n", 3 },                  /* a flag is no size */
    { "new/14.h,S=2,W=3,T=1", "a\n", 3 },
    { "new/nodigits", "a\n", 3 },
};

static void sizes_come_from_the_name_or_the_text(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(message_rows); i++) {
        const struct message_row *row = &message_rows[i];
        struct maildrop maildrop;
        char path[512];

        write_message(row->name, row->text);
        assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
        if (maildrop.count != 1 || maildrop.messages[0].octets != row->octets)
            fail_msg("%s", row->name);
        maildrop_close(&maildrop);
        snprintf(path, sizeof(path), "%s/" MAILDIR "%s", folder, row->name);
        assert_int_equal(unlink(path), 0);
    }
}

/* RFC 1939 section 7: 1 to 70 characters from 0x21 to 0x7E, unlike any other's, the same in every
 * session. */
static void any_name_gets_an_id_of_its_own(void **state)
{
    static const char *const names[] = { "new/1." LONG_80, "new/1." LONG_80 "x", "new/1.a b",
                                         "new/1.a\xc3\xbc", "new/,S=1" };
    char uids[COUNT(names)][71];
    struct maildrop maildrop;

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        write_message(names[i], "a\n");
    for (int session = 0; session < 2; session++) {
        assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
        assert_int_equal(maildrop.count, COUNT(names));
        for (size_t i = 0; i < maildrop.count; i++) {
            const char *uid = maildrop.messages[i].uid;

            assert_in_range(strlen(uid), 1, 28);
            for (const char *at = uid; *at; at++)
                assert_in_range(*at, 0x21, 0x7e);
            if (session == 1)
                assert_string_equal(uid, uids[i]);
            for (size_t k = 0; k < i; k++)
                assert_string_not_equal(uid, maildrop.messages[k].uid);
            strcpy(uids[i], uid);
        }
        maildrop_close(&maildrop);
    }
}

static void only_messages_are_listed(void **state)
{
    char path[512];
    struct maildrop maildrop;

    (void)state;
    write_message("new/1.a", "a\n");
    write_message("new/.hidden", "a\n");
    write_message("tmp/2.a", "a\n");
    snprintf(path, sizeof(path), "%s/" MAILDIR "cur/3.folder", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/" MAILDIR "cur/4.link,S=2,W=3", folder);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    snprintf(path, sizeof(path), "%s/" MAILDIR "cur/5.pipe", folder);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    assert_int_equal(maildrop.count, 1);
    assert_string_equal(maildrop.messages[0].path, "new/1.a");
    maildrop_close(&maildrop);
}

static void a_message_in_both_places_counts_once(void **state)
{
    struct maildrop maildrop;

    (void)state;
    write_message("new/1.a", "a\n");
    write_message("cur/1.a:2,S", "a\n");
    write_message("new/2.a", "b\n");
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    assert_int_equal(maildrop.count, 2);
    assert_string_equal(maildrop.messages[0].path, "cur/1.a:2,S");
    assert_string_equal(maildrop.messages[1].path, "new/2.a");
    maildrop_close(&maildrop);
}

static void a_user_without_a_maildir_gets_one(void **state)
{
    struct maildrop maildrop;

    (void)state;
    assert_int_equal(maildrop_open(folder, "bert@x", &maildrop), 0);
    assert_int_equal(maildrop.count, 0);
    assert_int_equal(maildrop_update(&maildrop), 0);
    maildrop_close(&maildrop);
    assert_int_equal(maildrop_open("no-such-store", "bert@x", &maildrop), -ENOENT);
    assert_int_equal(maildrop_open(folder, "bert", &maildrop), -EINVAL);
}

static void a_second_session_is_refused_until_the_first_ends(void **state)
{
    struct maildrop first, second, other;

    (void)state;
    assert_int_equal(maildrop_open(folder, "anna@x", &first), 0);
    assert_int_equal(maildrop_open(folder, "anna@x", &second), -EBUSY);
    assert_int_equal(maildrop_open(folder, "bert@x", &other), 0);
    maildrop_close(&other);
    maildrop_close(&first);
    assert_int_equal(maildrop_open(folder, "anna@x", &second), 0);
    maildrop_close(&second);
}

static void a_process_that_is_killed_leaves_no_lock(void **state)
{
    struct maildrop maildrop;
    int ready[2], status;
    char octet;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe(ready), 0);
    pid = fork();
    if (pid == 0) {
        if (maildrop_open(folder, "anna@x", &maildrop) == 0)
            (void)!write(ready[1], "", 1);
        for (;;)
            pause();
    }
    assert_int_equal(read(ready[0], &octet, 1), 1);
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), -EBUSY);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    maildrop_close(&maildrop);
    close(ready[0]);
    close(ready[1]);
}

static void a_message_that_was_moved_is_found_again(void **state)
{
    struct maildrop maildrop;

    (void)state;
    write_message("new/1.a,S=2,W=3", "a\n");
    write_message("cur/2.a:2,S", "b\n");
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    move_message("new/1.a,S=2,W=3", "cur/1.a,S=2,W=3:2,");
    move_message("cur/2.a:2,S", "cur/2.a:2,RS");
    assert_text(&maildrop, 0, "a\n");
    assert_text(&maildrop, 1, "b\n");
    assert_text(&maildrop, 1, "b\n");
    move_message("cur/2.a:2,RS", "cur/2.a:2,FRS");
    maildrop.messages[0].deleted = maildrop.messages[1].deleted = true;
    assert_int_equal(maildrop_update(&maildrop), 0);
    assert_false(there("cur/1.a,S=2,W=3:2,"));
    assert_false(there("cur/2.a:2,FRS"));
    maildrop_close(&maildrop);
}

static void a_message_that_is_gone_is_told(void **state)
{
    struct maildrop maildrop;
    FILE *file;

    (void)state;
    write_message("new/1.a", "a\n");
    write_message("new/1.ab", "b\n"); /* begins alike */
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    move_message("new/1.a", "tmp/1.a");
    assert_int_equal(maildrop_read(&maildrop, 0, &file), -ENOENT);
    maildrop.messages[0].deleted = true;
    assert_int_equal(maildrop_update(&maildrop), 0); /* it is gone: what was wanted */
    assert_true(there("new/1.ab"));
    maildrop_close(&maildrop);
}

static void p3_without_update_nothing_is_removed(void **state)
{
    struct maildrop maildrop;

    (void)state;
    write_message("new/1.a", "a\n");
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    maildrop.messages[0].deleted = true;
    maildrop_close(&maildrop);
    assert_true(there("new/1.a"));
}

static void update_removes_what_is_marked_and_nothing_else(void **state)
{
    struct maildrop maildrop;

    (void)state;
    write_message("new/1.a", "a\n");
    write_message("new/2.a", "b\n");
    write_message("cur/3.a:2,S", "c\n");
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    write_message("new/4.a", "d\n"); /* arrives meanwhile */
    maildrop.messages[0].deleted = maildrop.messages[2].deleted = true;
    assert_int_equal(maildrop_update(&maildrop), 0);
    maildrop_close(&maildrop);
    assert_false(there("new/1.a"));
    assert_true(there("new/2.a"));
    assert_false(there("cur/3.a:2,S"));
    assert_true(there("new/4.a"));
}

static void update_goes_on_behind_an_error(void **state)
{
    struct maildrop maildrop;
    char path[512];

    (void)state;
    write_message("new/1.a", "a\n");
    write_message("new/2.a", "b\n");
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    snprintf(path, sizeof(path), "%s/" MAILDIR "new/1.a", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(mkdir(path, 0700), 0); /* cannot be unlinked, by root either */
    maildrop.messages[0].deleted = maildrop.messages[1].deleted = true;
    assert_int_equal(maildrop_update(&maildrop), -EISDIR);
    maildrop_close(&maildrop);
    assert_false(there("new/2.a"));
}

static void what_crashes_left_in_tmp_goes_after_36_hours(void **state)
{
    time_t now = time(NULL);
    struct timespec old[2] = { { now - 37 * 3600, 0 }, { now - 37 * 3600, 0 } };
    struct timespec young[2] = { { now - 35 * 3600, 0 }, { now - 35 * 3600, 0 } };
    struct maildrop maildrop;
    char path[512];

    (void)state;
    write_message("tmp/1.old", "a\n");
    write_message("tmp/2.young", "a\n");
    write_message("new/3.old", "a\n");
    snprintf(path, sizeof(path), "%s/" MAILDIR "tmp/1.old", folder);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    snprintf(path, sizeof(path), "%s/" MAILDIR "tmp/2.young", folder);
    assert_int_equal(utimensat(AT_FDCWD, path, young, 0), 0);
    snprintf(path, sizeof(path), "%s/" MAILDIR "new/3.old", folder);
    assert_int_equal(utimensat(AT_FDCWD, path, old, 0), 0);
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    maildrop_close(&maildrop);
    assert_false(there("tmp/1.old"));
    assert_true(there("tmp/2.young"));
    assert_true(there("new/3.old"));
}

static void what_was_delivered_is_listed_with_its_octets(void **state)
{
    const char *users[] = { "anna@x" };
    struct delivery *delivery;
    struct maildrop maildrop;

    (void)state;
    assert_int_equal(delivery_begin(folder, users, 1, &delivery), 0);
    assert_int_equal(delivery_write(delivery, SPAN_LIT("a\r\n.b\r\n")), 0);
    assert_int_equal(delivery_commit(delivery), 0);
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    assert_int_equal(maildrop.count, 1);
    assert_int_equal(maildrop.messages[0].octets, 7);
    assert_null(strchr(maildrop.messages[0].uid, ','));
    assert_text(&maildrop, 0, "a\n.b\n");
    maildrop_close(&maildrop);
}

static void a_large_maildrop_is_listed_whole(void **state)
{
    enum { MESSAGES = 1000 };
    struct maildrop maildrop;

    (void)state;
    for (int i = 0; i < MESSAGES; i++) {
        char name[64];

        snprintf(name, sizeof(name), "new/%d.a,S=2,W=3", (i * 7 + 3) % MESSAGES);
        write_message(name, "a\n");
    }
    assert_int_equal(maildrop_open(folder, "anna@x", &maildrop), 0);
    assert_int_equal(maildrop.count, MESSAGES);
    for (int i = 0; i < MESSAGES; i++)
        assert_int_equal(atoi(maildrop.messages[i].path + strlen("new/")), i);
    maildrop_close(&maildrop);
}

#define ON_FILES(test) cmocka_unit_test_setup_teardown(test, setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FILES(messages_stand_in_order_of_arrival),
        ON_FILES(sizes_come_from_the_name_or_the_text),
        ON_FILES(any_name_gets_an_id_of_its_own),
        ON_FILES(only_messages_are_listed),
        ON_FILES(a_message_in_both_places_counts_once),
        ON_FILES(a_user_without_a_maildir_gets_one),
        ON_FILES(a_second_session_is_refused_until_the_first_ends),
        ON_FILES(a_process_that_is_killed_leaves_no_lock),
        ON_FILES(a_message_that_was_moved_is_found_again),
        ON_FILES(a_message_that_is_gone_is_told),
        ON_FILES(p3_without_update_nothing_is_removed),
        ON_FILES(update_removes_what_is_marked_and_nothing_else),
        ON_FILES(update_goes_on_behind_an_error),
        ON_FILES(what_crashes_left_in_tmp_goes_after_36_hours),
        ON_FILES(what_was_delivered_is_listed_with_its_octets),
        ON_FILES(a_large_maildrop_is_listed_whole),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

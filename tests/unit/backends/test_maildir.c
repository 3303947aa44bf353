/* Delivery into real Maildirs: what lies on disk, for whom, and that a delivery that fails leaves
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/maildir.h"
#include "tests/lib/folder.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define MESSAGE     "Subject: a\r\n\r\n.dot\r\nbare\rCR\r\n"
#define ON_DISK     "Subject: a\n\n.dot\nbare\rCR\n"

static int deliver(const char *const *users, size_t count, const char *text)
{
    struct delivery *delivery;
    int r = delivery_begin(folder, users, count, &delivery);

    if (r < 0)
        return r;
    r = delivery_write(delivery, span_of_text(text));
    if (r < 0) {
        delivery_abort(delivery);
        return r;
    }
    return delivery_commit(delivery);
}

/* Nobody sees anything, and nothing is left half done. */
static void assert_nothing_there(void)
{
    char name[256];

    assert_int_equal(folder_count("x/anna/Maildir/new", name), 0);
    assert_int_equal(folder_count("x/anna/Maildir/cur", name), 0);
    assert_int_equal(folder_count("x/anna/Maildir/tmp", name), 0);
}

static void a_message_lies_in_new_with_lf_line_ends(void **state)
{
    const char *users[] = { "anna@x" };
    char name[256], path[512], text[256], want[64];

    (void)state;
    assert_int_equal(deliver(users, 1, MESSAGE), 0);
    assert_int_equal(folder_count("x/anna/Maildir/tmp", name), 0);
    assert_int_equal(folder_count("x/anna/Maildir/new", name), 1);
    snprintf(path, sizeof(path), "x/anna/Maildir/new/%s", name);
    folder_read(path, text, sizeof(text));
    assert_string_equal(text, ON_DISK);
    snprintf(want, sizeof(want), ",S=%zu,W=%zu", sizeof(ON_DISK) - 1, sizeof(MESSAGE) - 1);
    assert_string_equal(name + strlen(name) - strlen(want), want);
    assert_null(strchr(name, ':'));
}

static void the_folders_and_the_message_are_the_owners_alone(void **state)
{
    static const char *const paths[] = { "x",
                                         "x/anna",
                                         "x/anna/Maildir",
                                         "x/anna/Maildir/cur",
                                         "x/anna/Maildir/new",
                                         "x/anna/Maildir/tmp" };
    const char *users[] = { "anna@x" };
    mode_t mask = umask(0);
    struct stat status;
    char name[256], path[1024];

    (void)state;
    assert_int_equal(deliver(users, 1, MESSAGE), 0);
    umask(mask);
    for (size_t i = 0; i < COUNT(paths); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, paths[i]);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_mode & 07777, 0700);
    }
    folder_count("x/anna/Maildir/new", name);
    snprintf(path, sizeof(path), "%s/x/anna/Maildir/new/%s", folder, name);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void several_recipients_share_one_file(void **state)
{
    const char *users[] = { "anna@x", "bert@x", "carl@y" };
    static const char *const folders[] = { "x/anna/Maildir/new", "x/bert/Maildir/new",
                                           "y/carl/Maildir/new" };
    char name[256], path[1024];
    struct stat status;

    (void)state;
    assert_int_equal(deliver(users, 3, MESSAGE), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(folder_count(folders[i], name), 1);
        snprintf(path, sizeof(path), "%s/%s/%s", folder, folders[i], name);
        assert_int_equal(stat(path, &status), 0);
        assert_int_equal(status.st_nlink, 3);
    }
}

static void a_recipient_named_twice_gets_it_once(void **state)
{
    const char *users[] = { "anna@x", "bert@x", "anna@x" };
    char name[256];

    (void)state;
    assert_int_equal(deliver(users, 3, MESSAGE), 0);
    assert_int_equal(folder_count("x/anna/Maildir/new", name), 1);
    assert_int_equal(folder_count("x/bert/Maildir/new", name), 1);
}

static void pieces_of_any_size_make_the_same_file(void **state)
{
    const char *users[] = { "anna@x" };
    char name[256], path[512], text[256];

    (void)state;
    for (size_t step = 1; step < 8; step++) {
        struct delivery *delivery;
        struct span rest = SPAN_LIT(MESSAGE);

        assert_int_equal(delivery_begin(folder, users, 1, &delivery), 0);
        for (; rest.size > 0; rest = span_skip(rest, step))
            assert_int_equal(delivery_write(delivery, span_first(rest, step)), 0);
        assert_int_equal(delivery_commit(delivery), 0);
        assert_int_equal(folder_count("x/anna/Maildir/new", name), 1);
        snprintf(path, sizeof(path), "x/anna/Maildir/new/%s", name);
        folder_read(path, text, sizeof(text));
        assert_string_equal(text, ON_DISK);
        snprintf(path, sizeof(path), "%s/x/anna/Maildir/new/%s", folder, name);
        assert_int_equal(unlink(path), 0);
    }
}

static void a_large_message_is_whole(void **state)
{
    enum { LINES = 40000 };
    const char *users[] = { "anna@x" };
    struct delivery *delivery;
    struct stat status;
    char name[256], path[1024], want[64];

    (void)state;
    assert_int_equal(delivery_begin(folder, users, 1, &delivery), 0);
    for (int i = 0; i < LINES; i++)
        assert_int_equal(delivery_write(delivery, SPAN_LIT("0123456789 0123456789\r\n")), 0);
    assert_int_equal(delivery_commit(delivery), 0);
    folder_count("x/anna/Maildir/new", name);
    snprintf(path, sizeof(path), "%s/x/anna/Maildir/new/%s", folder, name);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_size, LINES * 22L);
    snprintf(want, sizeof(want), ",S=%ld,W=%ld", LINES * 22L, LINES * 23L);
    assert_string_equal(name + strlen(name) - strlen(want), want);
}

static void names_never_meet(void **state)
{
    const char *users[] = { "anna@x" };
    char name[256];

    (void)state;
    for (int i = 0; i < 50; i++)
        assert_int_equal(deliver(users, 1, MESSAGE), 0);
    assert_int_equal(folder_count("x/anna/Maildir/new", name), 50);
}

static void p3_before_commit_nobody_sees_anything(void **state)
{
    const char *users[] = { "anna@x", "bert@x" };
    struct delivery *delivery;
    char name[256];

    (void)state;
    assert_int_equal(delivery_begin(folder, users, 2, &delivery), 0);
    assert_int_equal(delivery_write(delivery, SPAN_LIT(MESSAGE)), 0);
    assert_int_equal(folder_count("x/anna/Maildir/new", name), 0);
    assert_int_equal(folder_count("x/bert/Maildir/new", name), 0);
    delivery_abort(delivery);
    assert_nothing_there();
    delivery_abort(NULL);
}

static void what_is_no_whole_name_gets_nothing(void **state)
{
    const char *users[] = { "anna" };

    (void)state;
    assert_true(deliver(users, 1, MESSAGE) < 0);
    assert_int_equal(deliver(users, 0, MESSAGE), -EINVAL);
}

/* The last of three recipients cannot get it: the others must not have it either, or a repeated
 * delivery doubles it. */
static void when_one_fails_nobody_has_it(void **state)
{
    const char *users[] = { "anna@x", "bert@x", "carl@x" };
    char name[256], path[1024];

    (void)state;
    assert_int_equal(maildir_create(folder, "carl@x"), 0);
    snprintf(path, sizeof(path), "%s/x/carl/Maildir/new", folder);
    assert_int_equal(rmdir(path), 0);
    folder_write("x/carl/Maildir/new", "", 0);
    assert_int_equal(deliver(users, 3, MESSAGE), -ENOTDIR);
    assert_nothing_there();
    assert_int_equal(folder_count("x/bert/Maildir/new", name), 0);
}

/* bert's mail lies on another file system, where no link leads. */
static void a_recipient_on_another_file_system_gets_a_copy(void **state)
{
    const char *users[] = { "anna@x", "bert@x" };
    char elsewhere[] = "/dev/shm/test-XXXXXX", path[1024], name[256], text[256];
    struct stat here, there;

    (void)state;
    assert_int_equal(maildir_create(folder, "anna@x"), 0);
    assert_non_null(mkdtemp(elsewhere));
    assert_int_equal(stat(folder, &here), 0);
    assert_int_equal(stat(elsewhere, &there), 0);
    assert_true(here.st_dev !=
                there.st_dev); /* else this tests nothing: build elsewhere than in /dev/shm */
    snprintf(path, sizeof(path), "%s/x/bert", folder);
    assert_int_equal(symlink(elsewhere, path), 0);

    assert_int_equal(deliver(users, 2, MESSAGE), 0);
    assert_int_equal(folder_count("x/bert/Maildir/tmp", name), 0);
    assert_int_equal(folder_count("x/anna/Maildir/new", name), 1);
    assert_int_equal(folder_count("x/bert/Maildir/new", name), 1);
    snprintf(path, sizeof(path), "x/bert/Maildir/new/%s", name);
    folder_read(path, text, sizeof(text));
    assert_string_equal(text, ON_DISK);
    assert_int_equal(nftw(elsewhere, folder_remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* Delivers `size` octets in a process of its own, after `prepare`. What delivery said, as a
 * positive errno. */
static int deliver_much(int (*prepare)(void), size_t size)
{
    int status;
    pid_t pid = fork();

    if (pid == 0) {
        const char *users[] = { "anna@x" };
        struct delivery *delivery;
        char name[256];
        int r = prepare();

        if (r < 0 || delivery_begin(folder, users, 1, &delivery) < 0)
            _exit(250);
        for (size_t written = 0; r == 0 && written < size; written += 16)
            r = delivery_write(delivery, SPAN_LIT("0123456789abcd\r\n"));
        r = delivery_commit(delivery); /* also when a write has failed: it must not succeed */
        if (r < 0 && (folder_count("x/anna/Maildir/new", name) > 0 ||
                      folder_count("x/anna/Maildir/tmp", name) > 0))
            _exit(251);
        _exit(-r);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int limit_file_size(void)
{
    struct rlimit limit = { 100000, 100000 };

    signal(SIGXFSZ, SIG_IGN);
    return setrlimit(RLIMIT_FSIZE, &limit);
}

static int write_proc(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    if (!file)
        return -1;
    fputs(text, file);
    return fclose(file);
}

/* May mount from now on, for itself alone; where it is not root, as root of a user namespace. */
static int become_mounter(void)
{
    char users[32], groups[32];

    if (geteuid() == 0)
        return unshare(CLONE_NEWNS);
    snprintf(users, sizeof(users), "0 %u 1", geteuid());
    snprintf(groups, sizeof(groups), "0 %u 1", getegid());
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
        write_proc("/proc/self/setgroups", "deny") < 0 ||
        write_proc("/proc/self/uid_map", users) < 0)
        return -1;
    return write_proc("/proc/self/gid_map", groups);
}

/* A file system of 64 KiB over the folder, that only this process sees. */
static int fill_disk(void)
{
    if (become_mounter() < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return -1;
    return mount("none", folder, "tmpfs", 0, "size=64k");
}

static void p4_a_full_disk_is_told_and_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(deliver_much(fill_disk, 20000), 0);
    assert_int_equal(deliver_much(fill_disk, 80000), ENOSPC);   /* what is written at the end */
    assert_int_equal(deliver_much(fill_disk, 1000000), ENOSPC); /* long before the end */
}

static void p4_a_file_that_may_not_grow_leaves_nothing(void **state)
{
    (void)state;
    assert_int_equal(deliver_much(limit_file_size, 110000), EFBIG);
    assert_int_equal(deliver_much(limit_file_size, 1000000), EFBIG);
}

static void making_a_maildir_twice_changes_nothing(void **state)
{
    const char *users[] = { "anna@x" };
    char name[256];

    (void)state;
    assert_int_equal(deliver(users, 1, MESSAGE), 0);
    assert_int_equal(maildir_create(folder, "anna@x"), 0);
    assert_int_equal(folder_count("x/anna/Maildir/new", name), 1);
    assert_int_equal(maildir_create("no-such-store", "anna@x"), -ENOENT);
}

#define ON_FILES(test) cmocka_unit_test_setup_teardown(test, folder_setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_FILES(a_message_lies_in_new_with_lf_line_ends),
        ON_FILES(the_folders_and_the_message_are_the_owners_alone),
        ON_FILES(several_recipients_share_one_file),
        ON_FILES(a_recipient_named_twice_gets_it_once),
        ON_FILES(pieces_of_any_size_make_the_same_file),
        ON_FILES(a_large_message_is_whole),
        ON_FILES(names_never_meet),
        ON_FILES(p3_before_commit_nobody_sees_anything),
        ON_FILES(what_is_no_whole_name_gets_nothing),
        ON_FILES(when_one_fails_nobody_has_it),
        ON_FILES(a_recipient_on_another_file_system_gets_a_copy),
        ON_FILES(p4_a_full_disk_is_told_and_leaves_nothing),
        ON_FILES(p4_a_file_that_may_not_grow_leaves_nothing),
        ON_FILES(making_a_maildir_twice_changes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

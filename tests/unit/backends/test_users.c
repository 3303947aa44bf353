/* The users file, in a folder of its own: names, passwords, changes, and a file that others have
 * written to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/users.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TEN         "0123456789"
#define LONG_250                                                                                   \
    TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN    \
        TEN TEN

static char store[64];

static int make_store(void **state)
{
    (void)state;
    strcpy(store, "users-XXXXXX");
    return mkdtemp(store) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *status, int kind, struct FTW *place)
{
    (void)status;
    (void)kind;
    (void)place;
    return remove(path);
}

static int remove_store(void **state)
{
    (void)state;
    return nftw(store, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void path_of(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", store, name);
}

static void write_users(const char *text)
{
    char path[128];
    FILE *file;

    path_of("users", path);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void read_users(char *into, size_t room)
{
    char path[128];
    FILE *file;
    size_t size;

    path_of("users", path);
    file = fopen(path, "r");
    assert_non_null(file);
    size = fread(into, 1, room - 1, file);
    into[size] = '\0';
    fclose(file);
}

static void remember_name(const char *name, void *context)
{
    strcat(context, name);
    strcat(context, " ");
}

static void assert_names(const char *names)
{
    char found[512] = "";

    assert_int_equal(users_list(store, remember_name, found), 0);
    assert_string_equal(found, names);
}

static const struct name_row {
    const char *name, *whole; /* NULL: no valid name */
} name_rows[] = {
    { "anna", "anna@example.org" },
    { "Anna", "anna@example.org" },
    { "ANNA@Example.COM", "anna@example.com" },
    { "a.b+c@x", "a.b+c@x" },
    { "o'neil", "o'neil@example.org" },
    { LONG_250 "@abc", LONG_250 "@abc" },
    { LONG_250 "@abcd", NULL },
    { LONG_250, NULL }, /* with the domain it is too long */
    { "", NULL },
    { "@", NULL },
    { "@example.org", NULL },
    { "anna@", NULL },
    { "anna@b@c", NULL },
    { ".", NULL },
    { "..", NULL },
    { ".anna", NULL },
    { "anna@.", NULL },
    { "anna@..", NULL },
    { "anna@.org", NULL },
    { "../../etc/passwd", NULL },
    { "anna/../bert", NULL },
    { "anna@example.org/..", NULL },
    { "a\\b", NULL },
    { "anna:x", NULL },
    { "anna@b:c", NULL },
    { "anna b", NULL },
    { " anna", NULL },
    { "anna\n", NULL },
    { "an\tna", NULL },
    { "an\x7f"
      "na",
      NULL },
    { "j\xc3\xbcrgen", NULL },
    { "anna@b\xc3\xbc"
      "cher.example",
      NULL },
};

static void names_are_made_whole_or_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(name_rows); i++) {
        const struct name_row *row = &name_rows[i];
        char whole[USER_NAME_MAX + 1] = "untouched";
        int r = users_normalize(span_of_text(row->name), "Example.org", whole);

        if (r != (row->whole ? USERS_OK : USERS_UNKNOWN) ||
            strcmp(whole, row->whole ? row->whole : "untouched") != 0)
            fail_msg("%s", row->name);
    }
}

static void a_name_with_a_nul_is_refused(void **state)
{
    char whole[USER_NAME_MAX + 1];

    (void)state;
    assert_int_equal(users_normalize(SPAN_LIT("anna\0@x"), "example.org", whole), USERS_UNKNOWN);
}

static void a_name_without_domain_needs_a_default(void **state)
{
    char whole[USER_NAME_MAX + 1];

    (void)state;
    assert_int_equal(users_normalize(SPAN_LIT("anna"), NULL, whole), USERS_UNKNOWN);
    assert_int_equal(users_normalize(SPAN_LIT("anna"), "", whole), USERS_UNKNOWN);
    assert_int_equal(users_normalize(SPAN_LIT("anna@x"), NULL, whole), USERS_OK);
}

static void a_user_that_was_added_can_log_in(void **state)
{
    char text[512];

    (void)state;
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("open sesame")), USERS_OK);
    assert_int_equal(users_lookup(store, "anna@x"), USERS_OK);
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT("open sesame")), USERS_OK);
    read_users(text, sizeof(text));
    assert_memory_equal(text, "anna@x:$y$", 10);
    assert_null(strstr(text, "sesame"));
}

static void nothing_but_the_password_opens(void **state)
{
    static const char *const wrong[] = {
        "", "open", "open sesame ", " open sesame", "Open sesame", "open\0sesame", "*0", "$y$"
    };

    (void)state;
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("open sesame")), USERS_OK);
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_equal(users_check(store, "anna@x", span_of_text(wrong[i])), USERS_WRONG);
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT("open sesame\0")), USERS_WRONG);
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT(LONG_250 LONG_250 LONG_250)),
                     USERS_WRONG);
    assert_int_equal(users_check(store, "anna@", SPAN_LIT("open sesame")), USERS_UNKNOWN);
    assert_int_equal(users_check(store, "nna@x", SPAN_LIT("open sesame")), USERS_UNKNOWN);
    assert_int_equal(users_check(store, "bert@x", SPAN_LIT("open sesame")), USERS_UNKNOWN);
    assert_int_equal(users_check(store, "", SPAN_LIT("open sesame")), USERS_UNKNOWN);
}

static void passwords_that_crypt_cannot_take_are_refused(void **state)
{
    (void)state;
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("")), -EINVAL);
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("a\0b")), -EINVAL);
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT(LONG_250 LONG_250 TEN "ab")), -EINVAL);
    assert_int_equal(users_lookup(store, "anna@x"), -ENOENT);
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT(LONG_250 LONG_250 TEN "a")), USERS_OK);
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT(LONG_250 LONG_250 TEN "a")), USERS_OK);
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT(LONG_250 LONG_250 TEN)), USERS_WRONG);
}

static void a_change_touches_one_user_only(void **state)
{
    (void)state;
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("a")), USERS_OK);
    assert_int_equal(users_add(store, "bert@x", SPAN_LIT("b")), USERS_OK);
    assert_int_equal(users_add(store, "anna@x.y", SPAN_LIT("c")), USERS_OK);
    assert_names("anna@x bert@x anna@x.y ");
    assert_int_equal(users_set_password(store, "anna@x", SPAN_LIT("new")), USERS_OK);
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT("a")), USERS_WRONG);
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT("new")), USERS_OK);
    assert_int_equal(users_check(store, "anna@x.y", SPAN_LIT("c")), USERS_OK);
    assert_int_equal(users_delete(store, "anna@x"), USERS_OK);
    assert_names("bert@x anna@x.y ");
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT("new")), USERS_UNKNOWN);
    assert_int_equal(users_check(store, "bert@x", SPAN_LIT("b")), USERS_OK);
}

static void a_change_that_cannot_be_made_changes_nothing(void **state)
{
    char before[512], after[512], path[128];

    (void)state;
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("a")), USERS_OK);
    read_users(before, sizeof(before));
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("b")), USERS_EXISTS);
    assert_int_equal(users_set_password(store, "bert@x", SPAN_LIT("b")), USERS_UNKNOWN);
    assert_int_equal(users_delete(store, "bert@x"), USERS_UNKNOWN);
    read_users(after, sizeof(after));
    assert_string_equal(before, after);
    path_of("users.new", path);
    assert_int_equal(access(path, F_OK), -1);
}

static void two_at_once_lose_no_change(void **state)
{
    pid_t children[4];
    char name[16];

    (void)state;
    for (int i = 0; i < 4; i++) {
        snprintf(name, sizeof(name), "user%d@x", i);
        children[i] = fork();
        if (children[i] == 0)
            _exit(users_add(store, name, SPAN_LIT("a")) == USERS_OK ? 0 : 1);
    }
    for (int i = 0; i < 4; i++) {
        int status = -1;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_int_equal(status, 0);
        snprintf(name, sizeof(name), "user%d@x", i);
        assert_int_equal(users_lookup(store, name), USERS_OK);
    }
}

static void only_the_owner_may_read_the_file(void **state)
{
    mode_t mask = umask(0);
    struct stat status;
    char path[128];

    (void)state;
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("a")), USERS_OK);
    umask(mask);
    path_of("users", path);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0600);
}

static void a_missing_file_is_an_error_and_no_empty_list(void **state)
{
    (void)state;
    assert_int_equal(users_lookup(store, "anna@x"), -ENOENT);
    assert_int_equal(users_check(store, "anna@x", SPAN_LIT("a")), -ENOENT);
    assert_int_equal(users_list(store, remember_name, NULL), -ENOENT);
    assert_int_equal(users_lookup("no-such-store", "anna@x"), -ENOENT);
    assert_int_equal(users_add("no-such-store", "anna@x", SPAN_LIT("a")), -ENOENT);
}

static void a_link_is_not_followed(void **state)
{
    char path[128];

    (void)state;
    path_of("users", path);
    assert_int_equal(symlink("/etc/passwd", path), 0);
    assert_int_equal(users_lookup(store, "root"), -ELOOP);
}

static const struct broken_row {
    const char *name, *file, *user;
    int lookup, check;
} broken_rows[] = {
    { "an empty file", "", "anna@x", USERS_UNKNOWN, USERS_UNKNOWN },
    { "a user without a hash", "anna@x:\n", "anna@x", USERS_OK, USERS_WRONG },
    { "a user without a colon", "anna@x\n", "anna@x", USERS_OK, USERS_WRONG },
    { "a locked user", "anna@x:!$y$j9T$a$b\n", "anna@x", USERS_OK, USERS_WRONG },
    { "a hash that is none", "anna@x:$y$nonsense\n", "anna@x", USERS_OK, USERS_WRONG },
    { "a method that is none", "anna@x:$zz$abc\n", "anna@x", USERS_OK, USERS_WRONG },
    { "a password in clear", "anna@x:password\n", "anna@x", USERS_OK, USERS_WRONG },
    { "a failure token of crypt", "anna@x:*0\n", "anna@x", USERS_OK, USERS_WRONG },
    { "empty lines", "\n\nanna@x:\n\n", "anna@x", USERS_OK, USERS_WRONG },
    { "an entry without a name", ":$y$j9T$a$b\n", "", USERS_UNKNOWN, USERS_UNKNOWN },
    { "a last line without an end", "bert@x:\nanna@x:!", "anna@x", USERS_OK, USERS_WRONG },
    { "a name that begins alike", "anna@x.y:!\n", "anna@x", USERS_UNKNOWN, USERS_UNKNOWN },
};

static void a_broken_file_lets_nobody_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(broken_rows); i++) {
        const struct broken_row *row = &broken_rows[i];

        write_users(row->file);
        if (users_lookup(store, row->user) != row->lookup ||
            users_check(store, row->user, SPAN_LIT("password")) != row->check)
            fail_msg("%s", row->name);
    }
}

static void a_file_without_a_last_line_end_is_repaired(void **state)
{
    (void)state;
    write_users("bert@x:!");
    assert_int_equal(users_add(store, "anna@x", SPAN_LIT("a")), USERS_OK);
    assert_names("bert@x anna@x ");
}

static void a_changed_file_is_read_anew(void **state)
{
    (void)state;
    write_users("anna@x:!\n");
    assert_int_equal(users_lookup(store, "bert@x"), USERS_UNKNOWN);
    write_users("bert@x:!\n");
    assert_int_equal(users_lookup(store, "bert@x"), USERS_OK);
    assert_int_equal(users_lookup(store, "anna@x"), USERS_UNKNOWN);
}

#define ON_DISK(test) cmocka_unit_test_setup_teardown(test, make_store, remove_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_made_whole_or_refused),
        cmocka_unit_test(a_name_with_a_nul_is_refused),
        cmocka_unit_test(a_name_without_domain_needs_a_default),
        ON_DISK(a_user_that_was_added_can_log_in),
        ON_DISK(nothing_but_the_password_opens),
        ON_DISK(passwords_that_crypt_cannot_take_are_refused),
        ON_DISK(a_change_touches_one_user_only),
        ON_DISK(a_change_that_cannot_be_made_changes_nothing),
        ON_DISK(two_at_once_lose_no_change),
        ON_DISK(only_the_owner_may_read_the_file),
        ON_DISK(a_missing_file_is_an_error_and_no_empty_list),
        ON_DISK(a_link_is_not_followed),
        ON_DISK(a_broken_file_lets_nobody_in),
        ON_DISK(a_file_without_a_last_line_end_is_repaired),
        ON_DISK(a_changed_file_is_read_anew),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

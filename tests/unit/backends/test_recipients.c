/* Whose is an address: a real store in a folder of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends/recipients.h"

struct store {
    char path[64];
    struct recipients recipients;
    struct settings_mailstore mailstore;
};

static char *domains[] = { (char *)"example.org", (char *)"Second.example" };

static void write_file(const struct store *store, const char *name, const char *text)
{
    char path[128], next[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", store->path, name);
    snprintf(next, sizeof(next), "%s/%s.next", store->path, name);
    if (!text) {
        unlink(path);
        return;
    }
    file = fopen(next, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(next, path), 0);
}

static void store_init(struct store *store, const char *users, const char *aliases)
{
    strcpy(store->path, "/tmp/test-recipients-XXXXXX");
    assert_non_null(mkdtemp(store->path));
    write_file(store, "users", users);
    write_file(store, "aliases", aliases);
    store->mailstore =
        (struct settings_mailstore){ .path = store->path, .domains = { domains, 2 } };
    recipients_init(&store->recipients, &store->mailstore);
}

static void store_deinit(struct store *store)
{
    recipients_deinit(&store->recipients);
    write_file(store, "users", NULL);
    write_file(store, "aliases", NULL);
    rmdir(store->path);
}

/* Looks `address` up; *into is "user user ". */
static int find(struct store *store, const char *address, char *into, size_t room)
{
    struct name_list users = { NULL, 0 };
    int r = recipients_find(&store->recipients, address, &users);

    into[0] = '\0';
    for (size_t i = 0; i < users.count; i++)
        snprintf(into + strlen(into), room - strlen(into), "%s ", users.names[i]);
    name_list_deinit(&users);
    return r;
}

#define USERS "first@example.org:x\nanna@example.org:x\nbert@second.example:x\n"

static void addresses_lead_to_users(void **state)
{
    static const struct {
        const char *aliases, *address;
        int result;
        const char *users;
    } rows[] = {
        { NULL, "anna@example.org", RECIPIENTS_LOCAL, "anna@example.org " },
        { NULL, "Anna@EXAMPLE.org", RECIPIENTS_LOCAL, "anna@example.org " },
        { NULL, "bert@second.example", RECIPIENTS_LOCAL, "bert@second.example " },
        { NULL, "anna@second.example", RECIPIENTS_UNKNOWN, "" },
        { NULL, "nobody@example.org", RECIPIENTS_UNKNOWN, "" },
        { NULL, "\"a b\"@example.org", RECIPIENTS_UNKNOWN, "" },
        { NULL, "\"x@other.example\"@example.org", RECIPIENTS_UNKNOWN, "" },
        { NULL, "../anna@example.org", RECIPIENTS_UNKNOWN, "" },
        { NULL, "\xc3\xbc@example.org", RECIPIENTS_UNKNOWN, "" },
        { NULL, "anna@other.example", RECIPIENTS_ELSEWHERE, "" },
        { NULL, "anna@sub.example.org", RECIPIENTS_ELSEWHERE, "" },
        { NULL, "anna@[192.0.2.1]", RECIPIENTS_ELSEWHERE, "" },
        { NULL, "postmaster@other.example", RECIPIENTS_ELSEWHERE, "" },
        { "info: anna, bert@second.example\n", "info@example.org", RECIPIENTS_LOCAL,
          "anna@example.org bert@second.example " },
        { "x: anna@other.example\n", "x@example.org", RECIPIENTS_UNKNOWN, "" },
        /* RFC 5321 section 4.5.1 */
        { NULL, "postmaster", RECIPIENTS_LOCAL, "first@example.org " },
        { NULL, "Postmaster@second.example", RECIPIENTS_LOCAL, "first@example.org " },
        { "postmaster: anna\n", "postmaster", RECIPIENTS_LOCAL, "anna@example.org " },
        { "postmaster: anna\n", "postmaster@second.example", RECIPIENTS_LOCAL,
          "anna@example.org " },
        { "postmaster: anna\npostmaster@second.example: bert@second.example\n",
          "postmaster@second.example", RECIPIENTS_LOCAL, "bert@second.example " },
        { "postmaster: nobody\n", "postmaster", RECIPIENTS_LOCAL, "first@example.org " },
    };
    char users[256];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct store store;
        int r;

        store_init(&store, USERS, rows[i].aliases);
        r = find(&store, rows[i].address, users, sizeof(users));
        store_deinit(&store);
        if (r != rows[i].result || strcmp(users, rows[i].users) != 0)
            fail_msg("%s: %d %s", rows[i].address, r, users);
    }
}

static void changes_of_the_alias_file_are_seen(void **state)
{
    struct store store;
    char users[256];

    (void)state;
    store_init(&store, USERS, NULL);
    assert_int_equal(find(&store, "info@example.org", users, sizeof(users)), RECIPIENTS_UNKNOWN);
    write_file(&store, "aliases", "info: anna\n");
    assert_int_equal(find(&store, "info@example.org", users, sizeof(users)), RECIPIENTS_LOCAL);
    assert_string_equal(users, "anna@example.org ");
    write_file(&store, "aliases", "info: first\n");
    assert_int_equal(find(&store, "info@example.org", users, sizeof(users)), RECIPIENTS_LOCAL);
    assert_string_equal(users, "first@example.org ");
    write_file(&store, "aliases", NULL);
    assert_int_equal(find(&store, "info@example.org", users, sizeof(users)), RECIPIENTS_UNKNOWN);
    store_deinit(&store);
}

static void a_store_that_cannot_be_read_says_nothing_about_an_address(void **state)
{
    struct store store;
    char users[256], path[128];

    (void)state;
    store_init(&store, NULL, NULL);
    assert_true(find(&store, "anna@example.org", users, sizeof(users)) < 0);
    assert_true(find(&store, "postmaster", users, sizeof(users)) < 0);
    assert_int_equal(find(&store, "anna@other.example", users, sizeof(users)),
                     RECIPIENTS_ELSEWHERE);
    write_file(&store, "users", USERS);
    snprintf(path, sizeof(path), "%s/aliases", store.path);
    assert_int_equal(symlink("aliases", path), 0); /* to itself: ELOOP */
    assert_int_equal(find(&store, "anna@example.org", users, sizeof(users)), -ELOOP);
    store_deinit(&store);
}

static void without_users_there_is_no_postmaster(void **state)
{
    struct store store;
    char users[256];

    (void)state;
    store_init(&store, "", NULL);
    assert_int_equal(find(&store, "postmaster", users, sizeof(users)), RECIPIENTS_UNKNOWN);
    store_deinit(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_lead_to_users),
        cmocka_unit_test(changes_of_the_alias_file_are_seen),
        cmocka_unit_test(a_store_that_cannot_be_read_says_nothing_about_an_address),
        cmocka_unit_test(without_users_there_is_no_postmaster),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

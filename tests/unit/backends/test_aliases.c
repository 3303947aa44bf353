/* The alias file, and the way from a name to users. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/aliases.h"
#include "backends/users.h"

/* anna, bert and carl@other.example are users; a look-up of broken@d fails. */
static int is_user(const char *name, void *context)
{
    (void)context;
    if (strcmp(name, "broken@d") == 0)
        return -EIO;
    return strcmp(name, "anna@d") == 0 || strcmp(name, "bert@d") == 0 ||
                   strcmp(name, "carl@other.example") == 0
               ? USERS_OK
               : USERS_UNKNOWN;
}

static int expand(const char *text, const char *name, char *into, size_t room)
{
    struct name_list users = { NULL, 0 };
    struct aliases *aliases;
    int r;

    assert_int_equal(aliases_parse(span_of_text(text), "d", &aliases), 0);
    r = aliases_expand(aliases, name, is_user, NULL, &users);
    into[0] = '\0';
    for (size_t i = 0; i < users.count; i++)
        snprintf(into + strlen(into), room - strlen(into), "%s ", users.names[i]);
    name_list_deinit(&users);
    aliases_free(aliases);
    return r;
}

static void names_lead_to_users(void **state)
{
    static const struct {
        const char *text, *name;
        int result;
        const char *users;
    } rows[] = {
        { "", "anna@d", ALIASES_FOUND, "anna@d " },
        { "info: anna\n", "info@d", ALIASES_FOUND, "anna@d " },
        { "info: anna", "info@d", ALIASES_FOUND, "anna@d " },
        { "info: anna\r\n", "info@d", ALIASES_FOUND, "anna@d " },
        { "  INFO@D :  Anna ,bert@D,,\n", "info@d", ALIASES_FOUND, "anna@d bert@d " },
        { "# info: bert\n\ninfo: anna\n", "info@d", ALIASES_FOUND, "anna@d " },
        { "info: anna\ninfo: bert\n", "info@d", ALIASES_FOUND, "anna@d bert@d " },
        { "info: carl@other.example\n", "info@d", ALIASES_FOUND, "carl@other.example " },
        { "info@other.example: anna\n", "info@other.example", ALIASES_FOUND, "anna@d " },
        { "a: b\nb: c\nc: anna, bert\n", "a@d", ALIASES_FOUND, "anna@d bert@d " },
        { "a: b, c\nb: anna\nc: anna\n", "a@d", ALIASES_FOUND, "anna@d " },
        { "anna: bert\n", "anna@d", ALIASES_FOUND, "bert@d " },
        { "anna: anna, bert\n", "anna@d", ALIASES_FOUND, "anna@d bert@d " },
        { "a: b, anna\nb: a\n", "a@d", ALIASES_FOUND, "anna@d " },
        { "info: anna, nobody, x@elsewhere.example\n", "info@d", ALIASES_FOUND, "anna@d " },
        { "info: anna\n", "info@other.example", ALIASES_UNKNOWN, "" },
        { "info: anna\n", "inf@d", ALIASES_UNKNOWN, "" },
        { "info: nobody\n", "info@d", ALIASES_UNKNOWN, "" },
        { "info: x@elsewhere.example\n", "info@d", ALIASES_UNKNOWN, "" },
        { "info:\n", "info@d", ALIASES_UNKNOWN, "" },
        { "a: b\nb: a\n", "a@d", ALIASES_UNKNOWN, "" },
        { "a: a\n", "a@d", ALIASES_UNKNOWN, "" },
        { "anna: bert\nbert: anna\n", "anna@d", ALIASES_UNKNOWN, "" },
        { "info: broken\n", "info@d", -EIO, "" },
        /* Lines that cannot be understood spoil no other. */
        { "info anna\n: anna\n../x: anna\n.x: anna\ninfo: anna\n", "info@d", ALIASES_FOUND,
          "anna@d " },
        { "info: ../anna, |program, /file, \"anna\"\n", "info@d", ALIASES_UNKNOWN, "" },
    };
    char users[256];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int r = expand(rows[i].text, rows[i].name, users, sizeof(users));

        if (r != rows[i].result || strcmp(users, rows[i].users) != 0)
            fail_msg("%s: %d %s", rows[i].text, r, users);
    }
}

static void an_alias_may_lead_to_a_thousand_names_and_no_more(void **state)
{
    char *text = NULL, users[64];
    size_t size;

    (void)state;
    for (int count = 990; count <= 1010; count += 20) {
        FILE *file = open_memstream(&text, &size);

        fprintf(file, "all: anna");
        for (int i = 0; i < count; i++)
            fprintf(file, ", n%d", i);
        fclose(file);
        assert_int_equal(expand(text, "all@d", users, sizeof(users)),
                         count < ALIASES_EXPANSION_MAX ? ALIASES_FOUND : -E2BIG);
        free(text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_lead_to_users),
        cmocka_unit_test(an_alias_may_lead_to_a_thousand_names_and_no_more),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

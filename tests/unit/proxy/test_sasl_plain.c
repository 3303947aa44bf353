/* Messages of PLAIN, written with | for NUL, and what they say; each in memory of its own size. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "proxy/base/sasl_plain.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct row {
    const char *name, *message;
    const char *authzid, *authcid, *password; /* NULL: it is no message */
    bool for_another;
} rows[] = {
    { "for oneself", "|anna|secret", "", "anna", "secret", false },
    { "for oneself, named", "anna|anna|secret", "anna", "anna", "secret", false },
    { "for oneself, in other letters", "Anna|aNNA|secret", "Anna", "aNNA", "secret", false },
    { "for another", "bert|anna|secret", "bert", "anna", "secret", true },
    { "for one whose name is longer", "anna2|anna|secret", "anna2", "anna", "secret", true },
    { "an empty password", "|anna|", "", "anna", "", false },
    { "blanks are part of all", " | a b | c ", " ", " a b ", " c ", true },
    { "nothing", "", NULL, NULL, NULL, false },
    { "no NUL", "anna", NULL, NULL, NULL, false },
    { "one NUL", "anna|secret", NULL, NULL, NULL, false },
    { "one NUL alone", "|", NULL, NULL, NULL, false },
    { "one NUL, a name alone", "|anna", NULL, NULL, NULL, false },
    { "two NULs alone", "||", NULL, NULL, NULL, false },
    { "three NULs", "|anna|sec|ret", NULL, NULL, NULL, false },
    { "three NULs, one at the end", "|anna|secret|", NULL, NULL, NULL, false },
    { "nobody logs in", "||secret", NULL, NULL, NULL, false },
    { "nobody logs in for another", "bert||secret", NULL, NULL, NULL, false },
};

static void assert_says(struct span said, const char *expected, const char *name)
{
    if (!span_equal(said, span_of_text(expected)))
        fail_msg("%s: \"%.*s\" is not \"%s\"", name, (int)said.size, (const char *)said.data,
                 expected);
}

static void check(const struct row *row)
{
    size_t size = strlen(row->message);
    char *message = malloc(size ? size : 1);
    struct sasl_plain plain;
    bool good;

    assert_non_null(message);
    for (size_t i = 0; i < size; i++)
        message[i] = (char)(row->message[i] == '|' ? '\0' : row->message[i]);
    good = sasl_plain_parse(span_of(message, size), &plain);
    if (good != (row->authcid != NULL))
        fail_msg("%s: %s", row->name, good ? "taken" : "refused");
    if (good) {
        assert_says(plain.authzid, row->authzid, row->name);
        assert_says(plain.authcid, row->authcid, row->name);
        assert_says(plain.password, row->password, row->name);
        if (sasl_plain_for_another(&plain) != row->for_another)
            fail_msg("%s: it is the other way round", row->name);
    }
    free(message);
}

static void messages_say_who_logs_in_for_whom(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        check(&rows[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(messages_say_who_logs_in_for_whom),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

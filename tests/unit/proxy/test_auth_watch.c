/* Who logs in, and how, by what AUTH, PASS and APOP show. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "proxy/auth_watch.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct row {
    const char *arguments, *answers[3];
    const char *name, *method;
    bool answered;
} rows[] = {
    /* the base64 is of NUL joe NUL pass, of joe, of pass, and of "joe digest" */
    { "PLAIN AGpvZQBwYXNz", { 0 }, "joe", "PLAIN", true },
    { "plain AGpvZQBwYXNz", { 0 }, "joe", "PLAIN", true },
    { "PLAIN", { "AGpvZQBwYXNz" }, "joe", "PLAIN", true },
    { "PLAIN", { 0 }, "", "PLAIN", false },
    { "PLAIN =", { 0 }, "", "PLAIN", true },
    { "PLAIN !", { 0 }, "", "PLAIN", true },
    { "LOGIN", { "am9l" }, "joe", "LOGIN", true },
    { "LOGIN", { "am9l", "cGFzcw==" }, "joe", "LOGIN", true },
    { "LOGIN am9l", { "cGFzcw==" }, "joe", "LOGIN", true },
    { "CRAM-MD5", { "am9lIGRpZ2VzdA==" }, "joe", "CRAM-MD5", true },
    { "XOAUTH2 am9l", { 0 }, "", "", true },
    { "XOAUTH2", { "am9l" }, "", "", true },
    { "XOAUTH2", { 0 }, "", "", false },
    { "", { 0 }, "", "", false },
    { "PLAIN", { "*" }, "", "", false },
    { "LOGIN", { "am9l", "*" }, "", "", false },
    { "LOGIN", { "*", "am9l" }, "", "", true },
};

static void auth_tells_the_name_and_the_method_and_whether_anything_was_proved(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct auth_watch watch = { .mechanism = AUTH_LOGIN, .answered = true, .name = "before" };

        auth_watch_begin(&watch, span_of_text(row->arguments));
        for (size_t j = 0; row->answers[j]; j++)
            auth_watch_answer(&watch, span_of_text(row->answers[j]));
        if (strcmp(watch.name, row->name) != 0 || watch.answered != row->answered ||
            strcmp(auth_watch_method(&watch), row->method) != 0)
            fail_msg("row %zu, AUTH %s: name \"%s\", method \"%s\", answered %d", i, row->arguments,
                     watch.name, auth_watch_method(&watch), watch.answered);
    }
}

static void commands_in_clear_have_methods_too(void **state)
{
    struct auth_watch watch = { 0 };

    (void)state;
    auth_watch_name(&watch, SPAN_LIT("joe"));
    assert_false(watch.answered);
    auth_watch_command(&watch, AUTH_PASS);
    assert_string_equal(watch.name, "joe");
    assert_string_equal(auth_watch_method(&watch), "PLAIN");
    assert_true(watch.answered);
    auth_watch_command(&watch, AUTH_APOP);
    assert_string_equal(auth_watch_method(&watch), "APOP");
}

static void a_name_is_cut_to_fit(void **state)
{
    struct auth_watch watch = { 0 };
    char name[AUTH_NAME_MAX + 2];

    (void)state;
    memset(name, 'a', sizeof(name));
    auth_watch_name(&watch, span_of(name, sizeof(name)));
    assert_int_equal(strlen(watch.name), AUTH_NAME_MAX);
    auth_watch_name(&watch, SPAN_LIT("b\0c"));
    assert_string_equal(watch.name, "b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(auth_tells_the_name_and_the_method_and_whether_anything_was_proved),
        cmocka_unit_test(commands_in_clear_have_methods_too),
        cmocka_unit_test(a_name_is_cut_to_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

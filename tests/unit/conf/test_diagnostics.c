/* Tests of conf/diagnostics.c: what is printed, and which word is near enough to be meant. */
#include "conf/diagnostics.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct print_row {
    const char *name;
    enum diagnostic_kind kind;
    struct diagnostic_place place;
    const char *words;
    const char *printed;
};

static const struct print_row print_rows[] = {
    { "file, line, text and caret",
      DIAGNOSTIC_ERROR,
      { "a.ini", 3, 5, "abcdef", NULL },
      "bad",
      "a.ini:3: error: bad\n    abcdef\n        ^\n" },
    { "caret at the first column",
      DIAGNOSTIC_ERROR,
      { "a.ini", 3, 1, "abcdef", NULL },
      "bad",
      "a.ini:3: error: bad\n    abcdef\n    ^\n" },
    { "caret behind the end",
      DIAGNOSTIC_ERROR,
      { "a.ini", 3, 4, "abc", NULL },
      "bad",
      "a.ini:3: error: bad\n    abc\n       ^\n" },
    { "column far behind the end",
      DIAGNOSTIC_ERROR,
      { "a.ini", 3, 9999, "abc", NULL },
      "bad",
      "a.ini:3: error: bad\n    abc\n       ^\n" },
    { "no caret without a column",
      DIAGNOSTIC_WARNING,
      { "a.ini", 3, 0, "abc", NULL },
      "odd",
      "a.ini:3: warning: odd\n    abc\n" },
    { "no line",
      DIAGNOSTIC_ERROR,
      { "a.ini", 0, 0, NULL, NULL },
      "cannot open",
      "a.ini: error: cannot open\n" },
    { "no file", DIAGNOSTIC_WARNING, { NULL, 7, 7, "abc", NULL }, "odd", "warning: odd\n" },
    { "tabs keep the caret in its place",
      DIAGNOSTIC_ERROR,
      { "a", 1, 3, "\t\tx", NULL },
      "bad",
      "a:1: error: bad\n    \t\tx\n    \t\t^\n" },
    { "a UTF-8 letter is one place wide",
      DIAGNOSTIC_ERROR,
      { "a", 1, 4, "\xc3\xa4x=", NULL },
      "bad",
      "a:1: error: bad\n    \xc3\xa4x=\n      ^\n" },
    { "escape sequences do not reach the terminal",
      DIAGNOSTIC_ERROR,
      { "a\x1b[m", 1, 1, "\x1b[2J", NULL },
      "b\aad",
      "a?[m:1: error: b?ad\n    ?[2J\n    ^\n" },
    { "what to read stands below the caret",
      DIAGNOSTIC_ERROR,
      { "a.ini", 3, 2, "abc", "[listen NAME] detect" },
      "bad",
      "a.ini:3: error: bad\n    abc\n     ^\n    see gatepost.ini(5), [listen NAME] detect\n" },
    { "what to read about what stands in no file",
      DIAGNOSTIC_WARNING,
      { NULL, 0, 0, NULL, "Format" },
      "odd",
      "warning: odd\n    see gatepost.ini(5), Format\n" },
    { "octets that are no UTF-8 do not reach the terminal",
      DIAGNOSTIC_ERROR,
      { "a\xff", 1, 3, "\xe4\xc3=", NULL },
      "b\xc3",
      "a?:1: error: b?\n    ?"
      "?=\n      ^\n" },
    { "controls beyond ASCII do not reach the terminal",
      DIAGNOSTIC_ERROR,
      { "a", 1, 2,
        "\xc2\x9b"
        "2J",
        NULL },
      "bad",
      "a:1: error: bad\n    ?2J\n     ^\n" },
    { "an empty line",
      DIAGNOSTIC_ERROR,
      { "a", 1, 1, "", NULL },
      "bad",
      "a:1: error: bad\n    \n    ^\n" },
};

static char *printed(const struct diagnostics *diagnostics)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    diagnostics_print(diagnostics, out);
    fclose(out);
    return text;
}

static void each_diagnostic_names_its_place(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(print_rows) / sizeof(print_rows[0]); i++) {
        const struct print_row *row = &print_rows[i];
        struct diagnostics diagnostics;
        char *text;

        diagnostics_init(&diagnostics);
        diagnostics_add(&diagnostics, row->kind, &row->place, "%s", row->words);
        text = printed(&diagnostics);
        if (strcmp(text, row->printed) != 0)
            fail_msg("%s: printed\n%s", row->name, text);
        assert_int_equal(diagnostics.errors, row->kind == DIAGNOSTIC_ERROR);
        assert_int_equal(diagnostics.warnings, row->kind == DIAGNOSTIC_WARNING);
        free(text);
        diagnostics_deinit(&diagnostics);
    }
}

/* Added in this order; numbers are lines. */
static const struct diagnostic_place unsorted[] = {
    { NULL, 0, 0, NULL, NULL },   { "main", 7, 0, "7", NULL },  { "other", 2, 0, "2", NULL },
    { "main", 3, 0, "3", NULL },  { "main", 0, 0, NULL, NULL }, { "main", 3, 0, "3 again", NULL },
    { "other", 1, 0, "1", NULL }, { NULL, 9, 0, NULL, NULL },
};

static void those_of_one_file_stand_together_in_the_order_of_lines(void **state)
{
    struct diagnostics diagnostics;
    char *text;

    (void)state;
    diagnostics_init(&diagnostics);
    for (size_t i = 0; i < sizeof(unsorted) / sizeof(unsorted[0]); i++)
        diagnostics_add(&diagnostics, DIAGNOSTIC_ERROR, &unsorted[i], "%zu", i);
    text = printed(&diagnostics);
    assert_string_equal(text, "main: error: 4\n"
                              "main:3: error: 3\n    3\n"
                              "main:3: error: 5\n    3 again\n"
                              "main:7: error: 1\n    7\n"
                              "other:1: error: 6\n    1\n"
                              "other:2: error: 2\n    2\n"
                              "error: 0\nerror: 7\n");
    free(text);
    diagnostics_deinit(&diagnostics);
    assert_int_equal(diagnostics.count, 0);
}

static const struct count_row {
    size_t errors, warnings;
    const char *words;
} count_rows[] = {
    { 0, 0, "nothing is wrong" },
    { 1, 0, "1 error" },
    { 2, 1, "2 errors, 1 warning" },
    { 0, 2, "2 warnings" },
};

static void errors_and_warnings_are_counted_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(count_rows) / sizeof(count_rows[0]); i++) {
        struct diagnostics diagnostics;
        char *text;
        size_t size;
        FILE *out = open_memstream(&text, &size);

        diagnostics_init(&diagnostics);
        for (size_t j = 0; j < count_rows[i].errors; j++)
            diagnostics_add(&diagnostics, DIAGNOSTIC_ERROR, NULL, "x");
        for (size_t j = 0; j < count_rows[i].warnings; j++)
            diagnostics_add(&diagnostics, DIAGNOSTIC_WARNING, NULL, "x");
        diagnostics_print_count(&diagnostics, out);
        fclose(out);
        assert_string_equal(text, count_rows[i].words);
        free(text);
        diagnostics_deinit(&diagnostics);
    }
}

static void a_flood_is_counted_and_not_kept(void **state)
{
    static const char end[] = "error: x\nerror: 1500 more are not shown\n";
    struct diagnostics diagnostics;
    char *text;

    (void)state;
    diagnostics_init(&diagnostics);
    for (int i = 0; i < 2000; i++)
        diagnostics_add(&diagnostics, DIAGNOSTIC_ERROR, NULL, "x");
    assert_int_equal(diagnostics.errors, 2000);
    assert_int_equal(diagnostics.count, 500);
    text = printed(&diagnostics);
    assert_string_equal(text + strlen(text) - strlen(end), end);
    free(text);
    diagnostics_deinit(&diagnostics);
}

static void a_diagnostic_outlives_what_it_was_made_from(void **state)
{
    char file[] = "a.ini", line[] = "abc";
    char topic[] = "Format";
    struct diagnostic_place place = { file, 1, 1, line, topic };
    struct diagnostics diagnostics;
    char *text;

    (void)state;
    diagnostics_init(&diagnostics);
    diagnostics_add(&diagnostics, DIAGNOSTIC_ERROR, &place, "bad");
    memset(file, 'X', sizeof(file) - 1);
    memset(line, 'X', sizeof(line) - 1);
    memset(topic, 'X', sizeof(topic) - 1);
    text = printed(&diagnostics);
    assert_string_equal(text,
                        "a.ini:1: error: bad\n    abc\n    ^\n    see gatepost.ini(5), Format\n");
    free(text);
    diagnostics_deinit(&diagnostics);
}

static const char *const candidates[] = { "hostname", "user", "mail_user", "groups",
                                          "workers",  "no",   "yes" };

static const struct nearest_row {
    const char *word;
    const char *nearest;
} nearest_rows[] = {
    { "hostname", "hostname" },
    { "hostnam", "hostname" },
    { "hotsname", "hostname" }, /* neighbours swapped: one change */
    { "HOSTNAME", "hostname" },
    { "host_name", "hostname" },
    { "hstnme", "hostname" },
    { "usre", "user" },
    { "worker", "workers" },
    { "mailuser", "mail_user" },
    { "yse", "yes" },
    { "No", "no" },
    /* too far */
    { "", NULL },
    { "n", NULL },
    { "on", NULL },
    { "ye", NULL },
    { "us", NULL },
    { "host", NULL },
    { "stnam", NULL },
    { "listen", NULL },
    { "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww",
      NULL },
};

static void the_nearest_word_is_near(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(nearest_rows) / sizeof(nearest_rows[0]); i++) {
        const struct nearest_row *row = &nearest_rows[i];
        const char *found =
            diagnostics_nearest(row->word, candidates, sizeof(candidates) / sizeof(candidates[0]));

        if (found != row->nearest && (!found || !row->nearest || strcmp(found, row->nearest) != 0))
            fail_msg("\"%s\": found %s", row->word, found ? found : "nothing");
    }
    assert_null(diagnostics_nearest("user", candidates, 0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_diagnostic_names_its_place),
        cmocka_unit_test(those_of_one_file_stand_together_in_the_order_of_lines),
        cmocka_unit_test(errors_and_warnings_are_counted_in_words),
        cmocka_unit_test(a_flood_is_counted_and_not_kept),
        cmocka_unit_test(a_diagnostic_outlives_what_it_was_made_from),
        cmocka_unit_test(the_nearest_word_is_near),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

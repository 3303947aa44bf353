/* Tests of conf/settings_man.c: the manual page as it is built. */
#include "conf/port_rules.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static char page[131072];

static int read_page(void **state)
{
    FILE *file = fopen(CONF_MAN, "r");
    size_t size;

    (void)state;
    if (!file)
        return -1;
    size = fread(page, 1, sizeof(page) - 1, file);
    page[size] = '\0';
    fclose(file);
    return 0;
}

static const struct key_row {
    const char *section;
    const char *key;
    const char *help;
} all_keys[] = {
#define KEY_ROW(section, key, help) { "\n.Ss " section "\n", #key, help },
#define GATEPOST_KEY(key, kind, member, initial, unit, minimum, maximum, help)                     \
    KEY_ROW("[gatepost]", key, help)
#define TLS_KEY(key, kind, member, initial, unit, minimum, maximum, help)                          \
    KEY_ROW("[tls NAME]", key, help)
#define LISTEN_KEY(key, kind, member, initial, unit, minimum, maximum, help)                       \
    KEY_ROW("[listen NAME]", key, help)
#define BACKEND_KEY(key, kind, member, initial, unit, minimum, maximum, help)                      \
    KEY_ROW("[backend NAME]", key, help)
#define LIMITS_KEY(key, kind, member, initial, unit, minimum, maximum, help)                       \
    KEY_ROW("[limits]", key, help)
#define MAILSTORE_KEY(key, kind, member, initial, unit, minimum, maximum, help)                    \
    KEY_ROW("[mailstore]", key, help)
#include "conf/settings.def"
};

/* Where `text` stands between `from` and the next heading, or NULL. */
static const char *find_in_part(const char *from, const char *text)
{
    const char *found = from ? strstr(from, text) : NULL,
               *end = from ? strstr(from + 1, "\n.S") : NULL;

    return found && (!end || found < end) ? found : NULL;
}

/* Does `at` begin with `help`, of which each sentence begins a line? */
static bool begins_with(const char *at, const char *help)
{
    for (; *help; help++, at++)
        if (*at != *help && !(*at == '\n' && *help == ' '))
            return false;
    return true;
}

static void every_key_has_a_paragraph_in_its_section(void **state)
{
    char item[64];

    (void)state;
    for (size_t i = 0; i < COUNT(all_keys); i++) {
        const char *part = strstr(page, all_keys[i].section), *found;

        if (!part)
            fail_msg("there is no heading%s", all_keys[i].section);
        snprintf(item, sizeof(item), "\n.It Ic %s\n", all_keys[i].key);
        found = find_in_part(part, item);
        if (!found || !begins_with(found + strlen(item), all_keys[i].help))
            fail_msg("%s%s has no paragraph", all_keys[i].section, all_keys[i].key);
    }
}

static void every_port_has_a_row(void **state)
{
    char row[64];

    (void)state;
    for (size_t i = 0; i < PORT_RULES_COUNT; i++) {
        snprintf(row, sizeof(row), "\n.It %s Ta %u Ta ", port_rules[i].name, port_rules[i].port);
        if (!find_in_part(strstr(page, "\n.Ss [listen NAME]\n"), row))
            fail_msg("%s has no row", port_rules[i].name);
    }
}

static void no_mark_of_the_template_is_left(void **state)
{
    (void)state;
    assert_null(strchr(page, '@'));
}

/* The examples are settings that load. */
static void the_examples_of_the_page_are_good_settings(void **state)
{
    static const char begin[] = ".Bd -literal -offset indent\n";
    static const char certificate[] = "\n[tls default]\ncertificate = /c\nkey = /k\n";
    int examples = 0;

    (void)state;
    for (const char *at = page; (at = strstr(at, begin)); examples++) {
        struct diagnostics diagnostics;
        struct settings *settings = NULL;
        char text[4096];
        const char *end;

        at += strlen(begin);
        end = strstr(at, ".Ed");
        assert_non_null(end);
        snprintf(text, sizeof(text), "%.*s", (int)(end - at), at);
        if (!strstr(text, "[tls default]"))
            strcat(text, certificate);
        diagnostics_init(&diagnostics);
        if (settings_load_text(text, strlen(text), "f", &diagnostics, &settings) < 0) {
            diagnostics_print(&diagnostics, stderr);
            fail_msg("does not load:\n%s", text);
        }
        diagnostics_deinit(&diagnostics);
        settings_free(settings);
    }
    assert_int_equal(examples, 6);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_key_has_a_paragraph_in_its_section),
        cmocka_unit_test(every_port_has_a_row),
        cmocka_unit_test(no_mark_of_the_template_is_left),
        cmocka_unit_test(the_examples_of_the_page_are_good_settings),
    };

    return cmocka_run_group_tests(tests, read_page, NULL);
}

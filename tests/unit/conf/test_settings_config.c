/* Tests of conf/settings_config.c and settings_json.c: which keys are shown, where they come from,
 * and that what is shown loads again. */
#include "conf/settings.h"
#include "conf/settings_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define TEN          "xxxxxxxxxx"
#define FIFTY        TEN TEN TEN TEN TEN
#define CERTIFICATE  "[tls default]\ncertificate = /c\nkey = /k\n"
#define SHOWN_CERTIFICATE                                                                          \
    "\n[tls default]\n"                                                                            \
    "certificate = /c                         ; f:2\n"                                             \
    "key = /k                                 ; f:3\n"

/* Files, and what differs from the defaults. */
static const struct shown_row {
    const char *name;
    const char *text;
    const char *shown;
} shown_rows[] = {
    { "nothing is written", "", "" },
    { "what is written is the default",
      "[gatepost]\nworkers = 0\nconfig_version = 1\nbind = 0.0.0.0,\n  ::\n[limits]\nread_size = "
      "65536\n"
      "[listen pop3]\nport = 110\nprotocol = pop3\nbackend = pop3\n[backend smtp]\naddress =\n",
      "" },
    { "a text and a number", "[gatepost]\nuser = a\n[limits]\nmax_errors = 11\n",
      "\n[gatepost]\n"
      "user = a                                 ; f:2\n"
      "\n[limits]\n"
      "max_errors = 11                          ; f:4\n" },
    { "a number in another unit", "[limits]\nline_timeout = 120000ms\nread_size = 2048\n",
      "\n[limits]\n"
      "read_size = 2KiB                         ; f:3\n"
      "line_timeout = 2min                      ; f:2\n" },
    { "a list over several lines", "[gatepost]\ngroups = a,\n  b, ; x\n  c\n",
      "\n[gatepost]\n"
      "groups = a, b, c                         ; f:2\n" },
    { "an empty text that is no default has its origin",
      CERTIFICATE "[listen pop3]\nbackend = smtp\nprotocol = smtp\n",
      SHOWN_CERTIFICATE "\n[listen pop3]\n"
                        "protocol = smtp                          ; f:6\n"
                        "backend = smtp                           ; f:5\n" },
    { "a section that would not be there",
      CERTIFICATE "[backend spare]\n[listen x]\nport = 1\nbackend = smtp\n",
      SHOWN_CERTIFICATE "\n[listen x]\n"
                        "port = 1                                 ; f:6\n"
                        "backend = smtp                           ; f:7\n"
                        "\n[backend spare]\n" },
    { "the wait that goes with TLS first",
      "[listen pop3s]\ndetect_wait = 5s\n[listen pop3]\ndetect_wait = 5s\n",
      "\n[listen pop3]\n"
      "detect_wait = 5s                         ; f:4\n" },
    { "the wait of a port that is TLS first by this file",
      CERTIFICATE "[listen pop3]\ntls = implicit\ndetect_wait = 250ms\n",
      SHOWN_CERTIFICATE "\n[listen pop3]\n"
                        "tls = implicit                           ; f:5\n"
                        "detect_wait = 250ms                      ; f:6\n" },
    { "TLS first is the default of an opaque port",
      "[listen x]\nport = 1\nbackend = remote\nprotocol = opaque\ntls = implicit\n",
      "\n[listen x]\n"
      "port = 1                                 ; f:2\n"
      "protocol = opaque                        ; f:4\n"
      "backend = remote                         ; f:3\n" },
    { "TLS off on an opaque port", "[listen remote]\ntls = off\n",
      "\n[listen remote]\n"
      "tls = off                                ; f:2\n" },
    { "the identity of an embedded server is no setting",
      CERTIFICATE "[backend smtp]\naddress = embedded\nidentity = none\n",
      SHOWN_CERTIFICATE "\n[backend smtp]\n"
                        "address = embedded                       ; f:5\n" },
    { "the identity of another server is one",
      CERTIFICATE "[backend smtp]\naddress = unix:/s\nidentity = proxy-v2\n",
      SHOWN_CERTIFICATE "\n[backend smtp]\n"
                        "address = unix:/s                        ; f:5\n"
                        "identity = proxy-v2                      ; f:6\n" },
    { "domains that are the hostname",
      "[gatepost]\nhostname = a.example\n[mailstore]\ndomains = a.example\n",
      "\n[gatepost]\n"
      "hostname = a.example                     ; f:2\n" },
    { "an origin that does not fit behind stands above",
      "[gatepost]\nstate_dir = /" FIFTY FIFTY FIFTY TEN "\n",
      "\n[gatepost]\n"
      "state_dir = /" FIFTY FIFTY FIFTY TEN " ; f:2\n" },
    { "a key that begins with x- is shown to nobody", "[gatepost]\nx-note = 1\n", "" },
};

static struct settings *load(const char *text, const char *name)
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;

    diagnostics_init(&diagnostics);
    if (settings_load_text(text, strlen(text), name, &diagnostics, &settings) < 0)
        diagnostics_print(&diagnostics, stderr);
    diagnostics_deinit(&diagnostics);
    return settings;
}

typedef int (*print_function)(const struct settings *, bool, FILE *);

static int print_plain(const struct settings *settings, bool unused, FILE *out)
{
    (void)unused;
    return settings_print(settings, out);
}

/* Inline, gcc 12 takes the text for the pointer to it: -Wdangling-pointer. */
__attribute__((noinline)) static char *printed_by(print_function print,
                                                  const struct settings *settings,
                                                  bool only_changed)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    assert_int_equal(print(settings, only_changed, out), 0);
    fclose(out);
    return text;
}

/* Is what `gatepost config` shows the same settings? */
static void assert_loads_again(const struct settings *settings, bool only_changed, const char *name)
{
    char *shown = printed_by(settings_print_origins, settings, only_changed);
    char *before = printed_by(print_plain, settings, false), *after;
    struct settings *again = load(shown, "again");

    if (!again)
        fail_msg("%s: does not load:\n%s", name, shown);
    after = printed_by(print_plain, again, false);
    if (strcmp(before, after) != 0)
        fail_msg("%s: loads as other settings:\n%s", name, shown);
    settings_free(again);
    free(shown);
    free(before);
    free(after);
}

static void what_differs_from_the_defaults_is_shown_with_its_line(void **state)
{
    static const char read[] = "; read: f\n";

    (void)state;
    for (size_t i = 0; i < COUNT(shown_rows); i++) {
        const struct shown_row *row = &shown_rows[i];
        struct settings *settings = load(row->text, "f");
        char *shown;

        assert_non_null(settings);
        shown = printed_by(settings_print_origins, settings, true);
        if (strncmp(shown, read, strlen(read)) != 0 ||
            strcmp(shown + strlen(read), row->shown) != 0)
            fail_msg("%s: shown is\n%s", row->name, shown);
        free(shown);
        assert_loads_again(settings, true, row->name);
        assert_loads_again(settings, false, row->name);
        settings_free(settings);
    }
}

static const struct line_row {
    const char *name;
    const char *line; /* one of the lines that are shown of everything */
} line_rows[] = {
    { "a default", "\nworkers = 0                              ; default\n" },
    { "a default with a unit", "\nread_size = 64KiB                        ; default\n" },
    { "a default list", "\nbind = 0.0.0.0, ::                       ; default\n" },
    { "an empty default", "\nroute =                                  ; default\n" },
    { "a default that is written", "\nmax_errors = 10                          ; f:4\n" },
    { "a section of the six", "\n\n[listen smtp-alt]\nenabled = yes " },
    { "an extra section", "\n\n[backend x]\naddress =   " },
};

static void everything_is_shown_with_its_line_or_as_default(void **state)
{
    struct settings *settings =
        load("[gatepost]\nhostname =\n[limits]\nmax_errors = 10\n[backend x]\n[mailstore]\n"
             "domains =\nx-a = b\n[tls default]\n",
             "f");
    char *shown;

    (void)state;
    assert_non_null(settings);
    shown = printed_by(settings_print_origins, settings, false);
    for (size_t i = 0; i < COUNT(line_rows); i++)
        if (!strstr(shown, line_rows[i].line))
            fail_msg("%s: shown is\n%s", line_rows[i].name, shown);
    assert_null(strstr(shown, "f:2\n"));
    assert_null(strstr(shown, "f:7\n"));
    assert_null(strstr(shown, "x-a"));
    assert_null(strstr(shown, "[tls default]"));
    free(shown);
    assert_loads_again(settings, false, "everything");
    settings_free(settings);
}

static void every_key_of_a_section_is_shown_once(void **state)
{
    static const char *const keys[] = {
#define LIMITS_KEY(key, ...) #key,
#include "conf/settings.def"
    };
    struct settings *settings = load("", "f");
    char *shown = printed_by(settings_print_origins, settings, false), *at, line[80];

    (void)state;
    at = strstr(shown, "\n[limits]\n");
    assert_non_null(at);
    *strstr(at, "\n[mailstore]\n") = '\0';
    for (size_t i = 0; i < COUNT(keys); i++) {
        snprintf(line, sizeof(line), "\n%s = ", keys[i]);
        if (!strstr(at, line) || strstr(strstr(at, line) + 1, line))
            fail_msg("%s is not shown once:\n%s", keys[i], at);
    }
    free(shown);
    settings_free(settings);
}

/* The name of a file may hold anything, and must neither become a setting nor move a cursor. */
static void a_hostile_file_name_stays_a_comment(void **state)
{
    static const char *const names[] = {
        "a\n[limits]\nmax_errors = 50\n;",  "a\x1b[2J",    "\xff\xfe",
        TEN FIFTY FIFTY FIFTY FIFTY ".ini", "a;b # c = d", "[limits]",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        struct settings *settings = load("[gatepost]\nuser = a\ngroups = x, y\n", names[i]);
        char *shown;

        assert_non_null(settings);
        shown = printed_by(settings_print_origins, settings, true);
        assert_null(strstr(shown, "\x1b"));
        assert_null(strstr(shown, "\nmax_errors"));
        free(shown);
        assert_loads_again(settings, true, names[i]);
        shown = printed_by(settings_print_json, settings, false);
        free(shown);
        settings_free(settings);
    }
}

/* Every key longer than the room behind it, with a file's name of any length: each line still has
 * at most 198 octets, so it loads. */
static void no_length_of_a_file_name_makes_a_line_too_long(void **state)
{
    char name[230];

    (void)state;
    for (size_t size = 1; size < sizeof(name); size++) {
        struct settings *settings;

        memset(name, 'n', size);
        name[size] = '\0';
        settings = load("[mailstore]\npath = /" FIFTY FIFTY "\n[gatepost]\nuser = a\n", name);
        assert_non_null(settings);
        assert_loads_again(settings, true, name);
        settings_free(settings);
    }
}

/* As JSON */

static json_t *json_of(const struct settings *settings, bool only_changed)
{
    char *text = printed_by(settings_print_json, settings, only_changed);
    json_error_t error;
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, &error);

    if (!json)
        fail_msg("line %d: %s\n%s", error.line, error.text, text);
    free(text);
    return json;
}

/* Files, a path in what is dumped of them, and what is there as compact JSON; NULL: nothing. */
static const struct json_row {
    const char *text;
    const char *path;
    const char *json;
    bool only_changed;
} json_rows[] = {
    { "", "files", "[\"f\"]", false },
    { "", "gatepost.workers", "{\"value\": 0, \"default\": true}", false },
    { "", "gatepost.groups", "{\"value\": [], \"default\": true}", false },
    { "", "listen.pop3.port", "{\"value\": 110, \"default\": true}", false },
    { "", "listen.pop3s.detect_wait",
      "{\"value\": 5000, \"text\": \"5s\", \"unit\": \"ms\", \"default\": true}", false },
    { "", "mailstore.message_size_limit",
      "{\"value\": 52428800, \"text\": \"50MiB\", \"unit\": \"bytes\", \"default\": true}", false },
    { "", "backend.smtp.bare_newline", "{\"value\": \"normalize\", \"default\": true}", false },
    { "", "listen.smtp.enabled", "{\"value\": true, \"default\": true}", false },
    { "[gatepost]\nbind = 127.0.0.1, ::1\n", "gatepost.bind",
      "{\"value\": [\"127.0.0.1\", \"::1\"], \"default\": false, \"file\": \"f\", \"line\": 2}",
      false },
    { "[gatepost]\nuser = \xc3\xa4\n", "gatepost.user",
      "{\"value\": \"\xc3\xa4\", \"default\": false, \"file\": \"f\", \"line\": 2}", false },
    { "[gatepost]\n\nworkers = 0\n", "gatepost.workers",
      "{\"value\": 0, \"default\": true, \"file\": \"f\", \"line\": 3}", false },
    { "[mailstore]\nmessage_size_limit = 4GiB\n", "mailstore.message_size_limit",
      "{\"value\": 4294967296, \"text\": \"4GiB\", \"unit\": \"bytes\", \"default\": false, "
      "\"file\": \"f\", \"line\": 2}",
      false },
    /* what differs alone */
    { "", "", "{\"files\": [\"f\"]}", true },
    { "[gatepost]\nworkers = 0\n", "gatepost", NULL, true },
    { "[backend spare]\n", "backend", "{\"spare\": {}}", true },
    { "[limits]\nmax_errors = 3\n", "limits",
      "{\"max_errors\": {\"value\": 3, \"default\": false, \"file\": \"f\", \"line\": 2}}", true },
    { "[listen pop3]\ndetect = no\n", "listen",
      "{\"pop3\": {\"detect\": {\"value\": false, \"default\": false, \"file\": \"f\", \"line\": "
      "2}}}",
      true },
    /* nothing of a key that is nobody's */
    { "[gatepost]\nx-note = 1\n", "gatepost.x-note", NULL, false },
    { "", "tls", NULL, false },
};

/* What stands at "a.b.c", borrowed. */
static json_t *json_at(json_t *json, const char *path)
{
    char step[64];

    while (*path) {
        size_t size = strcspn(path, ".");

        assert_true(size < sizeof(step));
        memcpy(step, path, size);
        step[size] = '\0';
        json = json_object_get(json, step);
        path += size + (path[size] == '.');
    }
    return json;
}

static void programs_are_told_values_units_and_origins(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(json_rows); i++) {
        const struct json_row *row = &json_rows[i];
        struct settings *settings = load(row->text, "f");
        json_t *json = json_of(settings, row->only_changed), *found = json_at(json, row->path);
        char *dumped = found ? json_dumps(found, 0) : NULL;

        if (!row->json != !dumped || (dumped && strcmp(dumped, row->json) != 0))
            fail_msg("%s at %s: %s", row->text, row->path, dumped ? dumped : "nothing");
        free(dumped);
        json_decref(json);
        settings_free(settings);
    }
}

static void a_stream_that_takes_nothing_is_an_error(void **state)
{
    struct settings *settings = load("", "f");
    FILE *full = fopen("/dev/full", "w");

    (void)state;
    assert_non_null(full);
    assert_int_equal(settings_print_origins(settings, false, full), -EIO);
    fclose(full);
    full = fopen("/dev/full", "w");
    assert_int_equal(settings_print_json(settings, false, full), -EIO);
    fclose(full);
    settings_free(settings);
}

/* Which file won */

static void write_file(const char *folder, const char *name, const char *text)
{
    char path[128];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void the_file_that_won_is_named(void **state)
{
    char folder[] = "/tmp/test_config.XXXXXX", path[64], command[64], expected[800];
    struct diagnostics diagnostics;
    struct settings *settings = NULL;
    char *shown;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/conf.d", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    write_file(folder, "gatepost.ini", "[gatepost]\nuser = a\ngroups = a,\n  b\nmail_user = m\n");
    write_file(folder, "conf.d/1.ini", "[gatepost]\n\nuser = b\n");
    write_file(folder, "conf.d/2.ini",
               "[limits]\nmax_errors = 2\n[gatepost]\nuser = c\ngroups = d\n");
    write_file(folder, "conf.d/3.ini", "");
    snprintf(path, sizeof(path), "%s/gatepost.ini", folder);
    diagnostics_init(&diagnostics);
    assert_int_equal(settings_load_file(path, &diagnostics, &settings), 0);
    shown = printed_by(settings_print_origins, settings, true);
    snprintf(expected, sizeof(expected),
             "; read: %s/gatepost.ini\n; read: %s/conf.d/1.ini\n; read: %s/conf.d/2.ini\n"
             "; read: %s/conf.d/3.ini\n"
             "\n[gatepost]\n"
             "user = c                                 ; %s/conf.d/2.ini:4\n"
             "mail_user = m                            ; %s/gatepost.ini:5\n"
             "groups = d                               ; %s/conf.d/2.ini:5\n"
             "\n[limits]\n"
             "max_errors = 2                           ; %s/conf.d/2.ini:2\n",
             folder, folder, folder, folder, folder, folder, folder, folder);
    assert_string_equal(shown, expected);
    free(shown);
    settings_free(settings);
    diagnostics_deinit(&diagnostics);
    snprintf(command, sizeof(command), "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_differs_from_the_defaults_is_shown_with_its_line),
        cmocka_unit_test(everything_is_shown_with_its_line_or_as_default),
        cmocka_unit_test(every_key_of_a_section_is_shown_once),
        cmocka_unit_test(a_hostile_file_name_stays_a_comment),
        cmocka_unit_test(no_length_of_a_file_name_makes_a_line_too_long),
        cmocka_unit_test(programs_are_told_values_units_and_origins),
        cmocka_unit_test(a_stream_that_takes_nothing_is_an_error),
        cmocka_unit_test(the_file_that_won_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

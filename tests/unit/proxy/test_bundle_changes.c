/* In what two bundles differ: the words of a reload. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/bundle_changes.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define SETTINGS                                                                                   \
    "[gatepost]\nhostname = a\n\n[limits]\nmax_errors = 5\n\n[backend smtp]\naddress = x\n\n"

struct entry {
    const char *name, *content;
};

static const struct row {
    const char *name;
    struct entry before[6], now[6];
    const char *words;
} rows[] = {
    { "nothing", { { "settings", SETTINGS } }, { { "settings", SETTINGS } }, "" },
    { "empty bundles", { { NULL, NULL } }, { { NULL, NULL } }, "" },
    { "a listener more",
      { { "listener", "smtp 0.0.0.0:25" } },
      { { "listener", "smtp 0.0.0.0:25" }, { "listener", "pop3 [::]:110" } },
      "listeners +pop3 [::]:110" },
    { "a listener less",
      { { "listener", "smtp 0.0.0.0:25" }, { "listener", "pop3 [::]:110" } },
      { { "listener", "smtp 0.0.0.0:25" } },
      "listeners -pop3 [::]:110" },
    { "listeners in another order",
      { { "listener", "smtp 0.0.0.0:25" }, { "listener", "pop3 [::]:110" } },
      { { "listener", "pop3 [::]:110" }, { "listener", "smtp 0.0.0.0:25" } },
      "" },
    { "a listener that moves",
      { { "listener", "smtp 0.0.0.0:25" } },
      { { "listener", "smtp 127.0.0.1:25" } },
      "listeners +smtp 127.0.0.1:25, -smtp 0.0.0.0:25" },
    { "a new certificate and its key are one",
      { { "tls/default/0/certificate", "c1" }, { "tls/default/0/key", "k1" } },
      { { "tls/default/0/certificate", "c2" }, { "tls/default/0/key", "k2" } },
      "certificates default" },
    { "a key alone",
      { { "tls/default/0/certificate", "c1" }, { "tls/default/0/key", "k1" } },
      { { "tls/default/0/certificate", "c1" }, { "tls/default/0/key", "k2" } },
      "certificates default" },
    { "the second of two of the same name",
      { { "tls/a/0/certificate", "c1" }, { "tls/a/0/certificate", "c2" } },
      { { "tls/a/0/certificate", "c1" }, { "tls/a/0/certificate", "c3" } },
      "certificates a" },
    { "several sections",
      { { "tls/a/0/certificate", "c1" }, { "tls/b/0/certificate", "c2" }, { "tls/c/0/key", "k" } },
      { { "tls/a/0/certificate", "c3" }, { "tls/b/0/certificate", "c4" }, { "tls/c/0/key", "k" } },
      "certificates a, b" },
    { "a certificate less",
      { { "tls/a/0/certificate", "c1" }, { "tls/a/1/certificate", "c2" } },
      { { "tls/a/0/certificate", "c1" } },
      "certificates a" },
    { "authorities",
      { { "ca", "s1" }, { "ca/smtp", "c1" } },
      { { "ca", "s2" }, { "ca/smtp", "c2" } },
      "authorities of the system, smtp" },
    { "a value",
      { { "settings", SETTINGS } },
      { { "settings", "[gatepost]\nhostname = a\n\n[limits]\nmax_errors = 6\n\n[backend "
                      "smtp]\naddress = x\n\n" } },
      "[limits]" },
    { "sections that come and go",
      { { "settings", SETTINGS } },
      { { "settings", "[gatepost]\nhostname = b\n\n[limits]\nmax_errors = 5\n\n[backend "
                      "pop3]\naddress = x\n\n" } },
      "[gatepost], +[backend pop3], -[backend smtp]" },
    { "a bracket in a value begins no section",
      { { "settings", "[backend smtp]\naddress = [::1]:25\n\n" } },
      { { "settings", "[backend smtp]\naddress = [::1]:26\n\n" } },
      "[backend smtp]" },
    { "a section whose name begins like another's",
      { { "settings", "[backend a]\nx = 1\n\n" } },
      { { "settings", "[backend a]\nx = 1\n\n[backend ab]\nx = 1\n\n" } },
      "+[backend ab]" },
    { "all at once",
      { { "settings", "[limits]\na = 1\n\n" },
        { "listener", "a 1" },
        { "tls/t/0/key", "1" },
        { "ca/x", "1" } },
      { { "settings", "[limits]\na = 2\n\n" },
        { "listener", "b 2" },
        { "tls/t/0/key", "2" },
        { "ca/x", "2" } },
      "listeners +b 2, -a 1; certificates t; authorities x; [limits]" },
    { "slots are nobody's concern", { { "slots", "1" } }, { { "slots", "2" } }, "" },
};

/* The memory of a bundle, as bundle_read() leaves it. */
static struct bundle make(const struct entry *entries, size_t most)
{
    char *data = NULL;
    size_t size;
    FILE *out = open_memstream(&data, &size);

    for (size_t i = 0; i < most && entries[i].name; i++)
        fprintf(out, "%s %zu\n%s\n", entries[i].name, strlen(entries[i].content),
                entries[i].content);
    fclose(out);
    return (struct bundle){ (unsigned char *)data, size };
}

static void differences_are_named(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct bundle before = make(rows[i].before, 6), now = make(rows[i].now, 6);
        char room[500];
        struct text words = TEXT_OVER(room);

        print_message("    %s\n", rows[i].name);
        bundle_changes(&before, &now, &words);
        assert_string_equal(text_str(&words), rows[i].words);
        bundle_free(&before);
        bundle_free(&now);
    }
}

static void a_long_list_is_cut_and_a_small_room_is_not_left(void **state)
{
    char names[100][16], room[4000];
    struct entry entries[100] = { { NULL, NULL } };
    struct bundle before = make(entries, 0), now;
    struct text words = TEXT_OVER(room), small = { room, 0, 20, false };

    (void)state;
    for (size_t i = 0; i < COUNT(entries); i++) {
        snprintf(names[i], sizeof(names[i]), "port%zu 1", i);
        entries[i] = (struct entry){ "listener", names[i] };
    }
    now = make(entries, COUNT(entries));
    bundle_changes(&before, &now, &words);
    assert_non_null(strstr(text_str(&words), ", +port58 1, +..."));
    assert_null(strstr(text_str(&words), "port60"));
    bundle_changes(&before, &now, &small);
    assert_true(small.size <= 20);
    bundle_free(&before);
    bundle_free(&now);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(differences_are_named),
        cmocka_unit_test(a_long_list_is_cut_and_a_small_room_is_not_left),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Tests of conf/port_rules.c: the six rows as they are loaded, and what a section changes in them.
 */
#include "conf/port_rules.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

struct port_row {
    const char *text; /* a settings file */
    const char *name;
    unsigned port;
    enum port_protocol protocol;
    enum tls_rule tls;
    const char *backend;
    uint32_t detect_wait_ms;
};

/* The page that the project implements: 110 and 995 to fetch, 109 Remote Mail, 25, 26 and 587 to
 * send. */
static const struct port_row the_six[PORT_RULES_COUNT] = {
    { "", "pop3", 110, PROTOCOL_POP3, TLS_RULE_STARTTLS, "pop3", 250 },
    { "", "pop3s", 995, PROTOCOL_POP3, TLS_RULE_IMPLICIT, "pop3", 5000 },
    { "", "remote", 109, PROTOCOL_REMOTE, TLS_RULE_IMPLICIT, "remote", 5000 },
    { "", "smtp", 25, PROTOCOL_SMTP, TLS_RULE_STARTTLS, "smtp", 250 },
    { "", "smtp-alt", 26, PROTOCOL_SMTP, TLS_RULE_STARTTLS, "smtp", 250 },
    { "", "submission", 587, PROTOCOL_SMTP, TLS_RULE_STARTTLS, "smtp", 250 },
};

static const struct port_row changed[] = {
    { "[listen pop3]\nport = 1110\n", "pop3", 1110, PROTOCOL_POP3, TLS_RULE_STARTTLS, "pop3", 250 },
    { "[listen pop3]\ntls = implicit\n", "pop3", 110, PROTOCOL_POP3, TLS_RULE_IMPLICIT, "pop3",
      5000 },
    { "[listen pop3s]\ntls = starttls\n", "pop3s", 995, PROTOCOL_POP3, TLS_RULE_STARTTLS, "pop3",
      250 },
    { "[listen pop3s]\ntls = starttls\ndetect_wait = 1s\n", "pop3s", 995, PROTOCOL_POP3,
      TLS_RULE_STARTTLS, "pop3", 1000 },
    { "[listen pop3]\ndetect_wait = 0ms\n", "pop3", 110, PROTOCOL_POP3, TLS_RULE_STARTTLS, "pop3",
      0 },
    { "[listen smtp]\ntls = off\n", "smtp", 25, PROTOCOL_SMTP, TLS_RULE_OFF, "smtp", 250 },
    { "[listen smtp-alt]\nprotocol = pop3\nbackend = pop3\n", "smtp-alt", 26, PROTOCOL_POP3,
      TLS_RULE_STARTTLS, "pop3", 250 },
    { "[listen remote]\ntls = off\n", "remote", 109, PROTOCOL_REMOTE, TLS_RULE_OFF, "remote", 250 },
    /* further ports need no code */
    { "[listen smtps]\nport = 465\nprotocol = smtp\ntls = implicit\nbackend = smtp\n", "smtps", 465,
      PROTOCOL_SMTP, TLS_RULE_IMPLICIT, "smtp", 5000 },
    { "[listen b]\nport = 2525\nbackend = smtp\n", "b", 2525, PROTOCOL_SMTP, TLS_RULE_STARTTLS,
      "smtp", 250 },
    { "[listen i]\nport = 143\nprotocol = opaque\nbackend = i\n[backend i]\n", "i", 143,
      PROTOCOL_OPAQUE, TLS_RULE_IMPLICIT, "i", 5000 },
};

static struct settings *load(const char *text)
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;

    diagnostics_init(&diagnostics);
    if (settings_load_text(text, strlen(text), "f", &diagnostics, &settings) < 0) {
        diagnostics_print(&diagnostics, stderr);
        fail_msg("does not load:\n%s", text);
    }
    diagnostics_deinit(&diagnostics);
    return settings;
}

static const struct settings_listen *find(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->listen_count; i++)
        if (strcmp(settings->listens[i].name, name) == 0)
            return &settings->listens[i];
    fail_msg("there is no listener %s", name);
    return NULL;
}

static void judge(const struct port_row *row, const struct settings_listen *listen)
{
    if (strcmp(listen->name, row->name) != 0 || listen->port != row->port ||
        listen->protocol != row->protocol || listen->tls != row->tls ||
        strcmp(listen->backend, row->backend) != 0 || listen->detect_wait_ms != row->detect_wait_ms)
        fail_msg("%s: port %u protocol %d tls %d backend %s wait %u after\n%s", row->name,
                 listen->port, (int)listen->protocol, (int)listen->tls, listen->backend,
                 listen->detect_wait_ms, row->text);
}

static void the_six_ports_exist_without_being_named(void **state)
{
    struct settings *settings = load("");

    (void)state;
    assert_int_equal(settings->listen_count, PORT_RULES_COUNT);
    for (size_t i = 0; i < PORT_RULES_COUNT; i++) {
        judge(&the_six[i], &settings->listens[i]);
        assert_true(settings->listens[i].enabled);
        assert_string_equal(port_rules[i].name, the_six[i].name);
    }
    settings_free(settings);
}

static void a_section_changes_what_it_names_and_nothing_else(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(changed) / sizeof(changed[0]); i++) {
        struct settings *settings = load(changed[i].text);

        judge(&changed[i], find(settings, changed[i].name));
        for (size_t j = 0; j < PORT_RULES_COUNT; j++)
            if (strcmp(the_six[j].name, changed[i].name) != 0)
                judge(&the_six[j], find(settings, the_six[j].name));
        settings_free(settings);
    }
}

static void further_ports_stand_behind_the_six_in_the_order_written(void **state)
{
    struct settings *settings =
        load("[listen z]\nport = 1\nbackend = smtp\n[listen submission]\nport = 588\n"
             "[listen a]\nport = 2\nbackend = smtp\n");

    (void)state;
    assert_int_equal(settings->listen_count, PORT_RULES_COUNT + 2);
    assert_string_equal(settings->listens[PORT_RULES_COUNT - 1].name, "submission");
    assert_string_equal(settings->listens[PORT_RULES_COUNT].name, "z");
    assert_string_equal(settings->listens[PORT_RULES_COUNT + 1].name, "a");
    settings_free(settings);
}

static void a_row_is_found_by_its_name_only(void **state)
{
    (void)state;
    assert_ptr_equal(port_rules_find("pop3"), &port_rules[0]);
    assert_ptr_equal(port_rules_find("submission"), &port_rules[PORT_RULES_COUNT - 1]);
    assert_null(port_rules_find("pop"));
    assert_null(port_rules_find("POP3"));
    assert_null(port_rules_find("smtps"));
    assert_null(port_rules_find(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_six_ports_exist_without_being_named),
        cmocka_unit_test(a_section_changes_what_it_names_and_nothing_else),
        cmocka_unit_test(further_ports_stand_behind_the_six_in_the_order_written),
        cmocka_unit_test(a_row_is_found_by_its_name_only),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

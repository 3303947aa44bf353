/* Tests of conf/settings_form.c: which texts have a form. */
#include "conf/settings_form.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define TEN          "xxxxxxxxxx"
#define FIFTY        TEN TEN TEN TEN TEN
#define LABEL        FIFTY TEN "xxx"

/* The text on the heap, so that a sanitizer sees a step beyond its end. */
static char *heap(const char *text)
{
    char *copy = strdup(text);

    assert_non_null(copy);
    return copy;
}

static const struct form_row {
    bool (*form)(const char *text);
    const char *text;
    bool has;
} form_rows[] = {
    { form_is_host_port, "mail.example.org:25", true },
    { form_is_host_port, "localhost:1", true },
    { form_is_host_port, "mx1:65535", true },
    { form_is_host_port, "192.0.2.1:25", true },
    { form_is_host_port, "192.0.2.1:025", true },
    { form_is_host_port, "[2001:db8::1]:25", true },
    { form_is_host_port, "[::]:25", true },
    { form_is_host_port, "[::ffff:192.0.2.1]:25", true },
    { form_is_host_port, LABEL "." LABEL "." LABEL "." FIFTY TEN "x:25", true },
    { form_is_host_port, LABEL "." LABEL "." LABEL "." FIFTY TEN "xx:25", false },
    { form_is_host_port, LABEL "x.example:25", false },
    { form_is_host_port, FIFTY FIFTY FIFTY FIFTY FIFTY FIFTY ":25", false },
    { form_is_host_port, "", false },
    { form_is_host_port, ":", false },
    { form_is_host_port, ":25", false },
    { form_is_host_port, "mail.example.org", false },
    { form_is_host_port, "mail.example.org:", false },
    { form_is_host_port, "mail.example.org:0", false },
    { form_is_host_port, "mail.example.org:65536", false },
    { form_is_host_port, "mail.example.org:000025", false },
    { form_is_host_port, "mail.example.org:smtp", false },
    { form_is_host_port, "mail.example.org:25 ", false },
    { form_is_host_port, "mail.example.org:-1", false },
    { form_is_host_port, "mail.example.org.:25", false },
    { form_is_host_port, "mail..example.org:25", false },
    { form_is_host_port, "mail_1.example.org:25", false },
    { form_is_host_port, "-mail.example.org:25", false },
    { form_is_host_port, "*.example.org:25", false },
    { form_is_host_port, "192.0.2.256:25", false },
    { form_is_host_port, "192.0.2:25", false },
    { form_is_host_port, "127.1:25", false },
    { form_is_host_port, "300:25", false },
    { form_is_host_port, "mail.123:25", false },
    { form_is_host_port, "2001:db8::1:25", false },
    { form_is_host_port, "::192.0.2.1:25", false },
    { form_is_host_port, "[2001:db8::1]", false },
    { form_is_host_port, "[2001:db8::1]25", false },
    { form_is_host_port, "[2001:db8::1:25", false },
    { form_is_host_port, "2001:db8::1]:25", false },
    { form_is_host_port, "[192.0.2.1]:25", false },
    { form_is_host_port, "[mail.example.org]:25", false },
    { form_is_host_port, "[fe80::1%eth0]:25", false },
    { form_is_host_port, "[[::1]]:25", false },
    { form_is_host_port, "[]:25", false },
    { form_is_host_port, "[:25", false },
    { form_is_host_port, "]:25", false },
    { form_names_one_address, "192.0.2.1:25", true },
    { form_names_one_address, "[::1]:25", true },
    { form_names_one_address, "unix:/run/a", true },
    { form_names_one_address, "unix:/run/a.example:25", true },
    { form_names_one_address, "embedded", true },
    { form_names_one_address, "localhost:25", false },
    { form_names_one_address, "mail.example.org:25", false },
    { form_is_network, "192.0.2.1", true },
    { form_is_network, "192.0.2.0/24", true },
    { form_is_network, "192.0.2.1/24", true }, /* judged by form_network_has_host() */
    { form_is_network, "192.0.2.1/32", true },
    { form_is_network, "0.0.0.0/0", true },
    { form_is_network, "2001:db8::/32", true },
    { form_is_network, "::1/128", true },
    { form_is_network, "::", true },
    { form_is_network, "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128", true },
    { form_is_network, "", false },
    { form_is_network, "/", false },
    { form_is_network, "/24", false },
    { form_is_network, "192.0.2.0/", false },
    { form_is_network, "192.0.2.0/33", false },
    { form_is_network, "192.0.2.0/024", false },
    { form_is_network, "192.0.2.0/00", false },
    { form_is_network, "192.0.2.0/-1", false },
    { form_is_network, "192.0.2.0/+1", false },
    { form_is_network, "192.0.2.0/24/8", false },
    { form_is_network, "192.0.2.0/24 ", false },
    { form_is_network, "192.0.2.0/255.255.255.0", false },
    { form_is_network, "192.0.2.0/4294967320", false },
    { form_is_network, "192.0.2/24", false },
    { form_is_network, "192.0.2.0:25", false },
    { form_is_network, "2001:db8::/129", false },
    { form_is_network, "2001:db8::/1000", false },
    { form_is_network, "[2001:db8::]/32", false },
    { form_is_network, "fe80::1%eth0", false },
    { form_is_network, "localhost", false },
    { form_is_network, "mail.example.org/24", false },
    { form_is_network, LABEL LABEL LABEL "/24", false },
    { form_network_is_whole, "0.0.0.0/0", true },
    { form_network_is_whole, "::/0", true },
    { form_network_is_whole, "0.0.0.0", false },
    { form_network_is_whole, "::", false },
    { form_network_is_whole, "0.0.0.0/1", false },
    { form_network_is_whole, "none", false },
    { form_network_is_private, "10.0.0.0/8", true },
    { form_network_is_private, "10.255.255.255", true },
    { form_network_is_private, "172.16.0.0/12", true },
    { form_network_is_private, "172.31.255.255/32", true },
    { form_network_is_private, "192.168.0.0/16", true },
    { form_network_is_private, "127.0.0.1", true },
    { form_network_is_private, "169.254.1.0/24", true },
    { form_network_is_private, "fc00::/7", true },
    { form_network_is_private, "fdff:ffff::/32", true },
    { form_network_is_private, "::1", true },
    { form_network_is_private, "fe80::/10", true },
    { form_network_is_private, "febf::1", true },
    { form_network_is_private, "::ffff:10.0.0.0/104", true },
    { form_network_is_private, "::ffff:127.0.0.1", true },
    { form_network_is_private, "0.0.0.0/0", false },
    { form_network_is_private, "0.0.0.0", false },
    { form_network_is_private, "9.255.255.255", false },
    { form_network_is_private, "11.0.0.0", false },
    { form_network_is_private, "10.0.0.0/7", false },
    { form_network_is_private, "172.15.255.255", false },
    { form_network_is_private, "172.32.0.0/16", false },
    { form_network_is_private, "172.16.0.0/11", false },
    { form_network_is_private, "192.167.255.255", false },
    { form_network_is_private, "192.169.0.0/16", false },
    { form_network_is_private, "192.168.0.0/15", false },
    { form_network_is_private, "100.64.0.0/10", false }, /* many customers of one provider */
    { form_network_is_private, "128.0.0.0/8", false },
    { form_network_is_private, "169.255.0.0/16", false },
    { form_network_is_private, "::/0", false },
    { form_network_is_private, "::", false },
    { form_network_is_private, "::2", false },
    { form_network_is_private, "::/127", false },
    { form_network_is_private, "fbff::", false },
    { form_network_is_private, "fe00::", false },
    { form_network_is_private, "fec0::/10", false },
    { form_network_is_private, "fc00::/6", false },
    { form_network_is_private, "2001:db8::/32", false },
    { form_network_is_private, "::ffff:0:0/96", false },
    { form_network_is_private, "::ffff:192.0.2.1", false },
    { form_network_is_private, "::ffff:10.0.0.0/103", false },
    { form_network_is_private, "::10.0.0.1", false },
    { form_is_capability, "8BITMIME", true },
    { form_is_capability, "AUTH-RESP-CODE", true },
    { form_is_capability, "chunking", true },
    { form_is_capability, "X-", true },
    { form_is_capability, "", false },
    { form_is_capability, "-", false },
    { form_is_capability, "-SIZE", false },
    { form_is_capability, "AUTH=LOGIN", false },
    { form_is_capability, "AUTH PLAIN", false },
    { form_is_capability, "8BIT_MIME", false },
    { form_is_capability, "SIZE\n", false },
    { form_is_capability,
      "gr\xc3\xb6\xc3\x9f"
      "e",
      false },
};

static void a_text_has_a_form_or_has_it_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(form_rows); i++) {
        char *text = heap(form_rows[i].text);

        if (form_rows[i].form(text) != form_rows[i].has)
            fail_msg("row %zu: %s", i, text);
        free(text);
    }
}

static const struct fault_row {
    const char *(*fault)(const char *text);
    const char *text;
    const char *words; /* NULL: it is good */
} fault_rows[] = {
    { form_backend_fault, "unix:/run/smtp.sock", NULL },
    { form_backend_fault, "mail.example.org:25", NULL },
    { form_backend_fault, "[::1]:25", NULL },
    { form_backend_fault, "", "is no address of a server" },
    { form_backend_fault, "unix:", "needs an absolute path behind unix:" },
    { form_backend_fault, "unix:run/smtp.sock", "needs an absolute path behind unix:" },
    { form_backend_fault, "unix:/", "names a folder, not a socket" },
    { form_backend_fault, "unix:/run/", "names a folder, not a socket" },
    { form_backend_fault, "/run/smtp.sock", "is a path: write unix: before it" },
    { form_backend_fault, "/run/smtp.sock:25", "is a path: write unix: before it" },
    { form_backend_fault, "EMBEDDED", "has to be in small letters" },
    { form_backend_fault, "2001:db8::1",
      "is an IPv6 address: write it in brackets, with a port: [2001:db8::1]:25" },
    { form_backend_fault, "2001:db8::1:25",
      "is an IPv6 address: write it in brackets, with a port: [2001:db8::1]:25" },
    { form_backend_fault, "[::1]", "has no port: write host:25 or host:110" },
    { form_backend_fault, "mail.example.org", "has no port: write host:25 or host:110" },
    { form_backend_fault, "192.0.2.1", "has no port: write host:25 or host:110" },
    { form_backend_fault, "mail.example.org:", "has no port from 1 to 65535" },
    { form_backend_fault, "mail.example.org:smtp", "has no port from 1 to 65535" },
    { form_backend_fault, "192.0.2.1:70000", "has no port from 1 to 65535" },
    { form_backend_fault, "[::1]:0", "has no port from 1 to 65535" },
    { form_backend_fault, "[::1", "is no address of a server" },
    { form_backend_fault, "192.0.2.300:25", "is no address of a server" },
    { form_backend_fault, "tcp:mail.example.org:25", "is no address of a server" },
    { form_backend_fault, "smtp://mail.example.org", "has no port from 1 to 65535" },
    { form_backend_fault, "12", "is no address of a server" },
    { form_backend_fault, LABEL LABEL LABEL LABEL LABEL, "is no address of a server" },
    { form_route_fault, "user:cdb:/etc/gatepost/users.cdb", NULL },
    { form_route_fault, "", "does not begin with user:cdb:" },
    { form_route_fault, "user:", "does not begin with user:cdb:" },
    { form_route_fault, "/etc/users.cdb", "does not begin with user:cdb:" },
    { form_route_fault, "cdb:/etc/users.cdb", "does not begin with user:cdb:" },
    { form_route_fault, "user:hash:/etc/users", "does not begin with user:cdb:" },
    { form_route_fault, "User:cdb:/etc/users.cdb", "does not begin with user:cdb:" },
    { form_route_fault, "user:cdb:", "needs an absolute path behind user:cdb:" },
    { form_route_fault, "user:cdb:users.cdb", "needs an absolute path behind user:cdb:" },
    { form_route_fault, "user:cdb:/", "names a folder, not a file" },
    { form_route_fault, "user:cdb:/etc/", "names a folder, not a file" },
};

static void what_is_wrong_with_a_text_is_told_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(fault_rows); i++) {
        const struct fault_row *row = &fault_rows[i];
        char *text = heap(row->text);
        const char *words = row->fault(text);

        if (!words != !row->words || (words && strcmp(words, row->words) != 0))
            fail_msg("row %zu: %s %s", i, text, words ? words : "is good");
        free(text);
    }
}

static const struct pair_row {
    const char *a, *b;
    bool same;
} pair_rows[] = {
    { "mail.example.org:25", "mail.example.org:25", true },
    { "mail.example.org:25", "MAIL.Example.org:25", true },
    { "mail.example.org:25", "mail.example.org:0025", true },
    { "[::1]:25", "[0:0::1]:25", true },
    { "[2001:DB8::1]:25", "[2001:db8:0::1]:25", true },
    { "unix:/run/a", "unix:/run/a", true },
    { "mail.example.org:25", "mail.example.org:26", false },
    { "mail.example.org:25", "mail.example.net:25", false },
    { "192.0.2.1:25", "192.0.2.2:25", false },
    { "192.0.2.1:25", "[::ffff:192.0.2.1]:25", false },
    { "0.0.0.0:25", "[::]:25", false },
    { "localhost:25", "127.0.0.1:25", false },
    { "unix:/run/a", "unix:/run/A", false },
    { "unix:/run/a:25", "unix:/run/A:25", false },
    { "unix:/run/a", "a:25", false },
    { "nonsense", "a:25", false },
    { "a:25", "", false },
};

static void the_same_server_is_known_by_either_of_its_names(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(pair_rows); i++) {
        const struct pair_row *row = &pair_rows[i];

        if (form_same_backend(row->a, row->b) != row->same ||
            form_same_backend(row->b, row->a) != row->same)
            fail_msg("%s and %s", row->a, row->b);
    }
}

static const struct loop_row {
    const char *item, *bound;
    unsigned port;
    bool leads;
} loop_rows[] = {
    { "192.0.2.1:25", "192.0.2.1", 25, true },
    { "[2001:db8::1]:25", "2001:db8:0::1", 25, true },
    { "127.0.0.1:25", "0.0.0.0", 25, true },
    { "127.8.8.8:25", "0.0.0.0", 25, true },
    { "[::1]:25", "::", 25, true },
    { "0.0.0.0:25", "0.0.0.0", 25, true },
    { "localhost:25", "0.0.0.0", 25, true },
    { "LOCALHOST:25", "::", 25, true },
    { "localhost:25", "127.0.0.1", 25, true },
    { "localhost:25", "::1", 25, true },
    { "localhost:25", "192.0.2.1", 25, false },
    { "localhost:25", "2001:db8::1", 25, false },
    { "localhost:26", "0.0.0.0", 25, false },
    { "localhost.example:25", "0.0.0.0", 25, false },
    { "mail.example.org:25", "0.0.0.0", 25, false },
    { "192.0.2.1:25", "0.0.0.0", 25, false }, /* is it ours? */
    { "192.0.2.1:25", "192.0.2.2", 25, false },
    { "192.0.2.1:26", "192.0.2.1", 25, false },
    { "192.0.2.1:25", "192.0.2.1", 65536 + 25, false },
    { "127.0.0.1:25", "::", 25, false },
    { "[::1]:25", "0.0.0.0", 25, false },
    { "127.0.0.2:25", "127.0.0.1", 25, false },
    { "unix:/run/a:25", "0.0.0.0", 25, false },
    { "embedded", "0.0.0.0", 25, false },
};

static void an_address_that_leads_back_is_known(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(loop_rows); i++) {
        const struct loop_row *row = &loop_rows[i];

        if (form_leads_to(row->item, row->bound, row->port) != row->leads)
            fail_msg("%s to %s port %u", row->item, row->bound, row->port);
    }
}

static const struct network_row {
    const char *text;
    const char *network; /* NULL: no bit is set behind the prefix */
} network_rows[] = {
    { "192.0.2.1", NULL },
    { "192.0.2.1/32", NULL },
    { "192.0.2.0/24", NULL },
    { "192.0.2.128/25", NULL },
    { "0.0.0.0/0", NULL },
    { "2001:db8::/32", NULL },
    { "::1", NULL },
    { "::/0", NULL },
    { "192.0.2.1/24", "192.0.2.0/24" },
    { "192.0.2.1/31", "192.0.2.0/31" },
    { "192.0.2.129/25", "192.0.2.128/25" },
    { "192.0.2.255/9", "192.0.0.0/9" },
    { "255.255.255.255/0", "0.0.0.0/0" },
    { "10.255.0.0/12", "10.240.0.0/12" },
    { "2001:db8::1/32", "2001:db8::/32" },
    { "2001:db8:ffff::/33", "2001:db8:8000::/33" },
    { "::1/127", "::/127" },
    { "::1/0", "::/0" },
};

static void bits_behind_the_prefix_are_found_and_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(network_rows); i++) {
        const struct network_row *row = &network_rows[i];
        char network[FORM_NETWORK_SIZE] = "";
        bool found = form_network_has_host(row->text, network);

        if (found != (row->network != NULL) || (found && strcmp(network, row->network) != 0))
            fail_msg("%s: %s", row->text, network);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_has_a_form_or_has_it_not),
        cmocka_unit_test(what_is_wrong_with_a_text_is_told_in_words),
        cmocka_unit_test(the_same_server_is_known_by_either_of_its_names),
        cmocka_unit_test(an_address_that_leads_back_is_known),
        cmocka_unit_test(bits_behind_the_prefix_are_found_and_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

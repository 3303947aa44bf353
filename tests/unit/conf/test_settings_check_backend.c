/* Tests of conf/settings_check_backend.c: what is said about [backend] sections, and which ports
 * reach them. */
#include "tests/unit/conf/settings_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define MUST         "error: address must be embedded, or unix:/path or host:port; "
#define FOUR(a)      a "1:25, " a "2:25, " a "3:25, " a "4:25"
#define SIXTEEN(a)   FOUR(a "1") ",\n  " FOUR(a "2") ",\n  " FOUR(a "3") ",\n  " FOUR(a "4")
#define MAIL_TOO     "[listen a]\nport = 4190\nprotocol = opaque\nbackend = "

static const struct words_row rows[] = {
    /* address */
    { "one socket", "[backend smtp]\naddress = unix:/s\n", "" },
    { "one name", "[backend smtp]\naddress = mail.example.org:25\n", "" },
    { "IPv4 and IPv6", "[backend smtp]\naddress = 192.0.2.1:25, [2001:db8::1]:25\n", "" },
    { "all kinds, on several lines",
      "[backend smtp]\naddress = unix:/s,\n  mail.example.org:25,\n  192.0.2.1:25\n", "" },
    { "one host, two ports", "[backend smtp]\naddress = localhost:2525, localhost:2526\n", "" },
    { "sixteen items", "[backend smtp]\naddress = " SIXTEEN("mx") "\n", "" },
    { "seventeen items", "[backend smtp]\naddress = " SIXTEEN("mx") ", unix:/s\n",
      "error: [backend smtp] has 17 addresses; at most 16 are possible < address = mx11:25, "
      "mx12:25, mx13:25, mx14:25,\n" },
    { "64 items of all",
      "[backend smtp]\naddress = " SIXTEEN("a") "\n[backend pop3]\naddress = " SIXTEEN(
          "b") "\n[backend remote]\naddress = " SIXTEEN("c") "\n[backend d]\naddress "
                                                             "= " SIXTEEN("d") "\n[listen "
                                                                               "a]\nport = "
                                                                               "1\nbackend = "
                                                                               "d\nrequire_tls "
                                                                               "= auth\n",
      "" },
    { "65 items of all",
      "[backend smtp]\naddress = " SIXTEEN("a") "\n[backend pop3]\naddress = " SIXTEEN(
          "b") "\n[backend remote]\naddress = " SIXTEEN("c") "\n[backend d]\naddress "
                                                             "= " SIXTEEN("d") "\n[listen "
                                                                               "a]\nport = "
                                                                               "1\nbackend = "
                                                                               "d\nrequire_tls "
                                                                               "= "
                                                                               "auth\n[backend "
                                                                               "e]\naddress = "
                                                                               "embedded\n["
                                                                               "listen "
                                                                               "e]\nport = "
                                                                               "2\nbackend = "
                                                                               "e\nrequire_tls "
                                                                               "= auth\n",
      "error: with [backend e] all backends together have 65 addresses; at most 64 are "
      "possible < "
      "address = embedded\n" },
    { "embedded, then a socket", "[backend smtp]\naddress = embedded, unix:/s\n",
      "error: address: embedded stands alone, beside no other address < address = embedded, "
      "unix:/s\n" },
    { "a socket, then embedded", "[backend smtp]\naddress = unix:/s, embedded\n",
      "error: address: embedded stands alone, beside no other address < address = unix:/s, "
      "embedded\n" },
    { "the same socket twice", "[backend smtp]\naddress = unix:/s, unix:/t, unix:/s\n",
      "error: address: unix:/s stands twice in this list < address = unix:/s, unix:/t, "
      "unix:/s\n" },
    { "the same name in two cases", "[backend smtp]\naddress = a.example:25, A.EXAMPLE:25\n",
      "error: address: A.EXAMPLE:25 stands twice in this list < address = a.example:25, "
      "A.EXAMPLE:25\n" },
    { "the same address in two forms",
      "[backend smtp]\naddress = [2001:db8::1]:25,\n"
      "  [2001:db8:0::1]:25\n",
      "error: address: [2001:db8:0::1]:25 stands twice in this list <   [2001:db8:0::1]:25\n" },
    { "each bad item is told", "[backend smtp]\naddress = /s, mail.example.org, ::1, a:b\n",
      MUST "\"/s\" is a path: write unix: before it < address = /s, mail.example.org, ::1, "
           "a:b\n" MUST
           "\"mail.example.org\" has no port: write host:25 or host:110 < address = /s, "
           "mail.example.org, ::1, a:b\n" MUST
           "\"::1\" is an IPv6 address: write it in brackets, with a port: [2001:db8::1]:25 < "
           "address = /s, mail.example.org, ::1, a:b\n" MUST
           "\"a:b\" has no port from 1 to 65535 < address = /s, mail.example.org, ::1, a:b\n" },
    { "one good, one bad", "[backend smtp]\naddress = unix:/s, unix:t\n",
      MUST "\"unix:t\" needs an absolute path behind unix: < address = unix:/s, unix:t\n" },
    { "a bad address of a backend that no port has", "[backend spare]\naddress = nonsense:\n",
      "warning: [backend spare] stands behind no port < [backend spare]\n" MUST
      "\"nonsense:\" has no port from 1 to 65535 < address = nonsense:\n" },
    { "one server, told in two ways who the client is",
      "[backend smtp]\naddress = unix:/s\n[backend pop3]\naddress = unix:/p, unix:/s\nidentity = "
      "proxy-v2\n",
      "warning: address: unix:/s is also an address of [backend smtp], which has another identity; "
      "one of them must be wrong < address = unix:/p, unix:/s\n" },
    { "one server, TLS first and plain",
      "[backend smtp]\naddress = a.example:25\n[backend x]\naddress = A.example:025\ntls = "
      "implicit\n[listen x]\nport = 1\nbackend = x\nrequire_tls = auth\n",
      "warning: address: A.example:025 is also an address of [backend smtp], which has another "
      "tls; one of them must be wrong < address = A.example:025\n" },
    { "one server, plain and by STARTTLS",
      "[backend smtp]\naddress = a.example:25\n[backend x]\naddress = a.example:25\ntls = "
      "starttls\n[listen x]\nport = 1\nbackend = x\nrequire_tls = auth\n",
      "" },
    { "one server, alike in both backends",
      "[backend smtp]\naddress = unix:/s\n[backend x]\naddress = unix:/s\n[listen x]\nport = "
      "1\nbackend = x\nrequire_tls = auth\n",
      "" },
    { "relayed mail that would come back",
      "[backend smtp]\naddress = embedded\n[mailstore]\nrelay = localhost:25\n",
      "error: relay = localhost:25 is where [listen smtp] listens: mail to other domains would "
      "come "
      "back < relay = localhost:25\n" },
    { "relayed mail to another port",
      "[backend smtp]\naddress = embedded\n[mailstore]\nrelay = localhost:2525\n", "" },
    { "relayed mail to a port that is not opened",
      "[backend pop3]\naddress = embedded\n[mailstore]\nrelay = localhost:25\n", "" },
    { "our own port on the loopback", "[backend smtp]\naddress = 127.0.0.1:25\n",
      "error: address: 127.0.0.1:25 is where [listen smtp] listens: Gatepost would connect to "
      "itself < address = 127.0.0.1:25\n" },
    { "our own port by the name localhost", "[backend smtp]\naddress = unix:/s, localhost:587\n",
      "error: address: localhost:587 is where [listen submission] listens: Gatepost would "
      "connect "
      "to itself < address = unix:/s, localhost:587\n" },
    { "our own port of another protocol",
      "[backend smtp]\naddress = [::1]:110\n[backend pop3]\naddress = unix:/p\n",
      "error: address: [::1]:110 is where [listen pop3] listens: Gatepost would connect to "
      "itself "
      "< address = [::1]:110\n" },
    { "our own port on an address of its own",
      "[backend smtp]\naddress = 192.0.2.1:25\n[backend pop3]\naddress = 192.0.2.1:1110\n[listen "
      "p]\nport = 1110\nprotocol = pop3\nbind = 192.0.2.1\nbackend = pop3\nrequire_tls = auth\n",
      "error: address: 192.0.2.1:1110 is where [listen p] listens: Gatepost would connect to "
      "itself "
      "< address = 192.0.2.1:1110\n" },
    { "the loopback, where we listen elsewhere",
      "[gatepost]\nbind = 192.0.2.1\n[backend smtp]\naddress = 127.0.0.1:25\n", "" },
    { "a port that port_offset moved away",
      "[gatepost]\nport_offset = 20000\n[backend smtp]\naddress = 127.0.0.1:25\n", "" },
    { "a port that port_offset moved there",
      "[gatepost]\nport_offset = 20000\n[backend smtp]\naddress = 127.0.0.1:20025\n",
      "error: address: 127.0.0.1:20025 is where [listen smtp] listens: Gatepost would connect "
      "to "
      "itself < address = 127.0.0.1:20025\n" },
    { "a port that is not opened", "[backend smtp]\naddress = 127.0.0.1:110\n", "" },
    /* tls, verify, ca, sni */
    { "implicit TLS to a name", "[backend smtp]\naddress = a.example:465\ntls = implicit\n", "" },
    { "starttls to an address", "[backend pop3]\naddress = 192.0.2.1:110\ntls = starttls\n", "" },
    { "TLS with all keys",
      "[backend smtp]\naddress = unix:/s, a.example:25\ntls = starttls\nsni = b.example\nca = "
      "/ca\n",
      "" },
    { "TLS to the embedded server", "[backend smtp]\naddress = embedded\ntls = implicit\n",
      "error: [backend smtp] is embedded: TLS ends before it, and tls must be off < tls = "
      "implicit\n" },
    { "TLS to a socket without a name",
      "[backend smtp]\naddress = a.example:25, unix:/s, unix:/t\n"
      "tls = starttls\n",
      "error: unix:/s has no name that a certificate could bear: set sni to the name in the "
      "server's, or verify = no < tls = starttls\n" },
    { "TLS to a socket, not verified",
      "[backend smtp]\naddress = unix:/s\ntls = starttls\nverify "
      "= no\n",
      "warning: verify = no: what is sent to [backend smtp] is encrypted, but to anybody who "
      "answers in its place < verify = no\n" },
    { "not verified, with a ca and a name",
      "[backend smtp]\naddress = a.example:25\ntls = implicit\nverify = no\nca = /ca\nsni = "
      "b.example\n",
      "warning: verify = no: what is sent to [backend smtp] is encrypted, but to anybody who "
      "answers in its place < verify = no\n"
      "warning: ca has no effect: [backend smtp] has verify = no < ca = /ca\n" },
    { "a ca without TLS", "[backend smtp]\naddress = a.example:25\nca = /ca\n",
      "error: [backend smtp] has a ca, but tls = off: nothing is encrypted or checked < ca = "
      "/ca\n" },
    { "an sni without TLS", "[backend smtp]\naddress = a.example:25\ntls = off\nsni = b.example\n",
      "error: [backend smtp] has an sni, but tls = off: nothing is encrypted or checked < sni "
      "= "
      "b.example\n" },
    { "a ca without TLS or address", "[backend spare]\nca = /ca\n",
      "error: [backend spare] has a ca, but tls = off: nothing is encrypted or checked < ca = "
      "/ca\n" },
    { "verify = no without TLS", "[backend smtp]\naddress = a.example:25\nverify = no\n",
      "warning: verify has no effect: [backend smtp] has tls = off < verify = no\n" },
    { "a ca that is no absolute path",
      "[backend smtp]\naddress = a.example:25\ntls = "
      "starttls\nca = ca.pem\n",
      "error: ca needs an absolute path: one that begins with / < ca = ca.pem\n" },
    { "an sni that is an address",
      "[backend smtp]\naddress = unix:/s\ntls = implicit\nsni = "
      "192.0.2.1\n",
      "error: sni: 192.0.2.1 is no host name < sni = 192.0.2.1\n" },
    { "an sni that is a pattern",
      "[backend smtp]\naddress = unix:/s\ntls = implicit\nsni = "
      "*.example.org\n",
      "error: sni: *.example.org is no host name < sni = *.example.org\n" },
    { "an sni with a port",
      "[backend smtp]\naddress = unix:/s\ntls = implicit\nsni = "
      "a.example:25\n",
      "error: sni: a.example:25 is no host name < sni = a.example:25\n" },
    { "an sni that is an IPv6 address",
      "[backend smtp]\naddress = unix:/s\ntls = implicit\nsni = "
      "::1\n",
      "error: sni: ::1 is no host name < sni = ::1\n" },
    { "starttls behind a remote port",
      "[backend remote]\naddress = a.example:109\ntls = starttls\n",
      "error: tls = starttls: [listen remote] in front of [backend remote] is remote, and has "
      "no "
      "command for it; tls must be implicit or off < tls = starttls\n" },
    { "implicit TLS behind an opaque port",
      "[backend remote]\naddress = a.example:109\ntls = implicit\n", "" },
    { "starttls behind a mail port and an opaque one",
      "[backend pop3]\naddress = a.example:110\ntls = starttls\n" MAIL_TOO "pop3\n",
      "error: tls = starttls: [listen a] in front of [backend pop3] is opaque, and has no "
      "command "
      "for it; tls must be implicit or off < tls = starttls\n" },
    /* policy and max_connections */
    { "a policy for two addresses",
      "[backend smtp]\naddress = unix:/s, unix:/t\npolicy = hash-user\n", "" },
    { "a policy for a name, which may have several addresses",
      "[backend smtp]\naddress = a.example:25\npolicy = round-robin\n", "" },
    { "a policy for one socket", "[backend smtp]\naddress = unix:/s\npolicy = round-robin\n",
      "warning: policy has no effect: [backend smtp] has one address < policy = "
      "round-robin\n" },
    { "a policy for one IP address",
      "[backend smtp]\naddress = [2001:db8::1]:25\npolicy = hash-client\n",
      "warning: policy has no effect: [backend smtp] has one address < policy = "
      "hash-client\n" },
    { "a policy for the embedded server",
      "[backend smtp]\naddress = embedded\npolicy = hash-user\n",
      "warning: policy has no effect: [backend smtp] has one address < policy = hash-user\n" },
    { "failover for one socket", "[backend smtp]\naddress = unix:/s\npolicy = failover\n", "" },
    { "hash-user behind a remote port",
      "[backend remote]\naddress = a.example:109\npolicy = hash-user\n",
      "error: policy = hash-user: [listen remote] in front of [backend remote] is remote, and "
      "no "
      "user is known there; hash-client goes by the client's address < policy = hash-user\n" },
    { "hash-user behind a mail port and an opaque one",
      "[backend pop3]\naddress = a.example:110\npolicy = hash-user\n" MAIL_TOO "pop3\n",
      "error: policy = hash-user: [listen a] in front of [backend pop3] is opaque, and no user "
      "is "
      "known there; hash-client goes by the client's address < policy = hash-user\n" },
    { "hash-client behind an opaque port",
      "[backend remote]\naddress = a.example:109\npolicy = hash-client\n", "" },
    { "hash-user behind an opaque port that is not opened",
      "[backend pop3]\naddress = a.example:110\npolicy = hash-user\n" MAIL_TOO
      "pop3\nenabled = no\n",
      "" },
    { "a bound for the embedded server",
      "[backend smtp]\naddress = embedded\nmax_connections = 10\n", "" },
    { "a bound beyond the limit", "[backend smtp]\naddress = unix:/s\nmax_connections = 100001\n",
      "error: max_connections must be from 0 to 100000 < max_connections = 100001\n" },
    { "a policy that is none", "[backend smtp]\naddress = unix:/s\npolicy = hash_user\n",
      "error: policy must be failover, round-robin, hash-user or hash-client; did you mean "
      "\"hash-user\"? < policy = hash_user\n" },
    /* identity */
    { "no identity for an SMTP server on another machine",
      "[backend smtp]\naddress = a.example:25\nidentity = none\n", "" },
    { "XCLIENT to an SMTP server", "[backend smtp]\naddress = unix:/s\nidentity = xclient\n", "" },
    { "XCLIENT to a POP3 server", "[backend pop3]\naddress = unix:/p\nidentity = xclient\n",
      "error: identity = xclient: XCLIENT is a command of SMTP, and [listen pop3] in front of "
      "[backend pop3] is a pop3 port; proxy-v1 and proxy-v2 go everywhere < identity = "
      "xclient\n" },
    { "XCLIENT behind a remote port", "[backend remote]\naddress = unix:/r\nidentity = xclient\n",
      "error: identity = xclient: XCLIENT is a command of SMTP, and [listen remote] in front "
      "of "
      "[backend remote] is remote; proxy-v1 and proxy-v2 go everywhere < identity = "
      "xclient\n" },
    { "XCLIENT behind an SMTP port and an opaque one",
      "[backend smtp]\naddress = unix:/s\nidentity = xclient\n" MAIL_TOO "smtp\n",
      "error: identity = xclient: XCLIENT is a command of SMTP, and [listen a] in front of "
      "[backend smtp] is opaque; proxy-v1 and proxy-v2 go everywhere < identity = xclient\n" },
    { "XCLIENT for no port",
      "[backend spare]\naddress = unix:/r\nidentity = xclient\n[backend smtp]\naddress = unix:/s\n",
      "warning: [backend spare] stands behind no port < [backend spare]\n" },
    { "PROXY v1 everywhere",
      "[backend smtp]\naddress = unix:/s\nidentity = proxy-v1\n[backend pop3]\naddress = "
      "unix:/p\nidentity = proxy-v1\n[backend remote]\naddress = unix:/r\nidentity = "
      "proxy-v1\n",
      "" },
    { "PROXY v2 behind an opaque port",
      "[backend remote]\naddress = unix:/r\nidentity = proxy-v2\n", "" },
    /* hide */
    { "capabilities known and unknown",
      "[backend smtp]\naddress = unix:/s\nhide = 8BITMIME,\n  "
      "X-NEW-THING, auth-resp-code\n",
      "" },
    { "a login mechanism", "[backend smtp]\naddress = unix:/s\nhide = SIZE, AUTH=LOGIN\n",
      "error: hide: \"AUTH=LOGIN\" is no keyword of letters, digits and hyphens < hide = SIZE, "
      "AUTH=LOGIN\n" },
    { "a bad keyword without an address", "[backend smtp]\nhide = 8_BIT\n",
      "error: hide: \"8_BIT\" is no keyword of letters, digits and hyphens < hide = 8_BIT\n" },
    { "hide behind remote ports", "[backend remote]\naddress = unix:/r\nhide = SIZE\n",
      "warning: hide has no effect: [backend remote] stands behind remote ports only, which "
      "are "
      "relayed as they are < hide = SIZE\n" },
    { "hide behind a mail port and an opaque one",
      "[backend pop3]\naddress = unix:/p\nhide = TOP\n" MAIL_TOO "pop3\n", "" },
    /* apop */
    { "APOP on one socket", "[backend pop3]\naddress = unix:/p\napop = yes\n", "" },
    { "APOP on several addresses, with STLS to them",
      "[backend pop3]\naddress = a.example:110, b.example:110\napop = yes\ntls = "
      "starttls\npolicy = hash-client\nidentity = proxy-v1\n",
      "" },
    { "APOP where the user chooses the server",
      "[backend pop3]\naddress = unix:/p, unix:/q\napop = yes\npolicy = hash-user\n",
      "error: apop = yes: the banner of [backend pop3] is needed before the user is known: "
      "policy "
      "cannot be hash-user < apop = yes\n" },
    { "APOP of an SMTP server", "[backend smtp]\naddress = a.example:25\napop = yes\n",
      "error: apop = yes: [backend smtp] stands behind no pop3 port < apop = yes\n" },
    { "APOP behind an opaque port", "[backend remote]\naddress = unix:/r\napop = yes\n",
      "error: apop = yes: [backend remote] stands behind no pop3 port < apop = yes\n" },
    { "APOP of the embedded server", "[backend pop3]\naddress = embedded\napop = yes\n",
      "error: apop = yes: [backend pop3] is embedded and has no APOP < apop = yes\n" },
    { "APOP before there is an address", "[backend pop3]\napop = yes\n", "" },
};

static void a_backend_is_judged_in_words(void **state)
{
    bool good = true;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        good &= words_row_holds(&rows[i]);
    assert_true(good);
}

/* Ports for the tables below: a and b are routed to by pop3, c is the default of it. */
#define ROUTED                                                                                     \
    WORDS_QUIET                                                                                    \
    "[backend pop3]\naddress = unix:/p\n[backend a]\naddress = unix:/a\n[backend b]\naddress = "   \
    "unix:/b\n[backend c]\naddress = unix:/c\n[backend smtp]\naddress = unix:/s\n[backend "        \
    "remote]\naddress = unix:/r\n[listen routed]\nport = 1110\nprotocol = pop3\nrequire_tls = "    \
    "auth\nbackend = pop3\nroute = user:cdb:/m\nroute_backends = a, b\ndefault_backend = c\n"

static const struct reach_row {
    const char *more;
    const char *listen, *backend;
    bool reaches;
    int protocol; /* of the backend; -1: no open listener reaches it */
} reach_rows[] = {
    { "", "routed", "pop3", true, PROTOCOL_POP3 },
    { "", "routed", "a", true, PROTOCOL_POP3 },
    { "", "routed", "b", true, PROTOCOL_POP3 },
    { "", "routed", "c", true, PROTOCOL_POP3 },
    { "", "pop3", "pop3", true, PROTOCOL_POP3 },
    { "", "smtp-alt", "smtp", true, PROTOCOL_SMTP },
    { "", "remote", "remote", true, PROTOCOL_REMOTE },
    { "[listen x]\nport = 1\nprotocol = opaque\nbackend = remote\n", "x", "remote", true,
      PROTOCOL_REMOTE },
    { "[listen x]\nport = 1\nprotocol = opaque\nbackend = a\n", "x", "a", true, PROTOCOL_POP3 },
    { "[listen x]\nport = 1\nprotocol = opaque\nbackend = smtp\n", "x", "smtp", true,
      PROTOCOL_SMTP },
    { "", "routed", "smtp", false, PROTOCOL_SMTP },
    { "", "pop3", "a", false, PROTOCOL_POP3 },
    { "[backend d]\naddress = unix:/d\n", "routed", "d", false, -1 },
    { "[backend d]\n[listen x]\nport = 1\nbackend = d\n", "x", "d", false, -1 },
    { "[backend d]\naddress = unix:/d\n[listen x]\nport = 1\nbackend = d\nenabled = no\n", "x", "d",
      false, -1 },
    { "[backend d]\naddress = unix:/d\n[listen x]\nport = 1\nbackend = smtp\nroute_backends = "
      "d\ndefault_backend = d\nrequire_tls = auth\n",
      "x", "d", false, -1 },
    { "[backend d]\naddress = unix:/d\n[listen x]\nport = 1\nbackend = smtp\nroute = "
      "user:cdb:/m\nroute_backends = d\nenabled = no\n",
      "x", "d", false, -1 },
    { "[backend d]\naddress = unix:/d\n[backend e]\n[listen x]\nport = 1\nbackend = e\nroute = "
      "user:cdb:/m\nroute_backends = d\n",
      "x", "d", false, -1 },
};

static const struct settings_listen *find_listen(const struct settings *settings, const char *name)
{
    for (size_t i = 0; i < settings->listen_count; i++)
        if (strcmp(settings->listens[i].name, name) == 0)
            return &settings->listens[i];
    fail_msg("there is no [listen %s]", name);
    return NULL;
}

static void a_backend_is_reached_by_open_ports_and_their_routes_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(reach_rows); i++) {
        const struct reach_row *row = &reach_rows[i];
        char text[WORDS_MAX], words[WORDS_MAX];
        enum port_protocol protocol = PROTOCOL_SMTP;
        const struct settings_backend *backend;
        struct settings *settings;
        bool reached;

        snprintf(text, sizeof(text), "%s%s", ROUTED, row->more);
        settings = words_load(text, words);
        if (!settings)
            fail_msg("row %zu is refused:\n%s", i, words);
        backend = settings_backend(settings, row->backend);
        if (settings_listen_reaches(settings, find_listen(settings, row->listen), backend) !=
            row->reaches)
            fail_msg("row %zu: does [listen %s] reach [backend %s]?", i, row->listen, row->backend);
        reached = settings_backend_protocol(settings, backend, &protocol);
        if (reached != (row->protocol >= 0) || (reached && (int)protocol != row->protocol))
            fail_msg("row %zu: %s", i, reached ? "another protocol" : "not reached");
        settings_free(settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_backend_is_judged_in_words),
        cmocka_unit_test(a_backend_is_reached_by_open_ports_and_their_routes_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

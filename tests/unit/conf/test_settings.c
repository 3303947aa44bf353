/* Tests of conf/settings*.c: good files and the members they give, bad files and the words they
 * get, overriding, printing and explaining. */
#include "conf/settings.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "tests/unit/conf/topics.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define TEN          "xxxxxxxxxx"
#define FIFTY        TEN TEN TEN TEN TEN
#define TEN_BLANKS   "          "
#define FIFTY_BLANKS TEN_BLANKS TEN_BLANKS TEN_BLANKS TEN_BLANKS TEN_BLANKS
#define CERTIFICATE  "[tls default]\ncertificate = /c\nkey = /k\n"
/* Loads `text` as file "f". *ret_words, to be freed, is what is printed of it, without what to
 * read. */
static struct settings *load(const char *text, char **ret_words)
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;
    size_t size;
    FILE *out = open_memstream(ret_words, &size);
    int result;

    assert_non_null(out);
    diagnostics_init(&diagnostics);
    result = settings_load_text(text, strlen(text), "f", &diagnostics, &settings);
    assert_int_equal(result, diagnostics.errors ? -EINVAL : 0);
    assert_true((result == 0) == (settings != NULL));
    diagnostics_print(&diagnostics, out);
    fclose(out);
    assert_int_equal(topics_drop(*ret_words), diagnostics.errors + diagnostics.warnings);
    diagnostics_deinit(&diagnostics);
    return settings;
}

static char *print(const struct settings *settings)
{
    char *text;
    size_t size;
    FILE *out = open_memstream(&text, &size);

    assert_non_null(out);
    assert_int_equal(settings_print(settings, out), 0);
    fclose(out);
    return text;
}

struct words_row {
    const char *text;
    const char *words;
};

/* Files that do not load, and all that is said about them. */
static const struct words_row bad_files[] = {
    /* sections */
    { "[gatepots]\nuser = x\n", "f:1: error: there is no section [gatepots]; did you mean "
                                "\"gatepost\"?\n    [gatepots]\n     ^\n" },
    { "[Listen pop3]\nport = 1\n", "f:1: error: there is no section [Listen]; did you mean "
                                   "\"listen\"?\n    [Listen pop3]\n     ^\n" },
    { "[frontend]\n", "f:1: error: there is no section [frontend]; there are gatepost, tls, "
                      "listen, backend, limits and mailstore\n    [frontend]\n     ^\n" },
    { "[]\n", "f:1: error: there is no section []; there are gatepost, tls, listen, backend, "
              "limits and mailstore\n    []\n     ^\n" },
    { "[listen]\nport = 1\n",
      "f:1: error: this section needs a name: [listen smtp]\n    [listen]\n     ^\n" },
    { "[tls]\ncertificate = /c\n",
      "f:1: error: this section needs a name: [tls default]\n    [tls]\n     ^\n" },
    { "[gatepost main]\nuser = x\n",
      "f:1: error: the section [gatepost] takes no name\n    [gatepost main]\n     ^\n" },
    { "[listen my port]\n", "f:1: error: the name of a [listen] section is one word of letters, "
                            "digits, - _ and .\n    [listen my port]\n     ^\n" },
    { "[backend a/b]\n", "f:1: error: the name of a [backend] section is one word of letters, "
                         "digits, - _ and .\n    [backend a/b]\n     ^\n" },
    { "[backend x]\n[limits]\n[backend x]\n",
      "f:3: error: this section is already begun in line 1\n    [backend x]\n     ^\n" },
    { "[limits]\n[limits]\nmax_error = 1\n",
      "f:2: error: this section is already begun in line 1\n    [limits]\n     ^\n" },
    /* keys */
    { "[gatepost]\nhostnam = a\n", "f:2: error: there is no key \"hostnam\" in [gatepost]; did you "
                                   "mean \"hostname\"?\n    hostnam = a\n    ^\n" },
    { "[gatepost]\nHostname = a\n", "f:2: error: there is no key \"Hostname\" in [gatepost]; did "
                                    "you mean \"hostname\"?\n    Hostname = a\n    ^\n" },
    { "[gatepost]\nmax_errors = 5\n", "f:2: error: there is no key \"max_errors\" in [gatepost]; "
                                      "it belongs to [limits]\n    max_errors = 5\n    ^\n" },
    { "[limits]\ncertificate = /c\n", "f:2: error: there is no key \"certificate\" in [limits]; it "
                                      "belongs to [tls NAME]\n    certificate = /c\n    ^\n" },
    { "[limits]\ncolour = red\n  green\n",
      "f:2: error: there is no key \"colour\" in [limits]\n    colour = red\n    ^\n" },
    { "[limits]\nx_note = 1\n", "f:2: error: there is no key \"x_note\" in [limits]; keys of your "
                                "own begin with x-\n    x_note = 1\n    ^\n" },
    { "user = x\n",
      "f:1: error: a setting stands before the first [section]\n    user = x\n    ^\n" },
    { "[gatepost]\nuser = a\n# b\nuser = a\n",
      "f:4: error: user is already set in line 2\n    user = a\n    ^\n" },
    { "[listen pop3]\nport = 1\nport = 2\nport = 3\n",
      "f:3: error: port is already set in line 2\n    port = 2\n    ^\nf:4: error: port is already "
      "set in line 2\n    port = 3\n    ^\n" },
    { "[gatepost]\nbind = ::1\nbind = ::2\n  junk\n",
      "f:3: error: bind is already set in line 2\n    bind = ::2\n    ^\n" },
    /* values */
    { "[gatepost]\nuser =\n", "f:2: error: user needs a value\n    user =\n          ^\n" },
    { "[gatepost]\nuser = \"a\"\n",
      "f:2: error: values are written without quotes\n    user = \"a\"\n           ^\n" },
    { "[gatepost]\nuser = a;b\n",
      "f:2: error: a comment needs a blank before its ;\n    user = a;b\n            ^\n" },
    { "[gatepost]\nworkers = 2 # two\n", "f:2: error: a comment behind a value begins with ;\n    "
                                         "workers = 2 # two\n                ^\n" },
    { "[gatepost]\nuser = a\n  b\n", "f:3: error: user is no list: its value may not go on in an "
                                     "indented line\n      b\n      ^\n" },
    { "[gatepost]\nuser = " FIFTY FIFTY FIFTY TEN TEN "x\n",
      "f:2: error: the value is too long: at most 170 octets\n    user = " FIFTY FIFTY FIFTY TEN TEN
      "x\n           " FIFTY_BLANKS FIFTY_BLANKS FIFTY_BLANKS TEN_BLANKS TEN_BLANKS "^\n" },
    { "[tls default]\ncertificate = tls/c.pem\nkey = /k\n",
      "f:2: error: certificate needs an absolute path: one that begins with /\n    certificate = "
      "tls/c.pem\n                  ^\n" },
    { "[gatepost]\nstate_dir =\n",
      "f:2: error: state_dir needs a value\n    state_dir =\n               ^\n" },
    { "[gatepost]\ngroups = a b\n", "f:2: error: the items of a list are separated by commas\n    "
                                    "groups = a b\n               ^\n" },
    { "[gatepost]\ngroups = a,, b\n", "f:2: error: an item of the list is missing before the "
                                      "comma\n    groups = a,, b\n               ^\n" },
    { "[gatepost]\ngroups = a,\n  b c\n",
      "f:3: error: the items of a list are separated by commas\n      b c\n        ^\n" },
    { "[listen pop3]\nenabled = true\n", "f:2: error: enabled must be no or yes; did you mean "
                                         "\"yes\"?\n    enabled = true\n              ^\n" },
    { "[listen pop3]\nenabled = Yes\n", "f:2: error: enabled must be no or yes; did you mean "
                                        "\"yes\"?\n    enabled = Yes\n              ^\n" },
    { "[listen pop3]\nenabled =\n",
      "f:2: error: enabled must be no or yes\n    enabled =\n             ^\n" },
    { "[listen pop3]\ntls = startls\n",
      "f:2: error: tls must be starttls, implicit or off; did you mean \"starttls\"?\n    tls = "
      "startls\n          ^\n" },
    { "[listen pop3]\nprotocol = imap\n",
      "f:2: error: protocol must be smtp, pop3, remote or opaque\n    "
      "protocol = imap\n               ^\n" },
    { "[listen pop3]\nrequire_tls = login\n", "f:2: error: require_tls must be no, auth or yes\n   "
                                              " require_tls = login\n                  ^\n" },
    { "[tls default]\nmin_version = 1.1\n",
      "f:2: error: min_version must be 1.2 or 1.3; did you mean \"1.2\"?\n    min_version = 1.1\n  "
      "                ^\n" },
    { "[backend smtp]\nidentity = proxy-v3\n",
      "f:2: error: identity must be none, proxy-v1, proxy-v2 or xclient; did you mean "
      "\"proxy-v1\"?\n    identity = proxy-v3\n               ^\n" },
    { "[gatepost]\nlog = file\n",
      "f:2: error: log must be stderr, journald or syslog; journald:/path and syslog:/path name "
      "another socket\n    log = file\n          ^\n" },
    { "[gatepost]\nlog_level = verbose\n",
      "f:2: error: log_level must be error, warning, notice, info or debug\n    log_level = "
      "verbose\n                ^\n" },
    /* numbers */
    { "[listen pop3]\nport = pop3\n",
      "f:2: error: port needs a whole number\n    port = pop3\n           ^\n" },
    { "[listen pop3]\nport =\n",
      "f:2: error: port needs a whole number\n    port =\n          ^\n" },
    { "[listen pop3]\nport = -1\n",
      "f:2: error: port must be from 1 to 65535\n    port = -1\n           ^\n" },
    { "[listen pop3]\nport = -\n",
      "f:2: error: port needs a whole number\n    port = -\n           ^\n" },
    { "[listen pop3]\nport = 110.5\n",
      "f:2: error: port needs a whole number\n    port = 110.5\n              ^\n" },
    { "[limits]\nread_size = 1,5KiB\n",
      "f:2: error: read_size needs a whole number, perhaps of a smaller unit\n    read_size = "
      "1,5KiB\n                 ^\n" },
    { "[limits]\nline_timeout = -5s\n", "f:2: error: line_timeout must be from 100ms to 10min\n    "
                                        "line_timeout = -5s\n                   ^\n" },
    { "[listen pop3]\nenabled = OFF\n", "f:2: error: enabled must be no or yes; did you mean "
                                        "\"no\"?\n    enabled = OFF\n              ^\n" },
    { "[listen pop3]\nenabled = 2\n",
      "f:2: error: enabled must be no or yes\n    enabled = 2\n              ^\n" },
    { "[listen pop3]\ntls = on\n",
      "f:2: error: tls must be starttls, implicit or off\n    tls = on\n          ^\n" },
    { "[gatepost]\nbind = ::1;::2\n", "f:2: error: a comment needs a blank before its ;, and a "
                                      "list has commas\n    bind = ::1;::2\n              ^\n" },
    { "[limits]\ntls = off\n", "f:2: error: there is no key \"tls\" in [limits]; it belongs to "
                               "[listen NAME] and [backend NAME]\n    tls = off\n    ^\n" },
    { "[gatepost]\nbind = ::1, ::2,\n  ::1, ::3\n",
      "f:3: error: bind: ::1 is bound twice by this list\n      ::1, ::3\n      ^\n" },
    { "[listen pop3]\nport = +1\n",
      "f:2: error: port needs a whole number\n    port = +1\n           ^\n" },
    { "[listen pop3]\nport = 0\n",
      "f:2: error: port must be from 1 to 65535\n    port = 0\n           ^\n" },
    { "[listen pop3]\nport = 65536\n",
      "f:2: error: port must be from 1 to 65535\n    port = 65536\n           ^\n" },
    { "[listen pop3]\nport = 0x6e\n",
      "f:2: error: port is a plain number without a unit\n    port = 0x6e\n            ^\n" },
    { "[listen pop3]\nport = 110s\n",
      "f:2: error: port is a plain number without a unit\n    port = 110s\n              ^\n" },
    { "[gatepost]\nworkers = 18446744073709551617\n",
      "f:2: error: workers must be from 0 to 64\n    workers = 18446744073709551617\n              "
      "^\n" },
    { "[limits]\nline_timeout = 60\n", "f:2: error: the unit is missing: ms, s, min, h or d\n    "
                                       "line_timeout = 60\n                     ^\n" },
    { "[limits]\nline_timeout = 5m\n", "f:2: error: \"m\" is no unit here: ms, s, min, h or d\n    "
                                       "line_timeout = 5m\n                    ^\n" },
    { "[limits]\nline_timeout = 1.5s\n",
      "f:2: error: line_timeout needs a whole number, perhaps of a smaller unit\n    line_timeout "
      "= 1.5s\n                    ^\n" },
    { "[limits]\nline_timeout = 1min 30s\n",
      "f:2: error: one number has one unit: ms, s, min, h or d\n    line_timeout = 1min 30s\n      "
      "              ^\n" },
    { "[limits]\nline_timeout = s\n", "f:2: error: line_timeout needs a whole number\n    "
                                      "line_timeout = s\n                   ^\n" },
    { "[limits]\nline_timeout = 99ms\n", "f:2: error: line_timeout must be from 100ms to 10min\n   "
                                         " line_timeout = 99ms\n                   ^\n" },
    { "[limits]\nline_timeout = 1h\n", "f:2: error: line_timeout must be from 100ms to 10min\n    "
                                       "line_timeout = 1h\n                   ^\n" },
    { "[limits]\nline_timeout = 213503982335d\n",
      "f:2: error: line_timeout must be from 100ms to 10min\n    line_timeout = 213503982335d\n    "
      "               ^\n" },
    { "[limits]\nread_size = 64KB\n", "f:2: error: \"KB\" is no unit here: B, KiB, MiB or GiB\n    "
                                      "read_size = 64KB\n                  ^\n" },
    { "[limits]\nread_size = 0B\n",
      "f:2: error: read_size must be from 1B to 64KiB\n    read_size = 0B\n                ^\n" },
    { "[mailstore]\nmessage_size_limit = 5GiB\n",
      "f:2: error: message_size_limit must be from 1KiB to 4GiB\n    message_size_limit = 5GiB\n   "
      "                      ^\n" },
    /* forms */
    { "[gatepost]\nhostname = mail_1.example\n",
      "f:2: error: hostname must be a domain name such as mail.example.org\n    hostname = "
      "mail_1.example\n               ^\nerror: domains: mail_1.example is no domain name\n" },
    { "[gatepost]\nbind = localhost\n",
      "f:2: error: bind: localhost is no IPv4 or IPv6 address; write 0.0.0.0, :: or an address of "
      "this host, without brackets or port\n    bind = localhost\n           ^\n" },
    { "[gatepost]\nbind = [::]\n",
      "f:2: error: bind: [::] is no IPv4 or IPv6 address; write 0.0.0.0, :: or an address of this "
      "host, without brackets or port\n    bind = [::]\n           ^\n" },
    { "[gatepost]\nbind = 0.0.0.0, 127.0.0.1\n",
      "f:2: error: bind: 127.0.0.1 is bound twice by this list\n    bind = 0.0.0.0, 127.0.0.1\n    "
      "                ^\n" },
    { "[gatepost]\nbind =\n",
      "f:2: error: bind needs at least one address\n    bind =\n          ^\n" },
    { "[listen pop3]\nbind = 127.0.0.1:110\n",
      "f:2: error: bind: 127.0.0.1:110 is no IPv4 or IPv6 address; write 0.0.0.0, :: or an address "
      "of this host, without brackets or port\n    bind = 127.0.0.1:110\n           ^\n" },
    { "[gatepost]\nruntime_dir = /" FIFTY TEN TEN TEN "\n",
      "f:2: error: runtime_dir has more than 80 octets; the paths of its sockets would be too "
      "long\n    runtime_dir = /" FIFTY TEN TEN TEN "\n                  ^\n" },
    { "[gatepost]\ncontrol_socket = run/control.sock\n",
      "f:2: error: control_socket = run/control.sock is neither an absolute path nor a name in "
      "runtime_dir\n    control_socket = run/control.sock\n                     ^\n" },
    { "[gatepost]\ncontrol_socket = ..\n",
      "f:2: error: control_socket = .. is neither an absolute path nor a name in runtime_dir\n    "
      "control_socket = ..\n                     ^\n" },
    { "[gatepost]\ncontrol_socket = /run/\n",
      "f:2: error: control_socket = /run/ names a folder, not a socket\n    control_socket = "
      "/run/\n                     ^\n" },
    { "[gatepost]\nruntime_dir = /" FIFTY TEN TEN "123456789\ncontrol_socket = "
      "1234567890" TEN "1234567\n",
      "f:3: error: control_socket = 1234567890" TEN "1234567 has a path of more than 107 octets\n"
      "    control_socket = 1234567890" TEN "1234567\n                     ^\n" },
    { "[gatepost]\ncontrol_socket = smtp.sock\n[backend smtp]\naddress = embedded\n",
      "f:2: error: control_socket = smtp.sock is the socket of an embedded worker: choose another "
      "name\n    control_socket = smtp.sock\n                     ^\nwarning: TLS is not offered "
      "(listen smtp, smtp-alt, submission): [tls default] has no certificate\nwarning: passwords "
      "may be sent without TLS (listen smtp, smtp-alt, submission); require_tls = auth ends it\n" },
    { "[mailstore]\ndomains = example.org, example..net\n",
      "f:2: error: domains: example..net is no domain name\n    domains = example.org, "
      "example..net\n                           ^\n" },
    { "[mailstore]\nrelay = unix:run/mta\n",
      "f:2: error: relay = unix:run/mta needs an absolute path behind unix:\n    relay = "
      "unix:run/mta\n            ^\n" },
    { "[mailstore]\nrelay = localhost\n", "f:2: error: relay = localhost is neither unix:/path nor "
                                          "host:port\n    relay = localhost\n            ^\n" },
    { "[mailstore]\nrelay = ::1:25\n", "f:2: error: relay = ::1:25 is neither unix:/path nor "
                                       "host:port\n    relay = ::1:25\n            ^\n" },
    { "[backend smtp]\naddress = Embedded\n[listen pop3s]\nenabled = no\n" CERTIFICATE,
      "f:2: error: address must be embedded, or unix:/path or host:port; \"Embedded\" has to be "
      "in small letters\n    address = Embedded\n              ^\nwarning: "
      "passwords may be sent without TLS "
      "(listen smtp, smtp-alt, submission); require_tls = auth ends it\n" },
    /* certificates */
    { "[tls default]\ncertificate = /c\n", "f:2: error: [tls default] has a certificate but no "
                                           "key\n    certificate = /c\n                  ^\n" },
    { "[tls default]\nkey = /k\n",
      "f:2: error: [tls default] has a key but no certificate\n    key = /k\n          ^\n" },
    { CERTIFICATE "[tls b]\nnames = b.example\n", "f:4: error: [tls b] has neither certificate and "
                                                  "key nor a directory\n    [tls b]\n     ^\n" },
    { "[tls b]\ncertificate = /c\nkey = /k\n",
      "f:1: error: [tls b] is never used alone: clients that send no server name need [tls "
      "default]\n    [tls b]\n     ^\n" },
    { CERTIFICATE "names = *.b.example, b.*\n",
      "f:4: error: names: b.* is no domain name\n    names = *.b.example, b.*\n                    "
      "     ^\n" },
    { CERTIFICATE
      "names = a.example\n[tls b]\ncertificate = /c\nkey = /k\nnames = b.example, A.example\n",
      "f:8: error: the name A.example stands in [tls default] and in [tls b]\n    names = "
      "b.example, A.example\n                       ^\n" },
    /* ports */
    { "[listen smtps]\nbackend = smtp\n",
      "f:1: error: [listen smtps] needs a port\n    [listen smtps]\n     ^\n" },
    { "[listen a]\nenabled = no\n",
      "f:1: error: [listen a] needs a port\n    [listen a]\n     ^\n" },
    { "[listen smtps]\nport = 465\n",
      "f:1: error: [listen smtps] needs a backend\n    [listen smtps]\n     ^\n" },
    { "[listen pop3]\nbackend = pop\n", "f:2: error: there is no section [backend pop]; did you "
                                        "mean \"pop3\"?\n    backend = pop\n              ^\n" },
    { "[listen pop3]\nbackend = dovecot\n", "f:2: error: there is no section [backend dovecot]\n   "
                                            " backend = dovecot\n              ^\n" },
    { "[listen pop3]\nport = 25\n", "f:2: error: [listen pop3] and [listen smtp] both open port 25 "
                                    "on 0.0.0.0\n    port = 25\n           ^\n" },
    { "[listen a]\nport = 587\nbackend = smtp\nbind = 127.0.0.1\n",
      "f:2: error: [listen submission] and [listen a] both open port 587 on 127.0.0.1\n    port = "
      "587\n           ^\n" },
    { "[gatepost]\nport_offset = 60000\n[listen a]\nport = 5536\nbackend = smtp\n",
      "f:4: error: [listen a] port + port_offset is 65536; there is none above 65535\n    port = "
      "5536\n           ^\n" },
    { "[listen remote]\ntls = starttls\n",
      "f:2: error: [listen remote] is remote: it has no STARTTLS; tls must be implicit or off\n    "
      "tls = starttls\n          ^\n" },
    { "[listen remote]\nrequire_tls = yes\n",
      "f:2: error: [listen remote] is remote: nobody can be told that TLS is required\n    "
      "require_tls = yes\n                  ^\n" },
    { "[listen remote]\nearly_talker = refuse\n",
      "f:2: error: [listen remote] is remote: there is no greeting that a client could be ahead "
      "of\n    early_talker = refuse\n                   ^\n" },
    { "[listen pop3]\nrequire_tls = auth\ntls = off\n",
      "f:2: error: [listen pop3] requires TLS, but has tls = off\n    require_tls = auth\n         "
      "         ^\n" },
    { "[listen pop3]\nrequire_auth = yes\n",
      "f:2: error: [listen pop3] is no smtp port: require_auth has no meaning\n    require_auth = "
      "yes\n                   ^\n" },
    { "[listen pop3]\nlegacy_auth_line = yes\n",
      "f:2: error: [listen pop3] is no smtp port: legacy_auth_line has no meaning\n    "
      "legacy_auth_line = yes\n                       ^\n" },
    /* TLS that cannot be, on ports that are open */
    { "[backend pop3]\naddress = unix:/p\n[listen pop3]\ntls = off\n[listen pop3s]\ntls = "
      "implicit\n",
      "f:6: error: [listen pop3s] is TLS first and there is no certificate: set certificate and "
      "key in [tls default], or enabled = no\n    tls = implicit\n          ^\nwarning: passwords "
      "may be sent without TLS (listen pop3); require_tls = auth ends it\n" },
    { "[backend smtp]\naddress = unix:/s\n[listen submission]\nrequire_tls = yes\n[listen "
      "smtp]\ntls = off\n[listen smtp-alt]\nenabled = no\n",
      "f:4: error: [listen submission] requires TLS and there is no certificate: set certificate "
      "and key in [tls default]\n    require_tls = yes\n                  ^\nwarning: TLS is not "
      "offered (listen submission): [tls default] has no certificate\nwarning: passwords may be "
      "sent without TLS (listen smtp); require_tls = auth ends it\n" },
/* backends; identity on the ports costs a warning about passwords, which is switched off here */
#define QUIET                                                                                      \
    CERTIFICATE "[listen pop3]\nrequire_tls = auth\n[listen smtp]\nrequire_tls = auth\n[listen "   \
                "smtp-alt]\nrequire_tls = auth\n[listen submission]\nrequire_tls = auth\n"
    { QUIET "[backend pop3]\naddress = unix:p.sock\n",
      "f:13: error: address must be embedded, or unix:/path or host:port; \"unix:p.sock\" needs an "
      "absolute path "
      "behind unix:\n    address = unix:p.sock\n              ^\n" },
    { QUIET "[backend pop3]\naddress = /run/p.sock\n",
      "f:13: error: address must be embedded, or unix:/path or host:port; \"/run/p.sock\" is a "
      "path: "
      "write unix: before it\n    address = /run/p.sock\n              ^\n" },
    { QUIET "[backend pop3]\naddress = unix:/run/\n",
      "f:13: error: address must be embedded, or unix:/path or host:port; \"unix:/run/\" names a "
      "folder, not a "
      "socket\n    address = unix:/run/\n              ^\n" },
    { QUIET "[backend pop3]\naddress = unix:/" FIFTY FIFTY "xxxxxxx\n",
      "f:13: error: address must be embedded, or unix:/path or host:port; \"unix:/" FIFTY FIFTY
      "xxxxxxx\" has a path of more than 107 octets\n    address = unix:/" FIFTY FIFTY
      "xxxxxxx\n              ^\n" },
    { QUIET "[backend pop3]\naddress = embedded\n[listen remote]\nbackend = pop3\n",
      "f:13: error: [backend pop3] is embedded and stands behind [listen remote], which is remote, "
      "and [listen pop3], which is pop3: each needs a backend of its own\n"
      "    address = embedded\n              ^\n" },
    { QUIET "[backend remote]\naddress = embedded\n[listen remote]\nprotocol = opaque\n",
      "f:13: error: [backend remote] stands behind opaque ports only, which have no embedded "
      "server\n  "
      "  address = embedded\n              ^\n" },
    { QUIET "[backend smtp]\naddress = embedded\n[listen a]\nport = 1110\nprotocol = pop3\nbackend "
            "= smtp\nrequire_tls = auth\n",
      "f:13: error: [backend smtp] stands behind both smtp and pop3 ports: [listen smtp] and "
      "[listen a]\n    address = "
      "embedded\n              ^\n" },
    { QUIET "[backend pop3]\naddress = embedded\napop = yes\n",
      "f:14: error: apop = yes: [backend pop3] is embedded and has no APOP\n    apop = yes\n       "
      "    ^\n" },
    { QUIET "[backend smtp]\naddress = unix:/s\napop = yes\n",
      "f:14: error: apop = yes: [backend smtp] stands behind no pop3 port\n    apop = yes\n        "
      "   ^\n" },
    /* files for a later program: told before all that looks wrong in them */
    { "[gatepost]\nconfig_version = 2\n",
      "f:2: error: this program is too old for the file: it knows config_version 1, and the file "
      "is of version 2\n    config_version = 2\n                     ^\n" },
    { "[gatepost]\nconfig_version = 0\n",
      "f:2: error: config_version must be from 1 to 1000000\n    config_version = 0\n             "
      "        ^\n" },
    { "[gatepost]\nconfig_version = 1.1\n", "f:2: error: config_version needs a whole number\n    "
                                            "config_version = 1.1\n                      ^\n" },
    { "[limits]\nconfig_version = 1\n",
      "f:2: error: there is no key \"config_version\" in [limits]; it belongs to [gatepost]\n    "
      "config_version = 1\n    ^\n" },
    /* all in one run */
    { "[gatepost]\nusr = a\nworkers = many\n[listn pop3]\nport = 1\n[limits]\nline_timeout = "
      "60\n[listen x]\nport = 110\nbackend = no\n",
      "f:2: error: there is no key \"usr\" in [gatepost]; did you mean \"user\"?\n    usr = a\n    "
      "^\n"
      "f:3: error: workers needs a whole number\n    workers = many\n              ^\n"
      "f:4: error: there is no section [listn]; did you mean \"listen\"?\n    [listn pop3]\n     "
      "^\n"
      "f:7: error: the unit is missing: ms, s, min, h or d\n    line_timeout = 60\n                "
      "     ^\n"
      "f:9: error: [listen pop3] and [listen x] both open port 110 on 0.0.0.0\n    port = 110\n    "
      "       ^\n"
      "f:10: error: there is no section [backend no]\n    backend = no\n              ^\n" },
};

static void a_bad_file_is_refused_with_all_its_mistakes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad_files); i++) {
        char *words;
        struct settings *settings = load(bad_files[i].text, &words);

        if (settings || strcmp(words, bad_files[i].words) != 0)
            fail_msg("%s\n%s, printed\n%s", bad_files[i].text, settings ? "loads" : "is refused",
                     words);
        free(words);
    }
}

/* What to read about it, in the order of the lines. */
static const struct topic_row {
    const char *text;
    const char *topics;
} topic_rows[] = {
    { "[lissten x]\n", "Format;" },
    { "[listen]\n", "[listen NAME];" },
    { "[gatepost main]\n", "[gatepost];" },
    { "[limits]\n[limits]\n", "Format;" },
    { "[limits]\nmax_errors = 1\nmax_errors = 2\n", "Format;" },
    { "[limits]\nx_a = 1\n", "Format;" },
    { "[limits]\ntls = off\n", "[listen NAME] tls;" },
    { "[limits]\nread_size 1\n", "Format;" },
    { "[listen pop3]\ndetect_wiat = 1s\n", "[listen NAME] detect_wait;" },
    { "[listen pop3]\nelephant = 1\n", "[listen NAME];" },
    { "[listen pop3]\nmax_errors = 1\nread_size = 1\n", "[limits] max_errors;[limits] read_size;" },
    { "[tls default]\nmin_version = 1\n", "[tls NAME] min_version;" },
    { "[mailstore]\ndomains = a b\n", "[mailstore] domains;" },
    { "[gatepost]\nbind = a,\n  b\n", "[gatepost] bind;" },
    { "[listen x]\nbackend = smtp\n", "[listen NAME] port;" },
    { "[backend smtp]\naddress = x\n",
      "[backend NAME] address;[tls NAME] certificate;[listen NAME] require_tls;" },
};

static void append_topics(const char *printed, char into[256])
{
    *into = '\0';
    while ((printed = strstr(printed, TOPIC_LINE))) {
        printed += strlen(TOPIC_LINE);
        strncat(into, printed, strcspn(printed, "\n"));
        strcat(into, ";");
    }
}

static void what_is_wrong_names_what_to_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(topic_rows); i++) {
        struct diagnostics diagnostics;
        struct settings *settings = NULL;
        char *printed, topics[256];
        size_t size;
        FILE *out = open_memstream(&printed, &size);

        diagnostics_init(&diagnostics);
        settings_load_text(topic_rows[i].text, strlen(topic_rows[i].text), "f", &diagnostics,
                           &settings);
        diagnostics_print(&diagnostics, out);
        fclose(out);
        append_topics(printed, topics);
        if (strcmp(topics, topic_rows[i].topics) != 0)
            fail_msg("%s: %s", topic_rows[i].text, topics);
        free(printed);
        settings_free(settings);
        diagnostics_deinit(&diagnostics);
    }
}

/* Files that load, and the warnings they get. */
static const struct words_row odd_files[] = {
    { "", "" },
    { "[backend smtp]\naddress = unix:/s\n[listen smtp]\nenabled = no\n[listen smtp-alt]\nenabled "
      "= no\n[listen submission]\nenabled = no\n",
      "f:1: warning: [backend smtp] stands behind no port\n    [backend smtp]\n     ^\n" },
    { QUIET "[backend smtp]\naddress = unix:/s\n", "" },
    { QUIET "[backend remote]\naddress = embedded\n", "" },
    { QUIET
      "[backend pop3]\naddress = embedded\n[listen remote]\nbackend = pop3\nprotocol = opaque\n",
      "" },
    { QUIET "[backend smtp]\naddress = embedded\n[backend pop3]\naddress = embedded\n[backend "
            "remote]\naddress = unix:/r\n",
      "" },
    { CERTIFICATE "[backend smtp]\naddress = unix:/s\n[backend pop3]\naddress = unix:/p\n",
      "warning: passwords may be sent without TLS (listen pop3, smtp, smtp-alt, submission); "
      "require_tls = auth ends it\n" },
    { "[backend pop3]\naddress = unix:/p\n[listen pop3s]\nenabled = no\n[backend remote]\naddress "
      "= unix:/r\n",
      "warning: TLS is not offered (listen pop3, remote): [tls default] has no "
      "certificate\nwarning: passwords may be sent without TLS (listen pop3); require_tls = auth "
      "ends it\n" },
    { QUIET "[backend smtp]\naddress = unix:/s\n[gatepost]\nuser = root\n",
      "f:15: warning: user = root lets the workers that face the network keep all privileges\n    "
      "user = root\n           ^\n" },
    { QUIET "[backend smtp]\naddress = embedded\n[gatepost]\nuser = m\nmail_user = m\n",
      "f:16: warning: user and mail_user are the same: the workers that face the network can read "
      "all mail\n    mail_user = m\n                ^\n" },
    { QUIET "[backend smtp]\naddress = unix:/s\n[gatepost]\nuser = m\nmail_user = m\n", "" },
    { QUIET "[backend smtp]\naddress = unix:/s\n[backend spare]\naddress = unix:/t\n",
      "f:14: warning: [backend spare] stands behind no port\n    [backend spare]\n     ^\n" },
    { CERTIFICATE "[backend smtp]\naddress = unix:/s\n[listen smtp]\nrequire_tls = yes\n[listen "
                  "smtp-alt]\nrequire_tls = yes\n[listen submission]\nrequire_tls = yes\n",
      "f:7: warning: [listen smtp] requires TLS on port 25: mail from servers without TLS is lost "
      "(RFC 3207, section 4); require_tls = auth protects the passwords alone\n    require_tls = "
      "yes\n                  ^\n" },
    { "[gatepost]\nx-note = \"what you like\" # or not; really\n  and more\n[listen pop3]\nx- = "
      "1\nx- = 1\n",
      "" },
    { "[listen pop3]\nenabled = no\n[listen a]\nport = 110\nprotocol = pop3\nbackend = pop3\n",
      "" },
    { "[listen pop3]\nbind = 127.0.0.1\n[listen a]\nport = 110\nprotocol = pop3\nbackend = "
      "pop3\nbind = ::1, 127.0.0.2\n",
      "" },
};

static void an_odd_file_loads_with_warnings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(odd_files); i++) {
        char *words;
        struct settings *settings = load(odd_files[i].text, &words);

        if (!settings || strcmp(words, odd_files[i].words) != 0)
            fail_msg("%s\n%s, printed\n%s", odd_files[i].text, settings ? "loads" : "is refused",
                     words);
        free(words);
        settings_free(settings);
    }
}

/* Files and a line that settings_print() makes of them. */
static const struct words_row values[] = {
    { "[gatepost]\nhostname = mail.example.org\n", "\nhostname = mail.example.org\n" },
    { "[gatepost]\nhostname = mail.example.org ; a comment\n", "\nhostname = mail.example.org\n" },
    { "[gatepost]\nhostname = mail.example.org\n", "\ndomains = mail.example.org\n" },
    { "[mailstore]\ndomains = a.example,b.example ,\n\n  c.example ; d.example\n",
      "\ndomains = a.example, b.example, c.example\n" },
    { "[gatepost]\ngroups = a,\n", "\ngroups = a\n" },
    { "[gatepost]\ngroups =\n a,\n b\n", "\ngroups = a, b\n" },
    { "[gatepost]\ngroups =\n", "\ngroups =\n" },
    { "[gatepost]\nworkers = 007\n", "\nworkers = 7\n" },
    { "[gatepost]\nworkers = 64\n", "\nworkers = 64\n" },
    { "[gatepost]\ndrain_timeout = 0s\n", "\ndrain_timeout = 0ms\n" },
    { "[gatepost]\ndrain_timeout = 24 h\n", "\ndrain_timeout = 1d\n" },
    { "[gatepost]\ndrain_timeout = 90s\n", "\ndrain_timeout = 90s\n" },
    { "[gatepost]\ndrain_timeout = 120s\n", "\ndrain_timeout = 2min\n" },
    { "[gatepost]\ndrain_timeout = 86400000ms\n", "\ndrain_timeout = 1d\n" },
    { "[limits]\nread_size = 65536B\n", "\nread_size = 64KiB\n" },
    { "[limits]\nread_size = 1B\n", "\nread_size = 1B\n" },
    { "[limits]\nread_size = 1\n", "\nread_size = 1B\n" },
    { "[limits]\nread_size = 1024 ; octets\n", "\nread_size = 1KiB\n" },
    { "[mailstore]\nmessage_size_limit = 4GiB\n", "\nmessage_size_limit = 4GiB\n" },
    { "[gatepost]\nlog_level = debug\n", "\nlog_level = debug\n" },
    { "[listen pop3]\nrequire_tls = auth\n", "\nrequire_tls = auth\n" },
    { "[backend smtp]\nbare_newline = pass\n", "\nbare_newline = pass\n" },
    { "[backend smtp]\naddress = unix:/a,b.example:25\n", "\naddress = unix:/a, b.example:25\n" },
    { "[ listen   pop3 ]\nport = 1110\n", "\n[listen pop3]\nenabled = yes\nport = 1110\n" },
    { "[mailstore]\nrelay = mta.example:25\n", "\nrelay = mta.example:25\n" },
    { "[mailstore]\nrelay = [::1]:25\n", "\nrelay = [::1]:25\n" },
    { "[mailstore]\nrelay = unix:/run/mta\n", "\nrelay = unix:/run/mta\n" },
    { CERTIFICATE "min_version = 1.3\n",
      "\n[tls default]\ncertificate = /c\nkey = /k\ndirectory =\nnames =\nmin_version = 1.3\n" },
    { "[tls b]\ncertificate = /b\nkey = /k\n" CERTIFICATE,
      "\n[tls default]\ncertificate = /c\nkey = /k\ndirectory =\nnames =\nmin_version = "
      "1.2\n\n[tls "
      "b]\ncertificate = /b\n" },
    { CERTIFICATE "[backend smtp]\naddress = embedded\n",
      "\n[backend smtp]\naddress = embedded\npolicy = failover\nmax_connections = 0\nidentity = "
      "proxy-v2\n" },
};

/* What is printed loads again and is printed the same. */
static void assert_round_trip(const struct settings *settings, const char *text)
{
    char *words, *first = print(settings), *second;
    struct settings *again = load(first, &words);

    if (!again)
        fail_msg("%s\nis printed as\n%s\nand then refused:\n%s", text, first, words);
    second = print(again);
    assert_string_equal(first, second);
    settings_free(again);
    free(words);
    free(first);
    free(second);
}

static void what_is_printed_gives_the_same_settings(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(values) + COUNT(odd_files); i++) {
        const char *text = i < COUNT(values) ? values[i].text : odd_files[i - COUNT(values)].text;
        char *words, *printed;
        struct settings *settings;

        settings = load(text, &words);
        if (!settings)
            fail_msg("%s\nis refused:\n%s", text, words);
        printed = print(settings);
        if (i < COUNT(values) && !strstr(printed, values[i].words))
            fail_msg("%s\nis printed as\n%s", text, printed);
        assert_round_trip(settings, text);
        free(printed);
        free(words);
        settings_free(settings);
    }
}

static void a_long_list_is_printed_in_lines_that_can_be_read(void **state)
{
    char text[8192] = "[mailstore]\ndomains =\n", *words;
    struct settings *settings;

    (void)state;
    for (int i = 0; i < 100; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text), "  %.*s.example%d,\n",
                 i % 60 + 1, FIFTY TEN, i);
    settings = load(text, &words);
    assert_non_null(settings);
    assert_int_equal(settings->mailstore.domains.count, 100);
    assert_round_trip(settings, text);
    free(words);
    settings_free(settings);
}

/* Items that begin with a bracket, or hold an =, may come to stand at the start of a line. */
static void a_long_list_of_servers_is_printed_in_lines_that_can_be_read(void **state)
{
    char text[8192], *words;

    (void)state;
    for (int width = 0; width < 60; width++) {
        struct settings *settings;

        snprintf(text, sizeof(text),
                 CERTIFICATE "[backend smtp]\naddress = unix:/%.*s=x, [2001:db8::1]:25,\n  "
                             "unix:/%.*s=y, [2001:db8::2]:25\n",
                 width + 1, FIFTY TEN, width + 1, FIFTY TEN);
        settings = load(text, &words);
        assert_non_null(settings);
        assert_int_equal(settings_backend(settings, "smtp")->address.count, 4);
        assert_round_trip(settings, text);
        free(words);
        settings_free(settings);
    }
}

static char *read_file(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    size_t size;

    assert_non_null(file);
    size = fread(text, 1, sizeof(text) - 1, file);
    text[size] = '\0';
    fclose(file);
    return text;
}

static void the_sample_equals_the_built_in_defaults(void **state)
{
    char *words, *sample_printed, *empty_printed;
    struct settings *sample = load(read_file(CONF_FOLDER "/gatepost.ini"), &words), *empty;

    (void)state;
    assert_string_equal(words, "");
    free(words);
    empty = load("", &words);
    sample_printed = print(sample);
    empty_printed = print(empty);
    assert_string_equal(sample_printed, empty_printed);
    free(sample_printed);
    free(empty_printed);
    free(words);
    settings_free(sample);
    settings_free(empty);
}

static const char *const all_keys[][2] = {
#define GATEPOST_KEY(key, ...)  { "[gatepost]", #key },
#define TLS_KEY(key, ...)       { "[tls default]", #key },
#define LISTEN_KEY(key, ...)    { "[listen ", #key },
#define BACKEND_KEY(key, ...)   { "[backend ", #key },
#define LIMITS_KEY(key, ...)    { "[limits]", #key },
#define MAILSTORE_KEY(key, ...) { "[mailstore]", #key },
#include "conf/settings.def"
};

/* Does a section that begins with `section` hold a line "key =" that is no comment? */
static bool has_line(const char *text, const char *section, const char *key)
{
    char line[300];
    bool inside = false;
    int size;

    for (; sscanf(text, "%299[^\n]%n", line, &size) >= 0;
         text += size + strspn(text + size, "\n")) {
        if (line[0] == '[')
            inside = strncmp(line, section, strlen(section)) == 0;
        if (inside && strncmp(line, key, strlen(key)) == 0 &&
            strncmp(line + strlen(key), " =", 2) == 0)
            return true;
    }
    return false;
}

static void the_sample_shows_every_key(void **state)
{
    const char *text = read_file(CONF_FOLDER "/gatepost.ini");

    (void)state;
    for (size_t i = 0; i < COUNT(all_keys); i++)
        if (!has_line(text, all_keys[i][0], all_keys[i][1]))
            fail_msg("%s: no line %s =", all_keys[i][0], all_keys[i][1]);
}

static void defaults_that_depend_on_the_host_are_filled_in(void **state)
{
    char *words;
    struct settings *settings = load("", &words);

    (void)state;
    assert_true(strlen(settings->gatepost.hostname) > 0);
    assert_int_equal(settings->mailstore.domains.count, 1);
    assert_string_equal(settings->mailstore.domains.items[0], settings->gatepost.hostname);
    assert_int_equal(settings->gatepost.workers, 0);
    assert_int_equal(settings->gatepost.bind.count, 2);
    assert_int_equal(settings->tls_count, 0);
    assert_null(settings_tls(settings, "default"));
    free(words);
    settings_free(settings);
}

static void a_port_is_opened_only_where_its_backend_has_an_address(void **state)
{
    char *words;
    struct settings *settings =
        load(CERTIFICATE "[gatepost]\nport_offset = 20000\n[backend pop3]\naddress = embedded\n"
                         "[listen pop3]\nenabled = no\n",
             &words);

    (void)state;
    assert_non_null(settings);
    for (size_t i = 0; i < settings->listen_count; i++)
        assert_int_equal(settings_listen_open(settings, &settings->listens[i]), i == 1); /* pop3s */
    assert_int_equal(settings_listen_port(settings, &settings->listens[1]), 20995);
    assert_true(settings_backend_embedded(settings_backend(settings, "pop3")));
    assert_false(settings_backend_embedded(settings_backend(settings, "smtp")));
    assert_null(settings_backend(settings, "pop"));
    assert_string_equal(settings_tls(settings, "default")->certificate.items[0], "/c");
    free(words);
    settings_free(settings);
}

/* A folder with files, for what is loaded by path. */
struct folder {
    char path[64];
    char file[96];
};

static void write_file(const struct folder *folder, const char *name, const char *text)
{
    char path[160];
    FILE *file;

    snprintf(path, sizeof(path), "%s/%s", folder->path, name);
    file = fopen(path, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void folder_init(struct folder *folder)
{
    char path[96];

    strcpy(folder->path, "/tmp/test_settings.XXXXXX");
    assert_non_null(mkdtemp(folder->path));
    snprintf(folder->file, sizeof(folder->file), "%s/gatepost.ini", folder->path);
    snprintf(path, sizeof(path), "%s/conf.d", folder->path);
    assert_int_equal(mkdir(path, 0700), 0);
}

static void folder_deinit(const struct folder *folder)
{
    char command[96];

    snprintf(command, sizeof(command), "rm -r %s", folder->path);
    assert_int_equal(system(command), 0);
}

/* Loads the folder's main file; what is printed has the folder's path cut off. */
static struct settings *load_folder(const struct folder *folder, char **ret_words)
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;
    size_t size, prefix = strlen(folder->path) + 1;
    FILE *out = open_memstream(ret_words, &size);
    int result;

    diagnostics_init(&diagnostics);
    result = settings_load_file(folder->file, &diagnostics, &settings);
    diagnostics_print(&diagnostics, out);
    fclose(out);
    topics_drop(*ret_words);
    diagnostics_deinit(&diagnostics);
    assert_int_equal(result, settings ? 0 : -EINVAL);
    for (char *at = *ret_words; (at = strstr(at, folder->path));)
        memmove(at, at + prefix, strlen(at + prefix) + 1);
    return settings;
}

static void files_of_conf_d_override_key_by_key_in_alphabetical_order(void **state)
{
    struct folder folder;
    struct settings *settings;
    char *words;

    (void)state;
    folder_init(&folder);
    write_file(&folder, "gatepost.ini",
               "[gatepost]\nuser = a\ngroups = a, b\nhostname = a.example\n");
    write_file(&folder, "conf.d/20-b.ini", "[gatepost]\nuser = c\n[limits]\nmax_errors = 3\n");
    write_file(&folder, "conf.d/10-a.ini",
               "[gatepost]\nuser = b\ngroups = c\n[listen x]\nport = 1\nbackend = smtp\n");
    write_file(&folder, "conf.d/README", "[gatepost]\nuser = no\n");
    write_file(&folder, "conf.d/30.ini~", "[gatepost]\nuser = no\n");
    write_file(&folder, "conf.d/.40.ini", "[gatepost]\nuser = no\n");
    settings = load_folder(&folder, &words);
    assert_string_equal(words, "");
    assert_string_equal(settings->gatepost.user, "c");
    assert_string_equal(settings->gatepost.hostname, "a.example");
    assert_int_equal(settings->gatepost.groups.count, 1);
    assert_string_equal(settings->gatepost.groups.items[0], "c");
    assert_int_equal(settings->limits.max_errors, 3);
    assert_int_equal(settings->listen_count, 7);
    settings_free(settings);
    free(words);
    folder_deinit(&folder);
}

static void mistakes_of_all_files_are_told_in_one_run(void **state)
{
    struct folder folder;
    char *words;

    (void)state;
    folder_init(&folder);
    write_file(&folder, "gatepost.ini",
               "[gatepost]\nworkers = x\nuser = a\n[listen pop3]\nrequire_tls = yes\n");
    write_file(&folder, "conf.d/a.ini", "[gatepost]\nworkers = 1\nuser = b\nuser = c\n");
    write_file(&folder, "conf.d/b.ini", "[listen pop3]\ntls = off\n[nothing]\n");
    assert_null(load_folder(&folder, &words));
    assert_string_equal(
        words,
        "gatepost.ini:2: error: workers needs a whole number\n    workers = x\n              ^\n"
        "gatepost.ini:5: error: [listen pop3] requires TLS, but has tls = off\n    require_tls = "
        "yes\n                  ^\n"
        "conf.d/a.ini:4: error: user is already set in line 3\n    user = c\n    ^\n"
        "conf.d/b.ini:3: error: there is no section [nothing]; there are gatepost, tls, listen, "
        "backend, limits and mailstore\n    [nothing]\n     ^\n");
    free(words);
    folder_deinit(&folder);
}

static void a_file_that_cannot_be_read_is_an_error(void **state)
{
    struct folder folder;
    char *words, *big = malloc(300000);

    (void)state;
    folder_init(&folder);
    assert_null(load_folder(&folder, &words));
    assert_string_equal(words,
                        "gatepost.ini: error: cannot open the file: No such file or directory\n");
    free(words);
    assert_int_equal(mkdir(folder.file, 0700), 0);
    assert_null(load_folder(&folder, &words));
    assert_string_equal(words, "gatepost.ini: error: cannot read the file: Is a directory\n");
    free(words);
    assert_int_equal(rmdir(folder.file), 0);
    memset(big, '\n', 299999);
    big[299999] = '\0';
    write_file(&folder, "gatepost.ini", big);
    assert_null(load_folder(&folder, &words));
    assert_string_equal(words, "gatepost.ini: error: the file is larger than 256 KiB\n");
    free(words);
    free(big);
    write_file(&folder, "gatepost.ini", "");
    snprintf(folder.file, sizeof(folder.file), "%s/conf.d/x.ini", folder.path);
    assert_int_equal(symlink("/nowhere", folder.file), 0);
    snprintf(folder.file, sizeof(folder.file), "%s/gatepost.ini", folder.path);
    assert_null(load_folder(&folder, &words));
    assert_string_equal(words,
                        "conf.d/x.ini: error: cannot open the file: No such file or directory\n");
    free(words);
    folder_deinit(&folder);
}

static void a_file_without_conf_d_is_enough(void **state)
{
    struct folder folder;
    struct settings *settings;
    char *words, path[96];

    (void)state;
    folder_init(&folder);
    snprintf(path, sizeof(path), "%s/conf.d", folder.path);
    assert_int_equal(rmdir(path), 0);
    write_file(&folder, "gatepost.ini", "[gatepost]\nuser = a\n");
    settings = load_folder(&folder, &words);
    assert_string_equal(settings->gatepost.user, "a");
    settings_free(settings);
    free(words);
    write_file(&folder, "conf.d", ""); /* no folder */
    assert_null(load_folder(&folder, &words));
    assert_string_equal(words, "conf.d: error: cannot read the folder: Not a directory\n");
    free(words);
    folder_deinit(&folder);
}

#define EXPLAINED_WAIT                                                                             \
    "[listen NAME] detect_wait\n"                                                                  \
    "    How long a first octet is awaited before the greeting is sent (5s where TLS comes "       \
    "first).\n"                                                                                    \
    "    Type: a duration in ms, s, min, h or d, from 0ms to 1min. Default: 250ms.\n"
#define EXPLAINED_BIND                                                                             \
    "[gatepost] bind\n"                                                                            \
    "    Addresses of the public ports. A family that the machine lacks is a log line, no "        \
    "error.\n"                                                                                     \
    "    Type: a list, separated by commas. Default: 0.0.0.0, ::.\n"
#define EXPLAINED_LISTEN_BIND                                                                      \
    "[listen NAME] bind\n"                                                                         \
    "    Addresses of this port. Empty: those of [gatepost] bind.\n"                               \
    "    Type: a list, separated by commas. Default: empty.\n"

static const struct explain_row {
    const char *asked;
    int result;
    const char *words;
} explain_rows[] = {
    { "detect_wait", 0, EXPLAINED_WAIT },
    { "listen.detect_wait", 0, EXPLAINED_WAIT },
    { "[listen] detect_wait", 0, EXPLAINED_WAIT },
    { "[listen pop3] detect_wait", 0, EXPLAINED_WAIT },
    { " [listen NAME]  detect_wait ", 0, EXPLAINED_WAIT },
    { "bind", 0, EXPLAINED_BIND EXPLAINED_LISTEN_BIND },
    { "gatepost.bind", 0, EXPLAINED_BIND },
    { "limits.read_size", 0,
      "[limits] read_size\n    Most octets that one read takes. Small values are for tests.\n    "
      "Type: a size in B, KiB, MiB or GiB, from 1B to 64KiB. Default: 64KiB.\n" },
    { "listen.port", 0,
      "[listen NAME] port\n    TCP port; port_offset is added.\n    Type: a whole number, from 1 "
      "to 65535. Default: none.\n" },
    { "min_version", 0,
      "[tls NAME] min_version\n    Oldest TLS version that is accepted: 1.2 or 1.3. On ports with "
      "tls_profile = legacy, 1.2 stands for 1.0.\n    Type: 1.2 "
      "or 1.3. Default: 1.2.\n" },
    { "policy", 0,
      "[backend NAME] policy\n    Which of several addresses: failover (the first in service), "
      "round-robin, hash-user or hash-client.\n    Type: failover, round-robin, hash-user or "
      "hash-client. Default: failover.\n" },
    { "[backend smtp] tls", 0,
      "[backend NAME] tls\n    TLS to the server: off, starttls (STARTTLS or STLS) or implicit.\n  "
      " "
      " Type: off, starttls or implicit. Default: off.\n" },
    { "gatepost.resolve_interval", 0,
      "[gatepost] resolve_interval\n    How often the host names of servers are looked up again.\n "
      "   Type: a duration in ms, s, min, h or d, from 1s to 1d. Default: 60s.\n" },
    { "route_backend", -ENOENT,
      "There is no key \"route_backend\". Did you mean \"listen.route_backends\"?\n" },
    { "detect_wiat", -ENOENT,
      "There is no key \"detect_wiat\". Did you mean \"listen.detect_wait\"?\n" },
    { "limits.detect_wait", -ENOENT,
      "There is no key \"detect_wait\". Did you mean \"listen.detect_wait\"?\n" },
    { "limits.max_error", -ENOENT,
      "There is no key \"max_error\". Did you mean \"limits.max_errors\"?\n" },
    { "limits.max_session", -ENOENT,
      "There is no key \"max_session\". Did you mean \"limits.max_sessions\"?\n" },
    { "mailstore.max_session", -ENOENT,
      "There is no key \"max_session\". Did you mean \"mailstore.max_sessions\"?\n" },
    { "elephant", -ENOENT, "There is no key \"elephant\".\n" },
    { "", -ENOENT, "There is no key \"\".\n" },
    { TEN TEN TEN TEN TEN TEN TEN TEN "." TEN TEN TEN TEN TEN TEN TEN TEN, -ENOENT,
      "There is no key \"" TEN TEN TEN TEN TEN TEN "xxx\".\n" },
};

static char *explain(const char *asked, int result)
{
    char *words;
    size_t size;
    FILE *out = open_memstream(&words, &size);

    assert_int_equal(settings_explain(asked, out), result);
    fclose(out);
    return words;
}

static void a_key_is_explained_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(explain_rows); i++) {
        char *words = explain(explain_rows[i].asked, explain_rows[i].result);

        if (strcmp(words, explain_rows[i].words) != 0)
            fail_msg("%s: printed\n%s", explain_rows[i].asked, words);
        free(words);
    }
}

static void a_section_is_explained_with_all_its_keys(void **state)
{
    static const char *const asked[] = { "listen", "[listen]", "[listen smtp]" };

    (void)state;
    for (size_t i = 0; i < COUNT(asked); i++) {
        char *words = explain(asked[i], 0), heading[64];

        for (size_t j = 0; j < COUNT(all_keys); j++) {
            snprintf(heading, sizeof(heading), "[listen NAME] %s\n", all_keys[j][1]);
            if (strcmp(all_keys[j][0], "[listen ") == 0 && !strstr(words, heading))
                fail_msg("%s: %s is missing", asked[i], all_keys[j][1]);
        }
        assert_null(strstr(words, "[gatepost]\n"));
        free(words);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bad_file_is_refused_with_all_its_mistakes),
        cmocka_unit_test(what_is_wrong_names_what_to_read),
        cmocka_unit_test(an_odd_file_loads_with_warnings),
        cmocka_unit_test(what_is_printed_gives_the_same_settings),
        cmocka_unit_test(a_long_list_is_printed_in_lines_that_can_be_read),
        cmocka_unit_test(a_long_list_of_servers_is_printed_in_lines_that_can_be_read),
        cmocka_unit_test(the_sample_equals_the_built_in_defaults),
        cmocka_unit_test(the_sample_shows_every_key),
        cmocka_unit_test(defaults_that_depend_on_the_host_are_filled_in),
        cmocka_unit_test(a_port_is_opened_only_where_its_backend_has_an_address),
        cmocka_unit_test(files_of_conf_d_override_key_by_key_in_alphabetical_order),
        cmocka_unit_test(mistakes_of_all_files_are_told_in_one_run),
        cmocka_unit_test(a_file_that_cannot_be_read_is_an_error),
        cmocka_unit_test(a_file_without_conf_d_is_enough),
        cmocka_unit_test(a_key_is_explained_in_words),
        cmocka_unit_test(a_section_is_explained_with_all_its_keys),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

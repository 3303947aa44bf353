/* Tests of conf/settings_check_tls.c, and of what is said about [tls] sections: for whom a port is,
 * how old their TLS may be, and which files hold certificates. */
#include "tests/unit/conf/settings_words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

#define PORT                                                                                       \
    "[backend pop3]\naddress = unix:/p\n[listen x]\nport = 1110\nprotocol = pop3\nrequire_tls = "  \
    "auth\nbackend = pop3\n"
#define LEGACY PORT "tls_profile = legacy\n"
#define FORM(item)                                                                                 \
    "error: from: " item " is no address or network such as 192.0.2.1, 10.0.0.0/8 or "             \
    "fd00:1::/32 < from = " item "\n"
#define PUBLIC(item, line)                                                                         \
    "error: from: " item " is no private network (RFC 1918, RFC 4193, loopback or link-local), "   \
    "and tls_profile = legacy is for those only < from = " line "\n"

static const struct words_row rows[] = {
    /* from */
    { "addresses and networks", PORT "from = 192.0.2.7, 2001:db8::/32, 10.0.0.0/8, 0.0.0.0/0\n",
      "" },
    { "an opaque port", "[backend remote]\naddress = unix:/r\n[listen remote]\nfrom = 10.0.0.1\n",
      "" },
    { "a name", PORT "from = printer.example.org\n", FORM("printer.example.org") },
    { "an address with a port", PORT "from = 10.0.0.1:25\n", FORM("10.0.0.1:25") },
    { "a range", PORT "from = 10.0.0.1-10.0.0.9\n", FORM("10.0.0.1-10.0.0.9") },
    { "a prefix that is too long", PORT "from = 10.0.0.0/33\n", FORM("10.0.0.0/33") },
    { "half an address", PORT "from = 10.0.0/8\n", FORM("10.0.0/8") },
    { "a word", PORT "from = private\n", FORM("private") },
    { "bits behind the prefix", PORT "from = 10.0.0.0/8, 10.1.2.3/16\n",
      "error: from: 10.1.2.3/16 has bits set behind its prefix: the network is 10.1.0.0/16 < from "
      "= 10.0.0.0/8, 10.1.2.3/16\n" },
    { "a port that is not opened", PORT "enabled = no\nfrom = nonsense\ntls_profile = legacy\n",
      "" },
    /* tls_profile */
    { "compatible for everybody", PORT "tls_profile = compatible\n", "" },
    { "default, written out", PORT "tls_profile = default\nfrom = 192.0.2.0/24\n", "" },
    { "legacy for private networks",
      LEGACY "from = 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16,\n  fc00::/7, fd00:1::/32, ::1, "
             "127.0.0.1, 127.0.0.0/8,\n  169.254.0.0/16, fe80::/10, 10.1.2.3\n",
      "" },
    { "legacy on an opaque port",
      "[backend remote]\naddress = unix:/r\n[listen remote]\ntls_profile = legacy\nfrom = "
      "10.0.0.1\n",
      "" },
    { "no profile", PORT "tls_profile = modern\n",
      "error: tls_profile must be default, compatible or legacy < tls_profile = modern\n" },
    { "a misspelt profile", PORT "tls_profile = legcy\n",
      "error: tls_profile must be default, compatible or legacy; did you mean \"legacy\"? < "
      "tls_profile = legcy\n" },
    { "an empty profile", PORT "tls_profile =\n",
      "error: tls_profile must be default, compatible or legacy < tls_profile =\n" },
    { "a profile in [tls]", "[tls b]\ncertificate = /c\nkey = /k\nprofile = legacy\n",
      "error: there is no key \"profile\" in [tls] < profile = legacy\n" },
    { "legacy for everybody", LEGACY,
      "error: [listen x] tls_profile = legacy needs from: the private networks of the programs "
      "that it is for < tls_profile = legacy\n" },
    { "legacy for nobody in words", LEGACY "from =\n",
      "error: [listen x] tls_profile = legacy needs from: the private networks of the programs "
      "that it is for < tls_profile = legacy\n" },
    { "legacy for a public network", LEGACY "from = 192.0.2.0/24\n",
      PUBLIC("192.0.2.0/24", "192.0.2.0/24") },
    { "legacy for a public network too", LEGACY "from = 10.0.0.0/8, 2001:db8::/32\n",
      PUBLIC("2001:db8::/32", "10.0.0.0/8, 2001:db8::/32") },
    { "legacy for more than the private network", LEGACY "from = 172.0.0.0/11, fc00::/6\n",
      PUBLIC("172.0.0.0/11", "172.0.0.0/11, fc00::/6")
          PUBLIC("fc00::/6", "172.0.0.0/11, fc00::/6") },
    { "legacy for all of IPv4", LEGACY "from = 0.0.0.0/0\n", PUBLIC("0.0.0.0/0", "0.0.0.0/0") },
    { "legacy for all of IPv6", LEGACY "from = ::/0\n", PUBLIC("::/0", "::/0") },
    { "legacy for what is no network is told once", LEGACY "from = 10.0.0\n", FORM("10.0.0") },
    { "legacy without TLS",
      "[backend pop3]\naddress = unix:/p\n[listen x]\nport = 1110\nprotocol = pop3\ntls = "
      "off\nbackend = pop3\ntls_profile = legacy\nfrom = ::1\n",
      "error: [listen x] has tls = off: tls_profile has no meaning < tls_profile = legacy\n"
      "warning: passwords may be sent without TLS (listen x); require_tls = auth ends it\n" },
    /* certificates */
    { "two certificates",
      PORT "[tls b]\ncertificate = /r.pem, /e.pem\nkey = /r.key,\n  /e.key\nnames = b.example\n",
      "" },
    { "a directory", PORT "[tls b]\ndirectory = /etc/letsencrypt/live\n", "" },
    { "a directory of 1.3", PORT "[tls b]\ndirectory = /d\nmin_version = 1.3\n", "" },
    { "a key too few", PORT "[tls b]\ncertificate = /r.pem, /e.pem\nkey = /k\n",
      "error: [tls b] needs as many keys as certificates, in the same order: there are 1 and 2 < "
      "key = /k\n" },
    { "a key too many", PORT "[tls b]\ncertificate = /c\nkey = /k, /l\n",
      "error: [tls b] needs as many keys as certificates, in the same order: there are 2 and 1 < "
      "key = /k, /l\n" },
    { "a certificate that is no path", PORT "[tls b]\ncertificate = /r.pem, e.pem\nkey = /r, /e\n",
      "error: certificate needs an absolute path: one that begins with / < certificate = /r.pem, "
      "e.pem\n" },
    { "a key that is no path", PORT "[tls b]\ncertificate = /r.pem\nkey = r\n",
      "error: key needs an absolute path: one that begins with / < key = r\n" },
    { "a directory that is no path", PORT "[tls b]\ndirectory = live\n",
      "error: [tls b] has neither certificate and key nor a directory < [tls b]\n"
      "error: directory needs an absolute path: one that begins with / < directory = live\n" },
    { "several directories", PORT "[tls b]\ndirectory = /a, /b\n",
      "" }, /* a path may hold commas */
    { "a directory and a certificate", PORT "[tls b]\ndirectory = /d\ncertificate = /c\nkey = /k\n",
      "error: [tls b] has a directory: certificate and key belong to another section < directory "
      "= /d\n" },
    { "a directory and a key", PORT "[tls b]\ndirectory = /d\nkey = /k\n",
      "error: [tls b] has a directory: certificate and key belong to another section < directory "
      "= /d\n"
      "error: [tls b] has a key but no certificate < key = /k\n" },
    { "a directory with names", PORT "[tls b]\ndirectory = /d\nnames = b.example\n",
      "error: [tls b] has a directory: its names are those in the certificates < names = "
      "b.example\n" },
    { "nothing", PORT "[tls b]\n",
      "error: [tls b] has neither certificate and key nor a directory < [tls b]\n" },
};

static void profiles_networks_and_certificates_are_judged_in_words(void **state)
{
    bool good = true;

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        good &= words_row_holds(&rows[i]);
    assert_true(good);
}

/* [tls default] is a part of WORDS_QUIET, so these stand alone. */
static void the_default_section_has_one_certificate_and_no_old_versions_where_it_has_1_3(
    void **state)
{
    static const char port[] = "[backend pop3]\naddress = unix:/p\n[listen pop3]\nrequire_tls = "
                               "auth\nfrom = ::1\ntls_profile = %s\n";
    static const struct {
        const char *tls, *profile, *words;
    } table[] = {
        { "certificate = /c\nkey = /k\nmin_version = 1.3\n", "default", "" },
        { "certificate = /c\nkey = /k\nmin_version = 1.2\n", "legacy", "" },
        { "certificate = /c\nkey = /k\n", "compatible", "" },
        { "certificate = /c\nkey = /k\nmin_version = 1.3\n", "compatible",
          "error: [listen pop3] tls_profile = compatible adds what is older than TLS 1.3, and [tls "
          "default] has min_version = 1.3 < tls_profile = compatible\n" },
        { "certificate = /c\nkey = /k\nmin_version = 1.3\n", "legacy",
          "error: [listen pop3] tls_profile = legacy adds what is older than TLS 1.3, and [tls "
          "default] has min_version = 1.3 < tls_profile = legacy\n" },
        { "certificate = /c\nkey = /k\nmin_version = 1.0\n", "default",
          "error: min_version must be 1.2 or 1.3; did you mean \"1.2\"? < min_version = 1.0\n" },
        { "directory = /d\ncertificate = /c\nkey = /k\n", "default",
          "error: [tls default] is for clients that send no server name: it needs certificate and "
          "key; a directory has its own section, such as [tls sites] < directory = /d\n" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(table); i++) {
        char text[1024], words[WORDS_MAX];
        size_t size = (size_t)snprintf(text, sizeof(text), "[tls default]\n%s", table[i].tls);
        struct settings *settings;

        snprintf(text + size, sizeof(text) - size, port, table[i].profile);
        settings = words_load(text, words);
        assert_string_equal(words, table[i].words);
        assert_int_equal(settings != NULL, *table[i].words == '\0');
        settings_free(settings);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(profiles_networks_and_certificates_are_judged_in_words),
        cmocka_unit_test(
            the_default_section_has_one_certificate_and_no_old_versions_where_it_has_1_3),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

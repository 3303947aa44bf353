/* Profiles: the table against OpenSSL's own, handshakes of clients that are held to old versions,
 * ciphers and signatures, the words for those who are refused, and tickets across profiles. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "proxy/tls_profile.h"
#include "tests/lib/tls_handshake.h"

#define ALL_KINDS  UINT32_MAX
#define DEFAULT    TLS_PROFILE_DEFAULT
#define COMPATIBLE TLS_PROFILE_COMPATIBLE
#define LEGACY     TLS_PROFILE_LEGACY

static struct pem_pair ecdsa, rsa;
static struct ticket_keys keys;

/* --- the table --- */

static bool offers(SSL_CTX *ssl_ctx, unsigned id)
{
    STACK_OF(SSL_CIPHER) *ciphers = SSL_CTX_get_ciphers(ssl_ctx);

    for (int i = 0; i < sk_SSL_CIPHER_num(ciphers); i++)
        if ((SSL_CIPHER_get_id(sk_SSL_CIPHER_value(ciphers, i)) & 0xffff) == id)
            return true;
    return false;
}

/* Also: the ids of the table are those of its names, and no name is unknown to OpenSSL. */
static void what_a_profile_is_said_to_serve_is_what_openssl_is_told_to_serve(void **state)
{
    static const int counts[] = { 9, 17, 23 };

    (void)state;
    for (int profile = 0; profile < TLS_PROFILE_COUNT; profile++) {
        SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_server_method());
        int count = 0;

        assert_true(tls_profile_apply(ssl_ctx, (enum tls_profile)profile, TLS_VERSION_1_2));
        for (unsigned id = 0; id <= 0xffff; id++) {
            unsigned version = id >> 8 == 0x13 ? TLS1_3_VERSION : TLS1_2_VERSION;
            bool served = tls_profile_serving(id, version, ALL_KINDS) & 1U << profile;

            count += served;
            if (served != offers(ssl_ctx, id))
                fail_msg("%s and suite %04x", tls_profile_name((enum tls_profile)profile), id);
        }
        assert_int_equal(count, counts[profile]);
        SSL_CTX_free(ssl_ctx);
    }
}

static void a_suite_serves_where_version_and_kind_of_key_fit(void **state)
{
    static const struct {
        const char *name;
        unsigned id, version, kinds, serving; /* 1: default, 2: compatible, 4: legacy */
    } rows[] = {
        { "TLS 1.3 with any key", 0x1301, TLS1_3_VERSION, TLS_KIND_RSA, 7 },
        { "a suite of TLS 1.3 in TLS 1.2", 0x1301, TLS1_2_VERSION, ALL_KINDS, 0 },
        { "a suite of TLS 1.2 in TLS 1.3", 0xc02b, TLS1_3_VERSION, ALL_KINDS, 0 },
        { "a suite of TLS 1.2 in a version to come", 0xc02b, 0x0305, ALL_KINDS, 0 },
        { "a suite of TLS 1.3 in a version to come", 0x1302, 0x0305, ALL_KINDS, 7 },
        { "ECDHE-ECDSA-AES128-GCM-SHA256", 0xc02b, TLS1_2_VERSION, TLS_KIND_ECDSA, 7 },
        { "the same with Ed25519", 0xc02b, TLS1_2_VERSION, TLS_KIND_ED25519, 7 },
        { "the same with RSA alone", 0xc02b, TLS1_2_VERSION, TLS_KIND_RSA, 0 },
        { "the same in TLS 1.1", 0xc02b, TLS1_1_VERSION, TLS_KIND_ECDSA, 0 },
        { "ECDHE-RSA-AES128-GCM-SHA256 with RSA-PSS", 0xc02f, TLS1_2_VERSION, TLS_KIND_RSA_PSS, 7 },
        { "ECDHE-RSA-AES128-SHA", 0xc013, TLS1_2_VERSION, TLS_KIND_RSA, 6 },
        { "the same in TLS 1.1", 0xc013, TLS1_1_VERSION, TLS_KIND_RSA, 4 },
        { "the same in TLS 1.0", 0xc013, TLS1_VERSION, TLS_KIND_RSA, 4 },
        { "the same in SSL 3.0", 0xc013, SSL3_VERSION, TLS_KIND_RSA, 0 },
        { "ECDHE-RSA-AES128-SHA256 in TLS 1.1", 0xc027, TLS1_1_VERSION, TLS_KIND_RSA, 0 },
        { "AES128-SHA in TLS 1.2", 0x002f, TLS1_2_VERSION, TLS_KIND_RSA, 4 },
        { "AES128-SHA in TLS 1.0", 0x002f, TLS1_VERSION, TLS_KIND_RSA, 4 },
        { "AES128-SHA with a key that cannot decrypt", 0x002f, TLS1_VERSION, TLS_KIND_RSA_PSS, 0 },
        { "AES128-SHA with ECDSA", 0x002f, TLS1_VERSION, TLS_KIND_ECDSA, 0 },
        { "AES128-SHA in SSL 3.0", 0x002f, SSL3_VERSION, TLS_KIND_RSA, 0 },
        { "DHE-RSA-AES128-SHA", 0x0033, TLS1_VERSION, ALL_KINDS, 0 },
        { "DHE-RSA-AES128-GCM-SHA256", 0x009e, TLS1_2_VERSION, ALL_KINDS, 0 },
        { "DES-CBC3-SHA", 0x000a, TLS1_VERSION, ALL_KINDS, 0 },
        { "RC4-SHA", 0x0005, TLS1_VERSION, ALL_KINDS, 0 },
        { "ECDHE-RSA-NULL-SHA", 0xc010, TLS1_VERSION, ALL_KINDS, 0 },
        { "AECDH-AES128-SHA", 0xc018, TLS1_VERSION, ALL_KINDS, 0 },
        { "the signalling value of RFC 5746", 0x00ff, TLS1_VERSION, ALL_KINDS, 0 },
        { "no suite", 0x0000, TLS1_2_VERSION, ALL_KINDS, 0 },
        { "no version", 0xc02b, 0, ALL_KINDS, 0 },
        { "no key", 0xc02b, TLS1_2_VERSION, 0, 0 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        print_message("  %s\n", rows[i].name);
        assert_int_equal(tls_profile_serving(rows[i].id, rows[i].version, rows[i].kinds),
                         rows[i].serving);
    }
}

static void min_version_1_3_holds_in_every_profile(void **state)
{
    (void)state;
    for (int profile = 0; profile < TLS_PROFILE_COUNT; profile++) {
        assert_int_equal(tls_profile_min_version((enum tls_profile)profile, TLS_VERSION_1_3),
                         TLS1_3_VERSION);
        assert_int_equal(tls_profile_min_version((enum tls_profile)profile, TLS_VERSION_1_2),
                         profile == LEGACY ? TLS1_VERSION : TLS1_2_VERSION);
    }
}

/* --- handshakes --- */

struct side {
    const struct pem_pair *pair, *beside;
    enum tls_version min_version;
};

static struct tls_context *make_context(const struct side *side, enum tls_profile profile)
{
    struct tls_section section = {
        "default", side->pair, { NULL }, side->min_version, side->beside
    };
    struct tls_context *context;
    struct tls_fixture fixture;

    fixture_init(&fixture, &section, 1);
    assert_int_equal(fixture_context(&fixture, PROTOCOL_SMTP, profile, &keys, &context), 0);
    fixture_deinit(&fixture);
    return context;
}

/* NULL leaves that to OpenSSL. */
struct offer {
    int min_version, max_version;
    const char *ciphers, *signatures, *groups;
};

static SSL_CTX *make_client(const struct offer *offer)
{
    SSL_CTX *client = SSL_CTX_new(TLS_client_method());

    SSL_CTX_set_security_level(client, 0);
    assert_true(SSL_CTX_set_min_proto_version(client, offer->min_version));
    assert_true(SSL_CTX_set_max_proto_version(client, offer->max_version));
    if (offer->ciphers)
        assert_true(SSL_CTX_set_cipher_list(client, offer->ciphers));
    if (offer->signatures)
        assert_true(SSL_CTX_set1_sigalgs_list(client, offer->signatures));
    if (offer->groups)
        assert_true(SSL_CTX_set1_groups_list(client, offer->groups));
    return client;
}

#define TLS10     TLS1_VERSION, TLS1_VERSION
#define TLS11     TLS1_1_VERSION, TLS1_1_VERSION
#define TLS12     TLS1_2_VERSION, TLS1_2_VERSION
#define TLS13     TLS1_3_VERSION, TLS1_3_VERSION
#define TLS10TO12 TLS1_VERSION, TLS1_2_VERSION
#define EC                                                                                         \
    {                                                                                              \
        &ecdsa, NULL, TLS_VERSION_1_2                                                              \
    }
#define RSA                                                                                        \
    {                                                                                              \
        &rsa, NULL, TLS_VERSION_1_2                                                                \
    }
#define BOTH                                                                                       \
    {                                                                                              \
        &rsa, &ecdsa, TLS_VERSION_1_2                                                              \
    }
#define STRICT                                                                                     \
    {                                                                                              \
        &rsa, &ecdsa, TLS_VERSION_1_3                                                              \
    }
#define NEEDS(remedy) " (" remedy ")"
#define PRIVATE       " from private networks"
#define AES128_GCM    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256"
#define SIGNATURE     "no signature algorithm in common: client takes "

static const struct handshake {
    const char *name;
    enum tls_profile profile;
    struct side side;
    struct offer offer;
    const char *version, *cipher; /* agreed; NULL: refused, with these words: */
    const char *words;
} handshakes[] = {
    /* default */
    { "TLS 1.0",
      DEFAULT,
      BOTH,
      { TLS10, NULL, NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.0, min_version is 1.2" NEEDS(
          "tls_profile = legacy serves it" PRIVATE) },
    { "TLS 1.1",
      DEFAULT,
      EC,
      { TLS11, NULL, NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.1, min_version is 1.2" NEEDS(
          "tls_profile = legacy serves it" PRIVATE) },
    { "TLS 1.0 with what ECDSA cannot do",
      DEFAULT,
      EC,
      { TLS10, "AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.0, min_version is 1.2" NEEDS(
          "tls_profile = legacy and a certificate with an RSA key serve it" PRIVATE) },
    { "TLS 1.0 with nothing that anybody serves",
      DEFAULT,
      BOTH,
      { TLS10, "DHE-RSA-AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.0, min_version is 1.2 (no tls_profile serves that)" },
    { "ECDHE and CBC",
      DEFAULT,
      RSA,
      { TLS12, "ECDHE-RSA-AES128-SHA:AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with ECDHE-RSA-AES128-SHA, "
      "AES128-SHA" NEEDS("tls_profile = compatible serves it") },
    { "no forward secrecy",
      DEFAULT,
      RSA,
      { TLS12, "AES128-GCM-SHA256", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with AES128-GCM-SHA256" NEEDS(
          "tls_profile = legacy serves it" PRIVATE) },
    { "DHE",
      DEFAULT,
      RSA,
      { TLS12, "DHE-RSA-AES128-GCM-SHA256", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with DHE-RSA-AES128-GCM-SHA256 (no "
      "tls_profile serves that)" },
    { "more ciphers than are told",
      DEFAULT,
      RSA,
      { TLS12,
        "AES128-SHA:AES256-SHA:AES128-SHA256:AES256-SHA256:AES128-GCM-SHA256:"
        "AES256-GCM-SHA384:AES128-CCM:AES256-CCM",
        NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with AES128-SHA, AES256-SHA, "
      "AES128-SHA256, AES256-SHA256, AES128-GCM-SHA256, AES256-GCM-SHA384 and 2 more" NEEDS(
          "tls_profile = legacy serves it" PRIVATE) },
    { "ECDSA suites, and RSA alone here",
      DEFAULT,
      RSA,
      { TLS12, "ECDHE-ECDSA-AES128-GCM-SHA256", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with "
      "ECDHE-ECDSA-AES128-GCM-SHA256" NEEDS("a certificate with an ECDSA key serves it") },
    { "RSA suites, and ECDSA alone here",
      DEFAULT,
      EC,
      { TLS12, "ECDHE-RSA-AES128-GCM-SHA256", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with ECDHE-RSA-AES128-GCM-SHA256" NEEDS(
          "a certificate with an RSA key serves it") },
    { "RSA suites with CBC, and ECDSA alone here",
      DEFAULT,
      EC,
      { TLS12, "ECDHE-RSA-AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with ECDHE-RSA-AES128-SHA" NEEDS(
          "tls_profile = compatible and a certificate with an RSA key serve it") },
    { "a suite of each kind, the better remedy",
      DEFAULT,
      RSA,
      { TLS12, "AES128-SHA:ECDHE-ECDSA-AES128-GCM-SHA256", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with AES128-SHA, "
      "ECDHE-ECDSA-AES128-GCM-SHA256" NEEDS("a certificate with an ECDSA key serves it") },
    { "signatures with ECDSA alone, in TLS 1.2",
      DEFAULT,
      RSA,
      { TLS12, AES128_GCM, "ECDSA+SHA256", NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with "
      "ECDHE-ECDSA-AES128-GCM-SHA256" NEEDS("a certificate with an ECDSA key serves it") },
    { "signatures with RSA alone, in TLS 1.2",
      DEFAULT,
      EC,
      { TLS12, AES128_GCM, "RSA+SHA256:RSA-PSS+SHA256", NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with ECDHE-RSA-AES128-GCM-SHA256" NEEDS(
          "a certificate with an RSA key serves it") },
    { "signatures with ECDSA alone, in TLS 1.3",
      DEFAULT,
      RSA,
      { TLS13, NULL, "ECDSA+SHA256", NULL },
      NULL,
      NULL,
      SIGNATURE "none of the certificate's kind of key (a certificate with an ECDSA key serves "
                "it)" },
    { "signatures with RSA alone, in TLS 1.3",
      DEFAULT,
      EC,
      { TLS13, NULL, "RSA-PSS+SHA256", NULL },
      NULL,
      NULL,
      SIGNATURE "none of the certificate's kind of key (a certificate with an RSA key serves it)" },
    { "signatures with SHA-1 alone",
      DEFAULT,
      RSA,
      { TLS12, NULL, "RSA+SHA1", NULL },
      NULL,
      NULL,
      SIGNATURE "SHA-1 at most (tls_profile = legacy serves it" PRIVATE ")" },
    { "another group",
      DEFAULT,
      RSA,
      { TLS12, NULL, NULL, "P-521" },
      NULL,
      NULL,
      "no key exchange group in common: X25519:P-256:P-384 are served" },
    { "both kinds of certificates, signatures with RSA",
      DEFAULT,
      BOTH,
      { TLS12, NULL, "RSA+SHA256", NULL },
      "TLSv1.2",
      "ECDHE-RSA-AES128-GCM-SHA256",
      NULL },
    { "both kinds of certificates, signatures with ECDSA",
      DEFAULT,
      BOTH,
      { TLS12, NULL, "ECDSA+SHA256", NULL },
      "TLSv1.2",
      "ECDHE-ECDSA-AES128-GCM-SHA256",
      NULL },
    { "both kinds of certificates, RSA suites",
      DEFAULT,
      BOTH,
      { TLS12, "ECDHE-RSA-AES256-GCM-SHA384", NULL, NULL },
      "TLSv1.2",
      "ECDHE-RSA-AES256-GCM-SHA384",
      NULL },
    { "both kinds of certificates in TLS 1.3, signatures with RSA",
      DEFAULT,
      BOTH,
      { TLS13, NULL, "RSA-PSS+SHA256", NULL },
      "TLSv1.3",
      "TLS_AES_128_GCM_SHA256",
      NULL },
    /* min_version = 1.3 */
    { "TLS 1.2 where 1.3 is asked for",
      DEFAULT,
      STRICT,
      { TLS12, NULL, NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.2, min_version is 1.3" NEEDS(
          "[tls] min_version = 1.2 serves it") },
    { "TLS 1.2 with CBC where 1.3 is asked for",
      DEFAULT,
      STRICT,
      { TLS12, "ECDHE-RSA-AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.2, min_version is 1.3" NEEDS(
          "[tls] min_version = 1.2 and tls_profile = compatible serve it") },
    { "TLS 1.0 where 1.3 is asked for",
      DEFAULT,
      STRICT,
      { TLS10, NULL, NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.0, min_version is 1.3" NEEDS(
          "[tls] min_version = 1.2 and tls_profile = legacy serve it" PRIVATE) },
    { "TLS 1.0 where 1.3 is asked for, on a legacy port",
      LEGACY,
      STRICT,
      { TLS10, NULL, NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.0, min_version is 1.3" NEEDS(
          "[tls] min_version = 1.2 serves it" PRIVATE) },
    /* compatible */
    { "ECDHE and CBC on a compatible port",
      COMPATIBLE,
      RSA,
      { TLS12, "ECDHE-RSA-AES128-SHA", NULL, NULL },
      "TLSv1.2",
      "ECDHE-RSA-AES128-SHA",
      NULL },
    { "ECDHE and CBC with ECDSA on a compatible port",
      COMPATIBLE,
      EC,
      { TLS12, "ECDHE-ECDSA-AES256-SHA384", NULL, NULL },
      "TLSv1.2",
      "ECDHE-ECDSA-AES256-SHA384",
      NULL },
    { "a modern client on a compatible port",
      COMPATIBLE,
      RSA,
      { TLS12, "ECDHE-RSA-AES128-SHA:ECDHE-RSA-AES256-GCM-SHA384", NULL, NULL },
      "TLSv1.2",
      "ECDHE-RSA-AES256-GCM-SHA384",
      NULL },
    { "TLS 1.1 on a compatible port",
      COMPATIBLE,
      RSA,
      { TLS11, NULL, NULL, NULL },
      NULL,
      NULL,
      "client offered at most TLS 1.1, min_version is 1.2" NEEDS(
          "tls_profile = legacy serves it" PRIVATE) },
    { "no forward secrecy on a compatible port",
      COMPATIBLE,
      RSA,
      { TLS12, "AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.2 with AES128-SHA" NEEDS(
          "tls_profile = legacy serves it" PRIVATE) },
    { "signatures with SHA-1 alone on a compatible port",
      COMPATIBLE,
      RSA,
      { TLS12, NULL, "RSA+SHA1", NULL },
      NULL,
      NULL,
      SIGNATURE "SHA-1 at most (tls_profile = legacy serves it" PRIVATE ")" },
    /* legacy */
    { "TLS 1.0 on a legacy port",
      LEGACY,
      RSA,
      { TLS10, "AES128-SHA", NULL, NULL },
      "TLSv1",
      "AES128-SHA",
      NULL },
    { "TLS 1.0 with ECDHE on a legacy port",
      LEGACY,
      RSA,
      { TLS10, "AES128-SHA:ECDHE-RSA-AES256-SHA", NULL, NULL },
      "TLSv1",
      "ECDHE-RSA-AES256-SHA",
      NULL },
    { "TLS 1.0 with ECDSA on a legacy port",
      LEGACY,
      EC,
      { TLS10, "ECDHE-ECDSA-AES128-SHA", NULL, NULL },
      "TLSv1",
      "ECDHE-ECDSA-AES128-SHA",
      NULL },
    { "TLS 1.1 on a legacy port",
      LEGACY,
      BOTH,
      { TLS11, NULL, NULL, NULL },
      "TLSv1.1",
      "ECDHE-ECDSA-AES128-SHA",
      NULL },
    { "TLS 1.2 with SHA-1 on a legacy port",
      LEGACY,
      RSA,
      { TLS12, NULL, "RSA+SHA1", NULL },
      "TLSv1.2",
      "ECDHE-RSA-AES128-GCM-SHA256",
      NULL },
    { "a client that can more on a legacy port",
      LEGACY,
      RSA,
      { TLS10TO12, NULL, NULL, NULL },
      "TLSv1.2",
      "ECDHE-RSA-AES128-GCM-SHA256",
      NULL },
    { "TLS 1.3 on a legacy port",
      LEGACY,
      BOTH,
      { TLS13, NULL, NULL, NULL },
      "TLSv1.3",
      "TLS_AES_128_GCM_SHA256",
      NULL },
    { "DHE on a legacy port",
      LEGACY,
      RSA,
      { TLS10, "DHE-RSA-AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.0 with DHE-RSA-AES128-SHA (no tls_profile "
      "serves that)" },
    { "anonymous suites on a legacy port",
      LEGACY,
      RSA,
      { TLS10, "AECDH-AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.0 with AECDH-AES128-SHA (no tls_profile "
      "serves that)" },
    { "NULL ciphers on a legacy port",
      LEGACY,
      RSA,
      { TLS10, "ECDHE-RSA-NULL-SHA", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.0 with ECDHE-RSA-NULL-SHA (no tls_profile "
      "serves that)" },
    { "RSA suites on a legacy port with ECDSA alone",
      LEGACY,
      EC,
      { TLS10, "AES128-SHA", NULL, NULL },
      NULL,
      NULL,
      "no cipher in common: client offered at most TLS 1.0 with AES128-SHA" NEEDS(
          "a certificate with an RSA key serves it" PRIVATE) },
};

static void old_clients_are_served_by_their_profile_or_told_which_would(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(handshakes) / sizeof(handshakes[0]); i++) {
        const struct handshake *row = &handshakes[i];
        struct tls_context *context = make_context(&row->side, row->profile);
        SSL_CTX *client_ctx = make_client(&row->offer);
        SSL *client = client_new(client_ctx, NULL, NULL);
        struct tls_facts facts;
        struct server server;

        print_message("  %s\n", row->name);
        server_init(&server, context);
        if (row->words) {
            assert_int_equal(shake_hands(&server, client), -EPROTO);
            assert_string_equal(tls_failure(&server.stream), row->words);
        } else {
            assert_int_equal(shake_hands(&server, client), TLS_STEP_DONE);
            tls_facts(&server.stream, &facts);
            assert_string_equal(facts.version, row->version);
            assert_string_equal(facts.cipher, row->cipher);
        }
        server_deinit(&server);
        SSL_free(client);
        SSL_CTX_free(client_ctx);
        tls_context_free(context);
    }
}

/* --- hellos that no client of today writes --- */

static const struct hello {
    const char *name;
    const char *octets;
    size_t size;
    enum tls_profile profile;
    const char *words; /* NULL: it is answered */
} hellos[] = {
#define HELLO(octets) octets, sizeof(octets) - 1
#define RANDOM        "0123456789abcdef0123456789abcdef"
    { "SSL 3.0",
      HELLO("\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" RANDOM
            "\x00\x00\x04\x00\x2f\x00\xff\x01\x00"),
      LEGACY, "client offered at most SSL 3.0, min_version is 1.0 (no tls_profile serves that)" },
    { "SSL 3.0 on a default port",
      HELLO("\x16\x03\x00\x00\x2f\x01\x00\x00\x2b\x03\x00" RANDOM
            "\x00\x00\x04\x00\x2f\x00\xff\x01\x00"),
      DEFAULT, "client offered at most SSL 3.0, min_version is 1.2 (no tls_profile serves that)" },
    { "TLS 1.0 with 3DES and RC4",
      HELLO("\x16\x03\x01\x00\x2f\x01\x00\x00\x2b\x03\x01" RANDOM
            "\x00\x00\x04\x00\x0a\x00\x05\x01\x00"),
      LEGACY,
      "no cipher in common: client offered at most TLS 1.0 with 0x000a, 0x0005 (no tls_profile "
      "serves that)" },
    { "TLS 1.0 in a hello of SSL 2.0",
      HELLO("\x80\x2c\x01\x03\x01\x00\x03\x00\x00\x00\x20\x00\x00\x2f" RANDOM), LEGACY, NULL },
    { "TLS 1.0 in a hello of SSL 2.0, on a default port",
      HELLO("\x80\x2c\x01\x03\x01\x00\x03\x00\x00\x00\x20\x00\x00\x2f" RANDOM), DEFAULT,
      "client offered at most TLS 1.0, min_version is 1.2 (tls_profile = legacy serves it from "
      "private networks)" },
    { "RSA suites, and signatures with ECDSA alone",
      HELLO("\x16\x03\x01\x00\x3f\x01\x00\x00\x3b\x03\x03" RANDOM
            "\x00\x00\x02\xc0\x2f\x01\x00\x00\x10\x00\x0a\x00\x04\x00\x02\x00\x1d"
            "\x00\x0d\x00\x04\x00\x02\x04\x03"),
      DEFAULT,
      SIGNATURE "none of the certificate's kind of key (a certificate with an ECDSA key serves "
                "it)" },
    { "SSL 2.0 suites in a hello of SSL 2.0",
      HELLO("\x80\x2c\x01\x03\x01\x00\x03\x00\x00\x00\x20\x01\x00\x80" RANDOM), LEGACY,
      "no cipher in common: client offered at most TLS 1.0 with  (no tls_profile serves that)" },
};

static void hellos_of_old_programs_are_read(void **state)
{
    const struct side side = RSA;

    (void)state;
    for (size_t i = 0; i < sizeof(hellos) / sizeof(hellos[0]); i++) {
        const struct hello *row = &hellos[i];
        struct tls_context *context = make_context(&side, row->profile);
        struct server server;
        int status;

        print_message("  %s\n", row->name);
        server_init(&server, context);
        assert_int_equal(tls_feed(server.stream.tls, span_of(row->octets, row->size)), 0);
        status = tls_handshake(server.stream.tls);
        if (row->words) {
            assert_int_equal(status, -EPROTO);
            assert_string_equal(tls_failure(&server.stream), row->words);
            assert_int_equal(server.loop.out[0], SSL3_RT_ALERT);
        } else {
            assert_int_equal(status, TLS_STEP_DRY);
            assert_int_equal(server.loop.out[0], SSL3_RT_HANDSHAKE);
            assert_int_equal(server.loop.out[5], SSL3_MT_SERVER_HELLO);
        }
        server_deinit(&server);
        tls_context_free(context);
    }
}

/* --- tickets --- */

/* Connects and is resumed, or not. *session is given, and replaced by the one that comes of it. */
static bool connect_with(struct tls_context *context, const struct offer *offer,
                         SSL_SESSION **session)
{
    SSL_CTX *client_ctx = make_client(offer);
    SSL *client = client_new(client_ctx, NULL, *session);
    struct server server;
    bool resumed;

    server_init(&server, context);
    assert_int_equal(shake_hands(&server, client), TLS_STEP_DONE);
    resumed = SSL_session_reused(client);
    SSL_SESSION_free(*session);
    *session = SSL_get1_session(client);
    SSL_shutdown(client);
    server_deinit(&server);
    SSL_free(client);
    SSL_CTX_free(client_ctx);
    return resumed;
}

/* OpenSSL resumes with the cipher of the session, also where it is not served any more. */
static void a_session_of_one_profile_is_not_resumed_in_another(void **state)
{
    const struct side side = RSA;
    const struct offer offer = { TLS12,
                                 "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-SHA:AES128-SHA",
                                 NULL, NULL };
    const struct offer old = { TLS12, "AES128-SHA", NULL, NULL };
    struct tls_context *contexts[TLS_PROFILE_COUNT];
    SSL_SESSION *session = NULL;

    (void)state;
    for (int profile = 0; profile < TLS_PROFILE_COUNT; profile++)
        contexts[profile] = make_context(&side, (enum tls_profile)profile);
    assert_false(connect_with(contexts[LEGACY], &old, &session));
    assert_true(connect_with(contexts[LEGACY], &offer, &session));
    for (int profile = 0; profile < TLS_PROFILE_COUNT; profile++) {
        assert_false(connect_with(contexts[profile], &offer, &session) && profile != LEGACY);
        assert_true(connect_with(contexts[profile], &offer, &session));
    }
    SSL_SESSION_free(session);
    for (int profile = 0; profile < TLS_PROFILE_COUNT; profile++)
        tls_context_free(contexts[profile]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_profile_is_said_to_serve_is_what_openssl_is_told_to_serve),
        cmocka_unit_test(a_suite_serves_where_version_and_kind_of_key_fit),
        cmocka_unit_test(min_version_1_3_holds_in_every_profile),
        cmocka_unit_test(old_clients_are_served_by_their_profile_or_told_which_would),
        cmocka_unit_test(hellos_of_old_programs_are_read),
        cmocka_unit_test(a_session_of_one_profile_is_not_resumed_in_another),
    };

    make_pair(&ecdsa, "DNS:mail.example.org", 30, false);
    make_pair_of(&rsa, "DNS:mail.example.org", 30, make_key("RSA"));
    tickets_advance(&keys, 10 * TICKET_EPOCH_SECONDS);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* The table of suites, in the order in which the server prefers them, and its two readers: one sets
 * OpenSSL up, one tells which profiles take what a client offers.
 *
 * What is in no row is served by nobody: RC4, 3DES, DHE (its groups are what old programs have too
 * small), anonymous and NULL suites. Nothing fails but OpenSSL's memory. */
#include "proxy/tls_profile.h"

#include <openssl/ssl.h>

#include "proxy/base/text.h"

/* AES-128 first: a quarter off a handshake with SHA-256 instructions, and OpenSSL hashes SHA-384
 * without them. */
#define SUITES_TLS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

#define EC           (TLS_KIND_ECDSA | TLS_KIND_ED25519 | TLS_KIND_ED448) /* RFC 8422 section 2 */
#define RSA_SIGNS    (TLS_KIND_RSA | TLS_KIND_RSA_PSS)
#define RSA_DECRYPTS TLS_KIND_RSA /* the key exchange of RFC 5246 section 7.4.7.1 */

static const struct suite {
    uint16_t id;
    uint8_t profile; /* the first that serves it; so do those behind */
    uint8_t kinds;   /* one of them is needed; 0: any */
    uint16_t since;  /* the oldest version that has it */
    const char *name;
} suites[] = {
    { 0x1301, TLS_PROFILE_DEFAULT, 0, TLS1_3_VERSION, NULL },
    { 0x1302, TLS_PROFILE_DEFAULT, 0, TLS1_3_VERSION, NULL },
    { 0x1303, TLS_PROFILE_DEFAULT, 0, TLS1_3_VERSION, NULL },
#define ROW(id, profile, kinds, since, name)                                                       \
    {                                                                                              \
        id, TLS_PROFILE_##profile, kinds, since##_VERSION, name                                    \
    }
    ROW(0xc02b, DEFAULT, EC, TLS1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ROW(0xc02f, DEFAULT, RSA_SIGNS, TLS1_2, "ECDHE-RSA-AES128-GCM-SHA256"),
    ROW(0xc02c, DEFAULT, EC, TLS1_2, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ROW(0xc030, DEFAULT, RSA_SIGNS, TLS1_2, "ECDHE-RSA-AES256-GCM-SHA384"),
    ROW(0xcca9, DEFAULT, EC, TLS1_2, "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ROW(0xcca8, DEFAULT, RSA_SIGNS, TLS1_2, "ECDHE-RSA-CHACHA20-POLY1305"),
    ROW(0xc023, COMPATIBLE, EC, TLS1_2, "ECDHE-ECDSA-AES128-SHA256"),
    ROW(0xc027, COMPATIBLE, RSA_SIGNS, TLS1_2, "ECDHE-RSA-AES128-SHA256"),
    ROW(0xc024, COMPATIBLE, EC, TLS1_2, "ECDHE-ECDSA-AES256-SHA384"),
    ROW(0xc028, COMPATIBLE, RSA_SIGNS, TLS1_2, "ECDHE-RSA-AES256-SHA384"),
    ROW(0xc009, COMPATIBLE, EC, TLS1, "ECDHE-ECDSA-AES128-SHA"),
    ROW(0xc013, COMPATIBLE, RSA_SIGNS, TLS1, "ECDHE-RSA-AES128-SHA"),
    ROW(0xc00a, COMPATIBLE, EC, TLS1, "ECDHE-ECDSA-AES256-SHA"),
    ROW(0xc014, COMPATIBLE, RSA_SIGNS, TLS1, "ECDHE-RSA-AES256-SHA"),
    ROW(0x009c, LEGACY, RSA_DECRYPTS, TLS1_2, "AES128-GCM-SHA256"),
    ROW(0x009d, LEGACY, RSA_DECRYPTS, TLS1_2, "AES256-GCM-SHA384"),
    ROW(0x003c, LEGACY, RSA_DECRYPTS, TLS1_2, "AES128-SHA256"),
    ROW(0x003d, LEGACY, RSA_DECRYPTS, TLS1_2, "AES256-SHA256"),
    ROW(0x002f, LEGACY, RSA_DECRYPTS, TLS1, "AES128-SHA"),
    ROW(0x0035, LEGACY, RSA_DECRYPTS, TLS1, "AES256-SHA"),
#undef ROW
};
#define SUITE_COUNT     (sizeof(suites) / sizeof(suites[0]))
#define SUITE_NAMES_MAX 1024 /* all of them, joined */

const char *tls_kind_name(enum tls_kind kind)
{
    switch (kind) {
    case TLS_KIND_RSA:
        return "RSA";
    case TLS_KIND_RSA_PSS:
        return "RSA-PSS";
    case TLS_KIND_ECDSA:
        return "ECDSA";
    case TLS_KIND_ED25519:
        return "Ed25519";
    case TLS_KIND_ED448:
        return "Ed448";
    }
    return "an unknown kind";
}

const char *tls_profile_name(enum tls_profile profile)
{
    static const char *const names[] = { "default", "compatible", "legacy" };

    return names[profile];
}

int tls_profile_min_version(enum tls_profile profile, enum tls_version section)
{
    if (section == TLS_VERSION_1_3)
        return TLS1_3_VERSION;
    return profile == TLS_PROFILE_LEGACY ? TLS1_VERSION : TLS1_2_VERSION;
}

static bool set_suites(SSL_CTX *ssl_ctx, enum tls_profile profile)
{
    char room[SUITE_NAMES_MAX];
    struct text list = TEXT_OVER(room);

    for (size_t i = 0; i < SUITE_COUNT; i++)
        if (suites[i].name && suites[i].profile <= (unsigned)profile)
            text_printf(&list, "%s%s", list.size > 0 ? ":" : "", suites[i].name);
    return !list.overflow && SSL_CTX_set_cipher_list(ssl_ctx, text_str(&list)) &&
           SSL_CTX_set_ciphersuites(ssl_ctx, SUITES_TLS_1_3);
}

bool tls_profile_apply(SSL_CTX *ssl_ctx, enum tls_profile profile, enum tls_version section)
{
    if (profile == TLS_PROFILE_LEGACY)
        SSL_CTX_set_security_level(ssl_ctx, 0); /* TLS 1.0 signs with MD5 and SHA-1 */
    return SSL_CTX_set_min_proto_version(ssl_ctx, tls_profile_min_version(profile, section)) &&
           SSL_CTX_set_max_proto_version(ssl_ctx, TLS1_3_VERSION) && set_suites(ssl_ctx, profile);
}

static bool suits(const struct suite *suite, unsigned version, unsigned kinds)
{
    if (suite->since > version || (suite->since == TLS1_3_VERSION) != (version >= TLS1_3_VERSION))
        return false;
    return suite->kinds == 0 || (suite->kinds & kinds);
}

unsigned tls_profile_serving(unsigned id, unsigned version, unsigned kinds)
{
    for (size_t i = 0; i < SUITE_COUNT; i++) {
        const struct suite *suite = &suites[i];
        unsigned first = version < TLS1_2_VERSION ? TLS_PROFILE_LEGACY : suite->profile;

        if (suite->id == id)
            return suits(suite, version, kinds) ? (1U << TLS_PROFILE_COUNT) - (1U << first) : 0;
    }
    return 0;
}

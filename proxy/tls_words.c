/* Words for what fails in TLS: what the client offered at best, how the server began, what the
 * peer's alert says.
 *
 * As server, the ClientHello's offer is kept while OpenSSL looks at it; as client, the first octets
 * that came. The engine asks once, when OpenSSL has refused to go on; a certificate that the client
 * side refuses has its words from tls_client.c, which come first and stay. */
#include "proxy/tls.h"

#include <limits.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "proxy/stream.h"
#include "proxy/tls_hooks.h"
#include "proxy/tls_private.h"
#include "proxy/tls_profile.h"

#define REPLY_SHOWN 80 /* octets of a server that speaks no TLS; guessed: most of a reply line */

static const char *peer(const struct tls *tls)
{
    return tls->is_client ? "server" : "client";
}

/* --- what the client offered --- */

static const char *version_name(unsigned version)
{
    switch (version) {
    case SSL2_VERSION:
        return "SSL 2.0";
    case SSL3_VERSION:
        return "SSL 3.0";
    case TLS1_VERSION:
        return "TLS 1.0";
    case TLS1_1_VERSION:
        return "TLS 1.1";
    case TLS1_2_VERSION:
        return "TLS 1.2";
    case TLS1_3_VERSION:
        return "TLS 1.3";
    default: /* a peer's number */
        return "an unknown version";
    }
}

static void put_ciphers(const struct tls *tls, struct text *into)
{
    for (size_t i = 0; i < tls->offered.count && i < TLS_OFFERED_KEPT; i++) {
        const unsigned char id[2] = { (unsigned char)(tls->offered.ciphers[i] >> 8),
                                      (unsigned char)tls->offered.ciphers[i] };
        const SSL_CIPHER *cipher = SSL_CIPHER_find(tls->ssl, id);

        text_puts(into, i > 0 ? ", " : "");
        if (cipher)
            text_puts(into, SSL_CIPHER_get_name(cipher));
        else
            text_printf(into, "0x%04x", tls->offered.ciphers[i]);
    }
    if (tls->offered.count > TLS_OFFERED_KEPT)
        text_printf(into, " and %d more", tls->offered.count - TLS_OFFERED_KEPT);
}

/* --- what would have served it --- */

static bool serves(unsigned mask, enum tls_profile profile)
{
    return (mask & 1U << profile) != 0;
}

/* The first profile of the mask behind `behind`; -1: there is none. */
static int first_profile(unsigned mask, int behind)
{
    for (int profile = behind + 1; profile < TLS_PROFILE_COUNT; profile++)
        if (serves(mask, (enum tls_profile)profile))
            return profile;
    return -1;
}

/* "ECDSA" where there is RSA, and the other way round: no client takes other kinds alone. */
static const char *missing_kind(const struct tls *tls)
{
    return tls_kind_name(tls->offered.kinds & TLS_KIND_ECDSA ? TLS_KIND_RSA : TLS_KIND_ECDSA);
}

static bool too_old(const struct tls *tls)
{
    return tls->offered.version < SSL_get_min_proto_version(tls->ssl);
}

/* The settings by which the client's suites would be taken, at its version. */
static void put_remedy(const struct tls *tls, struct text *into)
{
    int current = (int)tls_context_profile(tls->context);
    int profile = first_profile(tls->offered.serving, -1);
    int any = first_profile(tls->offered.serving_any, -1);
    bool kind = profile < 0 || (profile > current && any <= current);
    char room[200];
    struct text parts = TEXT_OVER(room);
    unsigned count = 0;

    if (any < 0) {
        text_puts(into, " (no tls_profile serves that)");
        return;
    }
    profile = kind ? any : profile;
    if (too_old(tls) && SSL_get_min_proto_version(tls->ssl) == TLS1_3_VERSION) {
        text_puts(&parts, "[tls] min_version = 1.2");
        count++;
    }
    if (profile > current)
        text_printf(&parts, "%stls_profile = %s", count++ > 0 ? " and " : "",
                    tls_profile_name((enum tls_profile)profile));
    if (kind)
        text_printf(&parts, "%sa certificate with an %s key", count++ > 0 ? " and " : "",
                    missing_kind(tls));
    if (count == 0)
        return;
    text_printf(into, " (%s serve%s it%s)", text_str(&parts), count > 1 ? "" : "s",
                profile == TLS_PROFILE_LEGACY ? " from private networks" : "");
}

static void put_version_words(const struct tls *tls, struct text *into)
{
    unsigned oldest = (unsigned)SSL_get_min_proto_version(tls->ssl);

    text_printf(into, "client offered at most %s, min_version is %s",
                version_name(tls->offered.version), strchr(version_name(oldest), ' ') + 1);
    put_remedy(tls, into);
}

static void put_cipher_words(const struct tls *tls, struct text *into)
{
    text_printf(into, "no cipher in common: client offered at most %s with ",
                version_name(tls->offered.version));
    put_ciphers(tls, into);
    put_remedy(tls, into);
}

/* The kinds of keys whose signatures the client takes; `strong`: not by SHA-1 and older alone. */
static unsigned signature_kinds(const struct tls *tls, bool strong)
{
    unsigned kinds = 0;
    int count = SSL_get_sigalgs(tls->ssl, 0, NULL, NULL, NULL, NULL, NULL);

    for (int i = 0; i < count; i++) {
        int sign = NID_undef, hash = NID_undef;

        SSL_get_sigalgs(tls->ssl, i, &sign, &hash, NULL, NULL, NULL);
        if (strong && (hash == NID_sha1 || hash == NID_md5 || hash == NID_md5_sha1))
            continue;
        if (sign == EVP_PKEY_RSA || sign == EVP_PKEY_RSA_PSS)
            kinds |= TLS_KIND_RSA | TLS_KIND_RSA_PSS;
        else if (sign == EVP_PKEY_EC)
            kinds |= TLS_KIND_ECDSA;
        else if (sign == EVP_PKEY_ED25519)
            kinds |= TLS_KIND_ED25519;
        else if (sign == EVP_PKEY_ED448)
            kinds |= TLS_KIND_ED448;
    }
    return kinds;
}

/* True where this is why: the client takes no signature that our certificates can make. */
static bool put_signature_words(const struct tls *tls, struct text *into)
{
    unsigned kinds = signature_kinds(tls, false), ours = tls->offered.kinds;

    if (kinds == 0) /* it left that to us */
        return false;
    if (!(kinds & ours)) {
        text_printf(into,
                    "no signature algorithm in common: client takes none of the certificate's kind "
                    "of key (a certificate with an %s key serves it)",
                    missing_kind(tls));
        return true;
    }
    if (signature_kinds(tls, true) & ours)
        return false;
    text_puts(into, "no signature algorithm in common: client takes SHA-1 at most "
                    "(tls_profile = legacy serves it from private networks)");
    return true;
}

static void put_group_words(struct text *into)
{
    text_puts(into, "no key exchange group in common: " TLS_CONTEXT_GROUPS " are served");
}

/* OpenSSL has one reason for all that TLS 1.2 chooses a suite by. */
static void put_choice_words(const struct tls *tls, struct text *into)
{
    if (!serves(tls->offered.serving, tls_context_profile(tls->context)))
        put_cipher_words(tls, into);
    else if (!put_signature_words(tls, into))
        put_group_words(into);
}

/* RFC 8701: values of no meaning that clients strew in. */
static bool is_grease(unsigned value)
{
    return (value & 0x0f0f) == 0x0a0a && value >> 8 == (value & 0xff);
}

static void note_versions(struct tls *tls, SSL *ssl)
{
    const unsigned char *list;
    size_t size;

    tls->offered.version = (uint16_t)SSL_client_hello_get0_legacy_version(ssl);
    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_supported_versions, &list, &size) || size < 1)
        return;
    tls->offered.version = 0;
    for (size_t i = 1; i + 1 < size; i += 2) {
        uint16_t version = (uint16_t)(list[i] << 8 | list[i + 1]);

        if (!is_grease(version) && version > tls->offered.version)
            tls->offered.version = version;
    }
}

static void note_suite(struct tls *tls, unsigned suite)
{
    uint16_t version = tls->offered.version;

    if (is_grease(suite) || suite == (SSL3_CK_SCSV & 0xffff) ||
        suite == (SSL3_CK_FALLBACK_SCSV & 0xffff))
        return;
    if (tls->offered.count < TLS_OFFERED_KEPT)
        tls->offered.ciphers[tls->offered.count] = (uint16_t)suite;
    tls->offered.count++;
    tls->offered.serving |= (uint8_t)tls_profile_serving(suite, version, tls->offered.kinds);
    tls->offered.serving_any |= (uint8_t)tls_profile_serving(suite, version, UINT_MAX);
}

/* A hello of SSL 2.0 has three octets for each suite; the first of TLS's is 0 (RFC 5246 appendix
 * E.2). */
void tls_note_offer(SSL *ssl, unsigned kinds)
{
    struct tls *tls = SSL_get_app_data(ssl);
    const unsigned char *list;
    size_t size = SSL_client_hello_get0_ciphers(ssl, &list);
    size_t extra = SSL_client_hello_isv2(ssl) ? 1 : 0;

    note_versions(tls, ssl);
    tls->offered.kinds = (uint8_t)kinds;
    tls->offered.count = 0;
    tls->offered.serving = tls->offered.serving_any = 0;
    for (size_t i = 0; i + extra + 1 < size; i += 2 + extra)
        if (extra == 0 || list[i] == 0)
            note_suite(tls, (unsigned)(list[i + extra] << 8 | list[i + extra + 1]));
}

/* --- how the server began --- */

void tls_note_first(struct tls *tls, struct span octets)
{
    size_t room = TLS_FIRST_KEPT - tls->first.count;
    struct span part = span_first(octets, room);

    memcpy(tls->first.octets + tls->first.count, part.data, part.size);
    tls->first.count = (unsigned char)(tls->first.count + part.size);
}

/* RFC 8446 section 5.1: every record begins with one of four types. */
static bool spoke_no_tls(const struct tls *tls)
{
    unsigned char type = tls->first.octets[0];

    return tls->first.count > 0 &&
           (type < SSL3_RT_CHANGE_CIPHER_SPEC || type > SSL3_RT_APPLICATION_DATA);
}

/* Up to the end of its first line, as far as it has come. */
static void put_first_line(const struct tls *tls, struct text *into)
{
    struct span parts[2] = { span_of(tls->first.octets, tls->first.count),
                             tls->held.size > 0 ? chunk_queue_front(&tls->held) : tls->lent };

    text_puts(into, "the server speaks no TLS (it sent \"");
    for (size_t i = 0; i < 2; i++) {
        size_t end = span_find(parts[i], '\n');
        struct span line = span_first(parts[i], end);

        if (line.size > 0 && line.data[line.size - 1] == '\r')
            line.size--;
        text_put_escaped(into, line, REPLY_SHOWN);
        if (end < parts[i].size)
            break;
    }
    text_puts(into, "\")");
}

/* --- errors --- */

/* What a client means by an alert, and who can change it. */
static const char *alert_of_client(int alert)
{
    switch (alert) {
    case SSL_AD_UNKNOWN_CA:
        return " (it does not trust the certificate's issuer: is the whole chain in the file?)";
    case SSL_AD_CERTIFICATE_EXPIRED:
        return " (it takes the certificate for expired: is its clock right?)";
    case SSL_AD_BAD_CERTIFICATE:
    case SSL_AD_CERTIFICATE_UNKNOWN:
    case SSL_AD_UNSUPPORTED_CERTIFICATE:
        return " (it does not accept the certificate: its name, issuer or kind of key)";
    default:
        return "";
    }
}

static void put_alert_words(const struct tls *tls, int alert, struct text *into)
{
    text_printf(into, "the %s sent the alert \"%s\"", peer(tls), SSL_alert_desc_string_long(alert));
    if (!tls->is_client)
        text_puts(into, alert_of_client(alert));
    else if (alert == SSL_AD_PROTOCOL_VERSION)
        text_puts(into, ": TLSv1.2 is the oldest that it is asked for");
}

/* True where the role has words of its own for this reason. */
static bool put_words_as_server(const struct tls *tls, int reason, struct text *into)
{
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_UNKNOWN_PROTOCOL:
        put_version_words(tls, into);
        return true;
    case SSL_R_NO_SHARED_CIPHER:
        put_choice_words(tls, into);
        return true;
    case SSL_R_NO_SHARED_SIGNATURE_ALGORITHMS:
    case SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM:
        return put_signature_words(tls, into);
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
        put_group_words(into);
        return true;
    case SSL_R_NO_APPLICATION_PROTOCOL:
        text_printf(into, "the client's ALPN list lacks \"%s\"", tls_context_alpn(tls->context));
        return true;
    default: /* OpenSSL has hundreds */
        return false;
    }
}

static bool put_words_as_client(const struct tls *tls, int reason, struct text *into)
{
    if (spoke_no_tls(tls)) {
        put_first_line(tls, into);
        return true;
    }
    switch (reason) {
    case SSL_R_UNSUPPORTED_PROTOCOL:
    case SSL_R_VERSION_TOO_LOW:
    case SSL_R_UNKNOWN_PROTOCOL:
        text_puts(into, "the server speaks TLS older than TLSv1.2 only");
        return true;
    case SSL_R_UNSAFE_LEGACY_RENEGOTIATION_DISABLED:
        text_puts(into, "the server's TLS lacks secure renegotiation (RFC 5746)");
        return true;
    default: /* OpenSSL has hundreds */
        return false;
    }
}

void tls_put_error_words(const struct tls *tls, unsigned long error, struct text *into)
{
    int reason = ERR_GET_LIB(error) == ERR_LIB_SSL ? ERR_GET_REASON(error) : 0;
    const char *words = error ? ERR_reason_error_string(error) : NULL;

    if (tls_flooded(tls))
        text_printf(into, "the %s floods the connection with TLS control messages", peer(tls));
    else if (tls->is_client ? put_words_as_client(tls, reason, into)
                            : put_words_as_server(tls, reason, into))
        return;
    else if (reason > SSL_AD_REASON_OFFSET)
        put_alert_words(tls, reason - SSL_AD_REASON_OFFSET, into);
    else
        text_puts(into, words ? words : "TLS failed");
}

void tls_note_failure(struct tls *tls, const char *words)
{
    if (!tls->failure)
        tls->failure = strdup(words);
}

const char *tls_failure(const struct stream *stream)
{
    const struct tls *tls = stream->tls;

    return tls && tls->failure ? tls->failure : "TLS failed";
}

void tls_note_broken(struct tls *tls, bool fin)
{
    char room[512];
    struct text words = TEXT_OVER(room);

    if (tls->is_client && spoke_no_tls(tls))
        put_first_line(tls, &words);
    else if (fin)
        text_printf(&words, "the %s closed the connection in the handshake", peer(tls));
    else
        text_puts(&words, "the connection broke in the handshake");
    tls_note_failure(tls, text_str(&words));
}

/* Words for what fails in TLS: what the client offered at best, how the server began, what the
 * peer's alert says.
 *
 * As server, the ClientHello's offer is kept while OpenSSL looks at it; as client, the first octets
 * that came. The engine asks once, when OpenSSL has refused to go on; a certificate that the client
 * side refuses has its words from tls_client.c, which come first and stay. */
#include "proxy/tls.h"

#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "proxy/stream.h"
#include "proxy/tls_hooks.h"
#include "proxy/tls_private.h"

#define REPLY_SHOWN 80 /* octets of a server that speaks no TLS; guessed: most of a reply line */

static const char *peer(const struct tls *tls)
{
    return tls->is_client ? "server" : "client";
}

/* --- what the client offered --- */

static const char *version_name(unsigned version)
{
    switch (version) {
    case SSL3_VERSION:
        return "SSLv3";
    case TLS1_VERSION:
        return "TLSv1.0";
    case TLS1_1_VERSION:
        return "TLSv1.1";
    case TLS1_2_VERSION:
        return "TLSv1.2";
    case TLS1_3_VERSION:
        return "TLSv1.3";
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

static void put_version_words(const struct tls *tls, struct text *into)
{
    text_printf(into, "client offers at most %s, min_version is %s",
                version_name(tls->offered.version),
                version_name((unsigned)SSL_get_min_proto_version(tls->ssl)));
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

void tls_note_offer(SSL *ssl)
{
    struct tls *tls = SSL_get_app_data(ssl);
    const unsigned char *list;
    size_t size = SSL_client_hello_get0_ciphers(ssl, &list);

    note_versions(tls, ssl);
    tls->offered.count = 0;
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint16_t cipher = (uint16_t)(list[i] << 8 | list[i + 1]);

        if (is_grease(cipher) || cipher == (SSL3_CK_SCSV & 0xffff) ||
            cipher == (SSL3_CK_FALLBACK_SCSV & 0xffff))
            continue;
        if (tls->offered.count < TLS_OFFERED_KEPT)
            tls->offered.ciphers[tls->offered.count] = cipher;
        tls->offered.count++;
    }
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

static void put_alert_words(const struct tls *tls, int alert, struct text *into)
{
    text_printf(into, "the %s sent the alert \"%s\"", peer(tls), SSL_alert_desc_string_long(alert));
    if (tls->is_client && alert == SSL_AD_PROTOCOL_VERSION)
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
        text_puts(into, "no cipher in common: client offers ");
        put_ciphers(tls, into);
        return true;
    case SSL_R_NO_SHARED_GROUPS:
    case SSL_R_NO_SUITABLE_KEY_SHARE:
        text_puts(into, "no key exchange group in common: " TLS_CONTEXT_GROUPS " are served");
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

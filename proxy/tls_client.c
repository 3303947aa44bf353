/* TLS as a client: the context of one backend, the check of its certificate, and words for what is
 * wrong with it.
 *
 * Happy path: an SSL_CTX with the CAs in its store; each connection names the host that it wants
 * (SNI) and that the certificate must be for. Failures: CAs that do not parse: one log line,
 * -EINVAL. A certificate that OpenSSL refuses: on_verify() keeps the reason in words, OpenSSL sends
 * the alert, and the handshake ends.
 *
 * No session is kept for resumption: a ticket that is used by several connections at once would be
 * state to share, and what it saves a server of one's own is little. */
#include "proxy/tls_client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/log.h"
#include "proxy/tls_engine.h"
#include "proxy/tls_hooks.h"
#include "proxy/tls_pem.h"

/* Servers that cannot be changed may lack forward secrecy and GCM; nothing below TLS 1.2 is lost by
 * asking for those last. No DHE: old servers have groups of 1024 bits, which OpenSSL refuses, and
 * would choose them before what works. */
#define CIPHERS                                                                                    \
    "ECDHE+AESGCM:ECDHE+CHACHA20:ECDHE+AES:RSA+AESGCM:RSA+AES:!AESCCM:!aNULL:!eNULL:!PSK:!SRP"
#define GROUPS        "X25519:P-256:P-384:P-521"
#define NAME_SIZE_MAX 255 /* RFC 1035 section 2.3.4 */
#define NAMES_SHOWN   3
#define NAME_SHOWN    100 /* octets of a name in a certificate; guessed */

struct tls_client {
    unsigned references;
    bool verify;
    char *name; /* [backend] sni; "": the host of the address */
    SSL_CTX *ssl_ctx;
};

/* --- words about a certificate --- */

static void put_asn1(const ASN1_STRING *string, struct text *into)
{
    text_put_escaped(into,
                     span_of(ASN1_STRING_get0_data(string), (size_t)ASN1_STRING_length(string)),
                     NAME_SHOWN);
}

/* The last common name, or else all of it. */
static void put_subject(const X509_NAME *subject, struct text *into)
{
    int last = -1, next;
    char room[256];

    while ((next = X509_NAME_get_index_by_NID(subject, NID_commonName, last)) >= 0)
        last = next;
    if (last >= 0)
        put_asn1(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, last)), into);
    else if (X509_NAME_oneline(subject, room, sizeof(room)))
        text_put_escaped(into, span_of_text(room), NAME_SHOWN);
}

static bool put_address(const ASN1_OCTET_STRING *address, struct text *into)
{
    int size = ASN1_STRING_length(address);
    char room[INET6_ADDRSTRLEN];

    if ((size != 4 && size != 16) || !inet_ntop(size == 4 ? AF_INET : AF_INET6,
                                                ASN1_STRING_get0_data(address), room, sizeof(room)))
        return false;
    text_puts(into, room);
    return true;
}

static int put_alternative_names(const GENERAL_NAMES *names, struct text *into)
{
    int count = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_DNS && name->type != GEN_IPADD)
            continue;
        if (++count > NAMES_SHOWN)
            continue;
        text_puts(into, count > 1 ? ", " : "");
        if (name->type == GEN_DNS)
            put_asn1(name->d.dNSName, into);
        else if (!put_address(name->d.iPAddress, into))
            text_puts(into, "a malformed address");
    }
    if (count > NAMES_SHOWN)
        text_printf(into, " and %d more", count - NAMES_SHOWN);
    return count;
}

static void put_names(const X509 *certificate, struct text *into)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);

    if (put_alternative_names(names, into) == 0)
        put_subject(X509_get_subject_name(certificate), into);
    GENERAL_NAMES_free(names);
}

static void put_mismatch(const X509 *certificate, SSL *ssl, struct text *into)
{
    const char *name = X509_VERIFY_PARAM_get0_host(SSL_get0_param(ssl), 0);
    char *address = name ? NULL : X509_VERIFY_PARAM_get1_ip_asc(SSL_get0_param(ssl));

    text_puts(into, "certificate is for ");
    put_names(certificate, into);
    text_printf(into, ", not for %s", name ? name : address ? address : "this address");
    OPENSSL_free(address);
}

/* "certificate", or which one of the chain. */
static void put_which(X509_STORE_CTX *check, struct text *into)
{
    const X509 *certificate = X509_STORE_CTX_get_current_cert(check);

    text_puts(into, "certificate");
    if (X509_STORE_CTX_get_error_depth(check) == 0 || !certificate)
        return;
    text_puts(into, " of its authority \"");
    put_subject(X509_get_subject_name(certificate), into);
    text_puts(into, "\"");
}

static void put_unknown_issuer(X509_STORE_CTX *check, struct text *into)
{
    const X509 *certificate = X509_STORE_CTX_get_current_cert(check);

    text_puts(into, "certificate is signed by nobody in ca");
    if (!certificate)
        return;
    text_puts(into, ", but by \"");
    put_subject(X509_get_issuer_name(certificate), into);
    text_puts(into, "\"");
}

static void put_verify_words(X509_STORE_CTX *check, SSL *ssl, struct text *into)
{
    int error = X509_STORE_CTX_get_error(check);

    switch (error) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
        put_which(check, into);
        text_puts(into, " has expired");
        return;
    case X509_V_ERR_CERT_NOT_YET_VALID:
        put_which(check, into);
        text_puts(into, " is not valid yet");
        return;
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
        put_mismatch(X509_STORE_CTX_get0_cert(check), ssl, into);
        return;
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
        text_puts(into, "certificate is signed by nobody in ca, but by itself");
        return;
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
        put_unknown_issuer(check, into);
        return;
    default: /* OpenSSL has a hundred */
        put_which(check, into);
        text_printf(into, " is refused: %s", X509_verify_cert_error_string(error));
        return;
    }
}

/* Called by OpenSSL for each certificate of the chain, and for what is wrong with one. */
static int on_verify(int good, X509_STORE_CTX *check)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(check, SSL_get_ex_data_X509_STORE_CTX_idx());
    char room[640];
    struct text words = TEXT_OVER(room);

    if (good)
        return 1;
    put_verify_words(check, ssl, &words);
    tls_note_failure(SSL_get_app_data(ssl), text_str(&words));
    return 0;
}

/* --- building --- */

static bool set_rules(SSL_CTX *ssl_ctx)
{
    SSL_CTX_set_options(ssl_ctx,
                        SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET);
    SSL_CTX_clear_options(ssl_ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_msg_callback(ssl_ctx, tls_on_message);
    return SSL_CTX_set_min_proto_version(ssl_ctx, TLS1_2_VERSION) &&
           SSL_CTX_set_max_proto_version(ssl_ctx, TLS1_3_VERSION) &&
           SSL_CTX_set_cipher_list(ssl_ctx, CIPHERS) && SSL_CTX_set1_groups_list(ssl_ctx, GROUPS);
}

/* RFC 6125 section 6.4.3: no "mail*.example.org". Any certificate in `ca` is trusted, also one that
 * is no root. */
static void check_certificates(SSL_CTX *ssl_ctx)
{
    X509_VERIFY_PARAM *rules = SSL_CTX_get0_param(ssl_ctx);

    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    X509_VERIFY_PARAM_set_flags(rules, X509_V_FLAG_PARTIAL_CHAIN);
    SSL_CTX_set_verify(ssl_ctx, SSL_VERIFY_PEER, on_verify);
}

static int add_cas(SSL_CTX *ssl_ctx, struct span pem, struct text *into)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ssl_ctx);
    STACK_OF(X509) * certificates;
    int status = tls_pem_read_all(pem, into, &certificates);

    if (status < 0)
        return status;
    for (int i = 0; status == 0 && i < sk_X509_num(certificates); i++) {
        if (!X509_STORE_add_cert(store, sk_X509_value(certificates, i)))
            status = tls_put_words(into, "a certificate cannot be used");
    }
    sk_X509_pop_free(certificates, X509_free);
    return status;
}

static int build(struct tls_client *client, struct span ca_pem, struct text *into)
{
    client->ssl_ctx = SSL_CTX_new(TLS_client_method());
    if (!client->ssl_ctx)
        return -ENOMEM;
    if (!set_rules(client->ssl_ctx))
        return tls_put_words(into, "OpenSSL lacks what is needed");
    if (!client->verify)
        return 0;
    check_certificates(client->ssl_ctx);
    return add_cas(client->ssl_ctx, ca_pem, into);
}

int tls_client_new(const struct settings_backend *settings, struct span ca_pem,
                   struct tls_client **ret_client)
{
    struct tls_client *client = calloc(1, sizeof(*client));
    char room[256];
    struct text words = TEXT_OVER(room);
    int status;

    if (!client)
        return -ENOMEM;
    client->references = 1;
    client->verify = settings->verify;
    client->name = strdup(settings->sni);
    status = client->name ? build(client, ca_pem, &words) : -ENOMEM;
    ERR_clear_error();
    if (status == -EINVAL)
        log_line(LOG_LEVEL_ERROR, "[backend %s] ca: %s", settings->name, text_str(&words));
    if (status < 0) {
        tls_client_free(client);
        return status;
    }
    *ret_client = client;
    return 0;
}

void tls_client_free(struct tls_client *client)
{
    if (!client || --client->references > 0)
        return;
    SSL_CTX_free(client->ssl_ctx);
    free(client->name);
    free(client);
}

/* --- one connection --- */

static bool is_address(const char *name)
{
    unsigned char address[sizeof(struct in6_addr)];

    return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* RFC 6066 section 3: an address is never sent as a server name. */
static bool ask_for(SSL *ssl, const char *name, bool verify)
{
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);

    if (is_address(name))
        return !verify || X509_VERIFY_PARAM_set1_ip_asc(rules, name);
    if (verify && !X509_VERIFY_PARAM_set1_host(rules, name, 0))
        return false;
    return SSL_set_tlsext_host_name(ssl, name) == 1;
}

/* Without the dot at its end, which neither SNI nor certificates have. False: too long. */
static bool copy_name(const char *name, char into[NAME_SIZE_MAX + 1])
{
    struct span rest = span_of_text(name);

    if (rest.size > 0 && rest.data[rest.size - 1] == '.')
        rest.size--;
    if (rest.size > NAME_SIZE_MAX)
        return false;
    if (rest.size > 0)
        memcpy(into, rest.data, rest.size);
    into[rest.size] = '\0';
    return true;
}

int tls_client_connect(struct tls_client *client, const char *name, struct ssl_st **ret_ssl)
{
    char wanted[NAME_SIZE_MAX + 1];
    SSL *ssl;

    if (!copy_name(client->name[0] ? client->name : name, wanted))
        return -EINVAL;
    if (client->verify && !wanted[0])
        return -EINVAL; /* never "any certificate will do" */
    ssl = SSL_new(client->ssl_ctx);
    if (!ssl || (wanted[0] && !ask_for(ssl, wanted, client->verify))) {
        SSL_free(ssl);
        ERR_clear_error();
        return -ENOMEM;
    }
    client->references++;
    *ret_ssl = ssl;
    return 0;
}

/* --- the authorities --- */

bool tls_client_wants_ca(const struct settings_backend *backend)
{
    return backend->tls != BACKEND_TLS_OFF && backend->verify;
}

struct span tls_client_ca(const struct bundle *bundle, const struct settings_backend *backend)
{
    char room[300];
    struct text name = TEXT_OVER(room);
    struct span pem;

    text_puts(&name, "ca");
    if (backend->ca[0])
        text_printf(&name, "/%s", backend->name);
    if (name.overflow || !bundle_find(bundle, text_str(&name), 0, &pem))
        return span_of(NULL, 0);
    return pem;
}

static bool has_expired(const X509 *certificate)
{
    return X509_cmp_current_time(X509_get0_notAfter(certificate)) < 0;
}

int tls_client_check_ca(struct span pem, struct text *into)
{
    STACK_OF(X509) * certificates;
    const X509 *expired = NULL;
    int status = tls_pem_read_all(pem, into, &certificates), count, expired_count = 0;

    if (status < 0)
        return status;
    count = sk_X509_num(certificates);
    for (int i = 0; i < count; i++) {
        if (!has_expired(sk_X509_value(certificates, i)))
            continue;
        expired = sk_X509_value(certificates, i);
        expired_count++;
    }
    if (expired) {
        text_puts(into, "the certificate of \"");
        put_subject(X509_get_subject_name(expired), into);
        text_puts(into, "\" has expired");
        if (expired_count > 1)
            text_printf(into, ", and %d more", expired_count - 1);
        status = expired_count < count ? TLS_CLIENT_CA_EXPIRED : -EINVAL;
    }
    sk_X509_pop_free(certificates, X509_free);
    return status;
}

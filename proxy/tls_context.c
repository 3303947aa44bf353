/* SSL_CTX objects made from settings and PEM, the choice among them by SNI, ALPN, and the ticket
 * callback.
 *
 * Happy path: for each [tls NAME] one SSL_CTX; a connection starts on the first one (default), and
 * the client_hello callback, which runs before the version is chosen, moves it to the one whose
 * names match: an exact name first, then a wildcard, else the default. Failures: PEM that does not
 * parse, a key that does not match, a certificate that is too weak: one log line, -EINVAL. */
#include "proxy/tls_context.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/log.h"
#include "proxy/tls_certificate.h"
#include "proxy/tls_engine.h"
#include "proxy/tls_hooks.h"
#include "proxy/tls_pem.h"

/* AES-128 first: a quarter off a handshake with SHA-256 instructions, and OpenSSL hashes SHA-384
 * without them. */
#define CIPHERS_TLS_1_3 "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"
#define CIPHERS_TLS_1_2                                                                            \
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"     \
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
#define NAMES_MAX     100 /* subject names taken from one certificate; public CAs issue up to 100 */
#define NAME_SIZE_MAX 255 /* RFC 1035 section 2.3.4 */

/* One [tls NAME]. */
struct certificate {
    SSL_CTX *ssl_ctx;
    char **names; /* "*.example.org" matches one label */
    size_t name_count;
    int min_version;
};

struct tls_context {
    unsigned references;
    const char *alpn; /* "" accepts nothing and refuses nothing */
    const struct ticket_keys *keys;
    EVP_CIPHER *ticket_cipher;
    struct ticket_material tickets[3]; /* derived from keys->keys[i] when last seen */
    struct ticket_key seen[3];
    struct certificate *certificates; /* the default first */
    size_t count;
};

/* --- names --- */

static int add_name(struct certificate *certificate, struct span name)
{
    char **names = reallocarray(certificate->names, certificate->name_count + 1, sizeof(*names));
    char *copy;

    if (!names)
        return -ENOMEM;
    certificate->names = names;
    copy = strndup((const char *)name.data, name.size);
    if (!copy)
        return -ENOMEM;
    names[certificate->name_count++] = copy;
    return 0;
}

static int add_subject_names(struct certificate *certificate, const GENERAL_NAMES *subjects)
{
    for (int i = 0; i < sk_GENERAL_NAME_num(subjects) && i < NAMES_MAX; i++) {
        const GENERAL_NAME *subject = sk_GENERAL_NAME_value(subjects, i);
        const ASN1_IA5STRING *dns = subject->d.dNSName;

        if (subject->type != GEN_DNS)
            continue;
        if (add_name(certificate,
                     span_of(ASN1_STRING_get0_data(dns), (size_t)ASN1_STRING_length(dns))) < 0)
            return -ENOMEM;
    }
    return 0;
}

static int add_names(struct certificate *certificate, const struct settings_list *names)
{
    GENERAL_NAMES *subjects;
    int status = 0;

    for (size_t i = 0; i < names->count && status == 0; i++)
        status = add_name(certificate, span_of_text(names->items[i]));
    if (names->count > 0 || status < 0)
        return status;
    subjects = X509_get_ext_d2i(SSL_CTX_get0_certificate(certificate->ssl_ctx),
                                NID_subject_alt_name, NULL, NULL);
    if (!subjects)
        return 0;
    status = add_subject_names(certificate, subjects);
    GENERAL_NAMES_free(subjects);
    return status;
}

static bool has_name(const struct certificate *certificate, struct span name)
{
    for (size_t i = 0; i < certificate->name_count; i++) {
        if (span_equal_nocase(name, span_of_text(certificate->names[i])))
            return true;
    }
    return false;
}

/* RFC 6125 section 6.4.3: "*" stands for the whole first label. */
static bool has_wildcard(const struct certificate *certificate, struct span name)
{
    size_t label = span_find(name, '.');
    struct span parent = span_skip(name, label);

    for (size_t i = 0; i < certificate->name_count && label > 0 && parent.size > 0; i++) {
        struct span pattern = span_of_text(certificate->names[i]);

        if (pattern.size > 1 && pattern.data[0] == '*' &&
            span_equal_nocase(parent, span_skip(pattern, 1)))
            return true;
    }
    return false;
}

static const struct certificate *choose(const struct tls_context *context, struct span name)
{
    if (name.size > 0 && name.data[name.size - 1] == '.')
        name.size--;
    for (size_t i = 0; i < context->count && name.size > 0; i++) {
        if (has_name(&context->certificates[i], name))
            return &context->certificates[i];
    }
    for (size_t i = 0; i < context->count && name.size > 0; i++) {
        if (has_wildcard(&context->certificates[i], name))
            return &context->certificates[i];
    }
    return &context->certificates[0];
}

/* --- called by OpenSSL in handshakes --- */

static struct tls_context *context_of(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

/* RFC 6066 section 3: list size, type 0, name size, name. Empty where there is none or it is
 * malformed, which OpenSSL refuses later. */
static struct span server_name(SSL *ssl)
{
    const unsigned char *data;
    size_t size, name_size;

    if (!SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &data, &size) || size < 5)
        return span_of(NULL, 0);
    name_size = (size_t)(data[3] << 8 | data[4]);
    if (data[2] != TLSEXT_NAMETYPE_host_name || name_size > size - 5 || name_size > NAME_SIZE_MAX)
        return span_of(NULL, 0);
    return span_of(data + 5, name_size);
}

static int on_client_hello(SSL *ssl, int *ret_alert, void *unused)
{
    const struct certificate *certificate = choose(context_of(ssl), server_name(ssl));

    (void)unused;
    tls_note_offer(ssl);
    if (SSL_get_SSL_CTX(ssl) != certificate->ssl_ctx &&
        (!SSL_set_SSL_CTX(ssl, certificate->ssl_ctx) ||
         !SSL_set_min_proto_version(ssl, certificate->min_version))) {
        *ret_alert = SSL_AD_INTERNAL_ERROR;
        return SSL_CLIENT_HELLO_ERROR;
    }
    return SSL_CLIENT_HELLO_SUCCESS;
}

/* The choice was made above; this only lets OpenSSL acknowledge the name, as RFC 6066 asks. */
static int on_server_name(SSL *ssl, int *ret_alert, void *unused)
{
    (void)ret_alert, (void)unused;
    return SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name) ? SSL_TLSEXT_ERR_OK
                                                              : SSL_TLSEXT_ERR_NOACK;
}

/* RFC 7301 section 3.2: a list without our protocol is refused (ALPACA). */
static int on_alpn(SSL *ssl, const unsigned char **ret_name, unsigned char *ret_size,
                   const unsigned char *list, unsigned size, void *unused)
{
    const char *alpn = context_of(ssl)->alpn;
    struct span ours = span_of_text(alpn);

    (void)unused;
    for (unsigned i = 0; i < size && list[i] < size - i; i += 1U + list[i]) {
        if (span_equal(span_of(list + i + 1, list[i]), ours)) {
            *ret_name = ours.data;
            *ret_size = (unsigned char)ours.size;
            return SSL_TLSEXT_ERR_OK;
        }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

/* The supervisor may have sent new keys: what was derived follows them. */
static int follow_keys(struct tls_context *context)
{
    for (size_t i = 0; i < 3; i++) {
        const struct ticket_key *key = &context->keys->keys[i];

        if (context->tickets[i].ready && memcmp(key, &context->seen[i], sizeof(*key)) == 0)
            continue;
        if (ticket_material_derive(key, &context->tickets[i]) < 0)
            return -ENOMEM;
        context->seen[i] = *key;
    }
    return 0;
}

static int start_mac(EVP_MAC_CTX *mac, struct ticket_material *ticket)
{
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, ticket->mac_key,
                                          sizeof(ticket->mac_key)),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, (char *)"SHA256", 0),
        OSSL_PARAM_construct_end(),
    };

    return EVP_MAC_CTX_set_params(mac, parameters);
}

static int seal_ticket(struct tls_context *context, unsigned char *name, unsigned char *iv,
                       EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    struct ticket_material *current = &context->tickets[1];

    memcpy(name, current->name, sizeof(current->name));
    if (RAND_bytes(iv, EVP_CIPHER_get_iv_length(context->ticket_cipher)) != 1)
        return -1;
    if (!EVP_EncryptInit_ex2(cipher, context->ticket_cipher, current->cipher_key, iv, NULL) ||
        !start_mac(mac, current))
        return -1;
    return 1;
}

/* Answers with 0: a full handshake, 1: good, 2: good, and give a new ticket. TLS 1.3 clients use a
 * ticket once (RFC 8446 appendix C.4), so they always get the next one. */
static int open_ticket(struct tls_context *context, const SSL *ssl, const unsigned char *name,
                       const unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac)
{
    for (size_t i = 0; i < 3; i++) {
        struct ticket_material *ticket = &context->tickets[i];

        if (memcmp(name, ticket->name, sizeof(ticket->name)) != 0)
            continue;
        if (!EVP_DecryptInit_ex2(cipher, context->ticket_cipher, ticket->cipher_key, iv, NULL) ||
            !start_mac(mac, ticket))
            return -1;
        return i == 0 || SSL_version(ssl) == TLS1_3_VERSION ? 2 : 1;
    }
    return 0;
}

static int on_ticket(SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher,
                     EVP_MAC_CTX *mac, int seal)
{
    struct tls_context *context = context_of(ssl);

    if (follow_keys(context) < 0)
        return seal ? -1 : 0;
    if (seal)
        return seal_ticket(context, name, iv, cipher, mac);
    return open_ticket(context, ssl, name, iv, cipher, mac);
}

int tls_context_check(struct span certificate, struct span key, struct text *into)
{
    SSL_CTX *ssl_ctx = SSL_CTX_new(TLS_server_method());
    int status = ssl_ctx ? tls_pem_use_pair(ssl_ctx, certificate, key, into)
                         : tls_put_words(into, "no memory");
    struct tls_certificate facts;
    char date[TLS_DATE_SIZE];

    SSL_CTX_free(ssl_ctx);
    if (tls_certificate_read(certificate, "", &facts) < 0 || facts.ends >= time(NULL))
        return status;
    text_printf(into, "%sthe certificate has expired on %s", status < 0 ? "; " : "",
                tls_date(facts.ends, date));
    return status < 0 ? status : -EINVAL;
}

/* --- building --- */

static bool set_rules(SSL_CTX *ssl_ctx, int min_version)
{
    SSL_CTX_set_options(ssl_ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_clear_options(ssl_ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ssl_ctx,
                        TICKET_EPOCH_SECONDS); /* so long the key of a ticket is held at least */
    SSL_CTX_set_max_early_data(ssl_ctx, 0);
    return SSL_CTX_set_min_proto_version(ssl_ctx, min_version) &&
           SSL_CTX_set_max_proto_version(ssl_ctx, TLS1_3_VERSION) &&
           SSL_CTX_set_ciphersuites(ssl_ctx, CIPHERS_TLS_1_3) &&
           SSL_CTX_set_cipher_list(ssl_ctx, CIPHERS_TLS_1_2) &&
           SSL_CTX_set1_groups_list(ssl_ctx, TLS_CONTEXT_GROUPS) &&
           SSL_CTX_set_num_tickets(ssl_ctx, 1);
}

static bool set_hooks(SSL_CTX *ssl_ctx, struct tls_context *context, const char *id)
{
    SSL_CTX_set_app_data(ssl_ctx, context);
    SSL_CTX_set_client_hello_cb(ssl_ctx, on_client_hello, NULL);
    SSL_CTX_set_tlsext_servername_callback(ssl_ctx, on_server_name);
    SSL_CTX_set_msg_callback(ssl_ctx, tls_on_message);
    if (context->alpn[0])
        SSL_CTX_set_alpn_select_cb(ssl_ctx, on_alpn, NULL);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_ctx, on_ticket) &&
           SSL_CTX_set_session_id_context(ssl_ctx, (const unsigned char *)id, (unsigned)strlen(id));
}

static bool find_pem(const struct bundle *bundle, const char *section, const char *what,
                     struct span *ret_pem)
{
    char room[512];
    struct text name = TEXT_OVER(room);

    text_printf(&name, "tls/%s/%s", section, what);
    return !name.overflow && bundle_find(bundle, text_str(&name), 0, ret_pem);
}

static int refuse_section(const char *section, const char *words)
{
    log_line(LOG_LEVEL_ERROR, "[tls %s]: %s", section, words);
    return -EINVAL;
}

/* Fills one certificate, which tls_context_free() clears. 0, -EINVAL or -ENOMEM. */
static int build(struct certificate *certificate, const struct settings_tls *section,
                 const struct bundle *bundle, struct tls_context *context, const char *id)
{
    struct span chain, key;
    char room[512];
    struct text words = TEXT_OVER(room);

    if (!find_pem(bundle, section->name, "certificate", &chain) ||
        !find_pem(bundle, section->name, "key", &key))
        return refuse_section(section->name, "certificate or key is missing");
    certificate->min_version =
        section->min_version == TLS_VERSION_1_3 ? TLS1_3_VERSION : TLS1_2_VERSION;
    certificate->ssl_ctx = SSL_CTX_new(TLS_server_method());
    if (!certificate->ssl_ctx)
        return -ENOMEM;
    if (!set_rules(certificate->ssl_ctx, certificate->min_version) ||
        !set_hooks(certificate->ssl_ctx, context, id)) {
        tls_put_words(&words, "OpenSSL lacks what is needed");
        return refuse_section(section->name, text_str(&words));
    }
    if (tls_pem_use_pair(certificate->ssl_ctx, chain, key, &words) < 0)
        return refuse_section(section->name, text_str(&words));
    return add_names(certificate, &section->names);
}

static int build_all(struct tls_context *context, const struct settings *settings,
                     const struct bundle *bundle, enum port_protocol protocol)
{
    static const char *const ids[] = {
        [PROTOCOL_SMTP] = "smtp", [PROTOCOL_POP3] = "pop3", [PROTOCOL_OPAQUE] = "opaque"
    };

    context->alpn = protocol == PROTOCOL_OPAQUE ? "" : ids[protocol];
    context->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    context->certificates = calloc(settings->tls_count, sizeof(*context->certificates));
    if (!context->ticket_cipher || !context->certificates)
        return -ENOMEM;
    for (size_t i = 0; i < settings->tls_count; i++) {
        int status;

        if (settings->tls[i].certificate.count == 0)
            continue;
        status = build(&context->certificates[context->count++], &settings->tls[i], bundle, context,
                       ids[protocol]);
        if (status < 0)
            return status;
    }
    return context->count > 0 ? 0 : -ENOENT;
}

int tls_context_new(const struct settings *settings, const struct bundle *bundle,
                    enum port_protocol protocol, const struct ticket_keys *keys,
                    struct tls_context **ret_context)
{
    struct tls_context *context;
    int status;

    if (settings->tls_count == 0)
        return -ENOENT;
    context = calloc(1, sizeof(*context));
    if (!context)
        return -ENOMEM;
    context->references = 1;
    context->keys = keys;
    status = build_all(context, settings, bundle, protocol);
    ERR_clear_error();
    if (status < 0) {
        tls_context_free(context);
        return status;
    }
    *ret_context = context;
    return 0;
}

static void clear_certificate(struct certificate *certificate)
{
    for (size_t i = 0; i < certificate->name_count; i++)
        free(certificate->names[i]);
    free(certificate->names);
    SSL_CTX_free(certificate->ssl_ctx);
}

void tls_context_free(struct tls_context *context)
{
    if (!context || --context->references > 0)
        return;
    for (size_t i = 0; i < context->count; i++)
        clear_certificate(&context->certificates[i]);
    free(context->certificates);
    EVP_CIPHER_free(context->ticket_cipher);
    explicit_bzero(context->tickets, sizeof(context->tickets));
    explicit_bzero(context->seen, sizeof(context->seen));
    free(context);
}

struct ssl_st *tls_context_connect(struct tls_context *context)
{
    SSL *ssl = SSL_new(context->certificates[0].ssl_ctx);

    if (ssl)
        context->references++;
    return ssl;
}

const char *tls_context_alpn(const struct tls_context *context)
{
    return context->alpn;
}

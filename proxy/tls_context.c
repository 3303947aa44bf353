/* One SSL_CTX, made from a store of certificates and a profile, and what OpenSSL calls in
 * handshakes: the choice by SNI, ALPN, tickets.
 *
 * Happy path: a connection starts with the default identity, and the client_hello callback, which
 * runs before the version is chosen, gives it the one of the name that it asks for. Failures: what
 * OpenSSL refuses, although the certificates have been judged: one log line, -EINVAL. */
#include "proxy/tls_context.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include "proxy/base/log.h"
#include "proxy/tls_engine.h"
#include "proxy/tls_hooks.h"
#include "proxy/tls_pem.h"
#include "proxy/tls_profile.h"

#define NAME_SIZE_MAX 255 /* RFC 1035 section 2.3.4 */

struct tls_context {
    unsigned references;
    SSL_CTX *ssl_ctx;
    struct tls_store *store;
    enum tls_profile profile;
    const char *alpn; /* "" accepts nothing and refuses nothing */
    const struct ticket_keys *keys;
    EVP_CIPHER *ticket_cipher;
    struct ticket_material tickets[3]; /* derived from keys->keys[i] when last seen */
    struct ticket_key seen[3];
};

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

/* Another one than the default, which the connection starts with. */
static bool use_identity(const struct tls_context *context, SSL *ssl,
                         const struct tls_identity *identity)
{
    int min_version = tls_profile_min_version(context->profile, tls_identity_min_version(identity));

    return tls_identity_use(identity, ssl) && SSL_set_min_proto_version(ssl, min_version);
}

static int on_client_hello(SSL *ssl, int *ret_alert, void *unused)
{
    const struct tls_context *context = context_of(ssl);
    const struct tls_identity *identity = tls_store_choose(context->store, server_name(ssl));

    (void)unused;
    tls_note_offer(ssl, tls_identity_kinds(identity));
    if (identity != tls_store_default(context->store) && !use_identity(context, ssl, identity)) {
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

/* --- building --- */

static bool set_rules(SSL_CTX *ssl_ctx)
{
    SSL_CTX_set_options(ssl_ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_clear_options(ssl_ctx, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_LEGACY_SERVER_CONNECT);
    SSL_CTX_set_mode(ssl_ctx, SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(ssl_ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_timeout(ssl_ctx,
                        TICKET_EPOCH_SECONDS); /* so long the key of a ticket is held at least */
    SSL_CTX_set_max_early_data(ssl_ctx, 0);
    return SSL_CTX_set1_groups_list(ssl_ctx, TLS_CONTEXT_GROUPS) &&
           SSL_CTX_set_num_tickets(ssl_ctx, 1);
}

/* A ticket is good on ports of one protocol and one profile: OpenSSL resumes a session with the
 * cipher that it had, whatever is served now. */
static bool set_session_id(SSL_CTX *ssl_ctx, const char *protocol, enum tls_profile profile)
{
    char room[SSL_MAX_SSL_SESSION_ID_LENGTH];
    struct text id = TEXT_OVER(room);

    text_puts(&id, protocol);
    if (profile != TLS_PROFILE_DEFAULT)
        text_printf(&id, "/%s", tls_profile_name(profile));
    return !id.overflow && SSL_CTX_set_session_id_context(ssl_ctx, (const unsigned char *)id.data,
                                                          (unsigned)id.size);
}

static bool set_hooks(SSL_CTX *ssl_ctx, struct tls_context *context)
{
    SSL_CTX_set_app_data(ssl_ctx, context);
    SSL_CTX_set_client_hello_cb(ssl_ctx, on_client_hello, NULL);
    SSL_CTX_set_tlsext_servername_callback(ssl_ctx, on_server_name);
    SSL_CTX_set_msg_callback(ssl_ctx, tls_on_message);
    if (context->alpn[0])
        SSL_CTX_set_alpn_select_cb(ssl_ctx, on_alpn, NULL);
    return SSL_CTX_set_tlsext_ticket_key_evp_cb(ssl_ctx, on_ticket);
}

static int build(struct tls_context *context, enum port_protocol protocol)
{
    static const char *const names[] = { [PROTOCOL_SMTP] = "smtp",
                                         [PROTOCOL_POP3] = "pop3",
                                         [PROTOCOL_REMOTE] = "remote-mail/1",
                                         [PROTOCOL_OPAQUE] = "opaque" };
    const struct tls_identity *identity = tls_store_default(context->store);
    char room[256];
    struct text words = TEXT_OVER(room);

    context->alpn = protocol == PROTOCOL_OPAQUE ? "" : names[protocol];
    context->ticket_cipher = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
    context->ssl_ctx = SSL_CTX_new(TLS_server_method());
    if (!context->ticket_cipher || !context->ssl_ctx)
        return -ENOMEM;
    if (tls_identity_use_always(identity, context->ssl_ctx) && set_rules(context->ssl_ctx) &&
        set_hooks(context->ssl_ctx, context) &&
        set_session_id(context->ssl_ctx, names[protocol], context->profile) &&
        tls_profile_apply(context->ssl_ctx, context->profile, tls_identity_min_version(identity)))
        return 0;
    tls_put_words(&words, "TLS cannot be set up with OpenSSL and [tls default]");
    log_line(LOG_LEVEL_ERROR, "%s", text_str(&words));
    return -EINVAL;
}

int tls_context_new(struct tls_store *store, enum port_protocol protocol, enum tls_profile profile,
                    const struct ticket_keys *keys, struct tls_context **ret_context)
{
    struct tls_context *context = calloc(1, sizeof(*context));
    int status;

    if (!context)
        return -ENOMEM;
    context->references = 1;
    context->store = tls_store_ref(store);
    context->profile = profile;
    context->keys = keys;
    status = build(context, protocol);
    ERR_clear_error();
    if (status < 0) {
        tls_context_free(context);
        return status;
    }
    *ret_context = context;
    return 0;
}

void tls_context_free(struct tls_context *context)
{
    if (!context || --context->references > 0)
        return;
    SSL_CTX_free(context->ssl_ctx);
    tls_store_free(context->store);
    EVP_CIPHER_free(context->ticket_cipher);
    explicit_bzero(context->tickets, sizeof(context->tickets));
    explicit_bzero(context->seen, sizeof(context->seen));
    free(context);
}

struct ssl_st *tls_context_connect(struct tls_context *context)
{
    SSL *ssl = SSL_new(context->ssl_ctx);

    if (ssl)
        context->references++;
    return ssl;
}

const char *tls_context_alpn(const struct tls_context *context)
{
    return context->alpn;
}

enum tls_profile tls_context_profile(const struct tls_context *context)
{
    return context->profile;
}

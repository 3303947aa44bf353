/* Certificates and private keys out of PEM text, with OpenSSL's reason where one cannot be used.
 *
 * Fails for what does not parse, does not belong together, or is too weak; nothing is ever asked
 * for at a terminal. Whether a certificate has expired is another question (tls_certificate.h): a
 * worker that is started again on that day must not fail for it. */
#include "proxy/tls_pem.h"

#include <errno.h>

#include <openssl/err.h>
#include <openssl/pem.h>

/* A child has no terminal to ask for a pass phrase. */
static int no_pass_phrase(char *into, int room, int writing, void *unused)
{
    (void)into, (void)room, (void)writing, (void)unused;
    return -1;
}

int tls_put_words(struct text *into, const char *words)
{
    unsigned long error = ERR_peek_last_error();
    const char *reason = error ? ERR_reason_error_string(error) : NULL;

    text_printf(into, reason ? "%s (%s)" : "%s", words, reason);
    ERR_clear_error();
    return -EINVAL;
}

/* The next certificate; NULL at the end of the text, and at what does not parse. */
static X509 *next_certificate(BIO *pem)
{
    return PEM_read_bio_X509(pem, NULL, no_pass_phrase, NULL);
}

/* Behind the last one: was it the end? Forgets the error. */
static bool at_end(void)
{
    bool end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;

    if (end)
        ERR_clear_error();
    return end;
}

/* The certificates behind the first one. 0 or -EINVAL. */
static int read_chain(BIO *pem, struct tls_pair *pair, struct text *into)
{
    X509 *link;

    pair->chain = sk_X509_new_null();
    if (!pair->chain)
        return tls_put_words(into, "no memory");
    while ((link = next_certificate(pem))) {
        if (!sk_X509_push(pair->chain, link)) {
            X509_free(link);
            return tls_put_words(into, "no memory");
        }
    }
    return at_end() ? 0 : tls_put_words(into, "the certificate chain does not parse");
}

static bool holds_key(struct span pem)
{
    return span_search(pem, SPAN_LIT(" PRIVATE KEY-----")) < pem.size;
}

static bool holds_certificate(struct span pem)
{
    return span_search(pem, SPAN_LIT(" CERTIFICATE-----")) < pem.size;
}

static int read_certificate(struct span certificate, struct tls_pair *pair, struct text *into)
{
    BIO *pem = BIO_new_mem_buf(certificate.data, (int)certificate.size);
    int status;

    pair->leaf = pem ? PEM_read_bio_X509_AUX(pem, NULL, no_pass_phrase, NULL) : NULL;
    if (!pair->leaf)
        status = tls_put_words(into, holds_key(certificate)
                                         ? "the certificate does not parse: here is a private key"
                                         : "the certificate does not parse");
    else
        status = read_chain(pem, pair, into);
    BIO_free(pem);
    return status;
}

static int read_key(struct span key, struct tls_pair *pair, struct text *into)
{
    BIO *pem = BIO_new_mem_buf(key.data, (int)key.size);
    int status = 0;

    pair->key = pem ? PEM_read_bio_PrivateKey(pem, NULL, no_pass_phrase, NULL) : NULL;
    if (!pair->key)
        status =
            tls_put_words(into, holds_certificate(key) && !holds_key(key)
                                    ? "the private key does not parse: here is a certificate"
                                    : "the private key does not parse, or wants a pass phrase");
    else if (!X509_check_private_key(pair->leaf, pair->key))
        status = tls_put_words(into, "the private key does not belong to the certificate");
    BIO_free(pem);
    return status < 0 ? -EKEYREJECTED : 0;
}

static unsigned kind_of(const EVP_PKEY *key)
{
    switch (EVP_PKEY_get_base_id(key)) {
    case EVP_PKEY_RSA:
        return TLS_KIND_RSA;
    case EVP_PKEY_RSA_PSS:
        return TLS_KIND_RSA_PSS;
    case EVP_PKEY_EC:
        return TLS_KIND_ECDSA;
    case EVP_PKEY_ED25519:
        return TLS_KIND_ED25519;
    case EVP_PKEY_ED448:
        return TLS_KIND_ED448;
    default: /* DSA, and what OpenSSL learns in future */
        return 0;
    }
}

int tls_pem_check_strength(SSL_CTX *scratch, const struct tls_pair *pair, struct text *into)
{
    if (SSL_CTX_use_cert_and_key(scratch, pair->leaf, pair->key, pair->chain, 1))
        return 0;
    return tls_put_words(into, "the certificate cannot be used");
}

int tls_pem_read_pair(struct span certificate, struct span key, struct text *into,
                      struct tls_pair *ret_pair)
{
    struct tls_pair pair = { .leaf = NULL };
    int status = read_certificate(certificate, &pair, into);

    if (status == 0)
        status = read_key(key, &pair, into);
    if (status == 0) {
        pair.kind = kind_of(pair.key);
        if (pair.kind == 0)
            status = tls_put_words(into, "the certificate has a kind of key that is not served");
    }
    if (status < 0)
        tls_pem_drop_pair(&pair);
    else
        *ret_pair = pair;
    return status;
}

void tls_pem_drop_pair(struct tls_pair *pair)
{
    X509_free(pair->leaf);
    sk_X509_pop_free(pair->chain, X509_free);
    EVP_PKEY_free(pair->key);
}

static int read_all(BIO *pem, STACK_OF(X509) * into_stack, struct text *into)
{
    X509 *certificate;

    while ((certificate = next_certificate(pem))) {
        if (!sk_X509_push(into_stack, certificate)) {
            X509_free(certificate);
            return tls_put_words(into, "no memory");
        }
    }
    if (at_end() && sk_X509_num(into_stack) > 0)
        return 0;
    if (sk_X509_num(into_stack) == 0)
        return tls_put_words(into, "there is no certificate in it");
    text_printf(into, "the certificate behind the first %d ", sk_X509_num(into_stack));
    return tls_put_words(into, "does not parse");
}

int tls_pem_read_all(struct span pem, struct text *into, struct stack_st_X509 **ret_stack)
{
    BIO *bio = BIO_new_mem_buf(pem.size > 0 ? (const void *)pem.data : "", (int)pem.size);
    STACK_OF(X509) *stack = bio ? sk_X509_new_null() : NULL;
    int status = stack ? read_all(bio, stack, into) : tls_put_words(into, "no memory");

    BIO_free(bio);
    if (status < 0)
        sk_X509_pop_free(stack, X509_free);
    else
        *ret_stack = stack;
    return status;
}

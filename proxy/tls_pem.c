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

/* Adds the certificates behind the first one. 0 or -EINVAL. */
static int use_chain(SSL_CTX *ssl_ctx, BIO *pem, struct text *into)
{
    X509 *link;

    while ((link = next_certificate(pem))) {
        if (!SSL_CTX_add0_chain_cert(ssl_ctx, link)) {
            X509_free(link);
            return tls_put_words(into, "the certificate chain cannot be used");
        }
    }
    return at_end() ? 0 : tls_put_words(into, "the certificate chain does not parse");
}

/* Is there a PEM block of that kind? */
static bool holds(struct span pem, const char *end_of_line)
{
    return span_search(pem, span_of_text(end_of_line)) < pem.size;
}

static int use_certificate(SSL_CTX *ssl_ctx, struct span certificate, struct text *into)
{
    BIO *pem = BIO_new_mem_buf(certificate.data, (int)certificate.size);
    X509 *leaf = pem ? PEM_read_bio_X509_AUX(pem, NULL, no_pass_phrase, NULL) : NULL;
    int status;

    if (!leaf)
        status = tls_put_words(into, holds(certificate, " PRIVATE KEY-----")
                                         ? "the certificate does not parse: here is a private key"
                                         : "the certificate does not parse");
    else if (!SSL_CTX_use_certificate(ssl_ctx, leaf))
        status = tls_put_words(into, "the certificate cannot be used");
    else
        status = use_chain(ssl_ctx, pem, into);
    X509_free(leaf);
    BIO_free(pem);
    return status;
}

static int use_key(SSL_CTX *ssl_ctx, struct span key, struct text *into)
{
    BIO *pem = BIO_new_mem_buf(key.data, (int)key.size);
    EVP_PKEY *private = pem ? PEM_read_bio_PrivateKey(pem, NULL, no_pass_phrase, NULL) : NULL;
    int status = 0;

    if (!private)
        status =
            tls_put_words(into, holds(key, " CERTIFICATE-----")
                                    ? "the private key does not parse: here is a certificate"
                                    : "the private key does not parse, or wants a pass phrase");
    else if (!SSL_CTX_use_PrivateKey(ssl_ctx, private) || !SSL_CTX_check_private_key(ssl_ctx))
        status = tls_put_words(into, "the private key does not belong to the certificate");
    EVP_PKEY_free(private);
    BIO_free(pem);
    return status < 0 ? -EKEYREJECTED : 0;
}

int tls_pem_use_pair(SSL_CTX *ssl_ctx, struct span certificate, struct span key, struct text *into)
{
    int status = use_certificate(ssl_ctx, certificate, into);

    return status < 0 ? status : use_key(ssl_ctx, key, into);
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

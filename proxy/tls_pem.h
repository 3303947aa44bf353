/* Private between tls_store.c and tls_client.c: what PEM text holds, as OpenSSL's objects. */
#ifndef GATEPOST_PROXY_TLS_PEM_H
#define GATEPOST_PROXY_TLS_PEM_H

#include <openssl/ssl.h>

#include "proxy/base/text.h"
#include "proxy/tls_profile.h"

/* Appends "WORDS (OpenSSL's last reason)" and forgets OpenSSL's errors. -EINVAL. */
int tls_put_words(struct text *into, const char *words);

/* A certificate with its chain and its key. */
struct tls_pair {
    X509 *leaf;
    struct stack_st_X509 *chain;
    EVP_PKEY *key;
    unsigned kind; /* enum tls_kind */
};

/* Parsed, and belonging together. 0; or with words -EINVAL, or -EKEYREJECTED where the key is at
 * fault. tls_pem_drop_pair() frees what is in it. */
int tls_pem_read_pair(struct span certificate, struct span key, struct text *into,
                      struct tls_pair *ret_pair);
void tls_pem_drop_pair(struct tls_pair *pair);

/* As strong as the security level of `scratch` asks, an SSL_CTX for such questions? (The default
 * level is an administrator's to raise.) 0, or -EINVAL with words. */
int tls_pem_check_strength(SSL_CTX *scratch, const struct tls_pair *pair, struct text *into);

/* Every certificate of the text, at least one; sk_X509_pop_free() takes them. 0, or -EINVAL with
 * words. */
int tls_pem_read_all(struct span pem, struct text *into, struct stack_st_X509 **ret_stack);

#endif

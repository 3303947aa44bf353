/* Private between tls_context.c and tls_client.c: what PEM text holds, as OpenSSL's objects. */
#ifndef GATEPOST_PROXY_TLS_PEM_H
#define GATEPOST_PROXY_TLS_PEM_H

#include <openssl/ssl.h>

#include "proxy/base/text.h"

/* Appends "WORDS (OpenSSL's last reason)" and forgets OpenSSL's errors. -EINVAL. */
int tls_put_words(struct text *into, const char *words);

/* The certificate, its chain and its key, in use. 0, or with words -EINVAL, or -EKEYREJECTED where
 * the key is at fault. */
int tls_pem_use_pair(SSL_CTX *ssl_ctx, struct span certificate, struct span key, struct text *into);

/* Every certificate of the text, at least one; sk_X509_pop_free() takes them. 0, or -EINVAL with
 * words. */
int tls_pem_read_all(struct span pem, struct text *into, struct stack_st_X509 **ret_stack);

#endif

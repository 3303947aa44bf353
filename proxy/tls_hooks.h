/* Private between tls.c and tls_context.c: what OpenSSL calls for each connection, whose
 * SSL_get_app_data() is its struct tls. */
#ifndef GATEPOST_PROXY_TLS_HOOKS_H
#define GATEPOST_PROXY_TLS_HOOKS_H

#include <openssl/ssl.h>

#define TLS_CONTEXT_GROUPS "X25519:P-256:P-384" /* for OpenSSL, and for words */

/* SSL_CTX_set_msg_callback: counts floods, sees alerts. Called a few times a record; costs nothing
 * beside the record. */
void tls_on_message(int written, int version, int type, const void *octets, size_t size, SSL *ssl,
                    void *unused);

/* From the client_hello callback: keeps what the client offers, for tls_failure(). `kinds`: which
 * certificates there are for it (enum tls_kind). */
void tls_note_offer(SSL *ssl, unsigned kinds);

#endif

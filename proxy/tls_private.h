/* Private between tls.c (the engine) and tls_words.c (words for failures): one stream's TLS, as
 * server or as client. Every session has one or two of these: octets count. */
#ifndef GATEPOST_PROXY_TLS_PRIVATE_H
#define GATEPOST_PROXY_TLS_PRIVATE_H

#include <openssl/ssl.h>

#include "proxy/base/chunk.h"
#include "proxy/base/text.h"
#include "proxy/tls_engine.h"

#define TLS_OFFERED_KEPT 6
#define TLS_FIRST_KEPT   5 /* OpenSSL reads the head of a record, and no further */

struct tls {
    SSL *ssl;
    struct stream *stream;
    union {
        struct tls_context *context; /* as server */
        struct tls_client *client;   /* as client */
    };
    struct span lent;         /* ciphertext in the loop's buffer */
    struct chunk_queue held;  /* ciphertext that was read while the owner paused; before `lent` */
    char *failure;            /* heap; NULL: none, or no memory for it */
    int outcome;              /* of reading, once it is over: TLS_STEP_CLOSED or -EPROTO; else 0 */
    uint32_t control_waiting; /* octets of control records put out while the peer did not read */
    union {
        struct {
            uint16_t version, count, ciphers[TLS_OFFERED_KEPT];
            uint8_t kinds;       /* which certificates there are for it */
            uint8_t serving;     /* the profiles that have a suite of it and of these kinds ... */
            uint8_t serving_any; /* ... and of any kind; see tls_profile_serving() */
        } offered;               /* as server: the ClientHello's best version, its ciphers */
        struct {
            unsigned char octets[TLS_FIRST_KEPT], count;
        } first; /* as client: how the server began */
    };
    uint8_t messages; /* after the handshake, since the last application data */
    bool is_client, dry, established, cleansing, reading, put_any, alert_put;
};

bool tls_flooded(const struct tls *tls);

/* As client: keeps the beginning of what the server sends. */
void tls_note_first(struct tls *tls, struct span octets);

/* Words for an error of OpenSSL, 0: it has none. */
void tls_put_error_words(const struct tls *tls, unsigned long error, struct text *into);

#endif

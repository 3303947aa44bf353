/* TLS on one stream, to a client or to a server: OpenSSL's engine over the loop's buffers. Used by
 * stream.c; others only ask for facts.
 *
 * OpenSSL is used in tls.c, tls_*.c and tickets.c and nowhere else. */
#ifndef GATEPOST_PROXY_TLS_H
#define GATEPOST_PROXY_TLS_H

#include "proxy/base/span.h"

struct stream;

/* What was agreed; texts are static or belong to the connection, never NULL. */
struct tls_facts {
    const char *version; /* "TLSv1.3" */
    const char *cipher;  /* "TLS_AES_128_GCM_SHA256" */
    const char *sni;     /* "" where none was sent, to us or by us */
    const char *alpn;    /* "" where none was agreed */
    bool resumed;
};

void tls_facts(const struct stream *stream, struct tls_facts *ret_facts);

/* After a failed handshake or a TLS error: words for the log, naming what a client offered at best
 * ("client offered at most TLS 1.0, min_version is 1.2 (tls_profile = legacy serves it from private
 * networks)"; "no cipher in common: ..."), or what is wrong with a server ("certificate is for
 * a.example, not for b.example"). Points into the stream; never empty. */
const char *tls_failure(const struct stream *stream);

#endif

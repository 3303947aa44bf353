/* What a certificate says of itself, for those who tell it to people: when it is valid, and for
 * whom. */
#ifndef GATEPOST_PROXY_TLS_CERTIFICATE_H
#define GATEPOST_PROXY_TLS_CERTIFICATE_H

#include <stdbool.h>
#include <time.h>

#include "proxy/base/span.h"

#define TLS_DATE_SIZE 32

struct tls_certificate {
    time_t begins, ends;
    bool covers;     /* the name that was asked for */
    char names[200]; /* "a.example, *.b.example and 3 more", "" where it has none */
};

/* Reads the first certificate of a PEM text. Does it cover the host `name` (RFC 6125; "*.b.example"
 * asks for that wildcard itself)? 0, or -EINVAL where it does not parse; OpenSSL's errors are
 * forgotten. */
int tls_certificate_read(struct span pem, const char *name,
                         struct tls_certificate *ret_certificate);

/* "2026-11-27", in UTC. Returns `into`. */
const char *tls_date(time_t when, char into[TLS_DATE_SIZE]);

#endif

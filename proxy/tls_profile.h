/* What each tls_profile serves: versions and cipher suites, as one table for OpenSSL and for the
 * words that a refused client's operator reads.
 *
 * default: TLS 1.2 and 1.3, AEAD with forward secrecy. compatible adds TLS 1.2 with ECDHE and CBC;
 * legacy adds TLS 1.0 and 1.1, CBC and GCM without forward secrecy, and SHA-1 in signatures. */
#ifndef GATEPOST_PROXY_TLS_PROFILE_H
#define GATEPOST_PROXY_TLS_PROFILE_H

#include "conf/settings.h"

#define TLS_PROFILE_COUNT (TLS_PROFILE_LEGACY + 1)

struct ssl_ctx_st;

/* Kinds of keys, as a mask: what a certificate has, and what the suites of TLS 1.2 and older need.
 * Each has its own place in OpenSSL, so one certificate of each kind can stand side by side. */
enum tls_kind {
    TLS_KIND_RSA = 1,
    TLS_KIND_RSA_PSS = 2,
    TLS_KIND_ECDSA = 4,
    TLS_KIND_ED25519 = 8,
    TLS_KIND_ED448 = 16,
};

/* "RSA", "ECDSA", ...; static. */
const char *tls_kind_name(enum tls_kind kind);

/* "default", ...; static. */
const char *tls_profile_name(enum tls_profile profile);

/* OpenSSL's number of the oldest version that a [tls] section serves on a port of this profile. */
int tls_profile_min_version(enum tls_profile profile, enum tls_version section);

/* Versions, suites and what they need of OpenSSL. False: it refuses. Call it when the certificates
 * are in use: legacy lowers the security level, and they are not judged by that. */
bool tls_profile_apply(struct ssl_ctx_st *ssl_ctx, enum tls_profile profile,
                       enum tls_version section);

/* Which profiles take this suite: bit 1 << profile. `version` is the best that the client offers,
 * `kinds` what keys there are (enum tls_kind). */
unsigned tls_profile_serving(unsigned suite, unsigned version, unsigned kinds);

#endif

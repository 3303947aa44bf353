/* The certificates of one configuration, and which of them a client gets.
 *
 * An identity is what a set of server names is served with: a certificate, or several of which each
 * has another kind of key. Immutable once built, counted by reference inside one loop, shared by
 * the contexts of all protocols and profiles. Built without opening a file: PEM comes from the
 * bundle. */
#ifndef GATEPOST_PROXY_TLS_STORE_H
#define GATEPOST_PROXY_TLS_STORE_H

#include <time.h>

#include "conf/settings.h"
#include "proxy/base/bundle.h"
#include "proxy/base/text.h"

struct ssl_st;
struct ssl_ctx_st;
struct tls_identity;
struct tls_store;

/* Of all [tls NAME] sections, the default first. 0, -ENOENT where none has a certificate, -EINVAL
 * (one log line names section and cause) or -ENOMEM. */
int tls_store_new(const struct settings *settings, const struct bundle *bundle,
                  struct tls_store **ret_store);
struct tls_store *tls_store_ref(struct tls_store *store);
void tls_store_free(struct tls_store *store);

/* For clients that send no name; then by name: an exact one first, then a wildcard, else the
 * default. RFC 6066 section 3, RFC 6125 section 6.4.3. */
const struct tls_identity *tls_store_default(const struct tls_store *store);
const struct tls_identity *tls_store_choose(const struct tls_store *store, struct span name);

/* Puts its certificates in use, in place of others. False: OpenSSL refuses, with its error. */
bool tls_identity_use(const struct tls_identity *identity, struct ssl_st *ssl);
bool tls_identity_use_always(const struct tls_identity *identity, struct ssl_ctx_st *ssl_ctx);

/* What its [tls] section says. */
enum tls_version tls_identity_min_version(const struct tls_identity *identity);
/* enum tls_kind, as a mask: which certificates there are. */
unsigned tls_identity_kinds(const struct tls_identity *identity);

/* --- for the supervisor, which judges files --- */

/* What a certificate is, for who must choose among several. */
struct tls_card {
    unsigned kind; /* enum tls_kind */
    time_t ends;
    char *names; /* its DNS names in small letters, sorted, each once, a blank behind each; heap */
};

/* Is this certificate and key usable: parsed, belonging together, not too weak, not expired? 0 and
 * *ret_card (unless it is NULL); or with words in `into` -EINVAL, or -EKEYREJECTED where it is the
 * key's fault (alone or as well). */
int tls_store_judge(struct span certificate, struct span key, struct text *into,
                    struct tls_card *ret_card);

#endif

/* Identities out of the bundle's PEM, and the choice among them by server name.
 *
 * Happy path: the bundle holds, for [tls NAME], "tls/NAME/0/certificate" and "tls/NAME/0/key", as
 * many pairs of that number as there are kinds of keys; a directory has further numbers. Names are
 * those of the section or of the certificates. Failures: PEM that does not parse, a key that does
 * not match, a certificate that is too weak: one log line, -EINVAL; the supervisor has judged them
 * before. That one has expired is no failure in a worker, which may be started again on that day.
 */
#include "proxy/tls_store.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <strings.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/log.h"
#include "proxy/tls_certificate.h"
#include "proxy/tls_pem.h"
#include "proxy/tls_profile.h"

#define NAMES_MAX 100 /* subject names taken from one certificate; public CAs issue up to 100 */
#define PAIRS_MAX 5   /* one of each enum tls_kind */

struct tls_identity {
    struct tls_pair pairs[PAIRS_MAX];
    size_t pair_count;
    unsigned kinds;
    enum tls_version min_version;
    char **names; /* "*.example.org" matches one label */
    size_t name_count;
};

struct tls_store {
    unsigned references;
    SSL_CTX *scratch;                /* while it is built */
    struct tls_identity *identities; /* the default first */
    size_t count;
};

/* --- names --- */

static int add_name(struct tls_identity *identity, struct span name)
{
    char **names = reallocarray(identity->names, identity->name_count + 1, sizeof(*names));
    char *copy;

    if (!names)
        return -ENOMEM;
    identity->names = names;
    copy = strndup((const char *)name.data, name.size);
    if (!copy)
        return -ENOMEM;
    names[identity->name_count++] = copy;
    return 0;
}

/* Those of the type dNSName, at most NAMES_MAX of them: how many. */
static size_t subject_names(const GENERAL_NAMES *subjects, struct span names[NAMES_MAX])
{
    size_t count = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(subjects) && count < NAMES_MAX; i++) {
        const GENERAL_NAME *subject = sk_GENERAL_NAME_value(subjects, i);

        if (subject->type == GEN_DNS)
            names[count++] = span_of(ASN1_STRING_get0_data(subject->d.dNSName),
                                     (size_t)ASN1_STRING_length(subject->d.dNSName));
    }
    return count;
}

static int add_subject_names(struct tls_identity *identity, X509 *leaf)
{
    GENERAL_NAMES *subjects = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    struct span names[NAMES_MAX];
    size_t count = subjects ? subject_names(subjects, names) : 0;
    int status = 0;

    for (size_t i = 0; i < count && status == 0; i++)
        status = add_name(identity, names[i]);
    GENERAL_NAMES_free(subjects);
    return status;
}

static int add_names(struct tls_identity *identity, const struct settings_list *names)
{
    int status = 0;

    for (size_t i = 0; i < names->count && status == 0; i++)
        status = add_name(identity, span_of_text(names->items[i]));
    for (size_t i = 0; names->count == 0 && i < identity->pair_count && status == 0; i++)
        status = add_subject_names(identity, identity->pairs[i].leaf);
    return status;
}

static bool has_name(const struct tls_identity *identity, struct span name)
{
    for (size_t i = 0; i < identity->name_count; i++) {
        if (span_equal_nocase(name, span_of_text(identity->names[i])))
            return true;
    }
    return false;
}

/* RFC 6125 section 6.4.3: "*" stands for the whole first label. */
static bool has_wildcard(const struct tls_identity *identity, struct span name)
{
    size_t label = span_find(name, '.');
    struct span parent = span_skip(name, label);

    for (size_t i = 0; i < identity->name_count && label > 0 && parent.size > 0; i++) {
        struct span pattern = span_of_text(identity->names[i]);

        if (pattern.size > 1 && pattern.data[0] == '*' &&
            span_equal_nocase(parent, span_skip(pattern, 1)))
            return true;
    }
    return false;
}

const struct tls_identity *tls_store_default(const struct tls_store *store)
{
    return &store->identities[0];
}

const struct tls_identity *tls_store_choose(const struct tls_store *store, struct span name)
{
    if (name.size > 0 && name.data[name.size - 1] == '.')
        name.size--;
    for (size_t i = 0; i < store->count && name.size > 0; i++) {
        if (has_name(&store->identities[i], name))
            return &store->identities[i];
    }
    for (size_t i = 0; i < store->count && name.size > 0; i++) {
        if (has_wildcard(&store->identities[i], name))
            return &store->identities[i];
    }
    return tls_store_default(store);
}

/* --- identities in use --- */

bool tls_identity_use(const struct tls_identity *identity, SSL *ssl)
{
    SSL_certs_clear(ssl);
    for (size_t i = 0; i < identity->pair_count; i++) {
        const struct tls_pair *pair = &identity->pairs[i];

        if (!SSL_use_cert_and_key(ssl, pair->leaf, pair->key, pair->chain, 1))
            return false;
    }
    return true;
}

bool tls_identity_use_always(const struct tls_identity *identity, SSL_CTX *ssl_ctx)
{
    for (size_t i = 0; i < identity->pair_count; i++) {
        const struct tls_pair *pair = &identity->pairs[i];

        if (!SSL_CTX_use_cert_and_key(ssl_ctx, pair->leaf, pair->key, pair->chain, 1))
            return false;
    }
    return true;
}

enum tls_version tls_identity_min_version(const struct tls_identity *identity)
{
    return identity->min_version;
}

unsigned tls_identity_kinds(const struct tls_identity *identity)
{
    return identity->kinds;
}

/* --- building --- */

static bool find_pem(const struct bundle *bundle, const char *section, size_t number, size_t pair,
                     const char *what, struct span *ret_pem)
{
    char room[512];
    struct text name = TEXT_OVER(room);

    text_printf(&name, "tls/%s/%zu/%s", section, number, what);
    return !name.overflow && bundle_find(bundle, text_str(&name), pair, ret_pem);
}

static int refuse_section(const char *section, const char *words)
{
    log_line(LOG_LEVEL_ERROR, "[tls %s]: %s", section, words);
    return -EINVAL;
}

static int add_pair(SSL_CTX *scratch, struct tls_identity *identity, const char *section,
                    struct span certificate, struct span key)
{
    struct tls_pair *pair = &identity->pairs[identity->pair_count];
    char room[512];
    struct text words = TEXT_OVER(room);

    if (tls_pem_read_pair(certificate, key, &words, pair) < 0)
        return refuse_section(section, text_str(&words));
    identity->pair_count++; /* from here on the store frees it */
    if (tls_pem_check_strength(scratch, pair, &words) < 0)
        return refuse_section(section, text_str(&words));
    if (identity->kinds & pair->kind)
        return refuse_section(section, "there are two certificates with one kind of key");
    identity->kinds |= pair->kind;
    return 0;
}

/* Fills one identity, which tls_store_free() clears. 0, -ENOENT (no such number), -EINVAL or
 * -ENOMEM. */
static int build(SSL_CTX *scratch, struct tls_identity *identity,
                 const struct settings_tls *section, const struct bundle *bundle, size_t number)
{
    struct span certificate, key;

    identity->min_version = section->min_version;
    while (find_pem(bundle, section->name, number, identity->pair_count, "certificate",
                    &certificate)) {
        int status;

        if (identity->pair_count == PAIRS_MAX ||
            !find_pem(bundle, section->name, number, identity->pair_count, "key", &key))
            return refuse_section(section->name, "a certificate has no key");
        status = add_pair(scratch, identity, section->name, certificate, key);
        if (status < 0)
            return status;
    }
    return identity->pair_count > 0 ? add_names(identity, &section->names) : -ENOENT;
}

static int build_section(struct tls_store *store, const struct settings_tls *section,
                         const struct bundle *bundle)
{
    for (size_t number = 0;; number++) {
        struct tls_identity *identities =
            reallocarray(store->identities, store->count + 1, sizeof(*identities));
        int status;

        if (!identities)
            return -ENOMEM;
        store->identities = identities;
        memset(&identities[store->count], 0, sizeof(*identities));
        status = build(store->scratch, &identities[store->count], section, bundle, number);
        if (status == -ENOENT && (number > 0 || *section->directory))
            return 0;
        if (status == -ENOENT)
            return refuse_section(section->name, "certificate or key is missing");
        store->count++;
        if (status < 0)
            return status;
    }
}

int tls_store_new(const struct settings *settings, const struct bundle *bundle,
                  struct tls_store **ret_store)
{
    struct tls_store *store = calloc(1, sizeof(*store));
    int status = 0;

    if (!store)
        return -ENOMEM;
    store->references = 1;
    store->scratch = SSL_CTX_new(TLS_server_method());
    if (!store->scratch)
        status = -ENOMEM;
    for (size_t i = 0; i < settings->tls_count && status == 0; i++) {
        const struct settings_tls *section = &settings->tls[i];

        if (section->certificate.count > 0 || *section->directory)
            status = build_section(store, section, bundle);
    }
    SSL_CTX_free(store->scratch);
    store->scratch = NULL;
    ERR_clear_error();
    if (status == 0 && store->count == 0)
        status = -ENOENT;
    if (status < 0)
        tls_store_free(store);
    else
        *ret_store = store;
    return status;
}

struct tls_store *tls_store_ref(struct tls_store *store)
{
    store->references++;
    return store;
}

static void clear_identity(struct tls_identity *identity)
{
    for (size_t i = 0; i < identity->pair_count; i++)
        tls_pem_drop_pair(&identity->pairs[i]);
    for (size_t i = 0; i < identity->name_count; i++)
        free(identity->names[i]);
    free(identity->names);
}

void tls_store_free(struct tls_store *store)
{
    if (!store || --store->references > 0)
        return;
    for (size_t i = 0; i < store->count; i++)
        clear_identity(&store->identities[i]);
    free(store->identities);
    free(store);
}

/* --- judging --- */

static int by_letters(const void *a, const void *b)
{
    const struct span *one = a, *other = b;
    size_t size = one->size < other->size ? one->size : other->size;
    int order = strncasecmp((const char *)one->data, (const char *)other->data, size);

    return order != 0 ? order : (one->size > other->size) - (one->size < other->size);
}

/* A text that free() takes; NULL: no memory. */
static char *names_of(X509 *leaf)
{
    GENERAL_NAMES *subjects = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    struct span names[NAMES_MAX];
    size_t count = subjects ? subject_names(subjects, names) : 0;
    struct text text = { NULL, 0, 1, false };

    for (size_t i = 0; i < count; i++)
        text.room += 4 * names[i].size + 1; /* escaped, a blank */
    text.data = malloc(text.room);
    qsort(names, count, sizeof(names[0]), by_letters);
    for (size_t i = 0; i < count && text.data; i++) {
        if (i > 0 && by_letters(&names[i - 1], &names[i]) == 0)
            continue;
        text_put_escaped(&text, names[i], names[i].size);
        text_puts(&text, " ");
    }
    for (size_t i = 0; i < text.size; i++)
        text.data[i] = (char)tolower((unsigned char)text.data[i]);
    GENERAL_NAMES_free(subjects);
    return text.data ? (char *)(uintptr_t)text_str(&text) : NULL;
}

/* Appends that the certificate has expired, if it has: then it is a failure, if it was none. */
static int judge_end(const struct tls_certificate *facts, int status, struct text *into)
{
    char date[TLS_DATE_SIZE];

    if (facts->ends >= time(NULL))
        return status;
    text_printf(into, "%sthe certificate has expired on %s", status < 0 ? "; " : "",
                tls_date(facts->ends, date));
    return status < 0 ? status : -EINVAL;
}

static int judge_pair(struct span certificate, struct span key, struct text *into,
                      struct tls_pair *ret_pair)
{
    SSL_CTX *scratch = SSL_CTX_new(TLS_server_method());
    int status = scratch ? tls_pem_read_pair(certificate, key, into, ret_pair)
                         : tls_put_words(into, "no memory");

    if (status == 0) {
        status = tls_pem_check_strength(scratch, ret_pair, into);
        if (status < 0)
            tls_pem_drop_pair(ret_pair);
    }
    SSL_CTX_free(scratch);
    return status;
}

int tls_store_judge(struct span certificate, struct span key, struct text *into,
                    struct tls_card *ret_card)
{
    struct tls_certificate facts = { .ends = 0 };
    struct tls_pair pair;
    int parsed = tls_certificate_read(certificate, "", &facts);
    int status = judge_pair(certificate, key, into, &pair), judged;

    judged = parsed == 0 ? judge_end(&facts, status, into) : status;
    if (judged == 0 && ret_card) {
        *ret_card = (struct tls_card){ pair.kind, facts.ends, names_of(pair.leaf) };
        if (!ret_card->names)
            judged = tls_put_words(into, "no memory");
    }
    if (status == 0)
        tls_pem_drop_pair(&pair);
    ERR_clear_error();
    return judged;
}

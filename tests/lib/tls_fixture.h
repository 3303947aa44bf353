/* Certificates, settings and a bundle made in memory, for the tests of TLS. */
#ifndef GATEPOST_TESTS_TLS_FIXTURE_H
#define GATEPOST_TESTS_TLS_FIXTURE_H

#include <stdio.h>
#include <stdlib.h>

#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/tls_context.h"

struct pem_pair {
    char certificate[4096], key[4096];
};

static inline void pem_of_bio(BIO *bio, char *into, size_t room)
{
    char *text;
    long size = BIO_get_mem_data(bio, &text);

    if (size < 0 || (size_t)size >= room)
        abort();
    memcpy(into, text, (size_t)size);
    into[size] = '\0';
    BIO_free(bio);
}

/* "RSA" (2048 bits), a curve as "P-256", "ED25519" or "ED448". */
static inline EVP_PKEY *make_key(const char *algorithm)
{
    if (strcmp(algorithm, "RSA") == 0)
        return EVP_RSA_gen(2048);
    if (algorithm[0] == 'P')
        return EVP_EC_gen(algorithm);
    return EVP_PKEY_Q_keygen(NULL, NULL, algorithm);
}

/* Self-signed by `key`, which is freed; `names` as OpenSSL writes them ("DNS:a,DNS:*.b") or NULL;
 * valid from yesterday for `days`. */
static inline void make_pair_of(struct pem_pair *pair, const char *names, int days, EVP_PKEY *key)
{
    X509 *x509 = X509_new();
    BIO *certificate = BIO_new(BIO_s_mem()), *private = BIO_new(BIO_s_mem());

    X509_set_version(x509, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_gmtime_adj(X509_getm_notBefore(x509), -2 * 86400L);
    X509_gmtime_adj(X509_getm_notAfter(x509), days * 86400L);
    X509_set_pubkey(x509, key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
                               (const unsigned char *)"test", -1, -1, 0);
    X509_set_issuer_name(x509, X509_get_subject_name(x509));
    if (names) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name, names);

        X509_add_ext(x509, extension, -1);
        X509_EXTENSION_free(extension);
    }
    if (!X509_sign(x509, key, EVP_PKEY_get_base_id(key) >= EVP_PKEY_ED25519 ? NULL : EVP_sha256()))
        abort();
    PEM_write_bio_X509(certificate, x509);
    PEM_write_bio_PrivateKey(private, key, NULL, NULL, 0, NULL, NULL);
    pem_of_bio(certificate, pair->certificate, sizeof(pair->certificate));
    pem_of_bio(private, pair->key, sizeof(pair->key));
    X509_free(x509);
    EVP_PKEY_free(key);
}

/* P-256 (or a 1024-bit RSA key, which is too weak). */
static inline void make_pair(struct pem_pair *pair, const char *names, int days, bool weak)
{
    make_pair_of(pair, names, days, weak ? EVP_RSA_gen(1024) : EVP_EC_gen("P-256"));
}

/* One [tls NAME]; `names` is a NULL-terminated list or NULL. A section without a pair has no
 * certificate at all. */
struct tls_section {
    const char *name;
    const struct pem_pair *pair;
    const char *names[4];
    enum tls_version min_version;
    const struct pem_pair *beside; /* another kind of key; NULL: none */
};

struct tls_fixture {
    struct settings settings;
    struct settings_tls sections[4];
    char no_path[1], *paths[1];
    struct bundle bundle;
};

static inline void bundle_put(struct bundle *bundle, const char *section, const char *what,
                              const char *content)
{
    char *entry;
    int size = asprintf(&entry, "tls/%s/0/%s %zu\n%s\n", section, what, strlen(content), content);

    if (size < 0)
        abort();
    bundle->data = realloc(bundle->data, bundle->size + (size_t)size);
    memcpy(bundle->data + bundle->size, entry, (size_t)size);
    bundle->size += (size_t)size;
    free(entry);
}

static inline void fixture_init(struct tls_fixture *fixture, const struct tls_section *sections,
                                size_t count)
{
    memset(fixture, 0, sizeof(*fixture));
    fixture->settings.tls = fixture->sections;
    fixture->paths[0] = fixture->no_path; /* nobody opens it */
    fixture->settings.tls_count = count;
    for (size_t i = 0; i < count; i++) {
        struct settings_tls *into = &fixture->sections[i];

        into->name = (char *)(uintptr_t)sections[i].name;
        into->certificate.items = fixture->paths;
        into->certificate.count = sections[i].pair ? 1 : 0;
        into->key = into->certificate;
        into->directory = fixture->no_path;
        into->min_version = sections[i].min_version;
        into->names.items = (char **)(uintptr_t)sections[i].names;
        while (into->names.count < 4 && sections[i].names[into->names.count])
            into->names.count++;
        if (sections[i].pair) {
            bundle_put(&fixture->bundle, into->name, "certificate", sections[i].pair->certificate);
            bundle_put(&fixture->bundle, into->name, "key", sections[i].pair->key);
        }
        if (sections[i].beside) {
            bundle_put(&fixture->bundle, into->name, "certificate",
                       sections[i].beside->certificate);
            bundle_put(&fixture->bundle, into->name, "key", sections[i].beside->key);
        }
    }
}

/* A context of these sections. 0, or what failed. */
static inline int fixture_context(const struct tls_fixture *fixture, enum port_protocol protocol,
                                  enum tls_profile profile, const struct ticket_keys *keys,
                                  struct tls_context **ret_context)
{
    struct tls_store *store;
    int status = tls_store_new(&fixture->settings, &fixture->bundle, &store);

    if (status < 0)
        return status;
    status = tls_context_new(store, protocol, profile, keys, ret_context);
    tls_store_free(store);
    return status;
}

static inline void fixture_deinit(struct tls_fixture *fixture)
{
    free(fixture->bundle.data);
}

#endif

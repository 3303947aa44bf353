/* Certificates signed by authorities, made in memory: for tests that let our side be the one that
 * checks. */
#ifndef GATEPOST_TESTS_TLS_AUTHORITY_H
#define GATEPOST_TESTS_TLS_AUTHORITY_H

#include "tests/lib/tls_fixture.h"

struct identity_card {
    EVP_PKEY *key;
    X509 *certificate;
};

/* What is asked of a certificate; days count from now. */
struct card_wish {
    const char *common_name;
    const char *names; /* as OpenSSL writes them ("DNS:a,IP:127.0.0.1"), or NULL */
    const char *usage; /* extended key usage, or NULL */
    bool authority;
    bool weak; /* RSA of 1024 bits */
    int from_days, to_days;
};

static inline void add_extension(X509 *certificate, int kind, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, kind, value);

    if (!extension || !X509_add_ext(certificate, extension, -1))
        abort();
    X509_EXTENSION_free(extension);
}

/* `issuer` NULL: signed by itself. */
static inline struct identity_card make_card(const struct card_wish *wish,
                                             const struct identity_card *issuer)
{
    static long serial = 1;
    struct identity_card card = { wish->weak ? EVP_RSA_gen(1024) : EVP_EC_gen("P-256"),
                                  X509_new() };
    X509 *certificate = card.certificate;

    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), wish->from_days * 86400L);
    X509_gmtime_adj(X509_getm_notAfter(certificate), wish->to_days * 86400L);
    X509_set_pubkey(certificate, card.key);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate), "CN", MBSTRING_UTF8,
                               (const unsigned char *)wish->common_name, -1, -1, 0);
    X509_set_issuer_name(certificate,
                         X509_get_subject_name(issuer ? issuer->certificate : certificate));
    add_extension(certificate, NID_basic_constraints,
                  wish->authority ? "critical,CA:TRUE" : "critical,CA:FALSE");
    if (wish->names)
        add_extension(certificate, NID_subject_alt_name, wish->names);
    if (wish->usage)
        add_extension(certificate, NID_ext_key_usage, wish->usage);
    if (!X509_sign(certificate, issuer ? issuer->key : card.key, EVP_sha256()))
        abort();
    return card;
}

static inline void free_card(struct identity_card *card)
{
    EVP_PKEY_free(card->key);
    X509_free(card->certificate);
}

/* The certificates one behind the other, as in a file of authorities. `pem` is overwritten. */
static inline void put_certificates(char *pem, size_t room,
                                    const struct identity_card *const *cards, size_t count)
{
    BIO *out;

    pem[0] = '\0';
    if (count == 0)
        return;
    out = BIO_new(BIO_s_mem());
    for (size_t i = 0; i < count; i++)
        PEM_write_bio_X509(out, cards[i]->certificate);
    pem_of_bio(out, pem, room);
}

#endif

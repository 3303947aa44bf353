/* The store: what the supervisor refuses in words and what it learns of a certificate; what a
 * worker makes of a bundle. (Which identity a name gets is looked at from outside, in
 * test_tls_context.c.) */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include <openssl/dsa.h>
#include <openssl/err.h>

#include "proxy/base/log.h"
#include "proxy/tls_profile.h"
#include "tests/lib/tls_fixture.h"

static struct pem_pair first, second, old, weak, rsa, dsa;

/* DSA (FIPS 186-4), which TLS 1.3 has not and nobody asks for. */
static void make_dsa_pair(struct pem_pair *pair)
{
    EVP_PKEY_CTX *making = EVP_PKEY_CTX_new_from_name(NULL, "DSA", NULL), *generating;
    EVP_PKEY *parameters = NULL, *key = NULL;

    assert_int_equal(EVP_PKEY_paramgen_init(making), 1);
    assert_int_equal(EVP_PKEY_CTX_set_dsa_paramgen_bits(making, 1024), 1);
    assert_int_equal(EVP_PKEY_paramgen(making, &parameters), 1);
    generating = EVP_PKEY_CTX_new(parameters, NULL);
    assert_int_equal(EVP_PKEY_keygen_init(generating), 1);
    assert_int_equal(EVP_PKEY_keygen(generating, &key), 1);
    make_pair_of(pair, "DNS:dsa.example.org", 30, key);
    EVP_PKEY_CTX_free(making);
    EVP_PKEY_CTX_free(generating);
    EVP_PKEY_free(parameters);
}

/* --- judging --- */

static void what_cannot_be_used_is_refused_in_words(void **state)
{
    static const struct {
        const char *name;
        const struct pem_pair *certificate, *key;
        int status;
        const char *words;
    } rows[] = {
        { "a good pair", &first, &first, 0, NULL },
        { "a key of another certificate", &first, &second, -EKEYREJECTED,
          "the private key does not belong to the certificate" },
        { "an expired certificate", &old, &old, -EINVAL, "the certificate has expired on 20" },
        { "an expired certificate and another's key", &old, &first, -EKEYREJECTED,
          "the private key does not belong to the certificate (key values mismatch); the "
          "certificate has expired on 20" },
        { "a weak key", &weak, &weak, -EINVAL,
          "the certificate cannot be used (ee key too small)" },
        { "an RSA key for an ECDSA certificate", &first, &rsa, -EKEYREJECTED,
          "the private key does not belong to the certificate" },
        { "an ECDSA key for an RSA certificate", &rsa, &first, -EKEYREJECTED,
          "the private key does not belong to the certificate" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char room[256];
        struct text words = TEXT_OVER(room);
        int status = tls_store_judge(span_of_text(rows[i].certificate->certificate),
                                     span_of_text(rows[i].key->key), &words, NULL);

        print_message("  %s\n", rows[i].name);
        assert_int_equal(status, rows[i].status);
        if (rows[i].words)
            assert_memory_equal(text_str(&words), rows[i].words, strlen(rows[i].words));
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void text_that_is_no_pem_is_refused(void **state)
{
    static const char *const broken_certificates[] = {
        "", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    };
    char room[256], chain[8192];
    struct text words;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        words = TEXT_OVER(room);
        assert_int_equal(tls_store_judge(span_of_text(broken_certificates[i]),
                                         span_of_text(first.key), &words, NULL),
                         -EINVAL);
        assert_non_null(strstr(text_str(&words), "the certificate does not parse"));
        words = TEXT_OVER(room);
        assert_int_equal(tls_store_judge(span_of_text(first.certificate),
                                         span_of_text(broken_certificates[i]), &words, NULL),
                         -EKEYREJECTED);
        assert_non_null(strstr(text_str(&words), "the private key does not parse"));
    }
    words = TEXT_OVER(room);
    snprintf(chain, sizeof(chain), "%s%s", first.certificate, broken_certificates[2]);
    assert_int_equal(tls_store_judge(span_of_text(chain), span_of_text(first.key), &words, NULL),
                     -EINVAL);
    assert_non_null(strstr(text_str(&words), "chain"));
    snprintf(chain, sizeof(chain), "%s%s", first.certificate, second.certificate);
    words = TEXT_OVER(room);
    assert_int_equal(tls_store_judge(span_of_text(chain), span_of_text(first.key), &words, NULL),
                     0);
}

static void swapped_files_are_told(void **state)
{
    char room[256];
    struct text words = TEXT_OVER(room);

    (void)state;
    assert_int_equal(
        tls_store_judge(span_of_text(first.key), span_of_text(first.certificate), &words, NULL),
        -EINVAL);
    assert_non_null(
        strstr(text_str(&words), "the certificate does not parse: here is a private key"));
    words = TEXT_OVER(room);
    assert_int_equal(tls_store_judge(span_of_text(first.certificate),
                                     span_of_text(first.certificate), &words, NULL),
                     -EKEYREJECTED);
    assert_non_null(
        strstr(text_str(&words), "the private key does not parse: here is a certificate"));
}

static void an_encrypted_key_is_refused_without_asking(void **state)
{
    BIO *in = BIO_new_mem_buf(first.key, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    char room[256], locked[4096];
    struct text words = TEXT_OVER(room);

    (void)state;
    PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "hush", 4, NULL, NULL);
    pem_of_bio(out, locked, sizeof(locked));
    assert_int_equal(
        tls_store_judge(span_of_text(first.certificate), span_of_text(locked), &words, NULL),
        -EKEYREJECTED);
    assert_non_null(strstr(text_str(&words), "wants a pass phrase"));
    EVP_PKEY_free(key);
    BIO_free(in);
}

static void what_is_weak_and_has_expired_is_told_at_once(void **state)
{
    char room[256];
    struct text words = TEXT_OVER(room);
    struct pem_pair pair;

    (void)state;
    make_pair(&pair, NULL, -1, true);
    assert_int_equal(
        tls_store_judge(span_of_text(pair.certificate), span_of_text(pair.key), &words, NULL),
        -EINVAL);
    assert_non_null(strstr(text_str(&words), "(ee key too small); the certificate has expired on"));
}

static void a_kind_of_key_that_tls_does_not_use_is_refused(void **state)
{
    char room[256];
    struct text words = TEXT_OVER(room);

    (void)state;
    assert_int_equal(
        tls_store_judge(span_of_text(dsa.certificate), span_of_text(dsa.key), &words, NULL),
        -EINVAL);
    assert_string_equal(text_str(&words), "the certificate has a kind of key that is not served");
}

static void a_card_tells_kind_end_and_names(void **state)
{
    static const struct {
        const char *algorithm, *names;
        unsigned kind;
        const char *card_names;
    } rows[] = {
        { "P-256", "DNS:b.example,DNS:A.Example,DNS:*.c.example,DNS:a.example", TLS_KIND_ECDSA,
          "*.c.example a.example b.example " },
        { "P-384", "DNS:a.example", TLS_KIND_ECDSA, "a.example " },
        { "RSA", "DNS:a.example,IP:192.0.2.1,email:a@a.example", TLS_KIND_RSA, "a.example " },
        { "ED25519", "DNS:a.example.org,DNS:a.example", TLS_KIND_ED25519,
          "a.example a.example.org " },
        { "ED448", NULL, TLS_KIND_ED448, "" },
        { "P-256", "IP:192.0.2.1", TLS_KIND_ECDSA, "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char room[256];
        struct text words = TEXT_OVER(room);
        struct tls_card card;
        struct pem_pair pair;

        make_pair_of(&pair, rows[i].names, 30, make_key(rows[i].algorithm));
        assert_int_equal(
            tls_store_judge(span_of_text(pair.certificate), span_of_text(pair.key), &words, &card),
            0);
        assert_int_equal(card.kind, rows[i].kind);
        assert_string_equal(card.names, rows[i].card_names);
        assert_in_range(card.ends - time(NULL), 29 * 86400, 31 * 86400);
        free(card.names);
    }
}

/* --- what a worker makes of it --- */

static void put(struct tls_fixture *fixture, const char *what, const struct pem_pair *pair)
{
    bool key = what[strlen(what) - 1] == 'y';
    char *entry;
    const char *pem = key ? pair->key : pair->certificate;
    int size = asprintf(&entry, "tls/%s %zu\n%s\n", what, strlen(pem), pem);

    fixture->bundle.data = realloc(fixture->bundle.data, fixture->bundle.size + (size_t)size);
    memcpy(fixture->bundle.data + fixture->bundle.size, entry, (size_t)size);
    fixture->bundle.size += (size_t)size;
    free(entry);
}

/* What the supervisor would never write. */
static void a_bundle_that_cannot_be_is_refused(void **state)
{
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2, NULL };
    struct tls_store *store = NULL;

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    for (int row = 0; row < 5; row++) {
        struct tls_fixture fixture;

        section.pair = row < 2 ? NULL : &first;
        fixture_init(&fixture, &section, 1);
        fixture.sections[0].certificate.count = 1;
        if (row == 1)
            put(&fixture, "default/0/certificate", &first); /* no key */
        if (row == 2)
            put(&fixture, "default/0/certificate", &rsa); /* no second key */
        if (row == 3) {                                   /* twice the same kind */
            put(&fixture, "default/0/certificate", &second);
            put(&fixture, "default/0/key", &second);
        }
        if (row == 4) { /* the second identity is bad */
            put(&fixture, "default/1/certificate", &second);
            put(&fixture, "default/1/key", &first);
        }
        assert_int_equal(tls_store_new(&fixture.settings, &fixture.bundle, &store), -EINVAL);
        assert_null(store);
        fixture_deinit(&fixture);
    }
}

static void a_section_has_as_many_identities_as_there_are_numbers(void **state)
{
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2, &rsa };
    struct tls_fixture fixture;
    struct tls_store *store;
    const struct tls_identity *other;

    (void)state;
    fixture_init(&fixture, &section, 1);
    put(&fixture, "default/1/certificate", &second);
    put(&fixture, "default/1/key", &second);
    put(&fixture, "default/3/certificate", &old); /* behind a gap: nobody looks there */
    assert_int_equal(tls_store_new(&fixture.settings, &fixture.bundle, &store), 0);
    fixture_deinit(&fixture);
    other = tls_store_choose(store, SPAN_LIT("second.example.org"));
    assert_int_equal(tls_identity_kinds(tls_store_default(store)), TLS_KIND_ECDSA | TLS_KIND_RSA);
    assert_int_equal(tls_identity_kinds(other), TLS_KIND_ECDSA);
    assert_ptr_equal(tls_store_choose(store, SPAN_LIT("rsa.example.org")),
                     tls_store_default(store));
    assert_ptr_equal(tls_store_choose(store, SPAN_LIT("old.example.org")),
                     tls_store_default(store));
    tls_store_free(store);
}

static void an_empty_directory_is_no_failure_and_alone_no_store(void **state)
{
    struct tls_section sections[] = { { "default", &first, { NULL }, TLS_VERSION_1_2, NULL },
                                      { "sites", NULL, { NULL }, TLS_VERSION_1_3, NULL } };
    struct tls_fixture fixture;
    struct tls_store *store = NULL;

    (void)state;
    fixture_init(&fixture, sections, 2);
    fixture.sections[1].directory = (char *)(uintptr_t) "/d";
    assert_int_equal(tls_store_new(&fixture.settings, &fixture.bundle, &store), 0);
    tls_store_free(store);
    store = NULL;
    fixture.settings.tls++;
    fixture.settings.tls_count = 1;
    assert_int_equal(tls_store_new(&fixture.settings, &fixture.bundle, &store), -ENOENT);
    assert_null(store);
    fixture_deinit(&fixture);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_used_is_refused_in_words),
        cmocka_unit_test(text_that_is_no_pem_is_refused),
        cmocka_unit_test(swapped_files_are_told),
        cmocka_unit_test(an_encrypted_key_is_refused_without_asking),
        cmocka_unit_test(what_is_weak_and_has_expired_is_told_at_once),
        cmocka_unit_test(a_kind_of_key_that_tls_does_not_use_is_refused),
        cmocka_unit_test(a_card_tells_kind_end_and_names),
        cmocka_unit_test(a_bundle_that_cannot_be_is_refused),
        cmocka_unit_test(a_section_has_as_many_identities_as_there_are_numbers),
        cmocka_unit_test(an_empty_directory_is_no_failure_and_alone_no_store),
    };

    make_pair(&first, "DNS:first.example.org", 30, false);
    make_pair(&second, "DNS:second.example.org", 30, false);
    make_pair(&old, "DNS:old.example.org", -1, false);
    make_pair(&weak, "DNS:weak.example.org", 30, true);
    make_pair_of(&rsa, "DNS:rsa.example.org", 30, make_key("RSA"));
    make_dsa_pair(&dsa);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Reads a certificate for the sake of words about it. Fails for what does not parse, which others
 * tell with OpenSSL's reason. */
#include "proxy/tls_certificate.h"

#include <errno.h>
#include <string.h>

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "proxy/base/text.h"

#define NAMES_SHOWN 4

const char *tls_date(time_t when, char into[TLS_DATE_SIZE])
{
    struct tm parts;

    if (!gmtime_r(&when, &parts) || strftime(into, TLS_DATE_SIZE, "%Y-%m-%d", &parts) == 0)
        strcpy(into, "a day far away");
    return into;
}

static time_t time_of(const ASN1_TIME *time)
{
    struct tm parts;

    return ASN1_TIME_to_tm(time, &parts) ? timegm(&parts) : 0;
}

/* A wildcard stands in the certificate as it is, or not at all. */
static bool covers(X509 *leaf, const GENERAL_NAMES *names, const char *name)
{
    if (strncmp(name, "*.", 2) != 0)
        return X509_check_host(leaf, name, 0, 0, NULL) == 1;
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);

        if (one->type == GEN_DNS &&
            span_equal_nocase(span_of(ASN1_STRING_get0_data(one->d.dNSName),
                                      (size_t)ASN1_STRING_length(one->d.dNSName)),
                              span_of_text(name)))
            return true;
    }
    return false;
}

static void put_names(const GENERAL_NAMES *names, struct text *into)
{
    int shown = 0, more = 0;

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *one = sk_GENERAL_NAME_value(names, i);
        struct span name;

        if (one->type != GEN_DNS)
            continue;
        name = span_of(ASN1_STRING_get0_data(one->d.dNSName),
                       (size_t)ASN1_STRING_length(one->d.dNSName));
        if (shown == NAMES_SHOWN || into->size + name.size > 150) {
            more++;
            continue;
        }
        text_puts(into, shown > 0 ? ", " : "");
        text_put_escaped(into, name, name.size);
        shown++;
    }
    if (more > 0)
        text_printf(into, " and %d more", more);
}

int tls_certificate_read(struct span pem, const char *name, struct tls_certificate *ret_certificate)
{
    BIO *bio = BIO_new_mem_buf(pem.size > 0 ? (const void *)pem.data : "", (int)pem.size);
    char no_pass_phrase[] = ""; /* so that nobody is asked for one */
    X509 *leaf = bio ? PEM_read_bio_X509_AUX(bio, NULL, NULL, no_pass_phrase) : NULL;
    GENERAL_NAMES *names = NULL;
    struct text words;

    if (leaf) {
        names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
        ret_certificate->begins = time_of(X509_get0_notBefore(leaf));
        ret_certificate->ends = time_of(X509_get0_notAfter(leaf));
        ret_certificate->covers = covers(leaf, names, name);
        words = TEXT_OVER(ret_certificate->names);
        put_names(names, &words);
        text_str(&words);
    }
    ERR_clear_error();
    GENERAL_NAMES_free(names);
    X509_free(leaf);
    BIO_free(bio);
    return leaf ? 0 : -EINVAL;
}

/* SHA-256 by OpenSSL's libcrypto, the only thing that the mail workers use of it. Fails for lack of
 * memory only, which libcrypto does not tell from its other reasons. */
#include "backends/digest.h"

#include <openssl/evp.h>

#include <errno.h>
#include <stdlib.h>

struct digest {
    EVP_MD_CTX *context;
};

struct digest *digest_new(void)
{
    struct digest *digest = malloc(sizeof(*digest));

    if (!digest)
        return NULL;
    digest->context = EVP_MD_CTX_new();
    if (digest_restart(digest) == 0)
        return digest;
    digest_free(digest);
    return NULL;
}

void digest_free(struct digest *digest)
{
    if (!digest)
        return;
    EVP_MD_CTX_free(digest->context);
    free(digest);
}

int digest_restart(struct digest *digest)
{
    return digest->context && EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) == 1 ? 0
                                                                                          : -ENOMEM;
}

int digest_add(struct digest *digest, struct span octets)
{
    return EVP_DigestUpdate(digest->context, octets.data, octets.size) == 1 ? 0 : -ENOMEM;
}

int digest_end(struct digest *digest, char *ret_digits)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char value[DIGEST_DIGITS / 2];

    if (EVP_DigestFinal_ex(digest->context, value, NULL) != 1)
        return -ENOMEM;
    for (size_t i = 0; i < sizeof(value); i++) {
        ret_digits[2 * i] = digits[value[i] >> 4];
        ret_digits[2 * i + 1] = digits[value[i] & 15];
    }
    return 0;
}

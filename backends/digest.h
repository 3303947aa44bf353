/* SHA-256 of octets that come in pieces, in hexadecimal: what Remote Mail compares messages by. */
#ifndef GATEPOST_BACKENDS_DIGEST_H
#define GATEPOST_BACKENDS_DIGEST_H

#include "proxy/base/span.h"

#define DIGEST_DIGITS 64

struct digest;

/* NULL: no memory. */
struct digest *digest_new(void);
void digest_free(struct digest *digest);

/* 0 or -errno. */
int digest_restart(struct digest *digest);
int digest_add(struct digest *digest, struct span octets);

/* Writes DIGEST_DIGITS lower-case digits, without a NUL. 0 or -errno. digest_restart() comes next.
 */
int digest_end(struct digest *digest, char *ret_digits);

#endif

/* The first octets of a client, one more at a time.
 *
 * Invariants: once decided, more octets change nothing; three octets always decide; only 0x16 is
 * TLS, and only a first octet with its high bit set needs more than one. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/detect.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum detect_result decided = DETECT_MORE;

    for (size_t count = 0; count <= size && count <= 16; count++) {
        unsigned char *copy = malloc(count ? count : 1); /* exact, for the address sanitizer */
        enum detect_result result;

        check(copy != NULL, "no memory");
        memcpy(copy, data, count);
        result = detect_first(span_of(copy, count));
        free(copy);
        check(decided == DETECT_MORE || result == decided, "more octets changed the result");
        check(count < DETECT_OCTETS_MAX || result != DETECT_MORE, "three octets did not decide");
        check(count == 0 || (data[0] & 0x80) || result != DETECT_MORE, "one octet did not decide");
        check(result != DETECT_SSLV2 || (data[0] & 0x80), "SSLv2 without its bit");
        check(count == 0 || (result == DETECT_TLS) == (data[0] == 0x16), "TLS is 0x16");
        decided = result;
    }
    return 0;
}

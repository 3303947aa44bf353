/* Any octets as a PROXY header: a header that is read, written and read again says the same; each
 * of its beginnings asks for more; octets behind it change nothing. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/base/proxy_v2.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* Reads from an allocation of exactly `size`, so that the address sanitizer sees a look beyond it.
 */
static int read_exact(const uint8_t *data, size_t size, struct proxy_v2 *ret_facts,
                      size_t *ret_size)
{
    unsigned char *exact = malloc(size ? size : 1);
    int r;

    REQUIRE(exact);
    if (size > 0)
        memcpy(exact, data, size);
    r = proxy_v2_read(span_of(exact, size), ret_facts, ret_size);
    free(exact);
    return r;
}

static void check_written_again(const struct proxy_v2 *facts)
{
    unsigned char header[PROXY_V2_HEADER_MAX];
    struct proxy_v2 again;
    size_t size = 0;
    long written = proxy_v2_write(facts, header, sizeof(header));

    REQUIRE(written > 0);
    REQUIRE(read_exact(header, (size_t)written, &again, &size) == PROXY_V2_READY);
    REQUIRE(size == (size_t)written);
    REQUIRE(memcmp(facts, &again, sizeof(again)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct proxy_v2 facts, other;
    size_t header_size = 0, other_size = 0, first = 0;
    int r = read_exact(data, size, &facts, &header_size);

    while (first < size && read_exact(data, first, &other, &other_size) == PROXY_V2_MORE)
        first++;
    if (r == PROXY_V2_MORE)
        REQUIRE(first == size);
    if (r != PROXY_V2_READY)
        return 0;
    REQUIRE(header_size <= size && header_size <= PROXY_V2_HEADER_MAX && first == header_size);
    REQUIRE(read_exact(data, header_size, &other, &other_size) == PROXY_V2_READY);
    REQUIRE(other_size == header_size && memcmp(&facts, &other, sizeof(other)) == 0);
    check_written_again(&facts);
    return 0;
}

/* Any octets as the beginning of a trusted balancer's connection.
 *
 * Invariants: the first octets that decide decide for good, and a header that is read is decided by
 * its last octet; octets behind it change nothing; who is named, written in either version and read
 * again, is named again. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/proxy_header.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* Reads from an allocation of exactly `size`, so that the address sanitizer sees a look beyond it.
 */
static int read_exact(const uint8_t *data, size_t size, struct origin *ret_origin, size_t *ret_size)
{
    unsigned char *exact = malloc(size ? size : 1);
    int r;

    REQUIRE(exact);
    if (size > 0)
        memcpy(exact, data, size);
    r = proxy_header_read(span_of(exact, size), ret_origin, ret_size);
    free(exact);
    return r;
}

static void require_same(const struct origin *origin, const unsigned char *header, long written)
{
    struct origin again;
    size_t size = 0;

    REQUIRE(written > 0);
    REQUIRE(read_exact(header, (size_t)written, &again, &size) == PROXY_HEADER_ORIGIN);
    REQUIRE(size == (size_t)written);
    REQUIRE(memcmp(origin, &again, sizeof(again)) == 0);
}

static void check_written_again(const struct origin *origin)
{
    struct proxy_v2 facts = { .client = origin->client, .server = origin->server };
    unsigned char header[PROXY_HEADER_MAX];

    REQUIRE(origin->client.ss_family == AF_INET || origin->client.ss_family == AF_INET6);
    REQUIRE(origin->client.ss_family == origin->server.ss_family);
    require_same(origin, header,
                 proxy_v1_write(&origin->client, &origin->server, header, PROXY_V1_LINE_MAX));
    require_same(origin, header, proxy_v2_write(&facts, header, sizeof(header)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct origin origin, other;
    size_t header_size = 0, other_size = 0, first = 0;
    int r = read_exact(data, size, &origin, &header_size), decided = PROXY_HEADER_MORE;

    while (first <= size && decided == PROXY_HEADER_MORE)
        decided = read_exact(data, first++, &other, &other_size);
    REQUIRE(decided == r);
    REQUIRE(r != PROXY_HEADER_MORE || size < PROXY_HEADER_MAX);
    if (r == PROXY_HEADER_MORE || r < 0)
        return 0;
    REQUIRE(header_size == first - 1 && header_size == other_size);
    REQUIRE(header_size > 0 && header_size <= size && header_size <= PROXY_HEADER_MAX);
    if (r == PROXY_HEADER_NO_ORIGIN)
        return 0;
    REQUIRE(memcmp(&origin, &other, sizeof(other)) == 0);
    check_written_again(&origin);
    return 0;
}

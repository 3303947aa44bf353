/* Addresses and networks, all compared as 16 octets. Nothing fails but the reading of what is no
 * address. */
#include "proxy/network.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#define MAPPED_BITS 96 /* of the prefix ::ffff:0:0/96, RFC 4291 section 2.5.5.2 */

static const unsigned char mapped_prefix[12] = { [10] = 0xff, 0xff };

static bool is_mapped(const unsigned char octets[16])
{
    return memcmp(octets, mapped_prefix, sizeof(mapped_prefix)) == 0;
}

/* The address as 16 octets. False: neither IPv4 nor IPv6. */
static bool octets_of(const struct sockaddr_storage *address, unsigned char octets[16])
{
    const struct sockaddr_in *inet = (const void *)address;
    const struct sockaddr_in6 *inet6 = (const void *)address;

    if (address->ss_family == AF_INET6) {
        memcpy(octets, &inet6->sin6_addr, 16);
        return true;
    }
    memcpy(octets, mapped_prefix, sizeof(mapped_prefix));
    memcpy(octets + sizeof(mapped_prefix), &inet->sin_addr, 4);
    return address->ss_family == AF_INET;
}

/* Sets all bits behind the first `bits` to zero. */
static void mask(unsigned char octets[16], unsigned bits)
{
    for (unsigned i = bits / 8; i < 16; i++) {
        octets[i] = (unsigned char)(i == bits / 8 ? octets[i] & ~(0xff >> bits % 8) : 0);
    }
}

/* What stands before the slash. */
static bool parse_host(struct span host, struct network *network, unsigned *ret_offset)
{
    char text[INET6_ADDRSTRLEN] = "";

    if (host.size == 0 || host.size >= sizeof(text))
        return false;
    memcpy(text, host.data, host.size);
    *ret_offset = 0;
    if (inet_pton(AF_INET6, text, network->prefix) == 1)
        return true;
    memcpy(network->prefix, mapped_prefix, sizeof(mapped_prefix));
    *ret_offset = MAPPED_BITS;
    return inet_pton(AF_INET, text, network->prefix + sizeof(mapped_prefix)) == 1;
}

int network_parse(const char *text, struct network *ret_network)
{
    struct span whole = span_of_text(text);
    size_t slash = span_find(whole, '/');
    struct network network = { 0 };
    uint64_t bits;
    unsigned offset;

    if (!parse_host(span_first(whole, slash), &network, &offset))
        return -EINVAL;
    bits = 128 - offset;
    if (slash < whole.size &&
        (!span_parse_u64(span_skip(whole, slash + 1), &bits) || bits > 128 - offset))
        return -EINVAL;
    network.bits = (uint8_t)(bits + offset);
    network.inet = network.bits >= MAPPED_BITS && is_mapped(network.prefix);
    mask(network.prefix, network.bits);
    *ret_network = network;
    return 0;
}

static bool lies_in(const struct network *network, const unsigned char octets[16])
{
    unsigned char masked[16];

    memcpy(masked, octets, sizeof(masked));
    mask(masked, network->bits);
    return network->inet == is_mapped(octets) && memcmp(masked, network->prefix, 16) == 0;
}

bool network_contains(const struct network *networks, size_t count,
                      const struct sockaddr_storage *address)
{
    unsigned char octets[16];

    if (!octets_of(address, octets))
        return false;
    for (size_t i = 0; i < count; i++)
        if (lies_in(&networks[i], octets))
            return true;
    return false;
}

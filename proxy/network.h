/* Lists of addresses and networks: does an address lie in one of them?
 *
 * PURE. IPv4 addresses in the form of IPv6 (::ffff:192.0.2.7) are IPv4 addresses, in lists too;
 * ::/0 is all of IPv6 and nothing of IPv4. RFC 4632, RFC 4291. */
#ifndef GATEPOST_PROXY_NETWORK_H
#define GATEPOST_PROXY_NETWORK_H

#include <sys/socket.h>

#include "proxy/base/span.h"

struct network {
    unsigned char prefix[16]; /* IPv4 as ::ffff:a.b.c.d; zero behind the prefix */
    uint8_t bits;             /* of the prefix, in these 16 octets: 96 to 128 for IPv4 */
    bool inet;                /* IPv4 */
};

/* Reads "192.0.2.0/24", "2001:db8::/32" or a single address. What is behind the prefix is ignored:
 * 192.0.2.7/24 is 192.0.2.0/24. 0 or -EINVAL. */
int network_parse(const char *text, struct network *ret_network);

/* Does `address` lie in one of them? No other family than AF_INET and AF_INET6 does. */
bool network_contains(const struct network *networks, size_t count,
                      const struct sockaddr_storage *address);

#endif

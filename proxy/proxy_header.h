/* The header by which a trusted balancer says whose connection it passes on: the PROXY protocol,
 * version 1 or 2 (haproxy.org, proxy-protocol.txt).
 *
 * PURE. What version 2 tells beyond the addresses (TLS that ended at the balancer, ids) is checked
 * for its form and then ignored: what we do is decided by what we see of the connection. */
#ifndef GATEPOST_PROXY_PROXY_HEADER_H
#define GATEPOST_PROXY_PROXY_HEADER_H

#include "proxy/base/proxy_v1.h"
#include "proxy/base/proxy_v2.h"

#define PROXY_HEADER_MAX PROXY_V2_HEADER_MAX /* octets of the longest header that is read */

/* Who the client of a session is, where a header said so. */
struct origin {
    struct sockaddr_storage client; /* AF_INET or AF_INET6 */
    struct sockaddr_storage server; /* where it connected to; of the same family */
    char through[56];               /* for whoever keeps it: the balancer's own address, as text */
};

enum proxy_header_result {
    PROXY_HEADER_MORE = 1,  /* `bytes` is the beginning of a header: call again with more behind */
    PROXY_HEADER_ORIGIN,    /* *ret_origin is filled in */
    PROXY_HEADER_NO_ORIGIN, /* LOCAL (a health check), UNKNOWN, a UNIX socket: the connection's own
                               address counts */
};

/* Reads a header from the start of `bytes`, all that has come so far. Once it is whole, *ret_size
 * is its size; the client's own octets begin behind it. -EPROTO at the first octet that no header
 * can have there, also for one that is longer than PROXY_HEADER_MAX. IPv4 addresses that both come
 * in the form of IPv6 (::ffff:192.0.2.7) become IPv4. */
int proxy_header_read(struct span bytes, struct origin *ret_origin, size_t *ret_size);

#endif

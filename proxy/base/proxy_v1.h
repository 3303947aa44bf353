/* The PROXY protocol, version 1 (haproxy.org, proxy-protocol.txt section 2.1): writing and reading
 * its line, "PROXY TCP4 192.0.2.7 203.0.113.1 4711 25" with CRLF.
 *
 * PURE. */
#ifndef GATEPOST_BASE_PROXY_V1_H
#define GATEPOST_BASE_PROXY_V1_H

#include <sys/socket.h>

#include "proxy/base/span.h"

#define PROXY_V1_LINE_MAX 107 /* octets of the longest line, with CRLF (section 2.1) */

/* Writes the line for a client that connected to `server`. Both are of one family, AF_INET or
 * AF_INET6; else the line says UNKNOWN. Returns its size, or -ENOSPC. */
long proxy_v1_write(const struct sockaddr_storage *client, const struct sockaddr_storage *server,
                    unsigned char *into, size_t room);

enum proxy_v1_result {
    PROXY_V1_MORE = 1, /* `bytes` is the beginning of a line; read on */
    PROXY_V1_READY,
};

/* Reads a line from the start of `bytes`. PROXY_V1_READY: the addresses are filled in (AF_UNSPEC
 * after UNKNOWN, whatever follows that word) and *ret_size is the size of the line, behind which
 * the dialogue begins. -EPROTO: this is no such line: one space between words, addresses as
 * inet_ntop() writes them or in another form that inet_pton() takes, ports without leading zeros,
 * CRLF within PROXY_V1_LINE_MAX octets. */
int proxy_v1_read(struct span bytes, struct sockaddr_storage *ret_client,
                  struct sockaddr_storage *ret_server, size_t *ret_size);

#endif

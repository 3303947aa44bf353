/* The PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt section 2.2): writing and reading
 * its header.
 *
 * PURE. The header tells a worker, before the first byte of the dialogue, who the client is and
 * what TLS it speaks. */
#ifndef GATEPOST_BASE_PROXY_V2_H
#define GATEPOST_BASE_PROXY_V2_H

#include <sys/socket.h>

#include "proxy/base/span.h"

#define PROXY_V2_HEADER_MAX                                                                        \
    1024 /* bytes of the longest header that is written, and of the longest that is read */
#define PROXY_V2_TEXT_MAX 255 /* bytes of one text TLV that is kept; the others are cut off */

/* What the header says. Texts are NUL-terminated, empty where unknown. */
struct proxy_v2 {
    bool local; /* LOCAL command: the proxy's own connection; the addresses are unknown */
    struct sockaddr_storage client;        /* AF_INET, AF_INET6 or AF_UNSPEC */
    struct sockaddr_storage server;        /* where the client connected to */
    bool tls;                              /* PP2_CLIENT_SSL: the client speaks TLS to the proxy */
    char tls_version[16];                  /* 0x21, as OpenSSL names it: "TLSv1.3" */
    char tls_cipher[64];                   /* 0x23: "TLS_AES_128_GCM_SHA256" */
    char tls_client_name[64];              /* 0x22: common name of a client certificate */
    char alpn[32];                         /* 0x01 */
    char authority[PROXY_V2_TEXT_MAX + 1]; /* 0x02: SNI */
    char unique_id[64];                    /* 0x05: the session's id in the proxy's log, text */
};

/* Writes the header for `facts` into `into`. Returns its size, or -ENOSPC. */
long proxy_v2_write(const struct proxy_v2 *facts, unsigned char *into, size_t room);

enum proxy_v2_result {
    PROXY_V2_MORE = 1, /* `bytes` is the beginning of a header; read on */
    PROXY_V2_READY,
};

/* Reads a header from the start of `bytes`. PROXY_V2_READY: *ret_facts is filled and *ret_size is
 * the size of the header, behind which the dialogue begins. -EPROTO: this is no header of version
 * 2, or it lies about a length, or it is longer than PROXY_V2_HEADER_MAX. Unknown TLVs are skipped.
 */
int proxy_v2_read(struct span bytes, struct proxy_v2 *ret_facts, size_t *ret_size);

/* "192.0.2.7:4711" or "[2001:db8::1]:4711"; "unknown" for any other family. Returns `into`. */
const char *proxy_v2_address_text(const struct sockaddr_storage *address, char *into, size_t room);

#endif

/* Tells a backend who the client is: the PROXY v2 header with the facts of TLS. */
#ifndef GATEPOST_PROXY_IDENTITY_H
#define GATEPOST_PROXY_IDENTITY_H

#include "proxy/base/proxy_v2.h"
#include "proxy/stream.h"

/* The header for a client's connection. `unique_id` names the session in our log. Returns its size
 * or -errno. */
long identity_header(const struct stream *client, const char *unique_id, unsigned char *into,
                     size_t room);

/* The header of our own learning dialogue: a client at 192.0.2.1 (TEST-NET-1, RFC 5737), under TLS
 * or not. */
long identity_learning_header(bool tls, unsigned char *into, size_t room);

#endif

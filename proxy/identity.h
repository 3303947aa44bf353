/* What a server is told of its client: a PROXY header before the dialogue, or addresses for
 * XCLIENT. */
#ifndef GATEPOST_PROXY_IDENTITY_H
#define GATEPOST_PROXY_IDENTITY_H

#include "conf/settings.h"
#include "proxy/proxy_header.h"
#include "proxy/stream.h"

#define IDENTITY_ROOM PROXY_V2_HEADER_MAX /* octets that are enough for any header */

/* The header for a client's connection. `origin`: what a trusted balancer said of it, NULL: the
 * addresses of its socket count. `unique_id` names the session in our log. The facts of TLS are
 * those of `client`. Returns the header's size, 0 for the kinds that have none (none, xclient), or
 * -errno: the client's address cannot be known, and nothing may be sent in its place. */
long identity_write(enum identity kind, const struct stream *client, const struct origin *origin,
                    const char *unique_id, unsigned char *into, size_t room);

/* The header of our own learning dialogue: a client at 192.0.2.1 (TEST-NET-1, RFC 5737), under TLS
 * or not. Its size, or 0. */
long identity_write_learning(enum identity kind, bool tls, unsigned char *into, size_t room);

/* The addresses alone: of the client, and of what it connected to. 0 or -errno. The socket is asked
 * each time, though its addresses stay the same: one that the client has reset has no peer any
 * more, and no server need be bothered with it. */
int identity_addresses(const struct stream *client, const struct origin *origin,
                       struct sockaddr_storage *ret_client,
                       struct sockaddr_storage *ret_destination);

/* The same of the learning dialogue. */
void identity_learning_addresses(struct sockaddr_storage *ret_client,
                                 struct sockaddr_storage *ret_destination);

#endif

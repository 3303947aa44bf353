/* TLS for the ports of one protocol and one profile, ready for handshakes.
 *
 * Immutable once built, counted by reference inside one loop; its connections hold it. */
#ifndef GATEPOST_PROXY_TLS_CONTEXT_H
#define GATEPOST_PROXY_TLS_CONTEXT_H

#include "conf/settings.h"
#include "proxy/tickets.h"
#include "proxy/tls_store.h"

struct tls_context;

/* The protocol names the ALPN that is accepted ("smtp", "pop3", any for opaque). Tickets are good
 * among contexts of one protocol and one profile with the same keys. `keys` is read at every
 * handshake and may change under it; the store is kept by reference. Returns 0, -EINVAL (after a
 * log line) or -ENOMEM. */
int tls_context_new(struct tls_store *store, enum port_protocol protocol, enum tls_profile profile,
                    const struct ticket_keys *keys, struct tls_context **ret_context);
void tls_context_free(struct tls_context *context);

#endif

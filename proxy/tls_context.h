/* The certificates and TLS settings of one configuration, ready for handshakes.
 *
 * Immutable once built, counted by reference inside one loop. Built without opening a file: PEM
 * comes from the bundle. */
#ifndef GATEPOST_PROXY_TLS_CONTEXT_H
#define GATEPOST_PROXY_TLS_CONTEXT_H

#include "proxy/base/bundle.h"
#include "conf/settings.h"
#include "proxy/base/text.h"
#include "proxy/tickets.h"

struct tls_context;

/* Builds the context for one protocol (it names the ALPN that is accepted and the session id
 * context: "smtp", "pop3", or any for opaque): [tls default] and every [tls NAME], chosen by SNI.
 * `keys` is read at every handshake and may change under it. Returns 0, -ENOENT where there is no
 * [tls] with a certificate, -EINVAL (one log line names section and cause) or -ENOMEM. */
int tls_context_new(const struct settings *settings, const struct bundle *bundle,
                    enum port_protocol protocol, const struct ticket_keys *keys,
                    struct tls_context **ret_context);
void tls_context_free(struct tls_context *context);

/* For the supervisor: is this certificate and key usable (parse, match, not expired)? 0, or with
 * words in `into` -EINVAL, or -EKEYREJECTED where it is the key's fault (alone or as well). */
int tls_context_check(struct span certificate, struct span key, struct text *into);

#endif

/* TLS to the server behind us: what one [backend] asks of it, ready for handshakes.
 *
 * Immutable once built, counted by reference inside one loop, shared by all connections to the
 * backend. Built without opening a file: the certificates of the authorities (CAs) come from the
 * bundle, where the supervisor has put them. TLS 1.2 is the oldest version; sessions are not
 * resumed. The handshake is begun by stream_start_tls_client(). */
#ifndef GATEPOST_PROXY_TLS_CLIENT_H
#define GATEPOST_PROXY_TLS_CLIENT_H

#include "conf/settings.h"
#include "proxy/base/bundle.h"
#include "proxy/base/text.h"

#define TLS_CLIENT_SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt" /* where `ca` is empty */

struct tls_client;

/* Builds the context of one backend, whose `tls` is not off. `ca_pem`: the certificates that it
 * may be signed by; not looked at with `verify = no`, which encrypts and checks nothing. Returns 0,
 * -EINVAL (one log line names section and cause) or -ENOMEM. NULL is fine for tls_client_free(). */
int tls_client_new(const struct settings_backend *settings, struct span ca_pem,
                   struct tls_client **ret_client);
void tls_client_free(struct tls_client *client);

/* Does this backend need CAs? Then its bundle entry is "ca/NAME", or "ca" where `ca` is empty. */
bool tls_client_wants_ca(const struct settings_backend *backend);
/* That entry; empty where there is none. Borrowed from the bundle. */
struct span tls_client_ca(const struct bundle *bundle, const struct settings_backend *backend);

enum tls_client_ca_check {
    TLS_CLIENT_CA_EXPIRED = 1, /* usable, but `into` names one that has expired */
};

/* For the supervisor: does the PEM text hold certificates, and have they not all expired? 0, a
 * tls_client_ca_check, or -EINVAL, both with words in `into`. */
int tls_client_check_ca(struct span pem, struct text *into);

#endif

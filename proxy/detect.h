/* Which kind of client is this: its first octets tell whether it begins with TLS.
 *
 * PURE. Where both kinds are served, a port waits a little for a first octet before it sends its
 * greeting: a client that begins with TLS speaks at once, a plain one waits for the greeting. */
#ifndef GATEPOST_PROXY_DETECT_H
#define GATEPOST_PROXY_DETECT_H

#include "proxy/hints.h"

#define DETECT_OCTETS_MAX 3 /* octets that decide in any case */

enum detect_result {
    DETECT_MORE = 1, /* not decided: read on */
    DETECT_TLS,      /* a TLS record of the type handshake (RFC 8446 section 5.1) */
    DETECT_SSLV2, /* a ClientHello in the form of SSL 2.0 (RFC 5246 appendix E.2): too old, answered
                     by an alert */
    DETECT_TEXT,  /* all else: a client that talks before the greeting */
};

/* Judges the octets that a client has sent so far, `first` its very first. */
enum detect_result detect_first(struct span first);

/* What a client that sent DETECT_SSLV2 gets before it is closed: a fatal alert protocol_version.
 * Static. */
struct span detect_sslv2_alert(void);

/* How long a first octet is awaited. `wait_ms` is the listener's detect_wait; `implicit_tls`: the
 * port speaks TLS first, where the wait is never shortened. Milliseconds; 0: send the greeting at
 * once. */
uint32_t detect_wait_ms(bool implicit_tls, uint32_t wait_ms, enum hint hint);

#endif

/* The link to the server: one TCP connection, with TLS over it or without, that never blocks once
 * it is open.
 *
 * TLS is 1.2 or later. The certificate must be the host's and lead to a trusted authority (`ca`, or
 * the system's); or, where `fingerprint` is given, its SHA-256 must be that, and nothing else of it
 * counts. An end without close_notify is a cut. */
#ifndef GATEPOST_TOOLS_FETCH_LINK_H
#define GATEPOST_TOOLS_FETCH_LINK_H

#include "proxy/base/text.h"

#define LINK_FINGERPRINT 64 /* hexadecimal digits of a SHA-256 */

struct link_options {
    const char *host, *port;
    bool plain;
    const char *ca;          /* a file of PEM certificates; NULL: the system's */
    const char *fingerprint; /* lower-case digits; NULL: the certificate is verified */
};

struct link;

enum link_opened {
    LINK_UNKNOWN = 1, /* no such host */
    LINK_SILENT,      /* it does not answer */
    LINK_CUT,         /* it has answered, and then the link was cut */
    LINK_UNTRUSTED,   /* TLS fails, or the certificate is not the one */
    LINK_BAD_CA,      /* the file of `ca` cannot be used */
};

/* 0: *ret_link is open. A link_opened or -errno (-EINTR: a signal), and *words says why. */
int link_open(const struct link_options *options, struct link **ret_link, struct text *words);
void link_close(struct link *link);

/* Octets of the server, without waiting. Their count, 0 at the end, -EAGAIN: none now; or -errno:
 * the link is cut. */
long link_read(struct link *link, unsigned char *into, size_t room);

/* Sends some octets, without waiting. Their count, -EAGAIN, or -errno. After -EAGAIN the next call
 * begins with the same octets. */
long link_write(struct link *link, struct span octets);

enum link_event {
    LINK_READY = 1, /* something may be read or written */
    LINK_OTHER = 2, /* `other` can be read */
};

/* Waits for input, for room for output where `writing`, or for `other` (-1: none). What came, 0:
 * nothing within `timeout_ms`; -EINTR or -errno. */
int link_wait(struct link *link, bool writing, int other, int timeout_ms);

/* "TLS 1.3, TLS_AES_256_GCM_SHA384", or "no TLS". Static, or the link's. */
void link_put_kind(const struct link *link, struct text *text);

#endif

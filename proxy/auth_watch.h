/* Learns from AUTH who logs in: the user name, never the password (RFC 4954, RFC 5034; RFC 4616
 * PLAIN, RFC 2195 CRAM-MD5).
 *
 * PURE. The name is what the client claims; the caller takes it for a fact when the server has
 * accepted it. */
#ifndef GATEPOST_PROXY_AUTH_WATCH_H
#define GATEPOST_PROXY_AUTH_WATCH_H

#include "proxy/base/span.h"

#define AUTH_NAME_MAX 63 /* octets of a name that are kept */

struct auth_watch {
    uint8_t mechanism;
    bool answered;                /* the answer that holds the name has come */
    char name[AUTH_NAME_MAX + 1]; /* NUL-terminated, cut to fit; empty: unknown */
};

/* `arguments` of AUTH: the mechanism, and an initial response where there is one. */
void auth_watch_begin(struct auth_watch *watch, struct span arguments);

/* A line that answers a challenge. */
void auth_watch_answer(struct auth_watch *watch, struct span answer);

/* A name that was said in clear (USER, APOP). */
void auth_watch_name(struct auth_watch *watch, struct span name);

#endif

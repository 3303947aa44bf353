/* Learns from AUTH who logs in: the user name, never the password (RFC 4954, RFC 5034; RFC 4616
 * PLAIN, RFC 2195 CRAM-MD5).
 *
 * PURE. The name is what the client claims; the caller takes it for a fact when the server has
 * accepted it. */
#ifndef GATEPOST_PROXY_AUTH_WATCH_H
#define GATEPOST_PROXY_AUTH_WATCH_H

#include "proxy/base/span.h"

#define AUTH_NAME_MAX 63 /* octets of a name that are kept */

enum auth_mechanism { AUTH_OTHER, AUTH_PLAIN, AUTH_LOGIN, AUTH_CRAM_MD5, AUTH_PASS, AUTH_APOP };

struct auth_watch {
    uint8_t mechanism;            /* enum auth_mechanism */
    bool answered;                /* what proves who it is, or a part of it, was sent */
    char name[AUTH_NAME_MAX + 1]; /* NUL-terminated, cut to fit; empty: unknown */
};

/* `arguments` of AUTH: the mechanism, and an initial response where there is one. */
void auth_watch_begin(struct auth_watch *watch, struct span arguments);

/* A line that answers a challenge; "*" cancels: then nothing was proved, and no name is left. */
void auth_watch_answer(struct auth_watch *watch, struct span answer);

/* A name that was said in clear (USER, APOP). */
void auth_watch_name(struct auth_watch *watch, struct span name);

/* PASS or APOP, behind or with that name. */
void auth_watch_command(struct auth_watch *watch, enum auth_mechanism mechanism);

/* How, in one word: "PLAIN" (also for USER and PASS), "LOGIN", "CRAM-MD5", "APOP"; "" for others.
 */
const char *auth_watch_method(const struct auth_watch *watch);

#endif

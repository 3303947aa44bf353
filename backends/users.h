/* The users of the mail store: the file MAILSTORE/users, one "name@domain:$y$...yescrypt hash" a
 * line.
 *
 * Names are lower-cased when they are written and when they are looked up. A name without a domain
 * means the first of `domains`. The file is replaced by rename, so that a reader sees one whole
 * version; it is read anew when it has changed. Blocking; for the embedded workers and
 * gatepost-user. */
#ifndef GATEPOST_BACKENDS_USERS_H
#define GATEPOST_BACKENDS_USERS_H

#include "proxy/base/span.h"

#define USER_NAME_MAX                                                                              \
    254 /* bytes of "local@domain" (RFC 5321 section 4.5.3.1.3 less the angle brackets) */

enum users_result {
    USERS_OK = 1,
    USERS_UNKNOWN, /* no such user, or no valid name */
    USERS_WRONG,   /* the password does not match */
    USERS_EXISTS,
};

/* Makes `name` whole and lower-case into ret_name[USER_NAME_MAX + 1]: "Anna" -> "anna@example.org".
 * USERS_OK or USERS_UNKNOWN for what can be no name (empty, slash, leading dot, control characters,
 * bytes over 0x7e, too long). */
int users_normalize(struct span name, const char *default_domain, char *ret_name);

/* Checks a password in time that does not tell whether the user exists. USERS_OK, USERS_UNKNOWN,
 * USERS_WRONG, or -errno when the file cannot be read. The caller wipes `password`. */
int users_check(const char *store, const char *name, struct span password);

/* USERS_OK or USERS_UNKNOWN, or -errno. */
int users_lookup(const char *store, const char *name);

/* For gatepost-user; each takes the lock file users.lock, and is durable when it returns. */
int users_add(const char *store, const char *name, struct span password);
int users_set_password(const char *store, const char *name, struct span password);
int users_delete(const char *store, const char *name);
int users_list(const char *store, void (*each)(const char *name, void *context), void *context);

#endif

/* Whose is an address: the local domains, the users, the aliases, and postmaster.
 *
 * Blocking. The alias file is read again when it has changed. */
#ifndef GATEPOST_BACKENDS_RECIPIENTS_H
#define GATEPOST_BACKENDS_RECIPIENTS_H

#include <sys/stat.h>

#include "backends/aliases.h"
#include "conf/settings.h"

struct recipients {
    const struct settings_mailstore *mailstore; /* borrowed */
    struct aliases *aliases;                    /* NULL: not read yet */
    struct stat aliases_stat; /* of the file that was read; zeroed: there was none */
};

void recipients_init(struct recipients *recipients, const struct settings_mailstore *mailstore);
void recipients_deinit(struct recipients *recipients);

enum recipients_result {
    RECIPIENTS_LOCAL = 1,
    RECIPIENTS_UNKNOWN,   /* of a local domain, but nobody's */
    RECIPIENTS_ELSEWHERE, /* of another domain */
};

/* Adds the users who get mail for `address` ("local@domain", or "postmaster") to *users. Postmaster
 * of every local domain is somebody (RFC 5321 section 4.5.1): the alias postmaster@domain, else the
 * alias postmaster, else the first user. Returns a recipients_result or -errno. */
int recipients_find(struct recipients *recipients, const char *address, struct name_list *users);

#endif

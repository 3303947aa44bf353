/* The file MAILSTORE/aliases: other names of the users.
 *
 * One alias a line, "name: target, target"; "#" begins a comment line. Names and targets are
 * "local" (of the default domain) or "local@domain". A target may be an alias again; circles end by
 * themselves, as each name is looked at once. A target that equals its own alias means the user of
 * that name ("anna: anna, bert"). Targets that are no user at the end of it are dropped: mail never
 * leaves the machine by an alias. */
#ifndef GATEPOST_BACKENDS_ALIASES_H
#define GATEPOST_BACKENDS_ALIASES_H

#include "proxy/base/span.h"

#define ALIASES_EXPANSION_MAX 1000 /* names that one address may lead to (guessed) */

/* A set of names. Zeroed: empty. */
struct name_list {
    char **names;
    size_t count;
};

/* Adds a copy, unless it is there already. 0 or -ENOMEM. */
int name_list_add(struct name_list *list, const char *name);
bool name_list_has(const struct name_list *list, const char *name);
void name_list_deinit(struct name_list *list);

struct aliases;

/* Reads the text of an alias file. Lines that cannot be understood are skipped, each with a warning
 * in the log. 0 or -ENOMEM. */
int aliases_parse(struct span text, const char *default_domain, struct aliases **ret_aliases);

/* The same from STORE/aliases; where there is no such file, there are no aliases. 0 or -errno. */
int aliases_load(const char *store, const char *default_domain, struct aliases **ret_aliases);
void aliases_free(struct aliases *aliases);

enum aliases_result {
    ALIASES_FOUND = 1, /* at least one user was found */
    ALIASES_UNKNOWN,
};

/* Adds the users that `name` ("local@domain", lower case) leads to, which may be itself, to *users.
 * `is_user` returns USERS_OK, USERS_UNKNOWN or -errno. Returns an aliases_result, or -errno: that
 * of is_user, -ENOMEM, -E2BIG. */
int aliases_expand(const struct aliases *aliases, const char *name,
                   int (*is_user)(const char *name, void *context), void *context,
                   struct name_list *users);

#endif

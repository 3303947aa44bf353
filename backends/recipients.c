/* Finds the users behind an address.
 *
 * Happy path: the domain is one of ours, the name is made whole and lower case, and followed
 * through the aliases to users. Fails when the files of the store cannot be read; then nothing is
 * said about the address. */
#include "backends/recipients.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/users.h"

void recipients_init(struct recipients *recipients, const struct settings_mailstore *mailstore)
{
    *recipients = (struct recipients){ .mailstore = mailstore };
}

void recipients_deinit(struct recipients *recipients)
{
    aliases_free(recipients->aliases);
    recipients->aliases = NULL;
}

static const char *first_domain(const struct recipients *recipients)
{
    return recipients->mailstore->domains.items[0];
}

static bool same_file(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino && a->st_size == b->st_size &&
           a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* The stat is taken before the file is read: a change in between is seen the next time. */
static int refresh_aliases(struct recipients *recipients)
{
    const char *store = recipients->mailstore->path;
    struct aliases *aliases;
    struct stat now = { 0 };
    char *path;
    int r;

    if (asprintf(&path, "%s/aliases", store) < 0)
        return -ENOMEM;
    r = stat(path, &now) < 0 ? -errno : 0;
    free(path);
    if (r < 0 && r != -ENOENT)
        return r;
    if (recipients->aliases && same_file(&now, &recipients->aliases_stat))
        return 0;
    r = aliases_load(store, first_domain(recipients), &aliases);
    if (r < 0)
        return r;
    aliases_free(recipients->aliases);
    recipients->aliases = aliases;
    recipients->aliases_stat = now;
    return 0;
}

static int is_user(const char *name, void *context)
{
    const struct recipients *recipients = context;

    return users_lookup(recipients->mailstore->path, name);
}

static int find_name(struct recipients *recipients, struct span address, struct name_list *users)
{
    char name[USER_NAME_MAX + 1];
    int r;

    if (users_normalize(address, first_domain(recipients), name) != USERS_OK)
        return RECIPIENTS_UNKNOWN;
    r = aliases_expand(recipients->aliases, name, is_user, recipients, users);
    if (r < 0)
        return r;
    return r == ALIASES_FOUND ? RECIPIENTS_LOCAL : RECIPIENTS_UNKNOWN;
}

static void keep_first(const char *name, void *context)
{
    char *first = context;

    if (first[0] == '\0')
        snprintf(first, USER_NAME_MAX + 1, "%s", name);
}

static int find_postmaster(struct recipients *recipients, struct name_list *users)
{
    char first[USER_NAME_MAX + 1] = "";
    int r = find_name(recipients, SPAN_LIT("postmaster"), users);

    if (r != RECIPIENTS_UNKNOWN)
        return r;
    r = users_list(recipients->mailstore->path, keep_first, first);
    if (r < 0)
        return r;
    if (first[0] == '\0')
        return RECIPIENTS_UNKNOWN;
    r = name_list_add(users, first);
    return r < 0 ? r : RECIPIENTS_LOCAL;
}

static bool is_local_domain(const struct recipients *recipients, struct span domain)
{
    const struct settings_list *domains = &recipients->mailstore->domains;

    for (size_t i = 0; i < domains->count; i++)
        if (span_equal_nocase(domain, span_of_text(domains->items[i])))
            return true;
    return false;
}

int recipients_find(struct recipients *recipients, const char *address, struct name_list *users)
{
    const char *at = strrchr(address, '@');
    struct span local = at ? span_of(address, (size_t)(at - address)) : span_of_text(address);
    int r;

    if (at && !is_local_domain(recipients, span_of_text(at + 1)))
        return RECIPIENTS_ELSEWHERE;
    r = refresh_aliases(recipients);
    if (r < 0)
        return r;
    r = find_name(recipients, span_of_text(address), users);
    if (r == RECIPIENTS_UNKNOWN && span_equal_nocase(local, SPAN_LIT("postmaster")))
        r = find_postmaster(recipients, users);
    return r;
}

/* Reads the alias file, and follows a name to the users behind it.
 *
 * Happy path: the text is kept as it is with an index of its lines; a name is followed breadth
 * first, each name once. Fails when the file cannot be read, when a user cannot be looked up, and
 * when a name leads to too many. */
#include "backends/aliases.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/users.h"
#include "proxy/base/log.h"

struct alias {
    char *name;          /* whole, lower case */
    struct span targets; /* "target, target", within aliases->text */
};

struct aliases {
    char *text;
    char *default_domain;
    struct alias *list;
    size_t count, room;
};

int name_list_add(struct name_list *list, const char *name)
{
    char *copy;

    if (name_list_has(list, name))
        return 0;
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    if ((list->count & (list->count - 1)) == 0) { /* full: the room is a power of two */
        size_t room = list->count ? 2 * list->count : 1;
        char **grown = reallocarray(list->names, room, sizeof(*grown));

        if (!grown) {
            free(copy);
            return -ENOMEM;
        }
        list->names = grown;
    }
    list->names[list->count++] = copy;
    return 0;
}

bool name_list_has(const struct name_list *list, const char *name)
{
    for (size_t i = 0; i < list->count; i++)
        if (strcmp(list->names[i], name) == 0)
            return true;
    return false;
}

void name_list_deinit(struct name_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->names[i]);
    free(list->names);
    *list = (struct name_list){ NULL, 0 };
}

static int add_alias(struct aliases *aliases, const char *name, struct span targets)
{
    char *copy;

    if (aliases->count == aliases->room) {
        size_t room = aliases->room ? 2 * aliases->room : 16;
        struct alias *grown = reallocarray(aliases->list, room, sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        aliases->list = grown;
        aliases->room = room;
    }
    copy = strdup(name);
    if (!copy)
        return -ENOMEM;
    aliases->list[aliases->count++] = (struct alias){ copy, targets };
    return 0;
}

static struct span trim_line(struct span line)
{
    line = span_trim(line);
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    return span_trim(line);
}

static int parse_line(struct aliases *aliases, struct span line, unsigned number)
{
    char name[USER_NAME_MAX + 1];
    size_t colon;

    line = trim_line(line);
    if (line.size == 0 || line.data[0] == '#')
        return 0;
    colon = span_find(line, ':');
    if (colon == line.size || users_normalize(span_trim(span_first(line, colon)),
                                              aliases->default_domain, name) != USERS_OK) {
        log_line(LOG_LEVEL_WARNING, "aliases, line %u: not \"name: target, target\"", number);
        return 0;
    }
    return add_alias(aliases, name, span_skip(line, colon + 1));
}

int aliases_parse(struct span text, const char *default_domain, struct aliases **ret_aliases)
{
    struct aliases *aliases = calloc(1, sizeof(*aliases));
    struct span rest;
    int r = -ENOMEM;

    if (!aliases)
        return -ENOMEM;
    aliases->text = malloc(text.size + 1);
    aliases->default_domain = strdup(default_domain);
    if (!aliases->text || !aliases->default_domain)
        goto free_aliases;
    if (text.size > 0)
        memcpy(aliases->text, text.data, text.size);
    rest = span_of(aliases->text, text.size);
    for (unsigned number = 1; rest.size > 0; number++) {
        size_t end = span_find(rest, '\n');

        r = parse_line(aliases, span_first(rest, end), number);
        if (r < 0)
            goto free_aliases;
        rest = span_skip(rest, end + 1);
    }
    *ret_aliases = aliases;
    return 0;

free_aliases:
    aliases_free(aliases);
    return r;
}

/* The whole of `file`, malloc'ed. 0 or -errno. */
static int read_all(FILE *file, char **ret_data, size_t *ret_size)
{
    char *data = NULL;
    size_t size = 0, room = 0, got;

    do {
        if (size == room) {
            char *grown = realloc(data, room = room ? 2 * room : 4096);

            if (!grown) {
                free(data);
                return -ENOMEM;
            }
            data = grown;
        }
        got = fread(data + size, 1, room - size, file);
        size += got;
    } while (got > 0);
    if (ferror(file)) {
        free(data);
        return -EIO;
    }
    *ret_data = data;
    *ret_size = size;
    return 0;
}

int aliases_load(const char *store, const char *default_domain, struct aliases **ret_aliases)
{
    char *path, *data;
    FILE *file;
    size_t size;
    int r;

    if (asprintf(&path, "%s/aliases", store) < 0)
        return -ENOMEM;
    file = fopen(path, "re");
    r = file ? 0 : -errno;
    free(path);
    if (r == -ENOENT)
        return aliases_parse(span_of(NULL, 0), default_domain, ret_aliases);
    if (r < 0)
        return r;
    r = read_all(file, &data, &size);
    fclose(file);
    if (r < 0)
        return r;
    r = aliases_parse(span_of(data, size), default_domain, ret_aliases);
    free(data);
    return r;
}

void aliases_free(struct aliases *aliases)
{
    if (!aliases)
        return;
    for (size_t i = 0; i < aliases->count; i++)
        free(aliases->list[i].name);
    free(aliases->list);
    free(aliases->default_domain);
    free(aliases->text);
    free(aliases);
}

/* What is known while one name is followed. */
struct expansion {
    const struct aliases *aliases;
    int (*is_user)(const char *name, void *context);
    void *context;
    struct name_list seen; /* looked at, and still to be looked at */
    struct name_list *users;
    bool found;
};

static int add_user(struct expansion *expansion, const char *name)
{
    int r = expansion->is_user(name, expansion->context);

    if (r != USERS_OK)
        return r < 0 ? r : 0;
    expansion->found = true;
    return name_list_add(expansion->users, name);
}

static int follow_targets(struct expansion *expansion, const struct alias *alias)
{
    struct span rest = alias->targets;
    int r = 0;

    while (rest.size > 0 && r == 0) {
        size_t comma = span_find(rest, ',');
        struct span target = span_trim(span_first(rest, comma));
        char name[USER_NAME_MAX + 1];

        rest = span_skip(rest, comma + 1);
        if (users_normalize(target, expansion->aliases->default_domain, name) != USERS_OK)
            continue;
        if (strcmp(name, alias->name) == 0)
            r = add_user(expansion, name);
        else if (expansion->seen.count >= ALIASES_EXPANSION_MAX)
            r = -E2BIG;
        else
            r = name_list_add(&expansion->seen, name);
    }
    return r;
}

static int follow(struct expansion *expansion, const char *name)
{
    const struct aliases *aliases = expansion->aliases;
    bool is_alias = false;

    for (size_t i = 0; i < aliases->count; i++) {
        int r;

        if (strcmp(aliases->list[i].name, name) != 0)
            continue;
        is_alias = true;
        r = follow_targets(expansion, &aliases->list[i]);
        if (r < 0)
            return r;
    }
    return is_alias ? 0 : add_user(expansion, name);
}

int aliases_expand(const struct aliases *aliases, const char *name,
                   int (*is_user)(const char *name, void *context), void *context,
                   struct name_list *users)
{
    struct expansion expansion = { aliases, is_user, context, { NULL, 0 }, users, false };
    int r = name_list_add(&expansion.seen, name);

    for (size_t i = 0; r == 0 && i < expansion.seen.count; i++)
        r = follow(&expansion, expansion.seen.names[i]);
    name_list_deinit(&expansion.seen);
    if (r < 0)
        return r;
    return expansion.found ? ALIASES_FOUND : ALIASES_UNKNOWN;
}

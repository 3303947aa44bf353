/* A list of (section, name, key) with the place of each; a file has so few that a linear search is
 * enough. The one failure is a lack of memory. */
#include "conf/settings_origins.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void origin_deinit(struct settings_origin *origin)
{
    free(origin->name);
    free((char *)(uintptr_t)origin->place.file);
    free((char *)(uintptr_t)origin->place.text);
}

void settings_origins_deinit(struct settings_origins *origins)
{
    for (size_t i = 0; i < origins->count; i++)
        origin_deinit(&origins->items[i]);
    free(origins->items);
    for (size_t i = 0; i < origins->files.count; i++)
        free(origins->files.items[i]);
    free(origins->files.items);
    memset(origins, 0, sizeof(*origins));
}

static struct settings_origin *append(struct settings_origins *origins)
{
    if (origins->count == origins->room) {
        size_t room = origins->room ? 2 * origins->room : 32;
        struct settings_origin *items = realloc(origins->items, room * sizeof(*items));

        if (!items)
            return NULL;
        origins->items = items;
        origins->room = room;
    }
    return memset(&origins->items[origins->count++], 0, sizeof(struct settings_origin));
}

static int origin_copy(struct settings_origin *into, const struct settings_origin *origin)
{
    *into = *origin;
    into->name = strdup(origin->name);
    into->place.file = strdup(origin->place.file);
    into->place.text = strdup(origin->place.text);
    into->place.topic = NULL;
    return into->name && into->place.file && into->place.text ? 0 : -ENOMEM;
}

static bool same_key(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static bool is_of(const struct settings_origin *origin, enum settings_section section,
                  const char *name, const char *key)
{
    return origin->section == section && same_key(origin->key, key) &&
           strcmp(origin->name, name) == 0;
}

static void forget(struct settings_origins *origins, const struct settings_origin *like)
{
    size_t kept = 0;

    for (size_t i = 0; i < origins->count; i++) {
        if (is_of(&origins->items[i], like->section, like->name, like->key))
            origin_deinit(&origins->items[i]);
        else
            origins->items[kept++] = origins->items[i];
    }
    origins->count = kept;
}

int settings_origins_set(struct settings_origins *origins, const struct settings_origin *origin)
{
    struct settings_origin *into;

    if (!origin->continued)
        forget(origins, origin);
    into = append(origins);
    return into ? origin_copy(into, origin) : -ENOMEM;
}

int settings_origins_add_file(struct settings_origins *origins, const char *file)
{
    struct settings_list *files = &origins->files;
    char **items = realloc(files->items, (files->count + 1) * sizeof(*items));

    if (!items)
        return -ENOMEM;
    files->items = items;
    items[files->count] = strdup(file);
    if (!items[files->count])
        return -ENOMEM;
    files->count++;
    return 0;
}

struct settings_origin *settings_origins_find(const struct settings_origins *origins,
                                              enum settings_section section, const char *name,
                                              const char *key)
{
    for (size_t i = 0; i < origins->count; i++)
        if (is_of(&origins->items[i], section, name, key))
            return &origins->items[i];
    return NULL;
}

/* Where the item stands in the line, as a whole, for the last time; NULL: not there. */
static const char *find_item(const char *line, const char *item)
{
    static const char between[] = ", \t";
    const char *found = NULL;

    for (line += strspn(line, between); *line; line += strspn(line, between)) {
        size_t size = strcspn(line, between);

        if (size == strlen(item) && memcmp(line, item, size) == 0)
            found = line;
        line += size;
    }
    return found;
}

const struct settings_origin *settings_origins_find_item(const struct settings_origins *origins,
                                                         enum settings_section section,
                                                         const char *name, const char *key,
                                                         const char *item, unsigned *ret_column)
{
    const struct settings_origin *last = NULL;

    for (size_t i = 0; i < origins->count; i++) {
        const struct settings_origin *origin = &origins->items[i];
        const char *text = origin->place.text, *found;

        if (!is_of(origin, section, name, key) || origin->value_column == 0 ||
            origin->value_column > strlen(text))
            continue;
        found = find_item(text + origin->value_column - 1, item);
        if (found) {
            *ret_column = (unsigned)(found - text) + 1;
            last = origin;
        }
    }
    return last;
}

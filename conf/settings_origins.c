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
    return into->name && into->place.file && into->place.text ? 0 : -ENOMEM;
}

int settings_origins_set(struct settings_origins *origins, const struct settings_origin *origin)
{
    struct settings_origin *into = (struct settings_origin *)(uintptr_t)settings_origins_find(
        origins, origin->section, origin->name, origin->key);

    if (into)
        origin_deinit(into);
    else
        into = append(origins);
    return into ? origin_copy(into, origin) : -ENOMEM;
}

static bool same_key(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

const struct settings_origin *settings_origins_find(const struct settings_origins *origins,
                                                    enum settings_section section, const char *name,
                                                    const char *key)
{
    for (size_t i = 0; i < origins->count; i++) {
        const struct settings_origin *origin = &origins->items[i];

        if (origin->section == section && same_key(origin->key, key) &&
            strcmp(origin->name, name) == 0)
            return origin;
    }
    return NULL;
}

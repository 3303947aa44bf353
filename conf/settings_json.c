/* Shows the effective settings, and where each comes from, to programs.
 *
 * Happy path: the walk builds a tree of objects in the order of the sections and keys, which is
 * dumped at its end. Every jansson call takes NULL and answers with NULL or -1, so a lack of memory
 * is noticed where the tree is put together. The other failure is the stream's. */
#include "conf/settings_json.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "conf/settings_config.h"
#include "conf/settings_value.h"
#include "conf/utf8.h"

struct building {
    json_t *root;
    json_t *section; /* borrowed: where the keys go */
    const struct settings_section_info *info;
    const char *name;
    bool only_changed;
};

/* The object below `parent`, made where it is not there. Borrowed; NULL for lack of memory. */
static json_t *object_in(json_t *parent, const char *name)
{
    json_t *object = json_object_get(parent, name);

    if (!object && json_object_set_new(parent, name, json_object()) == 0)
        object = json_object_get(parent, name);
    return object;
}

static json_t *harmless_text(const char *text)
{
    char *harmless = NULL;
    size_t size;
    FILE *out = open_memstream(&harmless, &size);
    json_t *json;

    if (!out)
        return NULL;
    utf8_print_harmless(text, out);
    json = fclose(out) == 0 ? json_string(harmless) : NULL;
    free(harmless);
    return json;
}

static json_t *list_value(const struct settings_list *list)
{
    json_t *array = json_array();

    for (size_t i = 0; i < list->count; i++) {
        if (json_array_append_new(array, harmless_text(list->items[i])) < 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

static json_t *number_value(const struct config_key *key)
{
    if (key->key->kind == KIND_BYTES)
        return json_integer((json_int_t) * (const uint64_t *)key->member);
    return json_integer(*(const uint32_t *)key->member);
}

static json_t *value_of(const struct config_key *key)
{
    enum settings_kind kind = key->key->kind;

    if (kind == KIND_TEXT || kind == KIND_PATH)
        return harmless_text(*(char *const *)key->member);
    if (kind == KIND_LIST)
        return list_value(key->member);
    if (kind == KIND_BOOLEAN)
        return json_boolean(*(const bool *)key->member);
    if (settings_kind_is_choice(kind))
        return json_string(settings_value_choice(key->key, *(const unsigned *)key->member));
    return number_value(key);
}

/* The unit of a number that has one, and the number as it would be written. */
static int set_unit(json_t *object, const struct config_key *key)
{
    char text[32];

    if (key->key->kind != KIND_DURATION && key->key->kind != KIND_BYTES)
        return 0;
    settings_value_format(key->key->kind,
                          key->key->kind == KIND_BYTES ? *(const uint64_t *)key->member
                                                       : *(const uint32_t *)key->member,
                          text, sizeof(text));
    if (json_object_set_new(object, "text", json_string(text)) < 0)
        return -ENOMEM;
    return json_object_set_new(object, "unit",
                               json_string(key->key->kind == KIND_BYTES ? "bytes" : "ms"));
}

static int set_origin(json_t *object, const struct settings_origin *origin)
{
    if (!origin)
        return 0;
    if (json_object_set_new(object, "file", harmless_text(origin->place.file)) < 0)
        return -ENOMEM;
    return json_object_set_new(object, "line", json_integer(origin->place.line));
}

static json_t *section_of(struct building *building)
{
    json_t *kind = object_in(building->root, building->info->name);

    return building->info->named ? object_in(kind, building->name) : kind;
}

static int build_section(void *user, const struct settings_section_info *info, const char *name,
                         bool needed)
{
    struct building *building = user;

    building->info = info;
    building->name = name;
    building->section = NULL;
    if (!needed && building->only_changed)
        return 0;
    building->section = section_of(building);
    return building->section ? 0 : -ENOMEM;
}

static int build_key(void *user, const struct config_key *key)
{
    struct building *building = user;
    json_t *object;

    if (building->only_changed && key->at_default)
        return 0;
    if (!building->section)
        building->section = section_of(building);
    object = object_in(building->section, key->key->name);
    if (json_object_set_new(object, "value", value_of(key)) < 0 || set_unit(object, key) < 0 ||
        json_object_set_new(object, "default", json_boolean(key->at_default)) < 0 ||
        set_origin(object, key->origin) < 0)
        return -ENOMEM;
    return 0;
}

int settings_print_json(const struct settings *settings, bool only_changed, FILE *out)
{
    struct building building = { .root = json_object(), .only_changed = only_changed };
    struct config_listener listener = { &building, build_section, build_key };
    int result = -ENOMEM;

    if (json_object_set_new(building.root, "files", list_value(&settings->origins->files)) == 0)
        result = settings_config_walk(settings, &listener);
    if (result == 0 && json_dumpf(building.root, out, JSON_INDENT(2)) < 0)
        result = -EIO;
    json_decref(building.root);
    if (result == 0 && (putc('\n', out) == EOF || fflush(out) != 0))
        result = -EIO;
    return result;
}

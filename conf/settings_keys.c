/* Turns settings.def into tables, and struct settings into sections that can be walked by them.
 *
 * A section that is added gets every key's initial value by the same parser that reads files. The
 * one failure is a lack of memory; an initial value that does not parse is a mistake in
 * settings.def and aborts. */
#include "conf/settings_keys.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "conf/settings_value.h"

#define NAMES_MAX 64 /* keys of one section, for a did-you-mean */

#define KEY_OF(structure, key, kind, member, initial, minimum, maximum, help)                      \
    { #key, KIND_##kind, offsetof(struct structure, member), initial, minimum, maximum, help },

static const struct settings_key gatepost_keys[] = {
#define GATEPOST_KEY(key, kind, member, initial, unit, minimum, maximum, help)                     \
    KEY_OF(settings_gatepost, key, kind, member, initial, minimum, maximum, help)
#include "conf/settings.def"
};

static const struct settings_key tls_keys[] = {
#define TLS_KEY(key, kind, member, initial, unit, minimum, maximum, help)                          \
    KEY_OF(settings_tls, key, kind, member, initial, minimum, maximum, help)
#include "conf/settings.def"
};

static const struct settings_key listen_keys[] = {
#define LISTEN_KEY(key, kind, member, initial, unit, minimum, maximum, help)                       \
    KEY_OF(settings_listen, key, kind, member, initial, minimum, maximum, help)
#include "conf/settings.def"
};

static const struct settings_key backend_keys[] = {
#define BACKEND_KEY(key, kind, member, initial, unit, minimum, maximum, help)                      \
    KEY_OF(settings_backend, key, kind, member, initial, minimum, maximum, help)
#include "conf/settings.def"
};

static const struct settings_key limits_keys[] = {
#define LIMITS_KEY(key, kind, member, initial, unit, minimum, maximum, help)                       \
    KEY_OF(settings_limits, key, kind, member, initial, minimum, maximum, help)
#include "conf/settings.def"
};

static const struct settings_key mailstore_keys[] = {
#define MAILSTORE_KEY(key, kind, member, initial, unit, minimum, maximum, help)                    \
    KEY_OF(settings_mailstore, key, kind, member, initial, minimum, maximum, help)
#include "conf/settings.def"
};

#define KEYS(table)  table, sizeof(table) / sizeof((table)[0])
#define ONCE(member) offsetof(struct settings, member), 0, sizeof(((struct settings *)0)->member)
#define ARRAY(member, count, structure)                                                            \
    offsetof(struct settings, member), offsetof(struct settings, count), sizeof(struct structure)

const struct settings_section_info settings_sections[SECTION_COUNT] = {
    [SECTION_GATEPOST] = { "gatepost", false, KEYS(gatepost_keys), ONCE(gatepost) },
    [SECTION_TLS] = { "tls", true, KEYS(tls_keys), ARRAY(tls, tls_count, settings_tls) },
    [SECTION_LISTEN] = { "listen", true, KEYS(listen_keys),
                         ARRAY(listens, listen_count, settings_listen) },
    [SECTION_BACKEND] = { "backend", true, KEYS(backend_keys),
                          ARRAY(backends, backend_count, settings_backend) },
    [SECTION_LIMITS] = { "limits", false, KEYS(limits_keys), ONCE(limits) },
    [SECTION_MAILSTORE] = { "mailstore", false, KEYS(mailstore_keys), ONCE(mailstore) },
};

static_assert(offsetof(struct settings_tls, name) == 0, "a named section begins with its name");
static_assert(offsetof(struct settings_listen, name) == 0, "a named section begins with its name");
static_assert(offsetof(struct settings_backend, name) == 0, "a named section begins with its name");

const struct settings_key *settings_key_find(enum settings_section section, const char *name)
{
    const struct settings_section_info *info = &settings_sections[section];

    for (size_t i = 0; i < info->key_count; i++)
        if (strcmp(info->keys[i].name, name) == 0)
            return &info->keys[i];
    return NULL;
}

const char *settings_key_nearest(enum settings_section section, const char *name)
{
    const struct settings_section_info *info = &settings_sections[section];
    const char *names[NAMES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < info->key_count && count < NAMES_MAX; i++)
        names[count++] = info->keys[i].name;
    return diagnostics_nearest(name, names, count);
}

static char *at_offset(const struct settings *settings, size_t offset)
{
    return (char *)(uintptr_t)settings + offset;
}

static size_t *count_of(const struct settings *settings, enum settings_section section)
{
    return (size_t *)(void *)at_offset(settings, settings_sections[section].count_offset);
}

static char **array_of(const struct settings *settings, enum settings_section section)
{
    return (char **)(void *)at_offset(settings, settings_sections[section].offset);
}

size_t settings_section_size(const struct settings *settings, enum settings_section section)
{
    return settings_sections[section].named ? *count_of(settings, section) : 1;
}

void *settings_section_at(const struct settings *settings, enum settings_section section,
                          size_t index)
{
    const struct settings_section_info *info = &settings_sections[section];

    if (!info->named)
        return at_offset(settings, info->offset);
    return *array_of(settings, section) + index * info->item_size;
}

void *settings_section_find(const struct settings *settings, enum settings_section section,
                            const char *name)
{
    for (size_t i = 0; i < settings_section_size(settings, section); i++) {
        void *item = settings_section_at(settings, section, i);

        if (!settings_sections[section].named || strcmp(*(char **)item, name) == 0)
            return item;
    }
    return NULL;
}

int settings_section_add(struct settings *settings, enum settings_section section, const char *name)
{
    const struct settings_section_info *info = &settings_sections[section];
    size_t count = *count_of(settings, section);
    char *items = realloc(*array_of(settings, section), (count + 1) * info->item_size), *item;

    if (!items)
        return -ENOMEM;
    *array_of(settings, section) = items;
    item = memset(items + count * info->item_size, 0, info->item_size);
    *(char **)(void *)item = strdup(name);
    *count_of(settings, section) = count + 1; /* settings_free() takes it half made, too */
    if (!*(char **)(void *)item)
        return -ENOMEM;
    return settings_value_initial(info, item);
}

void settings_section_remove(struct settings *settings, enum settings_section section, size_t index)
{
    const struct settings_section_info *info = &settings_sections[section];
    char *item = settings_section_at(settings, section, index);
    size_t behind = *count_of(settings, section) - index - 1;

    settings_value_deinit(info, item);
    free(*(char **)(void *)item);
    memmove(item, item + info->item_size, behind * info->item_size);
    --*count_of(settings, section);
}

/* The table of settings.def as data: sections and their keys, for all that works on any key alike.
 *
 * Private to conf/. A member of a section's struct is reached by its key's offset. */
#ifndef GATEPOST_CONF_SETTINGS_KEYS_H
#define GATEPOST_CONF_SETTINGS_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "conf/settings.h"

enum settings_section {
    SECTION_GATEPOST,
    SECTION_TLS,
    SECTION_LISTEN,
    SECTION_BACKEND,
    SECTION_LIMITS,
    SECTION_MAILSTORE,
    SECTION_COUNT
};

enum settings_kind {
    KIND_TEXT,
    KIND_PATH,
    KIND_LIST,
    KIND_BOOLEAN,
    KIND_COUNT,
    KIND_DURATION,
    KIND_BYTES,
    KIND_PROTOCOL, /* the first enum */
    KIND_TLS_RULE,
    KIND_REQUIRE_TLS,
    KIND_EARLY_TALKER,
    KIND_IDENTITY,
    KIND_BARE_NEWLINE,
    KIND_LOG_LEVEL,
    KIND_TLS_VERSION,
    KIND_BACKEND_TLS,
    KIND_POLICY,
    KIND_TLS_PROFILE
};

/* Is it stored as an enum, one of a few words? (A boolean is not.) */
static inline bool settings_kind_is_choice(enum settings_kind kind)
{
    return kind >= KIND_PROTOCOL;
}

struct settings_key {
    const char *name;
    enum settings_kind kind;
    size_t offset; /* of the member in the section's struct */
    const char *initial;
    uint64_t minimum, maximum; /* 0, 0: none */
    const char *help;
};

/* A section with names ([listen NAME]) is an array in struct settings, each item a struct whose
 * first member is the name; the others are there once, as a struct. */
struct settings_section_info {
    const char *name;
    bool named;
    const struct settings_key *keys;
    size_t key_count;
    size_t offset;       /* in struct settings: of the struct, or of the pointer to the array */
    size_t count_offset; /* in struct settings: of the array's size_t count */
    size_t item_size;    /* of one struct */
};

extern const struct settings_section_info settings_sections[SECTION_COUNT];

/* The key of that name in one section, or NULL. */
const struct settings_key *settings_key_find(enum settings_section section, const char *name);

/* The key nearest to `name` in one section, or NULL. */
const char *settings_key_nearest(enum settings_section section, const char *name);

/* How many structs of a section there are; the index-th; the one of that name, or NULL. */
size_t settings_section_size(const struct settings *settings, enum settings_section section);
void *settings_section_at(const struct settings *settings, enum settings_section section,
                          size_t index);
void *settings_section_find(const struct settings *settings, enum settings_section section,
                            const char *name);

/* Appends a named section at its defaults. Returns 0 or -ENOMEM. */
int settings_section_add(struct settings *settings, enum settings_section section,
                         const char *name);

/* Removes the index-th struct of a named section. */
void settings_section_remove(struct settings *settings, enum settings_section section,
                             size_t index);

/* The member of a section's struct that `key` stands for. */
static inline void *settings_member(const void *section, const struct settings_key *key)
{
    return (char *)(uintptr_t)section + key->offset;
}

#endif

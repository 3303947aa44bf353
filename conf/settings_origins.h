/* Where each setting was written, for what is found wrong after all files were read. Private to
 * conf/. */
#ifndef GATEPOST_CONF_SETTINGS_ORIGINS_H
#define GATEPOST_CONF_SETTINGS_ORIGINS_H

#include "conf/settings_keys.h"

struct settings_origin {
    enum settings_section section;
    char *name;      /* of the section, "" where it has none */
    const char *key; /* NULL: the section's own line */
    unsigned file_number;
    struct diagnostic_place place; /* texts are owned */
    unsigned value_column;
    bool continued; /* an indented line, which goes on with the value */
    bool unused;    /* refused, or without effect: the default holds */
};

struct settings_origins {
    struct settings_origin *items;
    size_t count, room;
    struct settings_list files; /* all that were read, in that order */
};

void settings_origins_deinit(struct settings_origins *origins);

/* Notes a place, instead of older ones of the same key; one that is `continued` beside them. `key`
 * must be static. Returns 0 or -ENOMEM. */
int settings_origins_set(struct settings_origins *origins, const struct settings_origin *origin);

/* Notes that a file was read. Returns 0 or -ENOMEM. */
int settings_origins_add_file(struct settings_origins *origins, const char *file);

/* The place of a key, or of the section's line for `key` NULL; NULL where nothing is written. */
struct settings_origin *settings_origins_find(const struct settings_origins *origins,
                                              enum settings_section section, const char *name,
                                              const char *key);

/* The line of the key's value that holds this item of a list, and the column where it begins; the
 * last one where there are several, since that is one too many. NULL where none does. */
const struct settings_origin *settings_origins_find_item(const struct settings_origins *origins,
                                                         enum settings_section section,
                                                         const char *name, const char *key,
                                                         const char *item, unsigned *ret_column);

#endif

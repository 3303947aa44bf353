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
};

struct settings_origins {
    struct settings_origin *items;
    size_t count, room;
};

void settings_origins_deinit(struct settings_origins *origins);

/* Notes a place, over an older one of the same key. `key` must be static. Returns 0 or -ENOMEM. */
int settings_origins_set(struct settings_origins *origins, const struct settings_origin *origin);

/* The place of a key, or of the section's line for `key` NULL; NULL where nothing is written. */
const struct settings_origin *settings_origins_find(const struct settings_origins *origins,
                                                    enum settings_section section, const char *name,
                                                    const char *key);

#endif

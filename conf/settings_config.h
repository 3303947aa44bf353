/* The walk over all keys that `gatepost config` shows, in either of its forms. Private to conf/. */
#ifndef GATEPOST_CONF_SETTINGS_CONFIG_H
#define GATEPOST_CONF_SETTINGS_CONFIG_H

#include "conf/settings_origins.h"

/* One key of one section. */
struct config_key {
    const struct settings_key *key;
    const void *member;
    const struct settings_origin *origin; /* NULL: no file says it */
    bool at_default;
};

/* Told section by section: the section, then its keys. `needed`: it has to be named, since it would
 * not exist otherwise. Each returns 0, or what ends the walk. */
struct config_listener {
    void *user;
    int (*section)(void *user, const struct settings_section_info *info, const char *name,
                   bool needed);
    int (*key)(void *user, const struct config_key *key);
};

/* Returns 0, -ENOMEM, or what a function of the listener has returned. */
int settings_config_walk(const struct settings *settings, const struct config_listener *listener);

#endif

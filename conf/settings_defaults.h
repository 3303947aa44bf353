/* What settings are where no file says it: the values of settings.def, the six ports, and what
 * depends on other settings or on the host. Private to conf/. */
#ifndef GATEPOST_CONF_SETTINGS_DEFAULTS_H
#define GATEPOST_CONF_SETTINGS_DEFAULTS_H

#include "conf/settings_keys.h"

/* Adds to `settings`, all zero, what an empty file gives, but for what settings_defaults_complete()
 * fills in. Returns 0 or -ENOMEM. */
int settings_defaults_add(struct settings *settings);

/* Fills in what was left open and depends on other settings, and puts [tls default] first. Warns of
 * what is written and has no effect. Returns 0 or -ENOMEM. */
int settings_defaults_complete(struct settings *settings, struct diagnostics *diagnostics);

/* Is a key of the index-th section as it would be if no file had said anything of it, the other
 * keys being as they are? 1, 0 or -ENOMEM. */
int settings_defaults_hold(const struct settings *settings, enum settings_section section,
                           size_t index, const struct settings_key *key);

#endif

/* The effective settings and their origins as JSON. Of a library of its own, so that only who wants
 * it is linked to libjansson. */
#ifndef GATEPOST_CONF_SETTINGS_JSON_H
#define GATEPOST_CONF_SETTINGS_JSON_H

#include "conf/settings.h"

/* Writes one object: "files", the files that were read, and an object for each kind of section,
 * with one for each name in it where a kind has names, with one for each key:
 *
 *   "value"    a text, a number (milliseconds, octets), true or false, or an array of texts
 *   "unit"     "ms" or "bytes", and "text" the value as it would be written; where there is a unit
 *   "default"  true: it does not differ from the default
 *   "file", "line"   where it is written, if anywhere
 *
 * `only_changed`: keys alone that differ from their defaults, and sections that would not exist
 * without being named. What is no UTF-8 in the name of a file comes out as ?. Returns 0, -EIO or
 * -ENOMEM. */
int settings_print_json(const struct settings *settings, bool only_changed, FILE *out);

#endif

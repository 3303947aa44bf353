/* Values: from a file's words to a member, and back. Private to conf/. */
#ifndef GATEPOST_CONF_SETTINGS_VALUE_H
#define GATEPOST_CONF_SETTINGS_VALUE_H

#include <stdio.h>

#include "conf/settings_keys.h"

#define SETTINGS_VALUE_MAX                                                                         \
    170 /* octets of one text or list item, so that any key with it fits a line */

/* What is wrong with a value, and where in it. */
struct value_fault {
    size_t offset;
    char words[320];
};

enum value_result { VALUE_GOOD = 0, VALUE_BAD = 1 };

/* Replaces `member` by what `text` says. Returns VALUE_GOOD; VALUE_BAD with *ret_fault, member
 * unchanged; -ENOMEM. */
int settings_value_parse(const struct settings_key *key, const char *text, void *member,
                         struct value_fault *ret_fault);

/* The same for a further line of a list: its items are appended. */
int settings_value_append(const struct settings_key *key, const char *text, void *member,
                          struct value_fault *ret_fault);

/* Writes `key = value`, as settings_value_parse() reads it, with line end. */
void settings_value_print(const struct settings_key *key, const void *member, FILE *out);

/* "an absolute path", "smtp, pop3 or opaque", "a duration in ms, s, min, h or d, from 0ms to 1min",
 * ... */
void settings_value_print_type(const struct settings_key *key, FILE *out);

/* The initial value as a person is told it: "empty" or "none" where it is no word. Static text. */
const char *settings_value_default(const struct settings_key *key);

/* A number of this key's kind as it would be written: 5s, 64KiB, 100. */
void settings_value_format(enum settings_kind kind, uint64_t number, char *into, size_t room);

/* The word for a value of an enum. Static text. */
const char *settings_value_choice(const struct settings_key *key, unsigned value);

/* Gives a section's struct, all zero but for its name, every key's initial value. Returns 0 or
 * -ENOMEM. */
int settings_value_initial(const struct settings_section_info *info, void *section);

/* Are two values of a key the same? */
bool settings_value_equal(const struct settings_key *key, const void *a, const void *b);

/* Frees the values of a section's struct, not its name. */
void settings_value_deinit(const struct settings_section_info *info, void *section);

#endif

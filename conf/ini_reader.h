/* Reads INI text line by line and hands sections and settings, each with its place, to a caller.
 *
 * inih splits the lines; what it would do silently is refused before it sees them: lines longer
 * than its buffer, section names longer than its buffer, text behind a section's ], `key: value`,
 * NUL and control characters, what is not UTF-8. Comments are whole lines that begin with ; or #,
 * of any length, or the rest of a line from a blank and a ; on. An indented line goes
 * on with the value of the setting above it, as in inih, and may therefore hold neither = nor [. */
#ifndef GATEPOST_CONF_INI_READER_H
#define GATEPOST_CONF_INI_READER_H

#include <stdbool.h>
#include <stddef.h>

#include "conf/diagnostics.h"

#define INI_LINE_MAX     198 /* octets without the line's end: inih's buffer of 200 less LF and NUL */
#define INI_FORMAT_TOPIC "Format" /* the heading in gatepost.ini(5) that tells all this */
#define INI_SECTION_MAX  49       /* octets between [ and ]: inih's buffer of 50 less NUL */

/* One `key = value`, without the blanks around them. All texts are only lent. */
struct ini_entry {
    const char *key;
    const char *value;
    bool continued;                /* an indented line: more of the value of `key` */
    struct diagnostic_place place; /* its column is the key's */
    unsigned value_column;
};

/* Told in the order of the file: a section, then its entries. */
struct ini_listener {
    void *user;
    void (*section)(void *user, const char *name, const struct diagnostic_place *place);
    void (*entry)(void *user, const struct ini_entry *entry);
};

/* Reads all of `text`; `file` names it in diagnostics. Entries behind a section line that was
 * refused are not told. Returns 0, or -EINVAL when something was refused (each is a diagnostic), or
 * -ENOMEM. */
int ini_reader_read(const char *text, size_t size, const char *file,
                    const struct ini_listener *listener, struct diagnostics *diagnostics);

#endif

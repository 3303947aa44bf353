/* Errors and warnings about a configuration, collected so that one run tells all of them.
 *
 * Each names file, line, the line's text with a caret under the place, where one is near a "did you
 * mean", and the part of gatepost.ini(5) to read. */
#ifndef GATEPOST_CONF_DIAGNOSTICS_H
#define GATEPOST_CONF_DIAGNOSTICS_H

#include <stddef.h>
#include <stdio.h>

enum diagnostic_kind { DIAGNOSTIC_ERROR, DIAGNOSTIC_WARNING };

struct diagnostic; /* private to diagnostics.c */

struct diagnostics {
    struct diagnostic *items;
    size_t count, room;
    size_t errors, warnings;
};

/* Where in a file. `line` counts from 1, `column` from 1 (0: no caret), `text` is the line without
 * its end. file NULL: the whole configuration. `topic` is where gatepost.ini(5) tells about it, a
 * heading of the page and a key below it: "[listen NAME] detect"; NULL: nowhere. All are copied. */
struct diagnostic_place {
    const char *file;
    unsigned line;
    unsigned column;
    const char *text;
    const char *topic;
};

void diagnostics_init(struct diagnostics *diagnostics);
void diagnostics_deinit(struct diagnostics *diagnostics);

/* Adds one. `place` may be NULL. Memory running out while adding still counts the error. */
void diagnostics_add(struct diagnostics *diagnostics, enum diagnostic_kind kind,
                     const struct diagnostic_place *place, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Prints all, those about one file together and in the order of its lines, those about no file at
 * the end: "FILE:LINE: error: WORDS", the text, the caret, and "see gatepost.ini(5), TOPIC". */
void diagnostics_print(const struct diagnostics *diagnostics, FILE *out);

/* Prints how many there are, without line end: "2 errors, 1 warning", or "nothing is wrong". */
void diagnostics_print_count(const struct diagnostics *diagnostics, FILE *out);

/* The candidate nearest to `word` (at most a third of its letters changed), or NULL. */
const char *diagnostics_nearest(const char *word, const char *const *candidates, size_t count);

#endif

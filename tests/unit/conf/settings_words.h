/* What is said about a text of settings, for tables: without line numbers and carets. */
#ifndef GATEPOST_TESTS_SETTINGS_WORDS_H
#define GATEPOST_TESTS_SETTINGS_WORDS_H

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conf/settings.h"
#include "tests/unit/conf/topics.h"

#define WORDS_MAX 16384

/* A certificate, and no port that would be warned of because it takes passwords in clear. */
#define WORDS_QUIET                                                                                \
    "[tls default]\ncertificate = /c\nkey = /k\n"                                                  \
    "[listen pop3]\nrequire_tls = auth\n[listen smtp]\nrequire_tls = auth\n"                       \
    "[listen smtp-alt]\nrequire_tls = auth\n[listen submission]\nrequire_tls = auth\n"

struct words_row {
    const char *name;
    const char *text;
    const char *words; /* "error: WORDS < LINE\n" for each, the line as it is written */
};

/* Takes "f:12: " off, puts the line behind the words, drops the caret. */
static inline void words_shorten(char *printed, char words[WORDS_MAX])
{
    size_t used = 0;

    *words = '\0';
    for (char *line = strtok(printed, "\n"); line; line = strtok(NULL, "\n")) {
        const char *format = "%s%s";

        if ((line[0] == ' ' && line[strspn(line, " ")] == '^') ||
            strncmp(line, TOPIC_LINE, strlen(TOPIC_LINE)) == 0)
            continue;
        if (line[0] == ' ') {
            format = " < %s%s"; /* in the place of the line's end */
            line += 4;
            used--;
        } else if (line[0] == 'f') {
            line = strchr(line, ' ') + 1;
        }
        used += (size_t)snprintf(words + used, WORDS_MAX - used, format, line, "\n");
    }
}

/* Loads the text and writes what is said of it. NULL where it is refused. */
static inline struct settings *words_load(const char *text, char words[WORDS_MAX])
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;
    char *printed;
    size_t size;
    FILE *out = open_memstream(&printed, &size);

    if (!out)
        abort();
    diagnostics_init(&diagnostics);
    settings_load_text(text, strlen(text), "f", &diagnostics, &settings);
    diagnostics_print(&diagnostics, out);
    fclose(out);
    diagnostics_deinit(&diagnostics);
    words_shorten(printed, words);
    free(printed);
    return settings;
}

/* Does what is printed of the settings load again, with the same? The workers load that. */
static inline bool words_round_trip(const struct settings *settings)
{
    char *first, *second, words[WORDS_MAX];
    size_t size;
    FILE *out = open_memstream(&first, &size);
    struct settings *again;
    bool same;

    if (!out || settings_print(settings, out) < 0)
        abort();
    fclose(out);
    again = words_load(first, words);
    if (!again) {
        fprintf(stderr, "%s\nis refused:\n%s", first, words);
        free(first);
        return false;
    }
    out = open_memstream(&second, &size);
    if (!out || settings_print(again, out) < 0)
        abort();
    fclose(out);
    same = strcmp(first, second) == 0;
    settings_free(again);
    free(first);
    free(second);
    return same;
}

/* False, with words on stderr, where a row of a table is not met: `text` stands behind
 * WORDS_QUIET. */
static inline bool words_row_holds(const struct words_row *row)
{
    char text[WORDS_MAX], words[WORDS_MAX];
    struct settings *settings;
    bool refused = strncmp(row->words, "error: ", 7) == 0 || strstr(row->words, "\nerror: "), holds;

    snprintf(text, sizeof(text), "%s%s", WORDS_QUIET, row->text);
    settings = words_load(text, words);
    holds = strcmp(words, row->words) == 0 && refused == !settings;
    if (!holds)
        fprintf(stderr, "%s: %s, and said is\n%s", row->name, settings ? "loads" : "is refused",
                words);
    if (settings && !words_round_trip(settings)) {
        fprintf(stderr, "%s: is not the same when it is printed and loaded\n", row->name);
        holds = false;
    }
    settings_free(settings);
    return holds;
}

#endif

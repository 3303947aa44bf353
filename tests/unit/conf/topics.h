/* The lines "see gatepost.ini(5), ..." of printed diagnostics: taken out, for tables of words in
 * which they would say the same again and again. */
#ifndef GATEPOST_TESTS_TOPICS_H
#define GATEPOST_TESTS_TOPICS_H

#include <string.h>

#define TOPIC_LINE "    see gatepost.ini(5), "

/* Drops them from `printed`. Returns how many there were. */
static inline size_t topics_drop(char *printed)
{
    size_t count = 0;

    for (char *line = printed; *line;) {
        char *next = line + strcspn(line, "\n");

        next += *next == '\n';
        if (strncmp(line, TOPIC_LINE, strlen(TOPIC_LINE)) != 0) {
            line = next;
            continue;
        }
        memmove(line, next, strlen(next) + 1);
        count++;
    }
    return count;
}

#endif

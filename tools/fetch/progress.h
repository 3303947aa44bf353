/* The progress line: one line of a terminal, written anew at most five times a second; nothing at
 * all where the descriptor is no terminal. */
#ifndef GATEPOST_TOOLS_FETCH_PROGRESS_H
#define GATEPOST_TOOLS_FETCH_PROGRESS_H

#include "tools/fetch/progress_words.h"

struct progress {
    int fd; /* borrowed; -1: no terminal, all calls do nothing */
    bool shown;
    uint64_t shown_ms;
    struct progress_rate rate;
    struct progress_facts facts;
};

/* `fd` is standard error, as a rule; `quiet`: as if it were no terminal. */
void progress_init(struct progress *progress, int fd, bool quiet);

/* A new run of messages begins: `messages` and `total` octets in all, 0 where nobody knows. `verb`
 * is static text. */
void progress_begin(struct progress *progress, const char *verb, uint64_t messages, uint64_t total);

/* The next message begins. */
void progress_message(struct progress *progress);

/* So many octets more have gone over the link. Shows the line where it is time. */
void progress_octets(struct progress *progress, uint64_t octets);

/* Takes the line off the terminal: before anything else is written there, and at the end. */
void progress_clear(struct progress *progress);

#endif

/* What a run has done, and how it ended: in words, and as JSON. */
#ifndef GATEPOST_TOOLS_FETCH_REPORT_H
#define GATEPOST_TOOLS_FETCH_REPORT_H

#include "tools/fetch/progress.h"

struct report_count {
    uint64_t messages, octets;
};

struct report_note {
    char *file, *reason;
};

struct report_notes {
    struct report_note *items;
    size_t count;
};

struct report {
    struct report_count received, sent;
    struct report_notes refused; /* messages of the outbox, for good */
    struct report_notes waiting; /* others of it, which another account must finish */
    unsigned connections;
    long long begun_ms;
    struct progress progress; /* at the terminal */
    int exit;                 /* of sysexits(3) */
    char error[512];          /* one sentence; "": there is none */
};

/* `quiet`: no progress. */
void report_begin(struct report *report, bool quiet);
void report_free(struct report *report);

/* A line on standard error. */
void report_tell(struct report *report, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A message of the outbox that nobody will take: told at once, and kept. */
void report_refusal(struct report *report, const char *file, const char *reason);

/* The same for one that is not this run's to send: nothing is wrong with it. */
void report_waiting(struct report *report, const char *file, const char *reason);

/* Keeps the exit code and the sentence. Returns the code. */
int report_end(struct report *report, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One JSON object and a line end, on standard output. 0 or -errno. */
int report_print_json(const struct report *report, const char *host, const char *user);

#endif

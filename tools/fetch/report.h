/* What a run has done, and how it ended. */
#ifndef GATEPOST_TOOLS_FETCH_REPORT_H
#define GATEPOST_TOOLS_FETCH_REPORT_H

#include "proxy/base/text.h"

struct report_count {
    uint64_t messages, octets;
};

struct report {
    struct report_count received, sent;
    uint64_t refused; /* messages of the outbox */
    unsigned connections;
    int exit;        /* of sysexits(3) */
    char error[512]; /* one sentence; "": there is none */
};

/* Keeps the exit code and the sentence. Returns the code. */
int report_end(struct report *report, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#endif

/* Reads the replies of a POP3 or SMTP server (RFC 1939 section 3, RFC 5321 section 4.2). PURE. */
#ifndef GATEPOST_BENCH_REPLY_H
#define GATEPOST_BENCH_REPLY_H

#include "proxy/base/span.h"

enum reply_result {
    REPLY_MORE = 1, /* all octets used, no end yet */
    REPLY_YES,      /* +OK, "+ " or 2xx, 3xx */
    REPLY_NO        /* -ERR or 4xx, 5xx; also what is no reply */
};

struct reply {
    unsigned char first[4]; /* octets of the line */
    size_t column;          /* octets of the line taken so far */
};

/* Takes octets off *in up to the end of a reply. Ready for the next reply then. */
int reply_take(struct reply *reply, bool smtp, struct span *in);

#endif

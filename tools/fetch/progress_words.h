/* The words of a progress line, and the time left, from octets and a clock.
 *
 * PURE. Times are milliseconds of any clock that does not step back. */
#ifndef GATEPOST_TOOLS_FETCH_PROGRESS_WORDS_H
#define GATEPOST_TOOLS_FETCH_PROGRESS_WORDS_H

#include "proxy/base/text.h"

/* How fast it goes: a mean that forgets what is older than some seconds. Zero is the beginning. */
struct progress_rate {
    bool begun;
    bool known;
    uint64_t since_ms;   /* of the last sample */
    uint64_t octets;     /* since then */
    double octets_per_s; /* smoothed */
};

void progress_rate_add(struct progress_rate *rate, uint64_t octets, uint64_t now_ms);

struct progress_facts {
    const char *verb;    /* "receiving", "sending" */
    uint64_t message;    /* its number, from 1 */
    uint64_t messages;   /* of so many; 0: nobody knows */
    uint64_t octets;     /* so far, of all messages together */
    uint64_t total;      /* of so many; 0: nobody knows */
    double octets_per_s; /* 0: not known yet */
};

/* "receiving 3 of 12, 4.2 of 31 MiB, 118 KiB/s, 3 min 50 s left", in at most `columns` columns:
 * what does not fit is left out from the end, whole words at a time. */
void progress_put(struct text *text, const struct progress_facts *facts, size_t columns);

/* "0 octets", "1 octet", "999 octets", "1.0 KiB", "31 MiB". */
void progress_put_octets(struct text *text, uint64_t octets);

/* "5 s", "1 min 20 s", "2 h 5 min", "3 days". */
void progress_put_time(struct text *text, uint64_t seconds);

#endif

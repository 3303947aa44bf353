/* Cuts a stream of bytes into command lines.
 *
 * PURE. A line that arrives whole is returned as a span into the caller's bytes (no copy); only the
 * beginning of a line whose end has not come yet is kept here, on the heap, and the heap piece is
 * released when the line has been returned and the next call is made. So an idle session holds
 * nothing.
 *
 * SMTP (LINE_STRICT): a line ends in CRLF and in nothing else; a bare LF, a bare CR or a NUL spoils
 * it (RFC 5321 section 2.3.8). A bare LF is reported at once, so that a client that ends lines by
 * LF alone hears what is wrong instead of waiting, and the rest up to the next CRLF is void. POP3
 * (LINE_LENIENT): a bare LF ends a line too; one CR before it is not part of the line. A NUL or
 * another CR is passed on as it is, to be refused as syntax. */
#ifndef GATEPOST_BASE_LINE_H
#define GATEPOST_BASE_LINE_H

#include "proxy/base/span.h"

enum line_mode { LINE_STRICT, LINE_LENIENT };

enum line_result {
    LINE_MORE = 1, /* all input used, no end of line yet */
    LINE_READY,    /* *ret_line is one line without its line end */
    LINE_TOO_LONG, /* a line of more than `limit` bytes, its line end counted, has ended and was
                      discarded */
    LINE_SPOILED,  /* strict only: a line with a bare LF, bare CR or NUL was discarded */
};

struct line {
    unsigned char *held; /* beginning of an unfinished line; NULL when there is none */
    size_t held_size;
    size_t held_room;
    uint32_t limit; /* longest line, with its line end (2 bytes are counted, also for a bare LF) */
    uint8_t mode;
    bool discarding; /* the line is too long already */
    bool spoiled;    /* a bare CR or NUL was seen in the line */
    bool void_rest;  /* a bare LF was reported; nothing counts up to the next CRLF */
    bool after_cr;   /* the last byte seen was a CR */
    bool returned;   /* held was lent to the caller by the last call */
};

void line_init(struct line *line, enum line_mode mode, uint32_t limit);

/* Forgets an unfinished line, wipes and frees what was held. Usable again afterwards. */
void line_reset(struct line *line);

/* Takes bytes off *in until one line is complete or *in is empty. Returns a line_result or -ENOMEM.
 * *ret_line is written for LINE_READY only and is borrowed: valid until the next call or until the
 * input's owner changes it. */
int line_next(struct line *line, struct span *in, struct span *ret_line);

/* Has a line begun whose end has not come? */
static inline bool line_unfinished(const struct line *line)
{
    return (line->held_size > 0 && !line->returned) || line->discarding || line->void_rest ||
           line->after_cr;
}

/* Will the line that has begun be LINE_TOO_LONG, when its end comes? */
static inline bool line_too_long(const struct line *line)
{
    return line->discarding;
}

#endif

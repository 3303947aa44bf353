/* A message on its way out: as a file has it, made into what goes over the wire.
 *
 * PURE. Every line ends in CRLF: a bare LF and a bare CR become CRLF, CRCRLF (a CRLF file that was
 * converted once too often) as well, and a last line without an end gets one. The fields Bcc,
 * Resent-Bcc and Return-Path are left out, with their continuation lines: the first two are nobody
 * else's business (RFC 5322 section 3.6.3), the last is the server's to write (RFC 5321 section
 * 4.4). The same octets come out whatever the pieces that go in. */
#ifndef GATEPOST_TOOLS_FETCH_WIRE_H
#define GATEPOST_TOOLS_FETCH_WIRE_H

#include "proxy/base/span.h"

/* Which octets end a line: this step is all that decides it, for wire.c and for envelope.c. Zero is
 * the beginning. */
struct wire_lines {
    unsigned char crs; /* CRs seen whose meaning the next octet decides: 0 to 2 */
};

/* Returns how many lines end before, or with, `octet`; *ret_text: it is part of a line itself. */
static inline unsigned wire_lines_step(struct wire_lines *lines, unsigned char octet,
                                       bool *ret_text)
{
    unsigned ends = lines->crs;

    *ret_text = octet != '\r' && octet != '\n';
    if (octet == '\r') {
        lines->crs = ends == 2 ? 2 : (unsigned char)(ends + 1);
        return ends == 2 ? 1 : 0;
    }
    lines->crs = 0;
    return octet == '\n' ? 1 : ends;
}

/* How many lines end where the message ends, not counting one without an end. */
static inline unsigned wire_lines_end(struct wire_lines *lines)
{
    unsigned ends = lines->crs;

    lines->crs = 0;
    return ends;
}

#define WIRE_HELD_MAX 16

/* Zero is the beginning of a message. */
struct wire {
    struct wire_lines lines;
    bool in_line;  /* octets of a line have come that has not ended */
    bool body;     /* the empty line has passed */
    bool decided;  /* whether this line of the header is left out */
    bool dropping; /* it is */
    unsigned char held_size;
    unsigned char held[WIRE_HELD_MAX]; /* the beginning of a line that is not decided yet */
};

/* Room for what comes out of `size` octets. */
#define WIRE_ROOM(size) (2 * (size) + WIRE_HELD_MAX + 4)

/* Returns the number of octets written to `into`, which has WIRE_ROOM(in.size). */
size_t wire_put(struct wire *wire, struct span in, unsigned char *into);

/* Ends the message. `into` has WIRE_ROOM(0). */
size_t wire_end(struct wire *wire, unsigned char *into);

#endif

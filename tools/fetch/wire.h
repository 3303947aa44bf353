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

/* Line ends alone: turns octets of any size into those with CRLF line ends. */
struct wire_lines {
    uint8_t crs;  /* CRs seen and not written yet: 0 to 2 */
    bool in_line; /* octets of a line have been written that has not ended */
};

#define WIRE_HELD_MAX 16

/* Zero is the beginning of a message. */
struct wire {
    struct wire_lines lines;
    bool body;     /* the empty line has passed */
    bool dropping; /* inside a field that is left out */
    bool decided;  /* the line's kind is known */
    bool after_cr; /* of a line of the header, as it comes out of `lines` */
    unsigned char held_size;
    unsigned char held[WIRE_HELD_MAX]; /* the beginning of a line whose kind is not known yet */
};

/* Room that wire_put() needs for `size` octets of input, and wire_end(). */
#define WIRE_ROOM(size) (2 * (size) + WIRE_HELD_MAX + 4)

/* Returns the number of octets written to `into`, which has WIRE_ROOM(in.size). */
size_t wire_put(struct wire *wire, struct span in, unsigned char *into);

/* Ends the message. `into` has WIRE_ROOM(0). */
size_t wire_end(struct wire *wire, unsigned char *into);

#endif

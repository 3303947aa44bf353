/* Line ends of a message, on the wire (CRLF) and on disk (LF): two machines that undo each other.
 *
 * PURE. To disk: CRLF becomes LF; a CR that is followed by another octet stays, and CRCRLF stays
 * whole. To the wire: an LF without a CR before it becomes CRLF; all else stays. So every message
 * without a bare LF comes back octet for octet, and a file that another program wrote with CRLF
 * line ends is right as well. A last line without an end gets one on both ways. */
#ifndef GATEPOST_BACKENDS_NEWLINE_H
#define GATEPOST_BACKENDS_NEWLINE_H

#include "proxy/base/span.h"

/* Zero is the beginning of a message. */
struct newline_to_disk {
    uint64_t octets; /* what the message has on the wire, so far */
    unsigned crs;    /* CRs seen at the end, at most 2; the last of them is not written yet */
    bool unfinished; /* the last line has no end yet */
};

/* Converts `in` into `into`, which has room for in.size + 1 bytes. Returns the number of bytes
 * written. */
size_t newline_to_disk(struct newline_to_disk *state, struct span in, unsigned char *into);

/* Ends the message: at most NEWLINE_END_MAX bytes. */
size_t newline_to_disk_end(struct newline_to_disk *state, unsigned char *into);

#define NEWLINE_END_MAX 3

/* Zero is the beginning of a message that is sent whole, without dot-stuffing. */
struct newline_to_wire {
    bool dot_stuffing; /* RFC 1939 section 3 */
    bool limited;      /* TOP: the header, the empty line, and `lines_left` lines of the body */
    uint64_t lines_left;
    bool body;    /* the empty line behind the header has passed */
    bool in_line; /* octets of a line have been sent that has not ended */
    bool after_cr;
    bool lone_cr; /* the line is one CR so far: with an LF it is the empty line */
};

/* Converts `in` into `into`, which has room for 2 * in.size bytes. Returns the number of bytes
 * written. */
size_t newline_to_wire(struct newline_to_wire *state, struct span in, unsigned char *into);

/* Ends the message: 0 or 2 bytes. */
size_t newline_to_wire_end(struct newline_to_wire *state, unsigned char *into);

/* Is all sent that the limit allows? The rest need not be read. */
bool newline_to_wire_done(const struct newline_to_wire *state);

#endif

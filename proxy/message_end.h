/* Finds the end of a multi-line block: a dot alone between two CRLF, and nothing else (RFC 5321
 * section 4.1.1.4, RFC 1939 section 3).
 *
 * PURE, and fast: octets are looked at one by one only across the borders of what is given. The
 * block begins at the start of a line, so a dot and CRLF at once end it. */
#ifndef GATEPOST_PROXY_MESSAGE_END_H
#define GATEPOST_PROXY_MESSAGE_END_H

#include "proxy/base/span.h"

struct message_end {
    uint8_t matched; /* octets of CRLF.CRLF that the octets seen last are the beginning of */
};

#define MESSAGE_END_START  ((struct message_end){ 2 })
#define MESSAGE_END_INSIDE ((struct message_end){ 0 }) /* to begin inside a line */

/* Returns true where the block ends in `in`, and how many of its octets are part of it; else all of
 * them are. */
bool message_end_find(struct message_end *end, struct span in, size_t *ret_size);

#endif

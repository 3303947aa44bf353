/* Passes the octets of a message behind DATA, up to its end and no further, so that any server sees
 * the same one end.
 *
 * PURE. The end is CRLF.CRLF and nothing else (RFC 5321 section 4.1.1.4). A bare newline is an LF
 * without a CR before it or a CR without an LF behind it. What becomes of bare newlines is the
 * server's setting: normalize  each becomes CRLF. A line that begins with a dot only because of
 * that gets one more dot, and so does a dot that would stand alone on its line only because of
 * that: what is passed never holds a second end. reject     MESSAGE_BARE; nothing of it is passed.
 *   pass       all octets go as they are.
 * Unless `pass`, a NUL is nothing to look past: a dot with only NULs before it on its line, and a
 * dot at the start of a line with a NUL behind it, get one more dot, for there are servers that do
 * not see a NUL. (A NUL is not allowed in a message sent by DATA: RFC 5321 section 4.5.2, RFC 6152
 * section 2.)
 *
 * Clean octets pass as spans into the input; what is put in is static text. */
#ifndef GATEPOST_PROXY_MESSAGE_SCAN_H
#define GATEPOST_PROXY_MESSAGE_SCAN_H

#include "conf/settings.h"
#include "proxy/message_end.h"

struct message_scan {
    uint8_t state;
    uint8_t rule;           /* enum bare_newline */
    bool bare;              /* a bare newline was seen (normalize and reject) */
    struct message_end end; /* with `pass` */
};

enum message_scan_result {
    MESSAGE_MORE = 1, /* all input used, nothing to pass */
    MESSAGE_PASS,     /* *ret_piece is the next piece of the message */
    MESSAGE_ENDED, /* *ret_piece is the last piece, its final dot and CRLF included; what follows is
                      no message */
    MESSAGE_BARE,  /* `reject` only: a bare newline is found; it is no part of an end, and what
                      follows is to be searched from MESSAGE_END_INSIDE */
};

void message_scan_init(struct message_scan *scan, enum bare_newline rule);

/* Takes octets off *in. */
int message_scan_next(struct message_scan *scan, struct span *in, struct span *ret_piece);

#endif

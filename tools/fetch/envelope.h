/* Who sends a message and who gets it, read from its header as "sendmail -t" does (RFC 5322).
 *
 * PURE. The message is fed in pieces of any size; line ends may be CRLF, LF or a bare CR, as wire.h
 * takes them. Recipients are those of To, Cc and Bcc; where there is a Resent- field they are those
 * of the topmost block of Resent-To, Resent-Cc and Resent-Bcc alone. The sender is what the caller
 * gives, else Return-Path, Sender or the first of From; or Resent-Sender, Resent-From. Groups,
 * quoted strings, comments, folding and encoded words are understood. Not sendable, with words: an
 * address that is no ASCII, has no domain, a route or is too long, and a list that is no list: a
 * wrong guess would send mail elsewhere. */
#ifndef GATEPOST_TOOLS_FETCH_ENVELOPE_H
#define GATEPOST_TOOLS_FETCH_ENVELOPE_H

#include "proxy/base/span.h"

#define ENVELOPE_RECIPIENTS_MAX 100     /* as many as a server takes by default */
#define ENVELOPE_ADDRESS_MAX    254     /* octets (RFC 5321 section 4.5.3.1.3) */
#define ENVELOPE_FIELDS_MAX     65536   /* octets of the fields with addresses, together */
#define ENVELOPE_HEADER_MAX     1048576 /* octets of the whole header */

struct envelope;

enum envelope_result {
    ENVELOPE_MORE = 1, /* the header has not ended */
    ENVELOPE_READY,    /* all is known; what follows is the body */
    ENVELOPE_REFUSED,  /* it cannot be sent: envelope_words() */
};

/* `sender` is "local@domain", "" for none (<>), or NULL: as the message says. It is checked with
 * the message, and copied. 0 or -ENOMEM. */
int envelope_new(const char *sender, struct envelope **ret_envelope);
void envelope_free(struct envelope *envelope);

/* An envelope_result or -ENOMEM. After ENVELOPE_READY and ENVELOPE_REFUSED more input is ignored
 * and the result stays. */
int envelope_feed(struct envelope *envelope, struct span octets);

/* The message ends: ENVELOPE_READY, ENVELOPE_REFUSED or -ENOMEM. */
int envelope_end(struct envelope *envelope);

/* "FROM:<...>\nTO:<...>\n...", NUL-terminated, at most 64 KiB; each recipient once, in order. After
 * ENVELOPE_READY only. Borrowed, as all below. */
const char *envelope_lines(const struct envelope *envelope);

/* Why not, in a few words that name the field and, escaped, what is wrong in it. After
 * ENVELOPE_REFUSED only. */
const char *envelope_words(const struct envelope *envelope);

/* Are there such fields in the header? After ENVELOPE_READY only. */
bool envelope_has_date(const struct envelope *envelope);
bool envelope_has_message_id(const struct envelope *envelope);

#endif

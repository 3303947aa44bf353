/* The messages that the bench sends and expects: octets that tell where they belong.
 *
 * PURE. A message is a run of `octets` (a multiple of 64) through an endless text of 64-octet lines
 * that repeats after 1,021 lines, a prime number, so that a piece that is lost, doubled, changed or
 * moved shows, whatever its size. It begins `phase` lines into the text: sessions use phases of
 * their own, so that octets of another session show too. No line holds a dot. */
#ifndef GATEPOST_BENCH_MESSAGE_H
#define GATEPOST_BENCH_MESSAGE_H

#include "proxy/base/span.h"

#define MESSAGE_LINE   64
#define MESSAGE_PHASES 1000
#define MESSAGE_PIECE  65536 /* the most that message_piece() gives */

struct message {
    uint64_t octets; /* without the dot at its end */
    uint32_t phase;  /* below MESSAGE_PHASES */
};

/* Compares what arrives with what should. */
struct message_check {
    struct message expected;
    uint64_t position; /* octets taken so far; beyond expected.octets where it is too long */
    uint64_t wrong_at; /* the first octet that was wrong, where there is one */
    bool wrong;
    uint8_t matched; /* of CRLF.CRLF, once something was wrong */
};

/* Writes the text; before anything else here, once a process. */
void message_init(void);

/* The octets from `position` on that stand together: at most MESSAGE_PIECE, empty at the end. */
struct span message_piece(const struct message *message, uint64_t position);

void message_check_begin(struct message_check *check, const struct message *expected);

/* Takes octets off *in, up to and with the lone dot (RFC 5321 section 4.1.1.4, RFC 1939 section 3).
 * Returns true when that has come. After wrong octets it looks for CRLF.CRLF. */
bool message_check_dotted(struct message_check *check, struct span *in);

/* Takes all of `octets`, which belong to a BDAT chunk (RFC 3030 section 2). */
void message_check_counted(struct message_check *check, struct span octets);

/* Is what was taken the message that was expected, and all of it? */
bool message_check_good(const struct message_check *check);

#endif

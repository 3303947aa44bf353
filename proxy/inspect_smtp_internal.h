/* What the files of the SMTP inspector share: inspect_smtp.c (the client's side),
 * inspect_smtp_judge.c (its commands) and inspect_smtp_server.c (the server's side). Not for
 * others. */
#ifndef GATEPOST_PROXY_INSPECT_SMTP_INTERNAL_H
#define GATEPOST_PROXY_INSPECT_SMTP_INTERNAL_H

#include "proxy/inspect_smtp.h"
#include "proxy/line_peek.h"

/* What the client's octets are. */
enum smtp_mode {
    SMTP_MODE_COMMANDS, /* commands, or the octets of a chunk while chunk_left > 0 */
    SMTP_MODE_AUTH,     /* one line that answers a challenge */
    SMTP_MODE_MESSAGE,  /* a message behind DATA */
    SMTP_MODE_REFUSED,  /* the rest of a message that the backend does not get */
    SMTP_MODE_DONE,     /* nothing: QUIT was answered */
    SMTP_MODE_CLOSED,   /* nothing: the end was said */
};

/* What a reply answers. */
enum smtp_reply {
    SMTP_REPLY_OTHER,
    SMTP_REPLY_HELO,
    SMTP_REPLY_EHLO,
    SMTP_REPLY_MAIL,
    SMTP_REPLY_RSET,
    SMTP_REPLY_AUTH,
    SMTP_REPLY_DATA,
    SMTP_REPLY_CHUNK,
    SMTP_REPLY_FINAL,       /* to the end of data */
    SMTP_REPLY_FINAL_CHUNK, /* to BDAT LAST */
    SMTP_REPLY_QUIT,
};

/* What becomes of one command line: passed on, answered here, or the session's end. */
struct smtp_decision {
    int verdict;       /* INSPECT_FORWARD, INSPECT_ANSWER, INSPECT_TLS, INSPECT_HAND_BACK or
                          INSPECT_CLOSE */
    const char *words; /* the reply, with its CRLF; NULL: none */
    const char *violation;
    bool counted;         /* the reply is to a bad command */
    bool login_in_clear;  /* it is a login that wants TLS */
    bool sync;            /* FORWARD: nothing passes behind it until it has been answered */
    uint8_t reply;        /* FORWARD: enum smtp_reply */
    struct span argument; /* FORWARD: behind the verb */
    uint64_t octets;      /* of the chunk that BDAT announces */
};

/* Nothing is changed by judging, so a line can be judged again. */
struct smtp_decision smtp_judge(const struct inspect_smtp *inspect, struct span line);

/* The same for a line that line_next() could not give. */
struct smtp_decision smtp_judge_bad_line(int line_result);

/* Ends the session; returns INSPECT_CLOSE. */
static inline int smtp_close(struct inspect_smtp *inspect, const char *violation)
{
    inspect->mode = SMTP_MODE_CLOSED;
    inspect->facts.violation = violation;
    return INSPECT_CLOSE;
}

#endif

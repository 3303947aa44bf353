/* What the files of the POP3 inspector share: inspect_pop3.c (the client's side),
 * inspect_pop3_judge.c (its commands) and inspect_pop3_server.c (the server's side). Not for
 * others. */
#ifndef GATEPOST_PROXY_INSPECT_POP3_INTERNAL_H
#define GATEPOST_PROXY_INSPECT_POP3_INTERNAL_H

#include "proxy/inspect_pop3.h"
#include "proxy/line_peek.h"

/* What the client's octets are. */
enum pop3_mode {
    POP3_MODE_COMMANDS,
    POP3_MODE_AUTH,   /* one line that answers a challenge */
    POP3_MODE_DONE,   /* nothing: QUIT was answered */
    POP3_MODE_CLOSED, /* nothing: the end was said */
};

/* What a reply answers, and so whether a body follows +OK. */
enum pop3_reply {
    POP3_REPLY_LINE,       /* one line */
    POP3_REPLY_BODY,       /* a body */
    POP3_REPLY_RETR,       /* a body: a message */
    POP3_REPLY_CAPA,       /* a body: a list that is written anew */
    POP3_REPLY_MECHANISMS, /* a body: the answer to AUTH alone, older than RFC 5034; also sifted */
    POP3_REPLY_LOGIN,      /* one line, to PASS or APOP */
    POP3_REPLY_AUTH,       /* one line: a challenge, or the end */
    POP3_REPLY_QUIT,
};

/* What becomes of one command line: passed on, answered here, or the session's end. */
struct pop3_decision {
    int verdict;       /* INSPECT_FORWARD, INSPECT_ANSWER, INSPECT_TLS, INSPECT_HAND_BACK or
                          INSPECT_CLOSE */
    const char *words; /* the reply, with its CRLF; NULL: none */
    const char *violation;
    bool counted;         /* the reply is to a bad command */
    bool wants_tls;       /* the reply tells how to get TLS, instead of `words` */
    bool sync;            /* FORWARD: nothing passes behind it until it has been answered */
    uint8_t reply;        /* FORWARD: enum pop3_reply */
    struct span line;     /* FORWARD: what passes, without its line end */
    struct span argument; /* FORWARD: behind the verb */
    bool names_user;      /* FORWARD: the argument's first word is the user's name */
};

/* Nothing is changed by judging, so a line can be judged again. */
struct pop3_decision pop3_judge(const struct inspect_pop3 *inspect, struct span line);

/* "-ERR [AUTH] Turn on TLS ...", with the ports of this configuration. RFC 3206 section 3. */
void pop3_put_wants_tls(const struct dialogue_rule *rule, struct text *into);

/* The body that is passing is over; it was the first reply of the queue. */
void pop3_finish_body(struct inspect_pop3 *inspect);

/* Ends the session; returns INSPECT_CLOSE. */
static inline int pop3_close(struct inspect_pop3 *inspect, const char *violation)
{
    inspect->mode = POP3_MODE_CLOSED;
    inspect->facts.violation = violation;
    return INSPECT_CLOSE;
}

#endif

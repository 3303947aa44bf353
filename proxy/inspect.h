/* What must be watched or masked while a client and a backend are relayed to each other: what the
 * two inspectors have in common.
 *
 * PURE. An inspector is given octets of one side and returns them piece by piece with a verdict:
 * bulk data pass as spans into the caller's own buffer, without a copy. It keeps the queue of
 * replies that are expected, so that it knows whose turn it is, and where a client may switch to
 * TLS.
 *
 *   while (in.size > 0) switch (inspect->client(inspect, &in, &piece)) ...
 *
 * A call takes octets off the front of *in, and returns a verdict or -ENOMEM. *ret_piece is valid
 * until the next call of either direction, and is empty where the verdict gives none. Lines and
 * bulk data that stand together in the input are one piece. After INSPECT_CLOSE or INSPECT_CUT
 * every further call says INSPECT_CLOSE with an empty piece. */
#ifndef GATEPOST_PROXY_INSPECT_H
#define GATEPOST_PROXY_INSPECT_H

#include "proxy/capabilities.h"

enum inspect_verdict {
    /* Nothing to pass; *in is empty, or the call wants to be made again where it is not. */
    INSPECT_MORE = 1,
    /* The piece goes to the other side. */
    INSPECT_FORWARD,
    /* Client side only: the piece goes back to the client; no reply of the server is outstanding.
     */
    INSPECT_ANSWER,
    /* Client side only: what is left in *in, at least one octet, stays until the server has sent
     * something; the client is not read until then. */
    INSPECT_WAIT,
    /* Client side only: STARTTLS or STLS is accepted. The piece is the positive reply: it is sent
     * in clear, then comes the handshake; the backend is closed without QUIT. No reply is
     * outstanding. The caller first checks for surplus; one that cannot do TLS now may answer
     * otherwise, and go on. */
    INSPECT_TLS,
    /* Client side only, where logins are handed back: the piece is a whole line with its end, a
     * hello or the beginning of a login. It is to be judged by negotiate.h again, and the backend
     * is closed without QUIT. No reply is outstanding. */
    INSPECT_HAND_BACK,
    /* The piece (may be empty) goes to the client as a last word, then both sides are closed. */
    INSPECT_CLOSE,
    /* Both sides are closed at once, without words or close_notify: a reply cannot be finished. */
    INSPECT_CUT,
};

/* Whose turn it is; decides the timers. */
enum inspect_phase {
    INSPECT_PHASE_COMMAND, /* nothing outstanding: the client's next command */
    INSPECT_PHASE_REPLY,   /* the server owes a reply */
    INSPECT_PHASE_MESSAGE, /* the client sends a message (DATA, BDAT), or its part of AUTH */
    INSPECT_PHASE_FINAL,   /* the server owes the reply to a whole message */
};

/* What a client's end means now (its FIN in plain, or close_notify). */
enum inspect_end {
    /* Between commands, nothing outstanding: close both. */
    INSPECT_END_IDLE,
    /* Between commands: deliver the outstanding replies first, then close both. */
    INSPECT_END_ANSWER,
    /* Inside DATA, BDAT or AUTH or an unfinished line: close both at once, nothing more to the
     * backend. */
    INSPECT_END_VANISHED,
    /* A whole message was received and its reply is outstanding: flush to the backend, await the
     * reply. */
    INSPECT_END_FLUSH,
};

struct inspect_start {
    const struct dialogue_rule *rule; /* borrowed, outlives the inspector */
    bool tls;                         /* the client speaks TLS */
    uint8_t errors;                   /* bad commands so far */
    bool said_hello;                  /* SMTP: EHLO or HELO was replayed */
    bool pipelining;                  /* the server offers PIPELINING to this session */
    bool chunking;                    /* the server offers CHUNKING (RFC 3030): BDAT may pass */
    struct span user;                 /* POP3: the name of the USER that was replayed; copied */
};

/* Facts for logs and counters; names are NUL-terminated, escaped by whoever prints them. */
struct inspect_facts {
    char login[64]; /* user name of the last login that succeeded; cut to fit; empty: none */
    unsigned logins_failed; /* that proved nothing; who it was: inspector_auth() */
    bool login_in_clear;    /* one was refused for want of TLS */
    unsigned messages;      /* SMTP: accepted by the server; POP3: bodies that RETR began */
    bool quit;              /* the client said QUIT */
    bool bare_newlines;     /* a message held bare newlines */
    uint8_t errors;         /* bad commands */
    const char *violation;  /* static words why the session was closed; NULL: QUIT */
};

#endif

/* The steps that a session of the load generator walks. PURE. */
#ifndef GATEPOST_BENCH_SCRIPT_H
#define GATEPOST_BENCH_SCRIPT_H

#include "tools/bench/load_options.h"

#define SCRIPT_STEPS 32

enum step_kind {
    STEP_TLS,       /* the handshake */
    STEP_SEND,      /* text */
    STEP_SEND_RETR, /* the session's own message; so are all of the next */
    STEP_SEND_MAIL,
    STEP_SEND_BDAT,
    STEP_SEND_BODY,
    STEP_REPLY,   /* a whole reply that says yes */
    STEP_MESSAGE, /* octet by octet what it should be, with the dot at its end */
    STEP_BEGIN,   /* an operation begins (the first one: when the connection is opened) */
    STEP_DONE,    /* it is done */
    STEP_PAUSE,
    STEP_JUMP,      /* to step `target` */
    STEP_AWAIT_END, /* the other side closes, and says nothing more */
    STEP_AGAIN,     /* from the beginning, on a new connection */
    STEP_STALL,     /* wait for octets, and read no more from then on */
    STEP_HOLD,      /* stay */
    STEP_KINDS
};

struct step {
    enum step_kind kind;
    unsigned target;
    const char *text;
};

struct script {
    struct step steps[SCRIPT_STEPS];
    unsigned count;
};

void script_write(struct script *script, const struct load_options *options);

#endif

/* The client's side of Remote Mail (remote-mail(7)): what is said, in which order, and what the
 * answers mean.
 *
 * PURE: octets in, octets out, and a caller who has the mail. Nothing waits for an answer that need
 * not: RM/1, AUTH and the first request go in one flight where `one_flight`; then acknowledgements
 * that an earlier connection may have lost, HAVE for uploads that were begun, all PUSHes, PULL;
 * acknowledgements while it streams; SYNC with QUIT, or with WAIT. Answers are matched in order.
 * A mail's octets are never sent before the login is answered: a server that refused it would take
 * them for requests.
 *
 * The owner feeds what comes, and after each call sends dialogue_output(), whenever the kernel
 * takes it, while going on reading. Memory is bounded by this struct. */
#ifndef GATEPOST_TOOLS_FETCH_DIALOGUE_H
#define GATEPOST_TOOLS_FETCH_DIALOGUE_H

#include "proxy/base/remote_frame.h"

#define DIALOGUE_OUT_BYTES  196608
#define DIALOGUE_PENDING    256       /* requests that wait for their answers */
#define DIALOGUE_FINISH_MAX (1 << 20) /* octets that a server goes on reading after its refusal */

#define DIALOGUE_WAIT_MAX 1740 /* seconds */

struct dialogue_facts {
    const char *agent;
    const char *mirror;         /* REMOTE_MIRROR_MAX characters */
    struct span user, password; /* borrowed until the first dialogue_fill() has returned */
    bool one_flight;            /* may the password go before the server has said who it is? */
    bool sync;                  /* ask for SYNC at the end */
    bool watch;                 /* WAIT instead of QUIT */
};

struct dialogue_push {
    size_t index;
    struct span id, digest;
    struct span envelope; /* lines that end in LF; at most 64 KiB */
    uint64_t octets, offset;
};

enum dialogue_next { DIALOGUE_NONE = 1, DIALOGUE_PUSH, DIALOGUE_HOLD /* after further answers */ };

/* What the dialogue asks of its caller. Those that return int: 0, a dialogue_result to end with, or
 * -errno; where something else is returned it is said. */
struct dialogue_caller {
    int (*greeted)(void *context, uint64_t limit_bytes); /* 0: the server has told no limit */
    int (*logged_in)(void *context, uint64_t messages, uint64_t octets);

    bool (*where)(void *context, struct remote_uid *ret_uid, uint64_t *ret_offset);
    int (*no_such_part)(void *context); /* where() is asked again */
    int (*new_epoch)(void *context);    /* so is it here */
    int (*frame)(void *context, const struct remote_frame *frame);
    int (*octets)(void *context, struct span octets);
    int (*whole)(void *context, struct remote_uid uid, struct span digest);
    int (*pulled)(void *context);
    bool (*next_ack)(void *context, struct remote_uid *ret_uid);
    int (*synced)(void *context);

    /* Uploads: an upload to ask about; one to send, a dialogue_next or -errno; its octets; what the
     * server says of it. */
    bool (*next_have)(void *context, size_t *ret_index, struct span *ret_id);
    int (*next_push)(void *context, struct dialogue_push *ret_push);
    int (*read)(void *context, unsigned char *into, size_t room, size_t *ret_size);
    int (*had)(void *context, size_t index, bool done, uint64_t octets);
    int (*pushed)(void *context, size_t index);
    int (*refused)(void *context, size_t index, struct span code, struct span words);

    /* All is done, and WAIT or QUIT would come next. True: there is more to send up. */
    bool (*more_uploads)(void *context);
    void (*waiting)(void *context, bool begins);
};

enum dialogue_result {
    DIALOGUE_MORE = 1,
    DIALOGUE_DONE,    /* all is done, and the server has said so */
    DIALOGUE_AGAIN,   /* this connection is of no more use; a new one is, at once */
    DIALOGUE_LOGIN,   /* the login is refused: dialogue->words */
    DIALOGUE_LATER,   /* something is refused that may be taken later: dialogue->words */
    DIALOGUE_REFUSED, /* something is refused that cannot be done without: dialogue->words */
};

enum dialogue_state {
    DIALOGUE_HELLO,
    DIALOGUE_GREETED, /* RM/1 is sent, AUTH is not */
    DIALOGUE_UPLOADS,
    DIALOGUE_PULL,
    DIALOGUE_PULLING,
    DIALOGUE_ENDING,
    DIALOGUE_WAITING,
    DIALOGUE_QUITTING,
    DIALOGUE_STATES,
};

struct dialogue_pending {
    uint8_t request;
    size_t index;                   /* of an upload, */
    char id[REMOTE_UPLOAD_MAX + 1]; /* and what the answer must call it; "" for all else */
};

struct dialogue {
    const struct dialogue_facts *facts;
    const struct dialogue_caller *caller;
    void *context;
    struct remote_reader reader;
    enum dialogue_state state;
    bool greeted, logged_in;
    uint64_t frames;        /* of this PULL */
    bool inside_part;       /* PULL was sent with an offset */
    unsigned wait_seconds;  /* as many as the server has offered */
    unsigned pull_refusals; /* one after another */
    bool pushing;           /* a body is being written */
    size_t push_index;
    uint64_t push_left;
    size_t pending_first, pending_count;
    struct dialogue_pending pending[DIALOGUE_PENDING];
    size_t out_start, out_end;
    unsigned char out[DIALOGUE_OUT_BYTES];
    char words[256]; /* of the server, escaped */
};

void dialogue_init(struct dialogue *dialogue, const struct dialogue_facts *facts,
                   const struct dialogue_caller *caller, void *context);
void dialogue_deinit(struct dialogue *dialogue);

/* Puts into the output what can be said now: at the beginning, after each dialogue_feed(), when
 * output has gone, and when there are more acknowledgements. A dialogue_result or -errno. */
int dialogue_fill(struct dialogue *dialogue);

/* What is to be sent, and that so much of it has been. */
struct span dialogue_output(const struct dialogue *dialogue);
void dialogue_sent(struct dialogue *dialogue, size_t size);

/* Takes octets of the server, all of them unless it ends. A dialogue_result, -EPROTO: the server
 * has said what cannot be understood, dialogue->words; or -errno. */
int dialogue_feed(struct dialogue *dialogue, struct span octets);

/* While it waits: there is something to send up. No effect else. */
void dialogue_wake(struct dialogue *dialogue);

#endif

/* The outbox of a run: what the dialogue asks about uploads, answered from outbox.h.
 *
 * scan -> the dialogue asks for HAVEs and PUSHes until there is none -> more() before it would wait
 * or quit -> rest() while it waits. Errors are -errno, of the disk. */
#ifndef GATEPOST_TOOLS_FETCH_SENDING_H
#define GATEPOST_TOOLS_FETCH_SENDING_H

#include "tools/fetch/dialogue.h"
#include "tools/fetch/outbox.h"
#include "tools/fetch/report.h"

enum sending_stage {
    SENDING_FRESH,  /* to be sent from its first octet */
    SENDING_TO_ASK, /* HAVE comes first */
    SENDING_ASKED,
    SENDING_KNOWN,   /* to be sent from .offset */
    SENDING_SENT,    /* no answer yet */
    SENDING_SETTLED, /* nothing more to be done */
    SENDING_LATER,   /* not now */
    SENDING_SPLIT,   /* some of its recipients need a message of their own */
};

struct sending_item {
    enum sending_stage stage;
    uint64_t offset;
    bool conflict; /* the server has said so once */
};

struct sending {
    struct outbox *outbox; /* NULL: there is none */
    struct report *report;
    const struct outbox_item *items;
    struct sending_item *states;
    size_t count;
    uint64_t limit_bytes; /* of a message; 0: not known */
    bool logged_in;
    uint64_t kept; /* octets of uploads that the server has told of on this connection */
    bool stale;    /* the outbox has changed */
    bool resting;  /* others may have it */
    size_t split;
    char split_at[256];                     /* "": nothing to split */
    char later[256];                        /* why something is to be sent later; "": nothing is */
    char (*put_off)[REMOTE_UPLOAD_MAX + 1]; /* the ids of that */
    size_t put_off_count;
};

/* Opens the outbox, but that `folder` may be NULL: there is none. What is refused goes to the
 * report. Results are those of outbox_open(). */
int sending_open(struct sending *sending, const struct outbox_options *options,
                 struct report *report);
void sending_close(struct sending *sending);

/* A connection begins, and with it everything anew. 0 or -errno. */
int sending_scan(struct sending *sending);

/* A while has passed: what was put off is to be tried again. Until then it holds up nothing else,
 * on later connections too. */
void sending_retry(struct sending *sending);

/* Lets others have the outbox. */
void sending_rest(struct sending *sending);

/* What can be read when something may have been put in; -1: nothing. */
int sending_watch(struct sending *sending);

/* Is there something to ask about or to send? */
bool sending_any(const struct sending *sending);

/* What is being sent and still to be sent: messages, and octets of them. */
void sending_left(const struct sending *sending, struct report_count *ret_left);

/* All answers are here: looks again where that is needed. */
bool sending_more(struct sending *sending);

/* As in struct dialogue_caller. */
bool sending_next_have(struct sending *sending, size_t *ret_index, struct span *ret_id);
int sending_next_push(struct sending *sending, struct dialogue_push *ret_push);
int sending_read(struct sending *sending, unsigned char *into, size_t room, size_t *ret_size);
int sending_had(struct sending *sending, size_t index, bool done, uint64_t octets);
int sending_pushed(struct sending *sending, size_t index);
int sending_refused(struct sending *sending, size_t index, struct span code, struct span words);

#endif

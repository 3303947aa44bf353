/* Between fetch.c (the run), talk.c (one connection) and deliver.c (--mda). */
#ifndef GATEPOST_TOOLS_FETCH_FETCH_PRIVATE_H
#define GATEPOST_TOOLS_FETCH_FETCH_PRIVATE_H

#include "tools/fetch/dialogue.h"
#include "tools/fetch/fetch.h"
#include "tools/fetch/mirror.h"
#include "tools/fetch/sending.h"

struct fetch {
    const struct options *options;
    const volatile int *stopped;
    struct report *report;
    struct mirror mirror;
    bool mirror_open;
    struct sending sending;
    uint64_t kept_before; /* of uploads, on the last connection */
    struct dialogue_facts facts;
    struct dialogue dialogue;
    struct link *link;

    /* of this connection */
    bool moved;                   /* something has come nearer to its end */
    bool waiting;                 /* in WAIT */
    bool transient;               /* what has ended it may be over in a while */
    bool receiving, showing_sent; /* the progress line tells of that */
    bool store_failed;            /* the Maildir must be opened anew */
    uint64_t frame_octets;
    uint64_t messages, octets; /* that the server has told of; 0 once they have come */
};

/* Carries octets between the link and the dialogue until one of them ends. A dialogue_result,
 * -EINTR: a signal, or -errno; where report->exit is not 0, the report says why. */
int talk(struct fetch *fetch);

/* A mirror_deliver: by the command of --mda. */
int deliver_to_command(void *context, int fd);

#endif

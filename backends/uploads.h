/* Messages that a user of Remote Mail sends up, from their first octet to their delivery, kept over
 * the end of any connection and of any process.
 *
 * begin -> write (octets of the message with CRLF line ends, as they come) -> finish, or stop. All
 * functions block. Errors are -errno. */
#ifndef GATEPOST_BACKENDS_UPLOADS_H
#define GATEPOST_BACKENDS_UPLOADS_H

#include "backends/digest.h"
#include "backends/recipients.h"
#include "proxy/base/remote_frame.h"

struct uploads {
    const struct settings *settings; /* borrowed */
    struct recipients recipients;
    char user[256];
    int folder; /* of the user's uploads; -1: not open */
    int part;   /* the upload that is open; -1: none. Its lock is held with it */
    char id[REMOTE_UPLOAD_MAX + 1];
    uint64_t octets; /* that it will have */
    uint64_t size;   /* that it has */
    uint64_t synced; /* of these, on the disk for certain */
};

/* What a client says of an upload. Spans are borrowed. */
struct upload_claim {
    struct span id;
    uint64_t octets, offset;
    struct span digest;
    struct span envelope; /* its lines, each with its LF: FROM:<...>, then one or more TO:<...> */
};

enum upload_result {
    UPLOAD_DONE = 1, /* delivered, now or before */
    UPLOAD_TAKEN,    /* its octets may come */
    UPLOAD_REFUSED,  /* *reason holds "[CODE] PUSH id words" */
};

void uploads_init(struct uploads *uploads, const struct settings *settings);
void uploads_deinit(struct uploads *uploads);

/* Opens the user's folder, throws away what is too old, and completes the deliveries that a crash
 * cut off. */
int uploads_open(struct uploads *uploads, const char *user);

/* UPLOAD_DONE, or 0 and how much of it is kept and on the disk. */
int uploads_have(struct uploads *uploads, struct span id, uint64_t *ret_octets);

/* An upload_result or -errno. */
int uploads_begin(struct uploads *uploads, const struct upload_claim *claim, struct text *reason);

int uploads_write(struct uploads *uploads, struct span octets);

/* All octets are there: checks the digest and delivers. `trace` is what stands before the message.
 * UPLOAD_DONE, UPLOAD_REFUSED, or -errno: it is kept, and may be finished another time. */
int uploads_finish(struct uploads *uploads, const char *trace, struct text *reason);

/* The octets end here for now: what there is is put on the disk. */
void uploads_stop(struct uploads *uploads);

/* Completes every user's deliveries that a crash cut off. What fails is told in the log, and tried
 * again when its user comes. */
void uploads_complete_all(const struct settings *settings);

#endif

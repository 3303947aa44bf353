/* A message on its way down, from its file in the Maildir to octets of the wire and their digest.
 *
 * open -> read, until REMOTE_MESSAGE_LAST; then the next one. Blocks on the file. */
#ifndef GATEPOST_BACKENDS_REMOTE_MESSAGE_H
#define GATEPOST_BACKENDS_REMOTE_MESSAGE_H

#include <stdio.h>

#include "backends/digest.h"
#include "backends/maildir.h"
#include "backends/newline.h"

#define REMOTE_MESSAGE_BYTES 16384 /* of the file at a time */
#define REMOTE_MESSAGE_ROOM  (2 * REMOTE_MESSAGE_BYTES)

struct remote_message {
    FILE *text; /* NULL: none is open */
    struct newline_to_wire newline;
    struct digest *digest;
    uint64_t octets;     /* of the whole message, with CRLF line ends */
    uint64_t read;       /* of them, and hashed */
    uint64_t skipped_to; /* where the frame begins */
};

/* 0 or -ENOMEM. */
int remote_message_init(struct remote_message *message);
void remote_message_deinit(struct remote_message *message);

/* Opens and measures message `index`; its octets from `offset` on will be given. 0, -ENOENT: it is
 * gone, -ERANGE: it ends before `offset`, or another -errno. */
int remote_message_open(struct remote_message *message, struct maildrop *maildrop, size_t index,
                        uint64_t offset);

enum remote_message_read {
    REMOTE_MESSAGE_MORE = 1,
    REMOTE_MESSAGE_LAST, /* ret_digest[DIGEST_DIGITS] is written, and the file closed */
};

/* The next octets, perhaps none, in `room` of REMOTE_MESSAGE_ROOM. A remote_message_read, or -EIO:
 * the file cannot be read, or is no longer what was measured; or another -errno. */
int remote_message_read(struct remote_message *message, unsigned char *room,
                        struct span *ret_octets, char *ret_digest);

#endif

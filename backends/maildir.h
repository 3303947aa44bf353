/* The mail store: STORE/DOMAIN/LOCAL/Maildir/{tmp,new,cur}, readable by any other Maildir program.
 *
 * Messages lie on disk with LF line ends, as other Maildir programs expect; file names carry
 * ",S=<bytes on disk>" and
 * ",W=<octets with CRLF>" (the Maildir++ convention), so that sizes cost no open. All functions
 * block. Errors are -errno: -ENOSPC, -EDQUOT and -EFBIG mean a full disk. */
#ifndef GATEPOST_BACKENDS_MAILDIR_H
#define GATEPOST_BACKENDS_MAILDIR_H

#include <stdio.h>

#include "proxy/base/span.h"

/* Makes the Maildir of `user` ("local@domain") where it is missing. */
int maildir_create(const char *store, const char *user);

/* Delivery: one message, written once, linked into every recipient's Maildir.
 * begin -> write (message octets with CRLF line ends, any number of pieces, no dot-stuffing) ->
 * commit or abort. */
struct delivery;

/* `users` are the local recipients (whole names); the message is written into the first one's tmp/.
 */
int delivery_begin(const char *store, const char *const *users, size_t count,
                   struct delivery **ret_delivery);

/* The same for a message that may have been delivered already, wholly or in part, before a crash:
 * its file is named `name` in every Maildir, and commit leaves alone where there is one of that
 * name. On an error links already made stay, and a later attempt goes on. */
int delivery_begin_named(const char *store, const char *const *users, size_t count,
                         const char *name, struct delivery **ret_delivery);
int delivery_write(struct delivery *delivery, struct span octets);

/* When 0 is returned the message is durable for every recipient: fsync of the file, link into each
 * new/, fsync of each directory. On an error nothing of it is visible to anybody (links already
 * made are removed). Frees. */
int delivery_commit(struct delivery *delivery);
void delivery_abort(struct delivery *delivery);

/* A maildrop as a session sees it: a fixed, ordered list of messages (RFC 1939 section 3, 4). */
struct maildrop_message {
    char *path;      /* file name below the Maildir, "new/..." or "cur/..." */
    char uid[32];    /* "E.N" (uid_index.h): at most 28 of the characters that UIDL may print */
    uint64_t number; /* the N of it */
    uint64_t octets; /* with CRLF line ends, as RETR sends it */
    bool deleted;    /* in a view: wanted to be, or told by the journal that it is */
    bool removed;    /* from the disk, by this session */
    bool journalled; /* its removal is, by this session */
};

struct maildrop {
    struct maildrop_message *messages;
    size_t count;
    uint32_t epoch; /* of the uids */
    int folder;     /* descriptor of the Maildir */
    int lock;       /* descriptor that holds the lock; -1: a view */
};

/* Locks (one POP3 session at a time; fcntl OFD lock on Maildir/.gatepost-pop3.lock) and lists.
 * Messages in new/ and cur/ in the order in which they were first seen; those that come together by
 * time of arrival, then name. -EBUSY: another session has it. */
int maildrop_open(const char *store, const char *user, struct maildrop *ret_maildrop);

/* The same list without the lock, for Remote Mail: others may move and remove its messages
 * meanwhile. Those whose removal stands in the journal are not in it. */
int maildrop_view(const char *store, const char *user, struct maildrop *ret_maildrop);

/* Makes the removal of a view's messages marked deleted durable: they are removed under the lock
 * or, while a POP3 session has it, written to the journal, which the next session obeys. 0 or the
 * first error. */
int maildrop_remove_acked(struct maildrop *maildrop);

/* Opens the text of one message for reading. -ENOENT where another program has removed it; one that
 * another program has moved from new/ to cur/ or re-flagged is found again. */
int maildrop_read(struct maildrop *maildrop, size_t index, FILE **ret_file);

/* UPDATE: removes the messages marked deleted, then fsyncs the folders. Returns 0, or the first
 * error; goes on with the others. Without this call nothing is removed. */
int maildrop_update(struct maildrop *maildrop);
void maildrop_close(struct maildrop *maildrop);

#endif

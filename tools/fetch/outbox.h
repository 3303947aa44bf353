/* An outbox: a Maildir whose messages, in new/ and cur/, are to be sent, each exactly once.
 *
 * open -> scan -> for each item: begin, read until the end, and done or refused -> unlock, or scan
 * again. What must outlive a crash stands in OUTBOX/gatepost-fetch/: a record for each message that
 * was begun, on the disk before outbox_begin() returns, so that a later run asks the server by the
 * same id ("HAVE id", remote-mail(7)) before it sends anything again. While a run has scanned, it
 * holds the outbox's lock. Messages with the flag T (trashed) or D (draft), and those that another
 * program is still writing, are left where they are. Everything here blocks on the disk only.
 * Errors are -errno. */
#ifndef GATEPOST_TOOLS_FETCH_OUTBOX_H
#define GATEPOST_TOOLS_FETCH_OUTBOX_H

#include "proxy/base/remote_frame.h"

struct outbox;

struct outbox_options {
    const char *folder;  /* the outbox; it is made where it is missing, with new/, cur/ and tmp/ */
    const char *sent;    /* a Maildir that gets what has been sent; NULL: it is removed */
    const char *maildir; /* one whose messages must never be sent; NULL: none */
    const char *sender;  /* "local@domain" of every message, "" for <>; NULL: as each one says */
    const char *account; /* whose ids they are, "user@host" */

    /* Called by outbox_scan() for each message that cannot be sent: its file's name and why, both
     * fit for a terminal. It has been moved to OUTBOX/.Failed, or the words say why it stays. */
    void (*refused)(void *context, const char *name, const char *words);
    /* The same for each that another account has begun, and must finish. It stays. */
    void (*waits)(void *context, const char *name, const char *words);
    void *context;
};

/* One upload, the arguments of one PUSH. A message whose recipients had to be split has several. */
struct outbox_item {
    const char *name; /* of the file, without its flags, escaped for a terminal */
    char id[REMOTE_UPLOAD_MAX + 1];
    char digest[REMOTE_DIGEST_MAX + 1];
    uint64_t octets;
    const char *envelope; /* "FROM:<...>\nTO:<...>\n", at most 64 KiB */
    bool begun;           /* by an earlier run or an earlier try: ask with HAVE first */
};

/* All strings of `options` are copied. 0 or -errno; -EINVAL: the outbox is `sent` or `maildir`. */
int outbox_open(const struct outbox_options *options, struct outbox **ret_outbox);
void outbox_close(struct outbox *outbox);

/* Takes the lock, and lists what is to be sent; what was begun comes first. -EBUSY: another run
 * has the lock, try again in some seconds. -EACCES, -ENOSPC and such: nothing is listed. *ret_items
 * is borrowed until the next scan, split, unlock or close; an index stands for its item until then.
 */
int outbox_scan(struct outbox *outbox, const struct outbox_item **ret_items, size_t *ret_count);

/* Lets other runs have the outbox, while this one waits. */
void outbox_unlock(struct outbox *outbox);

/* Begins to read item `index` from octet `offset` on, at most its octets; what was being read is
 * ended. When 0 is returned the item's record is on the disk, and PUSH may be sent.
 * -ENOENT: the message is gone, nothing is to be sent; -ESTALE: it has changed, scan again; else
 * there is no record (-ENOSPC), and it must not be sent now. */
int outbox_begin(struct outbox *outbox, size_t index, uint64_t offset);

/* The next octets, at most `room`; *ret_size is 0 once all are read. -ESTALE: the file has changed
 * since the scan, and the rest of what was announced does not exist: close the link, scan again.
 * The last octet is given only after the digest was found right. */
int outbox_read(struct outbox *outbox, unsigned char *into, size_t room, size_t *ret_size);

/* Reads no further. Harmless where nothing is being read. done, refused and split of another item
 * leave it alone. */
void outbox_end(struct outbox *outbox);

/* The server has said DONE: with its last item the message goes to the sent folder, or is removed,
 * and the record after it. Where this fails a later run asks HAVE, and is here again. */
int outbox_done(struct outbox *outbox, size_t index);

/* The server will never take it: the message, unchanged, goes to OUTBOX/.Failed/new/, and date,
 * name and `words` (fit for a terminal) to OUTBOX/.Failed/gatepost-fetch.log. */
int outbox_refused(struct outbox *outbox, size_t index, const char *words);

/* The server takes recipients of its own domains and of others only in messages of their own, and
 * has refused the item at `address`, "local@domain": its recipients from there on, but for those
 * whose domain stands before, become an item of their own, and both get new ids. 0: scan again.
 * -EINVAL: that address is none of its recipients, or the first; to be refused as it is. */
int outbox_split(struct outbox *outbox, size_t index, const char *address);

/* A descriptor, owned by the outbox, that can be read (poll) when something may have been put in
 * since the last scan; never read it: outbox_scan() does. Or -errno. */
int outbox_watch(struct outbox *outbox);

#endif

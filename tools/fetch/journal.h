/* MAILDIR/gatepost-fetch/journal: what is known of the server's messages, one line each.
 *
 *     gatepost-fetch 1
 *     L E.N               all messages up to this one are stored; "L 0": a new epoch
 *     K E.N digest        this one is, and is not known to be deleted at the server
 *     W E.N digest        whole in tmp/, to be stored (a hint: nothing is fsynced yet)
 *     T E.N digest name   durable in tmp/; is renamed to new/name
 *     D E.N               all up to this one that a T told of are durable in new/
 *     A E.N E2.N2         the K of E.N is what the server now calls E2.N2
 *     S E.N               the deletion of all up to this one is durable at the server
 *     P E.N E.M           what is in tmp/ of E.N is of the first message after E.M, or 0
 *
 * Only appended to, and now and then written anew under another name and renamed. The end of a
 * write that a crash cut off is cut off at the next opening. */
#ifndef GATEPOST_TOOLS_FETCH_JOURNAL_H
#define GATEPOST_TOOLS_FETCH_JOURNAL_H

#include "proxy/base/remote_frame.h"

#define JOURNAL_NAME_MAX 200 /* characters of a name in new/ */

enum journal_kind {
    JOURNAL_LAST = 'L',
    JOURNAL_KEPT = 'K',
    JOURNAL_WHOLE = 'W',
    JOURNAL_TAKEN = 'T',
    JOURNAL_DONE = 'D',
    JOURNAL_ALIKE = 'A',
    JOURNAL_SYNCED = 'S',
    JOURNAL_PARTIAL = 'P',
};

struct journal_record {
    enum journal_kind kind;
    struct remote_uid uid;
    struct remote_uid other; /* A, P */
    struct span digest;      /* K, W, T */
    struct span name;        /* T */
};

/* Told of each record in order. 0, or -errno to end. */
typedef int journal_reader(void *context, const struct journal_record *record);

struct journal {
    int folder; /* borrowed */
    int fd;
    char *held; /* lines that are not written yet */
    size_t held_size, held_room;
    uint64_t size;  /* of the file */
    uint64_t lines; /* in it */
};

/* Opens the journal in `folder`, making it where it is missing. 0 or -errno. */
int journal_open(struct journal *journal, int folder, journal_reader *reader, void *context);
void journal_close(struct journal *journal);

/* Holds one more line. 0 or -ENOMEM. */
int journal_add(struct journal *journal, const struct journal_record *record);

/* Writes what is held; where that fails, the file is as before. 0 or -errno. */
int journal_write(struct journal *journal);

/* Room on the disk for the next line, where what it tells of cannot be undone. 0 or -errno. */
int journal_reserve(struct journal *journal);

/* Writes it, and makes all of the file durable. */
int journal_sync(struct journal *journal);

/* Replaces the file by one with what is held, durably. On an error the former stays in use, and
 * nothing is held. */
int journal_replace(struct journal *journal);

#endif

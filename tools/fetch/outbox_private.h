/* What the parts of the outbox share: outbox.c (open, lock, read), outbox_scan.c (what is to be
 * sent) and outbox_finish.c (what has its answer). For no other file. */
#ifndef GATEPOST_TOOLS_FETCH_OUTBOX_PRIVATE_H
#define GATEPOST_TOOLS_FETCH_OUTBOX_PRIVATE_H

#include "tools/fetch/outbox.h"
#include "tools/fetch/outbox_record.h"
#include "tools/fetch/outbox_source.h"

#define OUTBOX_FAILED_FOLDER ".Failed"

/* One message of the outbox, and what is known of it. */
struct outbox_entry {
    char *base;    /* its file's name up to the colon */
    char *path;    /* "new/..." or "cur/..." */
    char *shown;   /* base, escaped */
    bool listed;   /* it is to be sent */
    bool recorded; /* the record is on the disk */
    struct record record;
};

/* Where an item comes from. */
struct outbox_origin {
    struct outbox_entry *entry;
    size_t upload;
};

struct outbox {
    char *sender, *account; /* sender may be NULL */
    void (*refused)(void *context, const char *name, const char *words);
    void (*waits)(void *context, const char *name, const char *words);
    void *context;
    int folder, state, sent; /* sent: -1 for none */
    int lock;
    bool locked;
    int watch; /* -1: not wanted yet */

    struct outbox_entry *entries;
    size_t entry_count;
    struct outbox_item *items;
    struct outbox_origin *origins;
    size_t item_count;

    struct source *source; /* what is being read, or NULL */
    struct outbox_entry *reading;
    uint64_t skip;      /* octets of it that are not wanted */
    struct span pieces; /* of it that were read and are not given yet */
};

void outbox_close_one(int fd);

/* Frees what the last scan found. */
void outbox_forget(struct outbox *outbox);

/* Takes the lock, if it is not taken yet. -EBUSY: another run has it. */
int outbox_lock(struct outbox *outbox);

/* Opens the file of an entry, also where another program has renamed it since the scan; its path is
 * right then. A descriptor or -errno. */
int outbox_open_entry(struct outbox *outbox, struct outbox_entry *entry);

/* Reads all of a message with the record's added fields, for its octets and digests. `fd` stays the
 * caller's. */
int outbox_measure(int fd, const char *added, struct record *ret_measured);

/* Has its user flagged it as a draft, or as trashed? */
bool outbox_is_withdrawn(const char *name);

int outbox_write_record(struct outbox *outbox, struct outbox_entry *entry);

/* Moves the message to .Failed, and then removes its record. */
int outbox_move_to_failed(struct outbox *outbox, struct outbox_entry *entry, const char *words);

/* Where every part of a message has its answer the message leaves the outbox, and then its record.
 * Else nothing, and 0. */
int outbox_finish(struct outbox *outbox, struct outbox_entry *entry);

#endif

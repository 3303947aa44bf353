/* A local Maildir that mirrors a mailbox of the server (remote-mail(7)), and what is remembered of
 * it in MAILDIR/gatepost-fetch: lock, id, mailbox and journal (journal.h).
 *
 * open -> for each connection: mirror_connected(), mirror_where(), frames, mirror_commit() whenever
 * no more input is there, acknowledgements -> close. A message is whole once mirror_whole() has
 * returned MIRROR_TAKEN, stored once mirror_commit() has returned 0, and only then does
 * mirror_next_ack() tell of it. Whatever is cut off or killed in between: the next opening goes on
 * from there. Everything blocks on the disk only. Errors are -errno. */
#ifndef GATEPOST_TOOLS_FETCH_MIRROR_H
#define GATEPOST_TOOLS_FETCH_MIRROR_H

#include "tools/fetch/incoming.h"
#include "tools/fetch/stored.h"

#define MIRROR_GROUP_MESSAGES 256
#define MIRROR_GROUP_OCTETS   (8 << 20)

/* Hands a whole message, open as `fd`, to somebody else than new/. 0: it is theirs; -EAGAIN: not
 * now; or -errno. */
typedef int mirror_deliver(void *context, int fd);

struct mirror_options {
    const char *maildir; /* it is made where it is missing */
    const char *user, *host;
    bool keep;               /* nothing is acknowledged */
    mirror_deliver *deliver; /* NULL: messages go to new/ */
    void *context;
};

struct mirror_whole {
    struct remote_uid uid;
    char digest[REMOTE_DIGEST_MAX];
    int fd;
    uint64_t octets; /* of the file */
};

struct mirror {
    struct mirror_options options; /* strings are borrowed */
    int maildir, tmp, fresh, state, lock;
    char id[REMOTE_MIRROR_MAX + 1];
    struct journal journal;
    struct stored_list stored;
    struct remote_uid told;     /* the last one that was acknowledged on this connection */
    struct remote_uid last;     /* all up to this one are stored; 0: none, or a new epoch */
    struct remote_uid previous; /* the last one that is whole */
    struct remote_uid partial;  /* of which tmp/ has a part; 0: none */
    struct remote_uid after;    /* the message before it */
    struct remote_uid wrong;    /* whose digest was wrong last */
    struct incoming incoming;
    struct mirror_whole group[MIRROR_GROUP_MESSAGES];
    size_t group_count;
    uint64_t group_octets;
    uint64_t messages; /* stored since the opening */
};

enum mirror_opened { MIRROR_BUSY = 1, MIRROR_OTHER };

/* 0: *mirror is open. MIRROR_BUSY: another run has it. MIRROR_OTHER: it mirrors another mailbox,
 * whose name is put into *words. Or -errno, and *words is what could not be done. Recovers what an
 * earlier run has left. */
int mirror_open(struct mirror *mirror, const struct mirror_options *options, struct text *words);
void mirror_close(struct mirror *mirror);

/* A connection begins: all that is stored is to be acknowledged on it. */
void mirror_connected(struct mirror *mirror);

/* It has ended: what has come is kept for the next one. 0 or -errno. */
int mirror_disconnected(struct mirror *mirror);

/* What to PULL: after *ret_uid (0: all); or, where true is returned, inside it from *ret_offset. */
bool mirror_where(struct mirror *mirror, struct remote_uid *ret_uid, uint64_t *ret_offset);

/* The server has no such part of a message; or numbers its messages anew. 0 or -errno. */
int mirror_no_such_part(struct mirror *mirror);
int mirror_new_epoch(struct mirror *mirror);

/* A frame begins. 0, -EPROTO where it is none that can come now, or -errno. */
int mirror_frame(struct mirror *mirror, const struct remote_frame *frame);
int mirror_octets(struct mirror *mirror, struct span octets);

enum mirror_result {
    MIRROR_TAKEN = 1,   /* whole; to be stored */
    MIRROR_WRONG,       /* another digest: what has come is thrown away, to be pulled anew */
    MIRROR_WRONG_TWICE, /* and so it was the last time */
};

int mirror_whole(struct mirror *mirror, struct remote_uid uid, struct span digest);

/* Is there as much as one commit may have? */
bool mirror_is_full(const struct mirror *mirror);

/* Stores what is whole, durably. 0 or -errno; then what is not stored will be, by a later run. */
int mirror_commit(struct mirror *mirror);

/* The next message that the server may delete. */
bool mirror_next_ack(struct mirror *mirror, struct remote_uid *ret_uid);

/* All that mirror_next_ack() has told is durably deleted at the server. 0 or -errno. */
int mirror_synced(struct mirror *mirror);

/* A PULL has ended: what an earlier epoch had and this one has not is gone. 0 or -errno. */
int mirror_pulled(struct mirror *mirror);

/* Keeps the journal short. 0 or -errno. */
int mirror_compact(struct mirror *mirror);

#endif

/* The messages that a local Maildir has and the server may still have, in the order in which they
 * were stored. In memory only; journal.h is how it lasts.
 *
 * PURE. Those of an earlier epoch come first, then those of this one by number. */
#ifndef GATEPOST_TOOLS_FETCH_STORED_H
#define GATEPOST_TOOLS_FETCH_STORED_H

#include "tools/fetch/journal.h"

enum stored_stage {
    STORED_WHOLE = 1, /* in tmp/, as far as is known */
    STORED_TAKEN,     /* durable in tmp/, to be renamed to its name */
    STORED_DONE,
};

struct stored {
    struct remote_uid uid;
    char digest[REMOTE_DIGEST_MAX];
    enum stored_stage stage;
    bool told;  /* it has been acknowledged on this connection */
    char *name; /* of STORED_TAKEN */
};

struct stored_list {
    struct stored *items;
    size_t count, room;
    size_t untold; /* all before this one are told, or of another epoch */
};

void stored_free(struct stored_list *list);

/* Puts it in its place, or changes the one that has this uid already: to a later stage, or another
 * digest. 0 or -ENOMEM. `name` is copied, and may be empty. */
int stored_put(struct stored_list *list, struct remote_uid uid, struct span digest,
               enum stored_stage stage, struct span name);

/* NULL: there is none. */
struct stored *stored_find(struct stored_list *list, struct remote_uid uid);

/* That one, if it is done and has that digest. NULL: there is none. */
struct stored *stored_find_same(struct stored_list *list, struct remote_uid uid,
                                struct span digest);

/* One of another epoch with that digest. NULL: there is none. */
struct stored *stored_find_alike(struct stored_list *list, uint32_t epoch, struct span digest);

/* Gives the one at `from` its new uid and puts it last. */
void stored_rename(struct stored_list *list, struct remote_uid from, struct remote_uid to);

void stored_remove(struct stored_list *list, struct remote_uid uid);

/* The next one of that epoch that is not told, which it is then; NULL: there is none. */
struct stored *stored_tell(struct stored_list *list, uint32_t epoch);

/* As if none had been told. */
void stored_untell(struct stored_list *list);

/* Removes those of this epoch up to that number; and those of other epochs. */
void stored_remove_up_to(struct stored_list *list, struct remote_uid uid);
void stored_remove_other_epochs(struct stored_list *list, uint32_t epoch);

#endif

/* Unique ids of the messages of one Maildir, "E.N": what UIDL prints and what Remote Mail goes by.
 *
 * E is the mailbox's epoch, N counts messages in the order in which they were first seen. Both
 * stand in the file `gatepost-uids` beside new/ and cur/; an id is on the disk before anybody is
 * told it, and is given once only. Blocking. */
#ifndef GATEPOST_BACKENDS_UID_INDEX_H
#define GATEPOST_BACKENDS_UID_INDEX_H

#include "backends/maildir.h"

/* Gives `number` and `uid` to each of the messages, which stand in order of arrival. `folder` is
 * the Maildir. 0, or -errno: no id was given to anybody (-ENOSPC and its like: those that are known
 * already have theirs, the others have number 0). */
int uid_index_assign(int folder, struct maildrop_message *messages, size_t count,
                     uint32_t *ret_epoch);

/* Holds the lock under which the index and what else goes by ids is changed: a descriptor to close,
 * or -errno. */
int uid_index_lock(int folder);

#endif

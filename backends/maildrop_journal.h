/* The journal of a maildrop: messages that a client of Remote Mail has acknowledged while a POP3
 * session held the lock. They are deleted, durably; their files are removed by the next session
 * that gets the lock. Blocking. */
#ifndef GATEPOST_BACKENDS_MAILDROP_JOURNAL_H
#define GATEPOST_BACKENDS_MAILDROP_JOURNAL_H

#include "backends/maildir.h"

/* Marks as deleted what the journal names. The messages stand in the order of their numbers. 0 or
 * -errno. */
int maildrop_journal_mark(struct maildrop *maildrop);

/* Appends the messages that are deleted, not removed and not journalled yet, and fsyncs. 0 or
 * -errno. */
int maildrop_journal_add(struct maildrop *maildrop);

/* Takes out the lines whose messages are not in the maildrop any more or are removed. 0 or -errno.
 */
int maildrop_journal_clear(const struct maildrop *maildrop);

#endif

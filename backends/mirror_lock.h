/* One session of a user for each of his local Maildirs: a newer one ends the older, whose link may
 * have died without a word. */
#ifndef GATEPOST_BACKENDS_MIRROR_LOCK_H
#define GATEPOST_BACKENDS_MIRROR_LOCK_H

#include "proxy/base/span.h"

/* Takes the place of the mirror (16 hexadecimal digits) in the Maildir `folder`, from this
 * process's earlier holder if need be, which is told by SIGTERM to end. The descriptor that holds
 * the place, or -errno; -EBUSY: the holder is not done yet, as with a relay that is slow. */
int mirror_lock_take(int folder, struct span mirror);

#endif

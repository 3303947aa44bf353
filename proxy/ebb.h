/* When is the memory of sessions that have ended worth giving back to the system?
 *
 * libc keeps it for those that come next: 16 KiB of each session with TLS. To give it back and to
 * get it again takes about as long as a tenth of a handshake. So it is done where far fewer
 * sessions are left than there were, and not where their number only goes up and down.
 *
 * PURE. */
#ifndef GATEPOST_PROXY_EBB_H
#define GATEPOST_PROXY_EBB_H

#include <stdbool.h>
#include <stddef.h>

/* All zero at first. */
struct ebb {
    size_t most; /* sessions at once, since memory was given back last */
};

/* One session has ended, and so many are left. True: far fewer than there were. */
bool ebb_one_ended(struct ebb *ebb, size_t left);

/* The same question at any time. */
bool ebb_is_low(const struct ebb *ebb, size_t sessions);

/* Memory has been given back. */
void ebb_given_back(struct ebb *ebb, size_t sessions);

#endif

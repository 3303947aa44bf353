/* Remembers the high water, and tells when it has sunk by more than a part of it. Cannot fail. */
#include "proxy/ebb.h"

/* Guessed: the memory of so many is about a MiB, which a worker may well keep. */
#define FEW 64

/* Guessed: among many sessions that come and go by chance, so large a part is never away at once.
 */
#define PART 4

bool ebb_one_ended(struct ebb *ebb, size_t left)
{
    if (ebb->most <= left)
        ebb->most = left + 1;
    return ebb_is_low(ebb, left);
}

bool ebb_is_low(const struct ebb *ebb, size_t sessions)
{
    return ebb->most > sessions && ebb->most - sessions >= FEW + ebb->most / PART;
}

void ebb_given_back(struct ebb *ebb, size_t sessions)
{
    ebb->most = sessions;
}

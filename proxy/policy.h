/* In which order the addresses of a backend are tried for one session. PURE. */
#ifndef GATEPOST_PROXY_POLICY_H
#define GATEPOST_PROXY_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "conf/settings.h"

/* Fills order[0..count) with the numbers 0 to count-1. failover: as written. round-robin: rotated
 * by `turn`. hash-user, hash-client: by rendezvous hashing of `key`, so that an address that is out
 * moves only those that were on it (Thaler and Ravishankar, 1998). */
void policy_order(enum policy policy, uint64_t key, uint32_t turn, size_t count,
                  unsigned char *order);

/* The key of a user's name (letter case does not count) or of a client's address. FNV-1a, then
 * mixed; the same in every worker and on every machine. */
uint64_t policy_key(const void *octets, size_t size);

#endif

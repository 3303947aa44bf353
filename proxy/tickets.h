/* The ratchet of TLS session ticket keys, and the ticket callback's use of them.
 *
 * The state is (epoch n, K_n); K_{n+1} = HKDF(K_n, "gatepost ticket"). Epochs are 12 hours of the
 * clock. The supervisor holds the state, advances it and gives the workers K_{n-1}, K_n, K_{n+1};
 * older keys exist nowhere. Nodes that were seeded alike stay alike. */
#ifndef GATEPOST_PROXY_TICKETS_H
#define GATEPOST_PROXY_TICKETS_H

#include <stdint.h>

#include "proxy/base/span.h"

#define TICKET_KEY_BYTES     32
#define TICKET_EPOCH_SECONDS 43200

struct ticket_key {
    uint64_t epoch;
    uint8_t
        secret[TICKET_KEY_BYTES]; /* name, AES and HMAC keys of the ticket are derived from it */
};

/* What workers hold: previous, current, next. A message of the control channel carries it as it is.
 */
struct ticket_keys {
    struct ticket_key keys[3];
};

/* What one ticket is named, encrypted (AES-256-CBC) and authenticated (HMAC-SHA256) with; wiped by
 * its owner. */
struct ticket_material {
    uint8_t name[16], cipher_key[32], mac_key[32];
    bool ready;
};

/* HKDF(secret, "gatepost ticket use"). 0 or -ENOMEM. */
int ticket_material_derive(const struct ticket_key *key, struct ticket_material *ret_material);

/* The supervisor's state file. load: a missing file is made from random octets at the epoch of
 * now_s; a damaged one too, after a log line. Advances to the epoch of now_s (a clock that steps
 * back changes nothing), rewrites the file by rename with fsync when it advanced, mode 0600. The
 * file holds K_{n-1} and K_n. 0 or -errno. */
int tickets_load(const char *state_dir, int64_t now_s, struct ticket_keys *ret_keys);

/* Advances in memory. Returns true when the keys changed (false too for want of memory: then it is
 * tried again). No I/O. */
bool tickets_advance(struct ticket_keys *keys, int64_t now_s);

#endif

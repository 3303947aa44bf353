/* How clients of an address began: with TLS, or plain. It spares those that never begin with TLS
 * the wait for a first octet.
 *
 * PURE. The table lies in memory that all workers share; an entry is one atomic word, and nobody
 * locks. An entry that is lost, overwritten or taken for another's can do no harm beyond a wait
 * that is too long or too short once. */
#ifndef GATEPOST_PROXY_HINTS_H
#define GATEPOST_PROXY_HINTS_H

#include <stdatomic.h>
#include <sys/socket.h>

#include "proxy/base/span.h"

#define HINTS_ENTRIES   65536
#define HINTS_BYTES     (HINTS_ENTRIES * sizeof(hints_entry)) /* 512 KiB */
#define HINTS_SECRET    16 /* octets of the secret that keys the hash */
#define HINTS_PLAIN_ROW 5  /* plain sessions in a row that make a habit */
#define HINTS_TLS_DAYS  30 /* how long one session that began with TLS counts */

/* All zero: an empty entry, so freshly mapped memory is an empty table. */
typedef _Atomic uint64_t hints_entry;

enum hint {
    HINT_NONE,     /* nothing is known: wait */
    HINT_PLAIN,    /* five plain sessions in a row, none with TLS first in 30 days: no wait */
    HINT_TLS,      /* TLS first within 30 days: wait */
    HINT_TLS_LATE, /* the same, and once only after our banner: wait longer */
};

/* The key of a client at one listener: a hash (SipHash-2-4) over the exact IPv4 address or the IPv6
 * /64, and the number. All workers must have the same `secret` (HINTS_SECRET octets), unknown
 * outside. */
uint64_t hints_key(const unsigned char *secret, const struct sockaddr *client, uint32_t listener);

/* `table` has HINTS_ENTRIES entries; `now_s` is a clock in seconds that all workers share. */
enum hint hints_lookup(const hints_entry *table, uint64_t key, uint64_t now_s);
void hints_note_plain(hints_entry *table, uint64_t key, uint64_t now_s);

/* `late`: the ClientHello came after our banner had gone out. */
void hints_note_tls(hints_entry *table, uint64_t key, uint64_t now_s, bool late);

#endif

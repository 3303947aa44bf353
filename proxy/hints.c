/* A table of how clients began, one 64-bit word for each; see hints.h.
 *
 * Happy path: the low bits of a client's key choose the entry, the high bits are compared with the
 * entry's tag, and the rest tells what was seen. An entry with another tag is somebody else's: it
 * is overwritten. Nothing here can fail. */
#include "proxy/hints.h"

#include <netinet/in.h>

/* Of an entry, from the top: 40 bits of tag, 20 bits of the hour of the last TLS session, counted
 * from 1 (0: none), 1 bit late, 3 bits of plain sessions in a row. 20 bits of hours last for 119
 * years. */
#define TAG_SHIFT   24
#define HOUR_SHIFT  4
#define HOUR_MASK   0xfffffu
#define LATE_BIT    0x8u
#define STREAK_MASK 0x7u

#define SECONDS_PER_HOUR 3600
#define TLS_HOURS        (HINTS_TLS_DAYS * 24)

struct seen {
    uint32_t hour; /* of the last TLS session; 0: none */
    bool late;
    unsigned streak;
};

static uint64_t rotate(uint64_t word, unsigned bits)
{
    return word << bits | word >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned count)
{
    while (count-- > 0) {
        v[0] += v[1];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[0] = rotate(v[0], 32);
        v[2] += v[3];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] += v[3];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] += v[1];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[2] = rotate(v[2], 32);
    }
}

static uint64_t load_little_endian(const unsigned char *bytes)
{
    uint64_t word = 0;

    for (unsigned i = 8; i-- > 0;)
        word = word << 8 | bytes[i];
    return word;
}

/* SipHash-2-4 of exactly 16 octets (Aumasson and Bernstein, 2012), given as two words. */
static uint64_t sip_hash(const unsigned char *secret, const uint64_t message[2])
{
    uint64_t k0 = load_little_endian(secret), k1 = load_little_endian(secret + 8);
    uint64_t v[4] = { k0 ^ 0x736f6d6570736575u, k1 ^ 0x646f72616e646f6du, k0 ^ 0x6c7967656e657261u,
                      k1 ^ 0x7465646279746573u };
    const uint64_t words[3] = { message[0], message[1], UINT64_C(16) << 56 };

    for (unsigned i = 0; i < 3; i++) {
        v[3] ^= words[i];
        sip_rounds(v, 2);
        v[0] ^= words[i];
    }
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t hints_key(const unsigned char *secret, const struct sockaddr *client, uint32_t listener)
{
    struct sockaddr_in in4;
    struct sockaddr_in6 in6;
    unsigned char address[8] = { 0 };
    uint64_t family = 0, message[2];

    if (client->sa_family == AF_INET) {
        memcpy(&in4, client, sizeof(in4));
        memcpy(address, &in4.sin_addr, 4);
        family = 4;
    } else if (client->sa_family == AF_INET6) {
        memcpy(&in6, client, sizeof(in6));
        family = IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr) ? 4 : 6;
        if (family == 4)
            memcpy(address, in6.sin6_addr.s6_addr + 12, 4);
        else
            memcpy(address, in6.sin6_addr.s6_addr, sizeof(address));
    }
    message[0] = load_little_endian(address);
    message[1] = family << 32 | listener;
    return sip_hash(secret, message);
}

static uint64_t tag_of(uint64_t key)
{
    return key >> TAG_SHIFT;
}

static struct seen load(const hints_entry *table, uint64_t key)
{
    uint64_t word = atomic_load_explicit(&table[key % HINTS_ENTRIES], memory_order_relaxed);

    if (word >> TAG_SHIFT != tag_of(key))
        return (struct seen){ 0 };
    return (struct seen){
        .hour = (uint32_t)(word >> HOUR_SHIFT) & HOUR_MASK,
        .late = word & LATE_BIT,
        .streak = (unsigned)(word & STREAK_MASK),
    };
}

static void store(hints_entry *table, uint64_t key, struct seen seen)
{
    uint64_t word = tag_of(key) << TAG_SHIFT | (uint64_t)(seen.hour & HOUR_MASK) << HOUR_SHIFT |
                    (seen.late ? LATE_BIT : 0) | (seen.streak & STREAK_MASK);

    atomic_store_explicit(&table[key % HINTS_ENTRIES], word, memory_order_relaxed);
}

static uint32_t hour_of(uint64_t now_s)
{
    return (uint32_t)(now_s / SECONDS_PER_HOUR + 1) & HOUR_MASK;
}

/* A clock that was set back makes the last session one of the future: it counts, the wait is only
 * too long. */
static bool tls_counts(struct seen seen, uint64_t now_s)
{
    return seen.hour > 0 && hour_of(now_s) <= seen.hour + TLS_HOURS;
}

enum hint hints_lookup(const hints_entry *table, uint64_t key, uint64_t now_s)
{
    struct seen seen = load(table, key);

    if (tls_counts(seen, now_s))
        return seen.late ? HINT_TLS_LATE : HINT_TLS;
    return seen.streak >= HINTS_PLAIN_ROW ? HINT_PLAIN : HINT_NONE;
}

void hints_note_plain(hints_entry *table, uint64_t key, uint64_t now_s)
{
    struct seen seen = load(table, key);

    if (!tls_counts(seen, now_s)) {
        seen.hour = 0;
        seen.late = false;
    }
    if (seen.streak < HINTS_PLAIN_ROW)
        seen.streak++;
    store(table, key, seen);
}

void hints_note_tls(hints_entry *table, uint64_t key, uint64_t now_s, bool late)
{
    struct seen seen = load(table, key);

    /* Late once, and the longer wait has made it early since: it stays late, or it would be late
     * every other time. */
    store(table, key,
          (struct seen){
              .hour = hour_of(now_s),
              .late = late || (seen.late && tls_counts(seen, now_s)),
          });
}

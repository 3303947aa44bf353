/* The order in which addresses are tried. Nothing here can fail. */
#include "proxy/policy.h"

#define COUNT_MAX 256 /* numbers are octets */

/* The finalizer of MurmurHash3 (Appleby, 2011): each bit of the word changes half of the result's.
 */
static uint64_t mix(uint64_t word)
{
    word ^= word >> 33;
    word *= UINT64_C(0xff51afd7ed558ccd);
    word ^= word >> 33;
    word *= UINT64_C(0xc4ceb9fe1a85ec53);
    return word ^ word >> 33;
}

/* An address's weight for this key depends on nothing but the two. */
static void order_by_weight(uint64_t key, size_t count, unsigned char *order)
{
    uint64_t weights[COUNT_MAX];

    for (size_t i = 0; i < count; i++) {
        uint64_t weight = mix(key ^ mix(i + 1));
        size_t place = i;

        while (place > 0 && weights[place - 1] < weight) {
            weights[place] = weights[place - 1];
            order[place] = order[place - 1];
            place--;
        }
        weights[place] = weight;
        order[place] = (unsigned char)i;
    }
}

void policy_order(enum policy policy, uint64_t key, uint32_t turn, size_t count,
                  unsigned char *order)
{
    if (count > COUNT_MAX)
        count = COUNT_MAX;
    switch (policy) {
    case POLICY_HASH_USER:
    case POLICY_HASH_CLIENT:
        order_by_weight(key, count, order);
        return;
    case POLICY_FAILOVER:
        turn = 0;
        break;
    case POLICY_ROUND_ROBIN:
        break;
    }
    for (size_t i = 0; i < count; i++)
        order[i] = (unsigned char)((turn + i) % count);
}

uint64_t policy_key(const void *octets, size_t size)
{
    const unsigned char *octet = octets;
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < size; i++) {
        hash ^= octet[i] >= 'A' && octet[i] <= 'Z' ? octet[i] + ('a' - 'A') : octet[i];
        hash *= UINT64_C(0x100000001b3);
    }
    return mix(hash);
}

/* Sixteen octets looked at at once, by the compiler's vectors: for searches that a memchr() for
 * each line would make too dear. Compiles to SSE2 or NEON; to plain code elsewhere. */
#ifndef GATEPOST_BASE_LANES_H
#define GATEPOST_BASE_LANES_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define LANES       16
#define LANES_BLOCK 64 /* looked at together: one question for the four of them */

typedef unsigned char lanes __attribute__((vector_size(LANES)));

static inline lanes lanes_load(const unsigned char *octets)
{
    lanes loaded;

    memcpy(&loaded, octets, LANES);
    return loaded;
}

/* 0xff where the octet is `octet`, else 0. */
static inline lanes lanes_equal(lanes octets, unsigned char octet)
{
    return (lanes)(octets == octet);
}

static inline bool lanes_any(lanes found)
{
    uint64_t halves[2];

    memcpy(halves, &found, sizeof(halves));
    return (halves[0] | halves[1]) != 0;
}

#endif

/* Maps for the tests of routes: written by tinycdb into a memfd, or any octets. */
#ifndef GATEPOST_TESTS_CDB_MAKE_H
#define GATEPOST_TESTS_CDB_MAKE_H

#include <cdb.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/route.h"

struct cdb_pair {
    struct span key, value;
};

/* clang-format off */
/* Constant initializers, for tables. */
#define CDB_TEXT(text)       { (const unsigned char *)("" text), sizeof(text) - 1 }
#define CDB_PAIR(key, value) { CDB_TEXT(key), CDB_TEXT(value) }
/* clang-format on */

static inline int cdb_memfd(void)
{
    int fd = memfd_create("map", MFD_CLOEXEC | MFD_ALLOW_SEALING);

    if (fd < 0)
        abort();
    return fd;
}

/* Not yet sealed. */
static inline int cdb_of_pairs(const struct cdb_pair *pairs, size_t count)
{
    struct cdb_make make;
    int fd = cdb_memfd();

    if (cdb_make_start(&make, fd) < 0)
        abort();
    for (size_t i = 0; i < count; i++)
        if (cdb_make_add(&make, pairs[i].key.data, (unsigned)pairs[i].key.size, pairs[i].value.data,
                         (unsigned)pairs[i].value.size) < 0)
            abort();
    if (cdb_make_finish(&make) < 0)
        abort();
    return fd;
}

/* Sealed. */
static inline int cdb_of_octets(struct span octets)
{
    int fd = cdb_memfd();

    while (octets.size > 0) {
        ssize_t count = write(fd, octets.data, octets.size);

        if (count <= 0)
            abort();
        octets = span_skip(octets, (size_t)count);
    }
    fd = route_seal(fd);
    if (fd < 0)
        abort();
    return fd;
}

#endif

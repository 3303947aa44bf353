/* Any octets as a map of routes: nothing in it makes a look-up read outside it or run on for ever;
 * and the records of a map that was found sound fill it up to its tables. */
#include <stdint.h>
#include <stdlib.h>

#include "tests/lib/cdb_make.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* Whatever is found is a name: neither empty nor unended. */
static bool look_up(const struct route *route, struct span user)
{
    char backend[ROUTE_BACKEND_MAX];
    bool found;

    memset(backend, 'x', sizeof(backend));
    found = route_find(route, user, backend);
    if (found)
        REQUIRE(backend[0] != '\0' && memchr(backend, '\0', sizeof(backend)));
    else
        REQUIRE(backend[0] == 'x');
    return found;
}

/* Takes pieces of the map itself for names: keys are among them. */
static void look_up_pieces(const struct route *route, struct span octets)
{
    static const size_t sizes[] = { 1, 4, 9, 16, ROUTE_USER_MAX };

    look_up(route, SPAN_LIT("anna@example.org"));
    look_up(route, SPAN_LIT("bert"));
    for (size_t at = 2048; at < octets.size && at < 4096; at += 8)
        for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
            look_up(route, span_first(span_skip(octets, at), sizes[i]));
}

/* The walk of a sound map stays inside it. */
static void walk(struct span octets, size_t entries)
{
    size_t at = 2048, records = 0, end = octets.size;

    for (size_t i = 0; i < 256; i++) {
        size_t begin = cdb_unpack(octets.data + 8 * i);

        end = begin < end ? begin : end;
    }
    while (at < end) {
        REQUIRE(end - at >= 8);
        at += 8 + (size_t)cdb_unpack(octets.data + at) + cdb_unpack(octets.data + at + 4);
        records++;
    }
    REQUIRE(at == end && records >= entries);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = cdb_of_octets(span_of(data, size));
    struct route *route;
    size_t entries;

    if (route_check(fd, &entries) == 0)
        walk(span_of(data, size), entries);
    if (route_new(fd, &route) == 0) {
        look_up_pieces(route, span_of(data, size));
        route_unref(route);
    }
    close(fd);
    return 0;
}

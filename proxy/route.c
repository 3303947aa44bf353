/* Looking users up in a map.
 *
 * Happy path: tinycdb maps the memfd, a key is found, its value trimmed. A look-up fails where
 * there is no such key, and where the map is not sound; the supervisor hands on none that is not
 * (route_check). */
#include "proxy/route.h"

#include <cdb.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define SEALS       (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)
#define TABLES      256
#define HEADER_SIZE (TABLES * 8)

struct route {
    unsigned references;
    struct cdb cdb;
};

int route_seal(int fd)
{
    char path[64];
    int readable, r;

    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    /* Kernels before 6.7 do not map a sealed memfd through a descriptor that may write. */
    readable = fcntl(fd, F_ADD_SEALS, SEALS) < 0 ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    r = readable < 0 ? -errno : readable;
    close(fd);
    return r;
}

/* Sealed, so that it can neither change nor end while it is read. */
static int open_map(int fd, struct cdb *ret_cdb)
{
    if ((fcntl(fd, F_GET_SEALS) & SEALS) != SEALS)
        return -EPROTO;
    if (cdb_init(ret_cdb, fd) < 0)
        return errno == ENOMEM ? -ENOMEM : -EPROTO;
    return 0;
}

int route_new(int fd, struct route **ret_route)
{
    struct route *route = calloc(1, sizeof(*route));
    int r = route ? open_map(fd, &route->cdb) : -ENOMEM;

    if (r < 0) {
        free(route);
        return r;
    }
    route->references = 1;
    *ret_route = route;
    return 0;
}

struct route *route_ref(struct route *route)
{
    route->references++;
    return route;
}

void route_unref(struct route *route)
{
    if (!route || --route->references > 0)
        return;
    cdb_free(&route->cdb);
    free(route);
}

/* -- one look-up -- */

/* Spaces, line ends and NULs around a value are what a shell script leaves there. */
static struct span trim(struct span value)
{
    while (value.size > 0 && value.data[value.size - 1] <= ' ')
        value.size--;
    while (value.size > 0 && value.data[0] <= ' ')
        value = span_skip(value, 1);
    return value;
}

static void take_value(const struct cdb *cdb, char backend[ROUTE_BACKEND_MAX])
{
    const void *data = cdb_getdata(cdb);
    struct span value = trim(data ? span_of(data, cdb_datalen(cdb)) : SPAN_LIT(""));

    if (value.size == 0 || value.size >= ROUTE_BACKEND_MAX || span_find(value, '\0') < value.size)
        value = SPAN_LIT("?");
    memcpy(backend, value.data, value.size);
    backend[value.size] = '\0';
}

static bool find(const struct route *route, struct span key, char backend[ROUTE_BACKEND_MAX])
{
    struct cdb cdb = route->cdb; /* a look-up leaves its place there */

    if (key.size == 0 || cdb_find(&cdb, key.data, (unsigned)key.size) <= 0)
        return false;
    take_value(&cdb, backend);
    return true;
}

static struct span lower(struct span text, unsigned char into[ROUTE_USER_MAX])
{
    for (size_t i = 0; i < text.size; i++)
        into[i] =
            text.data[i] >= 'A' && text.data[i] <= 'Z' ? text.data[i] + ('a' - 'A') : text.data[i];
    return span_of(into, text.size);
}

/* "@example.org" of the last @. */
static struct span domain_of(struct span user)
{
    size_t at = user.size;

    while (at > 0 && user.data[at - 1] != '@')
        at--;
    return at > 0 ? span_skip(user, at - 1) : span_of(user.data, 0);
}

bool route_find(const struct route *route, struct span user, char backend[ROUTE_BACKEND_MAX])
{
    unsigned char room[ROUTE_USER_MAX];
    struct span small, domain;

    if (user.size == 0 || user.size > sizeof(room))
        return false;
    small = lower(user, room);
    domain = domain_of(small);
    return find(route, user, backend) || find(route, small, backend) ||
           find(route, domain, backend) || find(route, span_skip(domain, 1), backend);
}

/* -- the whole map -- */

struct tables {
    unsigned begin;   /* of the first one: where the records end */
    uint64_t octets;  /* of all of them */
    uint64_t entries; /* places that are taken */
};

static bool count_table(const struct cdb *cdb, unsigned position, unsigned places,
                        struct tables *tables)
{
    const unsigned char *table;
    uint64_t taken = 0;

    if (position < HEADER_SIZE || places > cdb->cdb_fsize / 8)
        return false;
    table = places > 0 ? cdb_get(cdb, places * 8, position) : NULL;
    if (places > 0 && !table)
        return false;
    for (unsigned i = 0; i < places; i++)
        taken += cdb_unpack(table + 8 * (size_t)i + 4) != 0;
    if (places > 0 && taken >= places) /* a search for what is not there would pass through all */
        return false;
    if (position < tables->begin)
        tables->begin = position;
    tables->octets += 8 * (uint64_t)places;
    tables->entries += taken;
    return true;
}

/* The tables fill all behind the records. A file that was not written to its end has none, or some
 * beyond its end, or empty ones. */
static bool check_tables(const struct cdb *cdb, struct tables *ret_tables)
{
    const unsigned char *header = cdb_get(cdb, HEADER_SIZE, 0);

    *ret_tables = (struct tables){ .begin = cdb->cdb_fsize };
    for (unsigned i = 0; header && i < TABLES; i++)
        if (!count_table(cdb, cdb_unpack(header + 8 * i), cdb_unpack(header + 8 * i + 4),
                         ret_tables))
            return false;
    return header && ret_tables->begin + ret_tables->octets == cdb->cdb_fsize;
}

static int check_map(struct cdb *cdb, size_t *ret_entries)
{
    struct tables tables;
    unsigned position;
    uint64_t records = 0;
    int r;

    if (!check_tables(cdb, &tables))
        return -EPROTO;
    cdb_seqinit(&position, cdb);
    while ((r = cdb_seqnext(&position, cdb)) > 0)
        records++;
    /* A record that was replaced while the map was made has no place in a table. */
    if (r < 0 || position != tables.begin || tables.entries > records)
        return -EPROTO;
    *ret_entries = (size_t)tables.entries;
    return 0;
}

int route_check(int fd, size_t *ret_entries)
{
    struct cdb cdb;
    int r = open_map(fd, &cdb);

    if (r < 0)
        return r;
    r = check_map(&cdb, ret_entries);
    cdb_free(&cdb);
    return r;
}

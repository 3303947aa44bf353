/* One configuration at work, as the supervisor holds it: settings, sockets, bundles, names and
 * maps. The workers' side of the same is the service (service.h).
 *
 * There is one in use, and during a reload the next one, which shares with it what they have in
 * common: sockets by copies of descriptors, health slots, embedded workers. */
#ifndef GATEPOST_PROXY_GENERATION_H
#define GATEPOST_PROXY_GENERATION_H

#include "proxy/address_slots.h"
#include "proxy/bulletin.h"
#include "proxy/configuration.h"

struct supervisor;

/* The worker behind one of listeners.embedded. */
struct embedded_worker {
    int bundle_fd;
    char *wanted;                /* those settings that it uses, as text */
    struct child_process *child; /* NULL: none any more */
    bool replaced;               /* the one before still has to let go of the socket */
    uint32_t
        left; /* of a socket that is leaving: number of the configuration that named it no more */
};

struct generation {
    uint32_t number; /* of the reload that made it; 0: the start did */
    time_t loaded;
    struct configuration configuration;
    struct listener_set listeners;
    int proxy_bundle;
    struct embedded_worker
        *embedded; /* one for each of listeners.embedded, also once that is closed */
    size_t embedded_count;
    struct bulletin *bulletin; /* not begun */
    struct address_slots slots;
    bool fresh[ADDRESS_SLOTS_MAX]; /* address slots whose health is to be reset */
};

/* Opens all that `configuration` needs beside what supervisor->current has. It is taken over, also
 * on failure, and its keys are dropped. `words` (may be NULL) gets the lines of what failed. 0, or
 * an exit code (supervisor.h) after log lines: nothing is changed then. */
int generation_new(struct supervisor *supervisor, struct configuration *configuration,
                   uint32_t number, struct text *words, struct generation **ret_generation);

/* Another bundle for the proxy workers, of the keys that the configuration holds; they are dropped.
 * A descriptor or -errno. */
int generation_make_bundle(struct generation *generation);

/* NULL is fine. Children are left alone; handles close in the loop. */
void generation_free(struct generation *generation);

/* Do the embedded workers with these numbers serve alike, so that one may stay for the other? */
bool generation_same_embedded(const struct generation *a, size_t a_number,
                              const struct generation *b, size_t b_number);

/* The number of the embedded worker with that socket, or listeners.embedded_count. */
size_t generation_find_embedded(const struct generation *generation, const char *path);

#endif

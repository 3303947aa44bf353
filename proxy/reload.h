/* A new configuration, or new certificates, while everything runs.
 *
 * One reload runs at a time; what is asked for meanwhile is done once, behind it. A reload that
 * fails changes nothing. Its end is one line in the log, and a result that can be asked for. */
#ifndef GATEPOST_PROXY_RELOAD_H
#define GATEPOST_PROXY_RELOAD_H

#include <uv.h>

#include "proxy/certificate_watch.h"
#include "proxy/children.h"

struct generation;
struct supervisor;

enum reload_reason {
    RELOAD_SETTINGS,     /* HUP, or a command: everything is read again */
    RELOAD_CERTIFICATES, /* a file of keys has changed: keys and authorities are */
};
#define RELOAD_REASONS (RELOAD_CERTIFICATES + 1)

enum reload_outcome { RELOAD_NEVER, RELOAD_IN_USE, RELOAD_UNCHANGED, RELOAD_FAILED };

/* The last reload that has ended. */
struct reload_result {
    uint32_t number; /* of the reload, from 1; 0: there was none */
    enum reload_outcome outcome;
    time_t when;
    char *words; /* what has changed, or each line of what is wrong; never NULL behind reload_init()
                  */
};

enum reload_phase {
    RELOAD_IDLE,
    RELOAD_NAMES,    /* new host names are looked up */
    RELOAD_TRIAL,    /* new embedded workers start; until here nothing has changed */
    RELOAD_HANDOVER, /* those that they replace stop accepting */
    RELOAD_WORKERS,  /* the proxy workers take the configuration */
};

struct reload {
    enum reload_phase phase;
    bool wanted[RELOAD_REASONS]; /* behind the one that runs */
    uint32_t number; /* of the last reload that was begun; its generation has the same */
    uint64_t began_ms;
    struct generation *next; /* until it is in use */
    char *changes;           /* in what it differs, in words */
    char *failure;           /* words; a new embedded worker does not serve */
    uv_timer_t limit;        /* of the phase */
    uv_timer_t again;        /* the next one is due */
    uv_timer_t resend;       /* to a worker that could not be told */
    uv_timer_t half;         /* certificates that may be half-written are read again */
    struct certificate_watch *watch;
    uint64_t half_since_ms; /* certificates that could not be used were first seen; 0: none */
    bool half_told;
    struct reload_result result;
};

/* Once, before anything runs. 0 or -ENOMEM. */
int reload_init(struct supervisor *supervisor);

/* The first configuration serves: keys are watched, and what was asked for meanwhile is done. */
void reload_open(struct supervisor *supervisor);

/* Begins one, or notes that one is wanted. Returns its number: the result with that number or a
 * higher one tells how it ended. */
uint32_t reload_begin(struct supervisor *supervisor, enum reload_reason reason);

/* Borrowed, until the next reload ends. */
const struct reload_result *reload_result(const struct supervisor *supervisor);

/* A reload that runs is given up; none is begun any more. */
void reload_close(struct supervisor *supervisor);
void reload_deinit(struct supervisor *supervisor);

/* What happened to the children and names, for the reload to go on. */
void reload_step(struct supervisor *supervisor);
void reload_names_settled(void *supervisor);
void reload_answered(struct supervisor *supervisor, struct child_process *child,
                     const struct child_reloaded *answer);
void reload_child_failed(struct supervisor *supervisor, const struct child_process *child,
                         const char *how);

#endif

/* The children that are to run: started, started again with back-off when they end, drained, ended.
 *
 * A child's listening sockets belong to the supervisor: connections wait while its process is
 * started anew. A reload adds children, and retires those that it has no use for. */
#ifndef GATEPOST_PROXY_CHILDREN_H
#define GATEPOST_PROXY_CHILDREN_H

#include <uv.h>

#include "proxy/address.h"
#include "proxy/base/log.h"
#include "proxy/control.h"
#include "proxy/health.h"

#define CHILDREN_GIVE_UP                                                                           \
    5 /* deaths in a row of a child that was never ready, while nothing has been ready yet */
#define CHILDREN_DELAY_MS     100 /* before the first restart; doubled for each death in a row */
#define CHILDREN_DELAY_MAX_MS 10000
#define CHILDREN_STABLE_MS    10000 /* a life this long begins the row anew */

struct children;
struct stats;

/* What one child is; copied. Descriptors are borrowed, and replaced by others at a reload. */
struct child_plan {
    char name[48]; /* in log lines: "worker 0", "gatepost-pop3d" */
    enum control_program program;
    int program_fd, bundle_fd, shared_fd;
    int listeners[CHILD_FDS_MAX]; /* hello.listener_count of them */
    struct child_hello hello;     /* hello.number is that of the configuration in the bundle */
};

struct child_process {
    struct children *children;
    struct child_plan plan;
    struct control *control; /* NULL: not running */
    uv_timer_t restart;
    uint64_t started_ms;
    unsigned deaths;     /* in a row */
    uint32_t number;     /* of the configuration that new sessions of a proxy worker get */
    uint32_t asked;      /* of the last one that it was told to take; 0: none, or again */
    bool unfit;          /* it cannot take the configuration: another takes its place */
    uint32_t oldest;     /* of the oldest one that a session of it has */
    bool ready;          /* it serves */
    bool trial;          /* until it is ready it is not started again; children_confirm() */
    bool retired;        /* it takes nobody new, ends with its last session, and is forgotten */
    bool lets_nobody_in; /* it is retired, and has said so */
    bool draining;
    bool spared; /* sessions of a supervisor beside this one may use it: a drain has no limit */
    bool behind; /* it did not read when it was told something (bulletin.c) */
    bool silent; /* it owes an answer for long (operator_question.c) */
    bool mute;   /* it was asked whether it lives, and has not answered (watchdog.c) */
};

struct children {
    uv_loop_t *loop;
    struct child_process **items; /* each stays where it is until it is forgotten */
    size_t count, room;
    const struct ticket_keys *keys; /* sent to each proxy worker behind HELLO */
    struct health *health;          /* HEALTH_SLOTS: a dead worker's connections are given back */
    struct stats *stats;            /* STATS_WORKERS_MAX: a dead worker takes no clients */
    bool ending;                    /* nobody is started again */
    bool was_ready;                 /* all have been ready at once */
    bool log_level_set;             /* by the operator: */
    enum log_level log_level;
    void (*changed)(void *owner);                              /* a child became ready or ended */
    void (*started)(void *owner, struct child_process *child); /* a proxy worker has its keys */
    void (*told)(void *owner, struct child_process *child,
                 struct span message); /* anything but that it is ready; its type comes first */
    void (*gave_up)(void *owner, const struct child_process *child); /* it cannot be started */
    /* One on trial has ended, or could not be started; `how` says which. It is forgotten. */
    void (*failed)(void *owner, const struct child_process *child, const char *how);
    void *owner;
};

/* `children` is the caller's and stays where it is. */
void children_init(struct children *children, uv_loop_t *loop);

/* One more; it is not started. NULL: no memory. */
struct child_process *children_add(struct children *children, const struct child_plan *plan);

/* Starts those that do not run. */
void children_start(struct children *children);
void children_start_one(struct child_process *child);

/* The trial is over: from now on it is started again when it ends. */
void children_confirm(struct child_process *child);

/* It takes nobody new from now on, and ends when its sessions have, whenever that is. One that does
 * not run is forgotten at once: the child may be gone. */
void children_retire(struct child_process *child);

/* Ends a child that is of no use: it is killed, and forgotten. */
void children_discard(struct child_process *child);

/* Takes the exit of every child that has ended. For SIGCHLD. */
void children_reap(struct children *children);

/* How many run, of the proxy workers or of the others; also those that are retired. */
size_t children_running(const struct children *children, bool proxies);

/* Are all ready that shall stay? */
bool children_all_ready(const struct children *children);

/* The lowest number that no proxy worker has, also none that is retired; HEALTH_WORKERS_MAX: there
 * is none. */
uint32_t children_free_index(const struct children *children);

static inline bool child_is_proxy(const struct child_process *child)
{
    return child->plan.program == CONTROL_PROXY;
}

/* No child is started again; those of one kind are told to drain. */
void children_drain(struct children *children, bool proxies);
void children_kill(struct children *children, bool proxies);
void children_kill_late(struct children *children, bool proxies); /* but those that are spared */

/* Tells all children, also those that are started from now on, what is logged. */
void children_set_log_level(struct children *children, enum log_level level);

/* What the settings say holds again: for those that are started from now on. */
void children_forget_log_level(struct children *children);

/* Sends the keys to all proxy workers. */
void children_send_keys(struct children *children);

/* Nothing runs, and the timers are closed. */
void children_deinit(struct children *children);

#endif

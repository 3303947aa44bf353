/* The children that are to run: started, started again with back-off when they end, drained, ended.
 *
 * A child's listening sockets belong to the supervisor: connections wait while its process is
 * started anew. */
#ifndef GATEPOST_PROXY_CHILDREN_H
#define GATEPOST_PROXY_CHILDREN_H

#include <uv.h>

#include "proxy/address.h"
#include "proxy/control.h"
#include "proxy/health.h"

#define CHILDREN_MAX 256
#define CHILDREN_GIVE_UP                                                                           \
    5 /* deaths in a row of a child that was never ready, while nothing has been ready yet */
#define CHILDREN_DELAY_MS     100 /* before the first restart; doubled for each death in a row */
#define CHILDREN_DELAY_MAX_MS 10000
#define CHILDREN_STABLE_MS    10000 /* a life this long begins the row anew */

struct children;

/* What one child is; copied. Descriptors are borrowed for the life of the children. */
struct child_plan {
    char name[48]; /* in log lines: "worker 0", "gatepost-pop3d" */
    enum control_program program;
    int program_fd, bundle_fd, shared_fd;
    int *listeners; /* borrowed; hello.listener_count of them */
    struct child_hello hello;
};

struct child_process {
    struct children *children;
    struct child_plan plan;
    struct control *control; /* NULL: not running */
    uv_timer_t restart;
    uint64_t started_ms;
    unsigned deaths; /* in a row */
    bool ready, draining;
    bool behind; /* it did not read when it was told something (bulletin.c) */
};

struct children {
    uv_loop_t *loop;
    struct child_process *items;
    size_t count;
    const struct ticket_keys *keys; /* sent to each proxy worker behind HELLO */
    struct health *health;          /* HEALTH_SLOTS: a dead worker's connections are given */
    bool ending;                    /* nobody is started again */
    bool was_ready;                 /* all have been ready at once */
    void (*changed)(void *owner);   /* a child became ready or ended */
    void (*started)(void *owner, struct child_process *child); /* a proxy worker has its keys */
    void (*told)(void *owner, struct child_process *child,
                 struct span message); /* anything but that it is ready; its type comes first */
    void (*gave_up)(void *owner, const struct child_process *child); /* it cannot be started */
    void *owner;
};

/* 0 or -ENOMEM. `children` is the caller's and stays where it is. */
int children_init(struct children *children, uv_loop_t *loop, size_t room);
void children_add(struct children *children, const struct child_plan *plan);
void children_start(struct children *children);

/* Takes the exit of every child that has ended. For SIGCHLD. */
void children_reap(struct children *children);

/* How many run, of the proxy workers or of the others. */
size_t children_running(const struct children *children, bool proxies);
size_t children_ready(const struct children *children);

/* No child is started again; those of one kind are told to drain. */
void children_drain(struct children *children, bool proxies);
void children_kill(struct children *children, bool proxies);

/* Sends the keys to all proxy workers. */
void children_send_keys(struct children *children);

/* All have ended. Closes the timers; call when nothing runs, then run the loop until it is empty,
 * then children_deinit. */
void children_close(struct children *children);
void children_deinit(struct children *children);

#endif

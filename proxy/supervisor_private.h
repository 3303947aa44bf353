/* What the files of the supervisor share: supervisor*.c, reload.c, generation.c, operator.c. */
#ifndef GATEPOST_PROXY_SUPERVISOR_PRIVATE_H
#define GATEPOST_PROXY_SUPERVISOR_PRIVATE_H

#include <uv.h>

#include "proxy/activation.h"
#include "proxy/children.h"
#include "proxy/generation.h"
#include "proxy/notify.h"
#include "proxy/operator.h"
#include "proxy/reload.h"
#include "proxy/upgrade.h"
#include "proxy/watchdog.h"

/* An embedded worker has this long behind the proxies: to store what was received; guessed. */
#define EMBEDDED_DRAIN_MS 5000

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_DRAIN_PROXIES, PHASE_DRAIN_EMBEDDED, PHASE_DONE };

struct supervisor {
    uv_loop_t loop;
    const char *path;           /* of the settings */
    struct generation *current; /* what is in use */
    struct reload reload;
    int program_fds[CONTROL_PROGRAMS]; /* -1: not there */
    int shared_fd;
    struct health *health;      /* in the shared memory */
    struct address_slots slots; /* of it: who had them last */
    struct ticket_keys keys;
    struct children children;
    struct socket_file control_socket; /* fd -1: there is none */
    struct operator_desk *desk;        /* NULL: there is none */
    time_t started;
    struct activation
        activation; /* sockets that were passed by the service manager, or the process before */
    struct upgrade upgrade;
    struct notify notify;
    struct watchdog watchdog;
    uv_signal_t signals[5];
    uv_timer_t keys_timer, drain_timer;
    enum phase phase;
    int exit_code;
};

/* Opens everything but the children; `configuration` is the first one, and is taken over. An exit
 * code (supervisor.h). */
int supervisor_open_all(struct supervisor *supervisor, struct configuration *configuration);

enum control_program supervisor_embedded_program(enum port_protocol protocol);

/* What one proxy worker, or one embedded worker, of a generation is. */
void supervisor_plan_worker(const struct supervisor *supervisor,
                            const struct generation *generation, uint32_t index,
                            struct child_plan *ret_plan);
void supervisor_plan_embedded(const struct supervisor *supervisor,
                              const struct generation *generation, size_t number,
                              struct child_plan *ret_plan);

/* The process before has handed over: all that it had belongs to this one. */
void supervisor_take_over(struct supervisor *supervisor);

/* Another process has taken over: what is here may end, for drain_timeout without a word to
 * anybody, then as in a drain. */
void supervisor_leave(struct supervisor *supervisor);

/* Nobody new is let in; sessions may go on for drain_timeout, then all ends. */
void supervisor_drain(struct supervisor *supervisor);

/* TERM: the first drains, the second ends all at once. */
void supervisor_terminate(struct supervisor *supervisor);

/* A process has ended: goes on to the next phase of the end where nobody is left in this one. */
void supervisor_drain_step(struct supervisor *supervisor);

/* Starts proxy workers where there are fewer than the settings in use ask for, retires those that
 * are too many or not fit, once others serve. */
void supervisor_adjust_workers(struct supervisor *supervisor);

/* Tells the service manager that all is served, with what, and how the last reload ended. */
void supervisor_tell_manager(const struct supervisor *supervisor);

#endif

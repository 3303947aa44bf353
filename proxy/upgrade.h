/* Binary upgrade: another gatepost takes the place of this one, and no connection is refused.
 *
 * The program is started anew, from the path by which this one was started and with the same
 * arguments; what it finds there may be another version. It is given copies of all sockets that
 * listen, as a service manager passes them (activation.h), and one end of a pair of sockets, on
 * which it says that all its children serve. Until then nothing changes here. Then this one hands
 * over: it lets nobody in, ends with its sessions, and leaves all that the new one uses in its
 * place.
 *
 * Both sides of it are here. The environment of the new one: LISTEN_PID, LISTEN_FDS,
 * LISTEN_FDNAMES, and GATEPOST_UPGRADE=CHANNEL,COUNT: a descriptor, and how many of the sockets are
 * the service manager's. */
#ifndef GATEPOST_PROXY_UPGRADE_H
#define GATEPOST_PROXY_UPGRADE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

struct supervisor;

enum upgrade_phase {
    UPGRADE_NONE,
    UPGRADE_WAITS,  /* for the end of a reload */
    UPGRADE_STARTS, /* the new process runs and has not said that it serves */
    UPGRADE_FAILS,  /* it is told to end */
    UPGRADE_DONE,   /* it has taken over */
};

struct upgrade {
    /* Of the process that comes after this one. */
    enum upgrade_phase phase;
    pid_t pid;        /* 0: none */
    int channel;      /* -1: none */
    uv_poll_t *poll;  /* of the channel */
    uv_timer_t timer; /* how long a phase may last */
    size_t passed;    /* sockets that it was given: public ones first */
    size_t *embedded; /* the last ones: numbers in the listener set */
    size_t embedded_count;
    char failure[128];  /* why; "" where its end tells */
    bool misconfigured; /* it says that the settings are at fault */
    /* Of the process before this one. */
    int before; /* the channel to it; -1: none, or not any more */
    uv_poll_t *before_poll;
    pid_t former;  /* it, while it runs; 0: it does not, or is not known */
    int former_fd; /* of that process (pidfd_open(2)) */
    uv_poll_t *former_poll;
    bool told;     /* it knows that all serve */
    bool orphaned; /* it ended before that */
};

/* Call first of all: remembers by which path and with which arguments the program was started. */
void upgrade_remember(int argc, char **argv);

/* Takes what the process before, or the service manager, has passed (supervisor->activation). 0;
 * -EINVAL after log lines; or another -errno. */
int upgrade_init(struct supervisor *supervisor);
void upgrade_deinit(struct supervisor *supervisor);

/* Begins one. NULL; or words: why there will be none. */
const char *upgrade_begin(struct supervisor *supervisor);

/* Is there a new process that has not taken over? No reload is begun then. */
bool upgrade_runs(const struct supervisor *supervisor);

/* This one ends: so does a new process that has not taken over. Again: at once. */
void upgrade_cancel(struct supervisor *supervisor);

/* For SIGCHLD. True: the new process has ended. */
bool upgrade_reap(struct supervisor *supervisor);

/* Is there a process before this one, which is still to hand over? supervisor_take_over() is called
 * when it has. */
bool upgrade_is_heir(const struct supervisor *supervisor);

/* An heir ends: the sockets that it was given stay the other's. */
void upgrade_give_back(struct supervisor *supervisor);

/* All children serve: tells the process before, once. */
void upgrade_tell_ready(struct supervisor *supervisor);

#endif

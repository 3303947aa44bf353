/* The child's end of the control channel: what every program that the supervisor starts has in
 * common.
 *
 * A child is started with a SOCK_SEQPACKET socket at descriptor CHILD_CONTROL_FD. Its first message
 * is the HELLO below, with descriptors; the child checks the build, adopts the log socket, drops
 * its privileges, and answers READY when it serves. End of file on the channel means that the
 * supervisor is gone: drain and exit. */
#ifndef GATEPOST_BASE_CHILD_H
#define GATEPOST_BASE_CHILD_H

#include <stdint.h>
#include <sys/types.h>

#include "proxy/base/span.h"

#define CHILD_CONTROL_FD  3
#define CHILD_FDS_MAX     200 /* descriptors in one message (the kernel's limit is 253) */
#define CHILD_GROUPS_MAX  64
#define CHILD_MESSAGE_MAX 4096 /* bytes of one message */

enum child_message {
    CHILD_HELLO = 1, /* to the child, first: struct child_hello; descriptors: log, bundle, stats,
                        then listeners */
    CHILD_KEYS,      /* to a proxy worker: struct ticket_keys */
    CHILD_DRAIN,     /* to the child: no new session; end after those that run, at the latest after
                        `drain_ms` */
    CHILD_READY,     /* from the child: it serves */
    CHILD_DRAINED,   /* from the child: no session is left; it exits now */
    CHILD_ADDRESSES, /* to a proxy worker: a type and a number (both uint32_t), then so many
                        struct child_address: what names resolve to now */
    CHILD_ROUTE,     /* to a proxy worker: struct child_route; descriptor: a sealed memfd that holds
                        the map (cdb) */
    CHILD_REPORT,    /* to a proxy worker: struct child_report; descriptor: a memfd, where it writes
                        its answer */
    CHILD_REPORTED,  /* from the worker: struct child_reported */
    CHILD_LOG_LEVEL, /* to any child: struct child_log_level */
    CHILD_RELOAD,    /* to a proxy worker: struct child_reload; descriptors: the bundle, then all
                        listening sockets in the order of its table, also those that it has */
    CHILD_RELOADED,  /* from the worker: struct child_reloaded; with status 0 new sessions get the
                        new configuration, else nothing has changed. The routes and addresses of
                        the new one are sent right behind CHILD_RELOAD: the worker reads them when
                        it has swapped, before anybody is served */
    CHILD_RETIRE,    /* to the child: no new session; end after those that run, whenever that is */
    CHILD_RETIRED,   /* from the child: nobody new is let in */
    CHILD_OLDEST,    /* from a proxy worker: struct child_oldest; sessions that began with
                        configurations before that one have ended */
    CHILD_PING,      /* to any child that is ready: is it alive? */
    CHILD_ALIVE,     /* from the child, at once */
};

struct child_hello {
    uint32_t type;  /* CHILD_HELLO */
    uint32_t index; /* number of the worker, from 0 */
    char build[64]; /* child_build() of the supervisor; a child of another build exits */
    int32_t supervisor_pid;
    uint32_t drop; /* nonzero: change to uid, gid and groups */
    uint32_t uid, gid;
    uint32_t group_count;
    uint32_t groups[CHILD_GROUPS_MAX];
    uint32_t listener_count; /* listening descriptors behind the first three */
    uint32_t drain_ms;
    uint32_t number; /* of the configuration in the bundle */
};

/* CHILD_ROUTE. */
struct child_route {
    uint32_t type;
    uint32_t listen; /* number of the [listen] section in the settings */
};

/* What a worker is asked for (worker_report.c says what the answers hold). */
enum child_question {
    CHILD_ASK_STATUS = 1,
    CHILD_ASK_SESSIONS,
    CHILD_ASK_BACKENDS,
    CHILD_ASK_KICK, /* it ends the sessions that are meant, and says which */
};

/* Which sessions are meant: those that fit all of it. Texts are NUL-terminated; an empty one fits
 * any. */
struct child_selection {
    char id[32];
    char user[256]; /* letter case is no matter */
    char port[64];  /* name of the listener, or number */
    char from[64];  /* address or network */
};

/* An answer beyond that is not read. */
#define CHILD_REPORT_BYTES_MAX (16 * 1024 * 1024)

/* CHILD_REPORT. */
struct child_report {
    uint32_t type;
    uint32_t number; /* comes back with the answer */
    uint32_t question;
    struct child_selection selection; /* of CHILD_ASK_SESSIONS and CHILD_ASK_KICK */
};

/* CHILD_REPORTED. */
struct child_reported {
    uint32_t type;
    uint32_t number;
    int32_t status; /* 0: the memfd holds one JSON object; or -errno */
};

/* CHILD_LOG_LEVEL. */
struct child_log_level {
    uint32_t type;
    int32_t level; /* enum log_level */
};

struct child_reload {
    uint32_t type;   /* CHILD_RELOAD */
    uint32_t number; /* of this configuration: in the answer, and in the log */
    uint32_t listener_count;
};

struct child_reloaded {
    uint32_t type; /* CHILD_RELOADED */
    uint32_t number;
    int32_t status; /* 0 or -errno, after log lines */
};

struct child_oldest {
    uint32_t type; /* CHILD_OLDEST */
    uint32_t number;
};

/* What a child starts with. Descriptors are the child's own. */
struct child {
    struct child_hello hello;
    int control_fd;
    int log_fd;
    int bundle_fd;  /* sealed memfd: proxy/base/bundle.h */
    int shared_fd;  /* memfd of counters and hints (proxy workers); -1 for others */
    int *listeners; /* hello.listener_count of them, in the order of the bundle's listener table */
};

/* The build that this program is of: the version and, where git knows it, the commit. */
const char *child_build(void);

/* Receives HELLO, sends log lines to it, drops privileges (setgroups, setresgid, setresuid,
 * no_new_privs, not dumpable, SIGPIPE and SIGXFSZ ignored, PDEATHSIG with a getppid check). `name`
 * appears in log lines and must stay. Returns 0, or -errno
 * (-EPROTO: not started by a supervisor of this build), after one line in the log or on standard
 * error. TERM, which is also what the supervisor's death sends, ends the process only when
 * `drain_ms` and a grace have passed. */
int child_start(const char *name, struct child *ret_child);

/* Sends a message without a body. 0 or -errno. */
int child_send(const struct child *child, enum child_message type);

/* Sends a message with a body. 0 or -errno (-EAGAIN: the supervisor does not read). */
int child_send_message(const struct child *child, const void *message, size_t size);

/* Descriptors that came with a message; they are the receiver's. */
struct child_fds {
    int fds[CHILD_FDS_MAX];
    size_t count;
};

void child_fds_close(struct child_fds *fds);

/* Receives one message into `room` (CHILD_MESSAGE_MAX bytes), without blocking. Returns its size, 0
 * at end of file, or -errno (-EAGAIN: none). Its first four bytes are the type. `ret_fds` NULL:
 * descriptors that come along are closed; else they are now the caller's, also when there are none.
 * Where not all could be received (the process has as many as it may), there are none. */
long child_receive(const struct child *child, void *room, struct child_fds *ret_fds);

#endif

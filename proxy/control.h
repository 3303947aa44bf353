/* The supervisor's side of one child: its process, its control channel, its log.
 *
 * A child is exec'd from a descriptor that was opened at start, so that a replaced package changes
 * nothing. Log lines are printed as they come; control messages are given to the owner. All in the
 * loop; nothing blocks. */
#ifndef GATEPOST_PROXY_CONTROL_H
#define GATEPOST_PROXY_CONTROL_H

#include <uv.h>

#include "proxy/base/child.h"
#include "proxy/tickets.h"

enum control_program { CONTROL_PROXY, CONTROL_SMTPD, CONTROL_POP3D };
#define CONTROL_PROGRAMS (CONTROL_POP3D + 1)

/* The CHILD_KEYS message. */
struct control_keys {
    uint32_t type;
    uint32_t reserved;
    struct ticket_keys keys;
};

/* Opens the program: /proc/self/exe, or a worker beside it, in ../backends, or in libexecdir. A
 * descriptor, or -errno; after a log line, where it is `wanted`. */
int control_open_program(enum control_program program, bool wanted);
const char *control_program_name(enum control_program program);

struct control;

/* Called with each message of the child: at least the four octets of its type, borrowed. */
typedef void control_message_cb(void *owner, struct span message);

/* Starts the process and watches its channels. HELLO is sent at once: *hello with `listeners`
 * (hello->listener_count of them), `bundle_fd` and, unless -1, `shared_fd`; all are only borrowed.
 * 0 or -errno. */
struct control_start {
    enum control_program program;
    int program_fd;
    const struct child_hello *hello;
    int bundle_fd, shared_fd;
    const int *listeners;
    control_message_cb *on_message;
    void *owner;
};
int control_start(uv_loop_t *loop, const struct control_start *start, struct control **ret_control);

/* Sends one message, with a copy of `fd` unless that is -1. 0, or -errno (-EAGAIN: the child does
 * not read). */
int control_send(struct control *control, const void *message, size_t size, int fd);

/* The same with copies of `count` descriptors, at most CHILD_FDS_MAX. */
int control_send_fds(struct control *control, const void *message, size_t size, const int *fds,
                     size_t count);

pid_t control_pid(const struct control *control);

/* SIGKILL to the child and to all that it forked. */
void control_kill(struct control *control);

/* The process is gone: prints what is left in its log and closes. NULL is fine; memory is freed by
 * the loop. */
void control_free(struct control *control);

#endif

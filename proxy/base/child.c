/* How a program that the supervisor started becomes what it is: HELLO, log, build check,
 * privileges.
 *
 * Happy path: one message with all descriptors, then the process has neither rights nor ways to get
 * them back. Any failure is one line and -errno; the program then exits, and the supervisor says so
 * and starts it again. */
#include "proxy/base/child.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "gatepost_build.h"
#include "proxy/build_tag.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

static const char build[] = GATEPOST_VERSION " " GATEPOST_BUILD_TAG;

#define GRACE_SECONDS                                                                              \
    5 /* beyond drain_ms, before a child that does not end by itself is ended; guessed */

const char *child_build(void)
{
    return build;
}

void child_fds_close(struct child_fds *fds)
{
    for (size_t i = 0; i < fds->count; i++)
        close(fds->fds[i]);
    fds->count = 0;
}

static void take_descriptors(struct msghdr *message, struct child_fds *ret_received)
{
    ret_received->count = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        ret_received->count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(ret_received->fds, CMSG_DATA(c), ret_received->count * sizeof(int));
    }
}

/* One message with the descriptors that came along. Its size, 0 at end of file, -errno. */
static long receive(int fd, void *room, size_t size, int flags, struct child_fds *ret_received)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(CHILD_FDS_MAX * sizeof(int))];
    } control;
    struct iovec part = { room, size };
    struct msghdr message = { .msg_iov = &part,
                              .msg_iovlen = 1,
                              .msg_control = &control,
                              .msg_controllen = sizeof(control) };
    ssize_t count;

    do
        count = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    while (count < 0 && errno == EINTR);
    if (count < 0)
        return -errno;
    take_descriptors(&message, ret_received);
    if (message.msg_flags & (MSG_CTRUNC | MSG_TRUNC))
        child_fds_close(ret_received);
    if (message.msg_flags & MSG_TRUNC)
        return -EPROTO;
    return count;
}

static int not_started_right(const char *why)
{
    log_line(LOG_LEVEL_ERROR, "this program is started by gatepost: %s", why);
    return -EPROTO;
}

/* Descriptors: log, bundle, [shared,] listeners. Whether there is a shared memory shows in their
 * number. */
static int adopt(const struct child_hello *hello, const struct child_fds *received,
                 struct child *ret_child)
{
    size_t shared = received->count - 2 - hello->listener_count;
    int *listeners = calloc(hello->listener_count + 1, sizeof(*listeners));

    if (!listeners)
        return -ENOMEM;
    memcpy(listeners, received->fds + 2 + shared, hello->listener_count * sizeof(*listeners));
    *ret_child = (struct child){ .hello = *hello,
                                 .control_fd = CHILD_CONTROL_FD,
                                 .log_fd = received->fds[0],
                                 .bundle_fd = received->fds[1],
                                 .shared_fd = shared ? received->fds[2] : -1,
                                 .listeners = listeners };
    return 0;
}

static bool is_hello(const struct child_hello *hello, long size, const struct child_fds *received)
{
    size_t least = 2 + (size_t)hello->listener_count;

    return size == (long)sizeof(*hello) && hello->type == CHILD_HELLO &&
           hello->listener_count <= CHILD_FDS_MAX && hello->group_count <= CHILD_GROUPS_MAX &&
           (received->count == least || received->count == least + 1);
}

static int receive_hello(const char *name, struct child *ret_child)
{
    struct child_fds received = { .count = 0 };
    struct child_hello hello;
    long size = receive(CHILD_CONTROL_FD, &hello, sizeof(hello), 0, &received);
    int r;

    if (size < 0)
        return not_started_right(err_text((int)size));
    if (size == 0)
        return not_started_right("the supervisor is gone");
    if (!is_hello(&hello, size, &received)) {
        child_fds_close(&received);
        return not_started_right("the first message is none of this version");
    }
    log_to_descriptor(received.fds[0], name);
    if (strncmp(hello.build, build, sizeof(hello.build)) != 0) {
        log_line(LOG_LEVEL_ERROR, "is of build %s, the supervisor of %.64s: restart gatepost",
                 build, hello.build);
        log_to_terminal(name);
        child_fds_close(&received);
        return -EPROTO;
    }
    r = adopt(&hello, &received, ret_child);
    if (r < 0)
        log_line(LOG_LEVEL_ERROR, "cannot start: %s", err_text(r));
    return r;
}

static int change_user(const struct child_hello *hello)
{
    if (setgroups(hello->group_count, hello->groups) < 0 ||
        setresgid(hello->gid, hello->gid, hello->gid) < 0 ||
        setresuid(hello->uid, hello->uid, hello->uid) < 0)
        return -errno;
    if (hello->uid != 0 && setresuid((uid_t)-1, 0, (uid_t)-1) == 0)
        return -EPERM; /* a way back */
    return 0;
}

/* What a user other than root may still hold, where a service manager gave the supervisor the right
 * to bind ports. */
static int give_up_capabilities(void)
{
    struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
    struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { 0 };

    if (geteuid() == 0)
        return 0; /* `user = root`, which the check warns about */
    return syscall(SYS_capset, &head, none) < 0 ? -errno : 0;
}

static unsigned drain_seconds;

/* The supervisor has died (PDEATHSIG), or a service manager signals the whole group: a child drains
 * when its control channel says so or ends. Should it hang, the kernel ends it. */
static void on_terminate(int signal_number)
{
    (void)signal_number;
    signal(SIGALRM, SIG_DFL);
    alarm(drain_seconds + GRACE_SECONDS);
}

static int lock_down(const struct child_hello *hello)
{
    struct sigaction terminate = { .sa_handler = on_terminate, .sa_flags = SA_RESTART };
    struct sigaction ignore = { .sa_handler = SIG_IGN };

    drain_seconds = hello->drain_ms / 1000;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 ||
        sigaction(SIGPIPE, &ignore, NULL) < 0 ||
        sigaction(SIGXFSZ, &ignore, NULL) < 0 || /* a file too large is an error of its write */
        sigaction(SIGTERM, &terminate, NULL) < 0 ||
        prctl(PR_SET_PDEATHSIG, SIGTERM, 0, 0, 0) < 0) /* after the user change, which clears it */
        return -errno;
    if (getppid() != hello->supervisor_pid)
        return -ESRCH; /* it died before PDEATHSIG was set */
    return 0;
}

int child_start(const char *name, struct child *ret_child)
{
    struct child child;
    int r;

    log_to_terminal(name);
    prctl(PR_SET_NAME, name, 0, 0, 0); /* exec from a descriptor names a process by a number */
    r = receive_hello(name, &child);
    if (r < 0)
        return r;
    if (child.hello.drop)
        r = change_user(&child.hello);
    if (r == 0)
        r = give_up_capabilities();
    if (r == 0)
        r = lock_down(&child.hello);
    if (r == 0 && fcntl(CHILD_CONTROL_FD, F_SETFD, FD_CLOEXEC) < 0)
        r = -errno;
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "cannot give up its rights: %s", err_text(r));
        free(child.listeners);
        return r;
    }
    *ret_child = child;
    return 0;
}

int child_send(const struct child *child, enum child_message type)
{
    uint32_t message = type;
    ssize_t count = send(child->control_fd, &message, sizeof(message), MSG_DONTWAIT | MSG_NOSIGNAL);

    return count < 0 ? -errno : 0;
}

int child_send_message(const struct child *child, const void *message, size_t size)
{
    ssize_t count = send(child->control_fd, message, size, MSG_DONTWAIT | MSG_NOSIGNAL);

    return count < 0 ? -errno : 0;
}

long child_receive(const struct child *child, void *room, struct child_fds *ret_fds)
{
    struct child_fds received = { .count = 0 };
    long size = receive(child->control_fd, room, CHILD_MESSAGE_MAX, MSG_DONTWAIT, &received);

    if (size > 0 && size < (long)sizeof(uint32_t))
        size = -EPROTO;
    if (size < 0 || !ret_fds)
        child_fds_close(&received);
    if (ret_fds)
        *ret_fds = received;
    return size;
}

/* Starting a child and talking to it.
 *
 * Happy path: a control socket and a log socket, fork, exec from a descriptor, HELLO; then log
 * lines and messages come until the process ends and its owner calls control_free(). What fails
 * before the exec is seen as an exit with 127. */
#include "proxy/control.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gatepost_build.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define FD_BASE          10 /* our descriptors stay clear of those that a child is given */
#define LOG_SOCKET_BYTES (1024 * 1024) /* hundreds of long lines; guessed */
#define LINES_PER_EVENT  64            /* then other children's lines get their turn */
#define LAST_LINES       4096          /* of a child that is gone; what it forked may still write */

struct control {
    pid_t pid;
    int control_fd, log_fd;
    uv_poll_t control_poll, log_poll;
    unsigned open_polls;
    control_message_cb *on_message;
    void *owner;
};

const char *control_program_name(enum control_program program)
{
    static const char *const names[CONTROL_PROGRAMS] = { "gatepost", "gatepost-smtpd",
                                                         "gatepost-pop3d" };

    return names[program];
}

/* Opens `path` for execution under a number that the child's own descriptors never have. */
static int open_executable(const char *path)
{
    int low = open(path, O_RDONLY | O_CLOEXEC), fd, r;
    struct stat status;

    if (low < 0)
        return -errno;
    if (fstat(low, &status) < 0 || !S_ISREG(status.st_mode) || !(status.st_mode & S_IXUSR)) {
        close(low);
        return -EACCES;
    }
    fd = fcntl(low, F_DUPFD_CLOEXEC, FD_BASE);
    r = fd < 0 ? -errno : fd;
    close(low);
    return r;
}

/* Beside the own binary, as the build tree has it, or where it is installed. */
static int open_worker(const char *name, bool wanted)
{
    char self[PATH_MAX], path[2 * PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", self, sizeof(self) - 1);
    const char *folder;
    int fd;

    if (length < 0)
        return -errno;
    self[length] = '\0';
    folder = dirname(self);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    fd = open_executable(path);
    if (fd == -ENOENT) {
        snprintf(path, sizeof(path), "%s/../backends/%s", folder, name);
        fd = open_executable(path);
    }
    if (fd == -ENOENT) {
        snprintf(path, sizeof(path), "%s/%s", GATEPOST_LIBEXECDIR, name);
        fd = open_executable(path);
    }
    if (fd < 0 && wanted)
        log_line(LOG_LEVEL_ERROR, "program %s, in %s or %s: %s", name, folder, GATEPOST_LIBEXECDIR,
                 err_text(fd));
    return fd;
}

int control_open_program(enum control_program program, bool wanted)
{
    int fd;

    if (program != CONTROL_PROXY)
        return open_worker(control_program_name(program), wanted);
    fd = open_executable("/proc/self/exe");
    if (fd < 0)
        log_line(LOG_LEVEL_ERROR, "/proc/self/exe: %s", err_text(fd));
    return fd;
}

/* -- the child, between fork and exec: only calls that are safe there -- */

static void reset_signals(void)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL); /* fails for KILL and STOP, as it must */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void become(int program_fd, int control_fd, char *const *argv)
{
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);

    setsid(); /* the terminal's Ctrl-C is for the supervisor, and a kill reaches the child's own
                 children */
    umask(0077);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 || dup2(null_fd, STDOUT_FILENO) < 0 ||
        dup2(control_fd, CHILD_CONTROL_FD) < 0)
        _exit(127);
    close_range(CHILD_CONTROL_FD + 1, ~0U, CLOSE_RANGE_CLOEXEC);
    reset_signals();
    fexecve(program_fd, argv, environ);
    _exit(127);
}

/* Signals are held until the child has no handler of ours: one that came in between would seem to
 * be for the supervisor. */
static pid_t spawn(int program_fd, int control_fd, char *const *argv)
{
    sigset_t all, before;
    pid_t pid;
    int r;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        become(program_fd, control_fd, argv);
    r = -errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? r : pid;
}

/* -- its channels -- */

/* Passes on the lines that are waiting, at most `limit`. */
static void relay_lines(int fd, unsigned limit)
{
    char room[LOG_DATAGRAM_MAX];

    for (unsigned i = 0; i < limit; i++) {
        ssize_t size = recv(fd, room, sizeof(room), MSG_DONTWAIT);

        if (size < 1)
            return;
        log_relay(room, (size_t)size);
    }
}

static void log_event(uv_poll_t *poll, int status, int events)
{
    struct control *control = poll->data;

    (void)events;
    if (status < 0)
        uv_poll_stop(poll);
    else
        relay_lines(control->log_fd, LINES_PER_EVENT);
}

static void control_event(uv_poll_t *poll, int status, int events)
{
    struct control *control = poll->data;
    unsigned char room[CHILD_MESSAGE_MAX];
    ssize_t size = status < 0 ? 0 : recv(control->control_fd, room, sizeof(room), MSG_DONTWAIT);

    (void)events;
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < (ssize_t)sizeof(uint32_t)) {
        uv_poll_stop(poll); /* it has closed the channel: its end comes as SIGCHLD */
        return;
    }
    control->on_message(control->owner, span_of(room, (size_t)size));
}

/* A pair of sockets; [0] stays here, [1] is the child's. */
static int make_pair(int type, int ret_pair[2])
{
    int pair[2], high, r;

    if (socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    high = fcntl(pair[1], F_DUPFD_CLOEXEC, FD_BASE);
    r = -errno;
    close(pair[1]);
    if (high < 0) {
        close(pair[0]);
        return r;
    }
    ret_pair[0] = pair[0];
    ret_pair[1] = high;
    return 0;
}

/* What lines may wait: the kernel counts them against the sender. */
static void enlarge(const int pair[2])
{
    int size = LOG_SOCKET_BYTES;

    if (setsockopt(pair[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) < 0)
        setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
    setsockopt(pair[0], SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

/* One message, and `count` descriptors with it. */
static int send_with(const struct control *control, struct span octets, const int *fds,
                     size_t count)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(CHILD_FDS_MAX * sizeof(int))];
    } rights = { .room = { 0 } };
    struct iovec part = { (void *)(uintptr_t)octets.data, octets.size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
    struct cmsghdr *head;

    if (count > 0) {
        message.msg_control = &rights;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        head = CMSG_FIRSTHDR(&message);
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    }
    return sendmsg(control->control_fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static int send_hello(const struct control *control, const struct control_start *start, int log_fd)
{
    int fds[CHILD_FDS_MAX];
    size_t count = 0;

    if (start->hello->listener_count + 3 > CHILD_FDS_MAX)
        return -E2BIG;
    fds[count++] = log_fd;
    fds[count++] = start->bundle_fd;
    if (start->shared_fd >= 0)
        fds[count++] = start->shared_fd;
    for (uint32_t i = 0; i < start->hello->listener_count; i++)
        fds[count++] = start->listeners[i];
    return send_with(control, span_of(start->hello, sizeof(*start->hello)), fds, count);
}

int control_send(struct control *control, const void *message, size_t size, int fd)
{
    return control_send_fds(control, message, size, &fd, fd >= 0 ? 1 : 0);
}

int control_send_fds(struct control *control, const void *message, size_t size, const int *fds,
                     size_t count)
{
    if (count > CHILD_FDS_MAX)
        return -E2BIG;
    return send_with(control, span_of(message, size), fds, count);
}

static int watch(uv_loop_t *loop, struct control *control)
{
    int r;

    control->control_poll.data = control->log_poll.data = control;
    r = uv_poll_init(loop, &control->control_poll, control->control_fd);
    if (r < 0)
        return r;
    control->open_polls++;
    r = uv_poll_init(loop, &control->log_poll, control->log_fd);
    if (r < 0)
        return r;
    control->open_polls++;
    r = uv_poll_start(&control->control_poll, UV_READABLE, control_event);
    return r < 0 ? r : uv_poll_start(&control->log_poll, UV_READABLE, log_event);
}

/* Forks the child and hands it its end of both sockets, which are closed here in any case. */
static int launch(struct control *control, const struct control_start *start, int control_end,
                  int log_end)
{
    static char worker[] = "--worker";
    char name[32];
    char *argv[] = { name, start->program == CONTROL_PROXY ? worker : NULL, NULL };
    int r;

    snprintf(name, sizeof(name), "%s", control_program_name(start->program));
    r = spawn(start->program_fd, control_end, argv);
    close(control_end);
    if (r > 0) {
        control->pid = r;
        r = send_hello(control, start, log_end);
    }
    close(log_end);
    return r;
}

int control_start(uv_loop_t *loop, const struct control_start *start, struct control **ret_control)
{
    struct control *control = calloc(1, sizeof(*control));
    int control_pair[2] = { -1, -1 }, log_pair[2] = { -1, -1 }, r;

    if (!control)
        return -ENOMEM;
    r = make_pair(SOCK_SEQPACKET, control_pair);
    if (r < 0)
        goto free_control;
    r = make_pair(SOCK_DGRAM, log_pair);
    if (r < 0)
        goto close_control;
    enlarge(log_pair);
    *control = (struct control){ .control_fd = control_pair[0],
                                 .log_fd = log_pair[0],
                                 .on_message = start->on_message,
                                 .owner = start->owner };
    r = launch(control, start, control_pair[1], log_pair[1]);
    if (r == 0)
        r = watch(loop, control);
    if (r < 0) {
        if (control->pid > 0) {
            control_kill(control);
            waitpid(control->pid, NULL, 0); /* nobody else knows of it */
        }
        control_free(control);
        return r;
    }
    *ret_control = control;
    return 0;

close_control:
    close(control_pair[0]);
    close(control_pair[1]);
free_control:
    free(control);
    return r;
}

pid_t control_pid(const struct control *control)
{
    return control->pid;
}

void control_kill(struct control *control)
{
    kill(control->pid, SIGKILL); /* before its setsid() there is no group of that number */
    kill(-control->pid, SIGKILL);
}

static void poll_closed(uv_handle_t *handle)
{
    struct control *control = handle->data;

    if (--control->open_polls == 0)
        free(control);
}

void control_free(struct control *control)
{
    if (!control)
        return;
    relay_lines(control->log_fd, LAST_LINES);
    if (control->open_polls > 0)
        uv_close((uv_handle_t *)&control->control_poll, poll_closed);
    if (control->open_polls > 1)
        uv_close((uv_handle_t *)&control->log_poll, poll_closed);
    close(control->control_fd);
    close(control->log_fd);
    if (control->open_polls == 0)
        free(control);
}

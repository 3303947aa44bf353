/* The start of a child: each row is a process that was started in some way, right or wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/child.h"
#include "proxy/base/log.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define SOME_ID      65533 /* no user needs to have it */

/* In the child: leaves with the line of the first thing that is wrong, from 1. */
#define IN_CHILD(condition)                                                                        \
    do {                                                                                           \
        if (!(condition))                                                                          \
            _exit(__LINE__ % 254 + 1);                                                             \
    } while (0)

/* What the test, as the supervisor, holds. */
struct stage {
    int control[2], log[2];
    int bundle, shared, listeners[2];
    struct child_hello hello;
};

static void stage_init(struct stage *stage)
{
    *stage = (struct stage){ .hello = { .type = CHILD_HELLO,
                                        .index = 3,
                                        .supervisor_pid = getpid(),
                                        .listener_count = 2,
                                        .drain_ms = 1000 } };
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, stage->control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, stage->log), 0);
    stage->bundle = open("/dev/null", O_RDWR | O_CLOEXEC);
    stage->shared = open("/dev/zero", O_RDWR | O_CLOEXEC);
    for (int i = 0; i < 2; i++) /* descriptors of different files, to tell their order */
        stage->listeners[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    snprintf(stage->hello.build, sizeof(stage->hello.build), "%s", child_build());
}

static void stage_deinit(struct stage *stage)
{
    for (int i = 0; i < 2; i++) {
        if (stage->control[i] >= 0)
            close(stage->control[i]);
        close(stage->log[i]);
        close(stage->listeners[i]);
    }
    close(stage->bundle);
    close(stage->shared);
}

static void send_message(int socket_fd, const void *octets, size_t size, const int *fds,
                         size_t count)
{
    char room[CMSG_SPACE(16 * sizeof(int))] __attribute__((aligned(8))) = { 0 };
    struct iovec part = { (void *)(uintptr_t)octets, size };
    struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

    if (count > 0) {
        struct cmsghdr *head = (struct cmsghdr *)room;

        message.msg_control = room;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        head->cmsg_level = SOL_SOCKET;
        head->cmsg_type = SCM_RIGHTS;
        head->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(head), fds, count * sizeof(int));
    }
    assert_int_equal(sendmsg(socket_fd, &message, MSG_NOSIGNAL), size);
}

/* HELLO with log, bundle, shared memory or not, and the listeners. */
static void send_hello(struct stage *stage, bool shared)
{
    int fds[5], count = 0;

    fds[count++] = stage->log[1];
    fds[count++] = stage->bundle;
    if (shared)
        fds[count++] = stage->shared;
    fds[count++] = stage->listeners[0];
    fds[count++] = stage->listeners[1];
    send_message(stage->control[0], &stage->hello, sizeof(stage->hello), fds, (size_t)count);
}

/* Forks a process with `fd` as its control channel that runs `body` and tells its result. */
static pid_t start(struct stage *stage, int fd, void (*body)(const struct stage *stage))
{
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        int null_fd = open("/dev/null", O_WRONLY), high = fcntl(fd, F_DUPFD_CLOEXEC, 20);

        dup2(null_fd, STDERR_FILENO); /* refusals are said there; the tests read the log socket */
        close(stage->control[0]);
        dup2(high, CHILD_CONTROL_FD);
        body(stage);
        _exit(0);
    }
    return pid;
}

static int end_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static bool same_file(int a, int b)
{
    struct stat first, second;

    return fstat(a, &first) == 0 && fstat(b, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino && first.st_rdev == second.st_rdev;
}

static void expect_all_in_place(const struct stage *stage, const struct child *child)
{
    IN_CHILD(child->control_fd == CHILD_CONTROL_FD);
    IN_CHILD(child->hello.index == 3 && child->hello.listener_count == 2);
    IN_CHILD(same_file(child->bundle_fd, stage->bundle));
    IN_CHILD(same_file(child->log_fd, stage->log[1]));
    IN_CHILD(same_file(child->listeners[0], stage->listeners[0]));
    IN_CHILD(same_file(child->listeners[1], stage->listeners[1]));
    IN_CHILD(fcntl(child->control_fd, F_GETFD) & FD_CLOEXEC);
    IN_CHILD(fcntl(child->bundle_fd, F_GETFD) & FD_CLOEXEC);
    IN_CHILD(fcntl(child->listeners[1], F_GETFD) & FD_CLOEXEC);
}

static void expect_good_start(const struct stage *stage)
{
    struct sigaction action;
    struct child child;
    int death_signal;

    IN_CHILD(child_start("test", &child) == 0);
    expect_all_in_place(stage, &child);
    IN_CHILD(same_file(child.shared_fd, stage->shared));
    IN_CHILD(prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
    IN_CHILD(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
    IN_CHILD(prctl(PR_GET_PDEATHSIG, &death_signal, 0, 0, 0) == 0 && death_signal == SIGTERM);
    IN_CHILD(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
    IN_CHILD(raise(SIGTERM) == 0); /* lives on: its drain is told by the control channel */
    log_line(LOG_LEVEL_NOTICE, "a line");
    IN_CHILD(child_send(&child, CHILD_READY) == 0);
}

static void a_child_that_is_started_right_has_all_and_no_way_back(void **state)
{
    struct stage stage;
    char line[100] = "";
    uint32_t type = 0;
    pid_t pid;

    (void)state;
    stage_init(&stage);
    send_hello(&stage, true);
    pid = start(&stage, stage.control[1], expect_good_start);
    assert_int_equal(end_of(pid), 0);
    assert_int_equal(recv(stage.control[0], &type, sizeof(type), MSG_DONTWAIT), 4);
    assert_int_equal(type, CHILD_READY);
    assert_true(recv(stage.log[0], line, sizeof(line) - 1, MSG_DONTWAIT) > 0);
    assert_string_equal(line, "2test: a line");
    stage_deinit(&stage);
}

static void expect_no_shared(const struct stage *stage)
{
    struct child child;

    IN_CHILD(child_start("test", &child) == 0);
    expect_all_in_place(stage, &child);
    IN_CHILD(child.shared_fd == -1);
}

static void a_child_without_shared_memory_has_the_same_listeners(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    send_hello(&stage, false);
    assert_int_equal(end_of(start(&stage, stage.control[1], expect_no_shared)), 0);
    stage_deinit(&stage);
}

/* As root it changes; anybody else cannot, and then the child must not run. */
static void expect_dropped(const struct stage *stage)
{
    gid_t groups[8];
    uid_t ruid, euid, suid;
    gid_t rgid, egid, sgid;
    struct child child;
    bool root = geteuid() == 0;
    int r = child_start("test", &child);

    (void)stage;
    if (!root) {
        IN_CHILD(r == -EPERM);
        return;
    }
    IN_CHILD(r == 0);
    IN_CHILD(getresuid(&ruid, &euid, &suid) == 0 && ruid == SOME_ID && euid == SOME_ID &&
             suid == SOME_ID);
    IN_CHILD(getresgid(&rgid, &egid, &sgid) == 0 && rgid == SOME_ID - 1 && egid == SOME_ID - 1 &&
             sgid == SOME_ID - 1);
    IN_CHILD(getgroups(COUNT(groups), groups) == 2 && groups[0] == 7 && groups[1] == 9);
    IN_CHILD(setuid(0) == -1 && setgid(0) == -1 && setgroups(0, NULL) == -1);
    IN_CHILD(prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 0);
}

static void a_child_becomes_the_user_and_the_groups_that_it_is_told(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    stage.hello.drop = 1;
    stage.hello.uid = SOME_ID;
    stage.hello.gid = SOME_ID - 1;
    stage.hello.group_count = 2;
    stage.hello.groups[0] = 7;
    stage.hello.groups[1] = 9;
    send_hello(&stage, true);
    assert_int_equal(end_of(start(&stage, stage.control[1], expect_dropped)), 0);
    stage_deinit(&stage);
}

static void expect_protocol_error(const struct stage *stage)
{
    struct child child;

    (void)stage;
    IN_CHILD(child_start("test", &child) == -EPROTO);
    IN_CHILD(geteuid() == getuid());
}

static void a_child_of_another_build_says_so_and_does_not_run(void **state)
{
    struct stage stage;
    char line[300] = "";

    (void)state;
    stage_init(&stage);
    snprintf(stage.hello.build, sizeof(stage.hello.build), "0.0.1 older");
    send_hello(&stage, true);
    assert_int_equal(end_of(start(&stage, stage.control[1], expect_protocol_error)), 0);
    assert_true(recv(stage.log[0], line, sizeof(line) - 1, MSG_DONTWAIT) > 0);
    assert_non_null(strstr(line, "0.0.1 older"));
    assert_non_null(strstr(line, child_build()));
    stage_deinit(&stage);
}

static void what_is_no_hello_starts_nothing(void **state)
{
    enum { KEEP, ANOTHER_TYPE, SHORT, LONG, NO_FDS, FEW_FDS, MANY_FDS, GROUPS, LISTENERS, BUILD };
    static const struct {
        const char *what;
        int how;
    } rows[] = {
        { "another type", ANOTHER_TYPE },
        { "a short message", SHORT },
        { "a message that is too long", LONG },
        { "no descriptors", NO_FDS },
        { "fewer descriptors than listeners", FEW_FDS },
        { "more descriptors than listeners", MANY_FDS },
        { "more groups than there is room for", GROUPS },
        { "a count of listeners that wraps", LISTENERS },
        { "a build without an end", BUILD },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char octets[sizeof(struct child_hello) + 8] = { 0 };
        size_t size = sizeof(struct child_hello), count = 5;
        struct stage stage;
        int code;

        stage_init(&stage);
        int fds[6] = { stage.log[1],       stage.bundle,       stage.shared,
                       stage.listeners[0], stage.listeners[1], stage.shared };

        if (rows[i].how == ANOTHER_TYPE)
            stage.hello.type = CHILD_READY;
        if (rows[i].how == GROUPS)
            stage.hello.group_count = CHILD_GROUPS_MAX + 1;
        if (rows[i].how == LISTENERS)
            stage.hello.listener_count = 0xfffffffe;
        if (rows[i].how == BUILD)
            memset(stage.hello.build, 'b', sizeof(stage.hello.build));
        size += rows[i].how == LONG ? 8 : rows[i].how == SHORT ? (size_t)-1 : 0;
        count = rows[i].how == NO_FDS     ? 0
                : rows[i].how == FEW_FDS  ? 3
                : rows[i].how == MANY_FDS ? 6
                                          : count;
        memcpy(octets, &stage.hello, sizeof(stage.hello));
        send_message(stage.control[0], octets, size, fds, count);
        code = end_of(start(&stage, stage.control[1], expect_protocol_error));
        if (code != 0)
            print_error("%s: line %d\n", rows[i].what, code);
        assert_int_equal(code, 0);
        stage_deinit(&stage);
    }
}

static void a_child_whose_supervisor_is_gone_ends(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    close(stage.control[0]);
    stage.control[0] = -1;
    assert_int_equal(end_of(start(&stage, stage.control[1], expect_protocol_error)), 0);
    stage_deinit(&stage);
}

static void a_program_started_by_hand_is_refused(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    assert_int_equal(end_of(start(&stage, stage.bundle, expect_protocol_error)), 0);
    stage_deinit(&stage);
}

static void expect_orphan(const struct stage *stage)
{
    struct child child;

    (void)stage;
    IN_CHILD(child_start("test", &child) == -ESRCH);
}

static void a_child_of_another_parent_than_the_sender_ends(void **state)
{
    struct stage stage;

    (void)state;
    stage_init(&stage);
    stage.hello.supervisor_pid = getppid();
    send_hello(&stage, true);
    assert_int_equal(end_of(start(&stage, stage.control[1], expect_orphan)), 0);
    stage_deinit(&stage);
}

static size_t open_descriptors(void)
{
    size_t count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

static void messages_are_received_whole_and_descriptors_with_them_are_closed(void **state)
{
    unsigned char room[CHILD_MESSAGE_MAX], large[CHILD_MESSAGE_MAX + 1] = { CHILD_KEYS };
    uint32_t drain = CHILD_DRAIN;
    struct stage stage;
    size_t before;

    (void)state;
    stage_init(&stage);
    struct child child = { .control_fd = stage.control[1] };

    before = open_descriptors();
    assert_int_equal(child_receive(&child, room, NULL), -EAGAIN);
    send_message(stage.control[0], &drain, sizeof(drain), NULL, 0);
    assert_int_equal(child_receive(&child, room, NULL), 4);
    assert_memory_equal(room, &drain, sizeof(drain));
    send_message(stage.control[0], &drain, sizeof(drain), &stage.bundle, 1);
    assert_int_equal(child_receive(&child, room, NULL), 4);
    send_message(stage.control[0], &drain, 3, NULL, 0);
    assert_int_equal(child_receive(&child, room, NULL), -EPROTO);
    send_message(stage.control[0], large, CHILD_MESSAGE_MAX, NULL, 0);
    assert_int_equal(child_receive(&child, room, NULL), CHILD_MESSAGE_MAX);
    send_message(stage.control[0], large, sizeof(large), NULL, 0);
    assert_int_equal(child_receive(&child, room, NULL), -EPROTO);
    assert_int_equal(child_receive(&child, room, NULL), -EAGAIN);
    assert_int_equal(open_descriptors(), before);
    close(stage.control[0]);
    stage.control[0] = -1;
    assert_int_equal(child_receive(&child, room, NULL), 0);
    assert_int_equal(child_send(&child, CHILD_READY), -EPIPE);
    stage_deinit(&stage);
}

/* What came along is the caller's, all of it, unless the message is none. */
static void descriptors_that_are_asked_for_are_kept(void **state)
{
    static const struct row {
        size_t sent, kept, size;
        long result;
    } rows[] = {
        { 0, 0, 8, 8 },       { 1, 1, 8, 8 },       { 2, 2, 8, 8 },
        { 1, 0, 3, -EPROTO }, { 2, 0, 3, -EPROTO }, { 1, 0, CHILD_MESSAGE_MAX + 1, -EPROTO },
    };
    unsigned char room[CHILD_MESSAGE_MAX], message[CHILD_MESSAGE_MAX + 1] = { CHILD_ROUTE };
    struct child_fds received;
    struct stage stage;
    unsigned before;

    (void)state;
    stage_init(&stage);
    struct child child = { .control_fd = stage.control[1] };
    int fds[2] = { stage.bundle, stage.bundle };

    before = open_descriptors();
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        received.count = 77;
        send_message(stage.control[0], message, rows[i].size, fds, rows[i].sent);
        assert_int_equal(child_receive(&child, room, &received), rows[i].result);
        assert_int_equal(received.count, rows[i].kept);
        for (size_t k = 0; k < received.count; k++)
            assert_true(fcntl(received.fds[k], F_GETFD) & FD_CLOEXEC);
        child_fds_close(&received);
        assert_int_equal(received.count, 0);
        assert_int_equal(open_descriptors(), before);
    }
    received.count = 77;
    assert_int_equal(child_receive(&child, room, &received), -EAGAIN);
    assert_int_equal(received.count, 0);
    stage_deinit(&stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_that_is_started_right_has_all_and_no_way_back),
        cmocka_unit_test(a_child_without_shared_memory_has_the_same_listeners),
        cmocka_unit_test(a_child_becomes_the_user_and_the_groups_that_it_is_told),
        cmocka_unit_test(a_child_of_another_build_says_so_and_does_not_run),
        cmocka_unit_test(what_is_no_hello_starts_nothing),
        cmocka_unit_test(a_child_whose_supervisor_is_gone_ends),
        cmocka_unit_test(a_program_started_by_hand_is_refused),
        cmocka_unit_test(a_child_of_another_parent_than_the_sender_ends),
        cmocka_unit_test(messages_are_received_whole_and_descriptors_with_them_are_closed),
        cmocka_unit_test(descriptors_that_are_asked_for_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

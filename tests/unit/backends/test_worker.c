/* A worker as its supervisor sees it: the test starts one over a real control channel and listening
 * socket, with a session that answers each line, and looks at what clients get, at the log and at
 * the exit code. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/worker.h"
#include "proxy/base/bundle.h"
#include "proxy/base/child.h"
#include "tests/lib/folder.h"

#define HELLO_TEXT "hello\n"
#define BUSY       "busy\r\n"

static struct running {
    pid_t pid;
    int control; /* the supervisor's end */
    int log;
} worker;

/* ---- the worker ---- */

/* Greets, echoes, and says what it was told of the client; "crash" ends the process. */
static void echo_session(struct worker_session *session)
{
    char room[64];
    long size;

    connection_write(session->connection, span_of_text(HELLO_TEXT));
    while ((size = connection_read(session->connection, room, sizeof(room))) > 0) {
        struct span input = span_of(room, (size_t)size);

        if (span_equal(input, SPAN_LIT("crash\n")))
            raise(SIGKILL);
        if (span_equal(input, SPAN_LIT("id\n")))
            input = span_of_text(session->client.unique_id);
        if (span_equal(input, SPAN_LIT("quit\n")))
            break;
        connection_write(session->connection, input);
    }
    connection_write(session->connection, SPAN_LIT("bye\n")); /* sent when the session returns */
}

static const struct worker_program program = { "test-worker", BUSY, NULL, echo_session, NULL };

static void socket_address(struct sockaddr_un *address)
{
    *address = (struct sockaddr_un){ .sun_family = AF_UNIX };
    snprintf(address->sun_path, sizeof(address->sun_path), "%s/socket", folder);
}

static int make_listener(void)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    socket_address(&address);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fd, 64), 0);
    return fd;
}

static int make_bundle(unsigned max_sessions)
{
    char settings[512];
    int fd = bundle_create();

    snprintf(settings, sizeof(settings),
             "[gatepost]\nhostname = mail.example.org\n[mailstore]\npath = /nowhere\n"
             "max_sessions = %u\n[backend pop3]\naddress = embedded\n"
             "[listen pop3]\ntls = off\n[listen pop3s]\nenabled = no\n",
             max_sessions);
    assert_true(fd >= 0);
    assert_int_equal(bundle_add(fd, "settings", span_of_text(settings)), 0);
    assert_int_equal(bundle_add(fd, "listener", SPAN_LIT("pop3 unix")), 0);
    assert_int_equal(bundle_seal(fd), 0);
    return fd;
}

static void send_hello(int control, const int fds[3], uint32_t drain_ms)
{
    struct child_hello hello = {
        .type = CHILD_HELLO, .supervisor_pid = getpid(), .listener_count = 1, .drain_ms = drain_ms
    };
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(3 * sizeof(int))];
    } rights = { .head = { .cmsg_level = SOL_SOCKET,
                           .cmsg_type = SCM_RIGHTS,
                           .cmsg_len = CMSG_LEN(3 * sizeof(int)) } };
    struct iovec part = { &hello, sizeof(hello) };
    struct msghdr message = {
        .msg_iov = &part, .msg_iovlen = 1, .msg_control = &rights, .msg_controllen = sizeof(rights)
    };

    snprintf(hello.build, sizeof(hello.build), "%s", child_build());
    memcpy(CMSG_DATA(&rights.head), fds, 3 * sizeof(int));
    assert_int_equal(sendmsg(control, &message, 0), sizeof(hello));
}

/* A wait in this test ends sooner or later, also when nothing comes. */
static void limit_waits(int fd)
{
    struct timeval most = { .tv_sec = 20 };

    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof(most)), 0);
}

static void assert_message(enum child_message want)
{
    uint32_t type = 0;

    assert_int_equal(recv(worker.control, &type, sizeof(type), 0), sizeof(type));
    assert_int_equal(type, want);
}

static void start_worker(unsigned max_sessions, uint32_t drain_ms)
{
    int control[2], log[2], fds[3];

    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, control), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, log), 0);
    worker.pid = fork();
    if (worker.pid == 0) {
        dup2(control[1], CHILD_CONTROL_FD);
        closefrom(CHILD_CONTROL_FD + 1);
        _exit(worker_run(&program));
    }
    close(control[1]);
    worker.control = control[0];
    worker.log = log[0];
    limit_waits(worker.control);
    limit_waits(worker.log);
    fds[0] = log[1];
    fds[1] = make_bundle(max_sessions);
    fds[2] = make_listener();
    send_hello(worker.control, fds, drain_ms);
    for (int i = 0; i < 3; i++)
        close(fds[i]);
    assert_message(CHILD_READY);
}

static int setup(void **state)
{
    worker = (struct running){ .control = -1, .log = -1 };
    return folder_setup(state);
}

static int teardown(void **state)
{
    if (worker.pid > 0) {
        kill(worker.pid, SIGKILL);
        waitpid(worker.pid, NULL, 0);
    }
    if (worker.control >= 0)
        close(worker.control);
    if (worker.log >= 0)
        close(worker.log);
    return folder_teardown(state);
}

static void assert_worker_ends(int code)
{
    int status;

    assert_int_equal(waitpid(worker.pid, &status, 0), worker.pid);
    worker.pid = 0;
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), code);
}

/* Reads log lines up to one that holds `words`. */
static void await_log(const char *words)
{
    char line[4096];
    ssize_t size;

    do {
        size = recv(worker.log, line, sizeof(line) - 1, 0);
        assert_true(size > 0);
        line[size] = '\0';
    } while (!strstr(line, words));
}

/* ---- its clients ---- */

static int try_connect(void)
{
    struct sockaddr_un address;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    socket_address(&address);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0) {
        close(fd);
        return -1;
    }
    limit_waits(fd);
    return fd;
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void assert_hears(int fd, const char *text)
{
    char room[256] = "";

    assert_int_equal(recv(fd, room, strlen(text), MSG_WAITALL), strlen(text));
    assert_string_equal(room, text);
}

static void assert_closed(int fd)
{
    char octet;

    assert_true(recv(fd, &octet, 1, 0) <= 0); /* end, or reset */
    close(fd);
}

static int start_session(const char *id)
{
    struct proxy_v2 facts = { 0 };
    unsigned char header[PROXY_V2_HEADER_MAX];
    int fd = try_connect();
    long size;

    assert_true(fd >= 0);
    snprintf(facts.unique_id, sizeof(facts.unique_id), "%s", id);
    size = proxy_v2_write(&facts, header, sizeof(header));
    assert_int_equal(send(fd, header, (size_t)size, MSG_NOSIGNAL), size);
    return fd;
}

static void end_session(int fd)
{
    say(fd, "quit\n");
    assert_hears(fd, "bye\n");
    assert_closed(fd);
}

static void drain(void)
{
    uint32_t type = CHILD_DRAIN;

    assert_int_equal(send(worker.control, &type, sizeof(type), 0), sizeof(type));
}

/* Until the worker takes no more connections: it has read that it is to drain. */
static void await_refusal(void)
{
    int fd;

    while ((fd = try_connect()) >= 0)
        close(fd);
}

/* ---- tests ---- */

static void each_session_is_told_its_client(void **state)
{
    int first, second;

    (void)state;
    start_worker(10, 60000);
    first = start_session("one");
    second = start_session("two");
    assert_hears(first, HELLO_TEXT);
    assert_hears(second, HELLO_TEXT);
    say(second, "id\n");
    assert_hears(second, "two");
    say(first, "id\n");
    assert_hears(first, "one");
    end_session(first);
    say(second, "x\n");
    assert_hears(second, "x\n");
    end_session(second);
}

static void a_connection_without_a_header_gets_nothing(void **state)
{
    int fd;

    (void)state;
    start_worker(10, 60000);
    fd = try_connect();
    say(fd, "USER anna\r\n");
    await_log("without a PROXY header");
    assert_closed(fd);
}

static void beyond_max_sessions_a_client_is_told(void **state)
{
    int first, second, third;

    (void)state;
    start_worker(2, 60000);
    first = start_session("one");
    second = start_session("two");
    assert_hears(first, HELLO_TEXT);
    assert_hears(second, HELLO_TEXT);
    third = start_session("three");
    assert_hears(third, BUSY);
    assert_closed(third);
    await_log("max_sessions = 2");
    say(first, "crash\n");
    assert_closed(first);
    await_log("was ended by signal 9"); /* the place is free again */
    third = start_session("three");
    assert_hears(third, HELLO_TEXT);
    end_session(third);
    end_session(second);
}

static void a_session_that_crashes_costs_only_itself(void **state)
{
    int first, second;

    (void)state;
    start_worker(10, 60000);
    first = start_session("one");
    second = start_session("two");
    assert_hears(first, HELLO_TEXT);
    assert_hears(second, HELLO_TEXT);
    say(first, "crash\n");
    assert_closed(first);
    await_log("was ended by signal 9");
    say(second, "x\n");
    assert_hears(second, "x\n");
    end_session(second);
    first = start_session("three");
    assert_hears(first, HELLO_TEXT);
    end_session(first);
}

static void a_draining_worker_ends_with_its_last_session(void **state)
{
    int fd;

    (void)state;
    start_worker(10, 600000);
    fd = start_session("one");
    assert_hears(fd, HELLO_TEXT);
    drain();
    await_refusal();
    say(fd, "x\n");
    assert_hears(fd, "x\n");
    end_session(fd);
    assert_message(CHILD_DRAINED);
    assert_worker_ends(0);
}

static void a_worker_without_sessions_drains_at_once(void **state)
{
    (void)state;
    start_worker(10, 600000);
    drain();
    assert_message(CHILD_DRAINED);
    assert_worker_ends(0);
}

static void a_session_that_does_not_end_is_ended(void **state)
{
    int fd;

    (void)state;
    start_worker(10, 50);
    fd = start_session("one");
    assert_hears(fd, HELLO_TEXT);
    drain();
    await_log("1 sessions are ended");
    assert_message(CHILD_DRAINED);
    assert_closed(fd);
    assert_worker_ends(0);
}

static void without_its_supervisor_it_drains(void **state)
{
    int fd;

    (void)state;
    start_worker(10, 600000);
    fd = start_session("one");
    assert_hears(fd, HELLO_TEXT);
    close(worker.control);
    worker.control = -1;
    await_refusal();
    say(fd, "x\n");
    assert_hears(fd, "x\n");
    end_session(fd);
    assert_worker_ends(0);
}

static void without_descriptors_it_waits_for_some(void **state)
{
    struct rlimit before, none;
    int fd;

    (void)state;
    start_worker(10, 60000);
    assert_int_equal(prlimit(worker.pid, RLIMIT_NOFILE, NULL, &before), 0);
    none = before;
    none.rlim_cur = 4; /* poll() takes no more descriptors than this either */
    assert_int_equal(prlimit(worker.pid, RLIMIT_NOFILE, &none, NULL), 0);
    fd = start_session("one");
    await_log("accepting pauses");
    assert_int_equal(prlimit(worker.pid, RLIMIT_NOFILE, &before, NULL), 0);
    assert_hears(fd, HELLO_TEXT);
    end_session(fd);
}

static void a_session_process_can_be_told_from_its_parent(void **state)
{
    char path[64], name[32] = "", title[64] = "";
    pid_t child = 0;
    FILE *file;
    int fd;

    (void)state;
    start_worker(10, 60000);
    fd = start_session("one");
    assert_hears(fd, HELLO_TEXT);
    snprintf(path, sizeof(path), "/proc/%d/task/%d/children", worker.pid, worker.pid);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &child), 1);
    fclose(file);
    snprintf(path, sizeof(path), "/proc/%d/comm", child);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(name, sizeof(name), file));
    fclose(file);
    assert_string_equal(name, "test-worker: se\n"); /* the kernel keeps 15 characters */
    snprintf(path, sizeof(path), "/proc/%d/cmdline", child);
    file = fopen(path, "r");
    assert_non_null(file);
    assert_non_null(fgets(title, sizeof(title), file));
    fclose(file);
    assert_string_equal(title, "test-worker: session");
    end_session(fd);
}

#define ON_WORKER(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_WORKER(each_session_is_told_its_client),
        ON_WORKER(a_connection_without_a_header_gets_nothing),
        ON_WORKER(beyond_max_sessions_a_client_is_told),
        ON_WORKER(a_session_that_crashes_costs_only_itself),
        ON_WORKER(a_draining_worker_ends_with_its_last_session),
        ON_WORKER(a_worker_without_sessions_drains_at_once),
        ON_WORKER(a_session_that_does_not_end_is_ended),
        ON_WORKER(without_its_supervisor_it_drains),
        ON_WORKER(without_descriptors_it_waits_for_some),
        ON_WORKER(a_session_process_can_be_told_from_its_parent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Tests of proxy/notify.c: what arrives at the socket of a service manager, octet by octet. */
#include "proxy/notify.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/base/log.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static char folder[] = "/tmp/test_notify.XXXXXX", path[64];
static int manager;

/* A socket of the manager's at `name`; '@' begins an abstract one. */
static int listen_at(const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    strcpy(address.sun_path, name);
    if (name[0] == '@')
        address.sun_path[0] = '\0';
    assert_int_equal(bind(fd, (struct sockaddr *)&address,
                          (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name))),
                     0);
    return fd;
}

static int set_up(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/socket", folder);
    manager = listen_at(path);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    close(manager);
    unlink(path);
    return rmdir(folder);
}

/* Each test has the environment that a manager makes. */
static int as_a_service(void **state)
{
    (void)state;
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return setenv("NOTIFY_SOCKET", path, 1);
}

static const char *received(int fd)
{
    static char room[4096];
    ssize_t size = recv(fd, room, sizeof(room) - 1, MSG_DONTWAIT);

    if (size < 0)
        return NULL;
    room[size] = '\0';
    return room;
}

/* How many lines a call costs on standard error. */
static size_t lines_of(void (*call)(const struct notify *), const struct notify *notify)
{
    int before = dup(STDERR_FILENO), log = memfd_create("log", 0);
    char room[4096];
    ssize_t size;
    size_t lines = 0;

    dup2(log, STDERR_FILENO);
    call(notify);
    dup2(before, STDERR_FILENO);
    close(before);
    size = pread(log, room, sizeof(room), 0);
    for (ssize_t i = 0; i < size; i++)
        lines += room[i] == '\n';
    close(log);
    return lines;
}

static void messages_are_what_the_manager_understands(void **state)
{
    struct notify notify;

    (void)state;
    notify_init(&notify);
    notify_ready(&notify, "6 ports");
    assert_string_equal(received(manager), "READY=1\nSTATUS=6 ports");
    notify_status(&notify, "worker 1 is started again");
    assert_string_equal(received(manager), "STATUS=worker 1 is started again");
    notify_stopping(&notify, "ends", 31000);
    assert_string_equal(received(manager), "STOPPING=1\nEXTEND_TIMEOUT_USEC=31000000\nSTATUS=ends");
    notify_alive(&notify);
    assert_string_equal(received(manager), "WATCHDOG=1");
    assert_null(received(manager));
    notify_deinit(&notify);
}

static uint64_t monotonic_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

static void a_reload_carries_the_time_at_which_it_began(void **state)
{
    uint64_t before = monotonic_us(), told;
    struct notify notify;

    (void)state;
    notify_init(&notify);
    notify_reloading(&notify);
    assert_int_equal(
        sscanf(received(manager), "RELOADING=1\nMONOTONIC_USEC=%" SCNu64 "\nSTATUS=", &told), 1);
    assert_true(told >= before && told <= monotonic_us());
    notify_deinit(&notify);
}

static void an_abstract_socket_is_reached(void **state)
{
    char name[64];
    struct notify notify;
    int fd;

    (void)state;
    snprintf(name, sizeof(name), "@test-notify-%d", (int)getpid());
    fd = listen_at(name);
    setenv("NOTIFY_SOCKET", name, 1);
    notify_init(&notify);
    notify_alive(&notify);
    assert_string_equal(received(fd), "WATCHDOG=1");
    notify_deinit(&notify);
    close(fd);
}

static void a_status_cannot_smuggle_in_another_field(void **state)
{
    struct notify notify;

    (void)state;
    notify_init(&notify);
    notify_ready(&notify, "a\nSTOPPING=1\r\x01\x7f\xc3\xa4");
    assert_string_equal(received(manager), "READY=1\nSTATUS=a STOPPING=1   \xc3\xa4");
    notify_deinit(&notify);
}

static void a_status_that_is_too_long_is_cut(void **state)
{
    static char status[8192];
    struct notify notify;
    const char *message;

    (void)state;
    memset(status, 'x', sizeof(status) - 1);
    notify_init(&notify);
    notify_ready(&notify, status);
    message = received(manager);
    assert_memory_equal(message, "READY=1\nSTATUS=xxx", 18);
    assert_true(strlen(message) < sizeof(status) / 2);
    notify_deinit(&notify);
}

static void children_inherit_no_way_to_speak_in_our_name(void **state)
{
    struct notify notify;

    (void)state;
    setenv("WATCHDOG_USEC", "1000000", 1);
    setenv("WATCHDOG_PID", "1", 1);
    notify_init(&notify);
    assert_null(getenv("NOTIFY_SOCKET"));
    assert_null(getenv("WATCHDOG_USEC"));
    assert_null(getenv("WATCHDOG_PID"));
    assert_int_equal(fcntl(notify.fd, F_GETFD), FD_CLOEXEC);
    notify_deinit(&notify);
}

/* `pid`: "" none, "own", or as it stands. */
static const struct watchdog_row {
    const char *name, *interval_us, *pid;
    uint64_t expected_ms;
} watchdogs[] = {
    { "none is set", NULL, "", 0 },
    { "of half a minute", "30000000", "own", 30000 },
    { "without a pid, as older managers have it", "30000000", "", 30000 },
    { "of another process", "30000000", "1", 0 },
    { "of a pid that is none", "30000000", "x", 0 },
    { "shorter than we can count", "5", "own", 1 },
    { "of no time", "0", "own", 0 },
    { "of a negative time", "-5", "own", 0 },
    { "that is no number", "30s", "own", 0 },
    { "that is empty", "", "own", 0 },
    { "that is beyond all numbers", "99999999999999999999999", "own", 0 },
};

static void a_watchdog_is_what_the_manager_set_for_this_process(void **state)
{
    for (size_t i = 0; i < COUNT(watchdogs); i++) {
        const struct watchdog_row *row = &watchdogs[i];
        struct notify notify;
        char own[16];

        as_a_service(state);
        snprintf(own, sizeof(own), "%d", (int)getpid());
        if (row->interval_us)
            setenv("WATCHDOG_USEC", row->interval_us, 1);
        if (row->pid[0])
            setenv("WATCHDOG_PID", strcmp(row->pid, "own") == 0 ? own : row->pid, 1);
        notify_init(&notify);
        if (notify.watchdog_ms != row->expected_ms)
            fail_msg("a watchdog %s: %" PRIu64 " ms", row->name, notify.watchdog_ms);
        notify_deinit(&notify);
    }
}

static void without_a_manager_nothing_is_sent_and_nothing_said(void **state)
{
    struct notify notify;

    (void)state;
    unsetenv("NOTIFY_SOCKET");
    setenv("WATCHDOG_USEC", "1000000", 1);
    notify_init(&notify);
    assert_int_equal(notify.fd, -1);
    assert_int_equal(notify.watchdog_ms, 0);
    assert_int_equal(lines_of(notify_alive, &notify), 0);
    assert_int_equal(lines_of(notify_reloading, &notify), 0);
    notify_deinit(&notify);
}

static void init_again(const struct notify *notify)
{
    struct notify another;

    (void)notify;
    notify_init(&another);
    assert_int_equal(another.fd, -1);
    assert_int_equal(another.watchdog_ms, 0);
    notify_deinit(&another);
}

static void a_socket_of_another_kind_costs_one_line(void **state)
{
    static const char *const names[] = { "vsock:2:1234", "relative/path", "@", "/", "" };
    char longest[256] = "/";

    memset(longest + 1, 'x', sizeof(longest) - 2);
    for (size_t i = 0; i <= COUNT(names); i++) {
        as_a_service(state);
        setenv("NOTIFY_SOCKET", i < COUNT(names) ? names[i] : longest, 1);
        setenv("WATCHDOG_USEC", "1000000", 1);
        assert_int_equal(lines_of(init_again, NULL), 1);
        assert_null(getenv("NOTIFY_SOCKET"));
    }
}

static void a_manager_that_is_gone_costs_one_line_a_message(void **state)
{
    struct notify notify;

    (void)state;
    setenv("NOTIFY_SOCKET", "/nowhere/at/all", 1);
    notify_init(&notify);
    assert_int_equal(lines_of(notify_alive, &notify), 1);
    assert_int_equal(lines_of(notify_reloading, &notify), 1);
    notify_deinit(&notify);
}

/* It has answered nothing for long: its queue is full. */
static void a_manager_that_does_not_read_holds_nobody_up_for_ever(void **state)
{
    struct notify notify;
    size_t lost = 0;

    (void)state;
    notify_init(&notify);
    for (int i = 0; i < 5000 && lost == 0; i++)
        lost = lines_of(notify_alive, &notify);
    assert_int_equal(lost, 1);
    assert_int_equal(lines_of(notify_reloading, &notify), 1); /* after SO_SNDTIMEO */
    while (received(manager))
        ;
    assert_int_equal(lines_of(notify_reloading, &notify), 0);
    assert_non_null(received(manager));
    notify_deinit(&notify);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(messages_are_what_the_manager_understands, as_a_service),
        cmocka_unit_test_setup(a_reload_carries_the_time_at_which_it_began, as_a_service),
        cmocka_unit_test_setup(an_abstract_socket_is_reached, as_a_service),
        cmocka_unit_test_setup(a_status_cannot_smuggle_in_another_field, as_a_service),
        cmocka_unit_test_setup(a_status_that_is_too_long_is_cut, as_a_service),
        cmocka_unit_test_setup(children_inherit_no_way_to_speak_in_our_name, as_a_service),
        cmocka_unit_test_setup(a_watchdog_is_what_the_manager_set_for_this_process, as_a_service),
        cmocka_unit_test_setup(without_a_manager_nothing_is_sent_and_nothing_said, as_a_service),
        cmocka_unit_test_setup(a_socket_of_another_kind_costs_one_line, as_a_service),
        cmocka_unit_test_setup(a_manager_that_is_gone_costs_one_line_a_message, as_a_service),
        cmocka_unit_test_setup(a_manager_that_does_not_read_holds_nobody_up_for_ever, as_a_service),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}

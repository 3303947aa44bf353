/* Tests of proxy/activation.c: real sockets at the numbers at which a service manager passes them.
 */
#include "proxy/activation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#include "conf/settings.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define SOCKETS_MAX  4

enum kind { TCP4, TCP6, DUAL, UNBOUND, UDP, UNIX, PLAIN_FILE, CLOSED };

/* What the manager passes, from descriptor 3 on; `port` 0 lets the kernel choose. */
static unsigned ports[SOCKETS_MAX];

static int bound_socket(int family, int type, bool any, bool only6)
{
    struct sockaddr_in four = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    int fd = socket(family, type, 0), value = only6;

    if (any)
        six.sin6_addr = in6addr_any;
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &value, sizeof(value));
    assert_int_equal(family == AF_INET6 ? bind(fd, (struct sockaddr *)&six, sizeof(six))
                                        : bind(fd, (struct sockaddr *)&four, sizeof(four)),
                     0);
    return fd;
}

static int unix_listener(void)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX }; /* abstract, and named by the kernel */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static int open_kind(enum kind kind)
{
    int fd = -1;

    switch (kind) {
    case TCP4:
        fd = bound_socket(AF_INET, SOCK_STREAM, false, false);
        break;
    case TCP6:
        fd = bound_socket(AF_INET6, SOCK_STREAM, true, true);
        break;
    case DUAL:
        fd = bound_socket(AF_INET6, SOCK_STREAM, true, false);
        break;
    case UNBOUND:
        return bound_socket(AF_INET, SOCK_STREAM, false, false); /* and it does not listen */
    case UDP:
        return bound_socket(AF_INET, SOCK_DGRAM, false, false);
    case UNIX:
        return unix_listener();
    case PLAIN_FILE:
        return open("/dev/null", O_RDWR);
    case CLOSED:
        return -1;
    }
    assert_int_equal(listen(fd, 1), 0);
    return fd;
}

static unsigned port_of(int fd)
{
    struct sockaddr_storage address = { 0 };
    socklen_t size = sizeof(address);

    getsockname(fd, (struct sockaddr *)&address, &size);
    return ntohs(
        ((struct sockaddr_in *)&address)->sin_port); /* in_port_t stands at the same place */
}

static void say(const char *pid, const char *fds, const char *names)
{
    setenv("LISTEN_PID", pid, 1);
    setenv("LISTEN_FDS", fds, 1);
    if (names)
        setenv("LISTEN_FDNAMES", names, 1);
}

static void say_own(const char *fds, const char *names)
{
    char pid[16];

    snprintf(pid, sizeof(pid), "%d", (int)getpid());
    say(pid, fds, names);
}

/* Puts the kinds at 3, 4, ...; what was there is closed. */
static void pass(const enum kind *kinds, size_t count, const char *names)
{
    char fds[8];

    close_range(3, ~0U, 0);
    for (size_t i = 0; i < count; i++) {
        int wanted = 3 + (int)i, fd = open_kind(kinds[i]);

        if (fd >= 0 && fd != wanted) {
            dup2(fd, wanted);
            close(fd);
        }
        ports[i] = port_of(wanted);
    }
    snprintf(fds, sizeof(fds), "%zu", count);
    say_own(fds, names);
}

static struct sockaddr_storage loopback4(unsigned port)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in four;
    } address = { .four = { .sin_family = AF_INET,
                            .sin_port = htons((uint16_t)port),
                            .sin_addr.s_addr = htonl(INADDR_LOOPBACK) } };

    return address.any;
}

static struct sockaddr_storage six(struct in6_addr host, unsigned port)
{
    union {
        struct sockaddr_storage any;
        struct sockaddr_in6 six;
    } address = {
        .six = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = host }
    };

    return address.any;
}

/* Standard error of what is between these two. */
static int log_before, log_memory;

static void listen_to_log(void)
{
    int low;

    log_before = fcntl(STDERR_FILENO, F_DUPFD, 100);
    low = memfd_create("log", 0);
    log_memory = fcntl(low, F_DUPFD, 100);
    close(low); /* the numbers from 3 on are the test's */
    dup2(log_memory, STDERR_FILENO);
}

static const char *logged(void)
{
    static char room[8192];
    ssize_t size = pread(log_memory, room, sizeof(room) - 1, 0);

    dup2(log_before, STDERR_FILENO);
    close(log_before);
    close(log_memory);
    room[size > 0 ? size : 0] = '\0';
    return room;
}

static void a_socket_goes_to_the_listener_of_its_address(void **state)
{
    struct activation activation;
    struct sockaddr_storage address;
    int fd;

    (void)state;
    pass((enum kind[]){ TCP4, TCP6 }, 2, NULL);
    assert_int_equal(activation_init(&activation), 0);
    address = six(in6addr_any, ports[1]);
    fd = activation_take(&activation, &address, 10);
    assert_true(fd > 4);
    assert_int_equal(port_of(fd), ports[1]);
    assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
    assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
    assert_int_equal(fcntl(3, F_GETFD), FD_CLOEXEC);
    assert_int_equal(fcntl(4, F_GETFD), FD_CLOEXEC);
    close(fd);
    activation_deinit(&activation);
    assert_int_equal(fcntl(3, F_GETFD), -1);
}

static void a_socket_of_another_address_port_or_family_is_not_taken(void **state)
{
    struct activation activation;
    struct sockaddr_storage wrong[5];

    (void)state;
    pass((enum kind[]){ TCP4, TCP6 }, 2, NULL);
    assert_int_equal(activation_init(&activation), 0);
    wrong[0] = loopback4(ports[0] ^ 1);
    wrong[1] = loopback4(ports[1]);
    wrong[2] = six(in6addr_any, ports[0]);
    wrong[3] = six(in6addr_loopback, ports[1]);
    wrong[4] = loopback4(ports[0]);
    ((struct sockaddr_in *)&wrong[4])->sin_addr.s_addr = htonl(INADDR_ANY);
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_int_equal(activation_take(&activation, &wrong[i], 10), -ENOENT);
    activation_deinit(&activation);
}

/* A reload closes it, and another opens the same again. */
static void a_socket_can_be_taken_again(void **state)
{
    struct activation activation;
    struct sockaddr_storage address;
    int first, second;

    (void)state;
    pass((enum kind[]){ TCP4 }, 1, NULL);
    assert_int_equal(activation_init(&activation), 0);
    address = loopback4(ports[0]);
    first = activation_take(&activation, &address, 10);
    close(first);
    second = activation_take(&activation, &address, 10);
    assert_int_equal(port_of(second), ports[0]);
    close(second);
    activation_deinit(&activation);
}

static void children_inherit_no_claim_to_the_sockets(void **state)
{
    static const char *const names[] = { "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES" };
    struct activation activation;

    (void)state;
    pass((enum kind[]){ TCP4 }, 1, "gatepost.socket");
    assert_int_equal(activation_init(&activation), 0);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_null(getenv(names[i]));
    activation_deinit(&activation);
    say("1", "1", "gatepost.socket");
    assert_int_equal(activation_init(&activation), 0);
    for (size_t i = 0; i < COUNT(names); i++)
        assert_null(getenv(names[i]));
}

static void what_was_passed_to_another_process_is_left_alone(void **state)
{
    static const char *const pids[] = { "1", "", "x", "3x" };

    (void)state;
    for (size_t i = 0; i < COUNT(pids); i++) {
        struct activation activation;

        pass((enum kind[]){ TCP4 }, 1, NULL);
        say(pids[i], "1", NULL);
        assert_int_equal(activation_init(&activation), 0);
        assert_int_equal(activation.count, 0);
        assert_int_equal(fcntl(3, F_GETFD), 0);
        activation_deinit(&activation);
    }
    unsetenv("LISTEN_PID");
}

static void a_count_that_is_none_is_an_error(void **state)
{
    static const char *const counts[] = { "", "x", "-1", "2x", "1001", "99999999999999999999" };

    (void)state;
    for (size_t i = 0; i < COUNT(counts); i++) {
        struct activation activation;

        say_own(counts[i], NULL);
        listen_to_log();
        assert_int_equal(activation_init(&activation), -EINVAL);
        assert_non_null(strstr(logged(), "LISTEN_FDS is no count"));
        assert_null(getenv("LISTEN_FDS"));
    }
}

static const struct fault_row {
    enum kind kind;
    const char *words;
} faults[] = {
    { CLOSED, "socket of gatepost.socket (descriptor 4) is not open" },
    { PLAIN_FILE, "socket of gatepost.socket (descriptor 4) is no socket" },
    { UNIX, "socket of gatepost.socket (descriptor 4) is of no TCP port" },
    { UDP, "of gatepost.socket (descriptor 4) is of no TCP port" },
    { UNBOUND, "of gatepost.socket (descriptor 4) does not listen" },
    { DUAL, "of gatepost.socket (descriptor 4) is for IPv4 too: set BindIPv6Only=ipv6-only" },
};

static void what_cannot_be_a_listener_is_named_and_nothing_is_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++) {
        struct activation activation;
        const char *words;

        pass((enum kind[]){ TCP4, faults[i].kind }, 2, "a:gatepost.socket");
        listen_to_log();
        assert_int_equal(activation_init(&activation), -EINVAL);
        words = logged();
        if (!strstr(words, faults[i].words))
            fail_msg("%s: %s", faults[i].words, words);
        assert_int_equal(fcntl(3, F_GETFD), -1);
        assert_int_equal(fcntl(4, F_GETFD), -1);
    }
}

static void a_name_from_outside_is_harmless_in_the_log(void **state)
{
    struct activation activation;
    char names[512];
    const char *words;

    (void)state;
    memset(names, 'x', sizeof(names));
    memcpy(names, "\n\x1b[31m:", 7);
    names[sizeof(names) - 1] = '\0';
    pass((enum kind[]){ PLAIN_FILE, PLAIN_FILE, PLAIN_FILE }, 3, names);
    listen_to_log();
    assert_int_equal(activation_init(&activation), -EINVAL);
    words = logged();
    assert_non_null(strstr(words, "socket of \\x0a\\x1b[31m (descriptor 3)"));
    assert_non_null(strstr(words, "xxx... (descriptor 4)"));
    assert_non_null(strstr(words, "socket (descriptor 5) is no socket"));
}

/* -- those that nobody asked for -- */

static struct settings *settings_with(unsigned port, const char *more)
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;
    char text[512];

    snprintf(text, sizeof(text),
             "[backend pop3]\naddress = unix:/run/x\n[listen pop3s]\nenabled = no\n[listen "
             "pop3]\nport = %u\n%s",
             port, more);
    diagnostics_init(&diagnostics);
    if (settings_load_text(text, strlen(text), "test", &diagnostics, &settings) < 0)
        diagnostics_print(&diagnostics, stdout);
    diagnostics_deinit(&diagnostics);
    assert_non_null(settings);
    return settings;
}

static const struct stray_row {
    const char *name, *more;
    unsigned above; /* the listener's port lies this far above the socket's */
    const char *words;
} strays[] = {
    { "nobody has the port", "", 1, "fits no listener: no [listen] section has this port" },
    { "it is disabled", "enabled = no\n", 0, "[listen pop3] has enabled = no" },
    { "its server is nowhere", "backend = other\n[backend other]\n", 0,
      "[backend other], which is behind [listen pop3], has no address" },
    { "it is bound elsewhere", "bind = 127.0.0.2\n", 0, "`bind` of [listen pop3]" },
};

static void a_socket_that_fits_no_listener_is_an_error_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(strays); i++) {
        struct settings *settings;
        struct activation activation;
        char room[1024];
        struct text told = TEXT_OVER(room);
        const char *words;

        pass((enum kind[]){ TCP4 }, 1, "gatepost.socket");
        settings = settings_with(ports[0] + strays[i].above, strays[i].more);
        assert_int_equal(activation_init(&activation), 0);
        listen_to_log();
        assert_int_equal(activation_check(&activation, settings, &told), -EINVAL);
        words = logged();
        if (!strstr(words, strays[i].words) || !strstr(words, "socket 127.0.0.1:") ||
            !strstr(words, "gatepost.socket (descriptor 3)") || !strstr(words, "systemctl edit"))
            fail_msg("%s: %s", strays[i].name, words);
        if (!strstr(text_str(&told), strays[i].words))
            fail_msg("%s: whoever asked for a reload was told \"%s\"", strays[i].name, told.data);
        activation_deinit(&activation);
        settings_free(settings);
    }
}

static void those_that_were_taken_are_right(void **state)
{
    struct settings *settings;
    struct activation activation;
    struct sockaddr_storage address;

    (void)state;
    pass((enum kind[]){ TCP4 }, 1, NULL);
    settings = settings_with(ports[0], "");
    assert_int_equal(activation_init(&activation), 0);
    address = loopback4(ports[0]);
    close(activation_take(&activation, &address, 10));
    listen_to_log();
    assert_int_equal(activation_check(&activation, settings, NULL), 0);
    assert_string_equal(logged(), "");
    activation_offer(&activation);
    listen_to_log();
    assert_int_equal(activation_check(&activation, settings, NULL), -EINVAL);
    logged();
    activation_deinit(&activation);
    settings_free(settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_socket_goes_to_the_listener_of_its_address),
        cmocka_unit_test(a_socket_of_another_address_port_or_family_is_not_taken),
        cmocka_unit_test(a_socket_can_be_taken_again),
        cmocka_unit_test(children_inherit_no_claim_to_the_sockets),
        cmocka_unit_test(what_was_passed_to_another_process_is_left_alone),
        cmocka_unit_test(a_count_that_is_none_is_an_error),
        cmocka_unit_test(what_cannot_be_a_listener_is_named_and_nothing_is_kept),
        cmocka_unit_test(a_name_from_outside_is_harmless_in_the_log),
        cmocka_unit_test(a_socket_that_fits_no_listener_is_an_error_in_words),
        cmocka_unit_test(those_that_were_taken_are_right),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

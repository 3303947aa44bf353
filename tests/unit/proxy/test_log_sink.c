/* Where lines go: standard error, a journal's socket and a syslog's, each of which may be read at
 * once, late, in part, or never. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/log_sink.h"

#define MANY 100000 /* more lines than any backlog holds */

static struct {
    char folder[64], path[96], where[128];
    int fd, terminal; /* the daemon's socket, and standard error as it was */
} stage;

static int listen_at(const char *path)
{
    struct sockaddr_un name = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);

    snprintf(name.sun_path, sizeof(name.sun_path), "%s", path);
    assert_int_equal(bind(fd, (struct sockaddr *)&name, sizeof(name)), 0);
    return fd;
}

static void begin(const char *kind)
{
    snprintf(stage.folder, sizeof(stage.folder), "/tmp/test_log_sink.XXXXXX");
    assert_non_null(mkdtemp(stage.folder));
    snprintf(stage.path, sizeof(stage.path), "%s/log", stage.folder);
    snprintf(stage.where, sizeof(stage.where), "%s:%s", kind, stage.path);
    stage.fd = listen_at(stage.path);
    log_sink_open(stage.where);
}

static void end(void)
{
    close(stage.fd); /* nobody is waited for */
    log_sink_close();
    unlink(stage.path);
    rmdir(stage.folder);
}

/* What has come; "" where nothing has. */
static const char *heard(void)
{
    static char room[4 * LOG_DATAGRAM_MAX];
    ssize_t size = recv(stage.fd, room, sizeof(room) - 1, MSG_DONTWAIT);

    room[size > 0 ? size : 0] = '\0';
    return room;
}

/* The time in the middle of a line of syslog is not ours to foretell. */
static void expect_syslog(const char *priority, const char *identifier, const char *message)
{
    const char *line = heard();
    char rest[256];

    snprintf(rest, sizeof(rest), " %s[%d]: %s", identifier, (int)getpid(), message);
    assert_memory_equal(line, priority, strlen(priority));
    assert_int_equal(strlen(line), strlen(priority) + strlen("Jan  1 00:00:00") + strlen(rest));
    assert_string_equal(line + strlen(priority) + strlen("Jan  1 00:00:00"), rest);
}

static void syslog_hears_priority_identifier_and_text(void **state)
{
    (void)state;
    begin("syslog");
    log_line(LOG_LEVEL_ERROR, "of our own");
    expect_syslog("<19>", "gatepost", "of our own");
    log_relay("4worker 0: of a child", strlen("4worker 0: of a child"));
    expect_syslog("<23>", "gatepost", "worker 0: of a child");
    log_record(LOG_LEVEL_NOTICE, "dovecot", span_of(NULL, 0), "pop3-login: x");
    expect_syslog("<21>", "dovecot", "pop3-login: x");
    log_relay("3gatepost:x\n<0>gatepost: \033", strlen("3gatepost:x\n<0>gatepost: \033"));
    expect_syslog("<22>", "gatepost", "gatepost:x\\x0a<0>gatepost: \\x1b");
    end();
}

static void the_journal_hears_fields_but_only_ours(void **state)
{
    static const char datagram[] = "3worker 0: text\nPRIORITY=0\0"
                                   "GATEPOST_A=1 =\"x\n"
                                   "MESSAGE=forged\n"
                                   "_UID=0\n"
                                   "GATEPOST_a=small\n"
                                   "GATEPOST_NONE\n"
                                   "GATEPOST_B=\033\n"
                                   "\n"
                                   "GATEPOST_LAST=without an end";

    (void)state;
    begin("journald");
    log_relay(datagram, sizeof(datagram) - 1);
    assert_string_equal(heard(), "PRIORITY=6\nSYSLOG_FACILITY=2\nSYSLOG_IDENTIFIER=gatepost\n"
                                 "MESSAGE=worker 0: text\\x0aPRIORITY=0\n"
                                 "GATEPOST_A=1 =\"x\nGATEPOST_LAST=without an end\n");
    log_record(LOG_LEVEL_WARNING, "dovecot", span_of(NULL, 0), "x");
    assert_string_equal(heard(), "PRIORITY=4\nSYSLOG_FACILITY=2\nSYSLOG_IDENTIFIER=dovecot\n"
                                 "MESSAGE=x\n");
    end();
}

static void a_daemon_that_is_slow_gets_every_line_in_order(void **state)
{
    char message[32];
    unsigned long lost = log_sink_lost();

    (void)state;
    begin("syslog");
    for (int i = 0; i < 600; i++) /* more than its queue takes */
        log_line(LOG_LEVEL_INFO, "line %d", i);
    for (int i = 0; i < 600; i++) {
        snprintf(message, sizeof(message), "line %d", i);
        expect_syslog("<22>", "gatepost", message);
        log_line(LOG_LEVEL_INFO, "line %d", 600 + i); /* sends on what waits */
    }
    assert_int_equal(log_sink_lost(), lost);
    end();
}

static void another_outlet_hears_how_many_the_one_before_did_not_take(void **state)
{
    char first[128];
    int fd, heard_lines = 0;

    (void)state;
    begin("syslog");
    memcpy(first, stage.path, sizeof(stage.path));
    fd = stage.fd;
    for (int i = 0; i < 600; i++)
        log_line(LOG_LEVEL_INFO, "line");
    begin("journald");
    log_line(LOG_LEVEL_INFO, "here");
    assert_non_null(strstr(heard(), " log lines were lost before this one\n"));
    assert_non_null(strstr(heard(), "MESSAGE=here\n"));
    end();
    stage.fd = fd;
    while (*heard())
        heard_lines++;
    assert_in_range(heard_lines, 1, 599);
    close(fd);
    unlink(first);
    *strrchr(first, '/') = '\0';
    rmdir(first);
}

static void lines_that_find_no_room_are_counted_and_told_once(void **state)
{
    unsigned long before = log_sink_lost(), lost;
    unsigned heard_lines = 0;
    char told[96];
    const char *line;

    (void)state;
    begin("syslog");
    for (int i = 0; i < MANY; i++)
        log_line(LOG_LEVEL_INFO, "one of many");
    assert_in_range(log_sink_lost() - before, 1, MANY - 1);
    while (!strstr(line = heard(), "were lost")) {
        assert_true(!*line || strstr(line, ": one of many"));
        if (*line)
            heard_lines++;
        else /* each line, also one that is lost, sends on what waits */
            log_line(LOG_LEVEL_INFO, "one of many");
    }
    lost = log_sink_lost() - before;
    snprintf(told, sizeof(told), ": %lu log lines were lost before this one", lost);
    assert_non_null(strstr(line, told));
    assert_true(heard_lines + lost >= MANY);
    assert_non_null(strstr(heard(), ": one of many"));
    log_line(LOG_LEVEL_INFO, "last");
    while (!strstr(line = heard(), ": last")) /* what came since then is not lost */
        if (!*line)
            log_line(LOG_LEVEL_INFO, "one of many");
    assert_int_equal(log_sink_lost() - before, lost);
    end();
}

/* Standard error as a pipe of the test. */
static int begin_stderr(int size)
{
    int pair[2];

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    fcntl(pair[1], F_SETPIPE_SZ, size);
    stage.terminal = dup(STDERR_FILENO);
    dup2(pair[1], STDERR_FILENO);
    close(pair[1]);
    return pair[0];
}

static void end_stderr(int fd)
{
    log_sink_close();
    dup2(stage.terminal, STDERR_FILENO);
    close(stage.terminal);
    close(fd);
}

static size_t read_all(int fd, char *into, size_t room)
{
    size_t size = 0;
    ssize_t r;

    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (size < room - 1 && (r = read(fd, into + size, room - 1 - size)) > 0)
        size += (size_t)r;
    into[size] = '\0';
    return size;
}

static void a_daemon_that_is_gone_is_told_once_and_gets_the_lines_when_it_is_back(void **state)
{
    char said[4096];
    int fd = begin_stderr(65536);

    (void)state;
    begin("syslog");
    close(stage.fd);
    log_line(LOG_LEVEL_INFO, "one");
    log_line(LOG_LEVEL_INFO, "two");
    unlink(stage.path);
    log_line(LOG_LEVEL_INFO, "three");
    read_all(fd, said, sizeof(said));
    assert_non_null(strstr(said, " warning gatepost: log: "));
    assert_non_null(strstr(said, "/log: Connection refused; lines wait until it answers\n"));
    assert_ptr_equal(strchr(said, '\n'), said + strlen(said) - 1); /* one line */
    stage.fd = listen_at(stage.path);
    log_line(LOG_LEVEL_INFO, "four");
    expect_syslog("<22>", "gatepost", "one");
    expect_syslog("<22>", "gatepost", "two");
    expect_syslog("<22>", "gatepost", "three");
    expect_syslog("<22>", "gatepost", "four");
    end();
    end_stderr(fd);
}

static void a_pipe_that_nobody_reads_does_not_block_and_loses_no_part_of_a_line(void **state)
{
    static char said[2 * LOG_SINK_BACKLOG];
    int fd = begin_stderr(4096);
    size_t size = 0, lines = 0;

    (void)state;
    log_sink_open("stderr");
    for (int i = 0; i < 50; i++)
        log_line(LOG_LEVEL_INFO, "%0*d", 1000 + i, i);
    for (int i = 0; i < 50; i++) { /* read piece by piece; each line sends on what waits */
        size += read_all(fd, said + size, sizeof(said) - size);
        log_line(LOG_LEVEL_INFO, "%0*d", 1050 + i, 50 + i);
    }
    log_line(LOG_LEVEL_INFO, "last");
    while (!strstr(said, "last\n")) {
        size += read_all(fd, said + size, sizeof(said) - size);
        log_line(LOG_LEVEL_INFO, "more");
    }
    for (char *line = said; lines < 100; line = strchr(line, '\n') + 1, lines++) {
        const char *text = strstr(line, " info    gatepost: ") + strlen(" info    gatepost: ");

        assert_int_equal(strtoul(text, NULL, 10), lines);
        assert_int_equal(strcspn(text, "\n"), 1000 + lines);
    }
    assert_int_equal(fcntl(STDERR_FILENO, F_GETFL) & O_NONBLOCK, 0); /* others share it */
    end_stderr(fd);
}

/* As after su(1): the terminal is another user's, and cannot be opened a second time. */
static void a_pipe_that_cannot_be_opened_anew_does_not_block_either(void **state)
{
    char said[3 * LOG_LINE_MAX];
    int fd = begin_stderr(4096), status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        alarm(20); /* it blocks */
        if (geteuid() == 0 && setresuid(65533, 65533, 65533) < 0)
            _exit(1);
        log_sink_open("stderr");
        for (int i = 0; i < 100; i++)
            log_line(LOG_LEVEL_INFO, "%0*d", 1000, i);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_in_range(read_all(fd, said, sizeof(said)), 1000, 4096);
    end_stderr(fd);
}

/* Lines that are numbered, 1,000 octets each. The limit is raised behind the first half of them. */
static void fill_disk(rlim_t full_at)
{
    unsigned long lost = log_sink_lost();
    struct rlimit before, low;

    alarm(20);
    signal(SIGXFSZ, SIG_IGN); /* as the supervisor does */
    getrlimit(RLIMIT_FSIZE, &before);
    low = (struct rlimit){ full_at, before.rlim_max };
    setrlimit(RLIMIT_FSIZE, &low);
    log_sink_open("stderr");
    for (int i = 0; i < 40; i++) {
        if (i == 20)
            setrlimit(RLIMIT_FSIZE, &before);
        log_line(LOG_LEVEL_INFO, "%0*d", 1000, i);
    }
    log_sink_close();
    _exit(log_sink_lost() > lost);
}

static void a_disk_that_is_full_gets_every_line_whole_when_there_is_room_again(void **state)
{
    static char said[64 * LOG_LINE_MAX];
    char path[] = "/tmp/test_log_sink.XXXXXX", *line = said;
    int fd = mkstemp(path), status;
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        dup2(fd, STDERR_FILENO);
        fill_disk(4500); /* in the middle of a line */
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_in_range(pread(fd, said, sizeof(said) - 1, 0), 40 * 1000, sizeof(said) - 1);
    for (unsigned long i = 0; i < 40; i++, line = strchr(line, '\n') + 1) {
        const char *text = strstr(line, " info    gatepost: ") + strlen(" info    gatepost: ");

        assert_int_equal(strtoul(text, NULL, 10), i);
        assert_int_equal(strcspn(text, "\n"), 1000);
    }
    assert_string_equal(line, "");
    close(fd);
    unlink(path);
}

static void a_stream_of_the_journal_gets_priorities_where_its_socket_is_out_of_reach(void **state)
{
    struct stat status;
    char name[64], said[256];
    int fd;

    (void)state;
    log_sink_journal_path = "/nonexistent/socket";
    fd = begin_stderr(4096);
    fstat(STDERR_FILENO, &status);
    snprintf(name, sizeof(name), "%llu:%llu", (unsigned long long)status.st_dev,
             (unsigned long long)status.st_ino);
    setenv("JOURNAL_STREAM", name, 1);
    log_sink_open("stderr");
    log_line(LOG_LEVEL_NOTICE, "a\nb");
    read_all(fd, said, sizeof(said));
    assert_string_equal(said, "<5>gatepost: a\\x0ab\n");
    unsetenv("JOURNAL_STREAM");
    end_stderr(fd);
}

static void what_waits_is_sent_by_the_timer_too(void **state)
{
    uv_loop_t loop;
    int heard_lines = 0;

    (void)state;
    uv_loop_init(&loop);
    begin("syslog");
    log_sink_watch(&loop);
    for (int i = 0; i < 600; i++)
        log_line(LOG_LEVEL_INFO, "line");
    while (heard_lines < 600) {
        uv_run(&loop, UV_RUN_ONCE);
        while (*heard())
            heard_lines++;
    }
    log_sink_watch(NULL);
    uv_run(&loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&loop), 0);
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(syslog_hears_priority_identifier_and_text),
        cmocka_unit_test(the_journal_hears_fields_but_only_ours),
        cmocka_unit_test(a_daemon_that_is_slow_gets_every_line_in_order),
        cmocka_unit_test(another_outlet_hears_how_many_the_one_before_did_not_take),
        cmocka_unit_test(lines_that_find_no_room_are_counted_and_told_once),
        cmocka_unit_test(a_daemon_that_is_gone_is_told_once_and_gets_the_lines_when_it_is_back),
        cmocka_unit_test(a_pipe_that_nobody_reads_does_not_block_and_loses_no_part_of_a_line),
        cmocka_unit_test(a_pipe_that_cannot_be_opened_anew_does_not_block_either),
        cmocka_unit_test(a_disk_that_is_full_gets_every_line_whole_when_there_is_room_again),
        cmocka_unit_test(a_stream_of_the_journal_gets_priorities_where_its_socket_is_out_of_reach),
        cmocka_unit_test(what_waits_is_sent_by_the_timer_too),
    };

    unsetenv("JOURNAL_STREAM");
    return cmocka_run_group_tests(tests, NULL, NULL);
}

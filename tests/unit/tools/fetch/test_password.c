/* The password from a terminal of its own, from a descriptor and from a command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "tools/fetch/password.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define LONGEST                                                                                    \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"                             \
    "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcde"

/* For tables: SPAN_LIT is no constant. */
#define IN(text)                                                                                   \
    {                                                                                              \
        (const unsigned char *)(text), sizeof(text) - 1                                            \
    }

static const struct row {
    struct span in;
    const char *password; /* NULL: refused */
    const char *words;
    int result;
} rows[] = {
    { IN("secret\n"), "secret", "", 0 },
    { IN("secret"), "secret", "", 0 },
    { IN("secret\r\n"), "secret", "", 0 },
    { IN("secret\nmore\n"), "secret", "", 0 },
    { IN(" s e c \n"), " s e c ", "", 0 },
    { IN("s\xc3\xa9\n"), "s\xc3\xa9", "", 0 },
    { IN(LONGEST "\n"), LONGEST, "", 0 },
    { IN(LONGEST "f\n"), NULL, "the password is too long", -EMSGSIZE },
    { IN("\nsecret\n"), NULL, "the password is empty", -ENODATA },
    { IN("\r\n"), NULL, "the password is empty", -ENODATA },
    { IN(""), NULL, "the password is empty", -ENODATA },
    { IN("sec\0ret\n"), NULL, "the password holds a NUL", -EINVAL },
};

/* Is the whole room what it should be: the password and zeros, or zeros alone? */
static void expect(int result, const char *room, const struct text *words, const struct row *row)
{
    char want[PASSWORD_ROOM] = "", told[256];

    if (row->password)
        strcpy(want, row->password);
    snprintf(told, sizeof(told), "%.*s", (int)words->size, words->data);
    assert_int_equal(result, row->result);
    assert_memory_equal(room, want, sizeof(want));
    assert_string_equal(told, row->words);
}

static void test_a_descriptor(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        char room[PASSWORD_ROOM], told[256];
        struct text words = TEXT_OVER(told);
        int ends[2];

        memset(room, 'x', sizeof(room));
        assert_int_equal(pipe(ends), 0);
        if (rows[i].in.size > 0)
            assert_int_equal(write(ends[1], rows[i].in.data, rows[i].in.size), rows[i].in.size);
        close(ends[1]);
        expect(password_from_descriptor(ends[0], room, &words), room, &words, &rows[i]);
        assert_int_equal(fcntl(ends[0], F_GETFD), -1);
    }
}

static void test_a_descriptor_that_is_none(void **state)
{
    static const struct row row = {
        { NULL, 0 }, NULL, "the password cannot be read: Bad file descriptor", -EBADF
    };
    char room[PASSWORD_ROOM], told[256];
    struct text words = TEXT_OVER(told);

    (void)state;
    memset(room, 'x', sizeof(room));
    expect(password_from_descriptor(99, room, &words), room, &words, &row);
}

static void test_what_follows_the_line_is_left_to_others(void **state)
{
    char room[PASSWORD_ROOM], told[256], more[8] = "";
    struct text words = TEXT_OVER(told);
    int ends[2], copy;

    (void)state;
    assert_int_equal(pipe(ends), 0);
    copy = dup(ends[0]);
    assert_int_equal(write(ends[1], "secret\nmore", 11), 11);
    assert_int_equal(password_from_descriptor(ends[0], room, &words), 0);
    assert_int_equal(read(copy, more, sizeof(more)), 4);
    assert_string_equal(more, "more");
    close(copy);
    close(ends[1]);
}

static void test_a_command(void **state)
{
    static const struct {
        const char *command;
        struct row row;
    } commands[] = {
        { "echo secret; echo more", { { NULL, 0 }, "secret", "", 0 } },
        { "printf 'secret'", { { NULL, 0 }, "secret", "", 0 } },
        { "echo secret; head -c 300000 /dev/zero", { { NULL, 0 }, "secret", "", 0 } },
        { "true", { { NULL, 0 }, NULL, "the password is empty", -ENODATA } },
        { "head -c 300000 /dev/zero | tr '\\0' x",
          { { NULL, 0 }, NULL, "the password is too long", -EMSGSIZE } },
        { "echo secret; exit 3",
          { { NULL, 0 }, NULL, "the password command failed: it ended with code 3", -ECHILD } },
        { "exit 1",
          { { NULL, 0 }, NULL, "the password command failed: it ended with code 1", -ECHILD } },
        { "/no/such 2>/dev/null",
          { { NULL, 0 },
            NULL,
            "the password command failed: it ended with code 127 (there is no such command)",
            -ECHILD } },
        { "echo secret; kill -9 $$",
          { { NULL, 0 },
            NULL,
            "the password command failed: it was ended by signal 9 (Killed)",
            -ECHILD } },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(commands); i++) {
        char room[PASSWORD_ROOM], told[256];
        struct text words = TEXT_OVER(told);

        memset(room, 'x', sizeof(room));
        expect(password_from_command(commands[i].command, room, &words), room, &words,
               &commands[i].row);
    }
}

/* ---- a terminal ---- */

static const int signals[] = { SIGTERM, SIGHUP, SIGQUIT, SIGINT };

/* A process with a terminal of its own asks, and reports the result on another pipe. */
struct asker {
    pid_t process;
    int terminal, report;
    char seen[1024]; /* on the terminal */
};

static void nothing(int number)
{
    (void)number;
}

/* A test that runs in the background may have inherited that it ignores some. */
static void take_signals(void)
{
    for (size_t i = 0; i < COUNT(signals); i++)
        signal(signals[i], SIG_DFL);
}

static _Noreturn void ask_in_child(int report, int caught)
{
    char room[PASSWORD_ROOM], told[256], line[1024];
    struct text words = TEXT_OVER(told);
    struct sigaction action = { .sa_handler = nothing };
    int size, r;

    take_signals();
    if (caught)
        sigaction(caught, &action, NULL);
    r = password_ask("Password: ", room, &words);
    size = snprintf(line, sizeof(line), "%d %s %s", r, room, text_str(&words));
    _exit(write(report, line, (size_t)size) == size ? 0 : 1);
}

static struct asker start(int caught)
{
    struct asker asker = { .seen = "" };
    int ends[2];

    assert_int_equal(pipe(ends), 0);
    asker.process = forkpty(&asker.terminal, NULL, NULL, NULL);
    assert_true(asker.process >= 0);
    if (asker.process == 0)
        ask_in_child(ends[1], caught);
    close(ends[1]);
    asker.report = ends[0];
    return asker;
}

/* Reads what the terminal shows until `text` is there. */
static void see(struct asker *asker, const char *text)
{
    size_t size = strlen(asker->seen);

    while (!strstr(asker->seen, text)) {
        struct pollfd poller = { .fd = asker->terminal, .events = POLLIN };
        ssize_t r;

        assert_int_equal(poll(&poller, 1, 60000), 1);
        r = read(asker->terminal, asker->seen + size, sizeof(asker->seen) - 1 - size);
        assert_true(r > 0);
        size += (size_t)r;
        asker->seen[size] = '\0';
    }
}

static bool echoes(const struct asker *asker)
{
    struct termios mode;

    assert_int_equal(tcgetattr(asker->terminal, &mode), 0);
    return mode.c_lflag & ECHO;
}

static void type(struct asker *asker, const char *text)
{
    assert_int_equal(write(asker->terminal, text, strlen(text)), strlen(text));
}

/* Waits for its end; returns its status, and what it reported. */
static int finish(struct asker *asker, char report[1024])
{
    ssize_t size = 0, r;
    int status;

    while ((r = read(asker->report, report + size, (size_t)(1023 - size))) > 0)
        size += r;
    report[size] = '\0';
    assert_int_equal(waitpid(asker->process, &status, 0), asker->process);
    close(asker->report);
    close(asker->terminal);
    return status;
}

static void test_a_terminal_is_asked_without_echo(void **state)
{
    struct asker asker = start(0);
    char report[1024];

    (void)state;
    see(&asker, "Password: ");
    assert_false(echoes(&asker));
    type(&asker, "secret\n");
    see(&asker, "\n");
    assert_string_equal(asker.seen, "Password: \r\n");
    assert_int_equal(finish(&asker, report), 0);
    assert_string_equal(report, "0 secret ");
}

static void test_the_end_of_input_at_a_terminal(void **state)
{
    struct asker asker = start(0);
    char report[1024];

    (void)state;
    see(&asker, "Password: ");
    type(&asker, "\x04");
    finish(&asker, report);
    assert_int_equal(strncmp(report, "-61  ", 5), 0);
    assert_non_null(strstr(report, "the password is empty"));
}

/* The terminal must be as before while the process is still there to see. */
static void test_a_signal_ends_it_with_the_terminal_restored(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(signals); i++) {
        struct asker asker = start(0);
        char report[1024];
        int slave, status;

        see(&asker, "Password: ");
        slave = open(ptsname(asker.terminal), O_RDWR | O_NOCTTY); /* keeps the terminal's mode */
        assert_true(slave >= 0);
        if (signals[i] == SIGINT)
            type(&asker, "half\x03");
        else
            assert_int_equal(kill(asker.process, signals[i]), 0);
        assert_int_equal(read(asker.report, report, 1), 0);
        assert_int_equal(waitpid(asker.process, &status, 0), asker.process);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), signals[i]);
        assert_true(echoes(&asker));
        close(slave);
        close(asker.report);
        close(asker.terminal);
    }
}

static void test_a_signal_that_the_program_catches(void **state)
{
    struct asker asker = start(SIGTERM);
    char report[1024];

    (void)state;
    see(&asker, "Password: ");
    assert_int_equal(kill(asker.process, SIGTERM), 0);
    assert_int_equal(finish(&asker, report), 0);
    assert_string_equal(report, "-4  interrupted");
}

/* The stop itself does nothing here, as the process has no parent in its session to go back to. */
static void test_after_a_stop_it_is_asked_anew(void **state)
{
    struct asker asker = start(0);
    char report[1024];

    (void)state;
    see(&asker, "Password: ");
    type(&asker, "half\x1a");
    see(&asker, "Password: \r\nPassword: ");
    assert_false(echoes(&asker));
    type(&asker, "whole\n");
    assert_int_equal(finish(&asker, report), 0);
    assert_string_equal(report, "0 whole ");
}

static void test_without_a_terminal(void **state)
{
    pid_t process = fork();
    int status;

    (void)state;
    if (process == 0) {
        char room[PASSWORD_ROOM], told[256];
        struct text words = TEXT_OVER(told);
        bool refused;

        setsid();
        memset(room, 'x', sizeof(room));
        refused = password_ask("Password: ", room, &words) == -ENXIO && room[0] == '\0' &&
                  strcmp(text_str(&words), "there is no terminal to ask for the password") == 0;
        _exit(refused ? 0 : 1);
    }
    assert_int_equal(waitpid(process, &status, 0), process);
    assert_int_equal(status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_descriptor),
        cmocka_unit_test(test_a_descriptor_that_is_none),
        cmocka_unit_test(test_what_follows_the_line_is_left_to_others),
        cmocka_unit_test(test_a_command),
        cmocka_unit_test(test_a_terminal_is_asked_without_echo),
        cmocka_unit_test(test_the_end_of_input_at_a_terminal),
        cmocka_unit_test(test_a_signal_ends_it_with_the_terminal_restored),
        cmocka_unit_test(test_a_signal_that_the_program_catches),
        cmocka_unit_test(test_after_a_stop_it_is_asked_anew),
        cmocka_unit_test(test_without_a_terminal),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A message handed to a command: what the command sees, and how its end is understood. */
#include "tests/lib/folder.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "tools/fetch/mda.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define MESSAGE     "From: a@b\n\nbody\n"

static int setup(void **state)
{
    int r = folder_setup(state);

    if (r == 0)
        folder_write("message", MESSAGE, strlen(MESSAGE));
    return r;
}

static int open_message(void)
{
    char path[128];
    int fd;

    snprintf(path, sizeof(path), "%s/message", folder);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* `command` with each % as the test's folder. An mda_result. */
static int run(const char *command, char words[128])
{
    char room[512];
    struct text line = TEXT_OVER(room), told = { words, 0, 128, false };
    int file = open_message(), r;
    struct pollfd end = { .events = POLLIN };
    struct mda mda;

    for (const char *at = command; *at; at++)
        text_printf(&line, *at == '%' ? "%s" : "%.1s", *at == '%' ? folder : at);
    assert_int_equal(lseek(file, 5, SEEK_SET), 5);
    assert_int_equal(mda_start(text_str(&line), file, &mda), 0);
    end.fd = mda.fd;
    assert_int_equal(poll(&end, 1, 60000), 1);
    r = mda_finish(&mda, &told);
    text_str(&told);
    close(file);
    return r;
}

static void test_only_success_is_taken(void **state)
{
    static const struct {
        const char *command;
        int result;
        const char *words;
    } rows[] = {
        { "cat >/dev/null", MDA_TAKEN, "" },
        { "true", MDA_TAKEN, "" }, /* one that reads nothing */
        { "exit 75", MDA_LATER, "it ended with code 75 (try again later)" },
        { "exit 1", MDA_LATER, "it ended with code 1" },
        { "exit 67", MDA_LATER, "it ended with code 67" },
        { "/no/such/command 2>/dev/null", MDA_LATER,
          "it ended with code 127 (there is no such command)" },
        { "%/message 2>/dev/null", MDA_LATER, "it ended with code 126 (it cannot be run)" },
        { "kill -9 $$", MDA_LATER, "it was ended by signal 9 (Killed)" },
        { "kill -TERM $$", MDA_LATER, "it was ended by signal 15 (Terminated)" },
        { "if", MDA_LATER, "it ended with code 2" },
    };
    int errors = dup(2), null = open("/dev/null", O_WRONLY);

    (void)state;
    dup2(null, 2); /* the shell's own words for the last one */
    for (size_t i = 0; i < COUNT(rows); i++) {
        char words[128];
        int r = run(rows[i].command, words);

        assert_int_equal(r, rows[i].result);
        assert_string_equal(words, rows[i].words);
    }
    dup2(errors, 2);
    close(errors);
    close(null);
}

static void test_the_message_comes_whole_on_standard_input(void **state)
{
    char words[128], got[256];

    (void)state;
    assert_int_equal(run("cat >%/got", words), MDA_TAKEN);
    folder_read("got", got, sizeof(got));
    assert_string_equal(got, MESSAGE);
}

static void test_it_inherits_no_descriptor_and_no_odd_signal(void **state)
{
    char words[128], got[4096];
    int secret = open_message(); /* without CLOEXEC, as one that another program has given */
    sigset_t blocked, before;

    (void)state;
    fcntl(secret, F_SETFD, 0);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGCHLD, SIG_IGN);
    sigemptyset(&blocked);
    sigaddset(&blocked, SIGTERM);
    sigprocmask(SIG_BLOCK, &blocked, &before);
    assert_int_equal(
        run("ls /proc/self/fd | tr '\n' ' ' >%/got; grep SigBlk /proc/self/status >>%/got", words),
        MDA_TAKEN);
    assert_int_equal(run("kill -PIPE $$; exit 0", words),
                     MDA_LATER); /* that it ignores no signal */
    assert_string_equal(words, "it was ended by signal 13 (Broken pipe)");
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGPIPE, SIG_DFL);
    close(secret);
    folder_read("got", got, sizeof(got));
    assert_string_equal(got, "0 1 2 3 SigBlk:\t0000000000000000\n"); /* 3: ls itself */
}

static void test_what_it_prints_is_no_output_of_ours(void **state)
{
    char words[128], name[128], got[64];
    int out = dup(1), errors = dup(2), file;

    (void)state;
    snprintf(name, sizeof(name), "%s/errors", folder);
    file = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    dup2(file, 2);
    close(1);
    run("echo hello", words);
    dup2(out, 1);
    dup2(errors, 2);
    close(out);
    close(errors);
    close(file);
    folder_read("errors", got, sizeof(got));
    assert_string_equal(got, "hello\n");
}

static void test_one_that_is_stopped(void **state)
{
    int file = open_message();
    struct mda mda;

    (void)state;
    assert_int_equal(mda_start("exec sleep 600", file, &mda), 0);
    mda_stop(&mda);
    assert_int_equal(mda.fd, -1);
    assert_int_equal(kill(mda.process, 0), -1);
    close(file);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, folder_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_only_success_is_taken),
        TEST(test_the_message_comes_whole_on_standard_input),
        TEST(test_it_inherits_no_descriptor_and_no_odd_signal),
        TEST(test_what_it_prints_is_no_output_of_ours),
        TEST(test_one_that_is_stopped),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

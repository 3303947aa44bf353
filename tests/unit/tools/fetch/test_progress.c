/* The progress line on a terminal, and nowhere else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "tools/fetch/progress.h"

/* What a terminal shows that is `columns` wide. */
static void run(unsigned short columns, bool quiet, char shown[1024])
{
    struct winsize size = { .ws_row = 24, .ws_col = columns };
    struct progress progress;
    int terminal, slave;
    size_t count = 0;

    assert_int_equal(openpty(&terminal, &slave, NULL, NULL, &size), 0);
    progress_init(&progress, slave, quiet);
    progress_begin(&progress, "sending", 2, 4096);
    progress_octets(&progress, 0); /* no message yet: nothing to tell */
    progress_message(&progress);
    progress_octets(&progress, 1024);
    for (unsigned i = 0; i < 100; i++)
        progress_octets(&progress,
                        1); /* too soon for a line of their own, but for a slow machine */
    progress_clear(&progress);
    progress_clear(&progress);
    assert_int_equal(write(slave, "ready.", 6), 6);
    do {
        ssize_t r = read(terminal, shown + count, 1023 - count);

        assert_true(r > 0);
        count += (size_t)r;
        shown[count] = '\0';
    } while (!strstr(shown, "ready."));
    close(slave);
    close(terminal);
}

static void test_a_line_that_is_taken_off_again(void **state)
{
    char shown[1024];

    (void)state;
    setenv("TERM", "xterm", 1);
    run(80, false, shown);
    assert_int_equal(strncmp(shown, "\r\033[Ksending 1 of 2, 1.0 of 4.0 KiB", 34), 0);
    assert_non_null(strstr(shown, "\r\033[Kready."));
    assert_null(strstr(shown, "\n"));
}

static void test_a_narrow_terminal(void **state)
{
    char shown[1024];

    (void)state;
    setenv("TERM", "xterm", 1);
    run(20, false, shown);
    assert_int_equal(strncmp(shown, "\r\033[Ksending 1 of 2\r", 18), 0);
    run(14, false, shown);
    assert_string_equal(shown, "\r\033[K\r\033[Kready.");
    run(0, false, shown); /* nobody has told its size */
    assert_non_null(strstr(shown, "1.0 of 4.0 KiB"));
}

static void test_nothing_where_it_would_be_in_the_way(void **state)
{
    char shown[1024];
    struct progress progress;
    int ends[2];

    (void)state;
    setenv("TERM", "xterm", 1);
    run(80, true, shown);
    assert_string_equal(shown, "ready.");
    setenv("TERM", "dumb", 1);
    run(80, false, shown);
    assert_string_equal(shown, "ready.");
    unsetenv("TERM");
    run(80, false, shown);
    assert_string_equal(shown, "ready.");
    setenv("TERM", "xterm", 1);
    assert_int_equal(pipe(ends), 0);
    progress_init(&progress, ends[1], false);
    progress_begin(&progress, "sending", 2, 4096);
    progress_message(&progress);
    progress_octets(&progress, 1024);
    progress_clear(&progress);
    close(ends[1]);
    assert_int_equal(read(ends[0], shown, sizeof(shown)), 0);
    close(ends[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_that_is_taken_off_again),
        cmocka_unit_test(test_a_narrow_terminal),
        cmocka_unit_test(test_nothing_where_it_would_be_in_the_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

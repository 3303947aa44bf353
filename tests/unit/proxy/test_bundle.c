/* The bundle: what was added is found, and what is no bundle is refused, wherever it is cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "proxy/base/bundle.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))

/* A sealed memfd of these octets. */
static int raw_bundle(const char *octets, size_t size)
{
    int fd = bundle_create();

    assert_true(fd >= 0);
    assert_int_equal(write(fd, octets, size), size);
    assert_int_equal(bundle_seal(fd), 0);
    return fd;
}

static void assert_found(const struct bundle *bundle, const char *name, size_t index,
                         struct span expected)
{
    struct span content;

    assert_true(bundle_find(bundle, name, index, &content));
    assert_int_equal(content.size, expected.size);
    if (expected.size > 0)
        assert_memory_equal(content.data, expected.data, expected.size);
}

static void what_was_added_is_found_octet_for_octet(void **state)
{
    static const char binary[] = "\0\n\r\nsettings 3\nabc\n\xff";
    struct span traps = span_of(binary, sizeof(binary)), content;
    struct bundle bundle;
    int fd = bundle_create();

    (void)state;
    assert_int_equal(bundle_add(fd, "tls/default/key", traps), 0);
    assert_int_equal(bundle_add(fd, "settings", SPAN_LIT("[gatepost]\n")), 0);
    assert_int_equal(bundle_add(fd, "listener", SPAN_LIT("pop3 0.0.0.0:110")), 0);
    assert_int_equal(bundle_add(fd, "empty", SPAN_LIT("")), 0);
    assert_int_equal(bundle_add(fd, "listener", SPAN_LIT("pop3 [::]:110")), 0);
    assert_int_equal(bundle_seal(fd), 0);
    for (int reader = 0; reader < 2; reader++) { /* the second child has the same descriptor */
        assert_int_equal(bundle_read(fd, &bundle), 0);
        assert_found(&bundle, "tls/default/key", 0, traps);
        assert_found(&bundle, "settings", 0, SPAN_LIT("[gatepost]\n"));
        assert_found(&bundle, "listener", 0, SPAN_LIT("pop3 0.0.0.0:110"));
        assert_found(&bundle, "listener", 1, SPAN_LIT("pop3 [::]:110"));
        assert_found(&bundle, "empty", 0, SPAN_LIT(""));
        assert_false(bundle_find(&bundle, "listener", 2, &content));
        assert_false(bundle_find(&bundle, "settings", 1, &content));
        assert_false(bundle_find(&bundle, "tls/default/certificate", 0, &content));
        assert_false(bundle_find(&bundle, "tls/default/ke", 0, &content));
        assert_false(bundle_find(&bundle, "", 0, &content));
        bundle_free(&bundle);
        assert_null(bundle.data);
    }
    close(fd);
}

static void a_sealed_bundle_can_be_changed_by_nobody(void **state)
{
    int fd = raw_bundle("a 1\nx\n", 6);

    (void)state;
    assert_true(bundle_add(fd, "b", SPAN_LIT("y")) < 0);
    assert_int_equal(ftruncate(fd, 3), -1);
    assert_int_equal(pwrite(fd, "b", 1, 0), -1);
    close(fd);
}

static void what_is_no_bundle_is_refused(void **state)
{
    static const struct {
        const char *what;
        const char *octets;
    } rows[] = {
        { "nothing at all", "" },
        { "no size", "a\nx\n" },
        { "an empty size", "a \nx\n" },
        { "a size of letters", "a one\nx\n" },
        { "a negative size", "a -1\nx\n" },
        { "two sizes", "a 1 1\nx\n" },
        { "no name", " 1\nx\n" },
        { "more than there is", "a 2\nx\n" },
        { "less than there is", "a 1\nxy\n" },
        { "a size beyond 64 bits", "a 18446744073709551616\nx\n" },
        { "the largest size", "a 18446744073709551615\nx\n" },
        { "no newline behind the octets", "a 1\nx" },
        { "octets behind the last entry", "a 1\nx\nb" },
        { "a good entry before a bad one", "a 1\nx\nb 9\nx\n" },
        { "only a newline", "\n" },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        int fd = raw_bundle(rows[i].octets, strlen(rows[i].octets));
        struct bundle bundle;
        int r = bundle_read(fd, &bundle);

        if (r != -EPROTO)
            print_error("%s: %d\n", rows[i].what, r);
        assert_int_equal(r, -EPROTO);
        close(fd);
    }
}

/* Cut at every octet: good exactly where an entry ends. */
static void a_bundle_that_is_cut_is_refused(void **state)
{
    static const char whole[] = "settings 4\na\n\nb\nlistener 0\n\ntls/x/key 3\n1 2\n";
    static const size_t ends[] = { 16, 28, 44 };

    (void)state;
    assert_int_equal(sizeof(whole) - 1, ends[2]);
    for (size_t size = 0; size < sizeof(whole); size++) {
        bool good = size == ends[0] || size == ends[1] || size == ends[2];
        int fd = raw_bundle(whole, size);
        struct bundle bundle;

        assert_int_equal(bundle_read(fd, &bundle), good ? 0 : -EPROTO);
        if (good)
            bundle_free(&bundle);
        close(fd);
    }
}

static void what_could_still_be_changed_is_refused(void **state)
{
    int open_fd = bundle_create(), half_fd = bundle_create(), pipe_fds[2];
    struct bundle bundle;

    (void)state;
    assert_int_equal(bundle_add(open_fd, "a", SPAN_LIT("x")), 0);
    assert_int_equal(bundle_read(open_fd, &bundle), -EPROTO);
    assert_int_equal(bundle_add(half_fd, "a", SPAN_LIT("x")), 0);
    assert_int_equal(fcntl(half_fd, F_ADD_SEALS, F_SEAL_WRITE), 0);
    assert_int_equal(bundle_read(half_fd, &bundle), -EPROTO);
    assert_int_equal(pipe(pipe_fds), 0);
    assert_int_equal(bundle_read(pipe_fds[0], &bundle), -EPROTO);
    assert_int_equal(bundle_read(-1, &bundle), -EPROTO);
    close(open_fd);
    close(half_fd);
    close(pipe_fds[0]);
    close(pipe_fds[1]);
}

static void names_that_would_break_the_format_are_refused(void **state)
{
    char long_name[600];
    int fd = bundle_create();

    (void)state;
    memset(long_name, 'n', sizeof(long_name) - 1);
    long_name[sizeof(long_name) - 1] = '\0';
    assert_int_equal(bundle_add(fd, "", SPAN_LIT("x")), -EINVAL);
    assert_int_equal(bundle_add(fd, "a b", SPAN_LIT("x")), -EINVAL);
    assert_int_equal(bundle_add(fd, "a\nb", SPAN_LIT("x")), -EINVAL);
    assert_int_equal(bundle_add(fd, long_name, SPAN_LIT("x")), -ENAMETOOLONG);
    assert_int_equal(lseek(fd, 0, SEEK_END), 0);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_added_is_found_octet_for_octet),
        cmocka_unit_test(a_sealed_bundle_can_be_changed_by_nobody),
        cmocka_unit_test(what_is_no_bundle_is_refused),
        cmocka_unit_test(a_bundle_that_is_cut_is_refused),
        cmocka_unit_test(what_could_still_be_changed_is_refused),
        cmocka_unit_test(names_that_would_break_the_format_are_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A socket's file: made with the right mode, replaced when nobody listens on it, left alone when
 * somebody does or when it is something else, removed only while it is ours. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "proxy/socket_file.h"

static const struct socket_access_rule rule = { (uid_t)-1, (gid_t)-1, 0660 };

static char folder[] = "/tmp/gatepost-socket-XXXXXX";
static char path[64], other[64];

static int make_folder(void **state)
{
    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof(path), "%s/control.sock", folder);
    snprintf(other, sizeof(other), "%s/other", folder);
    umask(0077);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(folder);
}

static mode_t mode_of(const char *name)
{
    struct stat status;

    return lstat(name, &status) < 0 ? 0 : status.st_mode;
}

static int try_connect(const char *name)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), r;

    snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
    r = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    close(fd);
    return r;
}

static void somebody_may_connect_until_it_is_closed(void **state)
{
    struct socket_file file;

    (void)state;
    assert_int_equal(socket_file_open(path, &rule, 4, &file), 0);
    assert_int_equal(mode_of(path), S_IFSOCK | 0660);
    assert_true(fcntl(file.fd, F_GETFL) & O_NONBLOCK && fcntl(file.fd, F_GETFD) & FD_CLOEXEC);
    assert_int_equal(try_connect(path), 0);
    socket_file_close(&file);
    assert_int_equal(file.fd, -1);
    assert_int_equal(try_connect(path), -ENOENT);
}

static void one_that_somebody_serves_is_left_alone(void **state)
{
    struct socket_file file, rival;

    (void)state;
    assert_int_equal(socket_file_open(path, &rule, 4, &file), 0);
    assert_int_equal(socket_file_open(path, &rule, 4, &rival), -EADDRINUSE);
    assert_int_equal(try_connect(path), 0);
    socket_file_close(&file);
}

static void one_whose_queue_is_full_is_served(void **state)
{
    struct socket_file file, rival;
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int plugs[8], r = 0;

    (void)state;
    assert_int_equal(socket_file_open(path, &rule, 0, &file), 0);
    strcpy(address.sun_path, path);
    for (size_t i = 0; i < 8; i++) {
        plugs[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (connect(plugs[i], (const struct sockaddr *)&address, sizeof(address)) < 0)
            r = -errno;
    }
    assert_int_equal(r, -EAGAIN);
    assert_int_equal(socket_file_open(path, &rule, 4, &rival), -EADDRINUSE);
    for (size_t i = 0; i < 8; i++)
        close(plugs[i]);
    socket_file_close(&file);
}

static void one_that_is_left_from_a_process_that_was_killed_is_replaced(void **state)
{
    struct socket_file killed, file;

    (void)state;
    assert_int_equal(socket_file_open(path, &rule, 4, &killed), 0);
    close(killed.fd);
    assert_int_equal(try_connect(path), -ECONNREFUSED);
    assert_int_equal(socket_file_open(path, &rule, 4, &file), 0);
    assert_int_equal(try_connect(path), 0);
    socket_file_close(&file);
}

static void what_is_no_socket_stays(void **state)
{
    struct socket_file file;
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);

    (void)state;
    close(fd);
    assert_int_equal(socket_file_open(path, &rule, 4, &file), -EEXIST);
    assert_int_equal(mode_of(path), S_IFREG | 0600);
    unlink(path);
    assert_int_equal(symlink(other, path), 0);
    assert_int_equal(socket_file_open(path, &rule, 4, &file), -EEXIST);
    assert_int_equal(mode_of(other), 0);
    unlink(path);
}

static void the_file_of_somebody_else_is_not_removed(void **state)
{
    struct socket_file file, next;

    (void)state;
    assert_int_equal(socket_file_open(path, &rule, 4, &file), 0);
    unlink(path);
    assert_int_equal(socket_file_open(path, &rule, 4, &next), 0);
    socket_file_close(&file);
    assert_int_equal(try_connect(path), 0);
    socket_file_close(&next);
}

static void a_folder_that_is_not_there_and_a_path_that_is_too_long_are_errors(void **state)
{
    struct socket_file file;
    char longer[200];

    (void)state;
    assert_int_equal(socket_file_open("/nonexistent/control.sock", &rule, 4, &file), -ENOENT);
    memset(longer, 'x', sizeof(longer));
    longer[sizeof(longer) - 1] = '\0';
    assert_int_equal(socket_file_open(longer, &rule, 4, &file), -ENAMETOOLONG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(somebody_may_connect_until_it_is_closed),
        cmocka_unit_test(one_that_somebody_serves_is_left_alone),
        cmocka_unit_test(one_whose_queue_is_full_is_served),
        cmocka_unit_test(one_that_is_left_from_a_process_that_was_killed_is_replaced),
        cmocka_unit_test(what_is_no_socket_stays),
        cmocka_unit_test(the_file_of_somebody_else_is_not_removed),
        cmocka_unit_test(a_folder_that_is_not_there_and_a_path_that_is_too_long_are_errors),
    };

    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}

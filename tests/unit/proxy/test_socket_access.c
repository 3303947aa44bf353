/* Tests of proxy/socket_access.c, over real sockets and folders: who may open which. */
#include "proxy/socket_access.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <cmocka.h>

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))
#define STRANGER     54321 /* nobody's user, nobody's group */

static char folder[] = "/tmp/test_access.XXXXXX", inner[64], path[80];

static int make_socket(void **state)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    if (!mkdtemp(folder))
        return -1;
    snprintf(inner, sizeof(inner), "%s/inner", folder);
    snprintf(path, sizeof(path), "%s/s", inner);
    strcpy(address.sun_path, path);
    if (chmod(folder, 0755) < 0 || mkdir(inner, 0755) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -1;
    return close(fd);
}

static int remove_socket(void **state)
{
    char command[96];

    (void)state;
    snprintf(command, sizeof(command), "rm -r %s", folder);
    return system(command);
}

enum who { OWNER, MEMBER, FURTHER_MEMBER, STRANGE, ROOT };

static struct account account_of(enum who who)
{
    struct account account = { .uid = STRANGER, .gid = STRANGER };

    if (who == OWNER)
        account.uid = geteuid() ? geteuid() : STRANGER + 1;
    else if (who == ROOT)
        account.uid = 0;
    else if (who == MEMBER)
        account.gid = getegid();
    else if (who == FURTHER_MEMBER)
        account.group_count = 2, account.groups[0] = STRANGER + 2, account.groups[1] = getegid();
    return account;
}

static const struct access_row {
    const char *name;
    mode_t folder, socket;
    enum who who;
    enum socket_access access;
    bool at_folder, group_would_do; /* where it is closed */
} access_rows[] = {
    { "everybody may", 0755, 0777, STRANGE, SOCKET_ACCESS_GOOD, false, false },
    { "to write is enough", 0711, 0222, STRANGE, SOCKET_ACCESS_GOOD, false, false },
    { "the group may", 0755, 0660, MEMBER, SOCKET_ACCESS_GOOD, false, false },
    { "a further group may", 0710, 0620, FURTHER_MEMBER, SOCKET_ACCESS_GOOD, false, false },
    { "root may whatever the modes are", 0000, 0000, ROOT, SOCKET_ACCESS_GOOD, false, false },
    /* the socket is closed */
    { "a stranger, for want of the group", 0755, 0660, STRANGE, SOCKET_ACCESS_CLOSED, false, true },
    { "a stranger, and no group would do", 0755, 0600, STRANGE, SOCKET_ACCESS_CLOSED, false,
      false },
    { "a stranger who could only read", 0755, 0664, STRANGE, SOCKET_ACCESS_CLOSED, false, true },
    { "to read is not enough", 0755, 0444, STRANGE, SOCKET_ACCESS_CLOSED, false, false },
    { "the group may less than others", 0755, 0606, MEMBER, SOCKET_ACCESS_CLOSED, false, false },
    { "a further group may only read", 0755, 0646, FURTHER_MEMBER, SOCKET_ACCESS_CLOSED, false,
      false },
    /* the folder is closed, whatever the socket's mode is */
    { "a folder of root's", 0700, 0777, STRANGE, SOCKET_ACCESS_CLOSED, true, false },
    { "a folder of the group's", 0750, 0777, STRANGE, SOCKET_ACCESS_CLOSED, true, true },
    { "a folder that can be read and not entered", 0744, 0777, STRANGE, SOCKET_ACCESS_CLOSED, true,
      false },
    { "a folder that the group can only read", 0745, 0777, MEMBER, SOCKET_ACCESS_CLOSED, true,
      false },
    { "both are closed: the folder is first", 0710, 0600, STRANGE, SOCKET_ACCESS_CLOSED, true,
      true },
};

static void who_may_open_a_socket_is_known_by_owner_and_mode(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(access_rows); i++) {
        const struct access_row *row = &access_rows[i];
        struct account account = account_of(row->who);
        struct socket_obstacle obstacle;
        enum socket_access access;

        assert_int_equal(chmod(path, row->socket), 0);
        assert_int_equal(chmod(inner, geteuid() == 0 ? row->folder : row->folder | 0500), 0);
        access = socket_access(path, &account, &obstacle);
        if (access != row->access)
            fail_msg("%s: %d", row->name, access);
        if (access != SOCKET_ACCESS_CLOSED)
            continue;
        assert_string_equal(obstacle.path, row->at_folder ? inner : path);
        assert_int_equal(obstacle.folder, row->at_folder);
        if (obstacle.group_would_do != row->group_would_do)
            fail_msg("%s: the group would%s do", row->name, row->group_would_do ? " not" : "");
        assert_int_equal(obstacle.uid, geteuid());
        assert_int_equal(obstacle.gid, getegid());
        assert_int_equal(obstacle.mode & 0077, (row->at_folder ? row->folder : row->socket) & 0077);
    }
    assert_int_equal(chmod(inner, 0755), 0);
}

static void the_owner_counts_as_owner_alone(void **state)
{
    struct account account = { .uid = STRANGER, .gid = getegid() };
    struct socket_obstacle obstacle;

    (void)state;
    if (geteuid() != 0)
        account.uid = geteuid();
    else
        assert_int_equal(chown(path, STRANGER, (gid_t)-1), 0);
    assert_int_equal(chmod(path, 0077), 0);
    assert_int_equal(socket_access(path, &account, &obstacle), SOCKET_ACCESS_CLOSED);
    assert_false(obstacle.group_would_do);
    assert_int_equal(chmod(path, 0200), 0);
    assert_int_equal(socket_access(path, &account, &obstacle), SOCKET_ACCESS_GOOD);
}

static void what_is_no_socket_is_said_to_be_none(void **state)
{
    struct account account = account_of(STRANGE);
    struct socket_obstacle obstacle;

    (void)state;
    assert_int_equal(socket_access("/dev/null", &account, &obstacle), SOCKET_ACCESS_NO_SOCKET);
    assert_int_equal(socket_access(folder, &account, &obstacle), SOCKET_ACCESS_NO_SOCKET);
    assert_int_equal(socket_access("/", &account, &obstacle), SOCKET_ACCESS_NO_SOCKET);
}

static void what_is_not_there_is_absent(void **state)
{
    struct account account = account_of(STRANGE);
    struct socket_obstacle obstacle;
    char missing[128], longer[8000];

    (void)state;
    snprintf(missing, sizeof(missing), "%s.not", path);
    assert_int_equal(socket_access(missing, &account, &obstacle), SOCKET_ACCESS_ABSENT);
    assert_int_equal(socket_access("/nowhere/at/all", &account, &obstacle), SOCKET_ACCESS_ABSENT);
    snprintf(missing, sizeof(missing), "%s/below", path);
    assert_int_equal(socket_access(missing, &account, &obstacle), SOCKET_ACCESS_ABSENT);
    memset(longer, 'x', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    longer[0] = '/';
    assert_int_equal(socket_access(longer, &account, &obstacle), SOCKET_ACCESS_ABSENT);
}

/* The folder that the link leads through is judged, not that of the link. */
static void a_symbolic_link_is_followed(void **state)
{
    struct account account = account_of(STRANGE);
    struct socket_obstacle obstacle;
    char link[96];

    (void)state;
    snprintf(link, sizeof(link), "%s/link", folder);
    assert_int_equal(symlink(path, link), 0);
    assert_int_equal(chmod(path, 0777), 0);
    assert_int_equal(socket_access(link, &account, &obstacle), SOCKET_ACCESS_GOOD);
    assert_int_equal(chmod(inner, 0700), 0);
    assert_int_equal(socket_access(link, &account, &obstacle), SOCKET_ACCESS_CLOSED);
    assert_string_equal(obstacle.path, inner);
    assert_int_equal(chmod(inner, 0755), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_open_a_socket_is_known_by_owner_and_mode),
        cmocka_unit_test(what_is_no_socket_is_said_to_be_none),
        cmocka_unit_test(what_is_not_there_is_absent),
        cmocka_unit_test(a_symbolic_link_is_followed),
        cmocka_unit_test(the_owner_counts_as_owner_alone),
    };

    return cmocka_run_group_tests(tests, make_socket, remove_socket);
}

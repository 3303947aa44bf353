/* Root may read what the user of a service may not: its check of the settings would promise a
 * reload that then fails.
 *
 * Happy path: somebody listens on the control socket; the kernel says who, and which groups it has;
 * the process becomes that for the time of the check. Where nobody listens, the settings are no
 * settings, or are a draft that only root may read, root checks as root. */
#include "proxy/check_user.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "conf/settings.h"
#include "proxy/base/child.h"
#include "proxy/base/paths.h"

struct listener_of {
    struct ucred user;
    gid_t groups[CHILD_GROUPS_MAX];
    size_t count;
};

/* What is wrong in the files is the check's to say. */
static int find_path(const char *settings_path, char *into, size_t room)
{
    struct diagnostics diagnostics;
    struct settings *settings;
    int r;

    diagnostics_init(&diagnostics);
    r = settings_read_file(settings_path, &diagnostics, &settings);
    diagnostics_deinit(&diagnostics);
    if (r < 0)
        return r;
    r = control_socket_path(settings->gatepost.runtime_dir, settings->gatepost.control_socket, into,
                            room);
    settings_free(settings);
    return r;
}

/* Those of the process that began to listen. */
static int ask_kernel(int fd, struct listener_of *ret_listener)
{
    socklen_t user_size = sizeof(ret_listener->user), groups_size = sizeof(ret_listener->groups);

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &ret_listener->user, &user_size) < 0 ||
        getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ret_listener->groups, &groups_size) < 0)
        return -errno;
    ret_listener->count = groups_size / sizeof(*ret_listener->groups);
    return 0;
}

/* One that is too busy to be connected to is not waited for. */
static int find_listener(const char *settings_path, struct listener_of *ret_listener)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int r = find_path(settings_path, address.sun_path, sizeof(address.sun_path)), fd;

    if (r < 0)
        return r;
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    r = connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ? -errno : 0;
    if (r == 0)
        r = ask_kernel(fd, ret_listener);
    close(fd);
    return r;
}

/* Only what counts for files: to whoever would trace the process, or take its descriptors, it is
 * root's still (ptrace(2)), and may be as open to itself as any other. */
static int become(const struct listener_of *listener)
{
    if (setgroups(listener->count, listener->groups) < 0 || setegid(listener->user.gid) < 0 ||
        seteuid(listener->user.uid) < 0)
        return -errno;
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return 0;
}

static bool can_read(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

int check_user_become(const char *path, uid_t *ret_uid)
{
    struct listener_of listener;
    struct stat status;
    int r;

    if (stat(path, &status) == 0 && !S_ISREG(status.st_mode))
        return CHECK_USER_OWN; /* a shell's pipe can be read once */
    if (geteuid() != 0 || find_listener(path, &listener) < 0 || listener.user.uid == 0)
        return CHECK_USER_OWN;
    *ret_uid = listener.user.uid;
    r = become(&listener);
    if (r == 0 && can_read(path))
        return CHECK_USER_CHANGED;
    check_user_return();
    return r < 0 ? r : CHECK_USER_SHUT_OUT;
}

/* But for the groups, which nothing needs any more. */
void check_user_return(void)
{
    (void)!seteuid(getuid()); /* cannot fail: root's are what it goes back to */
    (void)!setegid(getgid());
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
}

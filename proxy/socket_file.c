/* Binding a UNIX socket where perhaps a file is left from before. Fails where somebody listens on
 * it, where it is no socket, and where the folder may not be written. */
#include "proxy/socket_file.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static int make_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    return fd < 0 ? -errno : fd;
}

/* Does somebody accept on this socket? */
static bool is_served(const struct sockaddr_un *address)
{
    int fd = make_socket();
    bool served;

    if (fd < 0)
        return true;
    served = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
             errno != ECONNREFUSED; /* EAGAIN: its queue is full, somebody listens */
    close(fd);
    return served;
}

static int clear_stale(const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    if (is_served(address))
        return -EADDRINUSE;
    return unlink(address->sun_path) < 0 ? -errno : 0;
}

static int allow_and_listen(int fd, const char *path, const struct socket_access_rule *rule,
                            int backlog)
{
    if (rule->uid != (uid_t)-1 || rule->gid != (gid_t)-1)
        if (lchown(path, rule->uid, rule->gid) < 0)
            return -errno;
    if (chmod(path, rule->mode) < 0 || listen(fd, backlog) < 0)
        return -errno;
    return 0;
}

static int bind_and_listen(const struct sockaddr_un *address, const struct socket_access_rule *rule,
                           int backlog)
{
    int fd = make_socket(), r;

    if (fd < 0)
        return fd;
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    r = allow_and_listen(fd, address->sun_path, rule, backlog);
    if (r < 0) {
        unlink(address->sun_path);
        close(fd);
    }
    return r < 0 ? r : fd;
}

int socket_file_open(const char *path, const struct socket_access_rule *rule, int backlog,
                     struct socket_file *ret_socket)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat status;
    int r;

    if (strlen(path) >= sizeof(address.sun_path))
        return -ENAMETOOLONG;
    strcpy(address.sun_path, path);
    r = clear_stale(&address);
    if (r == 0)
        r = bind_and_listen(&address, rule, backlog);
    if (r < 0)
        return r;
    *ret_socket = (struct socket_file){ .fd = r };
    strcpy(ret_socket->path, path);
    if (lstat(path, &status) == 0) {
        ret_socket->device = status.st_dev;
        ret_socket->inode = status.st_ino;
    }
    return 0;
}

void socket_file_remove(const struct socket_file *socket)
{
    struct stat status;

    if (lstat(socket->path, &status) == 0 && status.st_dev == socket->device &&
        status.st_ino == socket->inode)
        unlink(socket->path);
}

void socket_file_close(struct socket_file *socket)
{
    socket_file_remove(socket);
    close(socket->fd);
    socket->fd = -1;
}

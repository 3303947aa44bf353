/* A UNIX socket that we listen on, and its file.
 *
 * A file that is left from a process that was killed is replaced when nobody listens on it; in the
 * end only the file that is still ours is removed. */
#ifndef GATEPOST_PROXY_SOCKET_FILE_H
#define GATEPOST_PROXY_SOCKET_FILE_H

#include <sys/types.h>
#include <sys/un.h>

struct socket_file {
    char path[sizeof(((struct sockaddr_un *)0)->sun_path)];
    int fd;
    dev_t device; /* of the file */
    ino_t inode;
};

/* Who may connect; (uid_t)-1 and (gid_t)-1: as it is. */
struct socket_access_rule {
    uid_t uid;
    gid_t gid;
    mode_t mode;
};

/* Binds and listens, without blocking; nobody gets in before owner and mode are as they shall be.
 * The process's umask must keep others out (0077). 0; -EADDRINUSE: somebody listens there; -EEXIST:
 * something else is there; or another -errno. */
int socket_file_open(const char *path, const struct socket_access_rule *rule, int backlog,
                     struct socket_file *ret_socket);

/* Removes the file, where it is still the one of that device and inode: another gatepost may have
 * put its own in the place. */
void socket_file_remove(const struct socket_file *socket);

/* The same, and closes it. */
void socket_file_close(struct socket_file *socket);

#endif

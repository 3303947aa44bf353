/* The sockets of the embedded workers: bound, taken from the set or the process before, and their
 * files removed in the end.
 *
 * A file that is left from before is replaced when nobody listens on it. Of two sets with the same
 * socket the later one inherits the file. */
#include "proxy/listener_set_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/paths.h"
#include "proxy/socket_file.h"

#define EMBEDDED_BACKLOG 4096

const char *embedded_listener_kind(const struct embedded_listener *listener)
{
    switch (listener->protocol) {
    case PROTOCOL_SMTP:
        return "smtp";
    case PROTOCOL_POP3:
        return "pop3";
    case PROTOCOL_REMOTE:
        return "remote";
    case PROTOCOL_OPAQUE:
        break;
    }
    return "opaque";
}

static struct embedded_listener *find_embedded(const struct listener_set *set, const char *path)
{
    for (size_t i = 0; set && i < set->embedded_count; i++)
        if (set->embedded[i].fd >= 0 && strcmp(set->embedded[i].path, path) == 0)
            return &set->embedded[i];
    return NULL;
}

static int take_embedded(const struct embedded_listener *former, struct embedded_listener *listener)
{
    if (former->protocol != listener->protocol)
        return -EPROTOTYPE; /* a client would meet the program of the other protocol */
    listener->fd = fcntl(former->fd, F_DUPFD_CLOEXEC, 0);
    listener->device = former->device;
    listener->inode = former->inode;
    listener->borrowed = true;
    return listener->fd < 0 ? -errno : 0;
}

/* The proxy workers may connect, and nobody else. */
static int bind_new_embedded(const struct privileges *privileges,
                             struct embedded_listener *listener)
{
    struct socket_access_rule rule = { (uid_t)-1, (gid_t)-1, 0600 };
    struct socket_file socket;
    int r;

    if (privileges->drop) {
        rule.uid = privileges->proxy.uid;
        rule.gid = privileges->proxy.gid;
    }
    r = socket_file_open(listener->path, &rule, EMBEDDED_BACKLOG, &socket);
    if (r < 0)
        return r;
    listener->fd = socket.fd;
    listener->device = socket.device;
    listener->inode = socket.inode;
    return 0;
}

/* One of the process before. -ENOENT: there is none, or nobody could connect to it. */
static int take_passed(const struct listener_set_start *start, struct embedded_listener *listener)
{
    struct stat status;
    int fd;

    if (!start->activation || lstat(listener->path, &status) < 0 || !S_ISSOCK(status.st_mode))
        return -ENOENT;
    fd = activation_take_path(start->activation, listener->path, embedded_listener_kind(listener));
    if (fd < 0)
        return fd;
    listener->fd = fd;
    listener->device = status.st_dev;
    listener->inode = status.st_ino;
    listener->borrowed = true;
    return 0;
}

static int open_embedded(const struct opening *opening, const struct settings_backend *backend,
                         enum port_protocol protocol)
{
    const struct listener_set_start *start = opening->start;
    struct embedded_listener listener = { .backend = backend, .protocol = protocol };
    const struct embedded_listener *former;
    int r = embedded_socket_path(start->settings->gatepost.runtime_dir, backend->name,
                                 listener.path, sizeof(listener.path));

    if (r < 0)
        return r;
    former = find_embedded(start->before, listener.path);
    r = former ? take_embedded(former, &listener) : take_passed(start, &listener);
    if (r == -ENOENT)
        r = bind_new_embedded(start->privileges, &listener);
    if (r == 0)
        opening->set->embedded[opening->set->embedded_count++] = listener;
    return r;
}

static void tell_embedded_failure(const struct opening *opening,
                                  const struct settings_backend *backend, int error)
{
    const char *why = error == -EEXIST       ? "it is there and no socket"
                      : error == -EADDRINUSE ? "another process listens on it"
                      : error == -EPROTOTYPE ? "it was of the other protocol until now: give the "
                                               "backend another name, or restart"
                                             : err_text(error);

    listener_set_tell_error(opening, "socket %s/%s.sock of [backend %s]: %s",
                            opening->start->settings->gatepost.runtime_dir, backend->name,
                            backend->name, why);
}

/* What the set before has and this one does not name stays for the sessions of before. */
static int keep_leaving(const struct opening *opening)
{
    const struct listener_set *before = opening->start->before;

    for (size_t i = 0; before && i < before->embedded_count; i++) {
        struct embedded_listener *former = &before->embedded[i], leaving = *former;

        if (former->fd < 0 || find_embedded(opening->set, former->path))
            continue;
        leaving.backend = NULL;
        leaving.leaving = leaving.borrowed = true;
        leaving.fd = fcntl(former->fd, F_DUPFD_CLOEXEC, 0);
        if (leaving.fd < 0)
            return -errno;
        opening->set->embedded[opening->set->embedded_count++] = leaving;
    }
    return 0;
}

int listener_set_open_embedded(const struct opening *opening)
{
    const struct settings *settings = opening->start->settings;
    const struct listener_set *before = opening->start->before;
    struct listener_set *set = opening->set;
    int r = 0;

    set->embedded = calloc(settings->backend_count + (before ? before->embedded_count : 0) + 1,
                           sizeof(*set->embedded));
    if (!set->embedded)
        return -ENOMEM;
    for (size_t i = 0; i < settings->backend_count; i++) {
        const struct settings_backend *backend = &settings->backends[i];
        enum port_protocol protocol;
        int error;

        if (!settings_backend_embedded(backend) ||
            !settings_backend_protocol(settings, backend, &protocol))
            continue;
        error = open_embedded(opening, backend, protocol);
        if (error < 0)
            tell_embedded_failure(opening, backend, r = error);
    }
    return r < 0 ? r : keep_leaving(opening);
}

static void remove_socket(const struct embedded_listener *listener)
{
    struct socket_file socket = { .device = listener->device, .inode = listener->inode };

    memcpy(socket.path, listener->path, sizeof(socket.path));
    socket_file_remove(&socket);
}

void listener_set_own(struct listener_set *set)
{
    for (size_t i = 0; i < set->embedded_count; i++)
        set->embedded[i].borrowed = false;
}

void listener_set_close_embedded(struct embedded_listener *listener)
{
    if (listener->fd < 0)
        return;
    if (!listener->borrowed)
        remove_socket(listener);
    close(listener->fd);
    listener->fd = -1;
}

void listener_set_replace(struct listener_set *set, struct listener_set *before)
{
    for (size_t i = 0; i < set->embedded_count; i++) {
        struct embedded_listener *former = find_embedded(before, set->embedded[i].path);

        if (!set->embedded[i].borrowed || !former)
            continue;
        former->borrowed = true;
        set->embedded[i].borrowed = false;
    }
    listener_set_deinit(before);
}

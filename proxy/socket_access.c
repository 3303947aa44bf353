/* Walks from / to a socket and stops at the first folder that cannot be entered, or at the socket
 * where it cannot be written to, which is what connect() needs.
 *
 * Happy path: nothing stands in the way. Whatever cannot be looked at is taken for absent, and a
 * place with an access control list for open: the answer is for a warning, which must not be
 * wrong. */
#include "proxy/socket_access.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define ENTER 01 /* of the permissions of one class */
#define WRITE 02

static bool in_group(const struct account *account, gid_t gid)
{
    if (account->gid == gid)
        return true;
    for (uint32_t i = 0; i < account->group_count; i++)
        if (account->groups[i] == gid)
            return true;
    return false;
}

/* The owner's class counts for the owner alone, the group's for its members, also where others are
 * allowed more. */
static bool allows(const struct stat *status, const struct account *account, mode_t permission)
{
    if (account->uid == 0)
        return true;
    if (status->st_uid == account->uid)
        return status->st_mode & permission << 6;
    if (in_group(account, status->st_gid))
        return status->st_mode & permission << 3;
    return status->st_mode & permission;
}

static bool has_list(const char *path)
{
    return getxattr(path, "system.posix_acl_access", NULL, 0) > 0;
}

static void describe(const char *path, const struct stat *status, const struct account *account,
                     mode_t permission, struct socket_obstacle *obstacle)
{
    strcpy(obstacle->path, path);
    obstacle->folder = S_ISDIR(status->st_mode);
    obstacle->uid = status->st_uid;
    obstacle->gid = status->st_gid;
    obstacle->mode = status->st_mode & 07777;
    obstacle->group_would_do = (status->st_mode & permission << 3) &&
                               status->st_uid != account->uid && !in_group(account, status->st_gid);
}

/* One step of the way, to a folder or to the socket itself. */
static enum socket_access look_at(const char *path, bool last, const struct account *account,
                                  struct socket_obstacle *obstacle)
{
    mode_t permission = last ? WRITE : ENTER;
    struct stat status;

    if (stat(path, &status) < 0 || (!last && !S_ISDIR(status.st_mode)))
        return SOCKET_ACCESS_ABSENT;
    if (last && !S_ISSOCK(status.st_mode))
        return SOCKET_ACCESS_NO_SOCKET;
    if (allows(&status, account, permission) || has_list(path))
        return SOCKET_ACCESS_GOOD;
    describe(path, &status, account, permission, obstacle);
    return SOCKET_ACCESS_CLOSED;
}

enum socket_access socket_access(const char *path, const struct account *account,
                                 struct socket_obstacle *ret_obstacle)
{
    char real[PATH_MAX];
    enum socket_access access = look_at("/", false, account, ret_obstacle);

    /* Somebody who is not root may be stopped by the same folder: then it is found in the path as
     * it is written. */
    if (!realpath(path, real)) {
        if (strlen(path) >= sizeof(real))
            return SOCKET_ACCESS_ABSENT;
        strcpy(real, path);
    }
    for (char *slash = real; access == SOCKET_ACCESS_GOOD && slash;) {
        slash = strchr(slash + 1, '/');
        if (slash)
            *slash = '\0';
        access = look_at(real, !slash, account, ret_obstacle);
        if (slash)
            *slash = '/';
    }
    return access;
}

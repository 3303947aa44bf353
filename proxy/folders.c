/* Making folders with the right mode and owner. Fails where a parent is no folder or may not be
 * written. */
#include "proxy/folders.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

static int make_one(const char *path, mode_t mode, const struct account *owner)
{
    if (mkdir(path, 0700) < 0)
        return -errno;
    if (owner && lchown(path, owner->uid, owner->gid) < 0)
        return -errno;
    return chmod(path, mode) < 0 ? -errno : 0; /* whatever the umask is */
}

static int make_parents(const char *path)
{
    char part[PATH_MAX];

    if (strlen(path) >= sizeof(part))
        return -ENAMETOOLONG;
    strcpy(part, path);
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        int r;

        *slash = '\0';
        r = make_one(part, 0755, NULL);
        if (r < 0 && r != -EEXIST)
            return r;
        *slash = '/';
    }
    return 0;
}

static int look_at(const char *path, const struct account *owner)
{
    struct stat status;

    if (stat(path, &status) < 0)
        return -errno;
    if (!S_ISDIR(status.st_mode))
        return -ENOTDIR;
    if (owner && status.st_uid != owner->uid)
        log_line(LOG_LEVEL_WARNING, "folder %s belongs to user %u, its worker runs as user %u",
                 path, (unsigned)status.st_uid, (unsigned)owner->uid);
    return 0;
}

int folder_make(const char *path, mode_t mode, const struct account *owner)
{
    int r = look_at(path, owner);

    if (r == -ENOENT) {
        r = make_parents(path);
        if (r == 0)
            r = make_one(path, mode, owner);
    }
    if (r < 0)
        log_line(LOG_LEVEL_ERROR, "folder %s: %s", path, err_text(r));
    return r;
}

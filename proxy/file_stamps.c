/* Stamps of files: device, inode, size, times.
 *
 * Happy path: taken from the open descriptor, compared with what stat() says of the path later.
 * Fails for want of memory only. */
#include "proxy/file_stamps.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int make_room(struct file_stamps *stamps)
{
    size_t room = stamps->room ? 2 * stamps->room : 8;
    struct file_stamp *items;

    if (stamps->count < stamps->room)
        return 0;
    items = realloc(stamps->items, room * sizeof(*items));
    if (!items)
        return -ENOMEM;
    stamps->items = items;
    stamps->room = room;
    return 0;
}

static bool is_recent(const struct timespec *modified)
{
    return time(NULL) - modified->tv_sec <= FILE_STAMPS_SETTLED_S;
}

int file_stamps_add(struct file_stamps *stamps, const char *path, const struct stat *status)
{
    struct file_stamp stamp = { .path = NULL, .absent = !status };

    if (make_room(stamps) < 0)
        return -ENOMEM;
    stamp.path = strdup(path);
    if (!stamp.path)
        return -ENOMEM;
    if (status) {
        stamp.device = status->st_dev;
        stamp.inode = status->st_ino;
        stamp.size = status->st_size;
        stamp.modified = status->st_mtim;
        stamp.changed = status->st_ctim;
        stamp.recent = is_recent(&status->st_mtim) || is_recent(&status->st_ctim);
    }
    stamps->items[stamps->count++] = stamp;
    return 0;
}

static bool same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool has_changed(const struct file_stamp *stamp)
{
    struct stat status;

    if (stat(stamp->path, &status) < 0)
        return !stamp->absent;
    return stamp->absent || stamp->recent || stamp->device != status.st_dev ||
           stamp->inode != status.st_ino || stamp->size != status.st_size ||
           !same_time(&stamp->modified, &status.st_mtim) ||
           !same_time(&stamp->changed, &status.st_ctim);
}

bool file_stamps_changed(const struct file_stamps *stamps)
{
    for (size_t i = 0; i < stamps->count; i++)
        if (has_changed(&stamps->items[i]))
            return true;
    return false;
}

void file_stamps_deinit(struct file_stamps *stamps)
{
    for (size_t i = 0; i < stamps->count; i++)
        free(stamps->items[i].path);
    free(stamps->items);
    *stamps = (struct file_stamps){ 0 };
}

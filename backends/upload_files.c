/* The files of one upload: names, records that are whole or not there, and the part with its lock.
 *
 * Happy path: openat(), fsync(), renameat() in the folder of the user's uploads. Fails with the
 * -errno of the call that failed. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/uploads_private.h"

const char *upload_file_name(const char *id, const char *kind, char *room, size_t size)
{
    snprintf(room, size, "%.32s.%s", id, kind);
    return room;
}

bool upload_exists(const struct uploads *uploads, const char *name)
{
    return faccessat(uploads->folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int upload_sync_folder(const struct uploads *uploads)
{
    return fsync(uploads->folder) < 0 ? -errno : 0;
}

int upload_read_record(const struct uploads *uploads, const char *name, char **ret_text)
{
    int file = openat(uploads->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *text = file < 0 ? NULL : malloc(UPLOAD_RECORD_MAX + 1);
    ssize_t size;
    int r = 0;

    if (file < 0)
        return -errno;
    size = text ? pread(file, text, UPLOAD_RECORD_MAX, 0) : -1;
    if (size < 0)
        r = text ? -errno : -ENOMEM;
    close(file);
    if (r < 0) {
        free(text);
        return r;
    }
    text[size] = '\0';
    *ret_text = text;
    return 0;
}

int upload_write_record(const struct uploads *uploads, const char *name, struct span text)
{
    const char *fresh = UPLOAD_FILE(uploads->id, "new");
    int file = openat(uploads->folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                      0600),
        r = 0;
    ssize_t size;

    if (file < 0)
        return -errno;
    size = write(file, text.data, text.size);
    if (size < 0 || (size_t)size < text.size || fsync(file) < 0)
        r = size < 0 || (size_t)size == text.size ? -errno : -ENOSPC;
    close(file);
    if (r == 0 && renameat(uploads->folder, fresh, uploads->folder, name) < 0)
        r = -errno;
    if (r < 0)
        unlinkat(uploads->folder, fresh, 0);
    return r < 0 ? r : upload_sync_folder(uploads);
}

int upload_open_part(struct uploads *uploads, int flags)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct stat status;
    int r = 0;

    uploads->part = openat(uploads->folder, UPLOAD_FILE(uploads->id, "part"),
                           flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (uploads->part < 0)
        return -errno;
    if (fcntl(uploads->part, F_OFD_SETLK, &whole) < 0)
        r = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
    else if (fstat(uploads->part, &status) < 0)
        r = -errno;
    else if (status.st_nlink == 0)
        r = -EBUSY; /* somebody has finished it this moment */
    if (r < 0) {
        close(uploads->part);
        uploads->part = -1;
        return r;
    }
    uploads->size = uploads->synced = (uint64_t)status.st_size;
    return 0;
}

void upload_close_part(struct uploads *uploads)
{
    if (uploads->part >= 0)
        close(uploads->part);
    uploads->part = -1;
}

void upload_forget(struct uploads *uploads)
{
    static const char *const kinds[] = { "deliver", "meta", "part" };

    for (size_t i = 0; i < 3; i++)
        unlinkat(uploads->folder, UPLOAD_FILE(uploads->id, kinds[i]), 0);
    upload_sync_folder(uploads);
}

int upload_sync_part(struct uploads *uploads)
{
    if (fsync(uploads->part) < 0)
        return -errno;
    uploads->synced = uploads->size;
    return 0;
}

int upload_each_file(struct uploads *uploads,
                     void (*each)(struct uploads *uploads, const char *name, const char *kind,
                                  uint64_t *sums),
                     uint64_t *sums)
{
    int fd = openat(uploads->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!listing)
        return -errno;
    while ((entry = readdir(listing))) {
        struct span name = span_of_text(entry->d_name);

        if (name.size < REMOTE_UPLOAD_MAX + 2 || entry->d_name[REMOTE_UPLOAD_MAX] != '.' ||
            !remote_is_hex(span_first(name, REMOTE_UPLOAD_MAX), REMOTE_UPLOAD_MAX))
            continue;
        memcpy(uploads->id, entry->d_name, REMOTE_UPLOAD_MAX);
        each(uploads, entry->d_name, entry->d_name + REMOTE_UPLOAD_MAX + 1, sums);
    }
    closedir(listing);
    return 0;
}

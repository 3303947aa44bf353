/* Writing to the end, and the fsync of a folder. Fails with the -errno of the call that failed. */
#include "backends/disk.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

int disk_write(int file, struct span octets)
{
    while (octets.size > 0) {
        ssize_t written = write(file, octets.data, octets.size);

        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return written < 0 ? -errno : -EIO;
        octets = span_skip(octets, (size_t)written);
    }
    return 0;
}

int disk_sync_folder(int folder, const char *path)
{
    int fd = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

    if (fd < 0)
        return -errno;
    if (fsync(fd) < 0)
        r = -errno;
    close(fd);
    return r;
}

/* Reads PEM files into memory that is wiped when it is given back. Fails where a file cannot be
 * read, is none (a folder, a pipe), or is too large. */
#include "proxy/pem_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/err.h"

#define PEM_MAX_BYTES (1024 * 1024) /* a guess far above any chain */

static void wipe(char *data, size_t size)
{
    if (data)
        explicit_bzero(data, size);
    free(data);
}

/* *size grows with what is read, also where it fails. */
static int read_all(int fd, char *into, size_t *size)
{
    while (*size <= PEM_MAX_BYTES) {
        ssize_t count = read(fd, into + *size, PEM_MAX_BYTES + 1 - *size);

        if (count < 0 && errno != EINTR)
            return -errno;
        if (count == 0)
            return 0;
        *size += count > 0 ? (size_t)count : 0;
    }
    return -EFBIG;
}

/* Many files may be held at once: each in as little as it needs. */
static int read_open_file(int fd, struct pem_file *ret_file)
{
    struct pem_file file = { .data = NULL };
    char *room = malloc(PEM_MAX_BYTES + 1);
    int r;

    if (!room)
        return -ENOMEM;
    r = read_all(fd, room, &file.size);
    file.data = r == 0 ? malloc(file.size + 1) : NULL;
    if (r == 0 && !file.data)
        r = -ENOMEM;
    if (r == 0) {
        memcpy(file.data, room, file.size);
        *ret_file = file;
    }
    wipe(room, file.size);
    return r;
}

int pem_file_read(const char *path, struct file_stamps *stamps, struct pem_file *ret_file)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK), r = fd < 0 ? -errno : 0;
    struct stat status;
    bool known = fd >= 0 && fstat(fd, &status) == 0;

    if (file_stamps_add(stamps, path, known ? &status : NULL) < 0)
        r = -ENOMEM;
    if (r == 0 && known && !S_ISREG(status.st_mode))
        r = S_ISDIR(status.st_mode) ? -EISDIR : -EINVAL;
    if (r == 0)
        r = read_open_file(fd, ret_file);
    if (fd >= 0)
        close(fd);
    return r;
}

const char *pem_file_error(int error)
{
    return error == -EINVAL ? "it is no regular file" : err_text(error);
}

void pem_file_drop(struct pem_file *file)
{
    wipe(file->data, file->size);
    *file = (struct pem_file){ NULL, 0 };
}

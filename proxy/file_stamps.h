/* What files were when they were read: has one of them changed since?
 *
 * Files that change within the tick of the clock that stamps them look the same afterwards; one
 * that was written to just before it was read counts as changed until it is read again. */
#ifndef GATEPOST_PROXY_FILE_STAMPS_H
#define GATEPOST_PROXY_FILE_STAMPS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <time.h>

#define FILE_STAMPS_SETTLED_S 2 /* file systems' clocks tick in at most these seconds */

struct file_stamp {
    char *path;
    bool absent; /* it could not be opened; the rest is 0 then */
    bool recent; /* it had been written to just before */
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified, changed;
};

/* All zero: none. */
struct file_stamps {
    struct file_stamp *items;
    size_t count, room;
};

/* One more file (or folder), just read; `status` NULL: it could not be. 0 or -ENOMEM. */
int file_stamps_add(struct file_stamps *stamps, const char *path, const struct stat *status);

/* Is one of them not what it was? */
bool file_stamps_changed(const struct file_stamps *stamps);

void file_stamps_deinit(struct file_stamps *stamps);

#endif

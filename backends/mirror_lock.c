/* The places of a user's mirrors: record locks on one byte each of one empty file, at the offset
 * that the id of the mirror names. The kernel tells which process holds such a lock, and frees it
 * when that process ends in any way.
 *
 * Happy path: nobody has it. Else the holder is told to end, through a descriptor of the process,
 * so that no other process of that number can be hit. */
#include "backends/mirror_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOCK_NAME ".gatepost-mirrors.lock"

/* How long an older session may take to make the deletion of what was acknowledged durable, before
 * the newer one is told to come again (guessed). It is not killed: it may be waiting for the yes of
 * a relay, and who asks the relay anew would double the message. */
#define TRY_NS 10000000
#define TRIES  500

static struct flock place_of(struct span mirror)
{
    char digits[17] = "";

    memcpy(digits, mirror.data, mirror.size < 16 ? mirror.size : 16);
    return (struct flock){ .l_type = F_WRLCK,
                           .l_whence = SEEK_SET,
                           .l_start = (off_t)(strtoull(digits, NULL, 16) >> 1),
                           .l_len = 1 };
}

/* 0, -EBUSY or -errno. */
static int try_place(int file, struct flock place)
{
    if (fcntl(file, F_SETLK, &place) == 0)
        return 0;
    return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
}

/* Tells whoever has the place to end, if it still has it. */
static void end_holder(int file, struct flock place)
{
    struct flock found = place;
    int process;

    if (fcntl(file, F_GETLK, &found) < 0 || found.l_type == F_UNLCK || found.l_pid <= 0)
        return;
    process = (int)syscall(SYS_pidfd_open, found.l_pid, 0);
    if (process < 0)
        return;
    if (fcntl(file, F_GETLK, &place) == 0 && place.l_type != F_UNLCK && place.l_pid == found.l_pid)
        syscall(SYS_pidfd_send_signal, process, SIGTERM, NULL, 0);
    close(process);
}

static int wait_for_place(int file, struct flock place, int tries)
{
    static const struct timespec wait = { .tv_nsec = TRY_NS };
    int r = try_place(file, place);

    for (int i = 0; r == -EBUSY && i < tries; i++) {
        nanosleep(&wait, NULL);
        r = try_place(file, place);
    }
    return r;
}

int mirror_lock_take(int folder, struct span mirror)
{
    struct flock place = place_of(mirror);
    int file = openat(folder, LOCK_NAME, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600), r;

    if (file < 0)
        return -errno;
    r = try_place(file, place);
    if (r == -EBUSY) {
        end_holder(file, place);
        r = wait_for_place(file, place, TRIES);
    }
    if (r < 0) {
        close(file);
        return r;
    }
    return file;
}

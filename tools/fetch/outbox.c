/* An outbox: opening it, its lock, its watch, and the octets of one message after the other. What
 * is to be sent finds outbox_scan.c; what becomes of it then, outbox_finish.c.
 *
 * Happy path: a scan reads every message once, for its envelope and its digests. begin() writes the
 * record, read() gives the octets, done() moves the message and removes the record, in this order:
 * whatever a crash leaves undone, the record is there as long as the message is, and its id tells
 * from the server whether it has been delivered. A message that cannot be sent goes to .Failed,
 * and the others go on. */
#include "tools/fetch/outbox_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/fetch/folder.h"

#define STATE_FOLDER "gatepost-fetch"

/* ---- open and close ---- */

static int copy_options(struct outbox *outbox, const struct outbox_options *options)
{
    outbox->refused = options->refused;
    outbox->waits = options->waits;
    outbox->context = options->context;
    outbox->account = strdup(options->account);
    outbox->sender = options->sender ? strdup(options->sender) : NULL;
    return outbox->account && (outbox->sender || !options->sender) ? 0 : -ENOMEM;
}

static int open_state(struct outbox *outbox)
{
    if (mkdirat(outbox->folder, STATE_FOLDER, 0700) < 0 && errno != EEXIST)
        return -errno;
    outbox->state = openat(outbox->folder, STATE_FOLDER, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (outbox->state < 0)
        return -errno;
    outbox->lock = openat(outbox->state, ".lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (outbox->lock < 0)
        return -errno;
    return fsync(outbox->folder) < 0 ? -errno : 0; /* the state folder itself */
}

/* 1: `path` is the folder of this descriptor; 0: it is not, or is not there. */
static int is_folder(int folder, const char *path)
{
    struct stat a, b;

    return path && fstat(folder, &a) == 0 && stat(path, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

int outbox_open(const struct outbox_options *options, struct outbox **ret_outbox)
{
    struct outbox *outbox = calloc(1, sizeof(*outbox));
    int r;

    if (!outbox)
        return -ENOMEM;
    outbox->folder = outbox->state = outbox->sent = outbox->lock = outbox->watch = -1;
    r = copy_options(outbox, options);
    if (r == 0)
        r = folder_open(AT_FDCWD, options->folder, &outbox->folder);
    if (r == 0 &&
        (is_folder(outbox->folder, options->sent) || is_folder(outbox->folder, options->maildir)))
        r = -EINVAL;
    if (r == 0 && options->sent)
        r = folder_open(AT_FDCWD, options->sent, &outbox->sent);
    if (r == 0)
        r = open_state(outbox);
    if (r < 0)
        outbox_close(outbox);
    else
        *ret_outbox = outbox;
    return r;
}

void outbox_forget(struct outbox *outbox)
{
    outbox_end(outbox);
    for (size_t i = 0; i < outbox->entry_count; i++) {
        free(outbox->entries[i].base);
        free(outbox->entries[i].path);
        free(outbox->entries[i].shown);
        record_deinit(&outbox->entries[i].record);
    }
    free(outbox->entries);
    free(outbox->items);
    free(outbox->origins);
    outbox->entries = NULL;
    outbox->items = NULL;
    outbox->origins = NULL;
    outbox->entry_count = outbox->item_count = 0;
}

void outbox_close_one(int fd)
{
    if (fd >= 0)
        close(fd);
}

void outbox_close(struct outbox *outbox)
{
    if (!outbox)
        return;
    outbox_forget(outbox);
    outbox_close_one(outbox->watch);
    outbox_close_one(outbox->lock);
    outbox_close_one(outbox->state);
    outbox_close_one(outbox->sent);
    outbox_close_one(outbox->folder);
    free(outbox->sender);
    free(outbox->account);
    free(outbox);
}

int outbox_lock(struct outbox *outbox)
{
    if (!outbox->locked && flock(outbox->lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? -EBUSY : -errno;
    outbox->locked = true;
    return 0;
}

void outbox_unlock(struct outbox *outbox)
{
    outbox_forget(outbox);
    if (outbox->locked)
        flock(outbox->lock, LOCK_UN);
    outbox->locked = false;
}

/* ---- the watch ---- */

/* Opens the watch. The descriptor or -errno. */
static int open_watch(const struct outbox *outbox)
{
    static const char *const places[] = { "new", "cur" };
    int watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), r = 0;

    if (watch < 0)
        return -errno;
    for (size_t i = 0; r == 0 && i < 2; i++) {
        char path[64]; /* the folder may have been given relative to another one */

        snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", outbox->folder, places[i]);
        if (inotify_add_watch(watch, path, IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR) <
            0)
            r = -errno;
    }
    if (r == 0)
        return watch;
    close(watch);
    return r;
}

int outbox_watch(struct outbox *outbox)
{
    int watch;

    if (outbox->watch >= 0)
        return outbox->watch;
    watch = open_watch(outbox);
    if (watch >= 0)
        outbox->watch = watch;
    return watch;
}

/* ---- one item ---- */

/* Opens the file of an entry, also where another program has renamed it since. */
int outbox_open_entry(struct outbox *outbox, struct outbox_entry *entry)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = openat(outbox->folder, entry->path, flags), r;
    char room[PATH_MAX], *path;
    struct text found = TEXT_OVER(room);

    if (fd >= 0 || errno != ENOENT)
        return fd < 0 ? -errno : fd;
    r = folder_find(outbox->folder, entry->base, &found);
    if (r < 0)
        return r;
    path = strdup(room);
    if (!path)
        return -ENOMEM;
    free(entry->path);
    entry->path = path;
    fd = openat(outbox->folder, entry->path, flags);
    return fd < 0 ? -errno : fd;
}

int outbox_write_record(struct outbox *outbox, struct outbox_entry *entry)
{
    int r = record_write(outbox->state, entry->base, &entry->record);

    if (r == 0)
        entry->recorded = true;
    return r;
}

int outbox_begin(struct outbox *outbox, size_t index, uint64_t offset)
{
    struct outbox_entry *entry;
    int fd, r;

    outbox_end(outbox);
    if (index >= outbox->item_count || offset > outbox->items[index].octets)
        return -EINVAL;
    entry = outbox->origins[index].entry;
    fd = outbox_open_entry(outbox, entry);
    if (fd >= 0 && outbox_is_withdrawn(entry->path)) { /* since the scan */
        close(fd);
        fd = -ENOENT;
    }
    if (fd < 0)
        return fd;
    r = entry->recorded ? 0 : outbox_write_record(outbox, entry);
    if (r < 0) {
        close(fd);
        return r;
    }
    outbox->items[index].begun = true;
    outbox->reading = entry;
    outbox->skip = offset;
    outbox->pieces = span_of(NULL, 0);
    return source_new(fd, entry->record.added, false, &outbox->source);
}

/* The last piece has been read: is it the message that was announced? */
static int check_end(struct outbox *outbox)
{
    char digits[REMOTE_DIGEST_MAX + 1];
    int r = source_at_end(outbox->source);

    if (r <= 0)
        return r == 0 ? -ESTALE : r;
    r = source_digests(outbox->source, NULL, digits);
    if (r < 0)
        return r;
    return strcmp(digits, outbox->reading->record.digest) == 0 ? 0 : -ESTALE;
}

/* The next piece that holds wanted octets; empty at the end. */
static int next_piece(struct outbox *outbox)
{
    uint64_t octets = outbox->reading->record.octets;
    int r = 0;

    while (r == 0 && outbox->pieces.size == 0 && outbox->source->octets < octets) {
        struct span piece;
        size_t skipped;

        r = source_next(outbox->source, &piece);
        if (r < 0)
            return r;
        if (piece.size == 0 || outbox->source->octets > octets)
            return -ESTALE;
        skipped = outbox->skip < piece.size ? (size_t)outbox->skip : piece.size;
        outbox->skip -= skipped;
        outbox->pieces = span_skip(piece, skipped);
        if (outbox->source->octets == octets)
            r = check_end(outbox);
    }
    return r;
}

int outbox_read(struct outbox *outbox, unsigned char *into, size_t room, size_t *ret_size)
{
    size_t size;
    int r;

    if (!outbox->source)
        return -EINVAL;
    r = next_piece(outbox);
    if (r < 0) {
        outbox_end(outbox);
        return r;
    }
    size = outbox->pieces.size < room ? outbox->pieces.size : room;
    if (size > 0)
        memcpy(into, outbox->pieces.data, size);
    outbox->pieces = span_skip(outbox->pieces, size);
    *ret_size = size;
    return 0;
}

void outbox_end(struct outbox *outbox)
{
    source_free(outbox->source);
    outbox->source = NULL;
    outbox->reading = NULL;
    outbox->pieces = span_of(NULL, 0);
}

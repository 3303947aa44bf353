/* Opening a local Maildir, and what a run that was killed has left in it.
 *
 * Happy path: the folders are there or are made, nobody else has the lock, the mailbox is the one
 * that it mirrors, the journal is read, and what stands in it is finished: what was durable in tmp/
 * is renamed, what was whole is looked at and stored. Of the rest in tmp/ only the part of the next
 * message stays. What was durable and is nowhere now is fetched again. */
#include "tools/fetch/mirror_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/disk.h"
#include "proxy/base/err.h"
#include "tools/fetch/folder.h"

#define STATE_NAME  "gatepost-fetch"
#define MAILBOX_MAX 1024

static const struct remote_uid none = { 0, 0 };

/* ---- folders and files ---- */

static int open_folder(int at, const char *name)
{
    int fd;

    if (mkdirat(at, name, 0700) < 0 && errno != EEXIST)
        return -errno;
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* Of a few octets; durable, and never half. */
static int write_file(struct mirror *mirror, const char *name, struct span text)
{
    int fd =
        openat(mirror->state, "new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : disk_write(fd, text);

    if (fd < 0)
        return r;
    if (r == 0 && (fsync(fd) < 0 || renameat(mirror->state, "new", mirror->state, name) < 0 ||
                   fsync(mirror->state) < 0))
        r = -errno;
    close(fd);
    return r;
}

/* The size of what is in it, without a line end; 0 where there is no such file. Or -errno. */
static long read_file(struct mirror *mirror, const char *name, char *into, size_t room)
{
    int fd = openat(mirror->state, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t size;

    if (fd < 0)
        return errno == ENOENT ? 0 : -errno;
    size = read(fd, into, room);
    if (size < 0)
        size = -errno;
    close(fd);
    while (size > 0 && into[size - 1] == '\n')
        size--;
    return size;
}

static int take_id(struct mirror *mirror)
{
    unsigned char random[REMOTE_MIRROR_MAX / 2];
    char line[REMOTE_MIRROR_MAX + 2];
    long size = read_file(mirror, "id", line, sizeof(line));

    if (size < 0)
        return (int)size;
    if (!remote_is_hex(span_of(line, (size_t)size), REMOTE_MIRROR_MAX)) {
        if (getrandom(random, sizeof(random), 0) != sizeof(random))
            return -EIO;
        for (size_t i = 0; i < sizeof(random); i++)
            snprintf(line + 2 * i, 3, "%02x", random[i]);
        memcpy(mirror->id, line, REMOTE_MIRROR_MAX);
        line[REMOTE_MIRROR_MAX] = '\n';
        return write_file(mirror, "id", span_of(line, REMOTE_MIRROR_MAX + 1));
    }
    memcpy(mirror->id, line, REMOTE_MIRROR_MAX);
    return 0;
}

/* 0, MIRROR_OTHER or -errno. */
static int take_mailbox(struct mirror *mirror, struct text *words)
{
    char room[MAILBOX_MAX], had[MAILBOX_MAX];
    struct text wanted = TEXT_OVER(room);
    long size = read_file(mirror, "mailbox", had, sizeof(had));

    text_printf(&wanted, "%s at %s", mirror->options.user, mirror->options.host);
    if (size < 0 || wanted.overflow)
        return size < 0 ? (int)size : -ENAMETOOLONG;
    if (span_equal(span_of(had, (size_t)size), text_span(&wanted)))
        return 0;
    if (size > 0) {
        text_put_escaped(words, span_of(had, (size_t)size), sizeof(had));
        return MIRROR_OTHER;
    }
    text_puts(&wanted, "\n");
    return write_file(mirror, "mailbox", text_span(&wanted));
}

/* ---- the journal ---- */

static bool is_later(struct remote_uid uid, struct remote_uid than)
{
    return uid.epoch != than.epoch || uid.number > than.number;
}

static void all_done(struct mirror *mirror)
{
    for (size_t i = mirror->stored.count; i > 0; i--) {
        struct stored *item = &mirror->stored.items[i - 1];

        if (item->stage == STORED_TAKEN)
            item->stage = STORED_DONE;
    }
}

static int put(struct mirror *mirror, const struct journal_record *record, enum stored_stage stage)
{
    if (stage != STORED_WHOLE && is_later(record->uid, mirror->last))
        mirror->last = record->uid;
    return stored_put(&mirror->stored, record->uid, record->digest, stage, record->name);
}

static int on_record(void *context, const struct journal_record *record)
{
    struct mirror *mirror = context;

    switch (record->kind) {
    case JOURNAL_LAST:
        mirror->last = record->uid;
        return 0;
    case JOURNAL_KEPT:
        return put(mirror, record, STORED_DONE);
    case JOURNAL_WHOLE:
        return put(mirror, record, STORED_WHOLE);
    case JOURNAL_TAKEN:
        return put(mirror, record, STORED_TAKEN);
    case JOURNAL_DONE:
        all_done(mirror);
        return 0;
    case JOURNAL_ALIKE:
        stored_rename(&mirror->stored, record->uid, record->other);
        mirror->last = record->other;
        return 0;
    case JOURNAL_SYNCED:
        stored_remove_up_to(&mirror->stored, record->uid);
        return 0;
    case JOURNAL_PARTIAL:
        mirror->partial = record->uid;
        mirror->after = record->other;
        return 0;
    }
    return -EINVAL;
}

/* ---- what was left ---- */

/* 0: it is renamed, now or before the kill, and may have been read since. -ENOENT: it is nowhere.
 */
static int finish_rename(struct mirror *mirror, const struct stored *item)
{
    char room[NAME_MAX + 8];
    struct text path = TEXT_OVER(room);
    int r = mirror_rename(mirror, item->uid, item->name);

    if (r != -ENOENT)
        return r;
    if (faccessat(mirror->fresh, item->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    return folder_find(mirror->maildir, item->name, &path);
}

/* What is nowhere (some programs remove files of tmp/ that are older than 36 hours) was not
 * acknowledged, so the server has it still: it and all behind it comes again, but for what is here.
 * Who has read and deleted it in between, or filed it elsewhere, gets it a second time; that looks
 * the same as a loss, and mail must not be lost. */
static void lose(struct mirror *mirror, struct stored *item, bool *lost)
{
    if (!*lost)
        mirror->last = (struct remote_uid){ item->uid.epoch, item->uid.number - 1 };
    *lost = true;
    item->stage = STORED_WHOLE; /* store_whole() will see that it is not, and end there */
}

/* *ret_lost: something is lost, and the journal must be written anew. */
static int rename_taken(struct mirror *mirror, bool *ret_lost)
{
    bool any = false, lost = false;
    int r = 0;

    for (size_t i = 0; i < mirror->stored.count; i++) {
        struct stored *item = &mirror->stored.items[i];

        if (item->stage != STORED_TAKEN)
            continue;
        any = true;
        r = finish_rename(mirror, item);
        if (r < 0 && r != -ENOENT)
            return r;
        item->stage = STORED_DONE;
        if (r == -ENOENT)
            lose(mirror, item, &lost);
    }
    *ret_lost = lost;
    if (any && fsync(mirror->fresh) < 0)
        return -errno;
    if (!any || lost)
        return 0;
    r = mirror_note(mirror, JOURNAL_DONE, mirror->last, none);
    return r == 0 ? journal_write(&mirror->journal) : r;
}

/* A message that is whole in tmp/ is put among those to be stored. -ENOENT: it is not what the
 * journal says. */
static int take_whole(struct mirror *mirror, const struct stored *item)
{
    char name[INCOMING_NAME_MAX], digits[REMOTE_DIGEST_MAX];
    struct stat status;
    int fd, r;

    incoming_name(item->uid, name);
    fd = openat(mirror->tmp, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? -ENOENT : -errno;
    r = fstat(fd, &status) < 0 ? -errno : incoming_digest(mirror->incoming.digest, fd, digits);
    if (r == 0 && memcmp(digits, item->digest, REMOTE_DIGEST_MAX) != 0)
        r = -ENOENT;
    if (r < 0) {
        close(fd);
        return r;
    }
    return mirror_group_add(mirror, item->uid, span_of(item->digest, REMOTE_DIGEST_MAX), fd,
                            (uint64_t)status.st_size);
}

/* Copies, as storing them changes the list, and takes those that are whole off it. */
static int split_whole(struct mirror *mirror, struct stored_list *ret_whole)
{
    struct stored_list *list = &mirror->stored;
    size_t kept = 0;
    int r = 0;

    for (size_t i = 0; i < list->count; i++) {
        struct stored *item = &list->items[i];

        if (item->stage != STORED_WHOLE) {
            list->items[kept++] = *item;
            continue;
        }
        if (r == 0 && is_later(item->uid, mirror->last))
            r = stored_put(ret_whole, item->uid, span_of(item->digest, REMOTE_DIGEST_MAX),
                           STORED_WHOLE, SPAN_LIT(""));
        free(item->name);
    }
    list->count = kept;
    return r;
}

/* The first that is not whole after all ends it: what was behind it comes again. */
static int store_whole(struct mirror *mirror)
{
    struct stored_list whole = { .items = NULL };
    int r = split_whole(mirror, &whole);

    for (size_t i = 0; r == 0 && i < whole.count; i++)
        r = take_whole(mirror, &whole.items[i]);
    stored_free(&whole);
    if (r == -ENOENT)
        r = 0;
    return r == 0 ? mirror_commit(mirror) : r;
}

/* Removes all that is ours in tmp/ but the part of the next message. */
static int clean(struct mirror *mirror)
{
    bool keep =
        is_later(mirror->partial, mirror->last) && remote_uid_equal(mirror->after, mirror->last);
    DIR *listing = folder_list(mirror->maildir, "tmp");
    struct dirent *entry;
    struct remote_uid uid;

    if (!listing)
        return -errno;
    if (!keep)
        mirror->partial = none;
    while ((entry = readdir(listing)))
        if (incoming_name_read(entry->d_name, &uid) && !remote_uid_equal(uid, mirror->partial))
            unlinkat(mirror->tmp, entry->d_name, 0);
    closedir(listing);
    return 0;
}

static int recover(struct mirror *mirror)
{
    bool lost = false;
    int r = rename_taken(mirror, &lost);

    if (r == 0)
        r = store_whole(mirror);
    if (r == 0)
        r = clean(mirror);
    if (r < 0)
        return r;
    return lost ? mirror_write_anew(mirror) : mirror_compact(mirror);
}

/* ---- opening ---- */

static int open_folders(struct mirror *mirror)
{
    mirror->maildir = open_folder(AT_FDCWD, mirror->options.maildir);
    if (mirror->maildir < 0)
        return mirror->maildir;
    mirror->tmp = open_folder(mirror->maildir, "tmp");
    mirror->fresh = open_folder(mirror->maildir, "new");
    mirror->state = open_folder(mirror->maildir, "cur");
    if (mirror->tmp < 0 || mirror->fresh < 0 || mirror->state < 0)
        return mirror->tmp < 0 ? mirror->tmp : mirror->fresh < 0 ? mirror->fresh : mirror->state;
    close(mirror->state);
    mirror->state = open_folder(mirror->maildir, STATE_NAME);
    if (mirror->state < 0)
        return mirror->state;
    return fsync(mirror->maildir) < 0 ? -errno : 0;
}

static int take_lock(struct mirror *mirror)
{
    mirror->lock = openat(mirror->state, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (mirror->lock < 0)
        return -errno;
    if (flock(mirror->lock, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK ? MIRROR_BUSY : -errno;
    return 0;
}

/* `*what` is what is being done. */
static int open_steps(struct mirror *mirror, struct text *words, const char **what)
{
    int r = incoming_init(&mirror->incoming);

    *what = "cannot be opened";
    if (r == 0)
        r = open_folders(mirror);
    if (r == 0)
        r = take_lock(mirror);
    if (r == 0)
        r = take_mailbox(mirror, words);
    if (r == 0)
        r = take_id(mirror);
    if (r != 0)
        return r;
    *what = "the journal in " STATE_NAME " cannot be read";
    r = journal_open(&mirror->journal, mirror->state, on_record, mirror);
    if (r == 0) {
        *what = "what an earlier run has received cannot be stored";
        r = recover(mirror);
    }
    return r;
}

int mirror_open(struct mirror *mirror, const struct mirror_options *options, struct text *words)
{
    const char *what = "";
    int r;

    *mirror = (struct mirror){ .options = *options,
                               .maildir = -1,
                               .tmp = -1,
                               .fresh = -1,
                               .state = -1,
                               .lock = -1,
                               .journal = { .fd = -1 },
                               .incoming = { .fd = -1 } };
    r = open_steps(mirror, words, &what);
    if (r == 0)
        return 0;
    if (r < 0)
        text_printf(words, "%s: %s: %s", options->maildir, what, err_text(r));
    mirror_close(mirror);
    return r;
}

static void close_one(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void mirror_close(struct mirror *mirror)
{
    for (size_t i = 0; i < mirror->group_count; i++)
        close(mirror->group[i].fd);
    mirror->group_count = 0;
    incoming_deinit(&mirror->incoming);
    journal_close(&mirror->journal);
    stored_free(&mirror->stored);
    close_one(&mirror->tmp);
    close_one(&mirror->fresh);
    close_one(&mirror->state);
    close_one(&mirror->lock);
    close_one(&mirror->maildir);
}

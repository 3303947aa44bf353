/* The file `gatepost-acks` of a Maildir: one uid a line.
 *
 * Happy path: there is none, or it is empty. Uids of another epoch, and the end of a line that a
 * crash cut off, mean nothing. All under the lock of the index of uids. Fails with the -errno of
 * the call that failed. */
#include "backends/maildrop_journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends/uid_index.h"
#include "proxy/base/remote_frame.h"

#define JOURNAL_NAME "gatepost-acks"
#define JOURNAL_TEMP "gatepost-acks.new"

static struct maildrop_message *find(const struct maildrop *maildrop, uint64_t number)
{
    size_t low = 0, high = maildrop->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (maildrop->messages[middle].number < number)
            low = middle + 1;
        else
            high = middle;
    }
    return low < maildrop->count && maildrop->messages[low].number == number
               ? &maildrop->messages[low]
               : NULL;
}

/* Calls `each` with every message of the maildrop that the journal names. False: there is no
 * journal. */
static int read_journal(const struct maildrop *maildrop,
                        void (*each)(struct maildrop_message *message, struct remote_uid uid,
                                     FILE *out),
                        FILE *out)
{
    int fd = openat(maildrop->folder, JOURNAL_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    FILE *file = fd < 0 ? NULL : fdopen(fd, "r");
    char line[REMOTE_LINE_MAX];
    int r = 0;

    if (!file) {
        r = errno == ENOENT ? 0 : -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    while (fgets(line, sizeof(line), file)) {
        struct span word = span_of_text(line);
        struct remote_uid uid;

        if (word.size > 0 && word.data[word.size - 1] == '\n' &&
            remote_uid_parse(span_without_line_end(word), false, &uid) &&
            uid.epoch == maildrop->epoch)
            each(find(maildrop, uid.number), uid, out);
    }
    if (ferror(file))
        r = -EIO;
    fclose(file);
    return r;
}

static void mark(struct maildrop_message *message, struct remote_uid uid, FILE *out)
{
    (void)uid;
    (void)out;
    if (message)
        message->deleted = true;
}

int maildrop_journal_mark(struct maildrop *maildrop)
{
    return read_journal(maildrop, mark, NULL);
}

static int sync_and_close(FILE *file)
{
    int r = fflush(file) != 0 || fsync(fileno(file)) < 0 ? -errno : 0;

    if (fclose(file) != 0 && r == 0)
        r = -errno;
    return r;
}

static FILE *open_for_writing(const struct maildrop *maildrop, const char *name, int flags)
{
    int fd =
        openat(maildrop->folder, name, flags | O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    FILE *file = fd < 0 ? NULL : fdopen(fd, flags & O_APPEND ? "a" : "w");

    if (fd >= 0 && !file)
        close(fd);
    return file;
}

static bool is_to_be_added(const struct maildrop_message *message)
{
    return message->deleted && !message->removed && !message->journalled;
}

static int add_lines(const struct maildrop *maildrop)
{
    FILE *file = open_for_writing(maildrop, JOURNAL_NAME, O_APPEND);
    int r;

    if (!file)
        return -errno;
    fputs("\n", file); /* what a crash cut off is no line of ours */
    for (size_t i = 0; i < maildrop->count; i++)
        if (is_to_be_added(&maildrop->messages[i]))
            fprintf(file, "%s\n", maildrop->messages[i].uid);
    r = sync_and_close(file);
    return r == 0 && fsync(maildrop->folder) < 0 ? -errno : r;
}

int maildrop_journal_add(struct maildrop *maildrop)
{
    int lock = uid_index_lock(maildrop->folder), r;

    if (lock < 0)
        return lock;
    r = add_lines(maildrop);
    close(lock);
    for (size_t i = 0; r == 0 && i < maildrop->count; i++)
        if (is_to_be_added(&maildrop->messages[i]))
            maildrop->messages[i].journalled = true;
    return r;
}

static void put_line(struct remote_uid uid, FILE *out)
{
    fprintf(out, "%08x.%llu\n", uid.epoch, (unsigned long long)uid.number);
}

/* For a list that was made under the lock and has all that is there. */
static void keep_present(struct maildrop_message *message, struct remote_uid uid, FILE *out)
{
    if (message && !message->removed)
        put_line(uid, out);
}

/* For a view: what it has not may have come later. */
static void keep_unknown(struct maildrop_message *message, struct remote_uid uid, FILE *out)
{
    if (!message || !message->removed)
        put_line(uid, out);
}

static int rewrite(const struct maildrop *maildrop)
{
    FILE *file = open_for_writing(maildrop, JOURNAL_TEMP, O_TRUNC);
    int r = file ? read_journal(maildrop, maildrop->lock >= 0 ? keep_present : keep_unknown, file)
                 : -errno;

    if (file) {
        int synced = sync_and_close(file);

        r = r < 0 ? r : synced;
    }
    if (r == 0 && renameat(maildrop->folder, JOURNAL_TEMP, maildrop->folder, JOURNAL_NAME) < 0)
        r = -errno;
    return r;
}

int maildrop_journal_clear(const struct maildrop *maildrop)
{
    int lock, r = 0;

    if (faccessat(maildrop->folder, JOURNAL_NAME, F_OK, 0) < 0)
        return errno == ENOENT ? 0 : -errno;
    lock = uid_index_lock(maildrop->folder);
    if (lock < 0)
        return lock;
    r = rewrite(maildrop);
    close(lock);
    return r;
}

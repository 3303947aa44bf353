/* The journal of a local Maildir.
 *
 * Happy path: read once, line by line; then lines are held, written in one piece, and fsynced where
 * the caller needs it. A line that cannot be read is the end of what is known: it and all behind it
 * is cut off. Fails with the -errno of the call that failed. */
#include "tools/fetch/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/disk.h"

#define RESERVED_OCTETS 4096 /* more than any line */
#define FILE_NAME       "journal"
#define FILE_TEMP       "journal.new"
#define FIRST_LINE      "gatepost-fetch 1\n"
#define LINE_MAX_       (2 + 2 * (REMOTE_UID_MAX + 1) + REMOTE_DIGEST_MAX + 1 + JOURNAL_NAME_MAX + 1)
#define BYTES_MAX       (1L << 30) /* what is longer is no journal of ours (guessed) */

/* ---- lines ---- */

/* A name that can stand in new/: printable, no blank, no slash. */
static bool is_name(struct span name)
{
    for (size_t i = 0; i < name.size; i++)
        if (name.data[i] <= ' ' || name.data[i] >= 0x7f || name.data[i] == '/')
            return false;
    return name.size > 0 && name.size <= JOURNAL_NAME_MAX && name.data[0] != '.';
}

static bool read_rest(struct span line, struct journal_record *record)
{
    switch (record->kind) {
    case JOURNAL_KEPT:
    case JOURNAL_WHOLE:
        record->digest = line;
        return remote_is_hex(line, REMOTE_DIGEST_MAX);
    case JOURNAL_TAKEN:
        record->digest = span_take_word(&line);
        record->name = line;
        return remote_is_hex(record->digest, REMOTE_DIGEST_MAX) && is_name(line);
    case JOURNAL_ALIKE:
        return remote_uid_parse(line, false, &record->other);
    case JOURNAL_PARTIAL:
        return remote_uid_parse(line, true, &record->other);
    case JOURNAL_LAST:
    case JOURNAL_DONE:
    case JOURNAL_SYNCED:
        return line.size == 0;
    }
    return false;
}

static bool read_record(struct span line, struct journal_record *ret_record)
{
    struct journal_record record = { .name = { NULL, 0 } };
    struct span kind = span_take_word(&line);

    if (kind.size != 1)
        return false;
    record.kind = kind.data[0];
    if (!remote_uid_parse(span_take_word(&line), record.kind == JOURNAL_LAST, &record.uid) ||
        !read_rest(line, &record))
        return false;
    *ret_record = record;
    return true;
}

static void put_record(struct text *line, const struct journal_record *record)
{
    text_printf(line, "%c ", record->kind);
    remote_uid_put(line, record->uid);
    if (record->digest.size > 0)
        text_puts(line, " ");
    text_put(line, record->digest);
    if (record->name.size > 0)
        text_puts(line, " ");
    text_put(line, record->name);
    if (record->kind == JOURNAL_ALIKE || record->kind == JOURNAL_PARTIAL) {
        text_puts(line, " ");
        remote_uid_put(line, record->other);
    }
    text_puts(line, "\n");
}

/* ---- the file ---- */

/* All of the file, on the heap. */
static int slurp(int fd, char **ret_text, size_t *ret_size)
{
    struct stat status;
    size_t size = 0;
    char *text;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode) || status.st_size > BYTES_MAX)
        return -EINVAL;
    text = malloc((size_t)status.st_size + 1);
    if (!text)
        return -ENOMEM;
    while (size < (size_t)status.st_size) {
        ssize_t got = pread(fd, text + size, (size_t)status.st_size - size, (off_t)size);

        if (got <= 0) {
            free(text);
            return got < 0 ? -errno : -EIO;
        }
        size += (size_t)got;
    }
    *ret_text = text;
    *ret_size = size;
    return 0;
}

/* Tells of each line; journal->size is where the good ones end. */
static int read_lines(struct journal *journal, struct span rest, journal_reader *reader,
                      void *context)
{
    struct span first = SPAN_LIT(FIRST_LINE);
    int r = 0;

    journal->size = journal->lines = 0;
    if (!span_equal(span_first(rest, first.size), first))
        return 0;
    rest = span_skip(rest, first.size);
    journal->size = first.size;
    while (r == 0 && rest.size > 0) {
        struct journal_record record;
        size_t size = span_find(rest, '\n');

        if (size == rest.size || !read_record(span_first(rest, size), &record))
            break;
        r = reader(context, &record);
        rest = span_skip(rest, size + 1);
        journal->size += size + 1;
        journal->lines++;
    }
    return r;
}

static int begin_file(struct journal *journal)
{
    struct span first = SPAN_LIT(FIRST_LINE);
    int r = ftruncate(journal->fd, (off_t)journal->size) < 0 ? -errno : 0;

    if (r < 0 || journal->size > 0)
        return r;
    r = disk_write(journal->fd, first);
    if (r == 0 && (fsync(journal->fd) < 0 || fsync(journal->folder) < 0))
        r = -errno;
    journal->size = first.size;
    return r;
}

int journal_open(struct journal *journal, int folder, journal_reader *reader, void *context)
{
    char *text = NULL;
    size_t size = 0;
    int r;

    *journal = (struct journal){ .folder = folder };
    journal->fd =
        openat(folder, FILE_NAME, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->fd < 0)
        return -errno;
    r = slurp(journal->fd, &text, &size);
    if (r == 0)
        r = read_lines(journal, span_of(text, size), reader, context);
    if (r == 0)
        r = begin_file(journal);
    free(text);
    if (r < 0)
        journal_close(journal);
    return r;
}

void journal_close(struct journal *journal)
{
    if (journal->fd >= 0)
        close(journal->fd);
    free(journal->held);
    *journal = (struct journal){ .fd = -1 };
}

int journal_add(struct journal *journal, const struct journal_record *record)
{
    char room[LINE_MAX_];
    struct text line = TEXT_OVER(room);

    put_record(&line, record);
    if (line.overflow)
        return -ENOMEM;
    if (journal->held_size + line.size > journal->held_room) {
        size_t wanted = 2 * journal->held_room + sizeof(room);
        char *grown = realloc(journal->held, wanted);

        if (!grown)
            return -ENOMEM;
        journal->held = grown;
        journal->held_room = wanted;
    }
    memcpy(journal->held + journal->held_size, line.data, line.size);
    journal->held_size += line.size;
    return 0;
}

static uint64_t count_lines(const struct journal *journal)
{
    uint64_t lines = 0;

    for (size_t i = 0; i < journal->held_size; i++)
        lines += journal->held[i] == '\n';
    return lines;
}

int journal_write(struct journal *journal)
{
    int r = disk_write(journal->fd, span_of(journal->held, journal->held_size));

    if (r == 0) {
        journal->size += journal->held_size;
        journal->lines += count_lines(journal);
    } else if (ftruncate(journal->fd, (off_t)journal->size) < 0) {
        r = -errno;
    }
    journal->held_size = 0;
    return r;
}

int journal_sync(struct journal *journal)
{
    int r = journal_write(journal);

    return r == 0 && fdatasync(journal->fd) < 0 ? -errno : r;
}

int journal_reserve(struct journal *journal)
{
    if (fallocate(journal->fd, FALLOC_FL_KEEP_SIZE, (off_t)journal->size, RESERVED_OCTETS) == 0 ||
        errno == EOPNOTSUPP || errno == ENOSYS)
        return 0;
    return -errno;
}

static int write_anew(struct journal *journal, int fd)
{
    struct span first = SPAN_LIT(FIRST_LINE);
    int r = disk_write(fd, first);

    if (r == 0)
        r = disk_write(fd, span_of(journal->held, journal->held_size));
    if (r == 0 &&
        (fsync(fd) < 0 || renameat(journal->folder, FILE_TEMP, journal->folder, FILE_NAME) < 0))
        r = -errno;
    return r;
}

int journal_replace(struct journal *journal)
{
    int fd = openat(journal->folder, FILE_TEMP,
                    O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = fd < 0 ? -errno : write_anew(journal, fd);

    if (r == 0) {
        close(journal->fd);
        journal->fd = fd;
        journal->size = strlen(FIRST_LINE) + journal->held_size;
        journal->lines = count_lines(journal);
        r = fsync(journal->folder) < 0 ? -errno : 0;
    } else if (fd >= 0) {
        close(fd);
        unlinkat(journal->folder, FILE_TEMP, 0);
    }
    journal->held_size = 0;
    return r;
}

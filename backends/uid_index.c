/* The file of a Maildir's unique ids.
 *
 *     gatepost-uids 1 4f2a9c01 1          version, epoch, the least number that was never given
 *     1 + 1700000000.M1P2Q1.host          number, seen at the last compaction (+) or missed by it
 * (-), name
 *
 * Happy path: under a lock of its own the file is read, new messages get the next numbers, their
 * lines are appended and fsynced. A name is the part of a message's that stays when it is moved,
 * re-flagged or given its sizes. When most lines are of messages that are gone, the rest is written
 * anew and renamed over the file; a message that a listing missed once (it was being renamed) keeps
 * its line until it is missed twice. The end of a write that a crash cut off was told to nobody and
 * is cut off; a file that is damaged in any other way is replaced under a new epoch, and every
 * message has a new id. Fails with the -errno of the call that failed. */
#include "backends/uid_index.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backends/disk.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/remote_frame.h"

#define INDEX_NAME "gatepost-uids"
#define INDEX_TEMP "gatepost-uids.new"
#define INDEX_LOCK ".gatepost-uids.lock"

#define KEY_MAX (3 * 255) /* of a file name, each byte of it written as %XX */
#define LINES_KEPT                                                                                 \
    1000 /* lines of gone messages that nobody minds, besides as many as there are messages        \
            (guessed) */
#define INDEX_BYTES_MAX (1L << 30) /* what is longer is no index (guessed) */

struct entry {
    struct span key;
    uint64_t number;
    bool missed; /* by the last compaction */
    bool present;
};

struct index {
    int folder;
    uint32_t epoch;
    uint64_t next; /* number to be given */
    char *text;    /* of the file; entries point into it */
    size_t size;   /* of what is good of it */
    struct entry *entries;
    size_t count;
    bool damaged;
};

/* ---- names ---- */

static void put_key_byte(struct text *key, unsigned char byte)
{
    if (byte > 0x20 && byte < 0x7f && byte != '%')
        text_put(key, span_of(&byte, 1));
    else
        text_printf(key, "%%%02x", byte);
}

/* The name of a message in the index. `whole`: with its sizes. */
static void put_key(struct text *key, const char *path, bool whole)
{
    const char *name = strchr(path, '/') + 1;
    struct span base = span_of(name, strcspn(name, ":"));
    size_t sizes = span_search(base, SPAN_LIT(",S="));

    if (!whole && sizes > 0)
        base = span_first(base, sizes);
    for (size_t i = 0; i < base.size; i++)
        put_key_byte(key, base.data[i]);
}

/* ---- reading ---- */

static struct span take_line(struct span *rest)
{
    size_t size = span_find(*rest, '\n');
    struct span line = span_first(*rest, size);

    *rest = span_skip(*rest, size + 1);
    return line;
}

static bool read_head(struct index *index, struct span line)
{
    struct span epoch;
    char digits[9] = "";

    if (!span_equal(span_take_word(&line), SPAN_LIT(INDEX_NAME)) ||
        !span_equal(span_take_word(&line), SPAN_LIT("1")))
        return false;
    epoch = span_take_word(&line);
    if (!remote_is_hex(epoch, 8) || !span_parse_u64(span_take_word(&line), &index->next) ||
        line.size)
        return false;
    memcpy(digits, epoch.data, 8);
    index->epoch = (uint32_t)strtoul(digits, NULL, 16);
    return index->next > 0 && index->next < INT64_MAX;
}

static bool read_entry(struct index *index, struct span line)
{
    struct entry *entry = &index->entries[index->count];
    uint64_t least = index->count > 0 ? entry[-1].number + 1 : 1;
    struct span mark;

    if (!span_parse_u64(span_take_word(&line), &entry->number))
        return false;
    mark = span_take_word(&line);
    entry->key = span_take_word(&line);
    entry->missed = span_equal(mark, SPAN_LIT("-"));
    entry->present = false;
    if (line.size > 0 || entry->key.size == 0 || entry->number < least ||
        entry->number >= INT64_MAX)
        return false;
    if (!entry->missed && !span_equal(mark, SPAN_LIT("+")))
        return false;
    if (entry->number >= index->next)
        index->next = entry->number + 1;
    index->count++;
    return true;
}

/* What a crash leaves behind the last fsync: part of a line, or zeros. */
static bool is_cut_off(struct span rest)
{
    size_t end = rest.size;

    while (end > 0 && rest.data[end - 1] == 0)
        end--;
    return span_find(span_first(rest, end), '\n') == end;
}

static int parse(struct index *index, size_t size)
{
    struct span rest = span_of(index->text, size);
    size_t lines = 0;

    for (size_t i = 0; i < size; i++)
        lines += index->text[i] == '\n';
    index->entries = calloc(lines + 1, sizeof(*index->entries));
    if (!index->entries)
        return -ENOMEM;
    index->damaged = span_find(rest, '\n') == size || !read_head(index, take_line(&rest));
    while (!index->damaged && rest.size > 0) {
        struct span left = rest;

        if (span_find(rest, '\n') < rest.size && read_entry(index, take_line(&rest)))
            continue;
        index->damaged = !is_cut_off(left);
        rest = left;
        break;
    }
    index->size = size - rest.size;
    return 0;
}

static int read_whole(int file, char *text, size_t size)
{
    for (size_t done = 0; done < size;) {
        ssize_t count = pread(file, text + done, size - done, (off_t)done);

        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count < 0 ? -errno : -EIO;
        done += (size_t)count;
    }
    return 0;
}

static int new_epoch(struct index *index)
{
    index->epoch = 0;
    index->next = 1;
    index->count = index->size = 0;
    return getrandom(&index->epoch, sizeof(index->epoch), 0) < 0 ? -errno : 0;
}

/* Reads the file. Where there is none, or none that can be used, a new epoch begins. */
static int load(struct index *index)
{
    int file = openat(index->folder, INDEX_NAME, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r = 0;
    struct stat status;

    if (file < 0)
        return errno == ENOENT ? new_epoch(index) : -errno;
    if (fstat(file, &status) < 0)
        r = -errno;
    index->damaged = r == 0 && (!S_ISREG(status.st_mode) || status.st_size > INDEX_BYTES_MAX);
    if (r == 0 && !index->damaged) {
        index->text = malloc((size_t)status.st_size + 1);
        r = index->text ? read_whole(file, index->text, (size_t)status.st_size) : -ENOMEM;
        if (r == 0)
            r = parse(index, (size_t)status.st_size);
    }
    close(file);
    if (r == 0 && index->damaged) {
        log_line(LOG_LEVEL_WARNING,
                 "the file " INDEX_NAME " of a mailbox was damaged and is made anew: all its "
                 "messages get new ids");
        r = new_epoch(index);
    }
    return r;
}

/* ---- writing ---- */

/* Appends the lines of messages that had none. */
static int append(const struct index *index, struct span lines)
{
    int file = openat(index->folder, INDEX_NAME, O_WRONLY | O_CLOEXEC | O_NOFOLLOW), r = 0;

    if (file < 0)
        return -errno;
    if (ftruncate(file, (off_t)index->size) < 0 || lseek(file, 0, SEEK_END) < 0)
        r = -errno;
    if (r == 0)
        r = disk_write(file, lines);
    if (r == 0 && fsync(file) < 0)
        r = -errno;
    if (r < 0 && ftruncate(file, (off_t)index->size) < 0)
        log_line(LOG_LEVEL_ERROR, "the end of " INDEX_NAME " cannot be cut off: %s",
                 err_text(-errno));
    close(file);
    return r;
}

/* Puts a whole new file in the place of the old one. */
static int replace(const struct index *index, struct span lines)
{
    int file = openat(index->folder, INDEX_TEMP,
                      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int r = file < 0 ? -errno : disk_write(file, lines);

    if (r == 0 && fsync(file) < 0)
        r = -errno;
    if (file >= 0)
        close(file);
    if (r == 0 && renameat(index->folder, INDEX_TEMP, index->folder, INDEX_NAME) < 0)
        r = -errno;
    if (r == 0 && fsync(index->folder) < 0)
        r = -errno;
    if (r < 0)
        unlinkat(index->folder, INDEX_TEMP, 0);
    return r;
}

/* ---- giving numbers ---- */

static int by_key(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    size_t shorter = a->key.size < b->key.size ? a->key.size : b->key.size;
    int order = memcmp(a->key.data, b->key.data, shorter);

    if (order == 0)
        order = (a->key.size > b->key.size) - (a->key.size < b->key.size);
    return order;
}

static int by_number(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;

    return (a->number > b->number) - (a->number < b->number);
}

/* Finds the message among what the file tells, under its name without its sizes or, where that is
 * another message's, the whole one. True: it has its number. Else *key is the name under which it
 * gets one. */
static bool find_number(struct index *index, struct maildrop_message *message, struct text *key)
{
    for (int whole = 0; whole < 2; whole++) {
        struct entry wanted = { .number = 0 }, *entry;

        key->size = 0;
        put_key(key, message->path, whole == 1);
        wanted.key = text_span(key);
        entry = index->count
                    ? bsearch(&wanted, index->entries, index->count, sizeof(wanted), by_key)
                    : NULL;
        if (entry && entry->present)
            continue; /* two messages whose names differ in their sizes only */
        if (entry) {
            entry->present = true;
            message->number = entry->number;
        }
        return entry != NULL;
    }
    return false;
}

static void put_head(FILE *lines, const struct index *index, uint64_t next)
{
    fprintf(lines, INDEX_NAME " 1 %08x %llu\n", index->epoch, (unsigned long long)next);
}

/* Writes the lines of the messages that are new, and numbers them. Returns how many. */
static size_t number_new(struct index *index, struct maildrop_message *messages, size_t count,
                         FILE *lines)
{
    char room[KEY_MAX + 1];
    size_t new_count = 0;

    for (size_t i = 0; i < count; i++) {
        struct text key = TEXT_OVER(room);

        if (find_number(index, &messages[i], &key))
            continue;
        messages[i].number = index->next++;
        fprintf(lines, "%llu + %s\n", (unsigned long long)messages[i].number, text_str(&key));
        new_count++;
    }
    return new_count;
}

/* The file without the lines of messages that two compactions missed. */
static void put_compacted(struct index *index, uint64_t next, FILE *lines)
{
    put_head(lines, index, next);
    qsort(index->entries, index->count, sizeof(*index->entries), by_number);
    for (size_t i = 0; i < index->count; i++) {
        const struct entry *entry = &index->entries[i];

        if (entry->present || !entry->missed)
            fprintf(lines, "%llu %c %.*s\n", (unsigned long long)entry->number,
                    entry->present ? '+' : '-', (int)entry->key.size,
                    (const char *)entry->key.data);
    }
}

/* Puts the new lines on the disk, as an addition or, where it is time, behind a compacted file. */
static int store(struct index *index, uint64_t next_before, size_t count, size_t new_count,
                 struct span added)
{
    bool compact = index->count + new_count > 2 * count + LINES_KEPT, fresh = index->size == 0;
    char *text = NULL;
    size_t size;
    FILE *lines;
    int r;

    if (!compact && !fresh)
        return new_count > 0 ? append(index, added) : 0;
    lines = open_memstream(&text, &size);
    if (!lines)
        return -ENOMEM;
    if (fresh)
        put_head(lines, index, 1);
    else
        put_compacted(index, next_before, lines);
    fwrite(added.data, 1, added.size, lines);
    r = fclose(lines) == 0 ? replace(index, span_of(text, size)) : -ENOMEM;
    free(text);
    return r;
}

static void set_uids(const struct index *index, struct maildrop_message *messages, size_t count)
{
    for (size_t i = 0; i < count; i++)
        snprintf(messages[i].uid, sizeof(messages[i].uid), "%08x.%llu", index->epoch,
                 (unsigned long long)messages[i].number);
}

static int assign(struct index *index, struct maildrop_message *messages, size_t count)
{
    uint64_t next_before = index->next;
    char *text = NULL;
    size_t size = 0, new_count;
    FILE *lines = open_memstream(&text, &size);
    int r;

    if (!lines)
        return -ENOMEM;
    if (index->count > 0)
        qsort(index->entries, index->count, sizeof(*index->entries), by_key);
    new_count = number_new(index, messages, count, lines);
    r = fclose(lines) == 0 ? store(index, next_before, count, new_count, span_of(text, size))
                           : -ENOMEM;
    free(text);
    if (r < 0) /* what is not on the disk is told to nobody */
        for (size_t i = 0; i < count; i++)
            if (messages[i].number >= next_before)
                messages[i].number = 0;
    set_uids(index, messages, count);
    return r;
}

int uid_index_lock(int folder)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    int lock = openat(folder, INDEX_LOCK, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (lock < 0)
        return -errno;
    while (fcntl(lock, F_OFD_SETLKW, &whole) < 0)
        if (errno != EINTR) {
            int r = -errno;

            close(lock);
            return r;
        }
    return lock;
}

int uid_index_assign(int folder, struct maildrop_message *messages, size_t count,
                     uint32_t *ret_epoch)
{
    struct index index = { .folder = folder };
    int lock = uid_index_lock(folder), r;

    if (lock < 0)
        return lock;
    r = load(&index);
    if (r == 0) {
        *ret_epoch = index.epoch;
        r = assign(&index, messages, count);
    }
    free(index.entries);
    free(index.text);
    close(lock); /* unlocks */
    return r;
}

/* What an outbox holds that is to be sent, and as what.
 *
 * Every message is read whole: its header for the envelope, all of it for the digests. One that was
 * begun keeps the ids of its record as long as neither it nor its wire form has changed. What
 * cannot be sent goes to .Failed with words; trouble of this machine ends the scan. */
#include "tools/fetch/outbox_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "tools/fetch/folder.h"

#define NAME_SHOWN 120 /* octets of a file's name, on a terminal */

/* ---- a message ---- */

/* At a scan. 0, or -errno where it cannot even be moved: then it stays, and is told anyway. */
static void refuse_entry(struct outbox *outbox, struct outbox_entry *entry, const char *words)
{
    char room[512];
    struct text more = TEXT_OVER(room);
    int r = outbox_move_to_failed(outbox, entry, words);

    text_puts(&more, words);
    if (r < 0 && r != -ENOENT)
        text_printf(&more, "; and it cannot be moved to " OUTBOX_FAILED_FOLDER ": %s", err_text(r));
    if (r != -ENOENT)
        outbox->refused(outbox->context, entry->shown, text_str(&more));
}

/* Has another program opened it for writing, as one that copies into new/ without the care of
 * tmp/? A lease tells, where the file system and its owner allow one. */
static bool is_being_written(int fd)
{
    if (fcntl(fd, F_SETSIG, SIGURG) < 0) /* who breaks the lease must not end us: URG is ignored */
        return false;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
        return errno == EAGAIN;
    fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
}

/* A date for a message without one: when it was put in (RFC 5322 section 3.6.1). */
static void put_date(struct text *text, time_t when)
{
    static const char days[] = "SunMonTueWedThuFriSat",
                      months[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
    struct tm local;
    long minutes;

    localtime_r(&when, &local);
    minutes = local.tm_gmtoff / 60;
    text_printf(text, "Date: %.3s, %d %.3s %d %02d:%02d:%02d %c%02ld%02ld\r\n",
                days + 3 * local.tm_wday, local.tm_mday, months + 3 * local.tm_mon,
                local.tm_year + 1900, local.tm_hour, local.tm_min, local.tm_sec,
                minutes < 0 ? '-' : '+', labs(minutes) / 60, labs(minutes) % 60);
}

/* "ID@" and the sender's domain. */
static void put_message_id(struct text *text, const struct record *record)
{
    struct span line = span_of_text(record->uploads[0].envelope), domain;
    size_t at;

    line = span_first(line, span_find(line, '\n') - 1);
    at = line.size;
    while (at > 0 && line.data[at - 1] != '@' && line.data[at - 1] != '<')
        at--;
    domain = span_skip(line, at);
    if (domain.size == 0)
        domain = SPAN_LIT("gatepost-fetch.invalid");
    text_printf(text, "Message-ID: <%s@%.*s>\r\n", record->uploads[0].id, (int)domain.size,
                (const char *)domain.data);
}

/* A record for a message that has none: a new id, and the fields that it lacks. */
static int compose(struct outbox_entry *entry, const struct outbox *outbox,
                   const struct envelope *envelope, time_t when)
{
    struct record *record = &entry->record;
    struct text added = TEXT_OVER(record->added);
    int r;

    record_deinit(record);
    entry->recorded = false;
    record->account = strdup(outbox->account);
    if (!record->account)
        return -ENOMEM;
    r = record_add_upload(record, span_of_text(envelope_lines(envelope)));
    if (r < 0)
        return r;
    if (!envelope_has_date(envelope))
        put_date(&added, when);
    if (!envelope_has_message_id(envelope))
        put_message_id(&added, record);
    text_str(&added);
    return 0;
}

int outbox_measure(int fd, const char *added, struct record *ret_measured)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3), r;
    struct source *source;
    struct span octets;

    if (copy < 0)
        return -errno;
    r = source_new(copy, added, true, &source);
    if (r < 0)
        return r;
    do
        r = source_next(source, &octets);
    while (r == 0 && octets.size > 0);
    if (r == 0)
        r = source_digests(source, ret_measured->source, ret_measured->digest);
    ret_measured->octets = source->octets;
    source_free(source);
    return r;
}

static bool is_same(const struct record *a, const struct record *b)
{
    return a->octets == b->octets && strcmp(a->source, b->source) == 0 &&
           strcmp(a->digest, b->digest) == 0;
}

/* Compares it with its record, and gives it a new one where it has none or has changed. */
static int settle(struct outbox *outbox, struct outbox_entry *entry, int fd,
                  const struct envelope *envelope, time_t when)
{
    struct record measured = { .octets = 0 };
    int r = entry->recorded ? outbox_measure(fd, entry->record.added, &measured) : 0;

    if (r < 0 || (entry->recorded && is_same(&measured, &entry->record)))
        return r;
    r = compose(entry, outbox, envelope, when);
    if (r == 0)
        r = outbox_measure(fd, entry->record.added, &measured);
    if (r < 0)
        return r;
    entry->record.octets = measured.octets;
    memcpy(entry->record.source, measured.source, sizeof(measured.source));
    memcpy(entry->record.digest, measured.digest, sizeof(measured.digest));
    return 0;
}

/* Reads its header, and all of it. 0, or -errno that is the message's own fault or nobody's. */
static int read_message(struct outbox *outbox, struct outbox_entry *entry, int fd,
                        const struct stat *status)
{
    struct envelope *envelope;
    int r = source_envelope(fd, outbox->sender, &envelope);

    if (r < 0)
        return r;
    if (r == ENVELOPE_READY) {
        r = settle(outbox, entry, fd, envelope, status->st_mtime);
        entry->listed = r == 0;
    } else {
        refuse_entry(outbox, entry, envelope_words(envelope));
        r = 0;
    }
    envelope_free(envelope);
    return r;
}

/* The same for what has been opened, if it is a message at all. */
static int look_at(struct outbox *outbox, struct outbox_entry *entry, int fd)
{
    struct stat status;

    if (fstat(fd, &status) < 0)
        return -errno;
    if (!S_ISREG(status.st_mode))
        refuse_entry(outbox, entry, "it is no file");
    else if (is_being_written(fd))
        return 0;
    else if (status.st_size == 0)
        refuse_entry(outbox, entry, "the file is empty");
    else
        return read_message(outbox, entry, fd, &status);
    return 0;
}

static int examine_file(struct outbox *outbox, struct outbox_entry *entry)
{
    int flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY;
    int fd = openat(outbox->folder, entry->path, flags), r = fd < 0 ? -errno : 0;
    char words[128];

    if (r == 0)
        r = look_at(outbox, entry, fd);
    outbox_close_one(fd);
    if (r == -ENOENT)
        return 0; /* it is gone */
    if (r != -EACCES && r != -EPERM && r != -EIO && r != -ELOOP && r != -ENXIO)
        return r;
    snprintf(words, sizeof(words), "it cannot be read: %s", err_text(r));
    refuse_entry(outbox, entry, r == -ELOOP || r == -ENXIO ? "it is no file" : words);
    return 0;
}

/* Decides of one message whether it is to be sent, and as what. 0 also where it is not. */
static int examine(struct outbox *outbox, struct outbox_entry *entry)
{
    int r = record_read(outbox->state, entry->base, &entry->record);
    char words[256];

    if (r == -EBADMSG) {
        refuse_entry(outbox, entry, "its record is damaged; it may have been sent already");
        return 0;
    }
    if (r < 0 && r != -ENOENT)
        return r;
    entry->recorded = r == 0;
    if (entry->recorded && strcmp(entry->record.account, outbox->account) != 0) {
        snprintf(words, sizeof(words), "it was begun for %.100s, who must finish it",
                 entry->record.account);
        outbox->waits(outbox->context, entry->shown, words);
        return 0;
    }
    return examine_file(outbox, entry);
}

/* ---- a scan ---- */

bool outbox_is_withdrawn(const char *name)
{
    const char *flags = strstr(name, ":2,");

    return flags && strpbrk(flags + 3, "DT");
}

static char *escaped(const char *name)
{
    char room[4 * NAME_SHOWN + 8];
    struct text text = TEXT_OVER(room);

    text_put_escaped(&text, span_of_text(name), NAME_SHOWN);
    return strdup(text_str(&text));
}

static int add_entry(struct outbox *outbox, const char *place, const char *name)
{
    struct outbox_entry entry = { .listed = false };
    struct outbox_entry *entries =
        realloc(outbox->entries, (outbox->entry_count + 1) * sizeof(*outbox->entries));
    char path[PATH_MAX];

    if (!entries)
        return -ENOMEM;
    outbox->entries = entries;
    snprintf(path, sizeof(path), "%s/%s", place, name);
    entry.path = strdup(path);
    entry.base = strndup(name, strcspn(name, ":"));
    entry.shown = entry.base ? escaped(entry.base) : NULL;
    entries[outbox->entry_count++] = entry;
    return entry.path && entry.base && entry.shown ? 0 : -ENOMEM;
}

static int list_place(struct outbox *outbox, const char *place)
{
    DIR *listing = folder_list(outbox->folder, place);
    struct dirent *found;
    int r = 0;

    if (!listing)
        return -errno;
    while (r == 0 && (errno = 0, found = readdir(listing)))
        if (found->d_name[0] != '.' && found->d_name[0] != ':' &&
            !outbox_is_withdrawn(found->d_name))
            r = add_entry(outbox, place, found->d_name);
    if (r == 0 && errno != 0)
        r = -errno;
    closedir(listing);
    return r;
}

static int compare_entries(const void *a, const void *b)
{
    const struct outbox_entry *left = a, *right = b;

    return strcmp(left->base, right->base);
}

/* One name seen twice was being moved from new/ to cur/, or the other of two will come next. */
static void drop_twins(struct outbox *outbox)
{
    size_t kept = 0;

    for (size_t i = 0; i < outbox->entry_count; i++) {
        struct outbox_entry *entry = &outbox->entries[i];

        if (i + 1 < outbox->entry_count && strcmp(entry->base, entry[1].base) == 0) {
            free(entry->base);
            free(entry->path);
            free(entry->shown);
            continue;
        }
        outbox->entries[kept++] = *entry;
    }
    outbox->entry_count = kept;
}

/* Removes the record of a message that is not in the outbox any more. */
static int drop_orphan(struct outbox *outbox, const char *name)
{
    char room[PATH_MAX];
    struct text path = TEXT_OVER(room);
    int r = folder_find(outbox->folder, name, &path);

    return r == -ENOENT ? record_remove(outbox->state, name) : r;
}

static int drop_orphans(struct outbox *outbox)
{
    DIR *listing = folder_list(outbox->state, ".");
    struct dirent *found;
    int r = 0;

    if (!listing)
        return -errno;
    while (r == 0 && (found = readdir(listing)))
        if (found->d_name[0] != '.')
            r = drop_orphan(outbox, found->d_name);
    closedir(listing);
    return r;
}

static void add_items(struct outbox *outbox, struct outbox_entry *entry)
{
    for (size_t i = 0; i < entry->record.upload_count; i++) {
        const struct record_upload *upload = &entry->record.uploads[i];
        struct outbox_item *item = &outbox->items[outbox->item_count];

        if (upload->state != UPLOAD_OPEN)
            continue;
        *item = (struct outbox_item){ .name = entry->shown,
                                      .octets = entry->record.octets,
                                      .envelope = upload->envelope,
                                      .begun = entry->recorded };
        memcpy(item->id, upload->id, sizeof(item->id));
        memcpy(item->digest, entry->record.digest, sizeof(item->digest));
        outbox->origins[outbox->item_count++] = (struct outbox_origin){ entry, i };
    }
}

static int make_items(struct outbox *outbox)
{
    size_t count = 1;

    for (size_t i = 0; i < outbox->entry_count; i++)
        count += outbox->entries[i].record.upload_count;
    outbox->items = calloc(count, sizeof(*outbox->items));
    outbox->origins = calloc(count, sizeof(*outbox->origins));
    if (!outbox->items || !outbox->origins)
        return -ENOMEM;
    for (int recorded = 1; recorded >= 0; recorded--)
        for (size_t i = 0; i < outbox->entry_count; i++)
            if (outbox->entries[i].listed && outbox->entries[i].recorded == recorded)
                add_items(outbox, &outbox->entries[i]);
    return 0;
}

/* What the watch has told is looked at now. */
static void drain_watch(struct outbox *outbox)
{
    char events[4096];

    while (outbox->watch >= 0 && read(outbox->watch, events, sizeof(events)) > 0)
        ;
}

/* A crash between the last answer and the move of a message that was split leaves no open part. */
static int finish_leftovers(struct outbox *outbox)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < outbox->entry_count; i++)
        if (outbox->entries[i].listed && outbox->entries[i].recorded)
            r = outbox_finish(outbox, &outbox->entries[i]);
    return r;
}

static int scan(struct outbox *outbox)
{
    int r = list_place(outbox, "new");

    if (r == 0)
        r = list_place(outbox, "cur");
    if (r < 0)
        return r;
    if (outbox->entry_count > 0)
        qsort(outbox->entries, outbox->entry_count, sizeof(*outbox->entries), compare_entries);
    drop_twins(outbox);
    for (size_t i = 0; r == 0 && i < outbox->entry_count; i++)
        r = examine(outbox, &outbox->entries[i]);
    if (r == 0)
        r = finish_leftovers(outbox);
    if (r == 0)
        r = drop_orphans(outbox);
    return r == 0 ? make_items(outbox) : r;
}

int outbox_scan(struct outbox *outbox, const struct outbox_item **ret_items, size_t *ret_count)
{
    int r;

    outbox_forget(outbox);
    drain_watch(outbox);
    r = outbox_lock(outbox);
    if (r < 0)
        return r;
    r = scan(outbox);
    if (r < 0) {
        outbox_unlock(outbox);
        return r;
    }
    *ret_items = outbox->items;
    *ret_count = outbox->item_count;
    return 0;
}

/* What becomes of a message of the outbox once it has its answer: it goes to the sent folder or
 * away, or to .Failed; its record goes last. */
#include "tools/fetch/outbox_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "tools/fetch/folder.h"

#define FAILED_LOG "gatepost-fetch.log"

static int open_failed(const struct outbox *outbox, int *ret_failed)
{
    int r = folder_open(outbox->folder, OUTBOX_FAILED_FOLDER, ret_failed);

    if (r == 0) /* as Maildir++ has it: this is a folder of another Maildir */
        outbox_close_one(
            openat(*ret_failed, "maildirfolder", O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    return r;
}

static int log_words(int failed, const struct outbox_entry *entry, const char *words)
{
    char room[2048];
    struct text line = TEXT_OVER(room);

    text_printf(&line, "%s: ", entry->shown);
    /* what others have said in it was escaped where it was put in */
    log_put_clean(&line, span_first(span_of_text(words), 400));
    return folder_log(failed, FAILED_LOG, text_span(&line));
}

int outbox_move_to_failed(struct outbox *outbox, struct outbox_entry *entry, const char *words)
{
    char other[REMOTE_UPLOAD_MAX + 32];
    int failed, r = open_failed(outbox, &failed);

    if (r < 0)
        return r;
    snprintf(other, sizeof(other), "%s.gatepost-fetch",
             entry->record.upload_count > 0 ? entry->record.uploads[0].id : "again");
    r = log_words(failed, entry, words);
    if (r == 0)
        r = folder_move(outbox->folder, entry->path, failed, "new", entry->base, other);
    close(failed);
    return r == 0 ? record_remove(outbox->state, entry->base) : r;
}

/* ---- the end of an item ---- */

static int move_to_sent(struct outbox *outbox, struct outbox_entry *entry)
{
    char name[NAME_MAX + 8], other[REMOTE_UPLOAD_MAX + 32];

    snprintf(name, sizeof(name), "%s:2,S", entry->base);
    snprintf(other, sizeof(other), "%s.gatepost-fetch:2,S", entry->record.uploads[0].id);
    return folder_move(outbox->folder, entry->path, outbox->sent, "cur",
                       strlen(name) > NAME_MAX ? other : name, other);
}

/* Where every part has its answer the message leaves the outbox, and then its record. */
int outbox_finish(struct outbox *outbox, struct outbox_entry *entry)
{
    struct record now = { .octets = 0 };
    bool failed = false;
    int fd, r;

    for (size_t i = 0; i < entry->record.upload_count; i++) {
        if (entry->record.uploads[i].state == UPLOAD_OPEN)
            return 0;
        failed |= entry->record.uploads[i].state == UPLOAD_FAILED;
    }
    fd = outbox_open_entry(outbox, entry); /* where is it now? */
    if (fd == -ENOENT)
        return record_remove(outbox->state, entry->base);
    r = fd < 0 ? fd : outbox_measure(fd, entry->record.added, &now);
    outbox_close_one(fd);
    if (r == 0 && strcmp(now.source, entry->record.source) != 0) /* written anew meanwhile */
        return record_remove(outbox->state, entry->base);
    if (failed)
        return outbox_move_to_failed(outbox, entry, "the other recipients have it; see above");
    r = outbox->sent < 0 ? folder_remove(outbox->folder, entry->path) : move_to_sent(outbox, entry);
    return r == 0 ? record_remove(outbox->state, entry->base) : r;
}

/* The next message may be on its way while this one gets its answer. */
static void stop_reading(struct outbox *outbox, const struct outbox_entry *entry)
{
    if (outbox->reading == entry)
        outbox_end(outbox);
}

/* Of a message with several parts the record keeps which have their answer. */
static int answer(struct outbox *outbox, size_t index, enum upload_state state)
{
    struct outbox_origin origin = outbox->origins[index];

    stop_reading(outbox, origin.entry);
    origin.entry->record.uploads[origin.upload].state = state;
    if (origin.entry->record.upload_count == 1)
        return 0;
    return outbox_write_record(outbox, origin.entry);
}

int outbox_done(struct outbox *outbox, size_t index)
{
    int r;

    if (index >= outbox->item_count)
        return -EINVAL;
    r = answer(outbox, index, UPLOAD_DELIVERED);
    return r == 0 ? outbox_finish(outbox, outbox->origins[index].entry) : r;
}

/* Of a message with several parts one is refused: the reason is told now, the message moved when
 * all have their answer. */
static int refuse_part(struct outbox *outbox, size_t index, const char *words)
{
    int failed, r = open_failed(outbox, &failed);

    if (r < 0)
        return r;
    r = log_words(failed, outbox->origins[index].entry, words);
    outbox_close_one(failed);
    if (r == 0)
        r = answer(outbox, index, UPLOAD_FAILED);
    return r == 0 ? outbox_finish(outbox, outbox->origins[index].entry) : r;
}

int outbox_refused(struct outbox *outbox, size_t index, const char *words)
{
    struct outbox_entry *entry;
    int fd;

    if (index >= outbox->item_count)
        return -EINVAL;
    entry = outbox->origins[index].entry;
    if (entry->record.upload_count > 1)
        return refuse_part(outbox, index, words);
    stop_reading(outbox, entry);
    fd = outbox_open_entry(outbox, entry); /* where is it now? */
    if (fd == -ENOENT)
        return record_remove(outbox->state, entry->base);
    outbox_close_one(fd);
    return outbox_move_to_failed(outbox, entry, words);
}

/* ---- a message with recipients of two kinds ---- */

static struct span take_line(struct span *rest)
{
    struct span line = span_first(*rest, span_find(*rest, '\n') + 1);

    *rest = span_skip(*rest, line.size);
    return line;
}

/* "local@domain" of "TO:<local@domain>\n". */
static struct span address_of(struct span line)
{
    return span_of(line.data + 4, line.size - 6);
}

static struct span domain_of(struct span address)
{
    size_t at = address.size;

    while (at > 0 && address.data[at - 1] != '@')
        at--;
    return span_skip(address, at);
}

/* Has one of the lines `to` this domain? */
static bool has_domain(struct span to, struct span domain)
{
    while (to.size > 0)
        if (span_equal_nocase(domain_of(address_of(take_line(&to))), domain))
            return true;
    return false;
}

/* The lines before that of `address`, which is none of their domains; empty: there is no such. */
static struct span lines_before(struct span to, struct span address)
{
    struct span whole = to;

    while (to.size > 0) {
        struct span before = span_first(whole, whole.size - to.size);

        if (span_equal_nocase(address_of(take_line(&to)), address))
            return has_domain(before, domain_of(address)) ? span_first(whole, 0) : before;
    }
    return span_first(whole, 0);
}

/* The sender's line and those of `to` that share a domain with `kind`, or those that do not. */
static int add_part(struct record *record, struct span from, struct span to, struct span kind,
                    bool shared)
{
    char *envelope = malloc(from.size + to.size + 1);
    size_t size = from.size;
    int r;

    if (!envelope)
        return -ENOMEM;
    memcpy(envelope, from.data, from.size);
    while (to.size > 0) {
        struct span line = take_line(&to);

        if (has_domain(kind, domain_of(address_of(line))) != shared)
            continue;
        memcpy(envelope + size, line.data, line.size);
        size += line.size;
    }
    r = record_add_upload(record, span_of(envelope, size));
    free(envelope);
    return r;
}

int outbox_split(struct outbox *outbox, size_t index, const char *address)
{
    struct outbox_origin origin;
    struct record *record;
    struct span from, to, before;
    int r;

    if (index >= outbox->item_count)
        return -EINVAL;
    origin = outbox->origins[index];
    record = &origin.entry->record;
    to = span_of_text(record->uploads[origin.upload].envelope);
    from = take_line(&to);
    before = lines_before(to, span_of_text(address));
    if (before.size == 0)
        return -EINVAL;
    stop_reading(outbox, origin.entry);
    r = add_part(record, from, to, before, true);
    if (r == 0)
        r = add_part(record, from, to, before, false);
    if (r < 0)
        return r;
    record_drop_upload(record, origin.upload);
    return outbox_write_record(outbox, origin.entry);
}

/* What comes into a local Maildir, and how it gets there for good.
 *
 * Happy path: a frame is written into tmp/, its digest is right, it waits with others in a group;
 * the group is stored by these steps, each durable before the next:
 *
 *     the files in tmp/, and that they are there
 *     a line of the journal for each, with the name that it will have
 *     the renames into new/
 *     acknowledgements
 *
 * so a thousand small messages cost one fsync each and some for the group. With a command that
 * takes the messages instead of new/, each is handed over and journalled by itself.
 *
 * A disk that is full ends the run; what is whole by then is in tmp/ and in the journal, or comes
 * again. */
#include "tools/fetch/mirror_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A part of a smaller message is not worth a line of the journal (guessed). */
#define PARTIAL_WORTH 65536

static const struct remote_uid none = { 0, 0 };

/* ---- small things ---- */

int mirror_note(struct mirror *mirror, enum journal_kind kind, struct remote_uid uid,
                struct remote_uid other)
{
    return journal_add(&mirror->journal,
                       &(struct journal_record){ .kind = kind, .uid = uid, .other = other });
}

static int note_digest(struct mirror *mirror, enum journal_kind kind,
                       const struct mirror_whole *whole, const char *name)
{
    return journal_add(&mirror->journal, &(struct journal_record){
                                             .kind = kind,
                                             .uid = whole->uid,
                                             .digest = span_of(whole->digest, REMOTE_DIGEST_MAX),
                                             .name = span_of_text(name),
                                         });
}

void mirror_unlink(struct mirror *mirror, struct remote_uid uid)
{
    char name[INCOMING_NAME_MAX];

    incoming_name(uid, name);
    unlinkat(mirror->tmp, name, 0);
}

int mirror_rename(struct mirror *mirror, struct remote_uid uid, const char *name)
{
    char from[INCOMING_NAME_MAX];

    incoming_name(uid, from);
    return renameat(mirror->tmp, from, mirror->fresh, name) < 0 ? -errno : 0;
}

/* ---- a connection ---- */

void mirror_connected(struct mirror *mirror)
{
    stored_untell(&mirror->stored);
    mirror->told = none;
}

static void forget_partial(struct mirror *mirror)
{
    if (mirror->partial.number > 0)
        mirror_unlink(mirror, mirror->partial);
    mirror->partial = none;
}

/* Makes the file that is being written one that a later connection, or run, goes on with. */
static int note_partial(struct mirror *mirror)
{
    int r;

    mirror->partial = mirror->incoming.uid;
    mirror->after = mirror->previous;
    r = mirror_note(mirror, JOURNAL_PARTIAL, mirror->partial, mirror->after);
    return r == 0 ? journal_write(&mirror->journal) : r;
}

int mirror_disconnected(struct mirror *mirror)
{
    int r = mirror_commit(mirror), p = 0;

    if (mirror->incoming.fd >= 0)
        p = note_partial(mirror);
    incoming_stop(&mirror->incoming);
    return r < 0 ? r : p;
}

bool mirror_where(struct mirror *mirror, struct remote_uid *ret_uid, uint64_t *ret_offset)
{
    mirror->previous = mirror->last;
    if (mirror->partial.number > 0 && remote_uid_equal(mirror->after, mirror->last) &&
        incoming_resume(&mirror->incoming, mirror->tmp, mirror->partial) == 0) {
        *ret_uid = mirror->partial;
        *ret_offset = mirror->incoming.newline.octets;
        return true;
    }
    forget_partial(mirror);
    *ret_uid = mirror->last;
    return false;
}

int mirror_no_such_part(struct mirror *mirror)
{
    incoming_stop(&mirror->incoming);
    forget_partial(mirror);
    return 0;
}

int mirror_new_epoch(struct mirror *mirror)
{
    int r = mirror_commit(mirror);

    mirror_no_such_part(mirror);
    if (r == 0)
        r = mirror_note(mirror, JOURNAL_LAST, none, none);
    if (r == 0)
        r = journal_sync(&mirror->journal);
    if (r == 0)
        mirror->last = mirror->previous = mirror->told = none;
    return r;
}

/* ---- frames ---- */

/* Can a message of this uid come now? They come in order, and each once. */
static bool is_next(const struct mirror *mirror, struct remote_uid uid)
{
    return mirror->previous.number == 0 ||
           (uid.epoch == mirror->previous.epoch && uid.number > mirror->previous.number);
}

int mirror_frame(struct mirror *mirror, const struct remote_frame *frame)
{
    const struct incoming *incoming = &mirror->incoming;
    bool resumed = incoming->fd >= 0 && remote_uid_equal(incoming->uid, frame->uid);
    int r = 0;

    if (!is_next(mirror, frame->uid) || frame->offset != (resumed ? incoming->newline.octets : 0))
        return -EPROTO;
    if (!resumed) {
        incoming_stop(&mirror->incoming);
        forget_partial(mirror);
        r = incoming_begin(&mirror->incoming, mirror->tmp, frame->uid);
    }
    if (r == 0 && frame->octets > PARTIAL_WORTH && !resumed)
        r = note_partial(mirror);
    return r;
}

int mirror_octets(struct mirror *mirror, struct span octets)
{
    return incoming_add(&mirror->incoming, octets);
}

static int throw_away(struct mirror *mirror, struct remote_uid uid)
{
    bool again = remote_uid_equal(mirror->wrong, uid);

    incoming_stop(&mirror->incoming);
    mirror_unlink(mirror, uid);
    mirror->partial = none;
    mirror->wrong = uid;
    return again ? MIRROR_WRONG_TWICE : MIRROR_WRONG;
}

/* The server numbers its messages anew, and this one is here already: it has another uid now. What
 * is lost of this by a crash is found again. */
static int claim(struct mirror *mirror, struct stored *alike, struct remote_uid uid)
{
    struct remote_uid former = alike->uid;
    int r;

    mirror_unlink(mirror, uid);
    r = mirror_commit(mirror);
    if (r == 0)
        r = mirror_note(mirror, JOURNAL_ALIKE, former, uid);
    if (r == 0)
        r = journal_write(&mirror->journal);
    if (r < 0)
        return r;
    stored_rename(&mirror->stored, former, uid);
    mirror->last = uid;
    return 0;
}

/* What is here came again because of one before it that had to. */
static int skip(struct mirror *mirror, struct remote_uid uid)
{
    int r;

    mirror_unlink(mirror, uid);
    r = mirror_commit(mirror);
    if (r == 0)
        r = mirror_note(mirror, JOURNAL_LAST, uid, none);
    if (r == 0)
        r = journal_write(&mirror->journal);
    if (r == 0)
        mirror->last = uid;
    return r;
}

static int take(struct mirror *mirror, struct remote_uid uid, struct span digest, int fd,
                uint64_t octets)
{
    struct stored *alike = stored_find_alike(&mirror->stored, uid.epoch, digest);
    int r;

    if (alike || stored_find_same(&mirror->stored, uid, digest)) {
        close(fd);
        return alike ? claim(mirror, alike, uid) : skip(mirror, uid);
    }
    r = mirror_group_add(mirror, uid, digest, fd, octets);
    if (r == 0)
        r = note_digest(mirror, JOURNAL_WHOLE, &mirror->group[mirror->group_count - 1], "");
    return r == 0 ? journal_write(&mirror->journal) : r;
}

int mirror_whole(struct mirror *mirror, struct remote_uid uid, struct span digest)
{
    uint64_t octets = 0;
    int fd = -1, r = incoming_end(&mirror->incoming, digest, &fd, &octets);

    if (r == -EBADMSG)
        return throw_away(mirror, uid);
    if (r < 0)
        return r;
    mirror->partial = none;
    mirror->previous = uid;
    r = take(mirror, uid, digest, fd, octets);
    return r < 0 ? r : MIRROR_TAKEN;
}

int mirror_group_add(struct mirror *mirror, struct remote_uid uid, struct span digest, int fd,
                     uint64_t octets)
{
    struct mirror_whole *whole;
    int r = mirror_is_full(mirror) ? mirror_commit(mirror) : 0;

    if (r < 0) {
        close(fd);
        return r;
    }
    whole = &mirror->group[mirror->group_count++];
    *whole = (struct mirror_whole){ .uid = uid, .fd = fd, .octets = octets };
    memcpy(whole->digest, digest.data, REMOTE_DIGEST_MAX);
    mirror->group_octets += octets;
    return 0;
}

bool mirror_is_full(const struct mirror *mirror)
{
    size_t most = mirror->options.deliver ? 1 : MIRROR_GROUP_MESSAGES; /* a command may be slow */

    return mirror->group_count >= most || mirror->group_octets >= MIRROR_GROUP_OCTETS;
}

/* ---- storing a group ---- */

static int sync_files(struct mirror *mirror)
{
    for (size_t i = 0; i < mirror->group_count; i++)
        if (fsync(mirror->group[i].fd) < 0)
            return -errno;
    return fsync(mirror->tmp) < 0 ? -errno : 0;
}

/* Its name in new/: no other message of any mailbox has had it, nor will. */
static void put_name(const struct mirror *mirror, const struct mirror_whole *whole, time_t now,
                     char *into, size_t room)
{
    snprintf(into, room, "%lld.G%s_%08x_%llu.gatepost-fetch,S=%llu", (long long)now, mirror->id,
             whole->uid.epoch, (unsigned long long)whole->uid.number,
             (unsigned long long)whole->octets);
}

static int note_taken(struct mirror *mirror, time_t now)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < mirror->group_count; i++) {
        const struct mirror_whole *whole = &mirror->group[i];
        char name[JOURNAL_NAME_MAX];

        put_name(mirror, whole, now, name, sizeof(name));
        r = note_digest(mirror, JOURNAL_TAKEN, whole, name);
    }
    return r == 0 ? journal_sync(&mirror->journal) : r;
}

static int rename_files(struct mirror *mirror, time_t now)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < mirror->group_count; i++) {
        const struct mirror_whole *whole = &mirror->group[i];
        char name[JOURNAL_NAME_MAX];

        put_name(mirror, whole, now, name, sizeof(name));
        r = mirror_rename(mirror, whole->uid, name);
    }
    return r == 0 && fsync(mirror->fresh) < 0 ? -errno : r;
}

/* It is stored: what is known of it. */
static int learn(struct mirror *mirror, const struct mirror_whole *whole)
{
    mirror->last = whole->uid;
    mirror->messages++;
    return stored_put(&mirror->stored, whole->uid, span_of(whole->digest, REMOTE_DIGEST_MAX),
                      STORED_DONE, SPAN_LIT(""));
}

static int store_group(struct mirror *mirror)
{
    time_t now = time(NULL);
    int r = sync_files(mirror);

    if (r == 0)
        r = note_taken(mirror, now);
    if (r == 0)
        r = rename_files(mirror, now);
    for (size_t i = 0; r == 0 && i < mirror->group_count; i++)
        r = learn(mirror, &mirror->group[i]);
    if (r == 0)
        r = mirror_note(mirror, JOURNAL_DONE, mirror->last, none);
    return r == 0 ? journal_write(&mirror->journal) : r;
}

/* One message to somebody else, who may get it twice only where this is killed before the line is
 * written. */
static int deliver_one(struct mirror *mirror, const struct mirror_whole *whole)
{
    int r = lseek(whole->fd, 0, SEEK_SET) < 0 ? -errno : 0;

    if (r == 0) /* a full disk must not have it handed over by every run */
        r = journal_reserve(&mirror->journal);
    if (r == 0)
        r = mirror->options.deliver(mirror->options.context, whole->fd);
    if (r == 0)
        r = note_digest(mirror, JOURNAL_KEPT, whole, "");
    if (r == 0)
        r = journal_sync(&mirror->journal);
    if (r == 0)
        r = learn(mirror, whole);
    if (r == 0)
        mirror_unlink(mirror, whole->uid);
    return r;
}

static int deliver_group(struct mirror *mirror)
{
    int r = 0;

    for (size_t i = 0; r == 0 && i < mirror->group_count; i++)
        r = deliver_one(mirror, &mirror->group[i]);
    return r;
}

int mirror_commit(struct mirror *mirror)
{
    int r = 0;

    if (mirror->group_count > 0)
        r = mirror->options.deliver ? deliver_group(mirror) : store_group(mirror);
    for (size_t i = 0; i < mirror->group_count; i++)
        close(mirror->group[i].fd);
    mirror->group_count = 0;
    mirror->group_octets = 0;
    return r;
}

/* ---- acknowledgements ---- */

bool mirror_next_ack(struct mirror *mirror, struct remote_uid *ret_uid)
{
    const struct stored *item =
        mirror->options.keep ? NULL : stored_tell(&mirror->stored, mirror->last.epoch);

    if (!item)
        return false;
    *ret_uid = mirror->told = item->uid;
    return true;
}

int mirror_synced(struct mirror *mirror)
{
    int r;

    if (mirror->told.number == 0)
        return 0;
    r = mirror_note(mirror, JOURNAL_SYNCED, mirror->told, none);
    if (r == 0)
        r = journal_write(&mirror->journal);
    if (r == 0)
        stored_remove_up_to(&mirror->stored, mirror->told);
    return r;
}

/* One line for the last of each other epoch. */
static int note_gone(struct mirror *mirror)
{
    const struct stored_list *list = &mirror->stored;
    int r = 0;

    for (size_t i = 0; r == 0 && i < list->count; i++) {
        uint32_t epoch = list->items[i].uid.epoch;

        if (epoch != mirror->last.epoch &&
            (i + 1 == list->count || list->items[i + 1].uid.epoch != epoch))
            r = mirror_note(mirror, JOURNAL_SYNCED, list->items[i].uid, none);
    }
    return r == 0 ? journal_write(&mirror->journal) : r;
}

int mirror_pulled(struct mirror *mirror)
{
    int r = mirror_commit(mirror);

    if (r < 0 || mirror->last.number == 0)
        return r;
    r = note_gone(mirror);
    if (r == 0)
        stored_remove_other_epochs(&mirror->stored, mirror->last.epoch);
    return r;
}

int mirror_compact(struct mirror *mirror)
{
    uint64_t needed = mirror->stored.count;

    return mirror->journal.lines < 2 * needed + 100 ? 0 : mirror_write_anew(mirror);
}

int mirror_write_anew(struct mirror *mirror)
{
    int r = mirror_note(mirror, JOURNAL_LAST, none, none);

    for (size_t i = 0; r == 0 && i < mirror->stored.count; i++) {
        const struct stored *item = &mirror->stored.items[i];

        r = journal_add(&mirror->journal, &(struct journal_record){
                                              .kind = JOURNAL_KEPT,
                                              .uid = item->uid,
                                              .digest = span_of(item->digest, REMOTE_DIGEST_MAX) });
    }
    if (r == 0)
        r = mirror_note(mirror, JOURNAL_LAST, mirror->last, none);
    if (r == 0 && mirror->partial.number > 0)
        r = mirror_note(mirror, JOURNAL_PARTIAL, mirror->partial, mirror->after);
    return r == 0 ? journal_replace(&mirror->journal) : r;
}

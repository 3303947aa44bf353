/* The folder `gatepost-uploads` of a Maildir. Of the upload ID there are
 *
 *     ID.part      its octets so far; whoever has the lock on it works on the upload
 *     ID.meta      what it will be: its size and digest, then its envelope
 *     ID.deliver   it is whole: the same, an empty line, its name in the Maildirs, and the trace
 * fields ID.done      in the place of ID.meta: it is delivered
 *
 * Happy path: meta, part, deliver, the message under its name in every recipient's Maildir, done;
 * each durable before the next. After a crash ID.deliver says what was being done; the name makes
 * that it happens once. A relay is asked anew where its yes did not reach ID.done: such a message
 * is never lost, and doubled only then. Fails with the -errno of the call that failed; a full disk
 * leaves the upload to be gone on with. */
#include "backends/uploads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backends/maildir.h"
#include "backends/relay_client.h"
#include "backends/smtp_data.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define FOLDER_NAME     "gatepost-uploads"
#define RECORD_MAX      131072 /* bytes of ID.deliver: an envelope and the trace fields */
#define SYNC_BYTES      262144
#define PARTIALS_MAX    64
#define PARTIAL_SECONDS (14 * 86400L)
#define DONE_SECONDS    (400 * 86400L)
#define PIECE_BYTES     16384

/* ---- files ---- */

static const char *name_of(const char *id, const char *kind, char *room, size_t size)
{
    snprintf(room, size, "%.32s.%s", id, kind);
    return room;
}

#define NAME(id, kind) name_of((id), (kind), (char[48]){ 0 }, 48)

static bool exists(const struct uploads *uploads, const char *name)
{
    return faccessat(uploads->folder, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int sync_folder(const struct uploads *uploads)
{
    return fsync(uploads->folder) < 0 ? -errno : 0;
}

/* The whole of a record, with a NUL behind it; to be freed. */
static int read_record(const struct uploads *uploads, const char *name, char **ret_text)
{
    int file = openat(uploads->folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    char *text = file < 0 ? NULL : malloc(RECORD_MAX + 1);
    ssize_t size;
    int r = 0;

    if (file < 0)
        return -errno;
    size = text ? pread(file, text, RECORD_MAX, 0) : -1;
    if (size < 0)
        r = text ? -errno : -ENOMEM;
    close(file);
    if (r < 0) {
        free(text);
        return r;
    }
    text[size] = '\0';
    *ret_text = text;
    return 0;
}

/* Writes a record whole or not at all, and durably. */
static int write_record(const struct uploads *uploads, const char *name, struct span text)
{
    const char *fresh = NAME(uploads->id, "new");
    int file = openat(uploads->folder, fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                      0600),
        r = 0;
    ssize_t size;

    if (file < 0)
        return -errno;
    size = write(file, text.data, text.size);
    if (size < 0 || (size_t)size < text.size || fsync(file) < 0)
        r = size < 0 || (size_t)size == text.size ? -errno : -ENOSPC;
    close(file);
    if (r == 0 && renameat(uploads->folder, fresh, uploads->folder, name) < 0)
        r = -errno;
    if (r < 0)
        unlinkat(uploads->folder, fresh, 0);
    return r < 0 ? r : sync_folder(uploads);
}

/* Opens ID.part and locks it. -EBUSY: another connection works on it. */
static int open_part(struct uploads *uploads, int flags)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
    struct stat status;
    int r = 0;

    uploads->part = openat(uploads->folder, NAME(uploads->id, "part"),
                           flags | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (uploads->part < 0)
        return -errno;
    if (fcntl(uploads->part, F_OFD_SETLK, &whole) < 0)
        r = errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
    else if (fstat(uploads->part, &status) < 0)
        r = -errno;
    else if (status.st_nlink == 0)
        r = -EBUSY; /* somebody has finished it this moment */
    if (r < 0) {
        close(uploads->part);
        uploads->part = -1;
        return r;
    }
    uploads->size = uploads->synced = (uint64_t)status.st_size;
    return 0;
}

static void close_part(struct uploads *uploads)
{
    if (uploads->part >= 0)
        close(uploads->part);
    uploads->part = -1;
}

/* It never was. */
static void forget(struct uploads *uploads)
{
    static const char *const kinds[] = { "deliver", "meta", "part" };

    for (size_t i = 0; i < 3; i++)
        unlinkat(uploads->folder, NAME(uploads->id, kinds[i]), 0);
    sync_folder(uploads);
}

static int sync_part(struct uploads *uploads)
{
    if (fsync(uploads->part) < 0)
        return -errno;
    uploads->synced = uploads->size;
    return 0;
}

static int refused(const struct uploads *uploads, struct text *reason, const char *code,
                   const char *words)
{
    reason->size = 0;
    text_printf(reason, "[%s] PUSH %s %.380s", code, uploads->id, words);
    return UPLOAD_REFUSED;
}

/* ---- the envelope ---- */

struct envelope {
    struct smtp_transaction mail; /* its recipients are copies */
    struct name_list users;       /* whom they lead to, where they are of this machine */
};

static void envelope_free(struct envelope *envelope)
{
    for (size_t i = 0; i < envelope->mail.recipient_count; i++)
        free(envelope->mail.recipients[i]);
    free(envelope->mail.recipients);
    name_list_deinit(&envelope->users);
}

static struct span take_line(struct span *rest)
{
    size_t size = span_find(*rest, '\n');
    struct span line = span_first(*rest, size);

    *rest = span_skip(*rest, size + 1);
    return line;
}

/* "FROM:<...>" or "TO:<...>": the path, alone on its line. */
static int read_path(struct span line, const char *keyword, struct smtp_path *ret_path)
{
    struct span prefix = span_of_text(keyword);
    int r;

    if (!span_starts_nocase(line, prefix))
        return SMTP_PATH_SYNTAX;
    line = span_skip(line, prefix.size);
    r = smtp_path_take(&line, ret_path);
    return line.size > 0 || (r != SMTP_PATH_SYNTAX && r != SMTP_PATH_NULL && !ret_path->ascii)
               ? SMTP_PATH_SYNTAX
               : r;
}

static int add_recipient(struct uploads *uploads, struct envelope *envelope, struct span line,
                         struct text *reason)
{
    const struct settings_mailstore *mailstore = &uploads->settings->mailstore;
    struct smtp_transaction *mail = &envelope->mail;
    struct smtp_path path = { .ascii = true };
    int r = read_path(line, "TO:", &path);
    char words[380];
    bool elsewhere;

    if (r != SMTP_PATH_OK &&
        !(r == SMTP_PATH_NO_DOMAIN && strcasecmp(path.address, "postmaster") == 0))
        return refused(uploads, reason, "SYNTAX", "write recipients as TO:<name@domain>, in ASCII");
    if (mail->recipient_count >= mailstore->max_recipients)
        return refused(uploads, reason, "LIMIT", "too many recipients");
    r = recipients_find(&uploads->recipients, path.address, &envelope->users);
    if (r < 0)
        return r;
    snprintf(words, sizeof(words), "no such user here: <%s>", path.address);
    if (r == RECIPIENTS_UNKNOWN)
        return refused(uploads, reason, "PERM", words);
    elsewhere = r == RECIPIENTS_ELSEWHERE;
    snprintf(words, sizeof(words), "mail to other domains is not taken here: <%s>", path.address);
    if (elsewhere && !mailstore->relay[0])
        return refused(uploads, reason, "PERM", words);
    snprintf(words, sizeof(words), "this domain and others need messages of their own: <%s>",
             path.address);
    if (mail->recipient_count > 0 && mail->relayed != elsewhere)
        return refused(uploads, reason, "PERM", words);
    mail->relayed = elsewhere;
    mail->recipients[mail->recipient_count] = strdup(path.address);
    if (!mail->recipients[mail->recipient_count])
        return -ENOMEM;
    mail->recipient_count++;
    return UPLOAD_TAKEN;
}

/* UPLOAD_TAKEN, UPLOAD_REFUSED or -errno; to be freed in any case. */
static int read_envelope(struct uploads *uploads, struct span text, struct envelope *envelope,
                         struct text *reason)
{
    struct smtp_path path = { .ascii = true };
    int r = read_path(take_line(&text), "FROM:", &path);

    *envelope = (struct envelope){ .users = { NULL, 0 } };
    snprintf(envelope->mail.id, sizeof(envelope->mail.id), "%s", uploads->id);
    if (r != SMTP_PATH_OK && r != SMTP_PATH_NULL)
        return refused(uploads, reason, "SYNTAX",
                       "write the sender as FROM:<name@domain>, in ASCII");
    strcpy(envelope->mail.from, r == SMTP_PATH_NULL ? "" : path.address);
    envelope->mail.recipients =
        calloc(uploads->settings->mailstore.max_recipients + 1, sizeof(*envelope->mail.recipients));
    if (!envelope->mail.recipients)
        return -ENOMEM;
    if (text.size == 0)
        return refused(uploads, reason, "SYNTAX", "no recipients");
    for (r = UPLOAD_TAKEN; r == UPLOAD_TAKEN && text.size > 0;)
        r = add_recipient(uploads, envelope, take_line(&text), reason);
    return r;
}

/* ---- delivery ---- */

/* Reads all of the part. 0 or -errno of a read or of `each`. */
static int read_part(const struct uploads *uploads, int (*each)(void *context, struct span octets),
                     void *context)
{
    unsigned char octets[PIECE_BYTES];
    off_t at = 0;
    int r = 0;

    while (r == 0) {
        ssize_t size = pread(uploads->part, octets, sizeof(octets), at);

        if (size < 0)
            return -errno;
        if (size == 0)
            return 0;
        at += size;
        r = each(context, span_of(octets, (size_t)size));
    }
    return r;
}

struct looked_at {
    struct digest *digest;
    struct smtp_data lines;
    bool eight_bit;
};

static int look_at(void *context, struct span octets)
{
    struct looked_at *looked = context;

    smtp_data_watch_chunk(&looked->lines, octets);
    for (size_t i = 0; i < octets.size; i++)
        looked->eight_bit |= octets.data[i] >= 0x80;
    return digest_add(looked->digest, octets);
}

/* Is it the message that was announced, and one that can be delivered? */
static int verify(struct uploads *uploads, struct span digest, bool *ret_eight_bit,
                  struct text *reason)
{
    struct looked_at looked = { .digest = digest_new() };
    char digits[DIGEST_DIGITS];
    int r;

    if (!looked.digest)
        return -ENOMEM;
    smtp_data_init(&looked.lines);
    r = read_part(uploads, look_at, &looked);
    if (r == 0)
        r = digest_end(looked.digest, digits);
    digest_free(looked.digest);
    if (r < 0)
        return r;
    *ret_eight_bit = looked.eight_bit;
    smtp_data_end_chunks(&looked.lines);
    if (!span_equal(digest, span_of(digits, sizeof(digits))))
        return refused(uploads, reason, "CONFLICT", "the octets have another digest");
    if (looked.lines.bare)
        return refused(uploads, reason, "PERM", "lines of a message must end in CR LF");
    return UPLOAD_TAKEN;
}

static int write_local(void *context, struct span octets)
{
    return delivery_write(context, octets);
}

static int deliver_local(struct uploads *uploads, const struct envelope *envelope, const char *name,
                         struct span trace)
{
    char room[SMTP_ADDRESS_MAX + 32];
    struct delivery *delivery;
    int size, r = delivery_begin_named(uploads->settings->mailstore.path,
                                       (const char *const *)envelope->users.names,
                                       envelope->users.count, name, &delivery);

    if (r < 0)
        return r;
    size = snprintf(room, sizeof(room), "Return-Path: <%s>\r\n", envelope->mail.from);
    r = delivery_write(delivery, span_of(room, (size_t)size));
    if (r == 0)
        r = delivery_write(delivery, trace);
    if (r == 0)
        r = read_part(uploads, write_local, delivery);
    if (r == 0)
        return delivery_commit(delivery) < 0 ? -EIO : UPLOAD_DONE;
    delivery_abort(delivery);
    return r;
}

static int write_relay(void *context, struct span octets)
{
    return relay_client_write(context, octets);
}

/* The steps of one message through the relay. SMTP_TAKEN, SMTP_REFUSED or -errno. */
static int talk_to_relay(struct uploads *uploads, struct relay_client *relay,
                         const struct smtp_transaction *mail, struct span trace, struct text *reply)
{
    int r = relay_client_mail(relay, mail, reply);

    for (size_t i = 0; r == SMTP_TAKEN && i < mail->recipient_count; i++)
        r = relay_client_recipient(relay, mail->recipients[i], reply);
    if (r == SMTP_TAKEN)
        r = relay_client_begin(relay, reply);
    if (r != SMTP_TAKEN)
        return r;
    r = relay_client_write(relay, trace);
    if (r == 0)
        r = read_part(uploads, write_relay, relay);
    return r < 0 ? r : relay_client_finish(relay, reply);
}

static int deliver_relayed(struct uploads *uploads, const struct envelope *envelope,
                           struct span trace, struct text *reason)
{
    const struct settings *settings = uploads->settings;
    char room[SMTP_REPLY_MAX];
    struct text reply = TEXT_OVER(room);
    struct relay_client *relay;
    int r = relay_client_open(settings->mailstore.relay, settings->gatepost.hostname,
                              (int)settings->limits.smtp_reply_timeout_ms, &relay);

    if (r < 0)
        return r;
    r = talk_to_relay(uploads, relay, &envelope->mail, trace, &reply);
    relay_client_close(relay);
    if (r == SMTP_REFUSED)
        return refused(uploads, reason, room[0] == '5' ? "PERM" : "TEMP", text_str(&reply));
    return r < 0 ? r : UPLOAD_DONE;
}

/* Cuts the record of a whole upload into its parts. */
static bool cut_record(struct span record, struct span *ret_digest, struct span *ret_envelope,
                       char *name, size_t room, struct span *ret_trace)
{
    struct span head = take_line(&record);
    size_t end = span_search(record, SPAN_LIT("\n\n"));
    struct span line;

    span_take_word(&head);
    *ret_digest = span_take_word(&head);
    *ret_envelope = span_first(record, end + 1);
    if (end == record.size)
        return false;
    record = span_skip(record, end + 2);
    line = take_line(&record);
    snprintf(name, room, "%.*s", (int)line.size, (const char *)line.data);
    *ret_trace = record;
    return line.size > 0 && !strchr(name, '/') && ret_digest->size == DIGEST_DIGITS;
}

static int deliver_record(struct uploads *uploads, struct span record, struct text *reason)
{
    struct span digest, text, trace;
    struct envelope envelope;
    char name[128];
    int r;

    if (!cut_record(record, &digest, &text, name, sizeof(name), &trace))
        return -EBADMSG;
    r = read_envelope(uploads, text, &envelope, reason);
    if (r == UPLOAD_TAKEN)
        r = verify(uploads, digest, &envelope.mail.eight_bit, reason);
    if (r == UPLOAD_TAKEN)
        r = envelope.mail.relayed ? deliver_relayed(uploads, &envelope, trace, reason)
                                  : deliver_local(uploads, &envelope, name, trace);
    envelope_free(&envelope);
    return r;
}

/* What ID.done has made needless. Without ID.part there is no lock, so ID.deliver goes last. */
static void drop_delivered(struct uploads *uploads)
{
    unlinkat(uploads->folder, NAME(uploads->id, "part"), 0);
    unlinkat(uploads->folder, NAME(uploads->id, "deliver"), 0);
}

/* It is delivered: from now on that is all that is known of it. */
static int record_done(struct uploads *uploads)
{
    int r = 0;

    if (renameat(uploads->folder, NAME(uploads->id, "meta"), uploads->folder,
                 NAME(uploads->id, "done")) < 0)
        r = -errno;
    if (r == 0)
        r = sync_folder(uploads);
    if (r < 0)
        return r;
    drop_delivered(uploads);
    return UPLOAD_DONE;
}

/* Does what ID.deliver says, under the lock of the part. */
static int deliver(struct uploads *uploads, struct text *reason)
{
    char *record;
    int r = read_record(uploads, NAME(uploads->id, "deliver"), &record);

    if (r < 0)
        return r;
    r = deliver_record(uploads, span_of_text(record), reason);
    free(record);
    if (r == UPLOAD_DONE)
        return record_done(uploads);
    if (r == UPLOAD_REFUSED && span_starts_nocase(text_span(reason), SPAN_LIT("[TEMP]")))
        unlinkat(uploads->folder, NAME(uploads->id, "deliver"),
                 0); /* it is kept, to be tried again */
    else if (r == UPLOAD_REFUSED)
        forget(uploads);
    return r;
}

/* ---- the folder ---- */

/* An upload whose delivery a crash has cut off. */
static void complete(struct uploads *uploads)
{
    char room[REMOTE_LINE_MAX] = "";
    struct text reason = TEXT_OVER(room);
    int r = open_part(uploads, 0);

    if ((r == 0 || r == -ENOENT) && exists(uploads, NAME(uploads->id, "done"))) {
        drop_delivered(uploads); /* its recipients may have read and deleted it: not once more */
        r = UPLOAD_DONE;
    } else if (r == 0) {
        r = deliver(uploads, &reason);
    }
    if (r == UPLOAD_REFUSED)
        log_line(LOG_LEVEL_WARNING, "upload %s of %s is not delivered: %s", uploads->id,
                 uploads->user, text_str(&reason));
    else if (r < 0 && r != -EBUSY)
        log_line(LOG_LEVEL_ERROR, "upload %s of %s cannot be delivered: %s", uploads->id,
                 uploads->user, err_text(r));
    close_part(uploads);
}

/* What is too old goes. */
static void expire(struct uploads *uploads, const char *name, const char *kind)
{
    long age_max = strcmp(kind, "done") == 0 ? DONE_SECONDS : PARTIAL_SECONDS;
    struct stat status;

    if (fstatat(uploads->folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        time(NULL) - status.st_mtime <= age_max)
        return;
    if (strcmp(kind, "part") == 0) {
        if (open_part(uploads, 0) == 0)
            forget(uploads);
        close_part(uploads);
    } else if (strcmp(kind, "meta") != 0 || !exists(uploads, NAME(uploads->id, "part"))) {
        unlinkat(uploads->folder, name, 0);
    }
}

/* Calls `each` for every file of an upload, with uploads->id set. */
static int each_file(struct uploads *uploads,
                     void (*each)(struct uploads *uploads, const char *name, const char *kind,
                                  uint64_t *sums),
                     uint64_t *sums)
{
    int fd = openat(uploads->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!listing)
        return -errno;
    while ((entry = readdir(listing))) {
        struct span name = span_of_text(entry->d_name);

        if (name.size < REMOTE_UPLOAD_MAX + 2 || entry->d_name[REMOTE_UPLOAD_MAX] != '.' ||
            !remote_is_hex(span_first(name, REMOTE_UPLOAD_MAX), REMOTE_UPLOAD_MAX))
            continue;
        memcpy(uploads->id, entry->d_name, REMOTE_UPLOAD_MAX);
        each(uploads, entry->d_name, entry->d_name + REMOTE_UPLOAD_MAX + 1, sums);
    }
    closedir(listing);
    return 0;
}

static void tidy(struct uploads *uploads, const char *name, const char *kind, uint64_t *sums)
{
    (void)sums;
    if (strcmp(kind, "deliver") == 0)
        complete(uploads);
    else
        expire(uploads, name, kind);
}

static void sum_up(struct uploads *uploads, const char *name, const char *kind, uint64_t *sums)
{
    struct stat status;

    if (strcmp(kind, "part") != 0 ||
        fstatat(uploads->folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    sums[0]++;
    sums[1] += (uint64_t)status.st_size;
}

void uploads_init(struct uploads *uploads, const struct settings *settings)
{
    *uploads = (struct uploads){ .settings = settings, .folder = -1, .part = -1 };
    recipients_init(&uploads->recipients, &settings->mailstore);
}

void uploads_deinit(struct uploads *uploads)
{
    uploads_stop(uploads);
    if (uploads->folder >= 0)
        close(uploads->folder);
    uploads->folder = -1;
    recipients_deinit(&uploads->recipients);
}

int uploads_open(struct uploads *uploads, const char *user)
{
    const char *at = strchr(user, '@');
    char *path;
    int r = 0;

    if (!at || asprintf(&path, "%s/%s/%.*s/Maildir/" FOLDER_NAME, uploads->settings->mailstore.path,
                        at + 1, (int)(at - user), user) < 0)
        return at ? -ENOMEM : -EINVAL;
    snprintf(uploads->user, sizeof(uploads->user), "%s", user);
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        r = -errno;
    if (r == 0)
        uploads->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (r == 0 && uploads->folder < 0)
        r = -errno;
    free(path);
    return r < 0 ? r : each_file(uploads, tidy, NULL);
}

/* ---- one upload ---- */

static void set_id(struct uploads *uploads, struct span id)
{
    memcpy(uploads->id, id.data, REMOTE_UPLOAD_MAX);
    uploads->id[REMOTE_UPLOAD_MAX] = '\0';
}

int uploads_have(struct uploads *uploads, struct span id, uint64_t *ret_octets)
{
    struct stat status;
    int file, r = 0;

    set_id(uploads, id);
    if (exists(uploads, NAME(uploads->id, "deliver")))
        complete(uploads);
    if (exists(uploads, NAME(uploads->id, "done")))
        return UPLOAD_DONE;
    *ret_octets = 0;
    file = openat(uploads->folder, NAME(uploads->id, "part"), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (file < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fsync(file) < 0 || fstat(file, &status) < 0)
        r = -errno;
    close(file);
    if (r == 0)
        *ret_octets = (uint64_t)status.st_size;
    return r;
}

/* Is that what was said of it before? True also where nothing was. */
static int agrees(const struct uploads *uploads, const char *kind, struct span meta)
{
    char *before;
    int r = read_record(uploads, NAME(uploads->id, kind), &before);

    if (r < 0)
        return r == -ENOENT ? 1 : r;
    r = span_equal(span_of_text(before), meta);
    free(before);
    return r;
}

static int check_limits(struct uploads *uploads, const struct upload_claim *claim,
                        struct text *reason)
{
    const struct settings_mailstore *mailstore = &uploads->settings->mailstore;
    char id[REMOTE_UPLOAD_MAX + 1];
    uint64_t sums[2] = { 0, 0 };
    int r;

    if (claim->octets > mailstore->message_size_limit_bytes)
        return refused(uploads, reason, "LIMIT", "message too big");
    memcpy(id, uploads->id, sizeof(id));
    r = each_file(uploads, sum_up, sums);
    memcpy(uploads->id, id, sizeof(id));
    if (r < 0)
        return r;
    if (claim->offset == 0 && sums[0] >= PARTIALS_MAX)
        return refused(uploads, reason, "LIMIT", "too many unfinished uploads");
    if (sums[1] + (claim->octets - claim->offset) > mailstore->push_quota_bytes)
        return refused(uploads, reason, "LIMIT", "unfinished uploads take too much room");
    return UPLOAD_TAKEN;
}

/* The part, under its lock, where the client wants to go on. */
static int begin_part(struct uploads *uploads, const struct upload_claim *claim, struct span meta,
                      struct text *reason)
{
    char words[32];
    int r = open_part(uploads, O_CREAT), agree;

    if (r == -EBUSY)
        return refused(uploads, reason, "TEMP", "another connection sends it");
    if (r < 0)
        return r;
    agree = agrees(uploads, "meta", meta);
    if (agree < 0)
        return agree;
    snprintf(words, sizeof(words), "%llu", (unsigned long long)uploads->size);
    if (!agree)
        return refused(uploads, reason, "CONFLICT", "it was another message");
    if (uploads->size != claim->offset || uploads->size > claim->octets)
        return refused(uploads, reason, "CONFLICT", words);
    r = write_record(uploads, NAME(uploads->id, "meta"), meta);
    return r < 0 ? r : UPLOAD_TAKEN;
}

static int begin(struct uploads *uploads, const struct upload_claim *claim, struct span meta,
                 struct text *reason)
{
    struct envelope envelope;
    uint64_t octets;
    int r = uploads_have(uploads, claim->id, &octets);

    if (r < 0)
        return r;
    if (r == UPLOAD_DONE) {
        r = agrees(uploads, "done", meta);
        return r == 0  ? refused(uploads, reason, "CONFLICT", "it was another message")
               : r < 0 ? r
                       : UPLOAD_DONE;
    }
    r = check_limits(uploads, claim, reason);
    if (r != UPLOAD_TAKEN)
        return r;
    r = read_envelope(uploads, claim->envelope, &envelope, reason);
    envelope_free(&envelope);
    if (r != UPLOAD_TAKEN)
        return r;
    r = begin_part(uploads, claim, meta, reason);
    if (r != UPLOAD_TAKEN && uploads->part >= 0 && uploads->size == 0 &&
        !exists(uploads, NAME(uploads->id, "meta")))
        forget(uploads); /* nothing was begun */
    return r;
}

int uploads_begin(struct uploads *uploads, const struct upload_claim *claim, struct text *reason)
{
    char *meta;
    int r, size = asprintf(&meta, "%llu %.*s\n%.*s", (unsigned long long)claim->octets,
                           (int)claim->digest.size, (const char *)claim->digest.data,
                           (int)claim->envelope.size, (const char *)claim->envelope.data);

    if (size < 0)
        return -ENOMEM;
    close_part(uploads);
    set_id(uploads, claim->id);
    uploads->octets = claim->octets;
    r = begin(uploads, claim, span_of(meta, (size_t)size), reason);
    free(meta);
    if (r != UPLOAD_TAKEN)
        close_part(uploads);
    return r;
}

int uploads_write(struct uploads *uploads, struct span octets)
{
    while (octets.size > 0) {
        ssize_t size = pwrite(uploads->part, octets.data, octets.size, (off_t)uploads->size);

        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0)
            return -errno;
        uploads->size += (uint64_t)size;
        octets = span_skip(octets, (size_t)size);
    }
    return uploads->size - uploads->synced >= SYNC_BYTES ? sync_part(uploads) : 0;
}

/* Makes ID.deliver of ID.meta. */
static int record_whole(struct uploads *uploads, const char *trace)
{
    char *meta, *record;
    int size, r = read_record(uploads, NAME(uploads->id, "meta"), &meta);

    if (r < 0)
        return r;
    size = asprintf(&record, "%s\n%lld.R%s.gatepost\n%s", meta, (long long)time(NULL), uploads->id,
                    trace);
    free(meta);
    if (size < 0)
        return -ENOMEM;
    r = size > RECORD_MAX
            ? -E2BIG
            : write_record(uploads, NAME(uploads->id, "deliver"), span_of(record, (size_t)size));
    free(record);
    return r;
}

int uploads_finish(struct uploads *uploads, const char *trace, struct text *reason)
{
    int r = sync_part(uploads);

    if (r == 0)
        r = record_whole(uploads, trace);
    if (r == 0)
        r = deliver(uploads, reason);
    close_part(uploads);
    return r;
}

void uploads_stop(struct uploads *uploads)
{
    if (uploads->part >= 0 && sync_part(uploads) < 0)
        log_line(LOG_LEVEL_ERROR, "upload %s of %s cannot be kept: %s", uploads->id, uploads->user,
                 err_text(-errno));
    close_part(uploads);
}

/* ---- all users ---- */

static void complete_user(const struct settings *settings, const char *domain, const char *local)
{
    struct uploads uploads;
    char *user, *path;
    int r;

    if (asprintf(&user, "%s@%s", local, domain) < 0)
        return;
    if (asprintf(&path, "%s/%s/%s/Maildir/" FOLDER_NAME, settings->mailstore.path, domain, local) <
        0) {
        free(user);
        return;
    }
    if (access(path, F_OK) == 0) {
        uploads_init(&uploads, settings);
        r = uploads_open(&uploads, user);
        if (r < 0)
            log_line(LOG_LEVEL_ERROR, "the uploads of %s cannot be looked at: %s", user,
                     err_text(r));
        uploads_deinit(&uploads);
    }
    free(path);
    free(user);
}

/* The users of one domain. */
static void complete_domain(const struct settings *settings, const char *domain)
{
    DIR *listing;
    struct dirent *entry;
    char *path;

    if (asprintf(&path, "%s/%s", settings->mailstore.path, domain) < 0)
        return;
    listing = opendir(path);
    free(path);
    while (listing && (entry = readdir(listing)))
        if (entry->d_name[0] != '.')
            complete_user(settings, domain, entry->d_name);
    if (listing)
        closedir(listing);
}

void uploads_complete_all(const struct settings *settings)
{
    for (size_t i = 0; i < settings->mailstore.domains.count; i++)
        complete_domain(settings, settings->mailstore.domains.items[i]);
}

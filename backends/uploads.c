/* The folder `gatepost-uploads` of a Maildir: one upload from its first octet to its last, and what
 * is left of others.
 *
 * Happy path: meta, part, deliver, the message in every recipient's Maildir, done
 * (uploads_private.h). What a crash cut off is completed when the folder is opened, or before the
 * first connection. Fails with the -errno of the call that failed; a full disk leaves the upload to
 * be gone on with. */
#include "backends/uploads.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backends/disk.h"
#include "backends/uploads_private.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define FOLDER_NAME     "gatepost-uploads"
#define SYNC_BYTES      262144
#define PARTIALS_MAX    64
#define PARTIAL_SECONDS (14 * 86400L)
#define DONE_SECONDS    (400 * 86400L)

int upload_refuse(const struct uploads *uploads, struct text *reason, const char *code,
                  const char *words)
{
    reason->size = 0;
    text_printf(reason, "[%s] PUSH %s %.380s", code, uploads->id, words);
    return UPLOAD_REFUSED;
}

/* ---- the folder ---- */

/* What is too old goes. */
static void expire(struct uploads *uploads, const char *name, const char *kind)
{
    long age_max = strcmp(kind, "done") == 0 ? DONE_SECONDS : PARTIAL_SECONDS;
    struct stat status;

    if (fstatat(uploads->folder, name, &status, AT_SYMLINK_NOFOLLOW) < 0 ||
        time(NULL) - status.st_mtime <= age_max)
        return;
    if (strcmp(kind, "part") == 0) {
        if (upload_open_part(uploads, 0) == 0)
            upload_forget(uploads);
        upload_close_part(uploads);
    } else if (strcmp(kind, "meta") != 0 ||
               !upload_exists(uploads, UPLOAD_FILE(uploads->id, "part"))) {
        unlinkat(uploads->folder, name, 0);
    }
}

static void tidy(struct uploads *uploads, const char *name, const char *kind, uint64_t *sums)
{
    (void)sums;
    if (strcmp(kind, "deliver") == 0)
        upload_complete(uploads);
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
    bool made;
    char *path;
    int r = 0;

    if (!at || asprintf(&path, "%s/%s/%.*s/Maildir/" FOLDER_NAME, uploads->settings->mailstore.path,
                        at + 1, (int)(at - user), user) < 0)
        return at ? -ENOMEM : -EINVAL;
    snprintf(uploads->user, sizeof(uploads->user), "%s", user);
    made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST)
        r = -errno;
    if (r == 0)
        uploads->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (r == 0 && uploads->folder < 0)
        r = -errno;
    if (r == 0 && made)
        r = disk_sync_folder(uploads->folder, ".."); /* its name is an entry there */
    free(path);
    return r < 0 ? r : upload_each_file(uploads, tidy, NULL);
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
    if (upload_exists(uploads, UPLOAD_FILE(uploads->id, "deliver")))
        upload_complete(uploads);
    if (upload_exists(uploads, UPLOAD_FILE(uploads->id, "done")))
        return UPLOAD_DONE;
    *ret_octets = 0;
    file = openat(uploads->folder, UPLOAD_FILE(uploads->id, "part"),
                  O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
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
    int r = upload_read_record(uploads, UPLOAD_FILE(uploads->id, kind), &before);

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
        return upload_refuse(uploads, reason, "LIMIT", "message too big");
    memcpy(id, uploads->id, sizeof(id));
    r = upload_each_file(uploads, sum_up, sums);
    memcpy(uploads->id, id, sizeof(id));
    if (r < 0)
        return r;
    if (claim->offset == 0 && sums[0] >= PARTIALS_MAX)
        return upload_refuse(uploads, reason, "LIMIT", "too many unfinished uploads");
    if (sums[1] + (claim->octets - claim->offset) > mailstore->push_quota_bytes)
        return upload_refuse(uploads, reason, "LIMIT", "unfinished uploads take too much room");
    return UPLOAD_TAKEN;
}

/* The part, under its lock, where the client wants to go on. */
static int begin_part(struct uploads *uploads, const struct upload_claim *claim, struct span meta,
                      struct text *reason)
{
    char words[32];
    int r = upload_open_part(uploads, O_CREAT), agree;

    if (r == -EBUSY)
        return upload_refuse(uploads, reason, "TEMP", "another connection sends it");
    if (r < 0)
        return r;
    agree = agrees(uploads, "meta", meta);
    if (agree < 0)
        return agree;
    snprintf(words, sizeof(words), "%llu", (unsigned long long)uploads->size);
    if (!agree)
        return upload_refuse(uploads, reason, "CONFLICT", "it was another message");
    if (uploads->size != claim->offset || uploads->size > claim->octets)
        return upload_refuse(uploads, reason, "CONFLICT", words);
    r = upload_write_record(uploads, UPLOAD_FILE(uploads->id, "meta"), meta);
    return r < 0 ? r : UPLOAD_TAKEN;
}

static int begin(struct uploads *uploads, const struct upload_claim *claim, struct span meta,
                 struct text *reason)
{
    struct upload_envelope envelope;
    uint64_t octets;
    int r = uploads_have(uploads, claim->id, &octets);

    if (r < 0)
        return r;
    if (r == UPLOAD_DONE) {
        r = agrees(uploads, "done", meta);
        return r == 0  ? upload_refuse(uploads, reason, "CONFLICT", "it was another message")
               : r < 0 ? r
                       : UPLOAD_DONE;
    }
    r = check_limits(uploads, claim, reason);
    if (r != UPLOAD_TAKEN)
        return r;
    r = upload_read_envelope(uploads, claim->envelope, &envelope, reason);
    upload_envelope_free(&envelope);
    if (r != UPLOAD_TAKEN)
        return r;
    r = begin_part(uploads, claim, meta, reason);
    if (r != UPLOAD_TAKEN && uploads->part >= 0 && uploads->size == 0 &&
        !upload_exists(uploads, UPLOAD_FILE(uploads->id, "meta")))
        upload_forget(uploads); /* nothing was begun */
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
    upload_close_part(uploads);
    set_id(uploads, claim->id);
    uploads->octets = claim->octets;
    r = begin(uploads, claim, span_of(meta, (size_t)size), reason);
    free(meta);
    if (r != UPLOAD_TAKEN)
        upload_close_part(uploads);
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
    return uploads->size - uploads->synced >= SYNC_BYTES ? upload_sync_part(uploads) : 0;
}

int uploads_finish(struct uploads *uploads, const char *trace, struct text *reason)
{
    int r = upload_sync_part(uploads);

    if (r == 0)
        r = upload_record_whole(uploads, trace);
    if (r == 0)
        r = upload_deliver(uploads, reason);
    upload_close_part(uploads);
    return r;
}

void uploads_stop(struct uploads *uploads)
{
    if (uploads->part >= 0 && upload_sync_part(uploads) < 0)
        log_line(LOG_LEVEL_ERROR, "upload %s of %s cannot be kept: %s", uploads->id, uploads->user,
                 err_text(-errno));
    upload_close_part(uploads);
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

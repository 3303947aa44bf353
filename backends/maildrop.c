/* A maildrop: the messages of a Maildir as one session sees them, from its lock to its UPDATE.
 *
 * Happy path: lock, read the names in new/ and cur/ (sizes stand in them), sort, number, remove
 * what the journal says was to be removed. A view, for Remote Mail, does the same without the lock.
 * A message that another program moves or re-flags meanwhile is found again by the part of its name
 * that stays. Fails with -EBUSY when another session holds the lock, and with the -errno of the
 * call that failed; a message that vanishes while the list is made is left out. */
#include "backends/maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backends/disk.h"
#include "backends/maildrop_journal.h"
#include "backends/newline.h"
#include "backends/uid_index.h"

#define TMP_AGE_SECONDS                                                                            \
    (36 * 3600L) /* of a file in tmp/ that nobody is writing any more (maildir(5)) */

/* Where a session's lists of names come from. new/ is read first: what moves from there to cur/
 * meanwhile is seen twice, not missed. */
static const char *const places[] = { "new", "cur" };

#define PLACE_SIZE 4 /* characters of "new/" */

/* ---- names ---- */

/* The part of a path that stays when the message is moved or re-flagged. */
static struct span path_base(const char *path)
{
    const char *base = path + PLACE_SIZE;

    return span_of(base, strcspn(base, ":"));
}

/* Seconds of arrival, as the name begins. */
static uint64_t arrival(const struct maildrop_message *message)
{
    return strtoull(message->path + PLACE_SIZE, NULL, 10);
}

static int compare_bases(struct span a, struct span b)
{
    size_t shorter = a.size < b.size ? a.size : b.size;
    int order = memcmp(a.data, b.data, shorter);

    if (order == 0 && a.size != b.size)
        order = a.size < b.size ? -1 : 1;
    return order;
}

/* By time of arrival, then name; of two places of one message, cur/ first. */
static int compare_messages(const void *left, const void *right)
{
    const struct maildrop_message *a = left, *b = right;
    uint64_t time_a = arrival(a), time_b = arrival(b);
    int order;

    if (time_a != time_b)
        return time_a < time_b ? -1 : 1;
    order = compare_bases(path_base(a->path), path_base(b->path));
    return order != 0 ? order : strcmp(a->path, b->path);
}

/* ---- one message ---- */

/* Looks for the message under its present name. 0 and a new message->path, or -ENOENT, or -errno.
 */
static int find_again(int folder, struct maildrop_message *message)
{
    struct span base = path_base(message->path);

    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        int fd = openat(folder, places[i], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *listing = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;
        char *path = NULL;

        if (!listing) {
            int r = -errno;

            if (fd >= 0)
                close(fd);
            return r;
        }
        while (!path && (entry = readdir(listing))) {
            struct span other = span_of(entry->d_name, strcspn(entry->d_name, ":"));

            if (span_equal(other, base) && asprintf(&path, "%s/%s", places[i], entry->d_name) < 0) {
                closedir(listing);
                return -ENOMEM;
            }
        }
        closedir(listing);
        if (path) {
            free(message->path);
            message->path = path;
            return 0;
        }
    }
    return -ENOENT;
}

static int open_message(int folder, struct maildrop_message *message, int *ret_fd)
{
    int fd = openat(folder, message->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK), r;

    if (fd < 0 && errno == ENOENT) {
        r = find_again(folder, message);
        if (r < 0)
            return r;
        fd = openat(folder, message->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    }
    if (fd < 0)
        return -errno;
    *ret_fd = fd;
    return 0;
}

/* Counts the octets of a message whose name does not tell. */
static int count_octets(int folder, struct maildrop_message *message)
{
    unsigned char in[8192], out[2 * sizeof(in)];
    struct newline_to_wire newline = { 0 };
    struct stat status;
    uint64_t octets = 0;
    ssize_t size;
    int fd = -1, r = open_message(folder, message, &fd);

    if (r < 0)
        return r;
    if (fstat(fd, &status) == 0 && !S_ISREG(status.st_mode))
        r = -ENOENT; /* no message */
    while (r == 0 && (size = read(fd, in, sizeof(in))) != 0) {
        if (size < 0 && errno != EINTR)
            r = -errno;
        else if (size > 0)
            octets += newline_to_wire(&newline, span_of(in, (size_t)size), out);
    }
    close(fd);
    if (r == 0)
        message->octets = octets + newline_to_wire_end(&newline, out);
    return r;
}

/* ",W=<octets>" in the name. */
static bool name_tells_octets(const char *path, uint64_t *ret_octets)
{
    struct span base = path_base(path), value;
    size_t at = span_search(base, SPAN_LIT(",W="));

    value = span_skip(base, at + 3);
    value = span_first(value, span_find(value, ','));
    return at < base.size && span_parse_u64(value, ret_octets);
}

/* ---- the list ---- */

static int grow(struct maildrop *maildrop, size_t *room)
{
    struct maildrop_message *grown;
    size_t wanted = *room ? *room * 2 : 64;

    if (maildrop->count < *room)
        return 0;
    grown = reallocarray(maildrop->messages, wanted, sizeof(*grown));
    if (!grown)
        return -ENOMEM;
    maildrop->messages = grown;
    *room = wanted;
    return 0;
}

static int add_message(struct maildrop *maildrop, const char *place, const char *name, size_t *room)
{
    struct maildrop_message *message;
    int r = grow(maildrop, room);

    if (r < 0)
        return r;
    message = &maildrop->messages[maildrop->count];
    memset(message, 0, sizeof(*message));
    if (asprintf(&message->path, "%s/%s", place, name) < 0)
        return -ENOMEM;
    if (!name_tells_octets(message->path, &message->octets))
        r = count_octets(maildrop->folder, message);
    if (r < 0) {
        free(message->path);
        return r == -ENOENT || r == -ELOOP ? 0 : r; /* gone already, or a symbolic link */
    }
    maildrop->count++;
    return 0;
}

static int list_place(struct maildrop *maildrop, const char *place, size_t *room)
{
    int fd = openat(maildrop->folder, place, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;

    if (!listing) {
        r = -errno;
        if (fd >= 0)
            close(fd);
        return r;
    }
    while (r == 0 && (errno = 0, entry = readdir(listing)))
        if (entry->d_name[0] != '.' && (entry->d_type == DT_REG || entry->d_type == DT_UNKNOWN))
            r = add_message(maildrop, place, entry->d_name, room);
    if (r == 0 && !entry)
        r = -errno;
    closedir(listing);
    return r;
}

/* Sorts, and drops the second place of a message that was moved while the list was made. */
static void sort_messages(struct maildrop *maildrop)
{
    struct maildrop_message *messages = maildrop->messages;
    size_t kept = 0;

    if (maildrop->count == 0)
        return;
    qsort(messages, maildrop->count, sizeof(*messages), compare_messages);
    for (size_t i = 1; i < maildrop->count; i++) {
        if (span_equal(path_base(messages[i].path), path_base(messages[kept].path)))
            free(messages[i].path);
        else
            messages[++kept] = messages[i];
    }
    maildrop->count = kept + 1;
}

/* Removes what crashed deliveries left behind. What cannot be removed now will be another time. */
static void clean_tmp(int folder)
{
    int fd = openat(folder, "tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    struct dirent *entry;
    struct stat status;

    if (!listing) {
        if (fd >= 0)
            close(fd);
        return;
    }
    while ((entry = readdir(listing))) {
        if (entry->d_name[0] == '.' || fstatat(fd, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (S_ISREG(status.st_mode) && time(NULL) - status.st_mtime > TMP_AGE_SECONDS)
            unlinkat(fd, entry->d_name, 0);
    }
    closedir(listing);
}

/* ---- ids ---- */

static int compare_numbers(const void *left, const void *right)
{
    const struct maildrop_message *a = left, *b = right;

    return (a->number > b->number) - (a->number < b->number);
}

/* Takes out the messages for which `unwanted` is true. */
static void drop_messages(struct maildrop *maildrop,
                          bool (*unwanted)(const struct maildrop_message *message))
{
    size_t kept = 0;

    for (size_t i = 0; i < maildrop->count; i++) {
        if (unwanted(&maildrop->messages[i]))
            free(maildrop->messages[i].path);
        else
            maildrop->messages[kept++] = maildrop->messages[i];
    }
    maildrop->count = kept;
}

static bool has_no_number(const struct maildrop_message *message)
{
    return message->number == 0;
}

static bool is_deleted(const struct maildrop_message *message)
{
    return message->deleted;
}

/* On a full disk what has no id yet is not shown, so that there is a way to make room; but never an
 * empty mailbox that is none. */
static int number_messages(struct maildrop *maildrop)
{
    size_t before = maildrop->count;
    int r =
        uid_index_assign(maildrop->folder, maildrop->messages, maildrop->count, &maildrop->epoch);

    if (r < 0 && r != -ENOSPC && r != -EDQUOT && r != -EFBIG)
        return r;
    drop_messages(maildrop, has_no_number);
    if (r < 0 && maildrop->count == 0 && before > 0)
        return r;
    if (maildrop->count > 0)
        qsort(maildrop->messages, maildrop->count, sizeof(*maildrop->messages), compare_numbers);
    return 0;
}

/* ---- the session ---- */

/* How often a lock is tried that Remote Mail may hold for a moment, while it removes messages, and
 * how long it is waited for in between (guessed: an fsync of a slow disk). */
#define LOCK_TRIES   25
#define LOCK_WAIT_NS 10000000

static int open_lock(int folder, int *ret_lock)
{
    int lock =
        openat(folder, ".gatepost-pop3.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (lock < 0)
        return -errno;
    *ret_lock = lock;
    return 0;
}

static int try_lock(int lock)
{
    struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

    if (fcntl(lock, F_OFD_SETLK, &whole) < 0)
        return errno == EAGAIN || errno == EACCES ? -EBUSY : -errno;
    return 0;
}

static int lock_maildrop(struct maildrop *maildrop)
{
    static const struct timespec wait = { .tv_nsec = LOCK_WAIT_NS };
    int r = open_lock(maildrop->folder, &maildrop->lock);

    if (r < 0)
        return r;
    r = try_lock(maildrop->lock);
    for (int i = 0; r == -EBUSY && i < LOCK_TRIES; i++) {
        nanosleep(&wait, NULL);
        r = try_lock(maildrop->lock);
    }
    return r;
}

static int open_folder(const char *store, const char *user, struct maildrop *maildrop)
{
    const char *at = strchr(user, '@');
    char *path;
    int r;

    if (!at)
        return -EINVAL;
    r = maildir_create(store, user);
    if (r < 0)
        return r;
    if (asprintf(&path, "%s/%s/%.*s/Maildir", store, at + 1, (int)(at - user), user) < 0)
        return -ENOMEM;
    maildrop->folder = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (maildrop->folder < 0)
        r = -errno;
    free(path);
    return r;
}

/* A message that is gone already is removed as well. */
static int remove_message(int folder, struct maildrop_message *message)
{
    int r;

    if (unlinkat(folder, message->path, 0) == 0)
        return 0;
    if (errno != ENOENT)
        return -errno;
    r = find_again(folder, message);
    if (r == 0 && unlinkat(folder, message->path, 0) < 0)
        r = -errno;
    return r == -ENOENT ? 0 : r;
}

int maildrop_update(struct maildrop *maildrop)
{
    int first = 0, r;
    bool removed = false;

    for (size_t i = 0; i < maildrop->count; i++) {
        struct maildrop_message *message = &maildrop->messages[i];

        if (!message->deleted || message->removed)
            continue;
        removed = true;
        r = remove_message(maildrop->folder, message);
        message->removed = r == 0;
        first = first < 0 ? first : r;
    }
    for (size_t i = 0; removed && i < sizeof(places) / sizeof(places[0]); i++) {
        r = disk_sync_folder(maildrop->folder, places[i]);
        first = first < 0 ? first : r;
    }
    return first;
}

/* Under the lock: what the journal marked is removed, and the journal is over. */
static int finish_journal(struct maildrop *maildrop)
{
    int r = maildrop_update(maildrop);

    return r < 0 ? r : maildrop_journal_clear(maildrop);
}

static bool wants_removal(const struct maildrop *maildrop)
{
    for (size_t i = 0; i < maildrop->count; i++)
        if (maildrop->messages[i].deleted && !maildrop->messages[i].removed)
            return true;
    return false;
}

/* Removes a view's marked messages if nobody has the lock. -EBUSY: somebody has. */
static int remove_under_lock(struct maildrop *maildrop)
{
    int lock = -1, r = open_lock(maildrop->folder, &lock);

    if (r == 0)
        r = try_lock(lock);
    if (r == 0)
        r = maildrop_update(maildrop);
    if (r == 0)
        r = maildrop_journal_clear(maildrop);
    if (lock >= 0)
        close(lock);
    return r;
}

static int remove_journalled(struct maildrop *maildrop)
{
    int r = wants_removal(maildrop) ? remove_under_lock(maildrop) : 0;

    return r == -EBUSY ? 0 : r;
}

int maildrop_remove_acked(struct maildrop *maildrop)
{
    int r = wants_removal(maildrop) ? remove_under_lock(maildrop) : 0;

    return r == -EBUSY ? maildrop_journal_add(maildrop) : r;
}

/* Lists, and obeys the journal. */
static int list_messages(struct maildrop *maildrop)
{
    size_t room = 0;
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(places) / sizeof(places[0]); i++)
        r = list_place(maildrop, places[i], &room);
    if (r < 0)
        return r;
    sort_messages(maildrop);
    r = number_messages(maildrop);
    if (r == 0)
        r = maildrop_journal_mark(maildrop);
    return r;
}

int maildrop_open(const char *store, const char *user, struct maildrop *ret_maildrop)
{
    struct maildrop maildrop = { .folder = -1, .lock = -1 };
    int r = open_folder(store, user, &maildrop);

    if (r == 0)
        r = lock_maildrop(&maildrop);
    if (r == 0)
        clean_tmp(maildrop.folder);
    if (r == 0)
        r = list_messages(&maildrop);
    if (r == 0)
        r = finish_journal(&maildrop);
    if (r < 0) {
        maildrop_close(&maildrop);
        return r;
    }
    drop_messages(&maildrop, is_deleted);
    *ret_maildrop = maildrop;
    return 0;
}

int maildrop_view(const char *store, const char *user, struct maildrop *ret_maildrop)
{
    struct maildrop maildrop = { .folder = -1, .lock = -1 };
    int r = open_folder(store, user, &maildrop);

    if (r == 0)
        r = list_messages(&maildrop);
    if (r == 0)
        r = remove_journalled(&maildrop);
    if (r < 0) {
        maildrop_close(&maildrop);
        return r;
    }
    drop_messages(&maildrop, is_deleted);
    *ret_maildrop = maildrop;
    return 0;
}

int maildrop_read(struct maildrop *maildrop, size_t index, FILE **ret_file)
{
    FILE *file;
    int fd = -1, r = open_message(maildrop->folder, &maildrop->messages[index], &fd);

    if (r < 0)
        return r;
    file = fdopen(fd, "r");
    if (!file) {
        r = -errno;
        close(fd);
        return r;
    }
    *ret_file = file;
    return 0;
}

void maildrop_close(struct maildrop *maildrop)
{
    for (size_t i = 0; i < maildrop->count; i++)
        free(maildrop->messages[i].path);
    free(maildrop->messages);
    if (maildrop->lock >= 0)
        close(maildrop->lock); /* unlocks */
    if (maildrop->folder >= 0)
        close(maildrop->folder);
    *maildrop = (struct maildrop){ .folder = -1, .lock = -1 };
}

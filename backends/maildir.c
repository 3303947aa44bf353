/* Maildirs and delivery into them.
 *
 * Happy path: the message is written to the first recipient's tmp/ with LF line ends, fsynced,
 * linked into everybody's new/ under its final name, the folders fsynced, the name in tmp/ removed.
 * Fails with the -errno of the first call that failed; then the links that were made are removed
 * again. A crash in between leaves a file in tmp/, which maildrop_open() removes after 36 hours. */
#include "backends/maildir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backends/disk.h"
#include "backends/newline.h"

#define WRITE_BYTES 65536 /* converted octets that gather before a write (guessed) */

struct delivery {
    char **folders; /* "STORE/DOMAIN/LOCAL/Maildir" of each recipient, no two alike */
    size_t folder_count;
    char name[160]; /* in tmp/ */
    char *final;    /* in new/, without its sizes; NULL: as in tmp/ */
    int tmp;        /* descriptor of the first folder's tmp/ */
    int file;
    struct newline_to_disk newline;
    uint64_t disk_bytes;
    int error; /* of an earlier write; nothing is committed after it */
    size_t held;
    unsigned char buffer[WRITE_BYTES + 1];
};

/* ---- folders ---- */

/* Makes one folder and makes its name durable. An existing one is fine. */
static int make_folder(const char *path)
{
    char *slash, *parent;
    int r = 0;

    if (mkdir(path, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    parent = strdup(path);
    if (!parent)
        return -ENOMEM;
    slash = strrchr(parent, '/');
    if (slash && slash != parent) {
        *slash = '\0';
        r = disk_sync_folder(AT_FDCWD, parent);
    }
    free(parent);
    return r;
}

/* "STORE/DOMAIN/LOCAL/Maildir", with `below` appended; the caller frees. NULL: no memory, or no
 * whole name. */
static char *maildir_path(const char *store, const char *user, const char *below)
{
    const char *at = strchr(user, '@');
    char *path;

    if (!at ||
        asprintf(&path, "%s/%s/%.*s/Maildir%s", store, at + 1, (int)(at - user), user, below) < 0)
        return NULL;
    return path;
}

/* Makes every folder of `path` behind its first `from` characters. */
static int make_folders(char *path, size_t from)
{
    int r = 0;

    for (char *slash = path + from; r == 0 && (slash = strchr(slash, '/')); slash++) {
        *slash = '\0';
        r = make_folder(path);
        *slash = '/';
    }
    return r < 0 ? r : make_folder(path);
}

int maildir_create(const char *store, const char *user)
{
    static const char *const below[] = { "/cur", "/new", "/tmp" };
    int r = 0;

    for (size_t i = 0; r == 0 && i < sizeof(below) / sizeof(below[0]); i++) {
        char *path = maildir_path(store, user, below[i]);
        struct stat status;

        if (!path)
            return -ENOMEM;
        if (stat(path, &status) < 0)
            r = make_folders(path, strlen(store) + 1);
        free(path);
    }
    return r;
}

/* ---- names ---- */

/* "1700000000.M000123P42Q1.host": unique on this host and among hosts; as Maildir programs make
 * them. */
static void make_name(char *into, size_t room)
{
    static atomic_uint count;
    char host[65] = "localhost";
    struct timespec now;

    gethostname(host, sizeof(host) - 1);
    for (char *at = host; *at; at++)
        if (*at == '/' || *at == ':' || *at == ',' || *at <= ' ' || *at >= 0x7f)
            *at = '_'; /* these have a meaning in file names of a Maildir */
    clock_gettime(CLOCK_REALTIME, &now);
    snprintf(into, room, "%lld.M%06ldP%ldQ%u.%s", (long long)now.tv_sec, now.tv_nsec / 1000,
             (long)getpid(), atomic_fetch_add(&count, 1), host);
}

/* ---- begin, write ---- */

static bool has_folder(const struct delivery *delivery, const char *path)
{
    for (size_t i = 0; i < delivery->folder_count; i++)
        if (strcmp(delivery->folders[i], path) == 0)
            return true;
    return false;
}

static int add_folder(struct delivery *delivery, const char *store, const char *user)
{
    char *path;
    int r = maildir_create(store, user);

    if (r < 0)
        return r;
    path = maildir_path(store, user, "");
    if (!path)
        return -ENOMEM;
    if (has_folder(delivery, path))
        free(path); /* named twice, gets it once */
    else
        delivery->folders[delivery->folder_count++] = path;
    return 0;
}

static void delivery_free(struct delivery *delivery)
{
    if (delivery->file >= 0)
        close(delivery->file);
    if (delivery->tmp >= 0)
        close(delivery->tmp);
    for (size_t i = 0; i < delivery->folder_count; i++)
        free(delivery->folders[i]);
    free(delivery->folders);
    free(delivery->final);
    free(delivery);
}

/* Opens tmp, new or cur of a folder. The descriptor, or -errno. */
static int open_below(const char *folder, const char *below)
{
    char *path;
    int fd;

    if (asprintf(&path, "%s/%s", folder, below) < 0)
        return -ENOMEM;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        fd = -errno;
    free(path);
    return fd;
}

static int open_file(struct delivery *delivery)
{
    delivery->tmp = open_below(delivery->folders[0], "tmp");
    if (delivery->tmp < 0)
        return delivery->tmp;
    make_name(delivery->name, sizeof(delivery->name));
    delivery->file = openat(delivery->tmp, delivery->name,
                            O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    return delivery->file < 0 ? -errno : 0;
}

static int begin(const char *store, const char *const *users, size_t count, const char *final,
                 struct delivery **ret_delivery)
{
    struct delivery *delivery;
    int r = 0;

    if (count == 0)
        return -EINVAL;
    delivery = calloc(1, sizeof(*delivery));
    if (!delivery)
        return -ENOMEM;
    delivery->file = delivery->tmp = -1;
    delivery->folders = calloc(count, sizeof(*delivery->folders));
    delivery->final = final ? strdup(final) : NULL;
    if (!delivery->folders || (final && !delivery->final))
        r = -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++)
        r = add_folder(delivery, store, users[i]);
    if (r == 0)
        r = open_file(delivery);
    if (r < 0)
        delivery_free(delivery);
    else
        *ret_delivery = delivery;
    return r;
}

int delivery_begin(const char *store, const char *const *users, size_t count,
                   struct delivery **ret_delivery)
{
    return begin(store, users, count, NULL, ret_delivery);
}

int delivery_begin_named(const char *store, const char *const *users, size_t count,
                         const char *name, struct delivery **ret_delivery)
{
    return begin(store, users, count, name, ret_delivery);
}

static int write_held(struct delivery *delivery)
{
    int r = disk_write(delivery->file, span_of(delivery->buffer, delivery->held));

    if (r == 0)
        delivery->disk_bytes += delivery->held;
    delivery->held = 0;
    return r;
}

int delivery_write(struct delivery *delivery, struct span octets)
{
    while (delivery->error == 0 && octets.size > 0) {
        struct span part = span_first(octets, WRITE_BYTES - delivery->held);

        delivery->held +=
            newline_to_disk(&delivery->newline, part, delivery->buffer + delivery->held);
        octets = span_skip(octets, part.size);
        if (delivery->held >= WRITE_BYTES)
            delivery->error = write_held(delivery);
    }
    return delivery->error;
}

/* ---- commit ---- */

/* The end of the text, all of it on the disk. */
static int finish_file(struct delivery *delivery)
{
    unsigned char end[NEWLINE_END_MAX];
    size_t size;
    int r = delivery->error;

    if (r == 0)
        r = write_held(delivery);
    size = newline_to_disk_end(&delivery->newline, end);
    if (r == 0)
        r = disk_write(delivery->file, span_of(end, size));
    delivery->disk_bytes += size;
    if (r == 0 && fsync(delivery->file) < 0)
        r = -errno;
    return r;
}

static int copy_file(int from_folder, const char *from_name, int into)
{
    unsigned char buffer[16384];
    int from = openat(from_folder, from_name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), r = 0;
    ssize_t size = 0;

    if (from < 0)
        return -errno;
    while (r == 0 && (size = read(from, buffer, sizeof(buffer))) > 0)
        r = disk_write(into, span_of(buffer, (size_t)size));
    if (size < 0)
        r = -errno;
    if (r == 0 && fsync(into) < 0)
        r = -errno;
    close(from);
    return r;
}

/* Where no link is possible (another file system, too many links): a copy through the recipient's
 * own tmp/. */
static int copy_into(const struct delivery *delivery, const char *folder, int new_fd,
                     const char *final)
{
    int tmp = open_below(folder, "tmp"), file, r;

    if (tmp < 0)
        return tmp;
    file = openat(tmp, delivery->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    r = file < 0 ? -errno : copy_file(delivery->tmp, delivery->name, file);
    if (r == 0 && renameat(tmp, delivery->name, new_fd, final) < 0)
        r = -errno;
    if (file >= 0) {
        close(file);
        if (r < 0)
            unlinkat(tmp, delivery->name, 0);
    }
    close(tmp);
    return r;
}

/* Is a message of that name in new/ or cur/, whatever its flags? */
static int is_delivered(const char *folder, const char *final)
{
    static const char *const places[] = { "new", "cur" };
    size_t size = strlen(final);
    int found = 0;

    for (size_t i = 0; i < 2 && found == 0; i++) {
        int fd = open_below(folder, places[i]);
        DIR *listing = fd < 0 ? NULL : fdopendir(fd);
        struct dirent *entry;

        if (!listing)
            return fd < 0 ? fd : -errno;
        while (found == 0 && (entry = readdir(listing)))
            found = strncmp(entry->d_name, final, size) == 0 &&
                    strchr(",:", entry->d_name[size]) != NULL;
        closedir(listing);
    }
    return found;
}

/* Puts the message into one recipient's new/. */
static int put_into(const struct delivery *delivery, const char *folder, const char *final)
{
    int new_fd = open_below(folder, "new"), r = 0;

    if (new_fd < 0)
        return new_fd;
    if (linkat(delivery->tmp, delivery->name, new_fd, final, 0) < 0)
        r = errno == EXDEV || errno == EMLINK || errno == EPERM
                ? copy_into(delivery, folder, new_fd, final)
                : -errno;
    if (r == 0 && fsync(new_fd) < 0) {
        r = -errno;
        unlinkat(new_fd, final, 0);
    }
    close(new_fd);
    return r;
}

/* Takes it out again of the first `count` recipients' new/. */
static void take_back(const struct delivery *delivery, size_t count, const char *final)
{
    for (size_t i = 0; i < count; i++) {
        int new_fd = open_below(delivery->folders[i], "new");

        if (new_fd < 0)
            continue;
        unlinkat(new_fd, final, 0);
        close(new_fd);
    }
}

int delivery_commit(struct delivery *delivery)
{
    char final[240];
    int r = finish_file(delivery);

    snprintf(final, sizeof(final), "%s,S=%llu,W=%llu",
             delivery->final ? delivery->final : delivery->name,
             (unsigned long long)delivery->disk_bytes,
             (unsigned long long)delivery->newline.octets);
    for (size_t i = 0; r == 0 && i < delivery->folder_count; i++) {
        r = delivery->final ? is_delivered(delivery->folders[i], delivery->final) : 0;
        if (r == 0)
            r = put_into(delivery, delivery->folders[i], final);
        if (r < 0 && !delivery->final)
            take_back(delivery, i, final);
        r = r > 0 ? 0 : r;
    }
    delivery_abort(delivery); /* only the name in tmp/ is left to remove */
    return r;
}

void delivery_abort(struct delivery *delivery)
{
    if (!delivery)
        return;
    unlinkat(delivery->tmp, delivery->name, 0);
    delivery_free(delivery);
}

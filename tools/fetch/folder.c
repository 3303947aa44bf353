/* Moving is renaming without replacing; over file systems it is a copy in tmp/ that is renamed, and
 * the original removed after that. */
#include "tools/fetch/folder.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "backends/disk.h"

#define PIECE 16384

/* ---- folders ---- */

static int make_folder(int folder, const char *path)
{
    return mkdirat(folder, path, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

int folder_open(int folder, const char *path, int *ret_folder)
{
    static const char *const parts[] = { "tmp", "new", "cur" };
    int r = make_folder(folder, path), fd;

    if (r < 0)
        return r;
    fd = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    for (size_t i = 0; r == 0 && i < sizeof(parts) / sizeof(parts[0]); i++)
        r = make_folder(fd, parts[i]);
    if (r < 0) {
        close(fd);
        return r;
    }
    *ret_folder = fd;
    return 0;
}

/* Fsyncs the folder that `path`, "new/...", is in. */
static int sync_place(int folder, const char *path)
{
    char place[8];
    size_t size = strcspn(path, "/");

    if (size >= sizeof(place))
        return -EINVAL;
    memcpy(place, path, size);
    place[size] = '\0';
    return disk_sync_folder(folder, place);
}

int folder_remove(int folder, const char *path)
{
    if (unlinkat(folder, path, 0) < 0 && errno != ENOENT)
        return -errno;
    return sync_place(folder, path);
}

DIR *folder_list(int folder, const char *path)
{
    int fd = openat(folder, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);

    if (!listing && fd >= 0) {
        error = errno;
        close(fd);
        errno = error;
    }
    return listing;
}

static bool is_base(const char *name, const char *base)
{
    size_t size = strlen(base);

    return strncmp(name, base, size) == 0 && (name[size] == '\0' || name[size] == ':');
}

static int look_for(int folder, const char *base, struct text *ret_path)
{
    static const char *const places[] = { "new", "cur" };
    int r = -ENOENT;

    for (size_t i = 0; r == -ENOENT && i < 2; i++) {
        DIR *listing = folder_list(folder, places[i]);
        struct dirent *entry;

        if (!listing)
            return -errno;
        while (r == -ENOENT && (entry = readdir(listing)))
            if (is_base(entry->d_name, base)) {
                ret_path->size = 0;
                text_printf(ret_path, "%s/%s", places[i], entry->d_name);
                text_str(ret_path);
                r = 0;
            }
        closedir(listing);
    }
    return r;
}

/* What is renamed while a listing is read may be missed by one look, hardly by two. */
int folder_find(int folder, const char *base, struct text *ret_path)
{
    int r = look_for(folder, base, ret_path);

    return r == -ENOENT ? look_for(folder, base, ret_path) : r;
}

/* ---- moving ---- */

static int open_file(int folder, const char *path)
{
    int fd = openat(folder, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);

    return fd < 0 ? -errno : fd;
}

static ssize_t read_full(int fd, char *octets)
{
    size_t size = 0;
    ssize_t r;

    while (size < PIECE && (r = read(fd, octets + size, PIECE - size)) != 0) {
        if (r < 0)
            return -errno;
        size += (size_t)r;
    }
    return (ssize_t)size;
}

/* 1: the same octets; 0: others; or -errno. */
static int compare(int a, int b)
{
    char octets_a[PIECE], octets_b[PIECE];

    for (;;) {
        ssize_t size_a = read_full(a, octets_a), size_b = read_full(b, octets_b);

        if (size_a < 0 || size_b < 0)
            return (int)(size_a < 0 ? size_a : size_b);
        if (size_a != size_b || memcmp(octets_a, octets_b, (size_t)size_a) != 0)
            return 0;
        if (size_a < PIECE)
            return 1;
    }
}

static int same_file(int from, const char *path, int to, const char *target)
{
    int a = open_file(from, path), b, r;

    if (a < 0)
        return a;
    b = open_file(to, target);
    r = b < 0 ? b : compare(a, b);
    close(a);
    if (b >= 0)
        close(b);
    return r;
}

/* Over file systems without RENAME_NOREPLACE. */
static int link_to(int from, const char *path, int to, const char *target)
{
    return linkat(from, path, to, target, 0) < 0 || unlinkat(from, path, 0) < 0 ? -errno : 0;
}

static int rename_to(int from, const char *path, int to, const char *target)
{
    if (renameat2(from, path, to, target, RENAME_NOREPLACE) == 0)
        return 0;
    return errno == EINVAL || errno == ENOSYS ? link_to(from, path, to, target) : -errno;
}

static int copy_octets(int in, int out)
{
    char octets[PIECE];
    ssize_t size;
    int r = 0;

    while (r == 0 && (size = read_full(in, octets)) != 0)
        r = size < 0 ? (int)size : disk_write(out, span_of(octets, (size_t)size));
    return r == 0 && fsync(out) < 0 ? -errno : r;
}

/* A copy in tmp/ of the other Maildir. */
static int copy_file(int from, const char *path, int to, const char *copy)
{
    int in = open_file(from, path), out, r;

    if (in < 0)
        return in;
    out = openat(to, copy, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    r = out < 0 ? -errno : copy_octets(in, out);
    close(in);
    if (out >= 0 && close(out) < 0 && r == 0)
        r = -errno;
    return r;
}

static int copy_to(int from, const char *path, int to, const char *target)
{
    char copy[PATH_MAX];
    const char *name = strchr(target, '/');
    int r;

    if (!name || snprintf(copy, sizeof(copy), "tmp%s", name) >= (int)sizeof(copy))
        return -ENAMETOOLONG;
    r = copy_file(from, path, to, copy);
    if (r == 0)
        r = rename_to(to, copy, to, target);
    if (r < 0) {
        unlinkat(to, copy, 0);
        return r;
    }
    r = sync_place(to, target); /* before the original goes */
    return r == 0 && unlinkat(from, path, 0) < 0 ? -errno : r;
}

/* 0, -EEXIST: there is another file of that name, or -errno. */
static int move_as(int from, const char *path, int to, const char *target)
{
    int r = rename_to(from, path, to, target);

    if (r == -EXDEV)
        r = copy_to(from, path, to, target);
    if (r != -EEXIST)
        return r;
    r = same_file(from, path, to, target);
    if (r == 0)
        return -EEXIST;
    return r > 0 && unlinkat(from, path, 0) < 0 ? -errno : r < 0 ? r : 0;
}

int folder_move(int from, const char *path, int to, const char *place, const char *name,
                const char *other)
{
    char target[PATH_MAX];
    int r;

    snprintf(target, sizeof(target), "%s/%s", place, name);
    r = move_as(from, path, to, target);
    if (r == -EEXIST) {
        snprintf(target, sizeof(target), "%s/%s", place, other);
        r = move_as(from, path, to, target);
    }
    if (r == 0)
        r = disk_sync_folder(to, place);
    return r == 0 ? sync_place(from, path) : r;
}

/* ---- the log ---- */

static void put_now(struct text *text)
{
    char room[64];
    time_t now = time(NULL);
    struct tm local;

    localtime_r(&now, &local);
    strftime(room, sizeof(room), "%Y-%m-%dT%H:%M:%S%z ", &local);
    text_puts(text, room);
}

int folder_log(int folder, const char *name, struct span line)
{
    int fd = openat(folder, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    char room[4096];
    struct text text = TEXT_OVER(room);
    int r;

    if (fd < 0)
        return -errno;
    put_now(&text);
    text_put(&text, span_first(line, sizeof(room) - 128));
    text_puts(&text, "\n");
    r = disk_write(fd, text_span(&text));
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    close(fd);
    return r;
}

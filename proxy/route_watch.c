/* Reading maps of routes and watching their files.
 *
 * Happy path: every second a thread of libuv's pool opens the file and compares device, inode, size
 * and time with those of the map that is in use; where they differ, it copies the file into a
 * memfd, seals it, and reads it through. Listeners that name the same file share its map. It fails
 * where the file cannot be read, has more than 1 GiB, changes while it is read, or is no sound cdb.
 */
#include "proxy/route_watch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/route.h"

#define INTERVAL_MS     1000
#define MAP_MAX_BYTES   (INT64_C(1) << 30) /* tens of millions of users */
#define SETTLED_SECONDS 2
#define PATH_PREFIX     "user:cdb:"

/* What a file was when it was read. */
struct version {
    dev_t device;
    ino_t inode;
    off_t size;
    struct timespec modified;
};

enum load_result { LOAD_SAME = 1, LOAD_STILL_BAD, LOAD_NEW };

struct load {
    struct version version;
    int fd; /* sealed */
    size_t entries;
};

struct map {
    struct route_watch *watch;
    const char *path; /* a copy of its own: a thread may outlive the settings */
    struct load now;
    struct version bad; /* the last one that could not be used */
    uv_work_t work;
    int result; /* of the work: a load_result or -errno */
    struct load loaded;
    bool busy, failing;
};

struct route_watch {
    uv_loop_t *loop;
    void (*changed)(void *owner, size_t listen, int fd);
    void *owner;
    uv_timer_t timer;
    bool closed, timer_closed;
    size_t listen_count;
    struct map **by_listen; /* NULL: has no route */
    size_t count;
    struct map maps[]; /* by path */
};

static const char *words(int error)
{
    switch (error) {
    case -EPROTO:
        return "is no sound cdb map";
    case -EFBIG:
        return "has more than 1 GiB";
    case -EAGAIN:
        return "changes while it is read";
    default:
        return err_text(error);
    }
}

/* -- reading; in the thread, and at start -- */

static struct version version_of(const struct stat *status)
{
    return (struct version){ status->st_dev, status->st_ino, status->st_size, status->st_mtim };
}

static bool is_same(const struct version *a, const struct version *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size &&
           a->modified.tv_sec == b->modified.tv_sec && a->modified.tv_nsec == b->modified.tv_nsec;
}

static int copy_file(int from, int into, off_t size)
{
    struct stat after;

    for (off_t done = 0; done < size;) {
        ssize_t count = sendfile(into, from, NULL, (size_t)(size - done));

        if (count < 0 && errno != EINTR)
            return -errno;
        if (count == 0)
            return -EAGAIN; /* it was cut */
        done += count > 0 ? count : 0;
    }
    return fstat(from, &after) == 0 && after.st_size == size ? 0 : -EAGAIN;
}

/* Into a sealed memfd that was read through. */
static int read_map(int file, off_t size, struct load *load)
{
    int fd = memfd_create("gatepost-route", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

    if (fd < 0)
        return -errno;
    r = copy_file(file, fd, size);
    if (r < 0) {
        close(fd);
        return r;
    }
    fd = route_seal(fd);
    if (fd < 0)
        return fd;
    r = route_check(fd, &load->entries);
    if (r < 0)
        close(fd);
    else
        load->fd = fd;
    return r;
}

/* A file that was written to within the same tick of its clock looks the same. */
static bool is_settled(const struct stat *status)
{
    return time(NULL) - status->st_mtim.tv_sec > SETTLED_SECONDS;
}

static int load_file(struct map *map, int file, struct load *load)
{
    struct stat before, after;
    int r;

    if (fstat(file, &before) < 0)
        return -errno;
    if (!S_ISREG(before.st_mode))
        return S_ISDIR(before.st_mode) ? -EISDIR : -EPROTO;
    load->version = version_of(&before);
    if (is_same(&load->version, &map->now.version))
        return LOAD_SAME;
    if (is_same(&load->version, &map->bad) && is_settled(&before))
        return LOAD_STILL_BAD;
    map->bad = load->version; /* until it has proved to be sound */
    if (before.st_size > MAP_MAX_BYTES)
        return -EFBIG;
    r = read_map(file, before.st_size, load);
    if (r < 0)
        return r;
    if (fstat(file, &after) == 0 && before.st_mtim.tv_sec == after.st_mtim.tv_sec &&
        before.st_mtim.tv_nsec == after.st_mtim.tv_nsec)
        return LOAD_NEW;
    close(load->fd);
    return -EAGAIN;
}

/* LOAD_SAME: as map->now; LOAD_STILL_BAD: it was judged before; LOAD_NEW: *load is filled; or
 * -errno. */
static int load_map(struct map *map, struct load *load)
{
    int file = open(map->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK),
        r; /* it may be a pipe */

    if (file < 0)
        return -errno;
    r = load_file(map, file, load);
    close(file);
    return r;
}

/* -- watching -- */

static void tell_listeners(struct map *map)
{
    struct route_watch *watch = map->watch;

    for (size_t i = 0; i < watch->listen_count; i++)
        if (watch->by_listen[i] == map)
            watch->changed(watch->owner, i, map->now.fd);
}

static void tell_recovered(struct map *map)
{
    if (map->failing)
        log_line(LOG_LEVEL_NOTICE, "route %s: the map is as it was again", map->path);
    map->failing = false;
}

static void take_map(struct map *map)
{
    close(map->now.fd);
    map->now = map->loaded;
    map->failing = false;
    log_line(LOG_LEVEL_NOTICE, "route %s: a new map of %zu entries", map->path, map->now.entries);
    tell_listeners(map);
}

/* One that changes while it is read is not yet worth a line: it is read again soon. */
static void tell_failed(struct map *map, int error)
{
    if (map->failing || error == -EAGAIN)
        return;
    map->failing = true;
    log_line(LOG_LEVEL_WARNING, "route %s: %s; the map from before stays", map->path, words(error));
}

static void free_watch(struct route_watch *watch)
{
    for (size_t i = 0; i < watch->count; i++) {
        if (watch->maps[i].busy)
            return; /* its work will come back here */
    }
    if (!watch->timer_closed)
        return;
    for (size_t i = 0; i < watch->count; i++) {
        if (watch->maps[i].now.fd >= 0)
            close(watch->maps[i].now.fd);
        free((void *)(uintptr_t)watch->maps[i].path);
    }
    free(watch->by_listen);
    free(watch);
}

static void work(uv_work_t *request)
{
    struct map *map = request->data;

    map->result = load_map(map, &map->loaded);
}

static void after_work(uv_work_t *request, int status)
{
    struct map *map = request->data;

    map->busy = false;
    if (map->watch->closed) {
        if (status == 0 && map->result == LOAD_NEW)
            close(map->loaded.fd);
        free_watch(map->watch);
        return;
    }
    if (status < 0 || map->result < 0)
        tell_failed(map, status < 0 ? status : map->result);
    else if (map->result == LOAD_NEW)
        take_map(map);
    else if (map->result == LOAD_SAME)
        tell_recovered(map);
}

static void on_timer(uv_timer_t *timer)
{
    struct route_watch *watch = timer->data;

    for (size_t i = 0; i < watch->count; i++) {
        struct map *map = &watch->maps[i];

        if (!map->busy)
            map->busy = uv_queue_work(watch->loop, &map->work, work, after_work) == 0;
    }
}

/* -- start and end -- */

/* The file of a listener that is opened and routes, or NULL. */
static const char *path_of(const struct settings *settings, size_t listen)
{
    const struct settings_listen *rule = &settings->listens[listen];

    if (!settings_listen_open(settings, rule) ||
        strncmp(rule->route, PATH_PREFIX, strlen(PATH_PREFIX)) != 0)
        return NULL;
    return rule->route + strlen(PATH_PREFIX);
}

/* Does an earlier listener name the same file? */
static bool is_told(const struct settings *settings, size_t listen)
{
    for (size_t i = 0; i < listen; i++)
        if (path_of(settings, i) && strcmp(path_of(settings, i), path_of(settings, listen)) == 0)
            return true;
    return false;
}

void route_watch_check(const struct settings *settings, struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < settings->listen_count; i++) {
        struct settings_ref ref = { "listen", settings->listens[i].name, "route", NULL };
        struct map map = { .path = path_of(settings, i) };
        struct load load;
        int r = map.path && *map.path == '/' && !is_told(settings, i) ? load_map(&map, &load) : 0;

        if (r < 0)
            settings_report(settings, diagnostics, DIAGNOSTIC_ERROR, &ref,
                            "[listen %s] route = %s: %s", ref.name, settings->listens[i].route,
                            words(r));
        else if (r > 0)
            close(load.fd);
    }
}

/* The map of that path, which is no longer than the settings; NULL: no memory. */
static struct map *map_of(struct route_watch *watch, const char *path)
{
    struct map *map;

    for (size_t i = 0; i < watch->count; i++)
        if (strcmp(watch->maps[i].path, path) == 0)
            return &watch->maps[i];
    map = &watch->maps[watch->count];
    map->path = strdup(path);
    if (!map->path)
        return NULL;
    watch->count++;
    map->watch = watch;
    map->now.fd = -1;
    map->work.data = map;
    return map;
}

/* Where the watch before has read the file, it is read again only if it has changed since. */
static int inherit(struct map *map, const struct route_watch *before)
{
    for (size_t i = 0; before && i < before->count; i++) {
        if (strcmp(before->maps[i].path, map->path) != 0)
            continue;
        map->now = before->maps[i].now;
        map->now.fd = fcntl(before->maps[i].now.fd, F_DUPFD_CLOEXEC, 0);
        return map->now.fd < 0 ? -errno : 0;
    }
    return 0;
}

static int load_first(struct map *map, const struct route_watch *before)
{
    struct load load;
    int r = inherit(map, before);

    if (r == 0)
        r = load_map(map, &load);
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "route %s: %s", map->path, words(r));
        return r;
    }
    if (r == LOAD_SAME)
        return 0;
    if (map->now.fd >= 0)
        close(map->now.fd);
    map->now = load;
    log_line(LOG_LEVEL_INFO, "route %s: a map of %zu entries", map->path, load.entries);
    return 0;
}

static int load_all(struct route_watch *watch, const struct route_watch_start *start)
{
    for (size_t i = 0; i < watch->listen_count; i++) {
        const char *path = path_of(start->settings, i);
        struct map *map = path ? map_of(watch, path) : NULL;
        int r;

        if (!path)
            continue;
        if (!map)
            return -ENOMEM;
        watch->by_listen[i] = map;
        r = map->now.fd < 0 ? load_first(map, start->before) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

int route_watch_new(const struct route_watch_start *start, struct route_watch **ret_watch)
{
    size_t listens = start->settings->listen_count;
    struct route_watch *watch = calloc(1, sizeof(*watch) + listens * sizeof(watch->maps[0]));
    int r;

    if (!watch)
        return -ENOMEM;
    watch->loop = start->loop;
    watch->changed = start->changed;
    watch->owner = start->owner;
    watch->timer_closed = true;
    watch->listen_count = listens;
    watch->by_listen = calloc(listens + 1, sizeof(*watch->by_listen));
    r = watch->by_listen ? load_all(watch, start) : -ENOMEM;
    if (r < 0) {
        free_watch(watch);
        return r;
    }
    uv_timer_init(start->loop, &watch->timer);
    watch->timer.data = watch;
    watch->timer_closed = false;
    if (watch->count > 0)
        uv_timer_start(&watch->timer, on_timer, INTERVAL_MS, INTERVAL_MS);
    *ret_watch = watch;
    return 0;
}

int route_watch_map(const struct route_watch *watch, size_t listen)
{
    return watch->by_listen[listen] ? watch->by_listen[listen]->now.fd : -1;
}

static void timer_closed(uv_handle_t *handle)
{
    struct route_watch *watch = handle->data;

    watch->timer_closed = true;
    free_watch(watch);
}

void route_watch_close(struct route_watch *watch)
{
    if (!watch)
        return;
    watch->closed = true;
    uv_close((uv_handle_t *)&watch->timer, timer_closed);
}

/* Watching folders of certificates.
 *
 * Happy path: an event of one of the folders starts a timer of a second; when it fires, the files
 * are compared with their stamps, and where one differs, the owner is told. Folders, not files: a
 * file that is replaced by rename is another file. Of a symbolic link, the folder of each link on
 * the way is watched, and that of the file at its end (certbot: live/ leads to archive/). Where the
 * kernel watches no more folders, the minute's look remains. */
#include "proxy/certificate_watch.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define SETTLE_MS   1000  /* after the first event: others follow at once */
#define INTERVAL_MS 60000 /* the look that needs no event */
#define LINKS_MAX   16    /* on the way to one file; the kernel follows 40 */

struct folder {
    struct folder *next;
    uv_fs_event_t event;
    bool wanted; /* while the list is made anew */
    char path[];
};

struct certificate_watch {
    uv_loop_t *loop;
    void (*changed)(void *owner);
    void *owner;
    const struct file_stamps *stamps; /* NULL: none yet */
    struct folder *folders;
    uv_timer_t settle, interval;
    unsigned open_timers;
    bool told_full;
};

static void look(struct certificate_watch *watch)
{
    if (watch->stamps && file_stamps_changed(watch->stamps))
        watch->changed(watch->owner);
}

static void on_timer(uv_timer_t *timer)
{
    look(timer->data);
}

static void on_event(uv_fs_event_t *event, const char *name, int events, int status)
{
    struct certificate_watch *watch = event->data;

    (void)name;
    (void)events;
    (void)status;
    if (!uv_is_active((uv_handle_t *)&watch->settle)) /* constant traffic must not put it off */
        uv_timer_start(&watch->settle, on_timer, SETTLE_MS, 0);
}

/* -- the list of folders -- */

static struct folder *find(struct certificate_watch *watch, const char *path)
{
    struct folder *folder = watch->folders;

    while (folder && strcmp(folder->path, path) != 0)
        folder = folder->next;
    return folder;
}

static void tell_full(struct certificate_watch *watch, const char *path, int error)
{
    if (!watch->told_full)
        log_line(LOG_LEVEL_NOTICE,
                 "%s cannot be watched: %s; changed certificates are found every "
                 "%d s",
                 path, err_text(error), INTERVAL_MS / 1000);
    watch->told_full = true;
}

static void folder_closed(uv_handle_t *handle)
{
    free((char *)handle - offsetof(struct folder, event));
}

static void want_folder(struct certificate_watch *watch, const char *path)
{
    struct folder *folder = find(watch, path);
    size_t size = strlen(path) + 1;
    int r;

    if (folder) {
        folder->wanted = true;
        return;
    }
    folder = calloc(1, sizeof(*folder) + size);
    if (!folder)
        return;
    memcpy(folder->path, path, size);
    folder->wanted = true;
    uv_fs_event_init(watch->loop, &folder->event);
    folder->event.data = watch;
    r = uv_fs_event_start(&folder->event, on_event, path, 0);
    if (r < 0) {
        if (r != -ENOENT) /* a file that is not there is told of elsewhere */
            tell_full(watch, path, r);
        uv_close((uv_handle_t *)&folder->event, folder_closed);
        return;
    }
    folder->next = watch->folders;
    watch->folders = folder;
}

static void want_folder_of(struct certificate_watch *watch, const char *path)
{
    char copy[PATH_MAX];

    snprintf(copy, sizeof(copy), "%s", path);
    want_folder(watch, dirname(copy));
}

/* Replaces `path` by what it links to. False: it is no link. */
static bool follow_link(char path[PATH_MAX])
{
    char target[PATH_MAX], folder[PATH_MAX];
    ssize_t size = readlink(path, target, sizeof(target) - 1);
    int written;

    if (size < 0)
        return false;
    target[size] = '\0';
    snprintf(folder, sizeof(folder), "%s", path);
    written = target[0] == '/' ? snprintf(path, PATH_MAX, "%s", target)
                               : snprintf(path, PATH_MAX, "%s/%s", dirname(folder), target);
    return written > 0 && written < PATH_MAX;
}

static void want_path(struct certificate_watch *watch, const char *path)
{
    char step[PATH_MAX], real[PATH_MAX];
    struct stat status;
    unsigned links = 0;

    snprintf(step, sizeof(step), "%s", path);
    do
        want_folder_of(watch, step);
    while (++links < LINKS_MAX && follow_link(step));
    if (!realpath(path, real))
        return;
    want_folder_of(watch, real);
    if (stat(real, &status) == 0 && S_ISDIR(status.st_mode))
        want_folder(watch, real);
}

static void drop_unwanted(struct certificate_watch *watch)
{
    struct folder **link = &watch->folders;

    while (*link) {
        struct folder *folder = *link;

        if (folder->wanted) {
            link = &folder->next;
            continue;
        }
        *link = folder->next;
        uv_close((uv_handle_t *)&folder->event, folder_closed);
    }
}

void certificate_watch_follow(struct certificate_watch *watch, const struct file_stamps *stamps)
{
    watch->stamps = stamps;
    for (struct folder *folder = watch->folders; folder; folder = folder->next)
        folder->wanted = false;
    for (size_t i = 0; i < stamps->count; i++)
        want_path(watch, stamps->items[i].path);
    drop_unwanted(watch);
}

/* -- start and end -- */

int certificate_watch_new(uv_loop_t *loop, void (*changed)(void *owner), void *owner,
                          struct certificate_watch **ret_watch)
{
    struct certificate_watch *watch = calloc(1, sizeof(*watch));

    if (!watch)
        return -ENOMEM;
    watch->loop = loop;
    watch->changed = changed;
    watch->owner = owner;
    uv_timer_init(loop, &watch->settle);
    uv_timer_init(loop, &watch->interval);
    watch->settle.data = watch->interval.data = watch;
    watch->open_timers = 2;
    uv_timer_start(&watch->interval, on_timer, INTERVAL_MS, INTERVAL_MS);
    *ret_watch = watch;
    return 0;
}

static void timer_closed(uv_handle_t *handle)
{
    struct certificate_watch *watch = handle->data;

    if (--watch->open_timers == 0)
        free(watch);
}

void certificate_watch_close(struct certificate_watch *watch)
{
    if (!watch)
        return;
    for (struct folder *folder = watch->folders; folder; folder = folder->next)
        folder->wanted = false;
    drop_unwanted(watch);
    uv_close((uv_handle_t *)&watch->settle, timer_closed);
    uv_close((uv_handle_t *)&watch->interval, timer_closed);
}

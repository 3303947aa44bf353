/* inotify on the two folders of a Maildir where messages appear.
 *
 * Happy path: both are watched. Fails, with -1, where one is missing or the user's watches are used
 * up. */
#include "backends/maildir_watch.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

static bool add(int watch, const char *store, const char *user, const char *place)
{
    const char *at = strchr(user, '@');
    char path[PATH_MAX];
    int size = snprintf(path, sizeof(path), "%s/%s/%.*s/Maildir/%s", store, at + 1,
                        (int)(at - user), user, place);

    return size > 0 && (size_t)size < sizeof(path) &&
           inotify_add_watch(watch, path, IN_CREATE | IN_MOVED_TO) >= 0;
}

int maildir_watch_open(const char *store, const char *user)
{
    int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);

    if (watch < 0 || (add(watch, store, user, "new") && add(watch, store, user, "cur")))
        return watch;
    close(watch);
    return -1;
}

void maildir_watch_drain(int watch)
{
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));

    while (read(watch, events, sizeof(events)) > 0)
        ;
}

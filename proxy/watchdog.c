/* Asking the children whether they live.
 *
 * Happy path: at a tick everybody has answered what the last one asked; the watchdog is fed, and
 * they are asked again. A child that is mute is killed. Then the watchdog goes hungry until all
 * live, or until the manager loses patience. */
#include "proxy/watchdog.h"

#include <stdio.h>

#include "proxy/base/log.h"

#define GRACE_MS 100 /* where the supervisor itself was asleep, answers may lie there unread */

static bool is_mute(const struct child_process *child)
{
    return child->ready && child->mute;
}

/* A child that is being started again, or not yet ready, is no reason to end the others: but some
 * worker has to serve. */
static bool all_live(const struct children *children)
{
    bool serving = false;

    for (size_t i = 0; i < children->count; i++) {
        const struct child_process *child = children->items[i];

        if (is_mute(child))
            return false;
        serving |= child->ready && child_is_proxy(child) && !child->retired;
    }
    return serving;
}

/* What cannot be told, because the child does not read, is not answered either. */
static void ask_all(struct watchdog *watchdog)
{
    struct children *children = watchdog->children;
    uint32_t message = CHILD_PING;

    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = children->items[i];

        if (!child->ready)
            continue;
        child->mute = true;
        control_send(child->control, &message, sizeof(message), -1);
    }
}

static void tick(uv_timer_t *timer);

static void wait_for(struct watchdog *watchdog, uint64_t delay_ms)
{
    uv_timer_start(&watchdog->timer, tick, delay_ms, 0);
}

static void kill_mute(struct watchdog *watchdog)
{
    const struct children *children = watchdog->children;

    for (size_t i = 0; i < children->count; i++) {
        const struct child_process *child = children->items[i];
        char words[96];

        if (!is_mute(child))
            continue;
        snprintf(words, sizeof(words), "%s hangs and is killed", child->plan.name);
        log_line(LOG_LEVEL_ERROR, "%s: no answer for %llu ms", words,
                 (unsigned long long)watchdog->half_ms);
        notify_status(watchdog->notify, words);
        control_kill(child->control);
    }
}

static void tick(uv_timer_t *timer)
{
    struct watchdog *watchdog = timer->data;

    if (all_live(watchdog->children)) {
        watchdog->hungry = watchdog->looked_twice = false;
        notify_alive(watchdog->notify);
        ask_all(watchdog);
    } else if (!watchdog->looked_twice) {
        watchdog->looked_twice = true;
        wait_for(watchdog, GRACE_MS);
        return;
    } else {
        watchdog->looked_twice = false;
        watchdog->hungry = true;
        kill_mute(watchdog);
    }
    wait_for(watchdog, watchdog->half_ms);
}

/* The manager waits for it. */
static bool feed_if_hungry(struct watchdog *watchdog)
{
    const struct children *children = watchdog->children;

    if (!watchdog->hungry || !children_all_ready(children) || !all_live(children))
        return false;
    watchdog->hungry = false;
    notify_alive(watchdog->notify);
    return true;
}

bool watchdog_answered(struct watchdog *watchdog, struct child_process *child)
{
    child->mute = false;
    return feed_if_hungry(watchdog);
}

bool watchdog_children_changed(struct watchdog *watchdog)
{
    return feed_if_hungry(watchdog);
}

void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, struct children *children,
                    const struct notify *notify)
{
    watchdog->children = children;
    watchdog->notify = notify;
    watchdog->half_ms = notify->watchdog_ms > 1 ? notify->watchdog_ms / 2 : notify->watchdog_ms;
    uv_timer_init(loop, &watchdog->timer);
    watchdog->timer.data = watchdog;
    if (watchdog->half_ms > 0)
        wait_for(watchdog, 0);
}

void watchdog_stop(struct watchdog *watchdog)
{
    watchdog->hungry = false;
    uv_timer_stop(&watchdog->timer);
}

/* News for the workers.
 *
 * Happy path: something changed, and one message goes to each worker that runs with this
 * configuration. A channel that is full (the worker hangs) marks the worker as behind: every second
 * it is told all again. */
#include "proxy/bulletin.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/resolver.h"
#include "proxy/route_watch.h"

#define RETRY_MS 1000

struct bulletin {
    struct children *children;
    size_t listen_count;
    uint32_t number;
    bool begun;
    struct resolver *resolver;
    struct route_watch *routes;
    uv_timer_t timer;
    void (*settled)(void *owner);
    void *owner;
};

static void is_behind(struct child_process *child, int error)
{
    if (!child->behind)
        log_line(LOG_LEVEL_WARNING, "%s cannot be told what has changed: %s", child->plan.name,
                 err_text(error));
    child->behind = true;
}

/* At least one message, also where there is nothing to tell: a worker waits for it. */
static int send_addresses(struct child_process *child, const struct child_address *slots,
                          size_t count)
{
    struct child_addresses message = { .type = CHILD_ADDRESSES };
    int r;

    do {
        size_t batch = count < ADDRESS_MESSAGE_MOST ? count : ADDRESS_MESSAGE_MOST;

        message.count = (uint32_t)batch;
        if (batch > 0)
            memcpy(message.items, slots, batch * sizeof(*slots));
        r = control_send(child->control, &message,
                         offsetof(struct child_addresses, items) + batch * sizeof(*slots), -1);
        slots += batch;
        count -= batch;
    } while (r == 0 && count > 0);
    return r;
}

/* Does it run with this configuration, or was it told to? */
static bool is_reader(const struct bulletin *bulletin, const struct child_process *child)
{
    return bulletin->begun && child->control && child_is_proxy(child) && !child->retired &&
           !child->unfit && (child->number == bulletin->number || child->asked == bulletin->number);
}

/* ... and is it not to be told all anyway? */
static bool is_up_to_date(const struct bulletin *bulletin, const struct child_process *child)
{
    return is_reader(bulletin, child) && !child->behind;
}

static void addresses_changed(void *owner, const struct child_address *slots, size_t count)
{
    struct bulletin *bulletin = owner;

    for (size_t i = 0; i < bulletin->children->count; i++) {
        struct child_process *child = bulletin->children->items[i];
        int r = is_up_to_date(bulletin, child) ? send_addresses(child, slots, count) : 0;

        if (r < 0)
            is_behind(child, r);
    }
}

static int send_route(struct child_process *child, size_t listen, int fd)
{
    struct child_route message = { CHILD_ROUTE, (uint32_t)listen };

    return control_send(child->control, &message, sizeof(message), fd);
}

static void route_changed(void *owner, size_t listen, int fd)
{
    struct bulletin *bulletin = owner;

    for (size_t i = 0; i < bulletin->children->count; i++) {
        struct child_process *child = bulletin->children->items[i];
        int r = is_up_to_date(bulletin, child) ? send_route(child, listen, fd) : 0;

        if (r < 0)
            is_behind(child, r);
    }
}

static void names_settled(void *owner)
{
    struct bulletin *bulletin = owner;

    if (bulletin->settled)
        bulletin->settled(bulletin->owner);
}

static int tell_all(struct bulletin *bulletin, struct child_process *child)
{
    struct child_address slots[ADDRESS_SLOTS_MAX];
    size_t count = resolver_known(bulletin->resolver, slots);
    int r = 0;

    for (size_t i = 0; r == 0 && i < bulletin->listen_count; i++) {
        int fd = route_watch_map(bulletin->routes, i);

        r = fd < 0 ? 0 : send_route(child, i, fd);
    }
    return r < 0 ? r : send_addresses(child, slots, count);
}

void bulletin_tell(struct bulletin *bulletin, struct child_process *child)
{
    int r = is_reader(bulletin, child) ? tell_all(bulletin, child) : 0;

    if (r < 0)
        is_behind(child, r);
    else
        child->behind = false;
}

static void on_timer(uv_timer_t *timer)
{
    struct bulletin *bulletin = timer->data;

    for (size_t i = 0; i < bulletin->children->count; i++) {
        struct child_process *child = bulletin->children->items[i];

        if (is_reader(bulletin, child) && child->behind && tell_all(bulletin, child) == 0)
            child->behind = false;
    }
}

static int start_both(struct bulletin *bulletin, const struct bulletin_start *start)
{
    const struct bulletin *before = start->before;
    struct resolver_start names = {
        .loop = start->children->loop,
        .settings = start->settings,
        .health = start->children->health,
        .slots = start->slots,
        .changed = addresses_changed,
        .settled = names_settled,
        .owner = bulletin,
        .before = before ? before->resolver : NULL,
    };
    struct route_watch_start routes = {
        .loop = start->children->loop,
        .settings = start->settings,
        .changed = route_changed,
        .owner = bulletin,
        .before = before ? before->routes : NULL,
    };
    int r = resolver_new(&names, &bulletin->resolver);

    if (r < 0)
        return r;
    r = route_watch_new(&routes, &bulletin->routes);
    if (r < 0)
        resolver_close(bulletin->resolver);
    return r;
}

int bulletin_new(const struct bulletin_start *start, struct bulletin **ret_bulletin)
{
    struct bulletin *bulletin = calloc(1, sizeof(*bulletin));
    int r;

    if (!bulletin)
        return -ENOMEM;
    bulletin->children = start->children;
    bulletin->listen_count = start->settings->listen_count;
    bulletin->number = start->number;
    bulletin->settled = start->settled;
    bulletin->owner = start->owner;
    r = start_both(bulletin, start);
    if (r < 0) {
        free(bulletin);
        return r;
    }
    uv_timer_init(bulletin->children->loop, &bulletin->timer);
    bulletin->timer.data = bulletin;
    uv_timer_start(&bulletin->timer, on_timer, RETRY_MS, RETRY_MS);
    *ret_bulletin = bulletin;
    return 0;
}

bool bulletin_settled(const struct bulletin *bulletin)
{
    return resolver_settled(bulletin->resolver);
}

void bulletin_begin(struct bulletin *bulletin)
{
    bulletin->begun = true;
}

void bulletin_renumber(struct bulletin *bulletin, uint32_t number)
{
    bulletin->number = number;
}

static void timer_closed(uv_handle_t *handle)
{
    free(handle->data);
}

void bulletin_close(struct bulletin *bulletin)
{
    if (!bulletin)
        return;
    resolver_close(bulletin->resolver);
    route_watch_close(bulletin->routes);
    uv_close((uv_handle_t *)&bulletin->timer, timer_closed);
}

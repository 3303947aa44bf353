/* What a reload puts in use: first in the supervisor, then in the workers.
 *
 * Happy path: new embedded workers get ready, on trial; plans, sockets, names and maps are those of
 * the next generation from one moment on; each proxy worker is told, and answers. One that does not
 * read is told again, one that cannot take the configuration is replaced. */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/log_sink.h"
#include "proxy/reload_private.h"

#define RESEND_MS 1000

/* -- the next generation: tried -- */

/* Embedded workers that may go on do; for the others, new ones are started, on trial. */
void reload_start_trial(struct supervisor *supervisor)
{
    struct generation *next = supervisor->reload.next, *current = supervisor->current;

    for (size_t i = 0; i < next->listeners.embedded_count; i++) {
        struct embedded_worker *worker = &next->embedded[i];
        size_t former = generation_find_embedded(current, next->listeners.embedded[i].path);
        struct child_plan plan;

        if (next->listeners.embedded[i].leaving)
            continue;
        if (former < current->listeners.embedded_count && current->embedded[former].child &&
            generation_same_embedded(current, former, next, i)) {
            worker->child = current->embedded[former].child;
            continue;
        }
        supervisor_plan_embedded(supervisor, next, i, &plan);
        worker->child = children_add(&supervisor->children, &plan);
        if (!worker->child) {
            free(supervisor->reload.failure);
            supervisor->reload.failure = strdup("out of memory");
            return;
        }
        worker->child->trial = true;
        children_start_one(worker->child);
    }
}

void reload_child_failed(struct supervisor *supervisor, const struct child_process *child,
                         const char *how)
{
    struct generation *next = supervisor->reload.next;
    char words[160];

    log_line(LOG_LEVEL_ERROR, "%s %s", child->plan.name, how);
    snprintf(words, sizeof(words), "%s %s", child->plan.name, how);
    free(supervisor->reload.failure);
    supervisor->reload.failure = strdup(words);
    for (size_t i = 0; next && i < next->listeners.embedded_count; i++)
        if (next->embedded[i].child == child)
            next->embedded[i].child = NULL;
}

bool reload_trial_is_over(const struct generation *next)
{
    for (size_t i = 0; i < next->listeners.embedded_count; i++)
        if (next->embedded[i].child && next->embedded[i].child->trial &&
            !next->embedded[i].child->ready)
            return false;
    return true;
}

/* -- the swap -- */

/* A slot that another address has now is in service until proved otherwise. */
static void reset_health(struct supervisor *supervisor, const struct generation *generation)
{
    for (size_t i = 0; i < ADDRESS_SLOTS_MAX; i++)
        if (generation->fresh[i])
            health_reset(&supervisor->health[generation->configuration.slots[i]],
                         uv_now(&supervisor->loop));
}

/* What is known of an embedded worker that was replaced is void, now that nobody meets it. */
static void reset_replaced(struct supervisor *supervisor, struct generation *generation)
{
    const struct settings *settings = generation->configuration.settings;

    for (size_t i = 0; i < generation->listeners.embedded_count; i++) {
        size_t slot = generation->embedded[i].replaced
                          ? address_first_slot(settings, generation->listeners.embedded[i].backend)
                          : ADDRESS_SLOTS_MAX;

        generation->embedded[i].replaced = false;
        if (slot < ADDRESS_SLOTS_MAX)
            health_reset(&supervisor->health[generation->configuration.slots[slot]],
                         uv_now(&supervisor->loop));
    }
}

static void swap_embedded(struct supervisor *supervisor, struct generation *next)
{
    struct generation *current = supervisor->current;

    for (size_t i = 0; i < next->listeners.embedded_count; i++) {
        struct child_process *child = next->embedded[i].child, *former = NULL;
        size_t number = generation_find_embedded(current, next->listeners.embedded[i].path);

        if (number < current->listeners.embedded_count)
            former = current->embedded[number].child;
        if (!child)
            continue;
        if (next->listeners.embedded[i].leaving) {
            child->plan.bundle_fd = next->embedded[i].bundle_fd;
            child->plan.listeners[0] = next->listeners.embedded[i].fd;
            continue;
        }
        supervisor_plan_embedded(supervisor, next, i, &child->plan);
        children_confirm(child);
        if (!former || former == child)
            continue;
        next->embedded[i].replaced = true;
        children_retire(former);
    }
}

/* Workers that are started from now on are of the generation in use. */
static void plan_workers(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;

    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = children->items[i];

        if (child_is_proxy(child) && !child->retired)
            supervisor_plan_worker(supervisor, supervisor->current, child->plan.hello.index,
                                   &child->plan);
    }
}

/* Cannot fail. */
void reload_put_in_use(struct supervisor *supervisor)
{
    struct generation *next = supervisor->reload.next, *former = supervisor->current;

    supervisor->reload.next = NULL;
    uv_update_time(&supervisor->loop);
    if (next->configuration.settings->gatepost.log_level !=
        former->configuration.settings->gatepost.log_level) { /* else the operator's word holds */
        log_set_level((enum log_level)next->configuration.settings->gatepost.log_level);
        children_forget_log_level(&supervisor->children);
    }
    log_sink_open(next->configuration.settings->gatepost.log);
    reset_health(supervisor, next);
    supervisor->slots = next->slots;
    swap_embedded(supervisor, next);
    supervisor->current = next;
    plan_workers(supervisor);
    listener_set_tell_open(&next->listeners, &former->listeners);
    listener_set_replace(&next->listeners, &former->listeners);
    bulletin_begin(next->bulletin);
    certificate_watch_follow(supervisor->reload.watch, &next->configuration.files);
    supervisor->reload.half_since_ms = 0;
    supervisor->reload.half_told = false;
    generation_free(former);
    supervisor_adjust_workers(supervisor);
}

bool reload_handover_is_over(const struct supervisor *supervisor)
{
    const struct children *children = &supervisor->children;

    for (size_t i = 0; i < children->count; i++)
        if (children->items[i]->retired && !child_is_proxy(children->items[i]) &&
            !children->items[i]->lets_nobody_in)
            return false;
    return true;
}

/* -- the proxy workers -- */

/* Does it serve, but with another configuration? */
static bool is_to_swap(const struct supervisor *supervisor, const struct child_process *child)
{
    return child->control && child_is_proxy(child) && !child->retired && !child->unfit &&
           child->number != supervisor->current->number;
}

static int send_reload(struct supervisor *supervisor, struct child_process *child)
{
    const struct generation *current = supervisor->current;
    struct child_reload message = { CHILD_RELOAD, current->number,
                                    child->plan.hello.listener_count };
    int fds[CHILD_FDS_MAX];

    fds[0] = current->proxy_bundle;
    memcpy(fds + 1, child->plan.listeners, message.listener_count * sizeof(*fds));
    return control_send_fds(child->control, &message, sizeof(message), fds,
                            message.listener_count + 1);
}

/* Asks those that have not been asked. One that does not read is asked again. */
static void ask_workers(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;
    bool all = true;

    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = children->items[i];

        if (!is_to_swap(supervisor, child) || child->asked == supervisor->current->number)
            continue;
        if (send_reload(supervisor, child) < 0) {
            all = false;
            continue;
        }
        child->asked = supervisor->current->number;
        bulletin_tell(supervisor->current->bulletin, child);
    }
    if (all)
        uv_timer_stop(&supervisor->reload.resend);
}

static void resend_due(uv_timer_t *timer)
{
    ask_workers(timer->data);
}

void reload_begin_workers(struct supervisor *supervisor)
{
    reset_replaced(supervisor, supervisor->current);
    reload_set_phase(supervisor, RELOAD_WORKERS);
    uv_timer_start(&supervisor->reload.resend, resend_due, RESEND_MS, RESEND_MS);
    ask_workers(supervisor);
}

bool reload_workers_have_swapped(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->children.count; i++)
        if (is_to_swap(supervisor, supervisor->children.items[i]))
            return false;
    return true;
}

void reload_tell_late_workers(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->children.count; i++)
        if (is_to_swap(supervisor, supervisor->children.items[i]))
            log_line(LOG_LEVEL_WARNING, "%s has not taken the new configuration yet",
                     supervisor->children.items[i]->plan.name);
}

void reload_answered(struct supervisor *supervisor, struct child_process *child,
                     const struct child_reloaded *answer)
{
    if (answer->number != supervisor->current->number) {
        child->asked = 0; /* one of before, which it got late: it can take this one now */
        if (is_to_swap(supervisor, child))
            uv_timer_start(&supervisor->reload.resend, resend_due, 0, RESEND_MS);
        return;
    }
    if (answer->status == 0) {
        child->number = answer->number;
    } else if (answer->status == -EBUSY) {
        child->asked = 0; /* it is at work on one of before */
        uv_timer_start(&supervisor->reload.resend, resend_due, RESEND_MS, RESEND_MS);
    } else if (!child->retired) {
        child->unfit = true;
        log_line(LOG_LEVEL_WARNING, "%s cannot take the new configuration: another takes its place",
                 child->plan.name);
        supervisor_adjust_workers(supervisor);
    }
    reload_step(supervisor);
}

/* -- those that are leaving -- */

/* Has every session that began before that configuration ended? */
static bool nobody_needs(const struct supervisor *supervisor, uint32_t number)
{
    const struct children *children = &supervisor->children;

    for (size_t i = 0; i < children->count; i++)
        if (child_is_proxy(children->items[i]) && children->items[i]->control &&
            (children->items[i]->oldest < number || children->items[i]->number < number))
            return false;
    return true;
}

void reload_end_those_that_leave(struct supervisor *supervisor)
{
    struct generation *current = supervisor->current;

    for (size_t i = 0; i < current->listeners.embedded_count; i++) {
        struct embedded_worker *worker = &current->embedded[i];

        if (!current->listeners.embedded[i].leaving || current->listeners.embedded[i].fd < 0 ||
            !nobody_needs(supervisor, worker->left))
            continue;
        listener_set_close_embedded(&current->listeners.embedded[i]);
        if (worker->child)
            children_retire(worker->child);
        worker->child = NULL;
    }
}

void reload_put_bundle_in_use(struct supervisor *supervisor, int bundle_fd)
{
    struct generation *current = supervisor->current;

    close(current->proxy_bundle);
    current->proxy_bundle = bundle_fd;
    current->number = supervisor->reload.number;
    current->loaded = time(NULL);
    bulletin_renumber(current->bulletin, current->number);
    plan_workers(supervisor);
    reload_begin_workers(supervisor);
}

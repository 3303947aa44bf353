/* Keeping children alive.
 *
 * Happy path: started once, READY, and the end in a drain. A child that ends by itself is named
 * with its exit code or signal and started again after 100 ms, doubled up to 10 s while it keeps
 * dying. Before the first time that all are ready, a child that dies again and again ends the
 * start: an operator is waiting for it. One that is on trial for a reload, or retired by one, is
 * forgotten when it ends. */
#include "proxy/children.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/stats.h"

static void restart_due(uv_timer_t *timer)
{
    children_start_one(timer->data);
}

static void free_child(uv_handle_t *timer)
{
    free(timer->data);
}

/* The child is gone after this. */
static void forget(struct child_process *child)
{
    struct children *children = child->children;
    size_t i = 0;

    while (children->items[i] != child)
        i++;
    children->count--;
    memmove(&children->items[i], &children->items[i + 1],
            (children->count - i) * sizeof(children->items[0]));
    uv_close((uv_handle_t *)&child->restart, free_child);
}

static uint64_t restart_delay_ms(unsigned deaths)
{
    uint64_t delay_ms = CHILDREN_DELAY_MS;

    for (unsigned i = 1; i < deaths && delay_ms < CHILDREN_DELAY_MAX_MS; i++)
        delay_ms *= 2;
    return delay_ms < CHILDREN_DELAY_MAX_MS ? delay_ms : CHILDREN_DELAY_MAX_MS;
}

/* Plans the next start of a child that has ended, or could not be started; `how` says which. One
 * that shall not stay is gone after this. */
static void start_again(struct child_process *child, const char *how)
{
    struct children *children = child->children;
    uint64_t delay_ms;

    if (child->trial || child->retired) {
        forget(child); /* its memory goes later, in the loop */
        if (child->trial)
            children->failed(children->owner, child, how);
        return;
    }
    if (uv_now(children->loop) - child->started_ms >= CHILDREN_STABLE_MS)
        child->deaths = 0;
    child->deaths++;
    delay_ms = restart_delay_ms(child->deaths);
    if (!children->was_ready && child->deaths >= CHILDREN_GIVE_UP) {
        log_line(LOG_LEVEL_ERROR, "%s %s: given up after %u starts", child->plan.name, how,
                 child->deaths);
        children->gave_up(children->owner, child);
        return;
    }
    log_line(LOG_LEVEL_ERROR, "%s %s: started again in %llu ms", child->plan.name, how,
             (unsigned long long)delay_ms);
    uv_timer_start(&child->restart, restart_due, delay_ms, 0);
}

static void send_keys(struct child_process *child)
{
    struct control_keys message = { .type = CHILD_KEYS, .keys = *child->children->keys };
    int r = control_send(child->control, &message, sizeof(message), -1);

    explicit_bzero(&message, sizeof(message));
    if (r < 0)
        log_line(LOG_LEVEL_WARNING, "%s: ticket keys could not be sent: %s", child->plan.name,
                 err_text(r));
}

static void is_ready(struct child_process *child)
{
    if (child->ready)
        return;
    child->ready = true;
    if (child->deaths > 0 && child->children->was_ready)
        log_line(LOG_LEVEL_NOTICE, "%s serves again", child->plan.name);
    if (children_all_ready(child->children))
        child->children->was_ready = true;
    child->children->changed(child->children->owner);
}

static void message_came(void *owner, struct span message)
{
    struct child_process *child = owner;
    uint32_t type;

    memcpy(&type, message.data, sizeof(type));
    if (type == CHILD_RETIRED)
        child->lets_nobody_in = true;
    if (type == CHILD_READY)
        is_ready(child);
    else if (type != CHILD_DRAINED) /* its end follows */
        child->children->told(child->children->owner, child, message);
}

static void send_log_level(struct child_process *child)
{
    struct child_log_level message = { CHILD_LOG_LEVEL, (int32_t)child->children->log_level };
    int r = control_send(child->control, &message, sizeof(message), -1);

    if (r < 0)
        log_line(LOG_LEVEL_WARNING, "%s is not told the level of its log: %s", child->plan.name,
                 err_text(r));
}

void children_start_one(struct child_process *child)
{
    struct children *children = child->children;
    struct control_start start = {
        .program = child->plan.program,
        .program_fd = child->plan.program_fd,
        .hello = &child->plan.hello,
        .bundle_fd = child->plan.bundle_fd,
        .shared_fd = child->plan.shared_fd,
        .listeners = child->plan.listeners,
        .on_message = message_came,
        .owner = child,
    };
    int r;

    if (children->ending)
        return;
    child->ready = child->mute = false;
    child->number = child->oldest = child->plan.hello.number;
    child->asked = 0;
    child->started_ms = uv_now(children->loop);
    r = control_start(children->loop, &start, &child->control);
    if (r < 0) {
        start_again(child, err_text(r));
        return;
    }
    log_line(LOG_LEVEL_DEBUG, "%s started as process %d", child->plan.name,
             (int)control_pid(child->control));
    child->silent = false;
    if (children->log_level_set)
        send_log_level(child);
    if (child_is_proxy(child)) {
        child->behind = false;
        send_keys(child);
        children->started(children->owner, child);
    }
}

static void describe_end(int status, char *into, size_t room)
{
    if (WIFSIGNALED(status))
        snprintf(into, room, "was ended by signal %d (%s)", WTERMSIG(status),
                 sigdescr_np(WTERMSIG(status)) ? sigdescr_np(WTERMSIG(status)) : "unknown");
    else if (WEXITSTATUS(status) == 127)
        snprintf(into, room, "could not be executed");
    else
        snprintf(into, room, "exited with code %d", WEXITSTATUS(status));
}

/* What it held of a server's connections has ended with it, and no client need wait for it. */
static void forget_worker(const struct child_process *child)
{
    uint32_t index = child->plan.hello.index;

    for (size_t i = 0; i < HEALTH_SLOTS; i++)
        health_forget_worker(&child->children->health[i], index);
    child->children->stats[index % STATS_WORKERS_MAX].takes_clients = 0;
}

static void child_ended(struct child_process *child, int status)
{
    struct children *children = child->children;
    char how[96];

    control_free(child->control);
    child->control = NULL;
    child->ready = false;
    if (child_is_proxy(child))
        forget_worker(child);
    describe_end(status, how, sizeof(how));
    if (status != 0 && (children->ending || child->retired))
        log_line(LOG_LEVEL_WARNING, "%s %s", child->plan.name, how);
    if (!children->ending)
        start_again(child, how); /* the child may be gone */
}

/* From the last one on: one that is forgotten moves those behind it. */
void children_reap(struct children *children)
{
    bool changed = false;

    uv_update_time(children->loop);
    for (size_t i = children->count; i-- > 0;) {
        struct child_process *child = children->items[i];
        int status;

        if (child->control && waitpid(control_pid(child->control), &status, WNOHANG) > 0) {
            child_ended(child, status);
            changed = true;
        }
    }
    if (changed)
        children->changed(children->owner);
}

void children_init(struct children *children, uv_loop_t *loop)
{
    *children = (struct children){ .loop = loop };
}

static int make_room(struct children *children)
{
    size_t room = children->room ? 2 * children->room : 16;
    struct child_process **items;

    if (children->count < children->room)
        return 0;
    items = realloc(children->items, room * sizeof(struct child_process *));
    if (!items)
        return -ENOMEM;
    children->items = items;
    children->room = room;
    return 0;
}

struct child_process *children_add(struct children *children, const struct child_plan *plan)
{
    struct child_process *child = make_room(children) < 0 ? NULL : calloc(1, sizeof(*child));

    if (!child)
        return NULL;
    child->children = children;
    child->plan = *plan;
    uv_timer_init(children->loop, &child->restart);
    child->restart.data = child;
    children->items[children->count++] = child;
    return child;
}

void children_start(struct children *children)
{
    for (size_t i = 0; i < children->count; i++)
        if (!children->items[i]->control)
            children_start_one(children->items[i]);
}

void children_confirm(struct child_process *child)
{
    child->trial = false;
    if (!child->control) /* it could not be started again meanwhile */
        children_start_one(child);
}

/* One that does not read cannot be told, and will not drain either. */
static void send_or_kill(const struct child_process *child, enum child_message type)
{
    uint32_t message = type;

    if (control_send(child->control, &message, sizeof(message), -1) < 0)
        control_kill(child->control);
}

void children_retire(struct child_process *child)
{
    child->retired = true;
    child->trial = false;
    uv_timer_stop(&child->restart);
    if (child->control)
        send_or_kill(child, CHILD_RETIRE);
    else
        forget(child);
}

void children_discard(struct child_process *child)
{
    child->retired = true;
    child->trial = false;
    uv_timer_stop(&child->restart);
    if (child->control)
        control_kill(child->control);
    else
        forget(child);
}

size_t children_running(const struct children *children, bool proxies)
{
    size_t running = 0;

    for (size_t i = 0; i < children->count; i++)
        running += children->items[i]->control && child_is_proxy(children->items[i]) == proxies;
    return running;
}

bool children_all_ready(const struct children *children)
{
    for (size_t i = 0; i < children->count; i++)
        if (!children->items[i]->ready && !children->items[i]->retired)
            return false;
    return true;
}

uint32_t children_free_index(const struct children *children)
{
    bool taken[HEALTH_WORKERS_MAX] = { false };
    uint32_t index = 0;

    for (size_t i = 0; i < children->count; i++)
        if (child_is_proxy(children->items[i]))
            taken[children->items[i]->plan.hello.index % HEALTH_WORKERS_MAX] = true;
    while (index < HEALTH_WORKERS_MAX && taken[index])
        index++;
    return index;
}

static void stop_restarts(struct children *children)
{
    children->ending = true;
    for (size_t i = 0; i < children->count; i++)
        uv_timer_stop(&children->items[i]->restart);
}

void children_drain(struct children *children, bool proxies)
{
    stop_restarts(children);
    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = children->items[i];

        if (!child->control || child_is_proxy(child) != proxies || child->draining || child->spared)
            continue;
        child->draining = true;
        send_or_kill(child, CHILD_DRAIN);
    }
}

static void kill_of_kind(struct children *children, bool proxies, bool spared)
{
    stop_restarts(children);
    for (size_t i = 0; i < children->count; i++) {
        const struct child_process *child = children->items[i];

        if (child->control && child_is_proxy(child) == proxies && (spared || !child->spared))
            control_kill(child->control);
    }
}

void children_kill(struct children *children, bool proxies)
{
    kill_of_kind(children, proxies, true);
}

void children_kill_late(struct children *children, bool proxies)
{
    kill_of_kind(children, proxies, false);
}

void children_set_log_level(struct children *children, enum log_level level)
{
    children->log_level_set = true;
    children->log_level = level;
    for (size_t i = 0; i < children->count; i++)
        if (children->items[i]->control)
            send_log_level(children->items[i]);
}

void children_forget_log_level(struct children *children)
{
    children->log_level_set = false;
}

void children_send_keys(struct children *children)
{
    for (size_t i = 0; i < children->count; i++)
        if (children->items[i]->control && child_is_proxy(children->items[i]))
            send_keys(children->items[i]);
}

void children_deinit(struct children *children)
{
    for (size_t i = 0; i < children->count; i++)
        free(children->items[i]);
    free(children->items);
    children->items = NULL;
    children->count = children->room = 0;
}

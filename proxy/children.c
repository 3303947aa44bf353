/* Keeping children alive.
 *
 * Happy path: started once, READY, and the end in a drain. A child that ends by itself is named
 * with its exit code or signal and started again after 100 ms, doubled up to 10 s while it keeps
 * dying. Before the first time that all are ready, a child that dies again and again ends the
 * start: an operator is waiting for it. */
#include "proxy/children.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

static bool is_proxy(const struct child_process *child)
{
    return child->plan.program == CONTROL_PROXY;
}

static void start_child(struct child_process *child);

static void restart_due(uv_timer_t *timer)
{
    start_child(timer->data);
}

static uint64_t restart_delay_ms(unsigned deaths)
{
    uint64_t delay_ms = CHILDREN_DELAY_MS;

    for (unsigned i = 1; i < deaths && delay_ms < CHILDREN_DELAY_MAX_MS; i++)
        delay_ms *= 2;
    return delay_ms < CHILDREN_DELAY_MAX_MS ? delay_ms : CHILDREN_DELAY_MAX_MS;
}

/* Plans the next start of a child that has ended, or could not be started; `how` says which. */
static void start_again(struct child_process *child, const char *how)
{
    struct children *children = child->children;
    uint64_t delay_ms;

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
    if (child->children->was_ready)
        log_line(LOG_LEVEL_NOTICE, "%s serves again", child->plan.name);
    if (children_ready(child->children) == child->children->count)
        child->children->was_ready = true;
    child->children->changed(child->children->owner);
}

static void message_came(void *owner, struct span message)
{
    struct child_process *child = owner;
    uint32_t type;

    memcpy(&type, message.data, sizeof(type));
    if (type == CHILD_READY)
        is_ready(child);
    else if (type != CHILD_DRAINED) /* its end follows */
        child->children->told(child->children->owner, child, message);
}

static void start_child(struct child_process *child)
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
    child->ready = false;
    child->started_ms = uv_now(children->loop);
    r = control_start(children->loop, &start, &child->control);
    if (r < 0) {
        start_again(child, err_text(r));
        return;
    }
    log_line(LOG_LEVEL_DEBUG, "%s started as process %d", child->plan.name,
             (int)control_pid(child->control));
    if (is_proxy(child)) {
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

/* What it held of a server's connections has ended with it. */
static void forget_connections(const struct child_process *child)
{
    for (size_t i = 0; i < HEALTH_SLOTS; i++)
        health_forget_worker(&child->children->health[i], child->plan.hello.index);
}

static void child_ended(struct child_process *child, int status)
{
    struct children *children = child->children;
    char how[96];

    control_free(child->control);
    child->control = NULL;
    child->ready = false;
    if (is_proxy(child))
        forget_connections(child);
    describe_end(status, how, sizeof(how));
    if (!children->ending)
        start_again(child, how);
    else if (status != 0)
        log_line(LOG_LEVEL_WARNING, "%s %s", child->plan.name, how);
    children->changed(children->owner);
}

void children_reap(struct children *children)
{
    uv_update_time(children->loop);
    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = &children->items[i];
        int status;

        if (child->control && waitpid(control_pid(child->control), &status, WNOHANG) > 0)
            child_ended(child, status);
    }
}

int children_init(struct children *children, uv_loop_t *loop, size_t room)
{
    *children = (struct children){ .loop = loop };
    children->items = calloc(room + 1, sizeof(*children->items));
    return children->items ? 0 : -ENOMEM;
}

void children_add(struct children *children, const struct child_plan *plan)
{
    struct child_process *child = &children->items[children->count++];

    *child = (struct child_process){ .children = children, .plan = *plan };
    uv_timer_init(children->loop, &child->restart);
    child->restart.data = child;
}

void children_start(struct children *children)
{
    for (size_t i = 0; i < children->count; i++)
        start_child(&children->items[i]);
}

size_t children_running(const struct children *children, bool proxies)
{
    size_t running = 0;

    for (size_t i = 0; i < children->count; i++)
        running += children->items[i].control && is_proxy(&children->items[i]) == proxies;
    return running;
}

size_t children_ready(const struct children *children)
{
    size_t ready = 0;

    for (size_t i = 0; i < children->count; i++)
        ready += children->items[i].ready;
    return ready;
}

static void stop_restarts(struct children *children)
{
    children->ending = true;
    for (size_t i = 0; i < children->count; i++)
        uv_timer_stop(&children->items[i].restart);
}

void children_drain(struct children *children, bool proxies)
{
    uint32_t message = CHILD_DRAIN;

    stop_restarts(children);
    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = &children->items[i];

        if (!child->control || is_proxy(child) != proxies || child->draining)
            continue;
        child->draining = true;
        if (control_send(child->control, &message, sizeof(message), -1) < 0)
            control_kill(child->control); /* it does not read, so it will not drain */
    }
}

void children_kill(struct children *children, bool proxies)
{
    stop_restarts(children);
    for (size_t i = 0; i < children->count; i++)
        if (children->items[i].control && is_proxy(&children->items[i]) == proxies)
            control_kill(children->items[i].control);
}

void children_send_keys(struct children *children)
{
    for (size_t i = 0; i < children->count; i++)
        if (children->items[i].control && is_proxy(&children->items[i]))
            send_keys(&children->items[i]);
}

void children_close(struct children *children)
{
    for (size_t i = 0; i < children->count; i++)
        uv_close((uv_handle_t *)&children->items[i].restart, NULL);
}

void children_deinit(struct children *children)
{
    free(children->items);
    children->items = NULL;
    children->count = 0;
}

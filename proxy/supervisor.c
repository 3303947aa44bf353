/* The supervisor's life: everything is opened (supervisor_open.c), then the children run, then they
 * drain (supervisor_end.c).
 *
 * Happy path: all is open, children start, all are ready (one log line). HUP: other settings come
 * into use (reload.h). USR2: another process takes over (upgrade.h). TERM, or a child that never
 * starts: the end. */
#include "proxy/supervisor.h"

#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/log_sink.h"
#include "proxy/supervisor_private.h"

#define KEYS_CHECK_MS    30000 /* an epoch is 12 hours: how late a change of keys may be */
#define STATUS_ERROR_MAX 400   /* octets of what a reload failed of, in one line */

static size_t count_workers(const struct settings *settings)
{
    cpu_set_t cores;
    int count;

    if (settings->gatepost.workers > 0)
        return settings->gatepost.workers;
    count = sched_getaffinity(0, sizeof(cores), &cores) < 0 ? 1 : CPU_COUNT(&cores);
    return count < 64 ? (size_t)count : 64; /* the most that `workers` may be set to */
}

enum control_program supervisor_embedded_program(enum port_protocol protocol)
{
    return protocol == PROTOCOL_SMTP ? CONTROL_SMTPD : CONTROL_POP3D;
}

static void fill_hello(const struct generation *generation, const struct account *account,
                       size_t listener_count, struct child_hello *ret_hello)
{
    const struct configuration *configuration = &generation->configuration;

    *ret_hello = (struct child_hello){
        .type = CHILD_HELLO,
        .supervisor_pid = getpid(),
        .drop = configuration->privileges.drop,
        .uid = account->uid,
        .gid = account->gid,
        .group_count = account->group_count,
        .listener_count = (uint32_t)listener_count,
        .drain_ms = configuration->settings->gatepost.drain_timeout_ms,
        .number = generation->number,
    };
    memcpy(ret_hello->groups, account->groups, sizeof(ret_hello->groups));
    snprintf(ret_hello->build, sizeof(ret_hello->build), "%s", child_build());
}

void supervisor_plan_worker(const struct supervisor *supervisor,
                            const struct generation *generation, uint32_t index,
                            struct child_plan *ret_plan)
{
    const struct listener_set *listeners = &generation->listeners;

    *ret_plan = (struct child_plan){ .program = CONTROL_PROXY,
                                     .program_fd = supervisor->program_fds[CONTROL_PROXY],
                                     .bundle_fd = generation->proxy_bundle,
                                     .shared_fd = supervisor->shared_fd };
    for (size_t i = 0; i < listeners->public_count; i++)
        ret_plan->listeners[i] = listeners->publics[i].fd;
    fill_hello(generation, &generation->configuration.privileges.proxy, listeners->public_count,
               &ret_plan->hello);
    snprintf(ret_plan->name, sizeof(ret_plan->name), "worker %u", index);
    ret_plan->hello.index = index;
}

void supervisor_plan_embedded(const struct supervisor *supervisor,
                              const struct generation *generation, size_t number,
                              struct child_plan *ret_plan)
{
    const struct embedded_listener *listener = &generation->listeners.embedded[number];
    enum control_program program = supervisor_embedded_program(listener->protocol);

    *ret_plan = (struct child_plan){ .program = program,
                                     .program_fd = supervisor->program_fds[program],
                                     .bundle_fd = generation->embedded[number].bundle_fd,
                                     .shared_fd = -1,
                                     .listeners = { listener->fd } };
    snprintf(ret_plan->name, sizeof(ret_plan->name), "%s", control_program_name(program));
    fill_hello(generation, &generation->configuration.privileges.mail, 1, &ret_plan->hello);
    ret_plan->hello.index = (uint32_t)number;
    /* Were the supervisor to die: behind the proxies. */
    ret_plan->hello.drain_ms += EMBEDDED_DRAIN_MS;
}

/* Workers that shall serve. */
static bool is_fit(const struct child_process *child)
{
    return child_is_proxy(child) && !child->retired && !child->unfit;
}

static size_t count_fit(const struct children *children, struct child_process **ret_last)
{
    size_t count = 0;

    for (size_t i = 0; i < children->count; i++)
        if (is_fit(children->items[i])) {
            *ret_last = children->items[i];
            count++;
        }
    return count;
}

static struct child_process *add_worker(struct supervisor *supervisor)
{
    uint32_t index = children_free_index(&supervisor->children);
    struct child_plan plan;

    if (index == HEALTH_WORKERS_MAX)
        return NULL; /* until one that is retired has ended */
    supervisor_plan_worker(supervisor, supervisor->current, index, &plan);
    return children_add(&supervisor->children, &plan);
}

/* One that is not fit serves until all others do. */
static void retire_unfit(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;

    for (size_t i = 0; i < children->count; i++)
        if (is_fit(children->items[i]) && !children->items[i]->ready)
            return;
    for (size_t i = children->count; i-- > 0;)
        if (children->items[i]->unfit && !children->items[i]->retired)
            children_retire(children->items[i]); /* may be gone */
}

void supervisor_adjust_workers(struct supervisor *supervisor)
{
    struct child_process *last = NULL;
    size_t wanted = count_workers(supervisor->current->configuration.settings);
    size_t count = count_fit(&supervisor->children, &last);

    for (; count < wanted; count++) {
        struct child_process *child = add_worker(supervisor);

        if (!child)
            break;
        children_start_one(child);
    }
    for (; count > wanted; count = count_fit(&supervisor->children, &last))
        children_retire(last);
    retire_unfit(supervisor);
}

static int plan_all(struct supervisor *supervisor)
{
    struct generation *current = supervisor->current;
    size_t workers = count_workers(current->configuration.settings);

    for (size_t i = 0; i < workers; i++)
        if (!add_worker(supervisor))
            return -ENOMEM;
    for (size_t i = 0; i < current->listeners.embedded_count; i++) {
        struct child_plan plan;

        supervisor_plan_embedded(supervisor, current, i, &plan);
        current->embedded[i].child = children_add(&supervisor->children, &plan);
        if (!current->embedded[i].child)
            return -ENOMEM;
    }
    return 0;
}

/* The first line that tells of an error; the first of all where none says so. */
static struct span first_error(const char *words)
{
    struct span rest = span_of_text(words), first = span_first(rest, span_find(rest, '\n'));

    while (rest.size > 0) {
        struct span line = span_first(rest, span_find(rest, '\n'));

        if (span_search(line, SPAN_LIT("error: ")) < line.size)
            return line;
        rest = span_skip(rest, line.size + 1);
    }
    return first;
}

void supervisor_tell_manager(const struct supervisor *supervisor)
{
    const struct reload_result *reload = reload_result(supervisor);
    char room[512];
    struct text status = TEXT_OVER(room);

    text_printf(&status, "%zu ports, %zu workers", supervisor->current->listeners.port_count,
                count_workers(supervisor->current->configuration.settings));
    if (reload->outcome == RELOAD_FAILED) {
        text_printf(&status, "; reload %u failed: ", reload->number);
        text_put(&status, span_first(first_error(reload->words), STATUS_ERROR_MAX));
    } else if (reload->outcome == RELOAD_IN_USE) {
        text_printf(&status, "; reload %u is in use", reload->number);
    }
    notify_ready(&supervisor->notify, text_str(&status));
}

static void tell_ready(struct supervisor *supervisor)
{
    supervisor->phase = PHASE_SERVING;
    log_line(LOG_LEVEL_NOTICE, "ready: %zu ports, %zu workers",
             supervisor->current->listeners.port_count,
             count_workers(supervisor->current->configuration.settings));
    supervisor_tell_manager(supervisor);
    watchdog_start(&supervisor->watchdog, &supervisor->loop, &supervisor->children,
                   &supervisor->notify);
    reload_open(supervisor);
}

void supervisor_take_over(struct supervisor *supervisor)
{
    if (operator_bind(&supervisor->current->configuration, &supervisor->control_socket) == 0)
        operator_open(supervisor);
    tell_ready(supervisor);
}

static void all_serve(struct supervisor *supervisor)
{
    if (upgrade_is_heir(supervisor))
        upgrade_tell_ready(supervisor);
    else
        tell_ready(supervisor);
}

/* -- events -- */

/* Until they are watched: a TERM during the start must leave no socket file. */
static sigset_t signals_to_hold(void)
{
    sigset_t signals;

    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    sigaddset(&signals, SIGUSR2);
    return signals;
}

static void children_changed(void *owner)
{
    struct supervisor *supervisor = owner;

    if (supervisor->phase == PHASE_STARTING && children_all_ready(&supervisor->children))
        all_serve(supervisor);
    if (supervisor->phase == PHASE_SERVING) {
        if (watchdog_children_changed(&supervisor->watchdog))
            supervisor_tell_manager(supervisor);
        supervisor_adjust_workers(supervisor);
        reload_step(supervisor);
    }
    operator_children_changed(supervisor);
    supervisor_drain_step(supervisor);
}

static void child_started(void *owner, struct child_process *child)
{
    struct supervisor *supervisor = owner;

    bulletin_tell(supervisor->current->bulletin, child);
}

static void child_told(void *owner, struct child_process *child, struct span message)
{
    struct supervisor *supervisor = owner;
    uint32_t type;

    memcpy(&type, message.data, sizeof(type));
    if (type == CHILD_RELOADED && message.size == sizeof(struct child_reloaded)) {
        struct child_reloaded answer;

        memcpy(&answer, message.data, sizeof(answer));
        reload_answered(supervisor, child, &answer);
    } else if (type == CHILD_OLDEST && message.size == sizeof(struct child_oldest)) {
        struct child_oldest oldest;

        memcpy(&oldest, message.data, sizeof(oldest));
        child->oldest = oldest.number;
        reload_step(supervisor);
    } else if (type == CHILD_RETIRED) {
        reload_step(supervisor);
    } else if (type == CHILD_REPORTED) {
        operator_told(supervisor, child, message);
    } else if (type == CHILD_ALIVE) {
        if (watchdog_answered(&supervisor->watchdog, child))
            supervisor_tell_manager(supervisor);
    }
}

static void child_failed(void *owner, const struct child_process *child, const char *how)
{
    reload_child_failed(owner, child, how);
}

static void child_gave_up(void *owner, const struct child_process *child)
{
    struct supervisor *supervisor = owner;

    (void)child;
    if (supervisor->phase >= PHASE_DRAIN_PROXIES)
        return;
    supervisor->exit_code = SUPERVISOR_SOFTWARE;
    supervisor_drain(supervisor);
}

static void signal_came(uv_signal_t *handle, int number)
{
    struct supervisor *supervisor = handle->data;

    switch (number) {
    case SIGCHLD:
        children_reap(&supervisor->children);
        if (upgrade_reap(supervisor))
            supervisor_drain_step(supervisor);
        break;
    case SIGHUP:
        if (upgrade_runs(supervisor))
            log_line(LOG_LEVEL_WARNING, "no reload is begun: an upgrade is under way, and its new "
                                        "process reads the settings");
        else
            reload_begin(supervisor, RELOAD_SETTINGS);
        break;
    case SIGUSR2:
        upgrade_begin(supervisor);
        break;
    default:
        supervisor_terminate(supervisor);
    }
}

/* The copy in memory tells when; the file is what is authoritative. */
static void keys_due(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    const char *state_dir = supervisor->current->configuration.settings->gatepost.state_dir;
    int r;

    if (!tickets_advance(&supervisor->keys, (int64_t)time(NULL)))
        return;
    r = tickets_load(state_dir, (int64_t)time(NULL), &supervisor->keys);
    if (r < 0)
        log_line(LOG_LEVEL_WARNING, "TLS ticket keys in %s: %s", state_dir, err_text(r));
    children_send_keys(&supervisor->children);
}

static int watch_events(struct supervisor *supervisor)
{
    static const int numbers[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP, SIGUSR2 };
    sigset_t end_signals = signals_to_hold();

    for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
        int r = uv_signal_init(&supervisor->loop, &supervisor->signals[i]);

        supervisor->signals[i].data = supervisor;
        if (r == 0)
            r = uv_signal_start(&supervisor->signals[i], signal_came, numbers[i]);
        if (r < 0)
            return r;
    }
    sigprocmask(SIG_UNBLOCK, &end_signals, NULL);
    uv_timer_init(&supervisor->loop, &supervisor->keys_timer);
    uv_timer_init(&supervisor->loop, &supervisor->drain_timer);
    supervisor->keys_timer.data = supervisor->drain_timer.data = supervisor;
    return uv_timer_start(&supervisor->keys_timer, keys_due, KEYS_CHECK_MS, KEYS_CHECK_MS);
}

static int prepare(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;
    int r = uv_loop_init(&supervisor->loop);

    if (r < 0)
        return r;
    log_sink_watch(&supervisor->loop);
    children_init(children, &supervisor->loop);
    children->keys = &supervisor->keys;
    children->changed = children_changed;
    children->started = child_started;
    children->told = child_told;
    children->gave_up = child_gave_up;
    children->failed = child_failed;
    children->owner = supervisor;
    return reload_init(supervisor);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static int serve(struct supervisor *supervisor)
{
    sigset_t end_signals = signals_to_hold();
    int r = watch_events(supervisor);

    if (r == 0)
        r = plan_all(supervisor);
    if (r == 0) {
        operator_open(supervisor);
        bulletin_begin(supervisor->current->bulletin);
        children_start(&supervisor->children);
        uv_run(&supervisor->loop, UV_RUN_DEFAULT);
    }
    sigprocmask(SIG_BLOCK, &end_signals, NULL); /* one more TERM does not spoil the exit code */
    return r;
}

static void close_all(struct supervisor *supervisor)
{
    operator_close(supervisor);
    upgrade_deinit(supervisor);
    reload_close(supervisor);
    generation_free(supervisor->current);
    log_sink_watch(NULL);
    uv_walk(&supervisor->loop, close_handle, NULL);
    uv_run(&supervisor->loop, UV_RUN_DEFAULT);
    uv_loop_close(&supervisor->loop);
    children_deinit(&supervisor->children);
    reload_deinit(supervisor);
    for (size_t i = 0; i < CONTROL_PROGRAMS; i++)
        if (supervisor->program_fds[i] >= 0)
            close(supervisor->program_fds[i]);
    if (supervisor->shared_fd >= 0)
        close(supervisor->shared_fd);
    explicit_bzero(&supervisor->keys, sizeof(supervisor->keys));
    activation_deinit(&supervisor->activation);
    notify_deinit(&supervisor->notify);
}

int supervisor_run(const char *path, struct configuration *configuration)
{
    static struct supervisor supervisor = { .shared_fd = -1, .control_socket = { .fd = -1 } };
    sigset_t held = signals_to_hold();
    int r;

    supervisor.path = path;
    supervisor.started = time(NULL);
    memset(supervisor.program_fds, 0xff, sizeof(supervisor.program_fds)); /* all -1 */
    log_set_level((enum log_level)configuration->settings->gatepost.log_level);
    log_sink_open(configuration->settings->gatepost.log);
    log_line(LOG_LEVEL_INFO, "gatepost %s starts", child_build());
    sigprocmask(SIG_BLOCK, &held, NULL);
    notify_init(&supervisor.notify);
    r = prepare(&supervisor);
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "cannot start: %s", err_text(r));
        return SUPERVISOR_OS;
    }
    supervisor.exit_code = upgrade_init(&supervisor) < 0
                               ? SUPERVISOR_CONFIGURATION
                               : supervisor_open_all(&supervisor, configuration);
    if (supervisor.exit_code == SUPERVISOR_DONE) {
        r = serve(&supervisor);
        if (r < 0) {
            log_line(LOG_LEVEL_ERROR, "cannot start: %s", err_text(r));
            supervisor.exit_code = SUPERVISOR_OS;
        }
        log_line(LOG_LEVEL_NOTICE, "ended");
    }
    close_all(&supervisor);
    log_sink_close();
    return supervisor.exit_code;
}

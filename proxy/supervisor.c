/* The supervisor's life: everything is opened, then the children run, then they drain.
 *
 * Happy path: limits, folders, sockets, programs, ticket keys, bundles; children start; all are
 * ready (one log line); TERM: the ports are closed, the proxy workers drain, then the embedded
 * workers, whose sessions have ended with them. A second TERM ends all at once. USR2: another
 * process takes over, and this one drains (upgrade.h). What cannot be opened at the start ends it
 * with a line and an exit code. */
#include "proxy/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/log_sink.h"
#include "proxy/server.h"
#include "proxy/supervisor_private.h"

#define KEYS_CHECK_MS 30000 /* an epoch is 12 hours: how late a change of keys may be */
#define KILL_GRACE_MS 1000  /* a child ends its last sessions itself at drain_timeout */
#define EMBEDDED_DRAIN_MS                                                                          \
    5000 /* the proxies are gone: what is left is to store what was received; guessed */
#define MANAGER_GRACE_MS   10000 /* behind our own limits; guessed */
#define STATUS_ERROR_MAX   400   /* octets of what a reload failed of, in one line */
#define PROXY_FDS_RESERVED 64    /* of a worker: listeners, log, loop; guessed */

/* -- what is opened at the start -- */

static void raise_descriptor_limit(const struct settings *settings)
{
    struct rlimit limit;
    unsigned long long sessions;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 || getrlimit(RLIMIT_NOFILE, &limit) < 0)
        log_line(LOG_LEVEL_WARNING, "the limit of descriptors cannot be raised: %s",
                 err_text(errno));
    sessions = limit.rlim_cur > PROXY_FDS_RESERVED ? (limit.rlim_cur - PROXY_FDS_RESERVED) / 2 : 0;
    if (settings->limits.max_sessions > 0 && settings->limits.max_sessions < sessions)
        sessions = settings->limits.max_sessions;
    log_line(LOG_LEVEL_INFO, "%llu descriptors for each process: %llu sessions in each worker",
             (unsigned long long)limit.rlim_cur, sessions);
}

static size_t count_workers(const struct settings *settings)
{
    cpu_set_t cores;
    int count;

    if (settings->gatepost.workers > 0)
        return settings->gatepost.workers;
    count = sched_getaffinity(0, sizeof(cores), &cores) < 0 ? 1 : CPU_COUNT(&cores);
    return count < 64 ? (size_t)count : 64; /* the most that `workers` may be set to */
}

/* All, also those that only a later configuration may ask for: a package that is replaced meanwhile
 * changes nothing. */
static int open_programs(struct supervisor *supervisor)
{
    bool wanted[CONTROL_PROGRAMS] = { [CONTROL_PROXY] = true };
    const struct listener_set *listeners = &supervisor->current->listeners;

    for (size_t i = 0; i < listeners->embedded_count; i++)
        wanted[supervisor_embedded_program(listeners->embedded[i].protocol)] = true;
    for (int i = 0; i < CONTROL_PROGRAMS; i++) {
        supervisor->program_fds[i] = control_open_program((enum control_program)i, wanted[i]);
        if (wanted[i] && supervisor->program_fds[i] < 0)
            return supervisor->program_fds[i];
    }
    return 0;
}

/* Counters and hints of all workers; it lives as long as the supervisor, and no worker can cut it
 * short. */
static int make_shared(void)
{
    int fd = memfd_create("gatepost-shared", MFD_CLOEXEC | MFD_ALLOW_SEALING), r;

    if (fd >= 0 && ftruncate(fd, (off_t)server_shared_bytes()) == 0 &&
        fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0 &&
        server_shared_init(fd) == 0)
        return fd;
    r = -errno;
    if (fd >= 0)
        close(fd);
    return r;
}

static int map_health(struct supervisor *supervisor)
{
    supervisor->shared_fd = make_shared();
    if (supervisor->shared_fd < 0)
        return supervisor->shared_fd;
    supervisor->health = supervisor->children.health = server_shared_health(supervisor->shared_fd);
    return supervisor->health ? 0 : -errno;
}

static int64_t now_s(void)
{
    return (int64_t)time(NULL);
}

/* Mail goes on without the state file: tickets are then good until the next restart. */
static int make_transient_keys(struct ticket_keys *keys)
{
    uint64_t epoch = (uint64_t)now_s() / TICKET_EPOCH_SECONDS;

    for (unsigned i = 0; i < 3; i++) {
        keys->keys[i].epoch = epoch + i - 1;
        if (getrandom(keys->keys[i].secret, TICKET_KEY_BYTES, 0) != TICKET_KEY_BYTES)
            return -EIO;
    }
    return 0;
}

static int load_keys(struct supervisor *supervisor)
{
    const char *state_dir = supervisor->current->configuration.settings->gatepost.state_dir;
    int r = tickets_load(state_dir, now_s(), &supervisor->keys);

    if (r == 0)
        return 0;
    log_line(LOG_LEVEL_WARNING, "TLS ticket keys in %s: %s: tickets will not outlive this process",
             state_dir, err_text(r));
    return make_transient_keys(&supervisor->keys);
}

/* Everything but the children. An exit code. */
static int open_all(struct supervisor *supervisor, struct configuration *configuration)
{
    int r, code;

    raise_descriptor_limit(configuration->settings);
    r = map_health(supervisor);
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "cannot start: %s", err_text(r));
        return SUPERVISOR_OS;
    }
    code = generation_new(supervisor, configuration, 0, NULL, &supervisor->current);
    if (code != SUPERVISOR_DONE)
        return code;
    if (open_programs(supervisor) < 0)
        return SUPERVISOR_OS;
    if (!upgrade_is_heir(supervisor) && /* it comes last */
        operator_bind(&supervisor->current->configuration, &supervisor->control_socket) < 0)
        return SUPERVISOR_UNAVAILABLE;
    supervisor->slots = supervisor->current->slots;
    listener_set_tell_open(&supervisor->current->listeners, NULL);
    r = load_keys(supervisor);
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "cannot start: %s", err_text(r));
        return SUPERVISOR_OS;
    }
    return SUPERVISOR_DONE;
}

/* -- the children -- */

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

/* -- the end -- */

static void stop(struct supervisor *supervisor)
{
    supervisor->phase = PHASE_DONE;
    uv_stop(&supervisor->loop);
}

static void kill_all(struct supervisor *supervisor)
{
    children_kill(&supervisor->children, true);
    children_kill(&supervisor->children, false);
}

static void drain_expired(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    bool proxies = supervisor->phase == PHASE_DRAIN_PROXIES;

    log_line(LOG_LEVEL_WARNING, "%zu processes did not end in time and are killed",
             children_running(&supervisor->children, proxies));
    children_kill_late(&supervisor->children, proxies);
}

/* Goes on to the next phase of the end where nobody is left in this one. */
static void drain_step(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;

    if (supervisor->phase == PHASE_DRAIN_PROXIES && children_running(children, true) == 0) {
        supervisor->phase = PHASE_DRAIN_EMBEDDED;
        children_drain(children, false);
        uv_timer_start(&supervisor->drain_timer, drain_expired, EMBEDDED_DRAIN_MS + KILL_GRACE_MS,
                       0);
    }
    if (supervisor->phase == PHASE_DRAIN_EMBEDDED && children_running(children, false) == 0 &&
        !upgrade_runs(supervisor))
        stop(supervisor);
}

static uint64_t drain_timeout_ms(const struct supervisor *supervisor)
{
    return supervisor->current->configuration.settings->gatepost.drain_timeout_ms;
}

static void tell_manager_of_end(const struct supervisor *supervisor, uint32_t timeout_ms)
{
    char status[80];

    snprintf(status, sizeof(status), "sessions have %u s to end", timeout_ms / 1000);
    notify_stopping(&supervisor->notify, status,
                    (uint64_t)timeout_ms + EMBEDDED_DRAIN_MS + MANAGER_GRACE_MS);
}

/* Nobody new is let in, and nothing is changed any more. */
static void close_up(struct supervisor *supervisor)
{
    supervisor->phase = PHASE_DRAIN_PROXIES;
    upgrade_cancel(supervisor);
    if (upgrade_is_heir(supervisor))
        upgrade_give_back(supervisor);
    watchdog_stop(&supervisor->watchdog);
    reload_close(supervisor);
    listener_set_close_public(&supervisor->current->listeners);
    activation_deinit(&supervisor->activation);
}

static void drain_proxies(struct supervisor *supervisor)
{
    children_drain(&supervisor->children, true);
    uv_timer_start(&supervisor->drain_timer, drain_expired,
                   drain_timeout_ms(supervisor) + KILL_GRACE_MS, 0);
    drain_step(supervisor);
}

static void begin_drain(struct supervisor *supervisor)
{
    uint32_t timeout_ms = (uint32_t)drain_timeout_ms(supervisor);

    tell_manager_of_end(supervisor, timeout_ms);
    log_line(LOG_LEVEL_NOTICE, "ending: sessions have %u s; a second signal ends at once",
             timeout_ms / 1000);
    close_up(supervisor);
    drain_proxies(supervisor);
}

static void leave_expired(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;

    log_line(LOG_LEVEL_NOTICE, "ending: %zu processes still have sessions, for another %llu s",
             children_running(&supervisor->children, true),
             (unsigned long long)drain_timeout_ms(supervisor) / 1000);
    drain_proxies(supervisor);
}

/* Unlike a drain, this ends no session that waits for its next command. */
void supervisor_leave(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;

    log_line(LOG_LEVEL_NOTICE, "ending: sessions go on for %llu s; a signal ends at once",
             (unsigned long long)drain_timeout_ms(supervisor) / 1000);
    close_up(supervisor);
    for (size_t i = children->count; i-- > 0;)
        if (child_is_proxy(children->items[i]) && !children->items[i]->retired)
            children_retire(children->items[i]); /* may be gone */
    uv_timer_start(&supervisor->drain_timer, leave_expired, drain_timeout_ms(supervisor), 0);
    drain_step(supervisor);
}

void supervisor_drain(struct supervisor *supervisor)
{
    if (supervisor->phase < PHASE_DRAIN_PROXIES)
        begin_drain(supervisor);
}

static void terminate(struct supervisor *supervisor)
{
    if (supervisor->phase < PHASE_DRAIN_PROXIES) {
        begin_drain(supervisor);
        return;
    }
    log_line(LOG_LEVEL_NOTICE, "ending at once");
    upgrade_cancel(supervisor);
    kill_all(supervisor);
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
    drain_step(supervisor);
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
    begin_drain(supervisor);
}

static void signal_came(uv_signal_t *handle, int number)
{
    struct supervisor *supervisor = handle->data;

    switch (number) {
    case SIGCHLD:
        children_reap(&supervisor->children);
        if (upgrade_reap(supervisor))
            drain_step(supervisor);
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
        terminate(supervisor);
    }
}

/* The copy in memory tells when; the file is what is authoritative. */
static void keys_due(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    const char *state_dir = supervisor->current->configuration.settings->gatepost.state_dir;
    int r;

    if (!tickets_advance(&supervisor->keys, now_s()))
        return;
    r = tickets_load(state_dir, now_s(), &supervisor->keys);
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
    supervisor.exit_code = upgrade_init(&supervisor) < 0 ? SUPERVISOR_CONFIGURATION
                                                         : open_all(&supervisor, configuration);
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

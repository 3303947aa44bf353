/* The supervisor's life: everything is opened, then the children run, then they drain.
 *
 * Happy path: limits, folders, sockets, programs, ticket keys, bundles; children start; all are
 * ready (one log line); TERM: the ports are closed, the proxy workers drain, then the embedded
 * workers, whose sessions have ended with them. A second TERM ends all at once. What cannot be
 * opened at the start ends it with a line and an exit code. */
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
#include "proxy/bulletin.h"
#include "proxy/children.h"
#include "proxy/log_sink.h"
#include "proxy/server.h"

#define KEYS_CHECK_MS 30000 /* an epoch is 12 hours: how late a change of keys may be */
#define KILL_GRACE_MS 1000  /* a child ends its last sessions itself at drain_timeout */
#define EMBEDDED_DRAIN_MS                                                                          \
    5000 /* the proxies are gone: what is left is to store what was received; guessed */
#define PROXY_FDS_RESERVED 64 /* of a worker: listeners, log, loop; guessed */

enum phase { PHASE_STARTING, PHASE_SERVING, PHASE_DRAIN_PROXIES, PHASE_DRAIN_EMBEDDED, PHASE_DONE };

struct supervisor {
    uv_loop_t loop;
    struct configuration *configuration;
    struct listener_set listeners;
    int program_fds[CONTROL_PROGRAMS];
    int proxy_bundle, shared_fd;
    struct health *health; /* in the shared memory */
    int embedded_bundles[CHILD_FDS_MAX];
    int *public_fds;
    struct ticket_keys keys;
    struct children children;
    struct bulletin *bulletin;
    size_t worker_count;
    uv_signal_t signals[4];
    uv_timer_t keys_timer, drain_timer;
    enum phase phase;
    int exit_code;
};

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

static int open_programs(struct supervisor *supervisor)
{
    bool wanted[CONTROL_PROGRAMS] = { [CONTROL_PROXY] = true };

    for (size_t i = 0; i < supervisor->listeners.embedded_count; i++)
        wanted[supervisor->listeners.embedded[i].protocol == PROTOCOL_SMTP ? CONTROL_SMTPD
                                                                           : CONTROL_POP3D] = true;
    for (int i = 0; i < CONTROL_PROGRAMS; i++) {
        if (!wanted[i])
            continue;
        supervisor->program_fds[i] = control_open_program((enum control_program)i);
        if (supervisor->program_fds[i] < 0)
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
    supervisor->health = server_shared_health(supervisor->shared_fd);
    return supervisor->health ? 0 : -errno;
}

static int make_bundles(struct supervisor *supervisor)
{
    const struct listener_set *listeners = &supervisor->listeners;

    supervisor->proxy_bundle = configuration_proxy_bundle(supervisor->configuration, listeners);
    if (supervisor->proxy_bundle < 0)
        return supervisor->proxy_bundle;
    for (size_t i = 0; i < listeners->embedded_count; i++) {
        int fd = configuration_embedded_bundle(supervisor->configuration, &listeners->embedded[i]);

        if (fd < 0)
            return fd;
        supervisor->embedded_bundles[i] = fd;
    }
    configuration_drop_keys(supervisor->configuration);
    return 0;
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
    const char *state_dir = supervisor->configuration->settings->gatepost.state_dir;
    int r = tickets_load(state_dir, now_s(), &supervisor->keys);

    if (r == 0)
        return 0;
    log_line(LOG_LEVEL_WARNING, "TLS ticket keys in %s: %s: tickets will not outlive this process",
             state_dir, err_text(r));
    return make_transient_keys(&supervisor->keys);
}

/* Everything but the children. An exit code. */
static int open_all(struct supervisor *supervisor)
{
    const struct configuration *configuration = supervisor->configuration;
    int r;

    raise_descriptor_limit(configuration->settings);
    if (configuration_make_folders(configuration) < 0)
        return SUPERVISOR_CANNOT_CREATE;
    if (listener_set_open(configuration->settings, &configuration->privileges,
                          &supervisor->listeners) < 0)
        return SUPERVISOR_UNAVAILABLE;
    if (open_programs(supervisor) < 0)
        return SUPERVISOR_OS;
    r = load_keys(supervisor);
    if (r == 0)
        r = map_health(supervisor);
    if (r == 0)
        r = make_bundles(supervisor);
    if (r < 0) {
        log_line(LOG_LEVEL_ERROR, "cannot start: %s", err_text(r));
        return SUPERVISOR_OS;
    }
    return SUPERVISOR_DONE;
}

/* -- the children -- */

static void fill_hello(const struct supervisor *supervisor, const struct account *account,
                       size_t listener_count, struct child_hello *ret_hello)
{
    const struct configuration *configuration = supervisor->configuration;

    *ret_hello = (struct child_hello){
        .type = CHILD_HELLO,
        .supervisor_pid = getpid(),
        .drop = configuration->privileges.drop,
        .uid = account->uid,
        .gid = account->gid,
        .group_count = account->group_count,
        .listener_count = (uint32_t)listener_count,
        .drain_ms = configuration->settings->gatepost.drain_timeout_ms,
    };
    memcpy(ret_hello->groups, account->groups, sizeof(ret_hello->groups));
    snprintf(ret_hello->build, sizeof(ret_hello->build), "%s", child_build());
}

static void add_workers(struct supervisor *supervisor)
{
    size_t listeners = supervisor->listeners.public_count;
    struct child_plan plan = { .program = CONTROL_PROXY,
                               .program_fd = supervisor->program_fds[CONTROL_PROXY],
                               .bundle_fd = supervisor->proxy_bundle,
                               .shared_fd = supervisor->shared_fd,
                               .listeners = supervisor->public_fds };

    fill_hello(supervisor, &supervisor->configuration->privileges.proxy, listeners, &plan.hello);
    for (size_t i = 0; i < supervisor->worker_count; i++) {
        snprintf(plan.name, sizeof(plan.name), "worker %zu", i);
        plan.hello.index = (uint32_t)i;
        children_add(&supervisor->children, &plan);
    }
}

static void add_embedded(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->listeners.embedded_count; i++) {
        struct embedded_listener *listener = &supervisor->listeners.embedded[i];
        enum control_program program =
            listener->protocol == PROTOCOL_SMTP ? CONTROL_SMTPD : CONTROL_POP3D;
        struct child_plan plan = { .program = program,
                                   .program_fd = supervisor->program_fds[program],
                                   .bundle_fd = supervisor->embedded_bundles[i],
                                   .shared_fd = -1,
                                   .listeners = &listener->fd };

        snprintf(plan.name, sizeof(plan.name), "%s", control_program_name(program));
        fill_hello(supervisor, &supervisor->configuration->privileges.mail, 1, &plan.hello);
        plan.hello.index = (uint32_t)i;
        plan.hello.drain_ms +=
            EMBEDDED_DRAIN_MS; /* were the supervisor to die: behind the proxies */
        children_add(&supervisor->children, &plan);
    }
}

static void tell_ready(struct supervisor *supervisor)
{
    supervisor->phase = PHASE_SERVING;
    log_line(LOG_LEVEL_NOTICE, "ready: %zu ports, %zu workers", supervisor->listeners.port_count,
             supervisor->worker_count);
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
    children_kill(&supervisor->children, proxies);
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
    if (supervisor->phase == PHASE_DRAIN_EMBEDDED && children_running(children, false) == 0)
        stop(supervisor);
}

static void begin_drain(struct supervisor *supervisor)
{
    uint32_t timeout_ms = supervisor->configuration->settings->gatepost.drain_timeout_ms;

    log_line(LOG_LEVEL_NOTICE, "ending: sessions have %u s; a second signal ends at once",
             timeout_ms / 1000);
    supervisor->phase = PHASE_DRAIN_PROXIES;
    listener_set_close_public(&supervisor->listeners);
    children_drain(&supervisor->children, true);
    uv_timer_start(&supervisor->drain_timer, drain_expired, (uint64_t)timeout_ms + KILL_GRACE_MS,
                   0);
    drain_step(supervisor);
}

static void terminate(struct supervisor *supervisor)
{
    if (supervisor->phase < PHASE_DRAIN_PROXIES) {
        begin_drain(supervisor);
        return;
    }
    log_line(LOG_LEVEL_NOTICE, "ending at once");
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
    return signals;
}

static void children_changed(void *owner)
{
    struct supervisor *supervisor = owner;

    if (supervisor->phase == PHASE_STARTING &&
        children_ready(&supervisor->children) == supervisor->children.count)
        tell_ready(supervisor);
    drain_step(supervisor);
}

static void child_started(void *owner, struct child_process *child)
{
    struct supervisor *supervisor = owner;

    bulletin_tell(supervisor->bulletin, child);
}

static void child_told(void *owner, struct child_process *child, struct span message)
{
    (void)owner;
    (void)child;
    (void)message;
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
        break;
    case SIGHUP:
        log_line(LOG_LEVEL_NOTICE, "HUP is ignored: settings are read at the start");
        break;
    default:
        terminate(supervisor);
    }
}

/* The copy in memory tells when; the file is what is authoritative. */
static void keys_due(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    const char *state_dir = supervisor->configuration->settings->gatepost.state_dir;
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
    static const int numbers[] = { SIGCHLD, SIGTERM, SIGINT, SIGHUP };
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

static int plan_children(struct supervisor *supervisor)
{
    size_t listeners = supervisor->listeners.public_count;

    supervisor->worker_count = count_workers(supervisor->configuration->settings);
    supervisor->public_fds = calloc(listeners + 1, sizeof(int));
    if (!supervisor->public_fds)
        return -ENOMEM;
    for (size_t i = 0; i < listeners; i++)
        supervisor->public_fds[i] = supervisor->listeners.publics[i].fd;
    supervisor->children.keys = &supervisor->keys;
    supervisor->children.health = supervisor->health;
    supervisor->children.changed = children_changed;
    supervisor->children.started = child_started;
    supervisor->children.told = child_told;
    supervisor->children.gave_up = child_gave_up;
    supervisor->children.owner = supervisor;
    add_workers(supervisor);
    add_embedded(supervisor);
    return bulletin_new(supervisor->configuration->settings, supervisor->configuration->slots,
                        &supervisor->children, &supervisor->bulletin);
}

static void close_handle(uv_handle_t *handle, void *unused)
{
    (void)unused;
    if (!uv_is_closing(handle))
        uv_close(handle, NULL);
}

static int serve(struct supervisor *supervisor)
{
    size_t room =
        supervisor->listeners.embedded_count + count_workers(supervisor->configuration->settings);
    int r = uv_loop_init(&supervisor->loop);

    if (r < 0)
        return r;
    log_sink_watch(&supervisor->loop);
    r = children_init(&supervisor->children, &supervisor->loop, room);
    if (r == 0)
        r = watch_events(supervisor);
    if (r == 0)
        r = plan_children(supervisor);
    if (r == 0) {
        children_start(&supervisor->children);
        uv_run(&supervisor->loop, UV_RUN_DEFAULT);
    }
    bulletin_close(supervisor->bulletin);
    log_sink_watch(NULL);
    uv_walk(&supervisor->loop, close_handle, NULL);
    uv_run(&supervisor->loop, UV_RUN_DEFAULT);
    uv_loop_close(&supervisor->loop);
    children_deinit(&supervisor->children);
    return r;
}

static void close_all(struct supervisor *supervisor)
{
    for (size_t i = 0; i < CONTROL_PROGRAMS; i++)
        if (supervisor->program_fds[i] >= 0)
            close(supervisor->program_fds[i]);
    for (size_t i = 0; i < CHILD_FDS_MAX; i++)
        if (supervisor->embedded_bundles[i] >= 0)
            close(supervisor->embedded_bundles[i]);
    if (supervisor->proxy_bundle >= 0)
        close(supervisor->proxy_bundle);
    if (supervisor->shared_fd >= 0)
        close(supervisor->shared_fd);
    free(supervisor->public_fds);
    listener_set_deinit(&supervisor->listeners);
    explicit_bzero(&supervisor->keys, sizeof(supervisor->keys));
}

int supervisor_run(struct configuration *configuration)
{
    struct supervisor supervisor = { .configuration = configuration,
                                     .proxy_bundle = -1,
                                     .shared_fd = -1 };
    sigset_t held = signals_to_hold();
    int r;

    memset(supervisor.program_fds, 0xff, sizeof(supervisor.program_fds)); /* all -1 */
    memset(supervisor.embedded_bundles, 0xff, sizeof(supervisor.embedded_bundles));
    log_set_level((enum log_level)configuration->settings->gatepost.log_level);
    log_sink_open(configuration->settings->gatepost.log);
    log_line(LOG_LEVEL_INFO, "gatepost %s starts", child_build());
    sigprocmask(SIG_BLOCK, &held, NULL);
    supervisor.exit_code = open_all(&supervisor);
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

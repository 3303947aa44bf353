/* Both sides of an upgrade: the process that starts another, and the one that was started.
 *
 * Happy path of the first: fork, exec with the sockets from descriptor 3 on; READY comes; the
 * control socket is closed, the embedded workers whose sockets the new process has taken let nobody
 * in, GO is sent, and the supervisor leaves: its sessions go on. Of the second: it starts as
 * always, with sockets that are bound already; its children serve; READY, then GO: now the files of
 * the sockets and the control socket are its own.
 *
 * A program that cannot be executed, one that exits (broken settings: 78), and one that says
 * nothing for START_MS leave everything as it was, with a line in the log. */
#include "proxy/upgrade.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/supervisor_private.h"

#define START_MS     60000
#define RELOAD_MS    100  /* between two looks whether a reload has ended */
#define GRACE_MS     8000 /* behind its drain_timeout, before it is killed; guessed */
#define AT_ONCE_MS   3000 /* the same where it shall end at once; guessed */
#define FIRST_FD     3    /* SD_LISTEN_FDS_START */
#define SOCKETS_MAX  1000 /* as activation.c has it */
#define EXEC_FAILED  127
#define CHANNEL_NAME "GATEPOST_UPGRADE"

enum message_type { UPGRADE_READY = 1, UPGRADE_NO_EXEC, UPGRADE_GO };

struct message {
    uint32_t type;
    int32_t number; /* of READY: sockets that were passed; of NO_EXEC: -errno */
    uint8_t taken[SOCKETS_MAX];
};
#define MESSAGE_HEAD offsetof(struct message, taken)

/* -- the command line -- */

static char *program;    /* absolute; NULL: it is not known */
static char **arguments; /* argv of the next one */

/* NULL: no memory, or there is none in PATH. */
static char *search_path(const char *name)
{
    const char *folders = getenv("PATH");
    char path[PATH_MAX];

    while (folders && *folders) {
        size_t length = strcspn(folders, ":");

        snprintf(path, sizeof(path), "%.*s/%s", (int)length, folders, name);
        if (length > 0 && access(path, X_OK) == 0)
            return strdup(path);
        folders += length + (folders[length] == ':');
    }
    return NULL;
}

/* Links stay as they are: the next version may be where they then lead to. */
static char *make_absolute(const char *name)
{
    char folder[PATH_MAX], *path;

    if (!strchr(name, '/'))
        return search_path(name);
    if (name[0] == '/')
        return strdup(name);
    if (!getcwd(folder, sizeof(folder)) || asprintf(&path, "%s/%s", folder, name) < 0)
        return NULL;
    return path;
}

void upgrade_remember(int argc, char **argv)
{
    free(program);
    free(arguments);
    program = argc > 0 ? make_absolute(argv[0]) : NULL;
    arguments = program ? calloc((size_t)argc + 1, sizeof(char *)) : NULL;
    if (!arguments)
        return;
    memcpy(arguments, argv, (size_t)argc * sizeof(char *));
    arguments[0] = program;
}

/* -- handles -- */

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

/* The descriptor can be closed at once. */
static void close_poll(uv_poll_t **poll)
{
    if (*poll)
        uv_close((uv_handle_t *)*poll, free_poll);
    *poll = NULL;
}

static int open_poll(struct supervisor *supervisor, int fd, uv_poll_cb came, uv_poll_t **ret_poll)
{
    uv_poll_t *poll = calloc(1, sizeof(*poll));
    int r = poll ? uv_poll_init(&supervisor->loop, poll, fd) : -ENOMEM;

    if (r < 0) {
        free(poll);
        return r;
    }
    poll->data = supervisor;
    *ret_poll = poll;
    return uv_poll_start(poll, UV_READABLE, came);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

/* -- what the new process is given -- */

struct launch {
    char **environment;
    char *pid_digits; /* in the environment; of the process itself, known behind the fork */
    int fds[SOCKETS_MAX];
    size_t count;
    int channel; /* its end */
};

static void pass(struct launch *launch, FILE *names, int fd, const char *name)
{
    if (launch->count == SOCKETS_MAX)
        return; /* the new one binds it itself, and says that it is in use */
    fprintf(names, "%s%s", launch->count > 0 ? ":" : "", name);
    launch->fds[launch->count++] = fd;
}

/* The service manager's own, our ports, the embedded workers' sockets. */
static void pass_all(struct supervisor *supervisor, struct launch *launch, FILE *names)
{
    const struct activation *activation = &supervisor->activation;
    const struct listener_set *listeners = &supervisor->current->listeners;
    struct upgrade *upgrade = &supervisor->upgrade;

    for (size_t i = 0; i < activation->count; i++)
        pass(launch, names, activation->sockets[i].fd, activation->sockets[i].name);
    for (size_t i = 0; i < listeners->public_count; i++)
        pass(launch, names, listeners->publics[i].fd, "");
    upgrade->embedded_count = 0;
    for (size_t i = 0; i < listeners->embedded_count; i++) {
        const struct embedded_listener *listener = &listeners->embedded[i];

        if (listener->fd < 0 || listener->leaving)
            continue;
        pass(launch, names, listener->fd, embedded_listener_kind(listener));
        upgrade->embedded[upgrade->embedded_count++] = i;
    }
    upgrade->passed = launch->count;
}

static bool is_ours(const char *variable)
{
    static const char *const names[] = { "LISTEN_PID=",    "LISTEN_FDS=",    "LISTEN_FDNAMES=",
                                         "NOTIFY_SOCKET=", "WATCHDOG_USEC=", CHANNEL_NAME "=" };

    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        if (strncmp(variable, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

/* Names of abstract sockets begin with '@' in the variable. */
static void put_notify(const struct notify *notify, FILE *out)
{
    if (notify->fd < 0)
        return;
    fprintf(out, "NOTIFY_SOCKET=%c%.*s%c", notify->address.sun_path[0] ? '/' : '@',
            (int)(notify->size - offsetof(struct sockaddr_un, sun_path) - 1),
            notify->address.sun_path + 1, '\0');
    if (notify->watchdog_ms > 0)
        fprintf(out, "WATCHDOG_USEC=%llu%c", (unsigned long long)notify->watchdog_ms * 1000, '\0');
}

#define PID_ROOM "0000000000"

/* Writes the variables one behind the other, each with its NUL. */
static void put_variables(struct supervisor *supervisor, struct launch *launch, FILE *out)
{
    for (char **variable = environ; *variable; variable++)
        if (!is_ours(*variable))
            fprintf(out, "%s%c", *variable, '\0');
    put_notify(&supervisor->notify, out);
    fprintf(out, "LISTEN_FDNAMES=");
    pass_all(supervisor, launch, out);
    fprintf(out, "%cLISTEN_FDS=%zu%c", '\0', launch->count, '\0');
    fprintf(out, CHANNEL_NAME "=%zu,%zu%c", FIRST_FD + launch->count, supervisor->activation.count,
            '\0');
    fprintf(out, "LISTEN_PID=" PID_ROOM "%c", '\0');
}

/* One block: the pointers point into `text`. 0 or -ENOMEM. */
static int point_at(char *text, size_t size, struct launch *launch)
{
    size_t count = 0;

    for (size_t i = 0; i < size; i++)
        count += text[i] == '\0';
    launch->environment = calloc(count + 1, sizeof(char *));
    if (!launch->environment)
        return -ENOMEM;
    count = 0;
    for (size_t i = 0; i < size; i += strlen(text + i) + 1)
        launch->environment[count++] = text + i;
    launch->pid_digits = launch->environment[count - 1] + strlen("LISTEN_PID=");
    return 0;
}

/* *ret_text is to be freed behind the fork. */
static int prepare(struct supervisor *supervisor, struct launch *launch, char **ret_text)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    int r;

    free(upgrade->embedded);
    upgrade->embedded =
        calloc(supervisor->current->listeners.embedded_count + 1, sizeof(*upgrade->embedded));
    if (!out || !upgrade->embedded) {
        if (out)
            fclose(out);
        free(text);
        return -ENOMEM;
    }
    put_variables(supervisor, launch, out);
    r = fclose(out) == 0 ? point_at(text, size, launch) : -ENOMEM;
    if (r < 0)
        free(text);
    else
        *ret_text = text;
    return r;
}

/* -- the new process, between fork and exec: only calls that are safe there -- */

static void write_pid(char *digits)
{
    unsigned long pid = (unsigned long)getpid();

    for (size_t i = strlen(PID_ROOM); i-- > 0; pid /= 10)
        digits[i] = (char)('0' + pid % 10);
}

static void reset_signals(void)
{
    struct sigaction standard = { .sa_handler = SIG_DFL };
    sigset_t none;

    for (int number = 1; number < NSIG; number++)
        sigaction(number, &standard, NULL); /* fails for KILL and STOP, as it must */
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static _Noreturn void give_up(int channel)
{
    struct message message = { UPGRADE_NO_EXEC, -errno, { 0 } };

    send(channel, &message, MESSAGE_HEAD, MSG_NOSIGNAL);
    _exit(EXEC_FAILED);
}

/* First out of the way of the numbers that they shall have, then to them. */
static _Noreturn void become(struct launch *launch)
{
    int above = FIRST_FD + (int)launch->count + 1;
    int channel = fcntl(launch->channel, F_DUPFD_CLOEXEC, above);

    if (channel < 0)
        give_up(launch->channel);
    for (size_t i = 0; i < launch->count; i++) {
        launch->fds[i] = fcntl(launch->fds[i], F_DUPFD_CLOEXEC, above);
        if (launch->fds[i] < 0)
            give_up(channel);
    }
    for (size_t i = 0; i < launch->count; i++)
        if (dup2(launch->fds[i], FIRST_FD + (int)i) < 0)
            give_up(channel);
    if (dup2(channel, above - 1) < 0)
        give_up(channel);
    close_range((unsigned)above, ~0U, CLOSE_RANGE_CLOEXEC);
    write_pid(launch->pid_digits);
    reset_signals();
    execve(program, arguments, launch->environment);
    give_up(channel);
}

static pid_t spawn(struct launch *launch)
{
    sigset_t all, before;
    pid_t pid;
    int r;

    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid = fork();
    if (pid == 0)
        become(launch);
    r = -errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    return pid < 0 ? r : pid;
}

/* -- the process before: the end of an upgrade -- */

static void let_go_of_channel(struct upgrade *upgrade)
{
    close_poll(&upgrade->poll);
    close_fd(&upgrade->channel);
}

/* What was asked for meanwhile is done. */
static void end_failed(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    let_go_of_channel(upgrade);
    uv_timer_stop(&upgrade->timer);
    upgrade->pid = 0;
    upgrade->phase = UPGRADE_NONE;
    if (supervisor->phase != PHASE_SERVING) {
        log_line(LOG_LEVEL_NOTICE, "upgrade: the new process has ended, too");
        return;
    }
    log_line(LOG_LEVEL_ERROR, "upgrade failed: %s: nothing was changed", upgrade->failure);
    reload_open(supervisor);
}

static void kill_due(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;

    if (supervisor->upgrade.pid > 0)
        kill(supervisor->upgrade.pid, SIGKILL);
}

/* Sessions that it has let in may end first. */
static void end_process(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    uint64_t limit_ms =
        upgrade->phase == UPGRADE_FAILS
            ? AT_ONCE_MS
            : supervisor->current->configuration.settings->gatepost.drain_timeout_ms +
                  (uint64_t)GRACE_MS;

    upgrade->phase = UPGRADE_FAILS;
    kill(upgrade->pid, SIGTERM);
    uv_timer_start(&upgrade->timer, kill_due, limit_ms, 0);
}

static void fail(struct supervisor *supervisor, const char *why)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    if (!upgrade->failure[0])
        snprintf(upgrade->failure, sizeof(upgrade->failure), "%s", why);
    end_process(supervisor);
}

static void start_overdue(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    char why[96];

    snprintf(why, sizeof(why), "process %d did not serve within %d s, and was ended",
             (int)supervisor->upgrade.pid, START_MS / 1000);
    log_line(LOG_LEVEL_WARNING, "upgrade: process %d does not serve within %d s: it is ended",
             (int)supervisor->upgrade.pid, START_MS / 1000);
    fail(supervisor, why);
}

/* Another process has this socket: its file stays, and whoever connects is its. Sessions that are
 * here already go on, be they of its proxy workers or of ours. */
static void leave_embedded(struct generation *current, size_t number)
{
    struct embedded_worker *worker = &current->embedded[number];

    current->listeners.embedded[number].borrowed = true;
    if (worker->child) {
        worker->child->spared = true;
        children_retire(worker->child); /* may be gone */
    }
    worker->child = NULL;
}

static void leave_taken(struct supervisor *supervisor, const struct message *ready)
{
    const struct upgrade *upgrade = &supervisor->upgrade;
    size_t first = upgrade->passed - upgrade->embedded_count;

    for (size_t i = 0; i < upgrade->embedded_count; i++)
        if (ready->taken[first + i])
            leave_embedded(supervisor->current, upgrade->embedded[i]);
}

static void hand_over(struct supervisor *supervisor, const struct message *ready)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    struct message go = { UPGRADE_GO, 0, { 0 } };

    operator_close(supervisor); /* the new one puts its own in the place */
    notify_main_process(&supervisor->notify, upgrade->pid); /* before it says a word itself */
    if (send(upgrade->channel, &go, MESSAGE_HEAD, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        fail(supervisor, "it did not listen");
        notify_main_process(&supervisor->notify, getpid());
        if (operator_bind(&supervisor->current->configuration, &supervisor->control_socket) == 0)
            operator_open(supervisor);
        return;
    }
    uv_timer_stop(&upgrade->timer);
    let_go_of_channel(upgrade);
    upgrade->phase = UPGRADE_DONE;
    log_line(LOG_LEVEL_NOTICE, "upgrade: process %d has taken over", (int)upgrade->pid);
    notify_deinit(&supervisor->notify);
    leave_taken(supervisor, ready);
    supervisor_leave(supervisor);
}

static void take_no_exec(struct supervisor *supervisor, int error)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    snprintf(upgrade->failure, sizeof(upgrade->failure), "%.64s cannot be executed: %s", program,
             err_text(error));
}

static void channel_came(uv_poll_t *poll, int status, int events)
{
    struct supervisor *supervisor = poll->data;
    struct upgrade *upgrade = &supervisor->upgrade;
    struct message message = { .type = 0 };
    ssize_t size = status < 0 ? 0 : recv(upgrade->channel, &message, sizeof(message), MSG_DONTWAIT);

    (void)events;
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < (ssize_t)MESSAGE_HEAD) {
        uv_poll_stop(poll); /* its end comes as SIGCHLD */
        return;
    }
    if (message.type == UPGRADE_NO_EXEC)
        take_no_exec(supervisor, message.number);
    else if (message.type == UPGRADE_READY && upgrade->phase == UPGRADE_STARTS &&
             (size_t)size == sizeof(message) && message.number == (int32_t)upgrade->passed)
        hand_over(supervisor, &message);
}

/* "process 12 exited with code 78" */
static void describe_end(pid_t pid, int status, char *into, size_t room)
{
    if (WIFSIGNALED(status))
        snprintf(into, room, "process %d was ended by signal %d (%s)", (int)pid, WTERMSIG(status),
                 sigdescr_np(WTERMSIG(status)) ? sigdescr_np(WTERMSIG(status)) : "unknown");
    else
        snprintf(into, room, "process %d exited with code %d", (int)pid, WEXITSTATUS(status));
}

bool upgrade_reap(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    char how[96];
    int status;

    if (upgrade->pid == 0 || waitpid(upgrade->pid, &status, WNOHANG) <= 0)
        return false;
    describe_end(upgrade->pid, status, how, sizeof(how));
    if (upgrade->phase == UPGRADE_DONE) {
        log_line(LOG_LEVEL_NOTICE, "%s, which had taken over", how);
        upgrade->pid = 0;
        return true;
    }
    if (upgrade->poll) /* its last word */
        channel_came(upgrade->poll, 0, UV_READABLE);
    if (!upgrade->failure[0])
        snprintf(upgrade->failure, sizeof(upgrade->failure), "%s", how);
    end_failed(supervisor);
    return true;
}

/* -- the process before: the beginning -- */

static void begin_failed(struct supervisor *supervisor, int error)
{
    snprintf(supervisor->upgrade.failure, sizeof(supervisor->upgrade.failure), "%s",
             err_text(error));
    end_failed(supervisor);
}

static int make_channel(struct supervisor *supervisor, struct launch *launch)
{
    int pair[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    supervisor->upgrade.channel = pair[0];
    launch->channel = pair[1];
    r = open_poll(supervisor, pair[0], channel_came, &supervisor->upgrade.poll);
    if (r < 0)
        close(pair[1]);
    return r;
}

static void start(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    struct launch launch = { .channel = -1 };
    char *text = NULL;
    int r = prepare(supervisor, &launch, &text);

    upgrade->failure[0] = '\0';
    if (r == 0)
        r = make_channel(supervisor, &launch);
    if (r == 0) {
        r = spawn(&launch);
        close(launch.channel);
    }
    free(launch.environment);
    free(text);
    if (r < 0) {
        begin_failed(supervisor, r);
        return;
    }
    upgrade->pid = r;
    upgrade->phase = UPGRADE_STARTS;
    log_line(LOG_LEVEL_NOTICE, "upgrade: process %d starts from %s", r, program);
    uv_timer_start(&upgrade->timer, start_overdue, START_MS, 0);
}

static void look_again(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;

    if (supervisor->reload.phase != RELOAD_IDLE)
        return;
    uv_timer_stop(timer);
    start(supervisor);
}

static const char *why_not(const struct supervisor *supervisor)
{
    if (!program || !arguments)
        return "it is not known from where this program was started";
    if (supervisor->phase == PHASE_STARTING)
        return "gatepost starts";
    if (supervisor->upgrade.phase == UPGRADE_DONE)
        return "another process has taken over already";
    if (supervisor->phase != PHASE_SERVING)
        return "gatepost ends";
    if (upgrade_runs(supervisor))
        return "an upgrade is under way";
    return NULL;
}

const char *upgrade_begin(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    const char *why = why_not(supervisor);

    if (why) {
        log_line(LOG_LEVEL_WARNING, "no upgrade is begun: %s", why);
        return why;
    }
    upgrade->phase = UPGRADE_WAITS;
    uv_timer_start(&upgrade->timer, look_again, 0, RELOAD_MS);
    return NULL;
}

bool upgrade_runs(const struct supervisor *supervisor)
{
    return supervisor->upgrade.phase != UPGRADE_NONE && supervisor->upgrade.phase != UPGRADE_DONE;
}

void upgrade_cancel(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    if (upgrade->phase == UPGRADE_WAITS) {
        uv_timer_stop(&upgrade->timer);
        upgrade->phase = UPGRADE_NONE;
    }
    if (upgrade_runs(supervisor))
        fail(supervisor, "gatepost ends");
}

/* -- the process that was started -- */

static void take_over(struct supervisor *supervisor)
{
    close_poll(&supervisor->upgrade.before_poll);
    close_fd(&supervisor->upgrade.before);
    activation_forget_own(&supervisor->activation);
    listener_set_own(&supervisor->current->listeners);
    supervisor_take_over(supervisor);
}

/* Should the process before be gone, nobody but this one serves. */
static void before_came(uv_poll_t *poll, int status, int events)
{
    struct supervisor *supervisor = poll->data;
    struct message message = { .type = 0 };
    ssize_t size =
        status < 0 ? 0 : recv(supervisor->upgrade.before, &message, sizeof(message), MSG_DONTWAIT);

    (void)events;
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < (ssize_t)MESSAGE_HEAD)
        log_line(LOG_LEVEL_WARNING, "upgrade: the process before has ended without a word");
    uv_poll_stop(poll);
    if (supervisor->phase != PHASE_STARTING) {
        listener_set_own(&supervisor->current->listeners);
        return;
    }
    if (supervisor->upgrade.told)
        take_over(supervisor);
    else /* once all serve */
        close_fd(&supervisor->upgrade.before);
}

bool upgrade_is_heir(const struct supervisor *supervisor)
{
    return supervisor->upgrade.before_poll;
}

void upgrade_give_back(struct supervisor *supervisor)
{
    const struct listener_set *listeners = &supervisor->current->listeners;

    for (size_t i = 0; i < listeners->embedded_count; i++)
        if (listeners->embedded[i].borrowed)
            leave_embedded(supervisor->current, i);
}

void upgrade_tell_ready(struct supervisor *supervisor)
{
    const struct activation *activation = &supervisor->activation;
    struct upgrade *upgrade = &supervisor->upgrade;
    struct message ready = { UPGRADE_READY, (int32_t)activation->count, { 0 } };

    if (upgrade->told)
        return;
    upgrade->told = true;
    for (size_t i = 0; i < activation->count && i < SOCKETS_MAX; i++)
        ready.taken[i] = activation->sockets[i].taken;
    if (upgrade->before < 0)
        take_over(supervisor);
    else if (send(upgrade->before, &ready, sizeof(ready), MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        log_line(LOG_LEVEL_WARNING,
                 "upgrade: the process before does not listen"); /* its end comes */
}

/* "7,2": the channel, and how many sockets are the manager's. */
static bool read_variable(const char *value, int *ret_channel, size_t *ret_from_manager)
{
    char *end;
    long channel = strtol(value, &end, 10), count;
    int type = 0;
    socklen_t size = sizeof(type);

    if (end == value || *end != ',')
        return false;
    count = strtol(end + 1, &end, 10);
    if (*end || channel < FIRST_FD || channel > FIRST_FD + SOCKETS_MAX || count < 0 ||
        getsockopt((int)channel, SOL_SOCKET, SO_TYPE, &type, &size) < 0 || type != SOCK_SEQPACKET)
        return false;
    *ret_channel = (int)channel;
    *ret_from_manager = (size_t)count;
    return true;
}

static int inherit(struct supervisor *supervisor, int channel, size_t from_manager)
{
    int r = activation_init_upgrade(from_manager, &supervisor->activation);

    if (r < 0) {
        close(channel);
        return r;
    }
    log_line(LOG_LEVEL_INFO, "upgrade: takes over %zu sockets", supervisor->activation.count);
    fcntl(channel, F_SETFD, FD_CLOEXEC);
    supervisor->upgrade.before = channel;
    return open_poll(supervisor, channel, before_came, &supervisor->upgrade.before_poll);
}

int upgrade_init(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    const char *value = getenv(CHANNEL_NAME);
    size_t from_manager;
    int channel;
    bool heir = value && read_variable(value, &channel, &from_manager);

    *upgrade = (struct upgrade){ .channel = -1, .before = -1 };
    uv_timer_init(&supervisor->loop, &upgrade->timer);
    upgrade->timer.data = supervisor;
    unsetenv(CHANNEL_NAME);
    return heir ? inherit(supervisor, channel, from_manager)
                : activation_init(&supervisor->activation);
}

void upgrade_deinit(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    let_go_of_channel(upgrade);
    close_poll(&upgrade->before_poll);
    close_fd(&upgrade->before);
    free(upgrade->embedded);
    upgrade->embedded = NULL;
    free(program);
    free(arguments);
    program = NULL;
    arguments = NULL;
}

/* The process before: begins an upgrade, waits, and hands over.
 *
 * Happy path: the next process is started (upgrade_launch.c) with the listening sockets; READY
 * comes; the control socket is closed, the service manager told, GO sent; the embedded workers
 * whose sockets the new process has taken let nobody in, and the supervisor leaves: its sessions go
 * on.
 *
 * A program that cannot be executed, one that exits (broken settings: 78), and one that says
 * nothing for START_MS leave everything as it was, with a line in the log. */
#include "proxy/upgrade.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/supervisor.h"
#include "proxy/upgrade_private.h"

#define START_MS   60000
#define RELOAD_MS  100  /* between two looks whether a reload has ended */
#define GRACE_MS   8000 /* behind its drain_timeout, before it is killed; guessed */
#define AT_ONCE_MS 3000 /* the same where it shall end at once; guessed */

/* -- channels -- */

static void free_poll(uv_handle_t *handle)
{
    free(handle);
}

int upgrade_open_poll(struct supervisor *supervisor, int fd, uv_poll_cb came, uv_poll_t **ret_poll)
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

void upgrade_close_channel(int *fd, uv_poll_t **poll)
{
    if (*poll)
        uv_close((uv_handle_t *)*poll, free_poll);
    *poll = NULL;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void upgrade_leave_embedded(struct generation *current, size_t number)
{
    struct embedded_worker *worker = &current->embedded[number];

    current->listeners.embedded[number].borrowed = true;
    if (worker->child) {
        worker->child->spared = true;
        children_retire(worker->child); /* may be gone */
    }
    worker->child = NULL;
}

/* -- the end of an upgrade -- */

/* What was asked for meanwhile is done. */
static void end_failed(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    upgrade_close_channel(&upgrade->channel, &upgrade->poll);
    uv_timer_stop(&upgrade->timer);
    upgrade->pid = 0;
    upgrade->phase = UPGRADE_NONE;
    operator_upgrade_ended(supervisor);
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

static void leave_taken(struct supervisor *supervisor, const struct upgrade_message *ready)
{
    const struct upgrade *upgrade = &supervisor->upgrade;
    size_t first = upgrade->passed - upgrade->embedded_count;

    for (size_t i = 0; i < upgrade->embedded_count; i++)
        if (ready->taken[first + i])
            upgrade_leave_embedded(supervisor->current, upgrade->embedded[i]);
}

static void hand_over(struct supervisor *supervisor, const struct upgrade_message *ready)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    struct upgrade_message go = { UPGRADE_GO, 0, { 0 } };

    operator_leave(supervisor); /* the new one puts its own in the place */
    notify_main_process(&supervisor->notify, upgrade->pid); /* before it says a word itself */
    if (send(upgrade->channel, &go, UPGRADE_MESSAGE_HEAD, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) {
        fail(supervisor, "it did not listen");
        notify_main_process(&supervisor->notify, getpid());
        if (operator_bind(&supervisor->current->configuration, &supervisor->control_socket) == 0)
            operator_open(supervisor);
        return;
    }
    uv_timer_stop(&upgrade->timer);
    upgrade_close_channel(&upgrade->channel, &upgrade->poll);
    upgrade->phase = UPGRADE_DONE;
    log_line(LOG_LEVEL_NOTICE, "upgrade: process %d has taken over", (int)upgrade->pid);
    operator_upgrade_ended(supervisor);
    notify_deinit(&supervisor->notify);
    leave_taken(supervisor, ready);
    supervisor_leave(supervisor);
}

static void take_no_exec(struct supervisor *supervisor, int error)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    snprintf(upgrade->failure, sizeof(upgrade->failure), "%.64s cannot be executed: %s",
             upgrade_program(), err_text(error));
}

static void channel_came(uv_poll_t *poll, int status, int events)
{
    struct supervisor *supervisor = poll->data;
    struct upgrade *upgrade = &supervisor->upgrade;
    struct upgrade_message message = { .type = 0 };
    ssize_t size = status < 0 ? 0 : recv(upgrade->channel, &message, sizeof(message), MSG_DONTWAIT);

    (void)events;
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < (ssize_t)UPGRADE_MESSAGE_HEAD) {
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
    if (!upgrade->failure[0]) {
        snprintf(upgrade->failure, sizeof(upgrade->failure), "%s", how);
        upgrade->misconfigured =
            WIFEXITED(status) && WEXITSTATUS(status) == SUPERVISOR_CONFIGURATION;
    }
    end_failed(supervisor);
    return true;
}

/* -- the beginning -- */

static void begin_failed(struct supervisor *supervisor, int error)
{
    snprintf(supervisor->upgrade.failure, sizeof(supervisor->upgrade.failure), "%s",
             err_text(error));
    end_failed(supervisor);
}

/* The new process, or -errno. */
static int begin_process(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    int pair[2], r;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -errno;
    upgrade->channel = pair[0];
    r = upgrade_open_poll(supervisor, pair[0], channel_came, &upgrade->poll);
    if (r == 0)
        r = upgrade_launch(supervisor, pair[1]);
    close(pair[1]);
    return r;
}

static void start(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    int r;

    upgrade->failure[0] = '\0';
    upgrade->misconfigured = false;
    r = begin_process(supervisor);
    if (r < 0) {
        begin_failed(supervisor, r);
        return;
    }
    upgrade->pid = r;
    upgrade->phase = UPGRADE_STARTS;
    log_line(LOG_LEVEL_NOTICE, "upgrade: process %d starts from %s", r, upgrade_program());
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
    if (!upgrade_program())
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
        snprintf(upgrade->failure, sizeof(upgrade->failure), "gatepost ends");
        operator_upgrade_ended(supervisor);
    }
    if (upgrade_runs(supervisor))
        fail(supervisor, "gatepost ends");
}

/* The process that was started: takes over from the one before.
 *
 * Happy path: it starts as always, with sockets that are bound already; its children serve; READY
 * is sent, GO comes: now the files of the sockets and the control socket are its own. One whose
 * predecessor is gone goes on alone; one that ends before GO leaves everything to it. */
#include "proxy/upgrade_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

static void take_over(struct supervisor *supervisor)
{
    upgrade_close_channel(&supervisor->upgrade.before, &supervisor->upgrade.before_poll);
    activation_forget_own(&supervisor->activation);
    listener_set_own(&supervisor->current->listeners);
    supervisor_take_over(supervisor);
}

/* Should the process before be gone, nobody but this one serves. */
static void before_came(uv_poll_t *poll, int status, int events)
{
    struct supervisor *supervisor = poll->data;
    struct upgrade_message message = { .type = 0 };
    ssize_t size =
        status < 0 ? 0 : recv(supervisor->upgrade.before, &message, sizeof(message), MSG_DONTWAIT);

    (void)events;
    if (size < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (size < (ssize_t)UPGRADE_MESSAGE_HEAD)
        log_line(LOG_LEVEL_WARNING, "upgrade: the process before has ended without a word");
    uv_poll_stop(poll);
    if (supervisor->phase != PHASE_STARTING) {
        listener_set_own(&supervisor->current->listeners);
        return;
    }
    if (supervisor->upgrade.told)
        take_over(supervisor);
    else /* once all serve */
        supervisor->upgrade.orphaned = true;
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
            upgrade_leave_embedded(supervisor->current, i);
}

void upgrade_tell_ready(struct supervisor *supervisor)
{
    const struct activation *activation = &supervisor->activation;
    struct upgrade *upgrade = &supervisor->upgrade;
    struct upgrade_message ready = { UPGRADE_READY, (int32_t)activation->count, { 0 } };

    if (upgrade->told)
        return;
    upgrade->told = true;
    for (size_t i = 0; i < activation->count && i < UPGRADE_SOCKETS_MAX; i++)
        ready.taken[i] = activation->sockets[i].taken;
    if (upgrade->orphaned)
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
    if (*end || channel < UPGRADE_FIRST_FD || channel > UPGRADE_FIRST_FD + UPGRADE_SOCKETS_MAX ||
        count < 0 || getsockopt((int)channel, SOL_SOCKET, SO_TYPE, &type, &size) < 0 ||
        type != SOCK_SEQPACKET)
        return false;
    *ret_channel = (int)channel;
    *ret_from_manager = (size_t)count;
    return true;
}

static void former_ended(uv_poll_t *poll, int status, int events)
{
    struct supervisor *supervisor = poll->data;

    (void)status;
    (void)events;
    supervisor->upgrade.former = 0;
    upgrade_close_channel(&supervisor->upgrade.former_fd, &supervisor->upgrade.former_poll);
}

/* Who made the channel; -1: nobody knows. */
static pid_t maker_of(int channel)
{
    struct ucred maker;
    socklen_t size = sizeof(maker);

    return getsockopt(channel, SOL_SOCKET, SO_PEERCRED, &maker, &size) < 0 ? -1 : maker.pid;
}

/* For the operator: it has sessions that are not ours. Where it cannot be watched, nothing is said
 * of it. It may have died by now: then we are another's child, init's for one, who must not be
 * taken for it, and its number may be anybody's. While it is our parent, the number is its own. */
static void watch_former(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    pid_t former = maker_of(upgrade->before);

    upgrade->former_fd = (int)syscall(SYS_pidfd_open, former, 0);
    if (upgrade->former_fd < 0)
        return;
    if (getppid() != former ||
        upgrade_open_poll(supervisor, upgrade->former_fd, former_ended, &upgrade->former_poll) < 0)
        upgrade_close_channel(&upgrade->former_fd, &upgrade->former_poll);
    else
        upgrade->former = former;
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
    watch_former(supervisor);
    return upgrade_open_poll(supervisor, channel, before_came, &supervisor->upgrade.before_poll);
}

int upgrade_init(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;
    const char *value = getenv(UPGRADE_CHANNEL);
    size_t from_manager;
    int channel;
    bool heir = value && read_variable(value, &channel, &from_manager);

    *upgrade = (struct upgrade){ .channel = -1, .before = -1, .former_fd = -1 };
    uv_timer_init(&supervisor->loop, &upgrade->timer);
    upgrade->timer.data = supervisor;
    unsetenv(UPGRADE_CHANNEL);
    return heir ? inherit(supervisor, channel, from_manager)
                : activation_init(&supervisor->activation);
}

void upgrade_deinit(struct supervisor *supervisor)
{
    struct upgrade *upgrade = &supervisor->upgrade;

    upgrade_close_channel(&upgrade->channel, &upgrade->poll);
    upgrade_close_channel(&upgrade->before, &upgrade->before_poll);
    upgrade_close_channel(&upgrade->former_fd, &upgrade->former_poll);
    free(upgrade->embedded);
    upgrade->embedded = NULL;
    upgrade_forget_program();
}

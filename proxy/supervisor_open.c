/* What a supervisor opens once, at its start: limits, shared memory, the first configuration with
 * all its sockets, the programs of its children, the ticket keys.
 *
 * What cannot be opened ends the start with a line and an exit code, but for the ticket keys, which
 * are made anew. */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/server.h"
#include "proxy/supervisor.h"
#include "proxy/supervisor_private.h"

#define PROXY_FDS_RESERVED 64 /* of a worker: listeners, log, loop; guessed */

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

static int map_shared(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;

    supervisor->shared_fd = make_shared();
    if (supervisor->shared_fd < 0)
        return supervisor->shared_fd;
    supervisor->health = children->health = server_shared_health(supervisor->shared_fd);
    if (supervisor->health)
        children->stats = server_shared_stats(supervisor->shared_fd);
    return children->stats ? 0 : -errno;
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

int supervisor_open_all(struct supervisor *supervisor, struct configuration *configuration)
{
    int r, code;

    raise_descriptor_limit(configuration->settings);
    r = map_shared(supervisor);
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

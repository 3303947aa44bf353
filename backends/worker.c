/* The frame of an embedded mail worker: the parent that accepts, and what each session process does
 * around its session.
 *
 * Happy path: HELLO, settings from the bundle, READY; then one poll over the listeners, the control
 * channel and ended children; a fork for each connection. Over the limit, and where no process can
 * be made, the client is told so. A session process that crashes costs its own session only. Told
 * to drain, or alone because the supervisor is gone, it takes no more connections, waits for the
 * sessions, kills those that are left after drain_ms, and ends. */
#include "backends/worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "backends/connection.h"
#include "backends/title.h"
#include "backends/worker_password.h"
#include "proxy/base/bundle.h"
#include "proxy/base/child.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

#define HEADER_TIMEOUT_MS 10000 /* the proxy sends it at once */
#define ACCEPT_PAUSE_MS   1000 /* after EMFILE, where no session of ours ends meanwhile (guessed) */
#define ACCEPT_BURST                                                                               \
    16 /* connections of one listener before the others have their turn (guessed) */

struct worker {
    const struct worker_program *program;
    struct child child;
    struct settings *settings;
    enum port_protocol protocol;
    int signals; /* signalfd of SIGCHLD */
    pid_t *sessions;
    size_t session_count, session_limit;
    bool accept_paused; /* no descriptor or memory was free */
    bool retired;       /* it ends with its last session, whenever that is */
    bool draining;      /* ... at the latest at drain_end_ms */
    long long drain_end_ms;
};

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* ---- the session process ---- */

static void close_parents_descriptors(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->child.hello.listener_count; i++)
        close(worker->child.listeners[i]);
    close(worker->child.control_fd);
    close(worker->signals);
}

static void serve_connection(struct worker *worker, int fd)
{
    const struct settings *settings = worker->settings;
    struct connection connection = {
        .fd = fd,
        .read_timeout_ms = (int)settings->mailstore.command_timeout_ms,
        .write_timeout_ms = (int)settings->limits.write_timeout_ms,
        .read_size = settings->limits.read_size_bytes,
    };
    struct worker_session session = { .settings = settings,
                                      .protocol = worker->protocol,
                                      .connection = &connection };
    int r = connection_read_header(&connection, HEADER_TIMEOUT_MS, &session.client);

    if (r == -ECONNRESET && connection.in_end == 0)
        return; /* somebody only looked whether we are there */
    if (r < 0) {
        log_line(LOG_LEVEL_WARNING, "a connection without a PROXY header was closed: %s",
                 err_text(r));
        return;
    }
    worker->program->session(&session);
    connection_flush(&connection);
}

static void session_process(struct worker *worker, int fd)
{
    char title[64];
    sigset_t none;

    close_parents_descriptors(worker);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    snprintf(title, sizeof(title), "%s: session", worker->program->name);
    title_set(title);
    serve_connection(worker, fd);
    _exit(0);
}

/* ---- sessions, as the parent sees them ---- */

/* Tells the client that it cannot be served. What it has sent already is read first: a close with
 * octets unread would reset the connection under the reply. */
static void turn_away(const struct worker *worker, int fd)
{
    const struct worker_program *program = worker->program;
    const char *busy = worker->protocol == PROTOCOL_REMOTE ? program->remote_busy : program->busy;
    char unread[PROXY_V2_HEADER_MAX];

    while (recv(fd, unread, sizeof(unread), MSG_DONTWAIT) > 0)
        ;
    (void)!send(fd, busy, strlen(busy), MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static void start_session(struct worker *worker, int fd)
{
    pid_t pid;

    if (worker->session_count >= worker->session_limit) {
        log_line(LOG_LEVEL_WARNING, "a client was turned away: max_sessions = %zu are running",
                 worker->session_limit);
        turn_away(worker, fd);
        return;
    }
    pid = fork();
    if (pid == 0)
        session_process(worker, fd); /* does not return */
    if (pid < 0) {
        log_line(LOG_LEVEL_ERROR, "a client was turned away: no process for its session: %s",
                 err_text(-errno));
        turn_away(worker, fd);
        return;
    }
    worker->sessions[worker->session_count++] = pid;
    close(fd);
}

static void accept_sessions(struct worker *worker, int listener)
{
    for (int i = 0; i < ACCEPT_BURST; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

        if (fd >= 0) {
            start_session(worker, fd);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_line(LOG_LEVEL_ERROR, "accepting pauses: %s", err_text(-errno));
            worker->accept_paused = true;
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* False: it was none. */
static bool forget_session(struct worker *worker, pid_t pid, int status)
{
    if (WIFSIGNALED(status))
        log_line(LOG_LEVEL_ERROR, "session process %ld was ended by signal %d", (long)pid,
                 WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        log_line(LOG_LEVEL_ERROR, "session process %ld ended with code %d", (long)pid,
                 WEXITSTATUS(status));
    for (size_t i = 0; i < worker->session_count; i++)
        if (worker->sessions[i] == pid) {
            worker->sessions[i] = worker->sessions[--worker->session_count];
            return true;
        }
    return false;
}

/* What a killed session was delivering is completed at once: its sender may come back long after
 * the recipients have read and deleted it, and would have it delivered once more. */
static void complete_deliveries(struct worker *worker)
{
    pid_t pid;

    if (worker->protocol != PROTOCOL_REMOTE || !worker->program->remote_start || worker->draining)
        return;
    pid = fork();
    if (pid == 0) {
        close_parents_descriptors(worker);
        worker->program->remote_start(worker->settings);
        _exit(0);
    }
    if (pid < 0)
        log_line(LOG_LEVEL_ERROR, "no process to complete deliveries: %s", err_text(-errno));
}

static void reap_sessions(struct worker *worker)
{
    struct signalfd_siginfo info;
    bool killed = false;
    int status;
    pid_t pid;

    while (read(worker->signals, &info, sizeof(info)) > 0)
        ;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        killed |= forget_session(worker, pid, status) && WIFSIGNALED(status);
        worker->accept_paused = false;
    }
    if (killed)
        complete_deliveries(worker);
}

/* ---- draining ---- */

static void close_listeners(struct worker *worker)
{
    for (uint32_t i = 0; i < worker->child.hello.listener_count; i++)
        close(worker->child.listeners[i]);
    worker->child.hello.listener_count = 0;
}

static void retire(struct worker *worker)
{
    worker->retired = true;
    close_listeners(worker);
    child_send(&worker->child, CHILD_RETIRED);
}

static void start_draining(struct worker *worker)
{
    if (worker->draining)
        return;
    worker->draining = true;
    worker->drain_end_ms = now_ms() + worker->child.hello.drain_ms;
    close_listeners(worker);
}

static void kill_sessions(struct worker *worker)
{
    if (worker->session_count > 0)
        log_line(LOG_LEVEL_NOTICE, "%zu sessions are ended: drain_timeout is over",
                 worker->session_count);
    for (size_t i = 0; i < worker->session_count; i++)
        kill(worker->sessions[i], SIGKILL);
}

static void read_control(struct worker *worker)
{
    unsigned char message[CHILD_MESSAGE_MAX];
    struct child_log_level level;
    uint32_t type;
    long size = child_receive(&worker->child, message, NULL);

    if (size == -EAGAIN || size == -EINTR)
        return;
    if (size <= 0) { /* the supervisor is gone */
        start_draining(worker);
        close(worker->child.control_fd);
        worker->child.control_fd = -1;
        return;
    }
    memcpy(&type, message, sizeof(type));
    if (type == CHILD_PING)
        child_send(&worker->child, CHILD_ALIVE);
    else if (type == CHILD_RETIRE)
        retire(worker);
    else if (type == CHILD_DRAIN)
        start_draining(worker);
    if (type == CHILD_LOG_LEVEL && size == sizeof(level)) { /* of sessions that begin now */
        memcpy(&level, message, sizeof(level));
        log_set_level((enum log_level)level.level);
    }
}

/* ---- the loop ---- */

/* How long poll() may wait. */
static int wait_ms(const struct worker *worker)
{
    long long left;

    if (worker->draining) {
        left = worker->drain_end_ms - now_ms();
        return left > 0 ? (int)left : 0;
    }
    return worker->accept_paused ? ACCEPT_PAUSE_MS : -1;
}

/* One turn: waits, then does what there is to do. 0 or -errno. */
static int turn(struct worker *worker)
{
    uint32_t listeners = worker->accept_paused ? 0 : worker->child.hello.listener_count;
    struct pollfd pollers[2 + CHILD_FDS_MAX] = {
        { .fd = worker->child.control_fd, .events = POLLIN },
        { .fd = worker->signals, .events = POLLIN },
    };
    int count;

    for (uint32_t i = 0; i < listeners; i++)
        pollers[2 + i] = (struct pollfd){ .fd = worker->child.listeners[i], .events = POLLIN };
    count = poll(pollers, 2 + listeners, wait_ms(worker));
    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    if (count == 0)
        worker->accept_paused = false; /* try again */
    if (pollers[1].revents)
        reap_sessions(worker);
    for (uint32_t i = 0; i < listeners; i++)
        if (pollers[2 + i].revents)
            accept_sessions(worker, worker->child.listeners[i]);
    if (pollers[0].revents)
        read_control(worker);
    return 0;
}

static int serve(struct worker *worker)
{
    int r = 0;

    while (r == 0 && !((worker->draining || worker->retired) && worker->session_count == 0)) {
        r = turn(worker);
        if (worker->draining && now_ms() >= worker->drain_end_ms)
            break;
    }
    kill_sessions(worker);
    if (worker->child.control_fd >= 0)
        child_send(&worker->child, CHILD_DRAINED);
    return r;
}

/* ---- the start ---- */

/* The supervisor checked this text; an error here means that the two are of different minds. */
static void log_diagnostics(const struct diagnostics *diagnostics)
{
    char *text = NULL;
    size_t size;
    FILE *memory = open_memstream(&text, &size);

    if (!memory)
        return;
    diagnostics_print(diagnostics, memory);
    if (fclose(memory) == 0)
        log_line(LOG_LEVEL_ERROR, "the settings are not understood: %s", text);
    free(text);
}

static int parse_settings(const struct bundle *bundle, struct settings **ret_settings)
{
    struct diagnostics diagnostics;
    struct span text;
    int r;

    if (!bundle_find(bundle, "settings", 0, &text))
        return -EPROTO;
    diagnostics_init(&diagnostics);
    r = settings_load_text((const char *)text.data, text.size, "bundle", &diagnostics,
                           ret_settings);
    if (r == -EINVAL)
        log_diagnostics(&diagnostics);
    diagnostics_deinit(&diagnostics);
    return r;
}

/* Our backend, named with our socket, stands behind ports that tell what is spoken. */
static int find_protocol(struct worker *worker, const struct bundle *bundle)
{
    const struct settings *settings = worker->settings;
    struct span listener, name;

    if (!bundle_find(bundle, "listener", 0, &listener))
        return -EPROTO;
    name = span_take_word(&listener);
    for (size_t i = 0; i < settings->backend_count; i++)
        if (span_equal(name, span_of_text(settings->backends[i].name)))
            return settings_backend_protocol(settings, &settings->backends[i], &worker->protocol)
                       ? 0
                       : -EPROTO;
    return -EPROTO;
}

static int load_settings(struct worker *worker)
{
    struct bundle bundle;
    int r = bundle_read(worker->child.bundle_fd, &bundle);

    if (r < 0)
        return r;
    close(worker->child.bundle_fd);
    worker->child.bundle_fd = -1;
    r = parse_settings(&bundle, &worker->settings);
    if (r == 0)
        r = find_protocol(worker, &bundle);
    bundle_free(&bundle);
    if (r == 0)
        log_set_level((enum log_level)worker->settings->gatepost.log_level);
    return r;
}

static int watch_children(struct worker *worker)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -errno;
    worker->signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    return worker->signals < 0 ? -errno : 0;
}

static int prepare(struct worker *worker)
{
    int r = load_settings(worker);

    if (r == 0)
        r = worker_password_init();
    if (r == 0)
        r = watch_children(worker);
    if (r < 0)
        return r;
    for (uint32_t i = 0; i < worker->child.hello.listener_count; i++)
        if (fcntl(worker->child.listeners[i], F_SETFL, O_NONBLOCK) < 0)
            return -errno;
    if (worker->protocol == PROTOCOL_REMOTE && worker->program->remote_start)
        worker->program->remote_start(worker->settings);
    worker->session_limit = worker->settings->mailstore.max_sessions;
    worker->sessions = calloc(worker->session_limit, sizeof(*worker->sessions));
    return worker->sessions ? child_send(&worker->child, CHILD_READY) : -ENOMEM;
}

int worker_run(const struct worker_program *program)
{
    struct worker worker = { .program = program, .signals = -1 };
    int r;

    if (child_start(program->name, &worker.child) < 0)
        return 1;
    r = prepare(&worker);
    if (r == 0)
        r = serve(&worker);
    if (r < 0)
        log_line(LOG_LEVEL_ERROR, "ends: %s", err_text(r));
    settings_free(worker.settings);
    free(worker.sessions);
    free(worker.child.listeners);
    return r < 0 ? 1 : 0;
}

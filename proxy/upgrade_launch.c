/* Starting the next gatepost: by which path, with what.
 *
 * Happy path: the environment is written, then fork; sockets from descriptor 3 on, the channel
 * behind them, exec. What fails behind the fork is told on the channel. */
#include "proxy/upgrade_private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define EXEC_FAILED 127

/* -- the command line -- */

static char *program;    /* absolute; NULL: it is not known */
static char **arguments; /* argv of the next one */

void upgrade_forget_program(void)
{
    free(program);
    free(arguments);
    program = NULL;
    arguments = NULL;
}

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
    upgrade_forget_program();
    program = argc > 0 ? make_absolute(argv[0]) : NULL;
    arguments = program ? calloc((size_t)argc + 1, sizeof(char *)) : NULL;
    if (!arguments)
        return;
    memcpy(arguments, argv, (size_t)argc * sizeof(char *));
    arguments[0] = program;
}

const char *upgrade_program(void)
{
    return arguments ? program : NULL;
}

/* -- what the new process is given -- */

struct launch {
    char **environment;
    char *pid_digits; /* in the environment; of the process itself, known behind the fork */
    int fds[UPGRADE_SOCKETS_MAX];
    size_t count;
    int channel; /* its end */
};

/* False: they are too many; the new one will say that it is in use. */
static bool pass(struct launch *launch, FILE *names, int fd, const char *name)
{
    if (launch->count == UPGRADE_SOCKETS_MAX)
        return false;
    fprintf(names, "%s%s", launch->count > 0 ? ":" : "", name);
    launch->fds[launch->count++] = fd;
    return true;
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
        if (pass(launch, names, listener->fd, embedded_listener_kind(listener)))
            upgrade->embedded[upgrade->embedded_count++] = i;
    }
    upgrade->passed = launch->count;
}

static bool is_ours(const char *variable)
{
    static const char *const names[] = { "LISTEN_PID=",    "LISTEN_FDS=",    "LISTEN_FDNAMES=",
                                         "NOTIFY_SOCKET=", "WATCHDOG_USEC=", UPGRADE_CHANNEL "=" };

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
    fprintf(out, UPGRADE_CHANNEL "=%zu,%zu%c", UPGRADE_FIRST_FD + launch->count,
            supervisor->activation.count, '\0');
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
    struct upgrade_message message = { UPGRADE_NO_EXEC, -errno, { 0 } };

    send(channel, &message, UPGRADE_MESSAGE_HEAD, MSG_NOSIGNAL);
    _exit(EXEC_FAILED);
}

/* First out of the way of the numbers that they shall have, then to them. */
static _Noreturn void become(struct launch *launch)
{
    int above = UPGRADE_FIRST_FD + (int)launch->count + 1;
    int channel = fcntl(launch->channel, F_DUPFD_CLOEXEC, above);

    if (channel < 0)
        give_up(launch->channel);
    for (size_t i = 0; i < launch->count; i++) {
        launch->fds[i] = fcntl(launch->fds[i], F_DUPFD_CLOEXEC, above);
        if (launch->fds[i] < 0)
            give_up(channel);
    }
    for (size_t i = 0; i < launch->count; i++)
        if (dup2(launch->fds[i], UPGRADE_FIRST_FD + (int)i) < 0)
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

int upgrade_launch(struct supervisor *supervisor, int channel)
{
    struct launch launch = { .channel = channel };
    char *text = NULL;
    int r = prepare(supervisor, &launch, &text);

    if (r == 0)
        r = spawn(&launch);
    free(launch.environment);
    free(text);
    return r;
}

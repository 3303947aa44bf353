/* posix_spawn() of /bin/sh, and how it ended in words. */
#include "tools/fetch/shell.h"

#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

static int spawn(const char *command, const posix_spawn_file_actions_t *actions,
                 const posix_spawnattr_t *attributes, pid_t *ret_process)
{
    char *const arguments[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c",
                                (char *)(uintptr_t)command, NULL };

    return -posix_spawn(ret_process, "/bin/sh", actions, attributes, arguments, environ);
}

static int set_signals(posix_spawnattr_t *attributes)
{
    sigset_t none, all;

    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_setsigmask(attributes, &none);
    posix_spawnattr_setsigdefault(attributes, &all);
    return -posix_spawnattr_setflags(attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
}

/* `out` may be 2, and `in` any but 1: nothing is overwritten before it is used. */
static int set_descriptors(posix_spawn_file_actions_t *actions, int in, int out)
{
    int r = -posix_spawn_file_actions_adddup2(actions, in, STDIN_FILENO);

    if (r == 0)
        r = -posix_spawn_file_actions_adddup2(actions, out, STDOUT_FILENO);
    if (r == 0)
        r = -posix_spawn_file_actions_addclosefrom_np(actions, STDERR_FILENO + 1);
    return r;
}

/* Who has SIGCHLD ignored never learns how a child ended. */
static void want_children(void)
{
    struct sigaction action;

    if (sigaction(SIGCHLD, NULL, &action) == 0 && action.sa_handler == SIG_IGN)
        signal(SIGCHLD, SIG_DFL);
}

int shell_start(const char *command, int in, int out, pid_t *ret_process)
{
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int r = -posix_spawn_file_actions_init(&actions);

    if (r < 0)
        return r;
    r = -posix_spawnattr_init(&attributes);
    if (r == 0) {
        want_children();
        r = set_signals(&attributes);
        if (r == 0)
            r = set_descriptors(&actions, in, out);
        if (r == 0)
            r = spawn(command, &actions, &attributes, ret_process);
        posix_spawnattr_destroy(&attributes);
    }
    posix_spawn_file_actions_destroy(&actions);
    return r;
}

static void put_code(struct text *words, int code)
{
    text_printf(words, "it ended with code %d", code);
    if (code == 127)
        text_puts(words, " (there is no such command)");
    else if (code == 126)
        text_puts(words, " (it cannot be run)");
    else if (code == 75)
        text_puts(words, " (try again later)");
}

int shell_finish(pid_t process, struct text *words)
{
    int status;
    pid_t r;

    do
        r = waitpid(process, &status, 0);
    while (r < 0 && errno == EINTR);
    if (r < 0)
        text_puts(words, "nobody knows how it ended");
    else if (WIFSIGNALED(status))
        text_printf(words, "it was ended by signal %d (%s)", WTERMSIG(status),
                    strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) != 0)
        put_code(words, WEXITSTATUS(status));
    else
        return 0;
    return 1;
}

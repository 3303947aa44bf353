/* One line, from wherever it comes, octet by octet: nothing of it stays in a buffer, and what
 * follows it is left to others. */
#include "tools/fetch/password.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "tools/fetch/shell.h"

static int fail(char *into, int error, struct text *words, const char *what)
{
    explicit_bzero(into, PASSWORD_ROOM);
    text_puts(words, what);
    return error;
}

static int fail_with(char *into, int error, struct text *words, const char *what)
{
    explicit_bzero(into, PASSWORD_ROOM);
    text_printf(words, "%s: %s", what, err_text(error));
    return error;
}

/* One octet; `waiting`, where given, is the signal mask while there is none yet: a signal that
 * comes between two reads must not wait for a key. */
static ssize_t read_octet(int fd, const sigset_t *waiting, char *octet)
{
    struct pollfd poller = { .fd = fd, .events = POLLIN };

    if (waiting && ppoll(&poller, 1, NULL, waiting) < 0)
        return -1;
    return read(fd, octet, 1);
}

/* Reads up to a line end or the end of input. A CR before the line end is none of it. */
static int read_line(int fd, const sigset_t *waiting, char *into, struct text *words)
{
    size_t size = 0;
    ssize_t r;
    char octet;

    while ((r = read_octet(fd, waiting, &octet)) > 0 && octet != '\n') {
        if (size == PASSWORD_ROOM - 1)
            return fail(into, -EMSGSIZE, words, "the password is too long");
        if (octet == '\0')
            return fail(into, -EINVAL, words, "the password holds a NUL");
        into[size++] = octet;
    }
    if (r < 0)
        return fail_with(into, -errno, words, "the password cannot be read");
    if (size > 0 && into[size - 1] == '\r')
        size--;
    if (size == 0)
        return fail(into, -ENODATA, words, "the password is empty");
    memset(into + size, 0, PASSWORD_ROOM - size);
    explicit_bzero(&octet, 1);
    return 0;
}

int password_from_descriptor(int fd, char *into, struct text *words)
{
    int r = read_line(fd, NULL, into, words);

    close(fd);
    return r;
}

/* ---- from a command ---- */

/* A command that meets a closed pipe might fail for it. */
static void drain(int fd)
{
    char octets[256];
    ssize_t r;

    do
        r = read(fd, octets, sizeof(octets));
    while (r > 0 || (r < 0 && errno == EINTR));
    explicit_bzero(octets, sizeof(octets));
}

int password_from_command(const char *command, char *into, struct text *words)
{
    char ended_room[96], line_room[96];
    struct text ended = TEXT_OVER(ended_room), line = TEXT_OVER(line_room);
    int ends[2], r;
    pid_t process;

    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail_with(into, -errno, words, "the password command cannot be run");
    r = shell_start(command, STDIN_FILENO, ends[1], &process);
    close(ends[1]);
    if (r < 0) {
        close(ends[0]);
        return fail_with(into, r, words, "the password command cannot be run");
    }
    r = read_line(ends[0], NULL, into, &line);
    drain(ends[0]);
    close(ends[0]);
    if (shell_finish(process, &ended) != 0) {
        text_puts(words, "the password command failed: ");
        return fail(into, -ECHILD, words, text_str(&ended));
    }
    text_put(words, text_span(&line));
    return r;
}

/* ---- from the terminal ---- */

static const int caught[] = { SIGALRM, SIGHUP,  SIGINT,  SIGPIPE, SIGQUIT,
                              SIGTERM, SIGTSTP, SIGTTIN, SIGTTOU };
#define CAUGHT (sizeof(caught) / sizeof(caught[0]))

static volatile sig_atomic_t arrived[CAUGHT];

static void note(int number)
{
    for (size_t i = 0; i < CAUGHT; i++)
        if (caught[i] == number)
            arrived[i] = 1;
}

static bool has_arrived(int number)
{
    for (size_t i = 0; i < CAUGHT; i++)
        if (caught[i] == number)
            return arrived[i];
    return false;
}

/* Without SA_RESTART, so that waiting ends. What is ignored stays so. They are let through only
 * while there is nothing to read; but the last two, which what we do to the terminal raises itself.
 */
static void catch_signals(struct sigaction before[CAUGHT], sigset_t *ret_mask)
{
    struct sigaction action = { .sa_handler = note };
    sigset_t blocked;

    sigemptyset(&action.sa_mask);
    sigemptyset(&blocked);
    for (size_t i = 0; i < CAUGHT; i++)
        if (caught[i] != SIGTTIN && caught[i] != SIGTTOU)
            sigaddset(&blocked, caught[i]);
    sigprocmask(SIG_BLOCK, &blocked, ret_mask);
    for (size_t i = 0; i < CAUGHT; i++) {
        arrived[i] = 0;
        sigaction(caught[i], &action, &before[i]);
        if (before[i].sa_handler == SIG_IGN)
            sigaction(caught[i], &before[i], NULL);
    }
}

enum after_signals { NO_SIGNAL, STOPPED, INTERRUPTED };

/* Sends itself what came meanwhile. Who comes back from a stop asks anew. */
static enum after_signals pass_signals(const struct sigaction before[CAUGHT], const sigset_t *mask)
{
    enum after_signals result = NO_SIGNAL;

    for (size_t i = 0; i < CAUGHT; i++)
        sigaction(caught[i], &before[i], NULL);
    for (size_t i = 0; i < CAUGHT; i++) {
        if (!arrived[i])
            continue;
        kill(getpid(), caught[i]);
        if (caught[i] != SIGTSTP && caught[i] != SIGTTIN && caught[i] != SIGTTOU)
            result = INTERRUPTED;
        else if (result == NO_SIGNAL)
            result = STOPPED;
    }
    sigprocmask(SIG_SETMASK, mask, NULL);
    return result;
}

/* A background process gets SIGTTOU instead. */
static int set_terminal(int terminal, const struct termios *mode)
{
    while (tcsetattr(terminal, TCSAFLUSH, mode) < 0)
        if (errno != EINTR || has_arrived(SIGTTOU))
            return -errno;
    return 0;
}

static void say(int terminal, const char *text)
{
    ssize_t r = write(terminal, text, strlen(text));

    (void)r; /* who cannot be asked will not answer */
}

/* One try, with the terminal as it was at its end. */
static int ask_once(int terminal, const char *prompt, const sigset_t *waiting, char *into,
                    struct text *words)
{
    struct termios before, silent;
    int r;

    if (tcgetattr(terminal, &before) < 0)
        return fail_with(into, -errno, words, "the terminal");
    silent = before;
    silent.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    r = set_terminal(terminal, &silent);
    if (r < 0)
        return fail_with(into, r, words, "the terminal");
    say(terminal, prompt);
    r = read_line(terminal, waiting, into, words);
    say(terminal, "\n");
    set_terminal(terminal, &before);
    return r;
}

int password_ask(const char *prompt, char *into, struct text *words)
{
    int terminal = open("/dev/tty", O_RDWR | O_CLOEXEC | O_NOCTTY), r;
    enum after_signals after;

    if (terminal < 0)
        return fail(into, -ENXIO, words, "there is no terminal to ask for the password");
    do {
        struct sigaction before[CAUGHT];
        sigset_t mask;
        size_t said = words->size;

        catch_signals(before, &mask);
        r = ask_once(terminal, prompt, &mask, into, words);
        after = pass_signals(before, &mask);
        if (after != NO_SIGNAL)
            words->size = said;
    } while (after == STOPPED);
    close(terminal);
    return after == INTERRUPTED ? fail(into, -EINTR, words, "interrupted") : r;
}

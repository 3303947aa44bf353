/* gatepost-user: adds, changes, removes and lists the users of the embedded mail store.
 *
 * Happy path: the store is found in gatepost.ini (or named), the program becomes the store's owner,
 * reads a password from the terminal, standard input or a descriptor (never from the command line,
 * which everybody can see), and changes the users file. Fails with one line on standard error: 1
 * for what cannot be done, 64 for a wrong command line, 78 for a wrong gatepost.ini. */
#include <argp.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "backends/maildir.h"
#include "backends/users.h"
#include "conf/settings.h"
#include "gatepost_build.h"
#include "proxy/base/err.h"

#define PASSWORD_ROOM 1024 /* octets; crypt(3) takes 511, and what is longer must be noticed */

enum action { ACTION_NONE, ACTION_ADD, ACTION_PASSWORD, ACTION_DELETE, ACTION_LIST };

struct options {
    const char *config; /* gatepost.ini */
    const char *store;  /* instead of it */
    int password_fd;    /* -1: terminal or standard input */
    enum action action;
    const char *name; /* as typed */
};

static int complain(const char *subject, const char *words)
{
    fprintf(stderr, "gatepost-user: %s: %s\n", subject, words);
    return EXIT_FAILURE;
}

/* ---- the command line ---- */

enum { OPTION_STORE = 1000, OPTION_PASSWORD_FD };

static enum action action_named(const char *word)
{
    static const char *const words[] = { "", "add", "passwd", "del", "list" };

    for (enum action action = ACTION_ADD; action <= ACTION_LIST; action++)
        if (strcmp(word, words[action]) == 0)
            return action;
    return ACTION_NONE;
}

static void take_argument(struct options *options, const char *word, struct argp_state *state)
{
    if (options->action == ACTION_NONE) {
        options->action = action_named(word);
        if (options->action == ACTION_NONE)
            argp_error(state, "%s: not add, passwd, del or list", word);
    } else if (!options->name && options->action != ACTION_LIST) {
        options->name = word;
    } else { /* it may be a password: not repeated */
        argp_error(state, "too many arguments; a password is never one of them");
    }
}

static void check_arguments(const struct options *options, struct argp_state *state)
{
    if (options->action == ACTION_NONE)
        argp_usage(state);
    else if (options->action != ACTION_LIST && !options->name)
        argp_error(state, "whose name?");
}

static int parse_descriptor(const char *value, struct argp_state *state)
{
    uint64_t fd = 0;

    if (!span_parse_u64(span_of_text(value), &fd) || fd > 1 << 20)
        argp_error(state, "%s: not the number of a descriptor", value);
    return (int)fd;
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'c':
        options->config = value;
        return 0;
    case OPTION_STORE:
        options->store = value;
        return 0;
    case OPTION_PASSWORD_FD:
        options->password_fd = parse_descriptor(value, state);
        return 0;
    case ARGP_KEY_ARG:
        take_argument(options, value, state);
        return 0;
    case ARGP_KEY_END:
        check_arguments(options, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_table[] = {
    { "config", 'c', "FILE", 0, "gatepost.ini (default: /etc/gatepost/gatepost.ini)", 0 },
    { "store", OPTION_STORE, "DIR", 0, "Folder of the mail; no gatepost.ini is read", 0 },
    { "password-fd", OPTION_PASSWORD_FD, "N", 0, "Read the password from descriptor N", 0 },
    { 0 },
};

/* ---- the store ---- */

static int make_store(const char *store, const char *owner)
{
    const struct passwd *account;

    if (mkdir(store, 0700) < 0)
        return errno == EEXIST ? 0 : -errno;
    account = owner && geteuid() == 0 ? getpwnam(owner) : NULL;
    if (account && chown(store, account->pw_uid, account->pw_gid) < 0)
        return -errno;
    return 0;
}

/* The owner of the store could put a symbolic link in the way of a program that runs as root; so
 * root becomes the owner first. The store is the current folder then: its own path may lead through
 * folders that the owner cannot enter. */
static int enter_store(const char *store)
{
    struct stat status;

    if (chdir(store) < 0 || stat(".", &status) < 0)
        return -errno;
    umask(077);
    if (geteuid() != 0 || status.st_uid == 0)
        return 0;
    if (setgroups(0, NULL) < 0 || setresgid(status.st_gid, status.st_gid, status.st_gid) < 0 ||
        setresuid(status.st_uid, status.st_uid, status.st_uid) < 0)
        return -errno;
    return 0;
}

/* ---- the password ---- */

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number)
{
    interrupted = number;
}

/* Reads the first line from `fd`, octet by octet: what follows is not ours. Its length, or -errno.
 */
static long read_line(int fd, char room[PASSWORD_ROOM])
{
    long size = 0;

    while (size < PASSWORD_ROOM) {
        ssize_t count = read(fd, room + size, 1);

        if (count < 0)
            return -errno;
        if (count == 0 || room[size] == '\n')
            return size;
        size++;
    }
    return -E2BIG;
}

/* Waits for a line, or for the interrupt, which is let in here only: elsewhere it could slip
 * between a look at `interrupted` and the wait. */
static long read_typed_line(const sigset_t *mask, char room[PASSWORD_ROOM])
{
    struct pollfd terminal = { .fd = STDIN_FILENO, .events = POLLIN };

    while (ppoll(&terminal, 1, NULL, mask) < 0)
        if (errno != EINTR || interrupted)
            return -errno;
    return read_line(STDIN_FILENO, room);
}

static long prompt_hidden(const char *words, char room[PASSWORD_ROOM], const sigset_t *mask)
{
    struct termios visible, hidden;
    long size;

    if (tcgetattr(STDIN_FILENO, &visible) < 0)
        return -errno;
    hidden = visible;
    hidden.c_lflag &= ~(tcflag_t)ECHO;
    if (tcsetattr(STDIN_FILENO, TCSAFLUSH, &hidden) < 0)
        return -errno;
    fputs(words, stderr);
    size = read_typed_line(mask, room);
    tcsetattr(STDIN_FILENO, TCSAFLUSH, &visible);
    fputs("\n", stderr);
    return size;
}

/* An interrupt ends the question, and leaves no terminal without echo. */
static long prompt(const char *words, char room[PASSWORD_ROOM])
{
    struct sigaction catch_it = { .sa_handler = on_interrupt }, before;
    sigset_t interrupt, mask;
    long size;

    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &mask);
    sigaction(SIGINT, &catch_it, &before);
    size = prompt_hidden(words, room, &mask);
    sigaction(SIGINT, &before, NULL);
    sigprocmask(SIG_SETMASK, &mask, NULL);
    return size;
}

static long prompt_twice(char room[PASSWORD_ROOM])
{
    char again[PASSWORD_ROOM];
    long size = prompt("Password: ", room), size_again;

    if (size < 0)
        return size;
    size_again = prompt("Again: ", again);
    if (size_again >= 0 && (size != size_again || memcmp(room, again, (size_t)size) != 0)) {
        fputs("The two differ.\n", stderr);
        size = -EINVAL;
    }
    explicit_bzero(again, sizeof(again));
    return size_again < 0 ? size_again : size;
}

static long read_password(const struct options *options, char room[PASSWORD_ROOM])
{
    if (options->password_fd >= 0)
        return read_line(options->password_fd, room);
    return isatty(STDIN_FILENO) ? prompt_twice(room) : read_line(STDIN_FILENO, room);
}

/* ---- the actions ---- */

static void print_name(const char *name, void *context)
{
    (void)context;
    puts(name);
}

static int list_users(void)
{
    int r = users_list(".", print_name, NULL);

    if (r < 0 && r != -ENOENT) /* no user was ever added */
        return complain("the users file", err_text(r));
    return fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* Says how it went. */
static int report(const char *name, int result)
{
    if (result == USERS_OK)
        return EXIT_SUCCESS;
    if (result == USERS_EXISTS)
        return complain(name, "exists already; passwd changes the password");
    if (result == USERS_UNKNOWN)
        return complain(name, "no such user");
    if (result == -EINVAL)
        return complain(name, "a password has 1 to 511 octets and no NUL");
    return complain(name, err_text(result));
}

static int change_password(const struct options *options, const char *name)
{
    char room[PASSWORD_ROOM];
    long size = read_password(options, room);
    struct span password = span_of(room, size > 0 ? (size_t)size : 0);
    int r;

    if (size < 0) {
        explicit_bzero(room, sizeof(room));
        return complain("no password", err_text((int)size));
    }
    r = options->action == ACTION_ADD ? users_add(".", name, password)
                                      : users_set_password(".", name, password);
    explicit_bzero(room, sizeof(room));
    if (r == USERS_OK && options->action == ACTION_ADD) {
        r = maildir_create(".", name);
        if (r < 0)
            return complain("the user is added, but its Maildir is not made", err_text(r));
        r = USERS_OK;
    }
    return report(name, r);
}

static int run_action(const struct options *options, const char *default_domain)
{
    char name[USER_NAME_MAX + 1];

    if (options->action == ACTION_LIST)
        return list_users();
    if (users_normalize(span_of_text(options->name), default_domain, name) != USERS_OK)
        return complain(options->name, "no valid name; it is local@domain");
    if (options->action == ACTION_DELETE)
        return report(name, users_delete(".", name));
    return change_password(options, name);
}

static int run_in(const struct options *options, const char *store, const char *owner,
                  const char *default_domain)
{
    int r = make_store(store, owner);

    if (r == 0)
        r = enter_store(store);
    return r < 0 ? complain(store, err_text(r)) : run_action(options, default_domain);
}

static int run_configured(const struct options *options)
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;
    int r;

    diagnostics_init(&diagnostics);
    r = settings_load_file(options->config, &diagnostics, &settings);
    if (r < 0)
        diagnostics_print(&diagnostics, stderr); /* warnings are gatepost's to tell */
    diagnostics_deinit(&diagnostics);
    if (r < 0)
        return EX_CONFIG;
    r = run_in(options, settings->mailstore.path, settings->gatepost.mail_user,
               settings->mailstore.domains.items[0]);
    settings_free(settings);
    return r;
}

int main(int argc, char **argv)
{
    static const struct argp arguments = {
        .options = option_table,
        .parser = parse_option,
        .args_doc = "add NAME\npasswd NAME\ndel NAME\nlist",
        .doc = "Adds, changes, removes and lists the users of Gatepost's own mail store.\v"
               "The password is asked for, or is the first line of standard input. NAME without a "
               "domain is in the first of [mailstore] domains. The mail of a removed user stays.",
    };
    struct options options = { .config = "/etc/gatepost/gatepost.ini", .password_fd = -1 };

    argp_program_version = "gatepost-user " GATEPOST_VERSION;
    argp_parse(&arguments, argc, argv, 0, NULL, &options);
    return options.store ? run_in(&options, options.store, NULL, NULL) : run_configured(&options);
}

/* The program gatepost: command line, and which of its parts this process is.
 *
 * The files of this folder, by what they know:
 *
 *   the privileged side  supervisor.c           children and signals
 *                        supervisor_open.c      what is opened at the start; ticket keys
 *                        supervisor_end.c       drain, and leaving after an upgrade
 *                        reload.c, reload_*.c   another configuration is put in use
 *                        generation.c           what one configuration opens
 *                        bundle_changes.c       in what two differ, in words
 *                        certificate_watch.c    folders of certificates; file_stamps.c
 *                        address_slots.c        health slots over reloads
 *                        configuration.c        settings, PEM files and accounts, put into bundles
 *                        privileges.c           `user`, `mail_user`, `groups` looked up
 *                        folders.c              state, runtime and mail folders made
 *                        listener_set.c         public ports bound
 *                        listener_set_embedded.c  sockets of the embedded workers bound
 *                        activation.c           sockets that the service manager passes
 *                        notify.c               what it is told; watchdog.c: do all live
 *                        upgrade.c, upgrade_*.c another gatepost takes over
 *                        port_owner.c           who holds a port that is in use
 *                        children.c             restart with back-off, who is ready
 *                        control.c              one child: fork and exec, messages, log lines
 *                        operator.c             the control socket of gatepostctl; operator_*.c
 *                        bulletin.c             what workers are told when it changes
 *                        resolver.c             host names of servers, looked up again and again
 *                        route_watch.c          the maps of routes, read again when they change
 *                        log_sink.c             where the log goes: terminal, journal, syslog;
 *                                               log_form.c: how it looks there
 *   a worker             server.c               its loop, listeners, drain
 *                        accept.c               clients taken, or refused (refusal.c); listener.c
 *                        snapshot.c             one configuration as a worker uses it
 *                        session.c              a session's life; session_table.c: its events
 *                        session_begin.c        PROXY, DETECT
 *                        session_front.c        NEGOTIATE, LEARN, HANDSHAKE
 *                        session_route.c        which server, by who logs in; login.c reads that
 *                        session_connect.c      CONNECT; greet.c, greet_xclient.c, identity.c
 *                        relay.c                RELAY, through inspect_smtp.c or inspect_pop3.c
 *                        session_log.c          what the log hears of a session; log_words.c
 *                        worker_report.c        what the operator asks; session_kick.c: ends
 *                        backend.c              its addresses, and which serves a session
 *                        backend_health.c       in service or out; address.c, health.c, policy.c
 *                        backend_list.c         what it can do
 *                        backend_learn.c        the dialogue by which one is learned and checked
 *                        negotiate.c            the dialogue before a server is needed; dialect_*.c
 *                        proxy_header.c         who a balancer says the client is; network.c
 *                        detect.c, hints.c, limits.c, capabilities.c, message_scan.c   pure
 *                        stream.c, tls.c, tls_*.c, tickets.c   octets, TLS
 *                        stats.h                its counters; allocations.c
 *   the check            check_user.c           -t: as whom
 *                        probe.c                -t --probe: asks every server; probe_report.c
 *   shared by both       base/                  spans, text, log, bundle, start of a child
 *
 * Exit codes are those of sysexits.h (supervisor.h): 64 usage, 69 port in use, 78 configuration. */
#include <argp.h>
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "gatepost_build.h"
#include "conf/settings_json.h"
#include "proxy/allocations.h"
#include "proxy/base/child.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/check_user.h"
#include "proxy/configuration.h"
#include "proxy/probe.h"
#include "proxy/server.h"
#include "proxy/supervisor.h"
#include "proxy/upgrade.h"

#define DEFAULT_PATH "/etc/gatepost/gatepost.ini"

enum option_key { OPTION_WORKER = 0x100, OPTION_PROBE, OPTION_JSON };

/* The first word that is no option. */
enum command { COMMAND_NONE, COMMAND_EXPLAIN, COMMAND_CONFIG };

struct options {
    const char *path;
    enum command command;
    const char *explain; /* the key */
    bool check, probe, worker, only_changed, json;
};

const char *argp_program_version = "gatepost " GATEPOST_VERSION;

static void take_argument(struct options *options, char *argument, struct argp_state *state)
{
    if (state->arg_num == 0 && strcmp(argument, "explain") == 0)
        options->command = COMMAND_EXPLAIN;
    else if (state->arg_num == 0 && strcmp(argument, "config") == 0)
        options->command = COMMAND_CONFIG;
    else if (state->arg_num == 1 && options->command == COMMAND_EXPLAIN)
        options->explain = argument;
    else
        argp_error(state, "unknown argument: %s", argument);
}

static void check_options(const struct options *options, struct argp_state *state)
{
    if (options->probe && !options->check)
        argp_error(state, "--probe goes with -t: gatepost -t --probe");
    if (options->command == COMMAND_EXPLAIN && !options->explain)
        argp_error(state, "explain what? gatepost explain KEY");
    if ((options->only_changed || options->json) && options->command != COMMAND_CONFIG)
        argp_error(state, "-n and --json go with config: gatepost config -n");
    if (options->check && options->command != COMMAND_NONE)
        argp_error(state, "-t stands alone: gatepost -t");
}

static error_t parse_option(int key, char *argument, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'c':
        options->path = argument;
        return 0;
    case OPTION_PROBE:
        options->probe = true;
        return 0;
    case 't':
        options->check = true;
        return 0;
    case OPTION_WORKER:
        options->worker = true;
        return 0;
    case 'n':
        options->only_changed = true;
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case ARGP_KEY_ARG:
        take_argument(options, argument, state);
        return 0;
    case ARGP_KEY_END:
        check_options(options, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_table[] = {
    { "config", 'c', "FILE", 0, "Read settings from FILE (default " DEFAULT_PATH ")", 0 },
    { "test", 't', NULL, 0, "Check the settings, certificates and users, tell all faults, and exit",
      0 },
    { "probe", OPTION_PROBE, NULL, 0,
      "With -t: also ask every server what it can do, and tell what clients are offered", 0 },
    { NULL, 'n', NULL, 0, "With config: only what differs from the defaults", 0 },
    { "json", OPTION_JSON, NULL, 0, "With config: as JSON", 0 },
    { "worker", OPTION_WORKER, NULL, OPTION_HIDDEN, NULL, 0 },
    { NULL, 0, NULL, 0, NULL, 0 },
};

static const struct argp argp = {
    .options = option_table,
    .parser = parse_option,
    .args_doc = "\nconfig [-n] [--json]\nexplain KEY",
    .doc =
        "Stands in front of mail servers and owns the six ports that mail programs try."
        "\vgatepost config shows the settings that are in effect, and which file and line each "
        "comes "
        "from. gatepost explain KEY tells what a setting means: section, type, default, range. "
        "TERM lets running sessions end first; a second TERM ends at once. USR2 starts the program "
        "that is there now, and lets it take over.",
};

/* A descriptor below 3 that is closed would be taken by the first socket that is opened. */
static void hold_standard_descriptors(void)
{
    int fd;

    do
        fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

static int run_worker(void)
{
    static char name[32] = "worker";
    struct child child;
    int code;

    allocations_begin();
    if (child_start(name, &child) < 0)
        return EX_SOFTWARE;
    snprintf(name, sizeof(name), "worker %u", child.hello.index);
    code = server_run(&child);
    free(child.listeners);
    return code;
}

/* An exit code. */
static int probe(const struct configuration *configuration)
{
    int r = probe_run(configuration, stdout);

    if (r < 0)
        fprintf(stderr, "gatepost: the servers cannot be asked: %s\n", err_text(r));
    return r < 0 ? EX_OSERR : r > 0 ? EX_UNAVAILABLE : EX_OK;
}

/* Before anything is read: what the Gatepost that runs may not read shall be told. */
static void become_who_reads(const char *path)
{
    const struct passwd *entry;
    uid_t uid;
    int r = check_user_become(path, &uid);

    if (r < 0)
        fprintf(stderr,
                "gatepost: checked as root, not as the user of the Gatepost that runs: %s\n",
                err_text(r));
    if (r <= CHECK_USER_OWN)
        return;
    entry = getpwuid(uid);
    fprintf(stderr, "gatepost: checked as %suser %s (%u), as whom Gatepost runs\n",
            r == CHECK_USER_CHANGED ? "" : "root: the file cannot be read by ",
            entry ? entry->pw_name : "without a name", (unsigned)uid);
}

static int check(const char *path, bool with_probe)
{
    struct diagnostics diagnostics;
    struct configuration configuration;
    int r, code = EX_CONFIG;

    become_who_reads(path);
    diagnostics_init(&diagnostics);
    r = configuration_load(path, NULL, &diagnostics, &configuration);
    diagnostics_print(&diagnostics, stderr);
    if (r == 0) {
        listener_set_tell_closed(configuration.settings, NULL);
        printf("%s: good", path);
        if (diagnostics.warnings > 0)
            printf(" (%zu warning%s)", diagnostics.warnings, diagnostics.warnings == 1 ? "" : "s");
        printf("\n");
        code = with_probe ? probe(&configuration) : EX_OK;
        configuration_deinit(&configuration);
    } else {
        fprintf(stderr, "%s: ", path);
        diagnostics_print_count(&diagnostics, stderr);
        fputc('\n', stderr);
    }
    diagnostics_deinit(&diagnostics);
    check_user_return();
    return code;
}

static int show_config(const struct options *options)
{
    struct diagnostics diagnostics;
    struct settings *settings = NULL;
    int r;

    diagnostics_init(&diagnostics);
    r = settings_load_file(options->path, &diagnostics, &settings);
    if (r < 0) /* of warnings, -t is the one to ask */
        diagnostics_print(&diagnostics, stderr);
    diagnostics_deinit(&diagnostics);
    if (r < 0)
        return EX_CONFIG;
    r = (options->json ? settings_print_json
                       : settings_print_origins)(settings, options->only_changed, stdout);
    settings_free(settings);
    if (r < 0)
        fprintf(stderr, "gatepost: the settings cannot be written: %s\n", err_text(r));
    return r < 0 ? EX_IOERR : EX_OK;
}

static int run_supervisor(const char *path)
{
    struct diagnostics diagnostics;
    struct configuration configuration;
    int r;

    diagnostics_init(&diagnostics);
    r = configuration_load(path, NULL, &diagnostics, &configuration);
    diagnostics_print(&diagnostics, stderr);
    diagnostics_deinit(&diagnostics);
    if (r < 0)
        return EX_CONFIG;
    r = supervisor_run(path, &configuration);
    configuration_deinit(&configuration);
    return r;
}

int main(int argc, char **argv)
{
    struct options options = { .path = DEFAULT_PATH };

    hold_standard_descriptors();
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    if (options.worker)
        return run_worker();
    if (options.command == COMMAND_EXPLAIN)
        return settings_explain(options.explain, stdout) == 0 ? EX_OK : EX_USAGE;
    if (options.command == COMMAND_CONFIG)
        return show_config(&options);
    if (options.check)
        return check(options.path, options.probe);
    umask(0077); /* modes of folders and sockets are set on purpose */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file too large is an error of its write */
    upgrade_remember(argc, argv);
    return run_supervisor(options.path);
}

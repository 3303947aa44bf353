/* gatepostctl: looks at a gatepost that runs, and tells it what to do.
 *
 *   ctl.c         the command line, from request to exit code
 *   ctl_ask.c     which socket; one request, one answer
 *   ctl_merge.c   the workers' answers put together
 *   ctl_show.c    what is printed for people; ctl_table.c: tables
 *
 * Happy path: the request is made from the command line, the supervisor answers, tables or JSON are
 * printed. Exit codes are those of sysexits.h: 64 usage, 69 gatepost is not running, 70 it could
 * not do it, 75 it is busy, 77 no permission, 78 the settings are at fault; 1 where kick finds
 * nobody. */
#include <argp.h>
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "gatepost_build.h"
#include "proxy/base/err.h"
#include "proxy/base/span.h"
#include "tools/ctl_ask.h"
#include "tools/ctl_merge.h"
#include "tools/ctl_show.h"

#define PATIENCE_S   15 /* more than the workers have for their answers */
#define NOBODY_FOUND 1

enum { OPTION_JSON = 0x100, OPTION_USER, OPTION_PORT, OPTION_FROM };

struct options {
    const char *config, *socket;
    bool json;
    const char *command, *argument;
    const char *user, *port, *from;
};

const char *argp_program_version = "gatepostctl " GATEPOST_VERSION;

/* The commands: whether they take an argument, choose sessions, and may take their time. */
static const struct command {
    const char *name;
    bool argument, chooses, long_lasting;
} commands[] = {
    { "status", false, false, false }, { "who", false, true, false },
    { "kick", true, true, false },     { "backends", false, false, false },
    { "drain", true, false, false },   { "reload", false, false, true },
    { "upgrade", false, false, true }, { "stats", false, false, false },
    { "log", true, false, false },
};

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* -- the command line -- */

static void take_argument(struct options *options, const char *word, struct argp_state *state)
{
    if (!options->command) {
        if (!find_command(word))
            argp_error(state, "there is no command %s", word);
        options->command = word;
        return;
    }
    if (options->argument || !find_command(options->command)->argument)
        argp_error(state, "too many arguments: %s", word);
    options->argument = word;
}

static void check_options(const struct options *options, struct argp_state *state)
{
    const struct command *command = options->command ? find_command(options->command) : NULL;
    bool chosen = options->user || options->port || options->from;

    if (!command) {
        argp_usage(state);
        return;
    }
    if (chosen && !command->chooses)
        argp_error(state, "--user, --port and --from go with who and kick");
    if (strcmp(command->name, "kick") == 0 && !chosen && !options->argument)
        argp_error(state, "whose session? kick ID, kick --user NAME or kick --from ADDRESS");
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'c':
        options->config = value;
        return 0;
    case 's':
        options->socket = value;
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case OPTION_USER:
        options->user = value;
        return 0;
    case OPTION_PORT:
        options->port = value;
        return 0;
    case OPTION_FROM:
        options->from = value;
        return 0;
    case ARGP_KEY_ARG:
        take_argument(options, value, state);
        return 0;
    case ARGP_KEY_END:
        check_options(options, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static const struct argp_option option_table[] = {
    { "config", 'c', "FILE", 0, "gatepost.ini, which names the socket (default " CTL_CONFIG ")",
      0 },
    { "socket", 's', "PATH", 0, "The control socket; no gatepost.ini is read", 0 },
    { "json", OPTION_JSON, NULL, 0, "Print JSON", 0 },
    { "user", OPTION_USER, "NAME", 0, "who, kick: sessions of this user", 0 },
    { "port", OPTION_PORT, "NAME", 0, "who, kick: sessions of this port, by name or number", 0 },
    { "from", OPTION_FROM, "ADDRESS", 0,
      "who, kick: sessions of clients from this address or network", 0 },
    { 0 },
};

static const struct argp argp = {
    .options = option_table,
    .parser = parse_option,
    .args_doc =
        "status\nwho\nkick [ID]\nbackends\nstats\nreload\nupgrade\ndrain [WORKER]\nlog [LEVEL]",
    .doc = "Looks at a gatepost that runs, and tells it what to do.\v"
           "status: ports, processes, servers. who: sessions. kick: ends sessions. backends: "
           "servers, and what they can do. stats: counters. reload: reads the settings again. "
           "upgrade: starts the program anew, which takes over. "
           "drain: takes nobody new, and ends (one worker, or all of gatepost). log: how much is "
           "logged, until a reload.",
};

/* -- the request -- */

/* False, and told: the value is no text in UTF-8. Nothing is asked then: less would be chosen. */
static bool set_text(json_t *request, const char *key, const char *value)
{
    if (!value || json_object_set_new(request, key, json_string(value)) == 0)
        return true;
    ctl_complain("%s is no text in UTF-8", key);
    return false;
}

/* "0" or "worker 0". False, and told: it is neither. */
static bool set_worker(json_t *request, const char *word)
{
    uint64_t number;

    if (strncmp(word, "worker ", 7) == 0)
        word += 7;
    if (!span_parse_u64(span_of_text(word), &number) || number > 1000) {
        ctl_complain("%s: not the number of a worker", word);
        return false;
    }
    return json_object_set_new(request, "worker", json_integer((json_int_t)number)) == 0;
}

/* NULL: the options are no request; told. */
static json_t *make_request(const struct options *options)
{
    json_t *request = json_object();
    bool good = set_text(request, "command", options->command) &&
                set_text(request, "user", options->user) &&
                set_text(request, "port", options->port) &&
                set_text(request, "from", options->from);

    if (good && strcmp(options->command, "kick") == 0)
        good = set_text(request, "id", options->argument);
    else if (good && strcmp(options->command, "log") == 0)
        good = set_text(request, "level", options->argument);
    else if (good && options->argument)
        good = set_worker(request, options->argument);
    if (good)
        return request;
    json_decref(request);
    return NULL;
}

/* -- the answer -- */

static int code_of_error(const char *error)
{
    static const struct {
        const char *error;
        int code;
    } codes[] = {
        { "request", EX_USAGE },
        { "permission", EX_NOPERM },
        { "busy", EX_TEMPFAIL },
        { "configuration", EX_CONFIG },
    };

    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++)
        if (strcmp(codes[i].error, error) == 0)
            return codes[i].code;
    return EX_SOFTWARE;
}

static void print_json(const json_t *document)
{
    json_dumpf(document, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
    putchar('\n');
}

static int tell_error(const json_t *document, const char *error)
{
    const char *words = json_string_value(json_object_get(document, "words"));

    ctl_put_lines(words && *words ? words : error, "gatepostctl: ", stderr);
    return code_of_error(error);
}

/* Who has not answered may have sessions that are not listed, or not ended. */
static void tell_missing(const json_t *document)
{
    const json_t *missing = json_object_get(document, "missing"), *name;
    size_t i;

    json_array_foreach(missing, i, name)
    {
        ctl_complain("%s does not answer", json_string_value(name) ? json_string_value(name) : "?");
    }
}

static int kick_code(const json_t *document)
{
    if (json_array_size(json_object_get(document, "missing")) > 0)
        return EX_TEMPFAIL;
    if (json_array_size(json_object_get(document, "ended")) +
            json_array_size(json_object_get(document, "later")) >
        0)
        return EX_OK;
    ctl_complain("there is no such session");
    return NOBODY_FOUND;
}

/* The next command is for the new process: its socket takes the place of the other's. */
static int await_successor(const char *path)
{
    if (ctl_await(path, PATIENCE_S) < 0)
        ctl_complain("nobody listens on %s yet: the log tells why", path);
    return EX_OK;
}

static int show(const struct options *options, const json_t *document)
{
    const char *error = json_string_value(json_object_get(document, "error"));
    int r = 0;

    if (options->json)
        print_json(document);
    else if (!error)
        r = ctl_show(document);
    if (error)
        return tell_error(document, error);
    if (r < 0) {
        ctl_complain("%s", err_text(r));
        return EX_OSERR;
    }
    tell_missing(document);
    return strcmp(options->command, "kick") == 0 ? kick_code(document) : EX_OK;
}

static int run(const struct options *options)
{
    json_t *request = make_request(options), *answer, *document;
    char path[256];
    int code;

    if (!request)
        return EX_USAGE;
    code = ctl_socket_path(options->socket, options->config, path, sizeof(path));
    if (code == 0)
        code = ctl_ask(path, request, find_command(options->command)->long_lasting ? 0 : PATIENCE_S,
                       &answer);
    json_decref(request);
    if (code != 0)
        return code;
    document = ctl_merge(answer);
    code = show(options, document);
    if (code == EX_OK && strcmp(options->command, "upgrade") == 0)
        code = await_successor(path);
    json_decref(document);
    json_decref(answer);
    return fflush(stdout) == 0 || code != EX_OK ? code : EX_IOERR;
}

int main(int argc, char **argv)
{
    struct options options = { .config = CTL_CONFIG };

    setlocale(LC_CTYPE, "");
    argp_parse(&argp, argc, argv, 0, NULL, &options);
    return run(&options);
}

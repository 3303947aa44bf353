/* The load generator's command line. */
#include "tools/bench/load_options.h"

#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "proxy/base/span.h"

enum {
    KEY_MODE = 1000,
    KEY_PROTOCOL,
    KEY_TLS,
    KEY_VERSION,
    KEY_CIPHERS,
    KEY_STAGE,
    KEY_LOGIN,
    KEY_RESUME,
    KEY_HOLD,
    KEY_GATED,
    KEY_PORT,
    KEY_SESSIONS,
    KEY_PROCESSES,
    KEY_SOURCES,
    KEY_OPERATIONS,
    KEY_OCTETS,
    KEY_WARMUP,
    KEY_SECONDS,
    KEY_SETTLE,
    KEY_WITHIN,
    KEY_PATIENCE,
    KEY_PAUSE,
    KEY_PROXY,
    KEY_LABEL
};

static const struct argp_option option_table[] = {
    { "mode", KEY_MODE, "MODE", 0, "session, ping, retr, data, bdat, idle or burst", 1 },
    { "protocol", KEY_PROTOCOL, "NAME", 0, "pop3 or smtp", 1 },
    { "tls", KEY_TLS, "HOW", 0, "first, starttls or none", 1 },
    { "version", KEY_VERSION, "V", 0, "of TLS: 1.3 or 1.2", 1 },
    { "ciphers", KEY_CIPHERS, "LIST", 0, "suites of 1.3, or a list for 1.2", 1 },
    { "resume", KEY_RESUME, NULL, 0, "resume TLS sessions", 1 },
    { "login", KEY_LOGIN, NULL, 0, "log in also in a session that does nothing else", 1 },
    { "port", KEY_PORT, "N", 0, "of the proxy, at 127.0.0.1", 2 },
    { "sessions", KEY_SESSIONS, "N", 0, "at once, in all processes together (16)", 2 },
    { "processes", KEY_PROCESSES, "N", 0, "that make the load (1)", 2 },
    { "sources", KEY_SOURCES, "N", 0, "come from 127.0.0.2 and so on (8)", 2 },
    { "octets", KEY_OCTETS, "N", 0, "of a message, a multiple of 1024 (4096)", 2 },
    { "operations", KEY_OPERATIONS, "N", 0, "measure at least so many (1)", 3 },
    { "warmup", KEY_WARMUP, "S", 0, "seconds before it is measured (0.5)", 3 },
    { "seconds", KEY_SECONDS, "S", 0, "measure at least so long (2)", 3 },
    { "settle", KEY_SETTLE, "S", 0, "idle: wait before memory is read (1.5)", 3 },
    { "patience", KEY_PATIENCE, "S", 0, "give up after so long without progress (30)", 3 },
    { "pause", KEY_PAUSE, "MS", 0, "between the operations of a session (0)", 3 },
    { "gated", KEY_GATED, NULL, 0, "before and after measuring, say so and await a line", 3 },
    { "stage", KEY_STAGE, "NAME", 0, "idle: greeted, logged-in, used or stalled", 4 },
    { "hold", KEY_HOLD, NULL, 0, "idle: stay until standard input ends", 4 },
    { "within", KEY_WITHIN, "S", 0, "burst: all connections come in so many seconds (1)", 4 },
    { "proxy", KEY_PROXY, "PID,PID", 0, "account these processes and their children", 5 },
    { "label", KEY_LABEL, "TEXT", 0, "copied to the output", 5 },
    { NULL, 0, NULL, 0, NULL, 0 }
};

static const char *const modes[] = { "session", "ping", "retr",  "data",
                                     "bdat",    "idle", "burst", NULL };
static const char *const protocols[] = { "pop3", "smtp", NULL };
static const char *const tls_ways[] = { "first", "starttls", "none", NULL };
static const char *const stages[] = { "greeted", "logged-in", "used", "stalled", NULL };

const char *load_mode_word(enum load_mode mode)
{
    return modes[mode];
}

const char *load_protocol_word(enum load_protocol protocol)
{
    return protocols[protocol];
}

const char *load_tls_word(enum load_tls tls)
{
    return tls_ways[tls];
}

const char *load_stage_word(enum load_stage stage)
{
    return stages[stage];
}

static unsigned word_in(const char *const *words, const char *word, struct argp_state *state)
{
    for (unsigned i = 0; words[i]; i++)
        if (strcmp(words[i], word) == 0)
            return i;
    argp_error(state, "'%s' is none of the words for this option", word);
    return 0;
}

static uint64_t number(const char *word, uint64_t least, uint64_t most, struct argp_state *state)
{
    uint64_t value = 0;

    if (!span_parse_u64(span_of_text(word), &value) || value < least || value > most)
        argp_error(state, "'%s' is no number that this option takes", word);
    return value;
}

static double seconds(const char *word, struct argp_state *state)
{
    char *end;
    double value = strtod(word, &end);

    if (end == word || *end || !(value >= 0 && value <= 86400))
        argp_error(state, "'%s' is no time in seconds", word);
    return value;
}

static void take_proxy(struct load_options *options, const char *list, struct argp_state *state)
{
    static struct processes proxy;

    if (processes_parse(&proxy, list) < 0)
        argp_error(state, "'%s' is no list of process ids", list);
    options->proxy = &proxy;
}

/* What shapes a session. */
static error_t take_shape(struct load_options *options, int key, char *word,
                          struct argp_state *state)
{
    switch (key) {
    case KEY_MODE:
        options->mode = word_in(modes, word, state);
        return 0;
    case KEY_PROTOCOL:
        options->protocol = word_in(protocols, word, state);
        return 0;
    case KEY_TLS:
        options->tls = word_in(tls_ways, word, state);
        return 0;
    case KEY_VERSION:
        options->tls_minor = strcmp(word, "1.2") == 0 ? 2 : 3;
        return 0;
    case KEY_CIPHERS:
        options->ciphers = word;
        return 0;
    case KEY_STAGE:
        options->stage = word_in(stages, word, state);
        return 0;
    case KEY_LOGIN:
        options->login = true;
        return 0;
    case KEY_RESUME:
        options->resume = true;
        return 0;
    case KEY_OCTETS:
        options->message_octets = number(word, 1024, 1u << 30, state) / 1024 * 1024;
        return 0;
    case KEY_PAUSE:
        options->pause_ms = (unsigned)number(word, 0, 60000, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

/* How many, how long, against whom. */
static error_t take_extent(struct load_options *options, int key, char *word,
                           struct argp_state *state)
{
    switch (key) {
    case KEY_PORT:
        options->target.sin_port = htons((uint16_t)number(word, 1, 65535, state));
        return 0;
    case KEY_SESSIONS:
        options->sessions = (unsigned)number(word, 1, 1000000, state);
        return 0;
    case KEY_PROCESSES:
        options->processes = (unsigned)number(word, 1, LOAD_PROCESSES_MAX, state);
        return 0;
    case KEY_SOURCES:
        options->sources = (unsigned)number(word, 1, 250, state);
        return 0;
    case KEY_OPERATIONS:
        options->operations = number(word, 0, 1u << 30, state);
        return 0;
    case KEY_WARMUP:
        options->warmup_s = seconds(word, state);
        return 0;
    case KEY_SECONDS:
        options->seconds = seconds(word, state);
        return 0;
    case KEY_SETTLE:
        options->settle_s = seconds(word, state);
        return 0;
    case KEY_WITHIN:
        options->within_s = seconds(word, state);
        return 0;
    case KEY_PATIENCE:
        options->patience_s = seconds(word, state);
        return 0;
    case KEY_HOLD:
        options->hold = true;
        return 0;
    case KEY_GATED:
        options->gated = true;
        return 0;
    case KEY_PROXY:
        take_proxy(options, word, state);
        return 0;
    case KEY_LABEL:
        options->label = word;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t take_option(int key, char *word, struct argp_state *state)
{
    struct load_options *options = state->input;

    if (key == ARGP_KEY_END && options->target.sin_port == 0)
        argp_error(state, "--port is missing");
    if (key == ARGP_KEY_END && options->processes > options->sessions)
        options->processes = options->sessions;
    if (take_shape(options, key, word, state) == 0)
        return 0;
    return take_extent(options, key, word, state);
}

void load_options_read(struct load_options *options, int argc, char **argv)
{
    static const struct argp parser = {
        option_table, take_option, NULL, "Puts load on a mail proxy; prints one line of JSON.",
        NULL,         NULL,        NULL
    };

    *options = (struct load_options){
        .tls_minor = 3,
        .sessions = 16,
        .processes = 1,
        .sources = 8,
        .operations = 1,
        .message_octets = 4096,
        .warmup_s = 0.5,
        .seconds = 2,
        .settle_s = 1.5,
        .within_s = 1,
        .patience_s = 30,
        .label = "",
        .target = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } },
    };
    argp_parse(&parser, argc, argv, 0, NULL, options);
}

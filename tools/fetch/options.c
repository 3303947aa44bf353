/* The command line. Happy path: argp tells of each option, then what was left out gets its default.
 * A password cannot be given here: everybody can see a command line. */
#include "tools/fetch/options.h"

#include <argp.h>
#include <ctype.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "gatepost_build.h"
#include "tools/fetch/address_list.h"

#define DEFAULT_PORT   "109"
#define MAILDIR_NAME   "Maildir"
#define OUTBOX_NAME    ".Outbox"
#define RETRIES_MAX    1000000
#define DESCRIPTOR_MAX (1 << 20)

enum {
    OPTION_SENT = 1000,
    OPTION_SENDER,
    OPTION_KEEP,
    OPTION_WATCH,
    OPTION_MDA,
    OPTION_CA,
    OPTION_FINGERPRINT,
    OPTION_PLAIN,
    OPTION_PASSWORD_FD,
    OPTION_PASSWORD_COMMAND,
    OPTION_RETRIES,
    OPTION_JSON,
};

static const struct argp_option option_table[] = {
    { "user", 'u', "NAME", 0, "Log in as NAME (default: your login name)", 0 },
    { "maildir", 'm', "DIR", 0, "The Maildir that mirrors the mailbox (default: ~/Maildir)", 0 },
    { "outbox", 'o', "DIR", 0, "Send the messages of this Maildir (default: MAILDIR/.Outbox)", 0 },
    { "sent", OPTION_SENT, "DIR", 0, "Put what has been sent into this Maildir", 0 },
    { "sender", OPTION_SENDER, "ADDRESS", 0,
      "The sender of all messages, whatever they say; bounces go there", 0 },
    { "keep", OPTION_KEEP, NULL, 0, "Leave the mail on the server", 0 },
    { "watch", OPTION_WATCH, NULL, 0, "Stay, and wait for new mail", 0 },
    { "mda", OPTION_MDA, "COMMAND", 0, "Hand each message to COMMAND instead of the Maildir", 0 },
    { "ca", OPTION_CA, "FILE", 0, "Trust these authorities (PEM) instead of the system's", 0 },
    { "fingerprint", OPTION_FINGERPRINT, "SHA256", 0,
      "Take the certificate with this fingerprint and no other", 0 },
    { "plain", OPTION_PLAIN, NULL, 0, "No TLS: everybody on the way can read all of it", 0 },
    { "password-fd", OPTION_PASSWORD_FD, "N", 0, "Read the password from descriptor N", 0 },
    { "password-command", OPTION_PASSWORD_COMMAND, "CMD", 0,
      "The password is the first line that CMD prints", 0 },
    { "retries", OPTION_RETRIES, "N", 0, "Try again N times (default: 5; with --watch: always)",
      0 },
    { "json", OPTION_JSON, NULL, 0, "One JSON object at the end, on standard output", 0 },
    { "quiet", 'q', NULL, 0, "No progress, no summary", 0 },
    { "verbose", 'v', NULL, 0, "Tell what is done", 0 },
    { 0 },
};

/* ---- values ---- */

static unsigned parse_number(const char *value, uint64_t max, const char *what,
                             struct argp_state *state)
{
    uint64_t number = 0;

    if (!span_parse_u64(span_of_text(value), &number) || number > max)
        argp_error(state, "%s: not %s", value, what);
    return (unsigned)number;
}

/* HOST, HOST:PORT, [ADDRESS]:PORT, or an address of IPv6 alone. */
static void parse_host(struct options *options, const char *value, struct argp_state *state)
{
    struct span whole = span_of_text(value), host = whole, port = SPAN_LIT(DEFAULT_PORT);
    size_t colon = span_find(whole, ':');
    bool bracket = whole.size > 0 && whole.data[0] == '[';
    uint64_t number = 0;

    if (options->host[0])
        argp_error(state, "one host only; a password is never an argument");
    if (bracket) {
        size_t end = span_find(whole, ']');

        host = span_skip(span_first(whole, end), 1);
        colon = end + 1;
        if (end == whole.size || (colon < whole.size && whole.data[colon] != ':'))
            argp_error(state, "%s: not a host", value);
    } else if (span_find(span_skip(whole, colon + 1), ':') < span_skip(whole, colon + 1).size) {
        colon = whole.size;
    } else {
        host = span_first(whole, colon);
    }
    if (colon < whole.size)
        port = span_skip(whole, colon + 1);
    if (host.size == 0 || host.size >= sizeof(options->host) || !span_parse_u64(port, &number) ||
        number < 1 || number > 65535)
        argp_error(state, "%s: not a host, or a host and a port", value);
    for (size_t i = 0; i < host.size; i++) /* one spelling: it is the name of the mailbox too */
        options->host[i] = (char)tolower(host.data[i]);
    snprintf(options->port, sizeof(options->port), "%llu", (unsigned long long)number);
}

/* Colons and capitals are as openssl x509 prints them. */
static void parse_fingerprint(struct options *options, const char *value, struct argp_state *state)
{
    size_t size = 0;
    const char *at;

    for (at = value; *at && size < LINK_FINGERPRINT; at++)
        if (*at != ':')
            options->fingerprint[size++] = (char)(*at >= 'A' && *at <= 'F' ? *at + 32 : *at);
    options->fingerprint[size] = '\0';
    if (*at || size != LINK_FINGERPRINT ||
        strspn(options->fingerprint, "0123456789abcdef") != LINK_FINGERPRINT)
        argp_error(state, "%s: not a SHA-256 in hexadecimal", value);
    options->link.fingerprint = options->fingerprint;
}

static void set_path(char **path, const char *value)
{
    free(*path);
    *path = strdup(value);
    if (!*path)
        exit(EX_OSERR);
}

/* ---- defaults ---- */

static void default_maildir(struct options *options, struct argp_state *state)
{
    const struct passwd *account = getpwuid(getuid());
    const char *home = getenv("HOME");

    if ((!home || !*home) && account)
        home = account->pw_dir;
    if (!home || !*home)
        argp_error(state, "you have no home folder; name a Maildir with -m");
    else if (asprintf(&options->maildir, "%s/" MAILDIR_NAME, home) < 0)
        exit(EX_OSERR);
}

static const char *default_user(struct argp_state *state)
{
    const struct passwd *account = getpwuid(getuid());

    if (!account)
        argp_error(state, "you have no login name; name a user with -u");
    return account ? account->pw_name : "";
}

/* The outbox in the Maildir, where there is one. */
static void default_outbox(struct options *options)
{
    struct stat status;

    if (asprintf(&options->outbox, "%s/" OUTBOX_NAME, options->maildir) < 0)
        exit(EX_OSERR);
    if (stat(options->outbox, &status) == 0 && S_ISDIR(status.st_mode))
        return;
    free(options->outbox);
    options->outbox = NULL;
}

/* One that is none would have every message refused. "" is the empty sender, <>. */
static void check_sender(const char *sender, struct argp_state *state)
{
    struct address_list list;
    struct address address;

    address_list_init(&list, span_of_text(sender));
    if (sender[0] && (address_list_next(&list, &address) != ADDRESS_FOUND ||
                      address_list_next(&list, &address) != ADDRESS_END))
        argp_error(state, "--sender: %s: no address%s%s", sender, list.why ? ": " : "",
                   list.why ? list.why : "");
}

static void check(struct options *options, struct argp_state *state)
{
    if (!options->host[0])
        argp_error(state, "which host?");
    if (options->link.plain && (options->link.ca || options->link.fingerprint))
        argp_error(state, "--plain has no certificate to check");
    if (options->link.ca && options->link.fingerprint)
        argp_error(state, "--fingerprint and --ca: which of them?");
    if (options->password_fd >= 0 && options->password_command)
        argp_error(state, "--password-fd and --password-command: which of them?");
    if (!options->maildir)
        default_maildir(options, state);
    if (!options->user)
        options->user = default_user(state);
    if (!options->outbox)
        default_outbox(options);
    if ((options->sent || options->sender) && !options->outbox)
        argp_error(state, "%s needs an outbox", options->sent ? "--sent" : "--sender");
    if (options->sender)
        check_sender(options->sender, state);
    options->link.host = options->host;
    options->link.port = options->port;
}

/* ---- argp ---- */

/* What has a value. */
static error_t parse_value(int key, char *value, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case 'u':
        options->user = value;
        return 0;
    case 'm':
        set_path(&options->maildir, value);
        return 0;
    case 'o':
        set_path(&options->outbox, value);
        return 0;
    case OPTION_SENT:
        options->sent = value;
        return 0;
    case OPTION_SENDER:
        options->sender = value;
        return 0;
    case OPTION_MDA:
        options->mda = value;
        return 0;
    case OPTION_CA:
        options->link.ca = value;
        return 0;
    case OPTION_FINGERPRINT:
        parse_fingerprint(options, value, state);
        return 0;
    case OPTION_PASSWORD_FD:
        options->password_fd =
            (int)parse_number(value, DESCRIPTOR_MAX, "the number of a descriptor", state);
        return 0;
    case OPTION_PASSWORD_COMMAND:
        options->password_command = value;
        return 0;
    case OPTION_RETRIES:
        options->retries = parse_number(value, RETRIES_MAX, "a number of retries", state);
        return 0;
    case ARGP_KEY_ARG:
        parse_host(options, value, state);
        return 0;
    case ARGP_KEY_END:
        check(options, state);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static error_t parse_option(int key, char *value, struct argp_state *state)
{
    struct options *options = state->input;

    switch (key) {
    case OPTION_KEEP:
        options->keep = true;
        return 0;
    case OPTION_WATCH:
        options->watch = true;
        return 0;
    case OPTION_PLAIN:
        options->link.plain = true;
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case 'q':
        options->quiet = true;
        return 0;
    case 'v':
        options->verbose = true;
        return 0;
    default:
        return parse_value(key, value, state);
    }
}

static void print_version(FILE *stream, struct argp_state *state)
{
    (void)state;
    fprintf(stream, "gatepost-fetch %s\n", GATEPOST_VERSION);
}

void options_parse(struct options *options, int argc, char **argv)
{
    static const struct argp argp = {
        .options = option_table,
        .parser = parse_option,
        .args_doc = "HOST[:PORT]",
        .doc = "Fetches the mail of a mailbox into a Maildir, and sends the mail of an outbox.\v"
               "See gatepost-fetch(1).",
    };

    *options = (struct options){ .password_fd = -1, .retries = OPTIONS_RETRIES };
    argp_program_version_hook = print_version;
    argp_err_exit_status = EX_USAGE;
    argp_parse(&argp, argc, argv, 0, NULL, options);
}

void options_free(struct options *options)
{
    free(options->maildir);
    free(options->outbox);
    options->maildir = options->outbox = NULL;
}

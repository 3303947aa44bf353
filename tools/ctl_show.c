/* One function for each command that shows something. */
#include "tools/ctl_show.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/ctl_table.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static json_int_t number_of(const json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

static bool is_true(const json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key));
}

static void put_text(const json_t *object, const char *key, FILE *out)
{
    ctl_put_harmless(text_of(object, key), out);
}

/* The texts of an array, between commas. */
static void put_texts(const json_t *array, FILE *out)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(array, i, entry)
    {
        fputs(i ? ", " : "", out);
        ctl_put_harmless(json_string_value(entry) ? json_string_value(entry) : "?", out);
    }
}

void ctl_put_lines(const char *text, const char *margin, FILE *out)
{
    while (*text) {
        size_t size = strcspn(text, "\n");
        char *line = strndup(text, size);

        fputs(margin, out);
        ctl_put_harmless(line ? line : "", out);
        putc('\n', out);
        free(line);
        text += size + (text[size] == '\n');
    }
}

static void put_time(json_int_t when, FILE *out)
{
    char text[40];
    time_t seconds = (time_t)when;
    struct tm local;

    if (localtime_r(&seconds, &local) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local))
        fputs(text, out);
}

static void put_age(const json_t *row, FILE *out)
{
    ctl_put_age(number_of(row, "age_s"), out);
}

static void put_up(const json_t *row, FILE *out)
{
    if (json_object_get(row, "up_s"))
        ctl_put_age(number_of(row, "up_s"), out);
    else
        putc('-', out);
}

/* -- status -- */

static void put_listener_state(const json_t *row, FILE *out)
{
    if (is_true(row, "open")) {
        put_texts(json_object_get(row, "addresses"), out);
        return;
    }
    fputs("not opened: ", out);
    put_text(row, "why", out);
}

static void put_in_service(const json_t *row, FILE *out)
{
    fprintf(out, "%" JSON_INTEGER_FORMAT " of %" JSON_INTEGER_FORMAT, number_of(row, "in_service"),
            number_of(row, "addresses"));
    if (is_true(row, "shut"))
        fputs(", relays for anybody: gets no mail", out);
}

/* What is wrong may be many lines. */
static void show_reload(const json_t *reload)
{
    if (!reload)
        return;
    printf("last reload, number %" JSON_INTEGER_FORMAT ", ", number_of(reload, "number"));
    put_time(number_of(reload, "when"), stdout);
    printf(": %s\n", text_of(reload, "outcome"));
    ctl_put_lines(text_of(reload, "words"), "    ", stdout);
}

static void show_lost_lines(const json_t *document)
{
    json_int_t lost = number_of(document, "lost_log_lines");

    if (lost > 0)
        printf(", %" JSON_INTEGER_FORMAT " lines of the log lost", lost);
    putchar('\n');
}

static void show_head(const json_t *document)
{
    const json_t *configuration = json_object_get(document, "configuration");

    printf("Gatepost %s %s since ", text_of(document, "gatepost"), text_of(document, "phase"));
    put_time(number_of(document, "started"), stdout);
    fputs(" (", stdout);
    ctl_put_age(number_of(document, "started_s"), stdout);
    printf("), process %" JSON_INTEGER_FORMAT ", log level %s", number_of(document, "pid"),
           text_of(document, "log_level"));
    show_lost_lines(document);
    if (number_of(document, "former_pid") > 0)
        printf("process %" JSON_INTEGER_FORMAT ", of before the upgrade, ends with its sessions\n",
               number_of(document, "former_pid"));
    printf("configuration %" JSON_INTEGER_FORMAT ", loaded ", number_of(configuration, "number"));
    put_time(number_of(configuration, "loaded"), stdout);
    fputs(" from ", stdout);
    put_text(configuration, "file", stdout);
    putchar('\n');
    show_reload(json_object_get(document, "reload"));
}

static int show_status(const json_t *document)
{
    static const struct ctl_column listeners[] = {
        { "PORT", false, "name", NULL },
        { "NUMBER", true, "number", NULL },
        { "TLS", false, "tls", NULL },
        { "OPEN ON", false, NULL, put_listener_state },
    };
    static const struct ctl_column workers[] = {
        { "PROCESS", false, "name", NULL },    { "PID", true, "pid", NULL },
        { "UP", true, NULL, put_up },          { "SESSIONS", true, "sessions", NULL },
        { "OF AT MOST", true, "limit", NULL }, { "STATE", false, "state", NULL },
    };
    static const struct ctl_column backends[] = {
        { "BACKEND", false, "name", NULL },
        { "ADDRESSES IN SERVICE", false, NULL, put_in_service },
    };
    json_t *processes = json_copy(json_object_get(document, "workers"));
    int r;

    show_head(document);
    json_array_extend(processes, json_object_get(document, "embedded"));
    putchar('\n');
    r = ctl_table_print(json_object_get(document, "listeners"), listeners, COUNT(listeners));
    putchar('\n');
    if (r == 0)
        r = ctl_table_print(processes, workers, COUNT(workers));
    putchar('\n');
    if (r == 0)
        r = ctl_table_print(json_object_get(document, "backends"), backends, COUNT(backends));
    json_decref(processes);
    return r;
}

/* -- who -- */

static void put_session_port(const json_t *row, FILE *out)
{
    put_text(row, "port", out);
    fprintf(out, " %" JSON_INTEGER_FORMAT, number_of(row, "number"));
}

static void put_session_tls(const json_t *row, FILE *out)
{
    fputs(json_object_get(row, "tls") ? "" : "-", out);
    put_text(row, "tls", out);
}

static void put_session_server(const json_t *row, FILE *out)
{
    if (!json_object_get(row, "backend")) {
        putc('-', out);
        return;
    }
    put_text(row, "backend", out);
    putc(' ', out);
    put_text(row, "server", out);
}

static void put_in(const json_t *row, FILE *out)
{
    ctl_put_octets(number_of(row, "octets_in"), out);
}

static void put_out(const json_t *row, FILE *out)
{
    ctl_put_octets(number_of(row, "octets_out"), out);
}

static int show_sessions(const json_t *document)
{
    static const struct ctl_column columns[] = {
        { "SESSION", false, "id", NULL },        { "USER", false, "user", NULL },
        { "CLIENT", false, "client", NULL },     { "PORT", false, NULL, put_session_port },
        { "TLS", false, NULL, put_session_tls }, { "SERVER", false, NULL, put_session_server },
        { "AGE", true, NULL, put_age },          { "IN", true, NULL, put_in },
        { "OUT", true, NULL, put_out },          { "CONF", true, "configuration", NULL },
        { "STATE", false, "state", NULL },
    };
    const json_t *sessions = json_object_get(document, "sessions");
    json_int_t left_out = number_of(document, "left_out");

    if (json_array_size(sessions) == 0)
        puts("no session");
    if (left_out > 0)
        printf("%" JSON_INTEGER_FORMAT " more sessions are not listed; choose with --user, --port "
               "or --from\n",
               left_out);
    return ctl_table_print(sessions, columns, COUNT(columns));
}

/* -- backends -- */

static void put_address_state(const json_t *row, FILE *out)
{
    bool in_service = is_true(row, "in_service");

    fputs(in_service ? "in service" : "OUT", out);
    if (json_object_get(row, "since_s")) {
        fputs(in_service ? " again for " : " for ", out);
        ctl_put_age(number_of(row, "since_s"), out);
    }
    if (in_service)
        return;
    fputs(json_object_get(row, "why") ? ": " : "", out);
    put_text(row, "why", out);
}

static void put_connections(const json_t *row, FILE *out)
{
    fprintf(out, "%" JSON_INTEGER_FORMAT, number_of(row, "connections"));
    if (json_object_get(row, "max_connections"))
        fprintf(out, " of %" JSON_INTEGER_FORMAT, number_of(row, "max_connections"));
}

/* In short: keywords, and the mechanisms of a login. */
static void put_list(const json_t *row, FILE *out)
{
    const json_t *list = json_object_get(row, "under_tls"), *entry;
    size_t i;

    list = list ? list : json_object_get(row, "clear");
    fputs(list ? "" : "not known", out);
    json_array_foreach(list, i, entry)
    {
        const char *text = json_string_value(entry) ? json_string_value(entry) : "";
        bool login = strncmp(text, "AUTH ", 5) == 0 || strncmp(text, "SASL ", 5) == 0;
        char keyword[80];

        snprintf(keyword, sizeof(keyword), "%.*s", login ? 79 : (int)strcspn(text, " "), text);
        fputs(i ? ", " : "", out);
        ctl_put_harmless(keyword, out);
    }
}

/* A row for each address, with what the backend is. 0 or -1. */
static int add_rows(json_t *rows, const json_t *backend)
{
    const json_t *address;
    size_t i;

    json_array_foreach(json_object_get(backend, "addresses"), i, address)
    {
        json_t *row = json_deep_copy(address);

        json_object_set(row, "name", json_object_get(backend, "name"));
        if (json_object_get(backend, "max_connections"))
            json_object_set(row, "max_connections", json_object_get(backend, "max_connections"));
        if (json_array_append_new(rows, row) < 0)
            return -1;
    }
    return 0;
}

static int show_backends(const json_t *document)
{
    static const struct ctl_column columns[] = {
        { "BACKEND", false, "name", NULL },
        { "ADDRESS", false, "address", NULL },
        { "CONNECTIONS", true, NULL, put_connections },
        { "STATE", false, NULL, put_address_state },
        { "RELAY TEST", false, "relay_test", NULL },
        { "CAN", false, NULL, put_list },
    };
    json_t *rows = json_array();
    const json_t *backend;
    size_t i;
    int r;

    json_array_foreach(json_object_get(document, "backends"), i, backend)
    {
        add_rows(rows, backend);
    }
    r = ctl_table_print(rows, columns, COUNT(columns));
    json_decref(rows);
    return r;
}

/* -- stats -- */

static int show_stats(const json_t *document)
{
    static const struct ctl_column columns[] = {
        { "COUNTER", false, "name", NULL },
        { "SINCE THE START", true, "count", NULL },
        { "OF", false, "words", NULL },
    };
    json_t *rows = json_array(), *count;
    const char *name;
    int r;

    json_object_foreach(json_object_get(document, "counters"), name, count)
    {
        json_array_append_new(rows,
                              json_pack("{s:s, s:O, s:s}", "name", name, "count", count, "words",
                                        text_of(json_object_get(document, "words"), name)));
    }
    r = ctl_table_print(rows, columns, COUNT(columns));
    json_decref(rows);
    return r;
}

/* -- what was done -- */

static int show_kicked(const json_t *document)
{
    const json_t *ended = json_object_get(document, "ended");
    const json_t *later = json_object_get(document, "later");

    if (json_array_size(ended) > 0) {
        printf("%zu ended: ", json_array_size(ended));
        put_texts(ended, stdout);
        putchar('\n');
    }
    if (json_array_size(later) > 0) {
        printf("%zu will end when the server has answered their message: ", json_array_size(later));
        put_texts(later, stdout);
        putchar('\n');
    }
    return 0;
}

static int show_level(const json_t *document)
{
    printf("log_level = %s\n", text_of(document, "level"));
    return 0;
}

static int show_words(const json_t *document)
{
    ctl_put_lines(text_of(document, "words"), "", stdout);
    return 0;
}

int ctl_show(const json_t *document)
{
    static const struct {
        const char *command;
        int (*show)(const json_t *document);
    } commands[] = {
        { "status", show_status }, { "who", show_sessions }, { "backends", show_backends },
        { "stats", show_stats },   { "kick", show_kicked },  { "log", show_level },
    };

    for (size_t i = 0; i < COUNT(commands); i++)
        if (strcmp(commands[i].command, text_of(document, "command")) == 0)
            return commands[i].show(document);
    return show_words(document);
}

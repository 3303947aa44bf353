/* Reading a request. Each member is looked up in one table: which commands take it, and where its
 * text goes. Fails, in words, for what is no JSON, no command, or more than the command takes. */
#include "proxy/operator_request.h"

#include <errno.h>
#include <jansson.h>

#include "proxy/network.h"

#define TAKES(command) (1U << (command))
#define SESSIONS       (TAKES(OPERATOR_WHO) | TAKES(OPERATOR_KICK))
#define ROOM(name)     sizeof(((struct child_selection *)0)->name)
#define WORKER_MOST    63

static const char *const command_names[OPERATOR_COMMANDS] = { "status", "who",     "backends",
                                                              "stats",  "kick",    "drain",
                                                              "reload", "upgrade", "log" };

/* Texts that choose sessions. */
static const struct selection_member {
    const char *name;
    unsigned commands;
    size_t offset, room;
} selection_members[] = {
    { "id", SESSIONS, offsetof(struct child_selection, id), ROOM(id) },
    { "user", SESSIONS, offsetof(struct child_selection, user), ROOM(user) },
    { "port", SESSIONS, offsetof(struct child_selection, port), ROOM(port) },
    { "from", SESSIONS, offsetof(struct child_selection, from), ROOM(from) },
};
#define SELECTION_MEMBERS (sizeof(selection_members) / sizeof(selection_members[0]))

const char *operator_command_name(enum operator_command command)
{
    return command_names[command];
}

bool operator_only_looks(const struct operator_request *request)
{
    return request->command <= OPERATOR_STATS ||
           (request->command == OPERATOR_LOG && request->level < 0);
}

static int find_command(const char *name, struct operator_request *request, struct text *words)
{
    for (int i = 0; name && i < OPERATOR_COMMANDS; i++) {
        if (strcmp(name, command_names[i]) != 0)
            continue;
        request->command = (enum operator_command)i;
        return 0;
    }
    text_puts(words, name ? "there is no such command" : "the request has no command");
    return -EINVAL;
}

static int take_text(const struct selection_member *member, const json_t *value,
                     struct operator_request *request, struct text *words)
{
    const char *text = json_string_value(value);

    if (!text || !*text || strlen(text) >= member->room) {
        text_printf(words, "%s must be a text of 1 to %zu octets", member->name, member->room - 1);
        return -EINVAL;
    }
    strcpy((char *)&request->selection + member->offset, text);
    return 0;
}

static int take_worker(const json_t *value, struct operator_request *request, struct text *words)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < 0 || number > WORKER_MOST) {
        text_printf(words, "worker must be a number from 0 to %d", WORKER_MOST);
        return -EINVAL;
    }
    request->worker = (int)number;
    return 0;
}

static int take_level(const json_t *value, struct operator_request *request, struct text *words)
{
    const char *name = json_string_value(value);

    for (int level = LOG_LEVEL_ERROR; name && level <= LOG_LEVEL_DEBUG; level++) {
        if (strcmp(name, log_level_name((enum log_level)level)) != 0)
            continue;
        request->level = level;
        return 0;
    }
    text_puts(words, "level must be error, warning, notice, info or debug");
    return -EINVAL;
}

static int take_member(const char *name, const json_t *value, struct operator_request *request,
                       struct text *words)
{
    if (strcmp(name, "command") == 0)
        return 0;
    if (strcmp(name, "worker") == 0 && request->command == OPERATOR_DRAIN)
        return take_worker(value, request, words);
    if (strcmp(name, "level") == 0 && request->command == OPERATOR_LOG)
        return take_level(value, request, words);
    for (size_t i = 0; i < SELECTION_MEMBERS; i++)
        if (strcmp(name, selection_members[i].name) == 0 &&
            selection_members[i].commands & TAKES(request->command))
            return take_text(&selection_members[i], value, request, words);
    text_printf(words, "%s takes no \"", command_names[request->command]);
    text_put_escaped(words, span_of_text(name), 32);
    text_puts(words, "\"");
    return -EINVAL;
}

static int check_selection(const struct operator_request *request, struct text *words)
{
    const struct child_selection *selection = &request->selection;
    struct network network;

    if (selection->from[0] && network_parse(selection->from, &network) < 0) {
        text_puts(words, "from must be an address or a network, such as 192.0.2.7 or 192.0.2.0/24");
        return -EINVAL;
    }
    if (request->command == OPERATOR_KICK && !selection->id[0] && !selection->user[0] &&
        !selection->from[0] && !selection->port[0]) {
        text_puts(words, "whose session? kick takes an id, a user, an address or a port");
        return -EINVAL;
    }
    return 0;
}

static int take_members(json_t *object, struct operator_request *request, struct text *words)
{
    const char *name;
    json_t *value;
    int r = find_command(json_string_value(json_object_get(object, "command")), request, words);

    json_object_foreach(object, name, value)
    {
        if (r == 0)
            r = take_member(name, value, request, words);
    }
    return r == 0 ? check_selection(request, words) : r;
}

int operator_request_read(struct span line, struct operator_request *ret_request,
                          struct text *words)
{
    struct operator_request request = { .worker = -1, .level = -1 };
    json_error_t error;
    json_t *object = json_loadb((const char *)line.data, line.size, JSON_REJECT_DUPLICATES, &error);
    int r = -EINVAL;

    if (!object && json_error_code(&error) == json_error_out_of_memory)
        return -ENOMEM;
    if (!json_is_object(object))
        text_puts(words, "the request is no JSON object");
    else
        r = take_members(object, &request, words);
    json_decref(object);
    if (r == 0)
        *ret_request = request;
    return r;
}

/* Putting reports together.
 *
 * What workers share (health of servers, counts of connections) is taken from the first that tells
 * it; what each has found out by itself (why a server is out, what it can do) from the first that
 * knows. Members that are not there stay so: nothing here can fail but for want of memory, which
 * leaves out. */
#include "tools/ctl_merge.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static void add_all(json_t *into, const char *key, const json_t *report)
{
    json_array_extend(json_object_get(into, key), json_object_get(report, key));
}

/* -- status -- */

static json_t *find_named(json_t *array, const char *key, const char *name)
{
    json_t *entry;
    size_t i;

    json_array_foreach(array, i, entry)
    {
        if (strcmp(text_of(entry, key), name) == 0)
            return entry;
    }
    return NULL;
}

/* Members that `entry` lacks. */
static void complete(json_t *entry, json_t *other)
{
    const char *key;
    json_t *value;

    json_object_foreach(other, key, value)
    {
        if (!json_object_get(entry, key))
            json_object_set(entry, key, value);
    }
}

/* -- backends -- */

static void merge_addresses(json_t *entry, const json_t *other)
{
    json_t *addresses = json_object_get(entry, "addresses"), *address;
    size_t i;

    json_array_foreach(json_object_get(other, "addresses"), i, address)
    {
        json_t *known = find_named(addresses, "address", text_of(address, "address"));

        if (!known)
            json_array_append(addresses, address);
        else
            complete(known, address);
        /* One worker that has found it open is enough. */
        if (known && strncmp(text_of(address, "relay_test"), "relays", 6) == 0)
            json_object_set(known, "relay_test", json_object_get(address, "relay_test"));
    }
}

static void merge_backends(json_t *into, const json_t *report)
{
    json_t *all = json_object_get(into, "backends"), *backend;
    size_t i;

    json_array_foreach(json_object_get(report, "backends"), i, backend)
    {
        json_t *known = find_named(all, "name", text_of(backend, "name"));

        if (!known)
            json_array_append_new(all, json_deep_copy(backend));
        else if (json_is_array(json_object_get(backend, "addresses")))
            merge_addresses(known, backend);
    }
}

/* -- sessions -- */

static json_int_t age_of(const void *entry)
{
    return json_integer_value(json_object_get(*(json_t *const *)entry, "age_s"));
}

static int older_first(const void *a, const void *b)
{
    json_int_t one = age_of(a), other = age_of(b);

    if (one == other)
        return strcmp(text_of(*(json_t *const *)a, "id"), text_of(*(json_t *const *)b, "id"));
    return one > other ? -1 : 1;
}

static void sort_sessions(json_t *sessions)
{
    size_t count = json_array_size(sessions);
    json_t **entries = calloc(count + 1, sizeof(json_t *));

    if (!entries)
        return;
    for (size_t i = 0; i < count; i++)
        entries[i] = json_incref(json_array_get(sessions, i));
    qsort(entries, count, sizeof(json_t *), older_first);
    for (size_t i = 0; i < count; i++)
        json_array_set_new(sessions, i, entries[i]);
    free(entries);
}

static void merge_sessions(json_t *into, const json_t *worker, const json_t *report)
{
    json_int_t left_out = json_integer_value(json_object_get(into, "left_out"));
    json_t *session;
    size_t i;

    json_array_foreach(json_object_get(report, "sessions"), i, session)
    {
        json_object_set(session, "worker", json_object_get(worker, "name"));
    }
    add_all(into, "sessions", report);
    left_out += json_integer_value(json_object_get(report, "left_out"));
    json_object_set_new(into, "left_out", json_integer(left_out));
}

/* -- all -- */

static void make_arrays(json_t *into, const char *command)
{
    static const struct {
        const char *command, *key;
    } arrays[] = {
        { "status", "workers" },    { "status", "backends" }, { "who", "sessions" },
        { "backends", "backends" }, { "kick", "ended" },      { "kick", "later" },
    };

    for (size_t i = 0; i < sizeof(arrays) / sizeof(arrays[0]); i++)
        if (strcmp(arrays[i].command, command) == 0)
            json_object_set_new(into, arrays[i].key, json_array());
    json_object_set_new(into, "missing", json_array());
}

static void merge_status(json_t *into, json_t *worker, json_t *report)
{
    json_t *entry = json_copy(worker), *facts;

    merge_backends(into, report);
    facts = json_copy(report);
    json_object_del(facts, "backends");
    json_object_update_missing(entry, facts);
    json_decref(facts);
    json_object_del(entry, "report");
    json_array_append_new(json_object_get(into, "workers"), entry);
}

static void merge_worker(json_t *into, const char *command, json_t *worker)
{
    json_t *report = json_object_get(worker, "report");

    if (json_is_true(json_object_get(worker, "missing")))
        json_array_append(json_object_get(into, "missing"), json_object_get(worker, "name"));
    if (strcmp(command, "status") == 0)
        merge_status(into, worker, report);
    else if (strcmp(command, "who") == 0)
        merge_sessions(into, worker, report);
    else if (strcmp(command, "backends") == 0)
        merge_backends(into, report);
    add_all(into, "ended", report);
    add_all(into, "later", report);
}

json_t *ctl_merge(json_t *answer)
{
    json_t *into = json_copy(answer), *worker;
    const char *command = text_of(answer, "command");
    const json_t *workers = json_object_get(answer, "workers");
    size_t i;

    if (strcmp(command, "stats") == 0 || !json_is_array(workers))
        return into;
    json_object_del(into, "workers");
    make_arrays(into, command);
    json_array_foreach(workers, i, worker)
    {
        merge_worker(into, command, worker);
    }
    if (strcmp(command, "who") == 0)
        sort_sessions(json_object_get(into, "sessions"));
    return into;
}

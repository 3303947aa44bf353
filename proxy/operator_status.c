/* Facts of the supervisor as JSON. Nothing here can fail. */
#include "proxy/operator_status.h"

#include <unistd.h>

#include "proxy/base/log.h"
#include "proxy/log_sink.h"
#include "proxy/supervisor_private.h"

static void put_since(struct json_out *json, const char *key, const char *key_s, time_t when)
{
    time_t now = time(NULL);

    json_out_number(json, key, (uint64_t)when);
    json_out_number(json, key_s, now > when ? (uint64_t)(now - when) : 0);
}

static const char *tls_rule_words(const struct settings_listen *listen)
{
    if (protocol_is_relayed(listen->protocol))
        return listen->tls == TLS_RULE_OFF ? "none" : "as it comes";
    switch (listen->tls) {
    case TLS_RULE_STARTTLS:
        return listen->protocol == PROTOCOL_SMTP ? "STARTTLS" : "STLS";
    case TLS_RULE_IMPLICIT:
        return "TLS first";
    case TLS_RULE_OFF:
        break;
    }
    return "none";
}

static size_t put_addresses(struct json_out *json, const struct listener_set *listeners,
                            const char *name)
{
    size_t count = 0;

    json_out_open(json, "addresses", '[');
    for (size_t i = 0; i < listeners->public_count; i++) {
        if (strcmp(listeners->publics[i].rule->name, name) != 0)
            continue;
        json_out_text(json, NULL, listeners->publics[i].address);
        count++;
    }
    json_out_close(json, ']');
    return count;
}

static void put_why_closed(struct json_out *json, const struct settings *settings,
                           const struct settings_listen *listen)
{
    char room[320];
    struct text words = TEXT_OVER(room);

    if (!listen->enabled)
        text_puts(&words, "enabled = no");
    else if (!settings_listen_open(settings, listen))
        text_printf(&words, "[backend %s] has no address", listen->backend);
    else
        text_puts(&words, "gatepost ends: nobody new is let in");
    json_out_span(json, "why", text_span(&words));
}

static void put_listener(struct json_out *json, const struct generation *generation,
                         const struct settings_listen *listen)
{
    const struct settings *settings = generation->configuration.settings;
    static const char *const protocols[] = { "smtp", "pop3", "remote", "opaque" };
    size_t open;

    json_out_open(json, NULL, '{');
    json_out_text(json, "name", listen->name);
    json_out_number(json, "number", settings_listen_port(settings, listen));
    json_out_text(json, "protocol", protocols[listen->protocol]);
    json_out_text(json, "tls", tls_rule_words(listen));
    open = put_addresses(json, &generation->listeners, listen->name);
    json_out_boolean(json, "open", open > 0);
    if (open == 0)
        put_why_closed(json, settings, listen);
    json_out_close(json, '}');
}

static void put_embedded(struct json_out *json, const struct child_process *child)
{
    json_out_open(json, NULL, '{');
    json_out_text(json, "name", child->plan.name);
    if (child->control) {
        json_out_number(json, "pid", (uint64_t)control_pid(child->control));
        json_out_number(json, "up_s", (uv_now(child->children->loop) - child->started_ms) / 1000);
    }
    json_out_text(json, "state",
                  child->retired    ? "ends with its sessions"
                  : child->draining ? "ends"
                  : child->ready    ? "serves"
                  : child->control  ? "starts"
                                    : "is to be started again");
    json_out_close(json, '}');
}

static const char *phase_words(enum phase phase)
{
    switch (phase) {
    case PHASE_STARTING:
        return "starts";
    case PHASE_SERVING:
        return "serves";
    case PHASE_DRAIN_PROXIES:
    case PHASE_DRAIN_EMBEDDED:
    case PHASE_DONE:
        break;
    }
    return "ends";
}

/* Of the last one that has ended. */
static void put_reload(struct json_out *json, const struct supervisor *supervisor)
{
    const struct reload_result *result = reload_result(supervisor);

    if (result->outcome == RELOAD_NEVER)
        return;
    json_out_open(json, "reload", '{');
    json_out_number(json, "number", result->number);
    put_since(json, "when", "when_s", result->when);
    json_out_text(json, "outcome",
                  result->outcome == RELOAD_IN_USE      ? "in use"
                  : result->outcome == RELOAD_UNCHANGED ? "nothing has changed"
                                                        : "failed: nothing was changed");
    json_out_text(json, "words", result->words ? result->words : "");
    json_out_close(json, '}');
}

static void put_configuration(struct json_out *json, const struct supervisor *supervisor)
{
    const struct generation *current = supervisor->current;

    json_out_open(json, "configuration", '{');
    json_out_text(json, "file", supervisor->path);
    json_out_number(json, "number", current->number);
    put_since(json, "loaded", "loaded_s", current->loaded);
    json_out_close(json, '}');
}

/* On the way to the supervisor, by proxy workers; and on the way out. */
static uint64_t count_lost_lines(const struct stats *stats)
{
    uint64_t sum = log_sink_lost();

    for (size_t i = 0; i < STATS_WORKERS_MAX; i++)
        sum += atomic_load_explicit(&stats[i].lost_log_lines, memory_order_relaxed);
    return sum;
}

void operator_put_status(struct json_out *json, const struct supervisor *supervisor,
                         const struct stats *stats)
{
    const struct settings *settings = supervisor->current->configuration.settings;
    const struct children *children = &supervisor->children;

    json_out_text(json, "phase", phase_words(supervisor->phase));
    json_out_number(json, "pid", (uint64_t)getpid());
    put_since(json, "started", "started_s", supervisor->started);
    if (supervisor->upgrade.former > 0)
        json_out_number(json, "former_pid", (uint64_t)supervisor->upgrade.former);
    put_configuration(json, supervisor);
    put_reload(json, supervisor);
    json_out_text(json, "log_level", log_level_name(log_current_level()));
    json_out_number(json, "lost_log_lines", count_lost_lines(stats));
    json_out_open(json, "listeners", '[');
    for (size_t i = 0; i < settings->listen_count; i++)
        put_listener(json, supervisor->current, &settings->listens[i]);
    json_out_close(json, ']');
    json_out_open(json, "embedded", '[');
    for (size_t i = 0; i < children->count; i++)
        if (!child_is_proxy(children->items[i]))
            put_embedded(json, children->items[i]);
    json_out_close(json, ']');
}

/* -- stats -- */

#define COUNTER_AT(name, words) { #name, words, offsetof(struct stats, name) },

static const struct counter {
    const char *name, *words;
    size_t offset;
} counters[] = { STATS_COUNTERS(COUNTER_AT) };
#define COUNTERS (sizeof(counters) / sizeof(counters[0]))

static uint64_t counter_of(const struct stats *stats, const struct counter *counter)
{
    const void *at = (const char *)stats + counter->offset;

    return atomic_load_explicit((const _Atomic uint64_t *)at, memory_order_relaxed);
}

static uint64_t sum_of(const struct stats *stats, const struct counter *counter)
{
    uint64_t sum = 0;

    if (counter->offset == offsetof(struct stats, lost_log_lines))
        return count_lost_lines(stats);
    for (size_t i = 0; i < STATS_WORKERS_MAX; i++)
        sum += counter_of(&stats[i], counter);
    return sum;
}

static void put_sums(struct json_out *json, const struct stats *stats)
{
    json_out_open(json, "counters", '{');
    for (size_t i = 0; i < COUNTERS; i++)
        json_out_number(json, counters[i].name, sum_of(stats, &counters[i]));
    json_out_close(json, '}');
}

static void put_worker_stats(struct json_out *json, const struct child_process *child,
                             const struct stats *stats)
{
    const struct stats *own = &stats[child->plan.hello.index % STATS_WORKERS_MAX];

    json_out_open(json, NULL, '{');
    json_out_text(json, "name", child->plan.name);
    json_out_open(json, "counters", '{');
    for (size_t i = 0; i < COUNTERS; i++)
        json_out_number(json, counters[i].name, counter_of(own, &counters[i]));
    json_out_close(json, '}');
    json_out_close(json, '}');
}

void operator_put_stats(struct json_out *json, const struct supervisor *supervisor,
                        const struct stats *stats)
{
    const struct children *children = &supervisor->children;

    put_sums(json, stats);
    json_out_open(json, "workers", '[');
    for (size_t i = 0; i < children->count; i++)
        if (child_is_proxy(children->items[i]))
            put_worker_stats(json, children->items[i], stats);
    json_out_close(json, ']');
    json_out_open(json, "words", '{');
    for (size_t i = 0; i < COUNTERS; i++)
        json_out_text(json, counters[i].name, counters[i].words);
    json_out_close(json, '}');
}

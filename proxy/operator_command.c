/* What the operator asks for, and how it is answered.
 *
 * Happy path: answered at once from what the supervisor knows; or the workers are asked, and the
 * answer is written when they have answered or OPERATOR_WORKERS_MS have passed; or a reload or an
 * upgrade is begun, and its end is the answer. Fails in words, which are an answer too. */
#include "proxy/operator.h"

#include "proxy/base/log.h"
#include "proxy/operator_private.h"
#include "proxy/operator_status.h"
#include "proxy/supervisor_private.h"

static bool begin_named_answer(struct client *client, struct json_out *ret_json)
{
    if (!operator_begin_answer(client, ret_json))
        return false;
    json_out_text(ret_json, "command", operator_command_name(client->request.command));
    return true;
}

/* -- what needs the workers -- */

static void answer_question(struct client *client)
{
    struct json_out json;

    if (!begin_named_answer(client, &json))
        return;
    if (client->request.command == OPERATOR_STATUS)
        operator_put_status(&json, client->desk->supervisor, client->desk->stats);
    question_put(&client->question, &json);
    question_free(&client->question);
    operator_end_answer(client, &json);
}

static void workers_overdue(uv_timer_t *timer)
{
    struct client *client = timer->data;

    question_expire(&client->question, &client->desk->supervisor->children);
    answer_question(client);
}

static void ask(struct client *client, enum child_question question)
{
    struct operator_desk *desk = client->desk;
    struct child_report about = { .type = CHILD_REPORT,
                                  .number = ++desk->questions,
                                  .question = question,
                                  .selection = client->request.selection };

    if (question_ask(&client->question, &desk->supervisor->children, &about) < 0) {
        operator_refuse(client, "failed", "no memory");
        return;
    }
    client->state = CLIENT_ASKS;
    if (client->question.waiting == 0)
        answer_question(client);
    else
        uv_timer_start(&client->timer, workers_overdue, OPERATOR_WORKERS_MS, 0);
}

void operator_told(struct supervisor *supervisor, struct child_process *child, struct span message)
{
    struct operator_desk *desk = supervisor->desk;
    struct client *client;

    child->silent = false;
    if (!desk)
        return;
    TAILQ_FOREACH(client, &desk->clients, link)
    {
        if (client->state != CLIENT_ASKS || !question_take(&client->question, child, message))
            continue;
        if (client->question.waiting == 0)
            answer_question(client);
        return;
    }
}

void operator_children_changed(struct supervisor *supervisor)
{
    struct operator_desk *desk = supervisor->desk;
    struct client *client;

    if (!desk)
        return;
    TAILQ_FOREACH(client, &desk->clients, link)
    {
        if (client->state != CLIENT_ASKS)
            continue;
        question_look(&client->question, &supervisor->children);
        if (client->question.waiting == 0)
            answer_question(client);
    }
}

/* -- commands -- */

static void answer_stats(struct client *client)
{
    struct json_out json;

    if (!begin_named_answer(client, &json))
        return;
    operator_put_stats(&json, client->desk->supervisor, client->desk->stats);
    operator_end_answer(client, &json);
}

static void answer_log(struct client *client)
{
    int level = client->request.level;
    struct json_out json;

    if (level >= 0) {
        log_line(LOG_LEVEL_NOTICE, "the operator sets log_level = %s",
                 log_level_name((enum log_level)level));
        log_set_level((enum log_level)level);
        children_set_log_level(&client->desk->supervisor->children, (enum log_level)level);
    }
    if (!begin_named_answer(client, &json))
        return;
    json_out_text(&json, "level", log_level_name(log_current_level()));
    operator_end_answer(client, &json);
}

static void answer_words(struct client *client, const char *words)
{
    struct json_out json;

    if (!begin_named_answer(client, &json))
        return;
    json_out_text(&json, "words", words);
    operator_end_answer(client, &json);
}

static void drain_all(struct client *client)
{
    struct supervisor *supervisor = client->desk->supervisor;
    char room[160];
    struct text words = TEXT_OVER(room);

    log_line(LOG_LEVEL_NOTICE, "the operator asks for the end");
    text_printf(&words,
                "gatepost takes nobody new and ends with its sessions, in %u s at the latest",
                supervisor->current->configuration.settings->gatepost.drain_timeout_ms / 1000);
    answer_words(client, text_str(&words));
    supervisor_drain(supervisor);
}

/* Another takes its place first: the ports are served all the time. */
static void drain_worker(struct client *client, uint32_t index)
{
    struct supervisor *supervisor = client->desk->supervisor;
    struct children *children = &supervisor->children;

    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = children->items[i];

        if (!child_is_proxy(child) || child->plan.hello.index != index || child->retired)
            continue;
        log_line(LOG_LEVEL_NOTICE, "%s ends with its sessions, as the operator asks",
                 child->plan.name);
        child->unfit = true;
        answer_words(client, "it takes nobody new as soon as another serves in its place, and ends "
                             "with its sessions");
        supervisor_adjust_workers(supervisor);
        return;
    }
    operator_refuse(client, "failed", "there is no such worker");
}

static void answer_drain(struct client *client)
{
    if (client->desk->supervisor->phase != PHASE_SERVING)
        operator_refuse(client, "failed", "gatepost starts or ends");
    else if (client->request.worker < 0)
        drain_all(client);
    else
        drain_worker(client, (uint32_t)client->request.worker);
}

static void answer_reload(struct client *client)
{
    const struct reload_result *result = reload_result(client->desk->supervisor);

    if (result->outcome == RELOAD_FAILED)
        operator_refuse(client, "configuration", result->words ? result->words : "no memory");
    else
        answer_words(client, result->words ? result->words : "");
}

static void begin_reload(struct client *client)
{
    struct supervisor *supervisor = client->desk->supervisor;

    if (supervisor->phase >= PHASE_DRAIN_PROXIES) {
        operator_refuse(client, "failed", "gatepost ends");
        return;
    }
    if (upgrade_runs(supervisor)) {
        operator_refuse(client, "failed",
                        "an upgrade is under way, and its new process reads the settings");
        return;
    }
    client->state = CLIENT_RELOADS;
    client->reload = UINT32_MAX; /* it may end before its number is known */
    client->reload = reload_begin(supervisor, RELOAD_SETTINGS);
    operator_reload_ended(supervisor);
}

void operator_reload_ended(struct supervisor *supervisor)
{
    struct operator_desk *desk = supervisor->desk;
    struct client *client;

    if (!desk)
        return;
    TAILQ_FOREACH(client, &desk->clients, link)
    {
        if (client->state != CLIENT_RELOADS)
            continue;
        if (client->reload <= reload_result(supervisor)->number)
            answer_reload(client);
        else if (supervisor->phase >= PHASE_DRAIN_PROXIES)
            operator_refuse(client, "failed", "gatepost ends: the reload is given up");
    }
}

static void begin_upgrade(struct client *client)
{
    const char *why = upgrade_begin(client->desk->supervisor); /* it never ends at once */

    if (why)
        operator_refuse(client, "failed", why);
    else
        client->state = CLIENT_UPGRADES;
}

static void answer_upgrade(struct client *client)
{
    const struct upgrade *upgrade = &client->desk->supervisor->upgrade;
    char room[256];
    struct text words = TEXT_OVER(room);
    struct json_out json;

    if (upgrade->phase != UPGRADE_DONE) {
        text_printf(&words, "%s: nothing was changed", upgrade->failure);
        operator_refuse(client, upgrade->misconfigured ? "configuration" : "failed",
                        text_str(&words));
        return;
    }
    if (!begin_named_answer(client, &json))
        return;
    text_printf(&words, "process %d has taken over", (int)upgrade->pid);
    json_out_text(&json, "words", text_str(&words));
    json_out_number(&json, "pid", (uint64_t)upgrade->pid);
    operator_end_answer(client, &json);
}

void operator_upgrade_ended(struct supervisor *supervisor)
{
    struct operator_desk *desk = supervisor->desk;
    struct client *client;

    if (!desk)
        return;
    TAILQ_FOREACH(client, &desk->clients, link)
    {
        if (client->state == CLIENT_UPGRADES)
            answer_upgrade(client);
    }
}

void operator_act(struct client *client)
{
    switch (client->request.command) {
    case OPERATOR_STATUS:
        ask(client, CHILD_ASK_STATUS);
        return;
    case OPERATOR_WHO:
        ask(client, CHILD_ASK_SESSIONS);
        return;
    case OPERATOR_BACKENDS:
        ask(client, CHILD_ASK_BACKENDS);
        return;
    case OPERATOR_KICK:
        ask(client, CHILD_ASK_KICK);
        return;
    case OPERATOR_STATS:
        answer_stats(client);
        return;
    case OPERATOR_DRAIN:
        answer_drain(client);
        return;
    case OPERATOR_RELOAD:
        begin_reload(client);
        return;
    case OPERATOR_UPGRADE:
        begin_upgrade(client);
        return;
    case OPERATOR_LOG:
        answer_log(client);
        return;
    }
}

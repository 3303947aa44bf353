/* Reloading: everything is made and tried first, then put in use.
 *
 * Happy path: the files are read and checked, sockets bound, host names looked up, embedded workers
 * whose settings have changed started; when all that is good, the generation takes the place of the
 * one before. The embedded workers that were replaced stop accepting, the proxy workers swap, and
 * those that are not named any more end when no session can need them.
 *
 * What is wrong with files, certificates, sockets or programs ends it before the swap, and changes
 * nothing. A worker that does not answer, or cannot take the configuration, holds up nobody: it is
 * asked again, or another takes its place. New certificates are the same with the settings that are
 * in use; where they cannot be used, they may be half-written, and are told of after a while only.
 */
#include "proxy/reload.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/bundle.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/bundle_changes.h"
#include "proxy/log_sink.h"
#include "proxy/supervisor.h"
#include "proxy/supervisor_private.h"

#define NAMES_MS    5000  /* then the workers find their addresses a little later */
#define TRIAL_MS    30000 /* for an embedded worker to start; guessed */
#define HANDOVER_MS 5000  /* it hangs, and accepts nobody; guessed */
#define WORKERS_MS                                                                                 \
    10000 /* then the end is logged without those that have not answered; guessed                  \
           */
#define RESEND_MS   1000
#define GAP_MS      250   /* between the beginnings of two reloads: a storm costs little */
#define HALF_MS     10000 /* a client writes key and certificate one behind the other */
#define HALF_TRY_MS 1000
#define WORDS_ROOM  8192 /* of one result; what is more is cut */

/* -- results -- */

/* `words` is taken over. */
static void set_result(struct reload *reload, enum reload_outcome outcome, char *words)
{
    free(reload->result.words);
    reload->result = (struct reload_result){
        .number = reload->number, .outcome = outcome, .when = time(NULL), .words = words
    };
}

static void begin_wanted(struct supervisor *supervisor);

static void end(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    free(reload->changes);
    free(reload->failure);
    reload->changes = reload->failure = NULL;
    uv_timer_stop(&reload->limit);
    reload->phase = RELOAD_IDLE;
    operator_reload_ended(supervisor);
    supervisor_tell_manager(supervisor);
    begin_wanted(supervisor);
}

/* `words`, taken over, has its lines in the log already. */
static void fail(struct supervisor *supervisor, char *words)
{
    struct reload *reload = &supervisor->reload;

    log_line(LOG_LEVEL_ERROR, "reload %u failed: nothing was changed", reload->number);
    set_result(reload, RELOAD_FAILED, words);
    end(supervisor);
}

/* The generation that was to come is undone. */
static void undo(struct supervisor *supervisor)
{
    struct generation *next = supervisor->reload.next;

    supervisor->reload.next = NULL;
    if (!next)
        return;
    for (size_t i = 0; i < next->listeners.embedded_count; i++)
        if (next->embedded[i].child && next->embedded[i].child->trial)
            children_discard(next->embedded[i].child);
    generation_free(next);
}

static void in_use(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    char *words = reload->changes;

    reload->changes = NULL;
    log_line(LOG_LEVEL_NOTICE, "reload %u: in use (%s)", reload->number, words ? words : "");
    set_result(reload, RELOAD_IN_USE, words);
    end(supervisor);
}

static void unchanged(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    reload->half_told = false;
    reload->half_since_ms = 0;
    log_line(LOG_LEVEL_NOTICE, "reload %u: nothing has changed", reload->number);
    set_result(reload, RELOAD_UNCHANGED, strdup("nothing has changed"));
    end(supervisor);
}

static void set_limit(struct supervisor *supervisor, enum reload_phase phase, uint64_t limit_ms);

/* -- reading -- */

/* Each line of the diagnostics goes to the log. Returns all of them; NULL: no memory. */
static char *log_diagnostics(const struct diagnostics *diagnostics)
{
    char *words = NULL;
    size_t size;
    FILE *out = open_memstream(&words, &size);
    enum log_level level = LOG_LEVEL_WARNING;

    if (!out)
        return NULL;
    diagnostics_print(diagnostics, out);
    if (fclose(out) != 0) {
        free(words);
        return NULL;
    }
    for (struct span rest = span_of(words, size); rest.size > 0;) {
        struct span line = span_first(rest, span_find(rest, '\n'));

        if (span_search(line, SPAN_LIT("error: ")) < line.size)
            level = LOG_LEVEL_ERROR;
        else if (span_search(line, SPAN_LIT("warning: ")) < line.size)
            level = LOG_LEVEL_WARNING;
        log_line(level, "%.*s", (int)line.size, (const char *)line.data);
        rest = span_skip(rest, line.size + 1);
    }
    return words;
}

static void tell_fixed(const char *key)
{
    log_line(LOG_LEVEL_WARNING,
             "[gatepost] %s: a change needs a restart; until then it stays as it is", key);
}

/* 0 or -ENOMEM. */
static int keep_text(const char *key, char **now, const char *before)
{
    char *kept;

    if (strcmp(*now, before) == 0)
        return 0;
    tell_fixed(key);
    kept = strdup(before);
    if (!kept)
        return -ENOMEM;
    free(*now);
    *now = kept;
    return 0;
}

static bool same_list(const struct settings_list *a, const struct settings_list *b)
{
    if (a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return true;
}

static void free_list(struct settings_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i]);
    free(list->items);
}

/* 0 or -ENOMEM. */
static int keep_list(const char *key, struct settings_list *now, const struct settings_list *before)
{
    struct settings_list kept = { .count = 0 };

    if (same_list(now, before))
        return 0;
    tell_fixed(key);
    kept.items = calloc(before->count + 1, sizeof(*kept.items));
    while (kept.items && kept.count < before->count &&
           (kept.items[kept.count] = strdup(before->items[kept.count])))
        kept.count++;
    if (!kept.items || kept.count < before->count) {
        free_list(&kept);
        return -ENOMEM;
    }
    free_list(now);
    *now = kept;
    return 0;
}

/* What the processes are made of at the start stays as it is. 0 or -ENOMEM. */
static int keep_fixed(struct configuration *now, const struct configuration *before)
{
    struct settings_gatepost *settings = &now->settings->gatepost;
    const struct settings_gatepost *former = &before->settings->gatepost;

    now->privileges = before->privileges;
    return keep_text("user", &settings->user, former->user) < 0 ||
                   keep_text("mail_user", &settings->mail_user, former->mail_user) < 0 ||
                   keep_list("groups", &settings->groups, &former->groups) < 0 ||
                   keep_text("runtime_dir", &settings->runtime_dir, former->runtime_dir) < 0 ||
                   keep_text("state_dir", &settings->state_dir, former->state_dir) < 0 ||
                   keep_text("control_socket", &settings->control_socket, former->control_socket) <
                       0 ||
                   keep_text("control_group", &settings->control_group, former->control_group) < 0
               ? -ENOMEM
               : 0;
}

/* In what the bundle differs from that in use; NULL: no memory, or no difference in words. */
static char *describe_changes(int before_fd, int now_fd)
{
    char room[LOG_LINE_MAX - 64];
    struct text words = TEXT_OVER(room);
    struct bundle before, now;
    int r = bundle_read(before_fd, &before);

    if (r < 0)
        return NULL;
    r = bundle_read(now_fd, &now);
    if (r == 0) {
        bundle_changes(&before, &now, &words);
        bundle_free(&now);
    }
    bundle_free(&before);
    return strdup(words.size > 0 ? text_str(&words) : "");
}

/* -- the next generation: tried -- */

/* Embedded workers that may go on do; for the others, new ones are started, on trial. */
static void start_trial(struct supervisor *supervisor)
{
    struct generation *next = supervisor->reload.next, *current = supervisor->current;

    for (size_t i = 0; i < next->listeners.embedded_count; i++) {
        struct embedded_worker *worker = &next->embedded[i];
        size_t former = generation_find_embedded(current, next->listeners.embedded[i].path);
        struct child_plan plan;

        if (next->listeners.embedded[i].leaving)
            continue;
        if (former < current->listeners.embedded_count && current->embedded[former].child &&
            generation_same_embedded(current, former, next, i)) {
            worker->child = current->embedded[former].child;
            continue;
        }
        supervisor_plan_embedded(supervisor, next, i, &plan);
        worker->child = children_add(&supervisor->children, &plan);
        if (!worker->child) {
            free(supervisor->reload.failure);
            supervisor->reload.failure = strdup("out of memory");
            return;
        }
        worker->child->trial = true;
        children_start_one(worker->child);
    }
}

void reload_child_failed(struct supervisor *supervisor, const struct child_process *child,
                         const char *how)
{
    struct generation *next = supervisor->reload.next;
    char words[160];

    log_line(LOG_LEVEL_ERROR, "%s %s", child->plan.name, how);
    snprintf(words, sizeof(words), "%s %s", child->plan.name, how);
    free(supervisor->reload.failure);
    supervisor->reload.failure = strdup(words);
    for (size_t i = 0; next && i < next->listeners.embedded_count; i++)
        if (next->embedded[i].child == child)
            next->embedded[i].child = NULL;
}

static bool trial_is_over(const struct generation *next)
{
    for (size_t i = 0; i < next->listeners.embedded_count; i++)
        if (next->embedded[i].child && next->embedded[i].child->trial &&
            !next->embedded[i].child->ready)
            return false;
    return true;
}

/* -- the swap -- */

/* A slot that another address has now is in service until proved otherwise. */
static void reset_health(struct supervisor *supervisor, const struct generation *generation)
{
    for (size_t i = 0; i < ADDRESS_SLOTS_MAX; i++)
        if (generation->fresh[i])
            health_reset(&supervisor->health[generation->configuration.slots[i]],
                         uv_now(&supervisor->loop));
}

/* What is known of an embedded worker that was replaced is void, now that nobody meets it. */
static void reset_replaced(struct supervisor *supervisor, struct generation *generation)
{
    const struct settings *settings = generation->configuration.settings;

    for (size_t i = 0; i < generation->listeners.embedded_count; i++) {
        size_t slot = generation->embedded[i].replaced
                          ? address_first_slot(settings, generation->listeners.embedded[i].backend)
                          : ADDRESS_SLOTS_MAX;

        generation->embedded[i].replaced = false;
        if (slot < ADDRESS_SLOTS_MAX)
            health_reset(&supervisor->health[generation->configuration.slots[slot]],
                         uv_now(&supervisor->loop));
    }
}

static void swap_embedded(struct supervisor *supervisor, struct generation *next)
{
    struct generation *current = supervisor->current;

    for (size_t i = 0; i < next->listeners.embedded_count; i++) {
        struct child_process *child = next->embedded[i].child, *former = NULL;
        size_t number = generation_find_embedded(current, next->listeners.embedded[i].path);

        if (number < current->listeners.embedded_count)
            former = current->embedded[number].child;
        if (!child)
            continue;
        if (next->listeners.embedded[i].leaving) {
            child->plan.bundle_fd = next->embedded[i].bundle_fd;
            child->plan.listeners[0] = next->listeners.embedded[i].fd;
            continue;
        }
        supervisor_plan_embedded(supervisor, next, i, &child->plan);
        children_confirm(child);
        if (!former || former == child)
            continue;
        next->embedded[i].replaced = true;
        children_retire(former);
    }
}

/* Workers that are started from now on are of the generation in use. */
static void plan_workers(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;

    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = children->items[i];

        if (child_is_proxy(child) && !child->retired)
            supervisor_plan_worker(supervisor, supervisor->current, child->plan.hello.index,
                                   &child->plan);
    }
}

/* Cannot fail. */
static void put_in_use(struct supervisor *supervisor)
{
    struct generation *next = supervisor->reload.next, *former = supervisor->current;

    supervisor->reload.next = NULL;
    uv_update_time(&supervisor->loop);
    if (next->configuration.settings->gatepost.log_level !=
        former->configuration.settings->gatepost.log_level) { /* else the operator's word holds */
        log_set_level((enum log_level)next->configuration.settings->gatepost.log_level);
        children_forget_log_level(&supervisor->children);
    }
    log_sink_open(next->configuration.settings->gatepost.log);
    reset_health(supervisor, next);
    supervisor->slots = next->slots;
    swap_embedded(supervisor, next);
    supervisor->current = next;
    plan_workers(supervisor);
    listener_set_tell_open(&next->listeners, &former->listeners);
    listener_set_replace(&next->listeners, &former->listeners);
    bulletin_begin(next->bulletin);
    certificate_watch_follow(supervisor->reload.watch, &next->configuration.files);
    supervisor->reload.half_since_ms = 0;
    supervisor->reload.half_told = false;
    generation_free(former);
    supervisor_adjust_workers(supervisor);
}

static bool handover_is_over(const struct supervisor *supervisor)
{
    const struct children *children = &supervisor->children;

    for (size_t i = 0; i < children->count; i++)
        if (children->items[i]->retired && !child_is_proxy(children->items[i]) &&
            !children->items[i]->lets_nobody_in)
            return false;
    return true;
}

/* -- the proxy workers -- */

/* Does it serve, but with another configuration? */
static bool is_to_swap(const struct supervisor *supervisor, const struct child_process *child)
{
    return child->control && child_is_proxy(child) && !child->retired && !child->unfit &&
           child->number != supervisor->current->number;
}

static int send_reload(struct supervisor *supervisor, struct child_process *child)
{
    const struct generation *current = supervisor->current;
    struct child_reload message = { CHILD_RELOAD, current->number,
                                    child->plan.hello.listener_count };
    int fds[CHILD_FDS_MAX];

    fds[0] = current->proxy_bundle;
    memcpy(fds + 1, child->plan.listeners, message.listener_count * sizeof(*fds));
    return control_send_fds(child->control, &message, sizeof(message), fds,
                            message.listener_count + 1);
}

/* Asks those that have not been asked. One that does not read is asked again. */
static void ask_workers(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;
    bool all = true;

    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = children->items[i];

        if (!is_to_swap(supervisor, child) || child->asked == supervisor->current->number)
            continue;
        if (send_reload(supervisor, child) < 0) {
            all = false;
            continue;
        }
        child->asked = supervisor->current->number;
        bulletin_tell(supervisor->current->bulletin, child);
    }
    if (all)
        uv_timer_stop(&supervisor->reload.resend);
}

static void resend_due(uv_timer_t *timer)
{
    ask_workers(timer->data);
}

static void begin_workers(struct supervisor *supervisor)
{
    reset_replaced(supervisor, supervisor->current);
    set_limit(supervisor, RELOAD_WORKERS, WORKERS_MS);
    uv_timer_start(&supervisor->reload.resend, resend_due, RESEND_MS, RESEND_MS);
    ask_workers(supervisor);
}

static bool workers_have_swapped(const struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->children.count; i++)
        if (is_to_swap(supervisor, supervisor->children.items[i]))
            return false;
    return true;
}

static void tell_late_workers(struct supervisor *supervisor)
{
    for (size_t i = 0; i < supervisor->children.count; i++)
        if (is_to_swap(supervisor, supervisor->children.items[i]))
            log_line(LOG_LEVEL_WARNING, "%s has not taken the new configuration yet",
                     supervisor->children.items[i]->plan.name);
}

void reload_answered(struct supervisor *supervisor, struct child_process *child,
                     const struct child_reloaded *answer)
{
    if (answer->number != supervisor->current->number) {
        child->asked = 0; /* one of before, which it got late: it can take this one now */
        if (is_to_swap(supervisor, child))
            uv_timer_start(&supervisor->reload.resend, resend_due, 0, RESEND_MS);
        return;
    }
    if (answer->status == 0) {
        child->number = answer->number;
    } else if (answer->status == -EBUSY) {
        child->asked = 0; /* it is at work on one of before */
        uv_timer_start(&supervisor->reload.resend, resend_due, RESEND_MS, RESEND_MS);
    } else if (!child->retired) {
        child->unfit = true;
        log_line(LOG_LEVEL_WARNING, "%s cannot take the new configuration: another takes its place",
                 child->plan.name);
        supervisor_adjust_workers(supervisor);
    }
    reload_step(supervisor);
}

/* -- those that are leaving -- */

/* Has every session that began before that configuration ended? */
static bool nobody_needs(const struct supervisor *supervisor, uint32_t number)
{
    const struct children *children = &supervisor->children;

    for (size_t i = 0; i < children->count; i++)
        if (child_is_proxy(children->items[i]) && children->items[i]->control &&
            (children->items[i]->oldest < number || children->items[i]->number < number))
            return false;
    return true;
}

static void end_those_that_leave(struct supervisor *supervisor)
{
    struct generation *current = supervisor->current;

    for (size_t i = 0; i < current->listeners.embedded_count; i++) {
        struct embedded_worker *worker = &current->embedded[i];

        if (!current->listeners.embedded[i].leaving || current->listeners.embedded[i].fd < 0 ||
            !nobody_needs(supervisor, worker->left))
            continue;
        listener_set_close_embedded(&current->listeners.embedded[i]);
        if (worker->child)
            children_retire(worker->child);
        worker->child = NULL;
    }
}

/* -- step by step -- */

static void limit_reached(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    struct reload *reload = &supervisor->reload;

    switch (reload->phase) {
    case RELOAD_NAMES:
        set_limit(supervisor, RELOAD_TRIAL, TRIAL_MS);
        start_trial(supervisor);
        break;
    case RELOAD_TRIAL:
        if (!reload->failure)
            reload->failure = strdup("an embedded worker does not get ready");
        log_line(LOG_LEVEL_ERROR, "an embedded worker does not get ready");
        break;
    case RELOAD_HANDOVER:
        begin_workers(supervisor);
        break;
    case RELOAD_WORKERS:
        tell_late_workers(supervisor);
        in_use(supervisor);
        return;
    case RELOAD_IDLE:
        return;
    }
    reload_step(supervisor);
}

static void set_limit(struct supervisor *supervisor, enum reload_phase phase, uint64_t limit_ms)
{
    supervisor->reload.phase = phase;
    uv_timer_start(&supervisor->reload.limit, limit_reached, limit_ms, 0);
}

/* Looks at what is awaited, and goes on where it is there. */
void reload_step(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    if (supervisor->phase != PHASE_SERVING)
        return;
    if (reload->phase == RELOAD_NAMES && bulletin_settled(reload->next->bulletin)) {
        set_limit(supervisor, RELOAD_TRIAL, TRIAL_MS);
        start_trial(supervisor);
    }
    if (reload->phase == RELOAD_TRIAL && reload->failure) {
        char *words = reload->failure;

        reload->failure = NULL;
        undo(supervisor);
        fail(supervisor, words);
        return;
    }
    if (reload->phase == RELOAD_TRIAL && trial_is_over(reload->next)) {
        put_in_use(supervisor);
        set_limit(supervisor, RELOAD_HANDOVER, HANDOVER_MS);
    }
    if (reload->phase == RELOAD_HANDOVER && handover_is_over(supervisor))
        begin_workers(supervisor);
    if (reload->phase == RELOAD_WORKERS && workers_have_swapped(supervisor))
        in_use(supervisor);
    end_those_that_leave(supervisor);
}

void reload_names_settled(void *owner)
{
    struct supervisor *supervisor = owner;

    if (supervisor->reload.phase == RELOAD_NAMES)
        reload_step(supervisor);
}

/* -- both reasons -- */

static void read_settings(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    struct configuration_before before = { &supervisor->current->configuration,
                                           supervisor->current->proxy_bundle };
    struct configuration configuration;
    struct diagnostics diagnostics;
    char room[WORDS_ROOM], *words;
    struct text text = TEXT_OVER(room);
    int r;

    diagnostics_init(&diagnostics);
    r = configuration_load(supervisor->path, &before, &diagnostics, &configuration);
    words = log_diagnostics(&diagnostics);
    diagnostics_deinit(&diagnostics);
    if (r < 0) {
        fail(supervisor, words);
        return;
    }
    free(words);
    if (keep_fixed(&configuration, &supervisor->current->configuration) < 0) {
        configuration_deinit(&configuration);
        fail(supervisor, strdup(err_text(-ENOMEM)));
        return;
    }
    if (generation_new(supervisor, &configuration, reload->number, &text, &reload->next) !=
        SUPERVISOR_DONE) {
        fail(supervisor, strdup(text_str(&text)));
        return;
    }
    if (bundle_same(supervisor->current->proxy_bundle, reload->next->proxy_bundle)) {
        undo(supervisor);
        unchanged(supervisor);
        return;
    }
    reload->changes =
        describe_changes(supervisor->current->proxy_bundle, reload->next->proxy_bundle);
    set_limit(supervisor, RELOAD_NAMES, NAMES_MS);
    reload_step(supervisor);
}

static void half_due(uv_timer_t *timer)
{
    reload_begin(timer->data, RELOAD_CERTIFICATES);
}

/* What is wrong may be half-written: nothing is said at first. */
static bool may_be_at_work(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    uint64_t now_ms = uv_now(&supervisor->loop);

    if (reload->half_since_ms == 0)
        reload->half_since_ms = now_ms;
    return !reload->half_told && now_ms - reload->half_since_ms < HALF_MS;
}

/* It is no reload that anybody is told of. */
static void end_silently(struct supervisor *supervisor)
{
    supervisor->reload.number--;
    end(supervisor);
}

static void read_them_later(struct supervisor *supervisor)
{
    uv_timer_start(&supervisor->reload.half, half_due, HALF_TRY_MS, 0);
    end_silently(supervisor);
}

static void certificates_are_bad(struct supervisor *supervisor,
                                 const struct diagnostics *diagnostics)
{
    struct reload *reload = &supervisor->reload;

    if (reload->half_told) { /* another state, as bad as the one before */
        end_silently(supervisor);
        return;
    }
    reload->half_told = true;
    fail(supervisor, log_diagnostics(diagnostics));
}

static void certificates_are_the_same(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    if (reload->half_told)
        log_line(LOG_LEVEL_NOTICE, "certificates and keys are as they were again");
    reload->half_told = false;
    reload->half_since_ms = 0;
    end_silently(supervisor);
}

static void use_certificates(struct supervisor *supervisor, int bundle_fd)
{
    struct reload *reload = &supervisor->reload;
    struct generation *current = supervisor->current;

    reload->changes = describe_changes(current->proxy_bundle, bundle_fd);
    reload->half_told = false;
    reload->half_since_ms = 0;
    close(current->proxy_bundle);
    current->proxy_bundle = bundle_fd;
    current->number = reload->number;
    current->loaded = time(NULL);
    bulletin_renumber(current->bulletin, current->number);
    plan_workers(supervisor);
    begin_workers(supervisor);
    reload_step(supervisor);
}

/* They were read, and may be put in use. */
static void compare_certificates(struct supervisor *supervisor, bool unsettled,
                                 const struct diagnostics *diagnostics)
{
    struct generation *current = supervisor->current;
    int fd = generation_make_bundle(current);

    if (fd < 0) {
        certificates_are_bad(supervisor, diagnostics);
    } else if (bundle_same(current->proxy_bundle, fd)) {
        close(fd);
        if (unsettled) /* what is bad in a folder did not replace what was good */
            free(log_diagnostics(diagnostics));
        certificates_are_the_same(supervisor);
    } else {
        free(log_diagnostics(diagnostics)); /* warnings */
        use_certificates(supervisor, fd);
    }
}

static void read_certificates(struct supervisor *supervisor)
{
    struct configuration *configuration = &supervisor->current->configuration;
    struct diagnostics diagnostics;
    bool unsettled;
    int r;

    diagnostics_init(&diagnostics);
    r = configuration_load_keys(configuration, supervisor->current->proxy_bundle, &diagnostics);
    certificate_watch_follow(supervisor->reload.watch, &configuration->files);
    unsettled = r < 0 || configuration_unsettled(configuration);
    if (unsettled && may_be_at_work(supervisor)) {
        if (r == 0)
            configuration_settle_keys(configuration, false);
        read_them_later(supervisor);
    } else if (r < 0) {
        certificates_are_bad(supervisor, &diagnostics);
    } else {
        configuration_settle_keys(configuration, true);
        compare_certificates(supervisor, unsettled, &diagnostics);
    }
    diagnostics_deinit(&diagnostics);
}

/* -- one after the other -- */

static void run(struct supervisor *supervisor, enum reload_reason reason)
{
    struct reload *reload = &supervisor->reload;

    reload->wanted[reason] = false;
    reload->began_ms = uv_now(&supervisor->loop);
    reload->number++;
    if (reason == RELOAD_CERTIFICATES) {
        read_certificates(supervisor);
        return;
    }
    reload->wanted[RELOAD_CERTIFICATES] = false; /* they are read as well */
    log_line(LOG_LEVEL_INFO, "reload %u: reading %s", reload->number, supervisor->path);
    notify_reloading(&supervisor->notify);
    read_settings(supervisor);
}

static void again_due(uv_timer_t *timer)
{
    begin_wanted(timer->data);
}

static void begin_wanted(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;
    uint64_t now_ms = uv_now(&supervisor->loop);
    int reason = 0;

    while (reason < RELOAD_REASONS && !reload->wanted[reason])
        reason++;
    if (reason == RELOAD_REASONS || reload->phase != RELOAD_IDLE ||
        supervisor->phase != PHASE_SERVING)
        return;
    if (reload->began_ms > 0 && now_ms - reload->began_ms < GAP_MS) {
        uv_timer_start(&reload->again, again_due, GAP_MS - (now_ms - reload->began_ms), 0);
        return;
    }
    run(supervisor, (enum reload_reason)reason);
}

uint32_t reload_begin(struct supervisor *supervisor, enum reload_reason reason)
{
    struct reload *reload = &supervisor->reload;
    uint32_t number = reload->number + 1;

    reload->wanted[reason] = true;
    begin_wanted(supervisor);
    return number;
}

const struct reload_result *reload_result(const struct supervisor *supervisor)
{
    return &supervisor->reload.result;
}

static void certificates_changed(void *owner)
{
    reload_begin(owner, RELOAD_CERTIFICATES);
}

int reload_init(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    reload->result.words = strdup("");
    uv_timer_init(&supervisor->loop, &reload->limit);
    uv_timer_init(&supervisor->loop, &reload->again);
    uv_timer_init(&supervisor->loop, &reload->resend);
    uv_timer_init(&supervisor->loop, &reload->half);
    reload->limit.data = reload->again.data = supervisor;
    reload->resend.data = reload->half.data = supervisor;
    if (!reload->result.words)
        return -ENOMEM;
    return certificate_watch_new(&supervisor->loop, certificates_changed, supervisor,
                                 &reload->watch);
}

void reload_open(struct supervisor *supervisor)
{
    certificate_watch_follow(supervisor->reload.watch, &supervisor->current->configuration.files);
    begin_wanted(supervisor);
}

void reload_close(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    uv_timer_stop(&reload->limit);
    uv_timer_stop(&reload->again);
    uv_timer_stop(&reload->resend);
    uv_timer_stop(&reload->half);
    certificate_watch_close(reload->watch);
    reload->watch = NULL;
    if (reload->phase != RELOAD_IDLE)
        log_line(LOG_LEVEL_NOTICE, "reload %u is given up", reload->number);
    undo(supervisor);
    reload->phase = RELOAD_IDLE;
    operator_reload_ended(supervisor);
}

void reload_deinit(struct supervisor *supervisor)
{
    free(supervisor->reload.changes);
    free(supervisor->reload.failure);
    free(supervisor->reload.result.words);
}

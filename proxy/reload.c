/* Reloading: everything is made and tried first, then put in use.
 *
 * Happy path: the files are read and checked, sockets bound (reload_read.c), host names looked up,
 * embedded workers whose settings have changed started; when all that is good, the generation takes
 * the place of the one before (reload_swap.c). The embedded workers that were replaced stop
 * accepting, the proxy workers swap, and those that are not named any more end when no session can
 * need them.
 *
 * What is wrong with files, certificates, sockets or programs ends it before the swap, and changes
 * nothing. A worker that does not answer holds up nobody: it is asked again. */
#include "proxy/reload.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/log.h"
#include "proxy/reload_private.h"

#define NAMES_MS    5000  /* then the workers find their addresses a little later */
#define TRIAL_MS    30000 /* for an embedded worker to start; guessed */
#define HANDOVER_MS 5000  /* it hangs, and accepts nobody; guessed */
#define WORKERS_MS  10000 /* then it ends without those that have not answered; guessed */
#define GAP_MS      250   /* between the beginnings of two reloads: a storm costs little */

/* -- results -- */

/* `words` is taken over. */
static void set_result(struct supervisor *supervisor, enum reload_outcome outcome, char *words)
{
    struct reload *reload = &supervisor->reload;

    free(reload->result.words);
    reload->result = (struct reload_result){
        .number = reload->number, .outcome = outcome, .when = time(NULL), .words = words
    };
    supervisor_tell_manager(supervisor);
}

static void begin_wanted(struct supervisor *supervisor);

void reload_end(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    free(reload->changes);
    free(reload->failure);
    reload->changes = reload->failure = NULL;
    uv_timer_stop(&reload->limit);
    reload->phase = RELOAD_IDLE;
    operator_reload_ended(supervisor);
    begin_wanted(supervisor);
}

void reload_fail(struct supervisor *supervisor, char *words)
{
    struct reload *reload = &supervisor->reload;

    log_line(LOG_LEVEL_ERROR, "reload %u failed: nothing was changed", reload->number);
    set_result(supervisor, RELOAD_FAILED, words);
    reload_end(supervisor);
}

void reload_undo(struct supervisor *supervisor)
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
    set_result(supervisor, RELOAD_IN_USE, words);
    reload_end(supervisor);
}

void reload_unchanged(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    reload->half_told = false;
    reload->half_since_ms = 0;
    log_line(LOG_LEVEL_NOTICE, "reload %u: nothing has changed", reload->number);
    set_result(supervisor, RELOAD_UNCHANGED, strdup("nothing has changed"));
    reload_end(supervisor);
}

/* -- step by step -- */

static void limit_reached(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    struct reload *reload = &supervisor->reload;

    switch (reload->phase) {
    case RELOAD_NAMES:
        reload_set_phase(supervisor, RELOAD_TRIAL);
        reload_start_trial(supervisor);
        break;
    case RELOAD_TRIAL:
        if (!reload->failure)
            reload->failure = strdup("an embedded worker does not get ready");
        log_line(LOG_LEVEL_ERROR, "an embedded worker does not get ready");
        break;
    case RELOAD_HANDOVER:
        reload_begin_workers(supervisor);
        break;
    case RELOAD_WORKERS:
        reload_tell_late_workers(supervisor);
        in_use(supervisor);
        return;
    case RELOAD_IDLE:
        return;
    }
    reload_step(supervisor);
}

void reload_set_phase(struct supervisor *supervisor, enum reload_phase phase)
{
    static const uint64_t limits_ms[] = {
        [RELOAD_NAMES] = NAMES_MS,
        [RELOAD_TRIAL] = TRIAL_MS,
        [RELOAD_HANDOVER] = HANDOVER_MS,
        [RELOAD_WORKERS] = WORKERS_MS,
    };

    supervisor->reload.phase = phase;
    uv_timer_start(&supervisor->reload.limit, limit_reached, limits_ms[phase], 0);
}

/* Looks at what is awaited, and goes on where it is there. */
void reload_step(struct supervisor *supervisor)
{
    struct reload *reload = &supervisor->reload;

    if (supervisor->phase != PHASE_SERVING)
        return;
    if (reload->phase == RELOAD_NAMES && bulletin_settled(reload->next->bulletin)) {
        reload_set_phase(supervisor, RELOAD_TRIAL);
        reload_start_trial(supervisor);
    }
    if (reload->phase == RELOAD_TRIAL && reload->failure) {
        char *words = reload->failure;

        reload->failure = NULL;
        reload_undo(supervisor);
        reload_fail(supervisor, words);
        return;
    }
    if (reload->phase == RELOAD_TRIAL && reload_trial_is_over(reload->next)) {
        reload_put_in_use(supervisor);
        reload_set_phase(supervisor, RELOAD_HANDOVER);
    }
    if (reload->phase == RELOAD_HANDOVER && reload_handover_is_over(supervisor))
        reload_begin_workers(supervisor);
    if (reload->phase == RELOAD_WORKERS && reload_workers_have_swapped(supervisor))
        in_use(supervisor);
    reload_end_those_that_leave(supervisor);
}

void reload_names_settled(void *owner)
{
    struct supervisor *supervisor = owner;

    if (supervisor->reload.phase == RELOAD_NAMES)
        reload_step(supervisor);
}

/* -- one after the other -- */

static void run(struct supervisor *supervisor, enum reload_reason reason)
{
    struct reload *reload = &supervisor->reload;

    reload->wanted[reason] = false;
    reload->began_ms = uv_now(&supervisor->loop);
    reload->number++;
    if (reason == RELOAD_CERTIFICATES) {
        reload_read_certificates(supervisor);
        return;
    }
    reload->wanted[RELOAD_CERTIFICATES] = false; /* they are read as well */
    log_line(LOG_LEVEL_INFO, "reload %u: reading %s", reload->number, supervisor->path);
    notify_reloading(&supervisor->notify);
    reload_read_settings(supervisor);
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
        supervisor->phase != PHASE_SERVING || upgrade_runs(supervisor))
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
    reload_undo(supervisor);
    reload->phase = RELOAD_IDLE;
    operator_reload_ended(supervisor);
}

void reload_deinit(struct supervisor *supervisor)
{
    free(supervisor->reload.changes);
    free(supervisor->reload.failure);
    free(supervisor->reload.result.words);
}

/* How a supervisor ends: the ports are closed, the proxy workers drain, then the embedded workers,
 * whose sessions have ended with them.
 *
 * TERM: sessions have drain_timeout, then their processes are killed; a second TERM ends all at
 * once. After an upgrade (supervisor_leave()) sessions have drain_timeout without a word to anybody
 * first. A phase ends when no process of it is left, so nothing here waits for a time to pass. */
#include "proxy/base/log.h"
#include "proxy/supervisor_private.h"

#define KILL_GRACE_MS    1000  /* a child ends its last sessions itself at drain_timeout */
#define MANAGER_GRACE_MS 10000 /* behind our own limits; guessed */

static void stop(struct supervisor *supervisor)
{
    supervisor->phase = PHASE_DONE;
    uv_stop(&supervisor->loop);
}

static void kill_all(struct supervisor *supervisor)
{
    children_kill(&supervisor->children, true);
    children_kill(&supervisor->children, false);
}

static void drain_expired(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;
    bool proxies = supervisor->phase == PHASE_DRAIN_PROXIES;

    log_line(LOG_LEVEL_WARNING, "%zu processes did not end in time and are killed",
             children_running(&supervisor->children, proxies));
    children_kill_late(&supervisor->children, proxies);
}

void supervisor_drain_step(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;

    if (supervisor->phase == PHASE_DRAIN_PROXIES && children_running(children, true) == 0) {
        supervisor->phase = PHASE_DRAIN_EMBEDDED;
        children_drain(children, false);
        uv_timer_start(&supervisor->drain_timer, drain_expired, EMBEDDED_DRAIN_MS + KILL_GRACE_MS,
                       0);
    }
    if (supervisor->phase == PHASE_DRAIN_EMBEDDED && children_running(children, false) == 0 &&
        !upgrade_runs(supervisor))
        stop(supervisor);
}

static uint64_t drain_timeout_ms(const struct supervisor *supervisor)
{
    return supervisor->current->configuration.settings->gatepost.drain_timeout_ms;
}

static void tell_manager_of_end(const struct supervisor *supervisor, uint32_t timeout_ms)
{
    char status[80];

    snprintf(status, sizeof(status), "sessions have %u s to end", timeout_ms / 1000);
    notify_stopping(&supervisor->notify, status,
                    (uint64_t)timeout_ms + EMBEDDED_DRAIN_MS + MANAGER_GRACE_MS);
}

/* Nobody new is let in, and nothing is changed any more. */
static void close_up(struct supervisor *supervisor)
{
    supervisor->phase = PHASE_DRAIN_PROXIES;
    upgrade_cancel(supervisor);
    if (upgrade_is_heir(supervisor))
        upgrade_give_back(supervisor);
    watchdog_stop(&supervisor->watchdog);
    reload_close(supervisor);
    listener_set_close_public(&supervisor->current->listeners);
    activation_deinit(&supervisor->activation);
}

static void drain_proxies(struct supervisor *supervisor)
{
    children_drain(&supervisor->children, true);
    uv_timer_start(&supervisor->drain_timer, drain_expired,
                   drain_timeout_ms(supervisor) + KILL_GRACE_MS, 0);
    supervisor_drain_step(supervisor);
}

static void begin_drain(struct supervisor *supervisor)
{
    uint32_t timeout_ms = (uint32_t)drain_timeout_ms(supervisor);

    tell_manager_of_end(supervisor, timeout_ms);
    log_line(LOG_LEVEL_NOTICE, "ending: sessions have %u s; a second signal ends at once",
             timeout_ms / 1000);
    close_up(supervisor);
    drain_proxies(supervisor);
}

static void leave_expired(uv_timer_t *timer)
{
    struct supervisor *supervisor = timer->data;

    log_line(LOG_LEVEL_NOTICE, "ending: %zu processes still have sessions, for another %llu s",
             children_running(&supervisor->children, true),
             (unsigned long long)drain_timeout_ms(supervisor) / 1000);
    drain_proxies(supervisor);
}

/* Unlike a drain, this ends no session that waits for its next command. */
void supervisor_leave(struct supervisor *supervisor)
{
    struct children *children = &supervisor->children;

    log_line(LOG_LEVEL_NOTICE, "ending: sessions go on for %llu s; a signal ends at once",
             (unsigned long long)drain_timeout_ms(supervisor) / 1000);
    close_up(supervisor);
    for (size_t i = children->count; i-- > 0;)
        if (child_is_proxy(children->items[i]) && !children->items[i]->retired)
            children_retire(children->items[i]); /* may be gone */
    uv_timer_start(&supervisor->drain_timer, leave_expired, drain_timeout_ms(supervisor), 0);
    supervisor_drain_step(supervisor);
}

void supervisor_drain(struct supervisor *supervisor)
{
    if (supervisor->phase < PHASE_DRAIN_PROXIES)
        begin_drain(supervisor);
}

void supervisor_terminate(struct supervisor *supervisor)
{
    if (supervisor->phase < PHASE_DRAIN_PROXIES) {
        begin_drain(supervisor);
        return;
    }
    log_line(LOG_LEVEL_NOTICE, "ending at once");
    upgrade_cancel(supervisor);
    kill_all(supervisor);
}

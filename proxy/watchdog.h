/* Is everybody alive? The service manager's watchdog is fed while all processes answer.
 *
 * At every half of the manager's interval each child that serves is asked. One that has not
 * answered when the next question is due hangs: it is killed, and started again as every child that
 * dies, so that the sessions of the others go on. Until it serves again the watchdog is not fed;
 * where that does not help, and where the supervisor itself hangs, the manager ends all. */
#ifndef GATEPOST_PROXY_WATCHDOG_H
#define GATEPOST_PROXY_WATCHDOG_H

#include "proxy/children.h"
#include "proxy/notify.h"

struct watchdog {
    uv_timer_t timer;
    struct children *children;
    const struct notify *notify;
    uint64_t half_ms;  /* 0: there is none */
    bool looked_twice; /* nobody is killed at the first look */
    bool hungry;       /* it was not fed when it was time */
};

/* Children are asked only where the manager has set a watchdog. All are borrowed. */
void watchdog_start(struct watchdog *watchdog, uv_loop_t *loop, struct children *children,
                    const struct notify *notify);

/* A child has said that it lives. True: all is well again, and the watchdog was fed. */
bool watchdog_answered(struct watchdog *watchdog, struct child_process *child);

/* A child became ready or ended. Likewise. */
bool watchdog_children_changed(struct watchdog *watchdog);

void watchdog_stop(struct watchdog *watchdog);

#endif

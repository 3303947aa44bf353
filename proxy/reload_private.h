/* What the files of a reload share: reload.c, reload_read.c, reload_swap.c. */
#ifndef GATEPOST_PROXY_RELOAD_PRIVATE_H
#define GATEPOST_PROXY_RELOAD_PRIVATE_H

#include "proxy/supervisor_private.h"

/* -- reload.c: how one ends, and what it waits for -- */

/* `words` is taken over; its lines are in the log already. */
void reload_fail(struct supervisor *supervisor, char *words);
void reload_unchanged(struct supervisor *supervisor);
void reload_end(struct supervisor *supervisor);

/* The generation that was to come is undone. */
void reload_undo(struct supervisor *supervisor);

/* The next phase, and how long it may take. */
void reload_set_phase(struct supervisor *supervisor, enum reload_phase phase);

/* -- reload_read.c: what is read, and judged -- */

/* Reads all, and goes on with RELOAD_NAMES; or fails. */
void reload_read_settings(struct supervisor *supervisor);

/* Reads keys and authorities, and goes on with RELOAD_WORKERS; or is tried again, or fails. */
void reload_read_certificates(struct supervisor *supervisor);

/* -- reload_swap.c: what is put in use -- */

/* Embedded workers that may go on do; for the others, new ones are started, on trial. */
void reload_start_trial(struct supervisor *supervisor);
bool reload_trial_is_over(const struct generation *next);

/* The next generation takes the place of the one in use. Cannot fail. */
void reload_put_in_use(struct supervisor *supervisor);
bool reload_handover_is_over(const struct supervisor *supervisor);

/* Another bundle takes the place of the one in use; it has the number of this reload. */
void reload_put_bundle_in_use(struct supervisor *supervisor, int bundle_fd);

/* The proxy workers are told to swap: RELOAD_WORKERS. */
void reload_begin_workers(struct supervisor *supervisor);
bool reload_workers_have_swapped(const struct supervisor *supervisor);
void reload_tell_late_workers(struct supervisor *supervisor);

/* Embedded workers that no configuration names end, once no session needs them. */
void reload_end_those_that_leave(struct supervisor *supervisor);

#endif

/* Which addresses of servers are in service, and how many connections each has: in memory that all
 * workers share.
 *
 * PURE: time is given (milliseconds of the monotonic clock, uv_now()), the memory is the caller's.
 * Readers and writers use atomics only; nobody waits for anybody, and a worker that dies leaves
 * nothing that others would wait for. Every address has a slot (proxy/address.h). */
#ifndef GATEPOST_PROXY_HEALTH_H
#define GATEPOST_PROXY_HEALTH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define HEALTH_WORKERS_MAX    64
#define HEALTH_FIRST_STALE_MS 2000 /* a worker that says nothing for so long has hung; guessed */
#define HEALTH_SLOTS          512  /* of the addresses of a configuration and of those before it */
#define HEALTH_BACK_OFF_FIRST                                                                      \
    500                            /* milliseconds until an address that failed is tried again ... \
                                    */
#define HEALTH_BACK_OFF_MOST 30000 /* ... doubled each time, to at most this; both guessed */

/* One slot. All zero: in service, nothing known. */
struct health {
    _Atomic uint32_t failures;     /* in a row; 0: in service */
    _Atomic uint32_t generation;   /* grows with each outage: what was learned before is void */
    _Atomic uint64_t failed_ms;    /* when the last outage began; 0: never */
    _Atomic uint64_t recovered_ms; /* when the last outage ended; 0: never */
    _Atomic uint64_t retry_ms;     /* the next attempt is not due before */
    _Atomic uint32_t connections[HEALTH_WORKERS_MAX];
    _Atomic uint32_t tickets;                   /* given to those that queue for a connection */
    _Atomic uint64_t first[HEALTH_WORKERS_MAX]; /* of each worker's queue: its ticket, and when it
                                                   was seen (the low 32 bits); 0: nobody */
};

static inline bool health_in_service(const struct health *health)
{
    return atomic_load_explicit(&health->failures, memory_order_acquire) == 0;
}

/* An attempt that began at `began_ms` has failed. One that began before the last recovery says
 * nothing about now. Sets the time of the next attempt. True: the address was in service until now,
 * and the caller is the one to log the outage. */
bool health_failed(struct health *health, uint64_t began_ms, uint64_t now_ms);

/* An attempt has succeeded. True: it was out, and the caller is the one to log that it is back. */
bool health_recovered(struct health *health, uint64_t now_ms);

/* The slot stands for another address from now on: in service, and all that was learned is void. */
void health_reset(struct health *health, uint64_t now_ms);

/* Is the address out and an attempt due? Then true for one caller of all workers, and the next
 * attempt is due a back-off later. */
bool health_claim_retry(struct health *health, uint64_t now_ms);

/* One more connection of this worker, of at most `most` by all of them together (0: no limit).
 * False: there is no room now; never exceeded, also when several workers ask at once. */
bool health_take(struct health *health, unsigned worker, uint32_t most);
void health_give(struct health *health, unsigned worker);

/* The place in the queue, before all workers, of one that has to wait for a connection. Never 0. */
uint32_t health_ticket(struct health *health);

/* Says whom this worker would serve next (0: nobody waits here); to be said again while one waits.
 * True: nobody who came before waits at another worker; with 0: nobody does at all. */
bool health_turn(struct health *health, unsigned worker, uint32_t ticket, uint64_t now_ms);

/* For the supervisor: this worker has died, and its connections with it. */
void health_forget_worker(struct health *health, unsigned worker);

#endif

/* Health of the servers' addresses, in words that all workers share; see health.h.
 *
 * Happy path: failures is 0 and nobody writes anything but the counts of connections. The first
 * failure makes it 1, and whoever did that logs it. From then on each attempt that is claimed
 * counts as a failure in advance: should its worker die, or its server hang, the back-off grows all
 * the same, and only an attempt that succeeds makes it 0 again. Nothing here can fail. */
#include "proxy/health.h"

#define TAKE_TRIES 64 /* for the last place, against others that want it too; guessed */

static uint64_t back_off_ms(uint32_t failures)
{
    uint64_t wait_ms = HEALTH_BACK_OFF_FIRST;

    for (uint32_t i = 1; i < failures && wait_ms < HEALTH_BACK_OFF_MOST; i++)
        wait_ms *= 2;
    return wait_ms < HEALTH_BACK_OFF_MOST ? wait_ms : HEALTH_BACK_OFF_MOST;
}

bool health_failed(struct health *health, uint64_t began_ms, uint64_t now_ms)
{
    uint32_t none = 0;

    if (began_ms < atomic_load(&health->recovered_ms))
        return false;
    if (atomic_load(&health->failures) > 0)
        return false; /* known; the claim of the attempt has moved the next one already */
    atomic_store(&health->retry_ms, now_ms + back_off_ms(1)); /* before anybody may claim */
    if (!atomic_compare_exchange_strong(&health->failures, &none, 1))
        return false;
    atomic_store(&health->failed_ms, now_ms);
    atomic_fetch_add(&health->generation, 1);
    return true;
}

bool health_recovered(struct health *health, uint64_t now_ms)
{
    if (health_in_service(health))
        return false;
    /* First, so that nobody who sees it in service takes an older attempt's failure for news. */
    atomic_store(&health->recovered_ms, now_ms);
    return atomic_exchange(&health->failures, 0) > 0;
}

void health_reset(struct health *health, uint64_t now_ms)
{
    atomic_store(&health->recovered_ms, now_ms);
    atomic_fetch_add(&health->generation, 1);
    atomic_store(&health->failures, 0);
}

bool health_claim_retry(struct health *health, uint64_t now_ms)
{
    uint32_t failures = atomic_load(&health->failures);
    uint64_t due_ms = atomic_load(&health->retry_ms);

    if (failures == 0 || now_ms < due_ms)
        return false;
    if (!atomic_compare_exchange_strong(&health->retry_ms, &due_ms,
                                        now_ms + back_off_ms(failures + 1)))
        return false;
    /* Where it has recovered in between, there is nothing to count and nothing to try. */
    return atomic_compare_exchange_strong(&health->failures, &failures,
                                          failures < UINT32_MAX ? failures + 1 : failures);
}

static uint64_t count_all(const struct health *health)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < HEALTH_WORKERS_MAX; i++)
        sum += atomic_load(&health->connections[i]);
    return sum;
}

/* Taken first and counted then: two that do so at once may both find one too many, but never both
 * too few. Who finds that and sees room without its own place tries again, so that the last place
 * is not left empty because two wanted it. */
bool health_take(struct health *health, unsigned worker, uint32_t most)
{
    _Atomic uint32_t *own = &health->connections[worker % HEALTH_WORKERS_MAX];

    for (unsigned i = 0; i < TAKE_TRIES; i++) {
        atomic_fetch_add(own, 1);
        if (most == 0 || count_all(health) <= most)
            return true;
        atomic_fetch_sub(own, 1);
        if (count_all(health) >= most)
            return false;
    }
    return false;
}

void health_give(struct health *health, unsigned worker)
{
    _Atomic uint32_t *own = &health->connections[worker % HEALTH_WORKERS_MAX];

    if (atomic_load(own) > 0) /* nobody else writes it while this worker lives */
        atomic_fetch_sub(own, 1);
}

uint32_t health_ticket(struct health *health)
{
    uint32_t ticket;

    do
        ticket = atomic_fetch_add(&health->tickets, 1) + 1;
    while (ticket == 0);
    return ticket;
}

/* Both numbers wrap around. */
static bool waits_longer(uint64_t first, uint32_t ticket, uint64_t now_ms)
{
    uint32_t age_ms = (uint32_t)now_ms - (uint32_t)first;

    if (first == 0 || (age_ms > HEALTH_FIRST_STALE_MS && age_ms < UINT32_MAX / 2))
        return false;
    return ticket == 0 || (int32_t)((uint32_t)(first >> 32) - ticket) < 0;
}

bool health_turn(struct health *health, unsigned worker, uint32_t ticket, uint64_t now_ms)
{
    worker %= HEALTH_WORKERS_MAX;
    atomic_store(&health->first[worker], ticket ? (uint64_t)ticket << 32 | (uint32_t)now_ms : 0);
    for (unsigned i = 0; i < HEALTH_WORKERS_MAX; i++)
        if (i != worker && waits_longer(atomic_load(&health->first[i]), ticket, now_ms))
            return false;
    return true;
}

void health_forget_worker(struct health *health, unsigned worker)
{
    atomic_store(&health->connections[worker % HEALTH_WORKERS_MAX], 0);
    atomic_store(&health->first[worker % HEALTH_WORKERS_MAX], 0);
}

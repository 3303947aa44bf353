/* Who waits for an address, and which addresses are out of service.
 *
 * Happy path: nobody waits, nothing is out, the timer does not run. At max_connections sessions
 * queue, and get places in their order; an address that failed is logged once by all workers
 * together, and one of them asks it again when the back-off has passed. */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proxy/backend_private.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define LACK_MS 60000 /* between two lines about what we lack; guessed */

static void on_tick(uv_timer_t *timer);

/* -- waiting -- */

void backend_wait_in(struct backend_waiters *waiters, struct backend_waiter *waiter)
{
    TAILQ_INSERT_TAIL(waiters, waiter, link);
    waiter->in = waiters;
}

void backend_stop_waiting(struct backend_waiter *waiter)
{
    if (waiter->in)
        TAILQ_REMOVE(waiter->in, waiter, link);
    waiter->in = NULL;
}

void backend_tell_waiters(struct backend *backend, bool tls, int status)
{
    struct backend_waiters told = TAILQ_HEAD_INITIALIZER(told);
    struct backend_waiter *waiter;

    /* Who begins to wait anew while they are told waits for the next answer. */
    while ((waiter = TAILQ_FIRST(&backend->waiters[tls]))) {
        backend_stop_waiting(waiter);
        backend_wait_in(&told, waiter);
    }
    while ((waiter = TAILQ_FIRST(&told))) {
        backend_stop_waiting(waiter);
        waiter->done(waiter, status);
    }
}

void backend_keep_ticking(struct backend *backend, uint64_t ms)
{
    if (backend->timer_open && (!uv_is_active((uv_handle_t *)&backend->timer) ||
                                uv_timer_get_due_in(&backend->timer) > ms))
        uv_timer_start(&backend->timer, on_tick, ms, 0);
}

/* `waiter` NULL: nobody waits here. */
static bool is_next(const struct backend_address *address, const struct backend_waiter *waiter)
{
    const struct backend *backend = address->backend;

    return health_turn(address->health, backend->worker, waiter ? waiter->ticket : 0,
                       uv_now(backend->loop->uv));
}

static bool take(const struct backend_address *address)
{
    const struct backend *backend = address->backend;

    return health_take(address->health, backend->worker, backend->settings->max_connections);
}

static void serve_queue(struct backend_address *address)
{
    struct backend_waiter *waiter;

    while ((waiter = TAILQ_FIRST(&address->queue))) {
        bool out = !backend_in_service(address); /* they try another one */

        if (!out && !(is_next(address, waiter) && take(address)))
            return;
        backend_stop_waiting(waiter);
        waiter->done(waiter, out ? -EAGAIN : 0);
    }
    is_next(address, NULL);
}

int backend_take(struct backend_address *address, struct backend_waiter *waiter)
{
    bool first = address->backend->settings->max_connections == 0 ||
                 (TAILQ_EMPTY(&address->queue) && is_next(address, NULL));

    if (first && take(address))
        return 0;
    waiter->ticket = health_ticket(address->health);
    backend_wait_in(&address->queue, waiter);
    is_next(address, TAILQ_FIRST(&address->queue));
    backend_keep_ticking(address->backend, BACKEND_TICK_QUEUE_MS);
    return 1;
}

void backend_give(struct backend_address *address)
{
    health_give(address->health, address->backend->worker);
    serve_queue(address);
}
/* -- in service, out of service -- */

/* Whose is the socket? No name is looked up: a worker opens no file. */
static void put_socket_owner(const struct backend_address *address, struct text *words)
{
    struct stat status;

    if (address->to.to.any.sa_family != AF_UNIX)
        return;
    if (stat(address->to.to.un.sun_path, &status) == 0)
        text_printf(words, " (owner %u, group %u, mode %04o)", (unsigned)status.st_uid,
                    (unsigned)status.st_gid, (unsigned)status.st_mode & 07777);
}

static void put_fault(const struct backend_address *address, int error, const char *cause,
                      struct text *words)
{
    text_puts(words, cause);
    if (error < 0)
        text_printf(words, ": %s", err_text(error));
    if (error == -EACCES || error == -ECONNREFUSED)
        put_socket_owner(address, words);
}

void backend_note_fault(struct backend_address *address, int error, const char *cause)
{
    char room[640];
    struct text words = TEXT_OVER(room);

    put_fault(address, error, cause, &words);
    free(address->fault);
    address->fault = strdup(text_str(&words));
}

static void log_outage(const struct backend_address *address, int error, const char *cause)
{
    char where[ADDRESS_TEXT_MAX], room[640];
    struct text words = TEXT_OVER(room);

    address_text(&address->to, where);
    put_fault(address, error, cause, &words);
    log_line(LOG_LEVEL_WARNING, "backend %s (%s) is out of service: %s", backend_name(address),
             where, text_str(&words));
}

bool backend_fault_is_ours(int error)
{
    return error == -EAGAIN || error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
           error == -ENOBUFS;
}

/* A full backlog is no more than a busy server, which waiting sessions tell of. */
static void tell_lack(const struct backend_address *address, int error, const char *words)
{
    struct backend *backend = address->backend;
    uint64_t now = uv_now(backend->loop->uv);
    char where[ADDRESS_TEXT_MAX];

    if (error == -EAGAIN || (backend->lack_told_ms > 0 && now - backend->lack_told_ms < LACK_MS))
        return;
    backend->lack_told_ms = now;
    address_text(&address->to, where);
    log_line(LOG_LEVEL_WARNING, "backend %s (%s) %s: %s; the fault is ours, not the server's",
             backend_name(address), where, words, err_text(error));
}

void backend_failed(struct backend_address *address, uint64_t began_ms, int error,
                    const char *words)
{
    struct backend *backend = address->backend;

    if (backend_is_empty(address)) /* its name has lost it meanwhile */
        return;
    if (backend_fault_is_ours(error)) {
        tell_lack(address, error, words);
        return;
    }
    if (health_failed(address->health, began_ms, uv_now(backend->loop->uv))) {
        log_outage(address, error, words);
        backend_note_fault(address, error, words);
    }
    if (!health_in_service(address->health))
        backend_keep_ticking(backend, BACKEND_TICK_OUT_MS);
}

void backend_answered(struct backend_address *address, uint32_t since)
{
    char where[ADDRESS_TEXT_MAX];

    if (since != backend_generation(address) ||
        !health_recovered(address->health, uv_now(address->backend->loop->uv)))
        return;
    address_text(&address->to, where);
    log_line(LOG_LEVEL_NOTICE, "backend %s (%s) answers again", backend_name(address), where);
}

static bool is_asked(const struct backend_address *address)
{
    return address->known[false].learning || address->known[true].learning;
}

/* The one dialogue of a check; the other follows when this one has gone well. */
static void check_again(struct backend_address *address)
{
    uint64_t now = uv_now(address->backend->loop->uv);

    if (!is_asked(address) && health_claim_retry(address->health, now) &&
        backend_learn_start(address, false) < 0)
        backend_failed(address, now, -ENOMEM, "cannot be asked");
}

/* It is back, as another worker has found: what it can do now is not known here. */
static void learn_unknown(struct backend_address *address)
{
    if (!backend_is_empty(address) && !protocol_is_relayed(address->backend->protocol) &&
        !backend_is_known(address, false) && !is_asked(address))
        backend_learn_start(address, false);
}

static void on_tick(uv_timer_t *timer)
{
    struct backend *backend = timer->data;
    uint64_t next = 0;

    for (size_t i = 0; i < backend->count; i++) {
        struct backend_address *address = &backend->addresses[i];

        serve_queue(address);
        if (!backend_is_empty(address) && !health_in_service(address->health)) {
            check_again(address);
            next = next ? next : BACKEND_TICK_OUT_MS;
        } else {
            learn_unknown(address);
        }
        if (!TAILQ_EMPTY(&address->queue))
            next = BACKEND_TICK_QUEUE_MS;
    }
    if (next)
        backend_keep_ticking(backend, next);
}

/* The addresses of a backend: what is known of each, which serves a session, who waits.
 *
 * Happy path: all addresses are learned at the start; a session is offered what all of them can do,
 * and gets the first in service in the order of the policy. An address that fails is out for all
 * workers: one of them tries it again after a back-off, by a learning dialogue. What was learned
 * before an outage is void. */
#include "proxy/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/policy.h"
#include "proxy/snapshot.h"

#define TICK_QUEUE_MS 20  /* another worker may have given a connection back; guessed */
#define TICK_OUT_MS   250 /* how late an attempt may be; guessed */

/* -- the addresses -- */

static bool is_empty(const struct backend_address *address)
{
    return address->to.to.any.sa_family == 0;
}

static bool in_service(const struct backend_address *address)
{
    return !is_empty(address) && health_in_service(address->health);
}

uint32_t backend_generation(const struct backend_address *address)
{
    return atomic_load_explicit(&address->health->generation, memory_order_acquire);
}

static bool is_known(const struct backend_address *address, bool tls)
{
    return address->known[tls].list &&
           address->known[tls].generation == backend_generation(address);
}

/* One of the two dialogues is enough: the other may have been refused for a reason of its own. */
static bool relays(const struct backend_address *address)
{
    return address->known[false].open_relay || address->known[true].open_relay;
}

static bool is_shut(const struct backend_address *address)
{
    return address->backend->protocol == PROTOCOL_SMTP && relays(address) &&
           !address->backend->settings->trusts_us;
}

static void forget(struct backend_address *address)
{
    for (int tls = 0; tls < 2; tls++) {
        capabilities_unref(address->known[tls].list);
        address->known[tls].list = NULL;
        address->backend->common[tls].mask = 0;
    }
}

/* The host part of each item, for the names in certificates. */
static int take_hosts(struct backend *backend)
{
    const struct settings_list *items = &backend->settings->address;

    backend->hosts = calloc(items->count + 1, sizeof(*backend->hosts));
    if (!backend->hosts)
        return -ENOMEM;
    for (size_t i = 0; i < items->count; i++) {
        char host[256], port[8];

        backend->hosts[i] = strdup(address_host_port(items->items[i], host, port) ? host : "");
        if (!backend->hosts[i])
            return -ENOMEM;
    }
    return 0;
}

static void on_tick(uv_timer_t *timer);

int backend_init(struct backend *backend, const struct backend_start *start)
{
    const struct settings *all = start->snapshot->settings;
    size_t first = address_first_slot(all, start->settings);
    size_t index = (size_t)(start->settings - all->backends);
    int r;

    *backend = (struct backend){ .loop = start->loop,
                                 .all = all,
                                 .settings = start->settings,
                                 .protocol = start->protocol,
                                 .tls = start->snapshot->clients[index],
                                 .worker = start->worker,
                                 .owner = start->owner,
                                 .tells_all = start->tells_all,
                                 .turn = start->worker };
    TAILQ_INIT(&backend->waiters[false]);
    TAILQ_INIT(&backend->waiters[true]);
    r = take_hosts(backend);
    if (r < 0)
        return r;
    backend->count = address_slot_count(start->settings);
    backend->addresses = calloc(backend->count, sizeof(*backend->addresses));
    if (!backend->addresses)
        return -ENOMEM;
    for (size_t i = 0; i < backend->count; i++) {
        struct backend_address *address = &backend->addresses[i];

        address->backend = backend;
        address->number = (unsigned)i;
        address->host = backend->hosts[i / ADDRESS_PER_ITEM];
        address->health = &start->health[start->snapshot->slots[first + i]];
        TAILQ_INIT(&address->queue);
        r = address_of_slot(all, start->settings, i, &address->to);
        if (r < 0)
            return r;
    }
    uv_timer_init(backend->loop->uv, &backend->timer);
    backend->timer.data = backend;
    backend->timer_open = true;
    backend->users = 1;
    return 0;
}

void backend_set_address(struct backend *backend, size_t number, const struct address *to)
{
    struct backend_address *address = &backend->addresses[number];

    if (address_equal(&address->to, to))
        return;
    forget(address);
    address->to = *to;
    if (is_empty(address) || protocol_is_relayed(backend->protocol))
        return;
    backend_learn_start(address, false);
    backend_learn_start(address, true);
}

int backend_stream_init(const struct backend_address *address, struct stream *stream,
                        const struct stream_events *events, void *owner)
{
    struct stream_loop *loop = address->backend->loop;

    return address->to.to.any.sa_family == AF_UNIX ? stream_init_pipe(stream, loop, events, owner)
                                                   : stream_init_tcp(stream, loop, events, owner);
}

int backend_connect(const struct backend_address *address, struct stream *stream,
                    uv_connect_t *request, uv_connect_cb done)
{
    int r;

    if (address->to.to.any.sa_family == AF_UNIX) {
        uv_pipe_connect(request, &stream->uv.pipe, address->to.to.un.sun_path, done);
        return 0;
    }
    if (is_empty(address))
        return -EADDRNOTAVAIL; /* the name has lost it since it was chosen */
    r = uv_tcp_connect(request, &stream->uv.tcp, &address->to.to.any, done);
    if (r < 0)
        return r;
    uv_tcp_nodelay(&stream->uv.tcp, 1);
    uv_tcp_keepalive(&stream->uv.tcp, 1, 60);
    return 0;
}

const char *backend_server_name(const struct backend_address *address)
{
    const char *sni = address->backend->settings->sni;

    return *sni ? sni : address->host;
}

/* -- waiting -- */

static void wait_in(struct backend_waiters *waiters, struct backend_waiter *waiter)
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

static void tell_waiters(struct backend *backend, bool tls, int status)
{
    struct backend_waiters told = TAILQ_HEAD_INITIALIZER(told);
    struct backend_waiter *waiter;

    /* Who begins to wait anew while they are told waits for the next answer. */
    while ((waiter = TAILQ_FIRST(&backend->waiters[tls]))) {
        backend_stop_waiting(waiter);
        wait_in(&told, waiter);
    }
    while ((waiter = TAILQ_FIRST(&told))) {
        backend_stop_waiting(waiter);
        waiter->done(waiter, status);
    }
}

static void keep_ticking(struct backend *backend, uint64_t ms)
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
        bool out = !in_service(address); /* they try another one */

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
    wait_in(&address->queue, waiter);
    is_next(address, TAILQ_FIRST(&address->queue));
    keep_ticking(address->backend, TICK_QUEUE_MS);
    return 1;
}

void backend_give(struct backend_address *address)
{
    health_give(address->health, address->backend->worker);
    serve_queue(address);
}

/* -- in service, out of service -- */

static const char *name_of(const struct backend_address *address)
{
    return address->backend->settings->name;
}

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

static void note_fault(struct backend_address *address, int error, const char *cause)
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
    log_line(LOG_LEVEL_WARNING, "backend %s (%s) is out of service: %s", name_of(address), where,
             text_str(&words));
}

/* What we lack ourselves says nothing of the server; a full backlog says that it is busy. */
static bool is_ours(int error)
{
    return error == -EAGAIN || error == -EMFILE || error == -ENFILE || error == -ENOMEM ||
           error == -ENOBUFS;
}

void backend_failed(struct backend_address *address, uint64_t began_ms, int error,
                    const char *words)
{
    struct backend *backend = address->backend;

    if (is_ours(error) || is_empty(address)) /* empty: its name has lost it meanwhile */
        return;
    if (health_failed(address->health, began_ms, uv_now(backend->loop->uv))) {
        log_outage(address, error, words);
        note_fault(address, error, words);
    }
    if (!health_in_service(address->health))
        keep_ticking(backend, TICK_OUT_MS);
}

void backend_answered(struct backend_address *address, uint32_t since)
{
    char where[ADDRESS_TEXT_MAX];

    if (since != backend_generation(address) ||
        !health_recovered(address->health, uv_now(address->backend->loop->uv)))
        return;
    address_text(&address->to, where);
    log_line(LOG_LEVEL_NOTICE, "backend %s (%s) answers again", name_of(address), where);
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
    if (!is_empty(address) && !protocol_is_relayed(address->backend->protocol) &&
        !is_known(address, false) && !is_asked(address))
        backend_learn_start(address, false);
}

static void on_tick(uv_timer_t *timer)
{
    struct backend *backend = timer->data;
    uint64_t next = 0;

    for (size_t i = 0; i < backend->count; i++) {
        struct backend_address *address = &backend->addresses[i];

        serve_queue(address);
        if (!is_empty(address) && !health_in_service(address->health)) {
            check_again(address);
            next = next ? next : TICK_OUT_MS;
        } else {
            learn_unknown(address);
        }
        if (!TAILQ_EMPTY(&address->queue))
            next = TICK_QUEUE_MS;
    }
    if (next)
        keep_ticking(backend, next);
}

/* -- what it can do -- */

/* Those whose list counts: in service and learned; those that are shut only where all are. */
static uint64_t offering(const struct backend *backend, bool tls)
{
    uint64_t open = 0, shut = 0;

    for (size_t i = 0; i < backend->count; i++) {
        const struct backend_address *address = &backend->addresses[i];

        if (in_service(address) && is_known(address, tls))
            *(is_shut(address) ? &shut : &open) |= UINT64_C(1) << i;
    }
    return open ? open : shut;
}

static struct capabilities *intersect(const struct backend *backend, bool tls, uint64_t mask)
{
    struct capabilities *common = NULL;

    for (size_t i = 0; i < backend->count; i++) {
        struct capabilities *list = backend->addresses[i].known[tls].list, *both;

        if (!(mask >> i & 1))
            continue;
        both = common ? capabilities_intersect(common, list) : capabilities_ref(list);
        capabilities_unref(common);
        if (!both)
            return NULL;
        common = both;
    }
    return common;
}

struct capabilities *backend_offer(struct backend *backend, bool tls)
{
    uint64_t mask = offering(backend, tls);

    if (mask == 0)
        return NULL;
    if (backend->common[tls].mask != mask) {
        capabilities_unref(backend->common[tls].list);
        backend->common[tls].list = intersect(backend, tls, mask);
        backend->common[tls].mask = backend->common[tls].list ? mask : 0;
    }
    return backend->common[tls].list;
}

bool backend_shut(const struct backend *backend)
{
    bool shut = false;

    for (size_t i = 0; i < backend->count; i++) {
        const struct backend_address *address = &backend->addresses[i];

        if (!in_service(address) || (!is_known(address, false) && !is_known(address, true)))
            continue;
        if (!is_shut(address))
            return false;
        shut = true;
    }
    return shut;
}

/* Learns those that are in service and not known, or `all`; *ret_asked: somebody is being asked. */
static int learn_some(struct backend *backend, bool tls, bool all, bool *ret_asked)
{
    int result = -EADDRNOTAVAIL;

    *ret_asked = false;
    for (size_t i = 0; i < backend->count; i++) {
        struct backend_address *address = &backend->addresses[i];
        uint64_t age = uv_now(backend->loop->uv) - address->known[tls].learned_ms;
        int r = 0;

        if (!is_empty(address) && !health_in_service(address->health))
            keep_ticking(backend, TICK_OUT_MS); /* the worker that asked it may have died */
        if (is_empty(address) || (!all && !health_in_service(address->health)))
            continue;
        if (all || !is_known(address, tls) || age > BACKEND_RELEARN_MS)
            r = backend_learn_start(address, tls);
        if (r < 0)
            result = r;
        *ret_asked = *ret_asked || address->known[tls].learning;
    }
    return result;
}

int backend_learn(struct backend *backend, bool tls, struct backend_waiter *waiter)
{
    bool asked;
    int r = learn_some(backend, tls, false, &asked);

    if (backend_offer(backend, tls))
        return BACKEND_KNOWN;
    if (!asked)
        r = learn_some(backend, tls, true, &asked);
    if (!asked)
        return r;
    if (waiter)
        wait_in(&backend->waiters[tls], waiter);
    return BACKEND_LEARNING;
}

static void note_relay_test(struct backend_address *address, bool tls, bool open_relay)
{
    bool before = relays(address);
    char where[ADDRESS_TEXT_MAX];

    address->known[tls].open_relay = open_relay;
    address->backend->common[false].mask = address->backend->common[true].mask = 0;
    address_text(&address->to, where);
    if (open_relay && !before)
        log_line(
            LOG_LEVEL_ERROR,
            "backend %s (%s) relays mail of strangers for anybody who comes through us: %s. "
            "Postfix: set -o mynetworks= on that service, or let it learn the client's address "
            "(identity = xclient or proxy-v2)",
            name_of(address), where,
            address->backend->settings->trusts_us ? "trusts_us = yes keeps it open"
                                                  : "it gets no mail");
    if (before && !relays(address))
        log_line(LOG_LEVEL_NOTICE, "backend %s (%s) passes the relay test now", name_of(address),
                 where);
}

/* What may be promised of a list of the server's: a reference. NULL: no memory. */
static struct capabilities *shown(const struct backend_address *address, struct capabilities *list)
{
    const struct settings_list *hide = &address->backend->settings->hide;

    if (hide->count == 0 || address->backend->tells_all)
        return capabilities_ref(list);
    return capabilities_without(list, hide);
}

/* Keeps a list of the server's, without what the operator hides. 0 or -ENOMEM. */
static int keep_list(struct backend_address *address, bool tls, struct capabilities *list)
{
    struct capabilities *kept = shown(address, list);

    if (!kept)
        return -ENOMEM;
    capabilities_unref(address->known[tls].list);
    address->known[tls].list = kept;
    address->known[tls].generation = backend_generation(address);
    address->known[tls].learned_ms = uv_now(address->backend->loop->uv);
    address->backend->common[tls].mask = 0;
    return 0;
}

void backend_learned(struct backend_address *address, bool tls, const struct backend_lesson *lesson)
{
    bool opaque = protocol_is_relayed(address->backend->protocol);

    if (lesson->generation != backend_generation(address)) { /* an outage in the middle: of which
                                                        server was this? */
        if (backend_learn_start(address, tls) < 0)
            tell_waiters(address->backend, tls, -ENOMEM);
        return;
    }
    backend_answered(address, lesson->generation);
    if (!opaque) {
        note_relay_test(address, tls, lesson->open_relay);
        if (keep_list(address, tls, lesson->list) < 0) {
            tell_waiters(address->backend, tls, -ENOMEM);
            return;
        }
        if (!is_known(address, !tls))
            backend_learn_start(address, !tls);
    }
    tell_waiters(address->backend, tls, 0);
}

void backend_learn_failed(struct backend_address *address, bool tls, uint64_t began_ms, int error,
                          const char *words)
{
    struct backend *backend = address->backend;

    backend_failed(address, began_ms, error, words);
    note_fault(address, error, words);
    for (size_t i = 0; i < backend->count; i++)
        if (backend->addresses[i].known[tls].learning)
            return; /* there is hope yet */
    tell_waiters(backend, tls, error);
}

void backend_suspect(struct backend_address *address)
{
    for (int tls = 0; tls < 2; tls++)
        if (!protocol_is_relayed(address->backend->protocol) && is_known(address, tls))
            backend_learn_start(address, tls);
}

void backend_heard(struct backend_address *address, bool tls, struct capabilities *list)
{
    struct capabilities *now;

    if (!is_known(address, tls)) {
        if (in_service(address))
            backend_learn_start(address, tls);
        return;
    }
    now = shown(address, list);
    if (now && !capabilities_equal(address->known[tls].list, now))
        keep_list(address, tls, list);
    capabilities_unref(now);
}

/* -- for one session -- */

enum wish { WISH_COVERS, WISH_KNOWN, WISH_UNKNOWN, WISH_OUT, WISH_COUNT };

static bool grants(const struct backend_address *address, enum wish wish, bool tls,
                   const struct capabilities *offered)
{
    enum port_protocol protocol = address->backend->protocol;
    struct span missing;

    switch (wish) {
    case WISH_COVERS:
        return in_service(address) && is_known(address, tls) && !is_shut(address) &&
               (!offered || capabilities_cover(address->known[tls].list, offered, &missing));
    case WISH_KNOWN:
        return in_service(address) && is_known(address, tls) && !is_shut(address);
    case WISH_UNKNOWN: /* SMTP: never before the relay test */
        return in_service(address) && protocol != PROTOCOL_SMTP;
    case WISH_OUT: /* needs no list: the session may find that it is back before a check does */
        return protocol_is_relayed(protocol) ||
               (protocol == PROTOCOL_POP3 && address->backend->settings->apop);
    case WISH_COUNT:
        break;
    }
    return false;
}

/* The numbers of the addresses that exist, in the order of the policy. */
static size_t put_in_order(const struct backend *backend, uint64_t key, uint32_t turn,
                           unsigned char order[BACKEND_ADDRESSES_MAX])
{
    unsigned char all[BACKEND_ADDRESSES_MAX], present[BACKEND_ADDRESSES_MAX];
    enum policy policy = backend->settings->policy;
    size_t count = 0, kept = 0;

    if (policy == POLICY_HASH_USER || policy == POLICY_HASH_CLIENT) {
        policy_order(policy, key, turn, backend->count, all); /* by slot: a name that loses an
                                                                 address moves nobody else */
        for (size_t i = 0; i < backend->count; i++)
            if (!is_empty(&backend->addresses[all[i]]))
                order[kept++] = all[i];
        return kept;
    }
    for (size_t i = 0; i < backend->count; i++)
        if (!is_empty(&backend->addresses[i]))
            present[count++] = (unsigned char)i;
    policy_order(policy, key, turn, count, all);
    for (; kept < count; kept++)
        order[kept] = present[all[kept]];
    return kept;
}

struct backend_address *backend_choose(struct backend *backend, bool tls,
                                       const struct capabilities *offered, uint64_t key,
                                       uint32_t turn, uint64_t tried)
{
    unsigned char order[BACKEND_ADDRESSES_MAX];
    size_t count = put_in_order(backend, key, turn, order);

    for (size_t i = 0; i < count; i++)
        if (!health_in_service(backend->addresses[order[i]].health))
            keep_ticking(backend, TICK_OUT_MS); /* the worker that asked it may have died */
    for (int wish = 0; wish < WISH_COUNT; wish++)
        for (size_t i = 0; i < count; i++) {
            struct backend_address *address = &backend->addresses[order[i]];

            if (!(tried >> order[i] & 1) && grants(address, (enum wish)wish, tls, offered))
                return address;
        }
    return NULL;
}

/* -- the end -- */

static void free_parts(struct backend *backend)
{
    for (size_t i = 0; i < backend->count && backend->addresses; i++)
        free(backend->addresses[i].fault);
    for (size_t i = 0; backend->hosts && i < backend->settings->address.count; i++)
        free(backend->hosts[i]);
    free(backend->hosts);
    free(backend->addresses);
    backend->addresses = NULL;
    backend->hosts = NULL;
}

void backend_release(struct backend *backend)
{
    if (--backend->users > 0)
        return;
    free_parts(backend);
    if (backend->gone)
        backend->gone(backend);
}

static void timer_gone(uv_handle_t *timer)
{
    backend_release(timer->data);
}

bool backend_deinit(struct backend *backend, void (*gone)(struct backend *backend))
{
    for (size_t i = 0; i < backend->count && backend->addresses; i++) {
        backend_learn_stop(&backend->addresses[i], false);
        backend_learn_stop(&backend->addresses[i], true);
        forget(&backend->addresses[i]);
    }
    for (int tls = 0; tls < 2; tls++)
        capabilities_unref(backend->common[tls].list);
    if (!backend->timer_open) { /* it was never whole */
        free_parts(backend);
        return false;
    }
    backend->timer_open = false;
    backend->gone = gone;
    uv_close((uv_handle_t *)&backend->timer, timer_gone);
    return true;
}

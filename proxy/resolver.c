/* Looking up the names of servers.
 *
 * Happy path: a thread calls getaddrinfo() and leaves the answers in the resolver's list; the loop
 * puts them into the name's slots and asks again after resolve_interval. A look-up that fails is
 * logged once, tried again after a second, two, four ... resolve_interval, and logged once more
 * when it works again. One that has not come back by then is treated as failed, and waited for.
 *
 * Not uv_getaddrinfo(): four look-ups that hang would hold up all others, and the end of the
 * process, which waits for libuv's threads. */
#include "proxy/resolver.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/text.h"

#define RETRY_FIRST_MS 1000
#define ANSWERS_MAX    64 /* of one name that are looked at; guessed */
#define WORDS_MAX      (ADDRESS_PER_ITEM * (INET6_ADDRSTRLEN + 2) + 8)

struct name {
    struct resolver *resolver;
    const struct settings_backend *backend;
    char host[256], port[8];
    uint32_t slot; /* the first of ADDRESS_PER_ITEM */
    struct address_ip known[ADDRESS_PER_ITEM];
    uv_timer_t timer;
    uint64_t retry_ms; /* after the next failure */
    bool asking, failing, settled;
};

/* Given to a thread, and back. */
struct lookup {
    struct lookup *next;
    struct resolver *resolver;
    struct name *name;
    char host[256], port[8];
    int result, error; /* of getaddrinfo(), and errno */
    struct addrinfo *answers;
};

/* Lives until its handles are closed and its threads have ended. */
struct resolver {
    uv_loop_t *loop;
    uint64_t interval_ms;
    struct health *health;
    const uint16_t *slots;
    void (*changed)(void *owner, const struct child_address *slots, size_t count);
    void (*settled)(void *owner);
    void *owner;
    uv_async_t answered;
    unsigned handles; /* not yet closed */
    pthread_mutex_t lock;
    struct lookup *done; /* under the lock, as are the two below */
    unsigned threads;
    bool closed;
    size_t count;
    struct name names[];
};

static void free_resolver(struct resolver *resolver)
{
    pthread_mutex_destroy(&resolver->lock);
    free(resolver);
}

static void free_lookup(struct lookup *lookup)
{
    if (lookup->answers)
        freeaddrinfo(lookup->answers);
    free(lookup);
}

/* -- in the thread -- */

/* AI_ADDRCONFIG leaves out a family that this machine has no address of; loopback does not count
 * there, and would be left out wrongly. */
int resolver_flags(const char *host)
{
    size_t size = strlen(host), local = strlen("localhost");
    bool is_local = size >= local && strcasecmp(host + size - local, "localhost") == 0 &&
                    (size == local || host[size - local - 1] == '.');

    return AI_NUMERICSERV | (is_local ? 0 : AI_ADDRCONFIG);
}

static void *look_up(void *argument)
{
    struct lookup *lookup = argument;
    struct resolver *resolver = lookup->resolver;
    struct addrinfo hints = { .ai_flags = resolver_flags(lookup->host),
                              .ai_socktype = SOCK_STREAM };
    bool closed, last;

    lookup->result = getaddrinfo(lookup->host, lookup->port, &hints, &lookup->answers);
    lookup->error = errno;
    pthread_mutex_lock(&resolver->lock);
    resolver->threads--;
    closed = resolver->closed;
    last = closed && resolver->threads == 0 && resolver->handles == 0;
    if (!closed) {
        lookup->next = resolver->done;
        resolver->done = lookup;
        uv_async_send(&resolver->answered);
    }
    pthread_mutex_unlock(&resolver->lock);
    if (closed)
        free_lookup(lookup);
    if (last)
        free_resolver(resolver);
    return NULL;
}

/* Signals are for the loop's thread. */
static int start_thread(struct lookup *lookup)
{
    sigset_t all, before;
    pthread_attr_t detached;
    pthread_t thread;
    int r = pthread_attr_init(&detached);

    if (r != 0)
        return -r;
    pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    r = pthread_create(&thread, &detached, look_up, lookup);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&detached);
    return -r;
}

/* -- in the loop -- */

static void put_words(const struct name *name, char into[WORDS_MAX])
{
    struct text words = { into, 0, WORDS_MAX, false };

    for (size_t i = 0; i < ADDRESS_PER_ITEM; i++) {
        const struct address_ip *ip = &name->known[i];
        char host[INET6_ADDRSTRLEN];
        const void *octets = ip->to.any.sa_family == AF_INET ? (const void *)&ip->to.in.sin_addr
                                                             : (const void *)&ip->to.in6.sin6_addr;

        if (ip->to.any.sa_family == AF_UNSPEC)
            continue;
        inet_ntop(ip->to.any.sa_family, octets, host, sizeof(host));
        text_printf(&words, "%s%s", words.size > 0 ? ", " : "", host);
    }
    text_str(&words);
}

static void log_failure(struct name *name, const char *words)
{
    char known[WORDS_MAX];

    if (name->failing)
        return;
    name->failing = true;
    put_words(name, known);
    log_line(LOG_LEVEL_WARNING, "backend %s: %s cannot be looked up: %s%s%s", name->backend->name,
             name->host, words, *known ? "; it stays " : "", known);
}

bool resolver_settled(const struct resolver *resolver)
{
    for (size_t i = 0; i < resolver->count; i++)
        if (!resolver->names[i].settled)
            return false;
    return true;
}

static void settle(struct name *name)
{
    struct resolver *resolver = name->resolver;

    if (name->settled)
        return;
    name->settled = true;
    if (resolver->handles > 0 && resolver_settled(resolver)) /* else resolver_new() is at work */
        resolver->settled(resolver->owner);
}

static void ask(struct name *name);

static void timer_fired(uv_timer_t *timer)
{
    ask(timer->data);
}

static void wait_for(struct name *name, uint64_t wait_ms)
{
    if (wait_ms > name->resolver->interval_ms)
        wait_ms = name->resolver->interval_ms;
    uv_timer_start(&name->timer, timer_fired, wait_ms, 0);
}

static void lookup_failed(struct name *name, const char *words)
{
    log_failure(name, words);
    wait_for(name, name->retry_ms);
    if (name->retry_ms < name->resolver->interval_ms)
        name->retry_ms *= 2;
    settle(name);
}

static void start_lookup(struct name *name)
{
    struct resolver *resolver = name->resolver;
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    int r = -ENOMEM;

    if (lookup) {
        lookup->resolver = resolver;
        lookup->name = name;
        memcpy(lookup->host, name->host, sizeof(lookup->host));
        memcpy(lookup->port, name->port, sizeof(lookup->port));
        pthread_mutex_lock(&resolver->lock);
        resolver->threads++;
        pthread_mutex_unlock(&resolver->lock);
        r = start_thread(lookup);
    }
    if (r == 0) {
        name->asking = true;
        wait_for(name, resolver->interval_ms);
        return;
    }
    if (lookup) {
        pthread_mutex_lock(&resolver->lock);
        resolver->threads--;
        pthread_mutex_unlock(&resolver->lock);
        free(lookup);
    }
    lookup_failed(name, err_text(r));
}

static void ask(struct name *name)
{
    if (!name->asking) {
        start_lookup(name);
        return;
    }
    log_failure(name, "no answer yet");
    wait_for(name, name->resolver->interval_ms);
    settle(name);
}

static size_t take_answers(const struct addrinfo *answers, struct address_ip into[ANSWERS_MAX])
{
    size_t count = 0;

    for (; answers && count < ANSWERS_MAX; answers = answers->ai_next) {
        struct address_ip *ip = &into[count];

        *ip = (struct address_ip){ 0 };
        if (answers->ai_family == AF_INET)
            memcpy(&ip->to.in, answers->ai_addr, sizeof(ip->to.in));
        else if (answers->ai_family == AF_INET6)
            memcpy(&ip->to.in6, answers->ai_addr, sizeof(ip->to.in6));
        else
            continue;
        count++;
    }
    return count;
}

static void log_change(const struct name *name, const char *before)
{
    char now[WORDS_MAX];

    put_words(name, now);
    if (*before)
        log_line(LOG_LEVEL_NOTICE, "backend %s: %s is now %s (was %s)", name->backend->name,
                 name->host, now, before);
    else
        log_line(LOG_LEVEL_INFO, "backend %s: %s is %s", name->backend->name, name->host, now);
}

static void publish(struct name *name, unsigned changed)
{
    struct resolver *resolver = name->resolver;
    struct child_address slots[ADDRESS_PER_ITEM];
    size_t count = 0;

    uv_update_time(resolver->loop);
    for (unsigned i = 0; i < ADDRESS_PER_ITEM; i++) {
        if (!(changed >> i & 1))
            continue;
        slots[count].slot = name->slot + i;
        slots[count++].ip = name->known[i];
        health_reset(&resolver->health[resolver->slots[name->slot + i]], uv_now(resolver->loop));
    }
    resolver->changed(resolver->owner, slots, count);
}

static void take_result(struct lookup *lookup)
{
    struct name *name = lookup->name;
    struct address_ip answers[ANSWERS_MAX];
    char before[WORDS_MAX];
    size_t count = take_answers(lookup->answers, answers);
    unsigned changed;

    name->asking = false;
    if (lookup->result != 0 || count == 0) {
        lookup_failed(name, lookup->result == EAI_SYSTEM ? err_text(lookup->error)
                            : lookup->result != 0        ? gai_strerror(lookup->result)
                                                         : "it has no address");
        return;
    }
    put_words(name, before);
    changed = address_assign(answers, count, name->known);
    if (name->failing)
        log_line(LOG_LEVEL_NOTICE, "backend %s: %s can be looked up", name->backend->name,
                 name->host);
    name->failing = false;
    name->retry_ms = RETRY_FIRST_MS;
    wait_for(name, name->resolver->interval_ms);
    if (changed) {
        log_change(name, before);
        publish(name, changed);
    }
    settle(name);
}

static struct lookup *take_done(struct resolver *resolver)
{
    struct lookup *done;

    pthread_mutex_lock(&resolver->lock);
    done = resolver->done;
    resolver->done = NULL;
    pthread_mutex_unlock(&resolver->lock);
    return done;
}

static void on_answered(uv_async_t *async)
{
    struct resolver *resolver = async->data;
    struct lookup *next;

    for (struct lookup *lookup = take_done(resolver); lookup; lookup = next) {
        next = lookup->next;
        take_result(lookup);
        free_lookup(lookup);
    }
}

/* -- start and end -- */

static bool is_used(const struct settings *settings, const struct settings_backend *backend)
{
    enum port_protocol protocol;

    return settings_backend_protocol(settings, backend, &protocol);
}

/* Adds a name for each item that is neither a path nor a number. */
static void add_names(struct resolver *resolver, const struct settings *settings,
                      const struct settings_backend *backend)
{
    size_t first = address_first_slot(settings, backend);

    for (size_t i = 0; i < backend->address.count; i++) {
        struct name *name = &resolver->names[resolver->count];
        size_t slot = i * ADDRESS_PER_ITEM;
        struct address address;

        if (first + slot + ADDRESS_PER_ITEM > ADDRESS_SLOTS_MAX ||
            address_of_slot(settings, backend, slot, &address) < 0 ||
            address.to.any.sa_family != AF_UNSPEC ||
            !address_host_port(backend->address.items[i], name->host, name->port))
            continue;
        name->resolver = resolver;
        name->backend = backend;
        name->slot = (uint32_t)(first + slot);
        name->retry_ms = RETRY_FIRST_MS;
        resolver->count++;
    }
}

/* What is known of the same host goes on, and nobody is told again that it cannot be looked up. */
static void inherit(struct name *name, const struct resolver *before)
{
    for (size_t i = 0; before && i < before->count; i++) {
        const struct name *former = &before->names[i];

        if (strcmp(former->host, name->host) != 0 || strcmp(former->port, name->port) != 0)
            continue;
        memcpy(name->known, former->known, sizeof(name->known));
        name->failing = former->failing;
        name->settled = former->settled;
        return;
    }
}

static size_t count_items(const struct settings *settings)
{
    size_t count = 0;

    for (size_t i = 0; i < settings->backend_count; i++)
        count += settings->backends[i].address.count;
    return count;
}

int resolver_new(const struct resolver_start *start, struct resolver **ret_resolver)
{
    const struct settings *settings = start->settings;
    struct resolver *resolver =
        calloc(1, sizeof(*resolver) + count_items(settings) * sizeof(resolver->names[0]));
    int r;

    if (!resolver)
        return -ENOMEM;
    resolver->loop = start->loop;
    resolver->interval_ms = settings->gatepost.resolve_interval_ms;
    resolver->health = start->health;
    resolver->slots = start->slots;
    resolver->changed = start->changed;
    resolver->settled = start->settled;
    resolver->owner = start->owner;
    pthread_mutex_init(&resolver->lock, NULL);
    r = uv_async_init(start->loop, &resolver->answered, on_answered);
    if (r < 0) {
        free_resolver(resolver);
        return r;
    }
    resolver->answered.data = resolver;
    for (size_t i = 0; i < settings->backend_count; i++)
        if (is_used(settings, &settings->backends[i]))
            add_names(resolver, settings, &settings->backends[i]);
    for (size_t i = 0; i < resolver->count; i++) {
        uv_timer_init(start->loop, &resolver->names[i].timer);
        resolver->names[i].timer.data = &resolver->names[i];
        inherit(&resolver->names[i], start->before);
        ask(&resolver->names[i]);
    }
    resolver->handles = (unsigned)resolver->count + 1;
    *ret_resolver = resolver;
    return 0;
}

size_t resolver_known(const struct resolver *resolver,
                      struct child_address ret_slots[ADDRESS_SLOTS_MAX])
{
    size_t count = 0;

    for (size_t i = 0; i < resolver->count; i++) {
        const struct name *name = &resolver->names[i];

        for (uint32_t j = 0; j < ADDRESS_PER_ITEM; j++)
            if (name->known[j].to.any.sa_family != AF_UNSPEC)
                ret_slots[count++] = (struct child_address){ name->slot + j, name->known[j] };
    }
    return count;
}

static void count_closed(struct resolver *resolver)
{
    bool last;

    pthread_mutex_lock(&resolver->lock);
    resolver->handles--;
    last = resolver->handles == 0 && resolver->threads == 0;
    pthread_mutex_unlock(&resolver->lock);
    if (last)
        free_resolver(resolver);
}

static void timer_closed(uv_handle_t *handle)
{
    struct name *name = handle->data;

    count_closed(name->resolver);
}

static void async_closed(uv_handle_t *handle)
{
    count_closed(handle->data);
}

void resolver_close(struct resolver *resolver)
{
    struct lookup *next;

    if (!resolver)
        return;
    pthread_mutex_lock(&resolver->lock);
    resolver->closed = true;
    pthread_mutex_unlock(&resolver->lock);
    for (struct lookup *lookup = take_done(resolver); lookup; lookup = next) {
        next = lookup->next;
        free_lookup(lookup);
    }
    for (size_t i = 0; i < resolver->count; i++)
        uv_close((uv_handle_t *)&resolver->names[i].timer, timer_closed);
    uv_close((uv_handle_t *)&resolver->answered, async_closed);
}

/* The probe: the workers' own backends in a loop of their own; what they learn is reported.
 *
 * Happy path: a snapshot is made as a worker makes it, and as the workers' user all servers are
 * asked at once: names are looked up, and every address is learned in clear and then as under TLS.
 * When the last of them has answered, the reports follow in the order of the settings. A name that
 * stands for nothing and an address that does not answer are lines of the report. */
#include "proxy/probe.h"

#include <errno.h>
#include <grp.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "proxy/backend.h"
#include "proxy/base/log.h"
#include "proxy/listener_set.h"
#include "proxy/probe_report.h"
#include "proxy/resolver.h"
#include "proxy/snapshot.h"

struct probe;

struct lookup {
    uv_getaddrinfo_t request;
    struct probe *probe;
    struct backend *backend;
    size_t item;
    struct probe_lookup *result;
};

struct probe {
    uv_loop_t uv;
    struct stream_loop loop;
    struct ticket_keys keys;
    struct snapshot *snapshot;
    struct health *health;
    struct probe_backend *backends; /* one for each of settings->backends, at the same index */
    size_t count;
    unsigned lookups; /* under way */
    int error;        /* of our own; 0: none */
};

/* What the workers would be given, without a listener. */
static int make_snapshot(struct probe *probe, const struct configuration *configuration)
{
    static const struct listener_set none;
    struct bundle bundle;
    int fd = configuration_proxy_bundle(configuration, &none), r;

    if (fd < 0)
        return fd;
    r = bundle_read(fd, &bundle);
    close(fd);
    if (r < 0)
        return r;
    r = snapshot_new(&bundle, &probe->keys, &probe->snapshot);
    bundle_free(&bundle);
    return r;
}

/* -- who asks -- */

/* A socket that only root may connect to is of no use to the workers. */
static int become_worker(const struct privileges *privileges)
{
    const struct account *account = &privileges->proxy;
    gid_t groups[CHILD_GROUPS_MAX];

    if (!privileges->drop)
        return 0;
    for (uint32_t i = 0; i < account->group_count; i++)
        groups[i] = account->groups[i];
    if (setgroups(account->group_count, groups) < 0 || setegid(account->gid) < 0 ||
        seteuid(account->uid) < 0)
        return -errno;
    return 0;
}

/* But for the groups, which nothing needs any more. */
static int become_self(const struct privileges *privileges)
{
    if (!privileges->drop)
        return 0;
    if (seteuid(getuid()) < 0 || setegid(getgid()) < 0)
        return -errno;
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as it was before */
    return 0;
}

/* -- asking -- */

static void ask(struct probe *probe, struct backend *backend, size_t slot)
{
    int r = backend_learn_start(&backend->addresses[slot], false);

    if (r < 0)
        probe->error = r;
}

static void take_answers(struct lookup *lookup, const struct addrinfo *answers)
{
    struct address_ip found[ADDRESS_PER_ITEM] = { 0 }, slots[ADDRESS_PER_ITEM] = { 0 };
    struct backend *backend = lookup->backend;
    size_t first = lookup->item * ADDRESS_PER_ITEM, count = 0;

    for (; answers && count < ADDRESS_PER_ITEM; answers = answers->ai_next)
        if (answers->ai_addrlen <= sizeof(found->to))
            memcpy(&found[count++].to, answers->ai_addr, answers->ai_addrlen);
    address_assign(found, count, slots);
    for (size_t i = 0; i < ADDRESS_PER_ITEM; i++) {
        backend->addresses[first + i].to = address_of_ip(&slots[i]);
        if (slots[i].to.any.sa_family != AF_UNSPEC)
            ask(lookup->probe, backend, first + i);
    }
}

static void looked_up(uv_getaddrinfo_t *request, int status, struct addrinfo *answers)
{
    struct lookup *lookup = request->data;

    lookup->probe->lookups--;
    lookup->result->fault = status < 0 ? uv_strerror(status) : NULL;
    if (status == 0)
        take_answers(lookup, answers);
    uv_freeaddrinfo(answers);
    free(lookup);
}

static int look_up(struct probe *probe, struct probe_backend *asked, size_t item)
{
    struct backend *backend = &asked->backend;
    struct lookup *lookup = calloc(1, sizeof(*lookup));
    struct addrinfo wanted = { .ai_socktype = SOCK_STREAM };
    char host[256], port[8];
    int r;

    if (!lookup)
        return -ENOMEM;
    *lookup = (struct lookup){
        .probe = probe, .backend = backend, .item = item, .result = &asked->lookups[item]
    };
    lookup->request.data = lookup;
    address_host_port(backend->settings->address.items[item], host, port);
    wanted.ai_flags = resolver_flags(host);
    r = uv_getaddrinfo(&probe->uv, &lookup->request, looked_up, host, port, &wanted);
    if (r < 0)
        free(lookup);
    else
        probe->lookups++;
    return r;
}

static int ask_backend(struct probe *probe, struct probe_backend *asked)
{
    struct backend *backend = &asked->backend;

    for (size_t i = 0; i < backend->settings->address.count; i++) {
        size_t slot = i * ADDRESS_PER_ITEM;
        int r = 0;

        if (backend->addresses[slot].to.to.any.sa_family != AF_UNSPEC)
            ask(probe, backend, slot);
        else
            r = look_up(probe, asked, i);
        if (r < 0)
            return r;
    }
    return 0;
}

static int add_backend(struct probe *probe, size_t index)
{
    const struct settings *settings = probe->snapshot->settings;
    struct probe_backend *asked = &probe->backends[index];
    struct backend_start start = { .loop = &probe->loop,
                                   .snapshot = probe->snapshot,
                                   .settings = &settings->backends[index],
                                   .health = probe->health,
                                   .tells_all = true };
    int r;

    asked->reached = settings_backend_protocol(settings, start.settings, &start.protocol);
    if (!asked->reached || settings_backend_embedded(start.settings))
        return 0;
    asked->lookups = calloc(start.settings->address.count, sizeof(*asked->lookups));
    if (!asked->lookups)
        return -ENOMEM;
    asked->asked = true;
    r = backend_init(&asked->backend, &start);
    return r < 0 ? r : ask_backend(probe, asked);
}

/* Is any address of it being asked? What is out of service is not asked again. */
static bool is_asked(struct backend *backend)
{
    bool asked = false;

    if (backend->timer_open)
        uv_timer_stop(&backend->timer);
    for (size_t i = 0; i < backend->count; i++)
        if (backend->addresses[i].known[0].learning || backend->addresses[i].known[1].learning)
            asked = true;
    return asked;
}

static bool is_busy(struct probe *probe)
{
    bool busy = probe->lookups > 0;

    for (size_t i = 0; i < probe->count; i++)
        if (probe->backends[i].asked && is_asked(&probe->backends[i].backend))
            busy = true;
    return busy;
}

static int ask_all(struct probe *probe)
{
    for (size_t i = 0; i < probe->count && probe->error == 0; i++) {
        int r = add_backend(probe, i);

        if (r < 0)
            probe->error = r;
    }
    while (is_busy(probe))
        uv_run(&probe->uv, UV_RUN_ONCE);
    return probe->error;
}

/* -- start and end -- */

static int start(struct probe *probe, const struct configuration *configuration)
{
    int r = make_snapshot(probe, configuration);

    if (r < 0)
        return r;
    probe->count = probe->snapshot->settings->backend_count;
    probe->health = calloc(ADDRESS_SLOTS_MAX, sizeof(*probe->health));
    probe->backends = calloc(probe->count, sizeof(*probe->backends));
    if (!probe->health || !probe->backends)
        return -ENOMEM;
    r = uv_loop_init(&probe->uv);
    if (r < 0)
        return r;
    r = stream_loop_init(&probe->loop, &probe->uv, STREAM_READ_MAX);
    if (r < 0)
        uv_loop_close(&probe->uv);
    return r;
}

static void end(struct probe *probe)
{
    for (size_t i = 0; i < probe->count; i++)
        if (probe->backends[i].asked)
            backend_deinit(&probe->backends[i].backend, NULL);
    uv_run(&probe->uv, UV_RUN_DEFAULT); /* the handles close */
    stream_loop_deinit(&probe->loop);
    uv_run(&probe->uv, UV_RUN_DEFAULT);
    uv_loop_close(&probe->uv);
}

static void free_probe(struct probe *probe)
{
    for (size_t i = 0; i < probe->count && probe->backends; i++)
        free(probe->backends[i].lookups);
    free(probe->backends);
    free(probe->health);
    snapshot_unref(probe->snapshot);
}

int probe_run(const struct configuration *configuration, FILE *out)
{
    struct probe probe = { 0 };
    bool bad = false;
    int r = start(&probe, configuration);

    if (r == 0) {
        signal(SIGPIPE, SIG_IGN);
        log_set_level(LOG_LEVEL_SILENT); /* the report tells it all */
        r = become_worker(&configuration->privileges);
        if (r == 0)
            r = ask_all(&probe);
        if (r == 0)
            bad = !probe_report(out, probe.snapshot, probe.backends);
        end(&probe);
        if (r == 0)
            r = become_self(&configuration->privileges);
    }
    free_probe(&probe);
    return r < 0 ? r : bad;
}

/* The probe: the workers' own backends in a loop of their own, and a report.
 *
 * Happy path: a snapshot is made as a worker makes it, names are resolved, every address is learned
 * in clear and as under TLS, and the report is written. An address that does not answer is a line
 * of it. */
#include "proxy/probe.h"

#include <errno.h>
#include <netdb.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/backend.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/listener_set.h"
#include "proxy/snapshot.h"

struct probe {
    uv_loop_t uv;
    struct stream_loop loop;
    struct ticket_keys keys;
    struct snapshot *snapshot;
    struct health *health;
    FILE *out;
    bool bad; /* some address does not answer, or is shut */
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

/* -- asking -- */

/* Fills the slots of one name. */
static void resolve(struct probe *probe, struct backend *backend, size_t item)
{
    const char *text = backend->settings->address.items[item];
    struct addrinfo wanted = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_ADDRCONFIG }, *found;
    char host[256], port[8];
    size_t slot = item * ADDRESS_PER_ITEM, end = slot + ADDRESS_PER_ITEM;
    int r;

    if (backend->addresses[slot].to.to.any.sa_family != 0 || !address_host_port(text, host, port))
        return;
    r = getaddrinfo(host, port, &wanted, &found);
    if (r != 0) {
        fprintf(probe->out, "backend %s, %s: no address: %s\n", backend->settings->name, text,
                gai_strerror(r));
        probe->bad = true;
        return;
    }
    for (struct addrinfo *one = found; one && slot < end; one = one->ai_next) {
        struct address address = { 0 };

        if (one->ai_addrlen > sizeof(address.to))
            continue;
        memcpy(&address.to, one->ai_addr, one->ai_addrlen);
        backend_set_address(backend, slot++, &address);
    }
    freeaddrinfo(found);
}

static bool is_asked(const struct backend *backend)
{
    for (size_t i = 0; i < backend->count; i++)
        if (backend->addresses[i].known[0].learning || backend->addresses[i].known[1].learning)
            return true;
    return false;
}

static int ask(struct probe *probe, struct backend *backend)
{
    for (size_t i = 0; i < backend->settings->address.count; i++)
        resolve(probe, backend, i);
    for (size_t i = 0; i < backend->count; i++) {
        struct backend_address *address = &backend->addresses[i];
        bool opaque = backend->protocol == PROTOCOL_OPAQUE;
        int r;

        if (address->to.to.any.sa_family == 0)
            continue;
        r = backend_learn_start(address, false);
        if (r == 0 && !opaque)
            r = backend_learn_start(address, true);
        if (r < 0)
            return r;
    }
    while (is_asked(backend))
        uv_run(&probe->uv, UV_RUN_ONCE);
    return 0;
}

/* -- the report -- */

/* Mechanisms that pass through a proxy, or those that do not; true: there are any. */
static bool put_mechanisms(FILE *out, struct span words, bool passing, const char *before)
{
    bool any = false;

    while (words.size > 0) {
        struct span word = span_take_word(&words);

        if (word.size == 0 || capabilities_mechanism_passes(word) != passing)
            continue;
        fprintf(out, "%s%.*s", any ? " " : before, (int)word.size, (const char *)word.data);
        any = true;
    }
    return any;
}

static bool is_login(const struct capability *item)
{
    return span_equal_nocase(item->keyword, SPAN_LIT("AUTH")) ||
           span_equal_nocase(item->keyword, SPAN_LIT("SASL"));
}

static void put_items(FILE *out, const struct capabilities *list, bool hidden)
{
    const char *separator = "";

    for (size_t i = 0; i < list->count; i++) {
        const struct capability *item = &list->items[i];
        const char *why = capabilities_why_hidden(list, item);

        if (hidden && !why && is_login(item) &&
            put_mechanisms(out, item->parameters, false, separator)) {
            fprintf(out, " (logins that no proxy can pass on)");
            separator = ", ";
        }
        if ((why != NULL) != hidden)
            continue;
        fprintf(out, "%s%.*s", separator, (int)item->keyword.size,
                (const char *)item->keyword.data);
        if (!hidden && is_login(item))
            put_mechanisms(out, item->parameters, true, " ");
        else if (item->parameters.size > 0 && !hidden)
            fprintf(out, " %.*s", (int)item->parameters.size, (const char *)item->parameters.data);
        if (why)
            fprintf(out, " (%s)", why);
        separator = ", ";
    }
    fprintf(out, "%s\n", *separator ? "" : "nothing");
}

static void put_list(const struct probe *probe, const struct backend *backend,
                     const struct capabilities *list, const char *when)
{
    const struct settings_list *hide = &backend->settings->hide;

    if (!list) {
        fprintf(probe->out, "  %s: no answer\n", when);
        return;
    }
    if (list->none) {
        fprintf(probe->out, "  %s: knows no %s; clients get only what every server has\n", when,
                backend->protocol == PROTOCOL_SMTP ? "EHLO, HELO alone" : "CAPA");
        return;
    }
    fprintf(probe->out, "  %s\n    offered: ", when);
    put_items(probe->out, list, false);
    fprintf(probe->out, "    hidden:  ");
    put_items(probe->out, list, true);
    for (size_t i = 0; i < hide->count; i++)
        fprintf(probe->out, "             %s (hide = in the settings)\n", hide->items[i]);
}

static void put_relay_test(struct probe *probe, const struct backend_address *address)
{
    const struct backend *backend = address->backend;
    bool relays = address->known[0].open_relay || address->known[1].open_relay;

    if (backend->protocol != PROTOCOL_SMTP)
        return;
    if (!relays) {
        fprintf(probe->out, "  relay test: passed, it takes no stranger's mail for elsewhere\n");
        return;
    }
    fprintf(probe->out,
            "  relay test: FAILED, it relays for anybody who comes through here: %s.\n"
            "    Postfix: -o mynetworks= on that service, or identity = xclient or proxy-v2, so "
            "that it\n    learns the client's address. trusts_us = yes opens the gate as it is.\n",
            backend->settings->trusts_us ? "trusts_us = yes keeps it open" : "it gets no mail");
    if (!backend->settings->trusts_us)
        probe->bad = true;
}

static void report(struct probe *probe, const struct backend_address *address)
{
    static const char *const identities[] = { "none", "proxy-v1", "proxy-v2", "xclient" };
    static const char *const tls[] = { "off", "starttls", "implicit" };
    const struct backend *backend = address->backend;
    const struct settings_backend *settings = backend->settings;
    const struct capabilities *clear = address->known[0].list, *secure = address->known[1].list;
    char where[ADDRESS_TEXT_MAX];

    address_text(&address->to, where);
    fprintf(probe->out, "backend %s, %s (identity = %s, tls = %s)\n", settings->name, where,
            identities[settings->identity], tls[settings->tls]);
    if (!health_in_service(address->health)) {
        fprintf(probe->out, "  out of service: %s\n",
                address->fault ? address->fault : "does not answer");
        probe->bad = true;
        return;
    }
    if (backend->protocol == PROTOCOL_OPAQUE) {
        fprintf(probe->out, "  takes connections\n");
        return;
    }
    if (clear && secure && capabilities_equal(clear, secure)) {
        put_list(probe, backend, clear, "to every client");
    } else {
        put_list(probe, backend, clear, "to clients without TLS");
        put_list(probe, backend, secure, "to clients under TLS");
    }
    put_relay_test(probe, address);
}

static int probe_backend(struct probe *probe, const struct settings_backend *settings,
                         enum port_protocol protocol)
{
    struct backend_start start = { .loop = &probe->loop,
                                   .snapshot = probe->snapshot,
                                   .settings = settings,
                                   .protocol = protocol,
                                   .health = probe->health };
    struct backend backend;
    int r;

    if (settings_backend_embedded(settings)) {
        fprintf(probe->out, "backend %s: embedded, started by gatepost itself\n", settings->name);
        return 0;
    }
    r = backend_init(&backend, &start);
    if (r == 0)
        r = ask(probe, &backend);
    for (size_t i = 0; r == 0 && i < backend.count; i++)
        if (backend.addresses[i].to.to.any.sa_family != 0)
            report(probe, &backend.addresses[i]);
    backend_deinit(&backend);
    uv_run(&probe->uv, UV_RUN_DEFAULT); /* the handles close */
    return r;
}

int probe_run(const struct configuration *configuration, FILE *out)
{
    struct probe probe = { .out = out };
    int r = make_snapshot(&probe, configuration);

    if (r < 0)
        return r;
    probe.health = calloc(ADDRESS_SLOTS_MAX, sizeof(*probe.health));
    r = probe.health ? uv_loop_init(&probe.uv) : -ENOMEM;
    if (r < 0)
        goto free_snapshot;
    r = stream_loop_init(&probe.loop, &probe.uv, STREAM_READ_MAX);
    log_set_level(LOG_LEVEL_ERROR); /* the report tells it all */
    for (size_t i = 0; r == 0 && i < probe.snapshot->settings->backend_count; i++) {
        const struct settings_backend *backend = &probe.snapshot->settings->backends[i];
        enum port_protocol protocol;

        if (settings_backend_protocol(probe.snapshot->settings, backend, &protocol))
            r = probe_backend(&probe, backend, protocol);
    }
    stream_loop_deinit(&probe.loop);
    uv_run(&probe.uv, UV_RUN_DEFAULT);
    uv_loop_close(&probe.uv);
free_snapshot:
    free(probe.health);
    snapshot_unref(probe.snapshot);
    return r < 0 ? r : probe.bad;
}

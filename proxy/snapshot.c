/* Builds a worker's immutable view of one configuration out of the bundle. Fails where the
 * supervisor's check would have failed as well: the settings do not parse, or a certificate is
 * unusable. */
#include "proxy/snapshot.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/base/log.h"

static unsigned port_of_kind(const struct settings *settings, enum port_protocol protocol,
                             enum tls_rule tls)
{
    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct settings_listen *listen = &settings->listens[i];

        if (listen->protocol == protocol && listen->tls == tls &&
            settings_listen_open(settings, listen))
            return settings_listen_port(settings, listen);
    }
    return 0;
}

/* Does it decide which server a session goes to, who logs in? */
static bool reads_login(const struct settings *settings, const struct settings_listen *listen)
{
    const struct settings_backend *backend = settings_backend(settings, listen->backend);

    if (protocol_is_relayed(listen->protocol))
        return false;
    return listen->route[0] || (backend && backend->policy == POLICY_HASH_USER);
}

struct tls_context *snapshot_tls(const struct snapshot *snapshot,
                                 const struct settings_listen *listen)
{
    if (listen->tls == TLS_RULE_OFF)
        return NULL;
    return snapshot->tls[listen->protocol][listen->tls_profile];
}

static void make_rule(const struct snapshot *snapshot, const struct settings_listen *listen,
                      struct dialogue_rule *rule)
{
    const struct settings *settings = snapshot->settings;
    const struct settings_backend *backend = settings_backend(settings, listen->backend);

    *rule = (struct dialogue_rule){
        .protocol = listen->protocol,
        .hostname = settings->gatepost.hostname,
        .implicit_tls = listen->tls == TLS_RULE_IMPLICIT,
        .tls_available = snapshot_tls(snapshot, listen),
        .require_tls = listen->require_tls,
        .require_auth = listen->require_auth,
        .legacy_auth_line = listen->legacy_auth_line,
        .apop = backend && backend->apop && !reads_login(settings, listen),
        .reads_login = reads_login(settings, listen),
        .bare_newline = backend ? backend->bare_newline : BARE_NEWLINE_NORMALIZE,
        .max_errors = settings->limits.max_errors,
        .port = settings_listen_port(settings, listen),
        .implicit_port = port_of_kind(settings, listen->protocol, TLS_RULE_IMPLICIT),
        .starttls_port = port_of_kind(settings, listen->protocol, TLS_RULE_STARTTLS),
    };
}

static int read_networks(const struct settings_listen *listen, const char *key,
                         const struct settings_list *list, struct networks *into)
{
    if (list->count == 0)
        return 0;
    into->networks = calloc(list->count, sizeof(*into->networks));
    if (!into->networks)
        return -ENOMEM;
    for (size_t i = 0; i < list->count; i++) {
        int r = network_parse(list->items[i], &into->networks[i]);

        if (r < 0) {
            log_line(LOG_LEVEL_ERROR, "[listen %s] %s: %s is no address and no network",
                     listen->name, key, list->items[i]);
            return r;
        }
        into->count++;
    }
    return 0;
}

/* One for each protocol and profile of the open ports. No certificate is no error. */
static int make_contexts(struct snapshot *snapshot, const struct bundle *bundle,
                         const struct ticket_keys *keys)
{
    const struct settings *settings = snapshot->settings;
    struct tls_store *store;
    int r = tls_store_new(settings, bundle, &store);

    if (r < 0)
        return r == -ENOENT ? 0 : r;
    for (size_t i = 0; r == 0 && i < settings->listen_count; i++) {
        const struct settings_listen *listen = &settings->listens[i];
        struct tls_context **context = &snapshot->tls[listen->protocol][listen->tls_profile];

        if (!*context && listen->tls != TLS_RULE_OFF && settings_listen_open(settings, listen))
            r = tls_context_new(store, listen->protocol, listen->tls_profile, keys, context);
    }
    tls_store_free(store);
    return r;
}

static int make_ports(struct snapshot *snapshot)
{
    size_t count = snapshot->settings->listen_count;
    int r = 0;

    snapshot->rules = calloc(count, sizeof(*snapshot->rules));
    snapshot->trusted = calloc(count, sizeof(*snapshot->trusted));
    snapshot->from = calloc(count, sizeof(*snapshot->from));
    if (!snapshot->rules || !snapshot->trusted || !snapshot->from)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < count; i++) {
        const struct settings_listen *listen = &snapshot->settings->listens[i];

        make_rule(snapshot, listen, &snapshot->rules[i]);
        r = read_networks(listen, "trusted", &listen->trusted, &snapshot->trusted[i]);
        if (r == 0)
            r = read_networks(listen, "from", &listen->from, &snapshot->from[i]);
    }
    return r;
}

static int load_settings(const struct bundle *bundle, struct settings **ret_settings)
{
    struct diagnostics diagnostics;
    struct span text;
    int r = -EPROTO;

    diagnostics_init(&diagnostics);
    if (bundle_find(bundle, "settings", 0, &text))
        r = settings_load_text((const char *)text.data, text.size, "bundle", &diagnostics,
                               ret_settings);
    if (r < 0)
        diagnostics_print(&diagnostics, stderr);
    diagnostics_deinit(&diagnostics);
    return r;
}

static int read_slots(const struct bundle *bundle, uint16_t slots[ADDRESS_SLOTS_MAX])
{
    struct span entry;

    if (!bundle_find(bundle, "slots", 0, &entry) ||
        entry.size != ADDRESS_SLOTS_MAX * sizeof(slots[0]))
        return -EPROTO;
    memcpy(slots, entry.data, entry.size);
    return 0;
}

static int make_clients(struct snapshot *snapshot, const struct bundle *bundle)
{
    const struct settings *settings = snapshot->settings;
    int r = 0;

    snapshot->clients = calloc(settings->backend_count, sizeof(*snapshot->clients));
    if (!snapshot->clients)
        return -ENOMEM;
    for (size_t i = 0; r == 0 && i < settings->backend_count; i++) {
        const struct settings_backend *backend = &settings->backends[i];

        if (backend->tls != BACKEND_TLS_OFF)
            r = tls_client_new(backend, tls_client_ca(bundle, backend), &snapshot->clients[i]);
    }
    return r;
}

int snapshot_new(const struct bundle *bundle, const struct ticket_keys *keys,
                 struct snapshot **ret_snapshot)
{
    struct snapshot *snapshot = calloc(1, sizeof(*snapshot));
    int r;

    if (!snapshot)
        return -ENOMEM;
    snapshot->references = 1;
    r = load_settings(bundle, &snapshot->settings);
    if (r == 0)
        r = make_contexts(snapshot, bundle, keys);
    if (r == 0)
        r = read_slots(bundle, snapshot->slots);
    if (r == 0)
        r = make_clients(snapshot, bundle);
    if (r == 0)
        r = make_ports(snapshot);
    if (r < 0)
        snapshot_unref(snapshot);
    else
        *ret_snapshot = snapshot;
    return r;
}

struct snapshot *snapshot_ref(struct snapshot *snapshot)
{
    snapshot->references++;
    return snapshot;
}

static void free_networks(struct networks *lists, const struct settings *settings)
{
    for (size_t i = 0; lists && i < settings->listen_count; i++)
        free(lists[i].networks);
    free(lists);
}

void snapshot_unref(struct snapshot *snapshot)
{
    if (--snapshot->references > 0)
        return;
    for (int protocol = 0; protocol <= PROTOCOL_OPAQUE; protocol++)
        for (int profile = 0; profile < TLS_PROFILE_COUNT; profile++)
            tls_context_free(snapshot->tls[protocol][profile]);
    for (size_t i = 0; snapshot->clients && i < snapshot->settings->backend_count; i++)
        tls_client_free(snapshot->clients[i]);
    free(snapshot->clients);
    free_networks(snapshot->trusted, snapshot->settings);
    free_networks(snapshot->from, snapshot->settings);
    free(snapshot->rules);
    settings_free(snapshot->settings);
    free(snapshot);
}

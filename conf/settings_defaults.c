/* Knows what every setting is before a file says otherwise.
 *
 * Happy path: settings_defaults_add() makes the sections that always exist, the files are read over
 * them, settings_defaults_complete() fills in what only the whole decides: a port's wait for the
 * first octet depends on its tls, that on its protocol, the domains on the hostname. Fails for lack
 * of memory only. */
#include "conf/settings_defaults.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "conf/port_rules.h"
#include "conf/settings_form.h"
#include "conf/settings_origins.h"
#include "conf/settings_value.h"

static int set_text(char **member, const char *text)
{
    char *copy = strdup(text);

    if (!copy)
        return -ENOMEM;
    free(*member);
    *member = copy;
    return 0;
}

static int apply_rule(struct settings_listen *listen, const struct port_rule *rule)
{
    listen->port = rule->port;
    listen->protocol = rule->protocol;
    listen->tls = rule->tls;
    return set_text(&listen->backend, rule->backend);
}

static int add_port(struct settings *settings, const struct port_rule *rule)
{
    int result = settings_section_add(settings, SECTION_LISTEN, rule->name);

    return result < 0 ? result : apply_rule(&settings->listens[settings->listen_count - 1], rule);
}

int settings_defaults_add(struct settings *settings)
{
    static const char *const backends[] = { "smtp", "pop3", "remote" };
    static const enum settings_section once[] = { SECTION_GATEPOST, SECTION_LIMITS,
                                                  SECTION_MAILSTORE };
    int result = 0;

    for (size_t i = 0; i < 3 && result == 0; i++)
        result = settings_value_initial(&settings_sections[once[i]],
                                        settings_section_at(settings, once[i], 0));
    for (size_t i = 0; i < 3 && result == 0; i++)
        result = settings_section_add(settings, SECTION_BACKEND, backends[i]);
    for (size_t i = 0; i < PORT_RULES_COUNT && result == 0; i++)
        result = add_port(settings, &port_rules[i]);
    return result;
}

/* What depends on other keys. `effective` may be the section itself. */

static void complete_listen_tls(struct settings_listen *listen,
                                const struct settings_listen *effective)
{
    if (protocol_is_relayed(effective->protocol))
        listen->tls = TLS_RULE_IMPLICIT;
}

static void complete_listen_wait(struct settings_listen *listen,
                                 const struct settings_listen *effective)
{
    listen->detect_wait_ms = port_rules_detect_wait_ms(effective->tls);
}

static void complete_backend(struct settings_backend *backend,
                             const struct settings_backend *effective)
{
    if (settings_backend_embedded(effective))
        backend->identity = IDENTITY_PROXY_V2;
}

/* The host's own name where it can stand in a greeting. */
static int complete_hostname(struct settings_gatepost *gatepost)
{
    char name[HOST_NAME_MAX + 1] = "";

    if (gethostname(name, sizeof(name) - 1) < 0 || !form_is_domain(name))
        strcpy(name, "localhost");
    return set_text(&gatepost->hostname, name);
}

/* `mailstore` has none. */
static int complete_domains(struct settings_mailstore *mailstore, const char *hostname)
{
    struct settings_list *domains = &mailstore->domains;

    free(domains->items);
    domains->items = calloc(1, sizeof(*domains->items));
    if (!domains->items)
        return -ENOMEM;
    domains->items[0] = strdup(hostname);
    if (!domains->items[0])
        return -ENOMEM;
    domains->count = 1;
    return 0;
}

/* All of a configuration */

static struct settings_origin *origin_of(const struct settings *settings,
                                         enum settings_section section, const char *name,
                                         const char *key)
{
    return settings_origins_find(settings->origins, section, name, key);
}

/* What is filled in is not what a file may have written there. */
static void note_unused(const struct settings *settings, enum settings_section section,
                        const char *name, const char *key)
{
    struct settings_origin *origin = origin_of(settings, section, name, key);

    if (origin)
        origin->unused = true;
}

static void complete_listens(struct settings *settings)
{
    for (size_t i = 0; i < settings->listen_count; i++) {
        struct settings_listen *listen = &settings->listens[i];

        if (!origin_of(settings, SECTION_LISTEN, listen->name, "tls"))
            complete_listen_tls(listen, listen);
        if (!origin_of(settings, SECTION_LISTEN, listen->name, "detect_wait"))
            complete_listen_wait(listen, listen);
    }
}

static void complete_backends(struct settings *settings, struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < settings->backend_count; i++) {
        struct settings_backend *backend = &settings->backends[i];
        struct settings_ref ref = { "backend", backend->name, "identity", NULL };
        enum identity written = backend->identity;

        complete_backend(backend, backend);
        if (backend->identity == written ||
            !origin_of(settings, SECTION_BACKEND, backend->name, "identity"))
            continue;
        note_unused(settings, SECTION_BACKEND, backend->name, "identity");
        settings_report(settings, diagnostics, DIAGNOSTIC_WARNING, &ref,
                        "identity has no effect: [backend %s] is embedded, and is always told by "
                        "proxy-v2",
                        backend->name);
    }
}

static int complete_names(struct settings *settings)
{
    int result = 0;

    if (!*settings->gatepost.hostname) {
        note_unused(settings, SECTION_GATEPOST, "", "hostname");
        result = complete_hostname(&settings->gatepost);
    }
    if (result < 0 || settings->mailstore.domains.count > 0)
        return result;
    note_unused(settings, SECTION_MAILSTORE, "", "domains");
    return complete_domains(&settings->mailstore, settings->gatepost.hostname);
}

static void put_default_first(struct settings *settings)
{
    for (size_t i = 1; i < settings->tls_count; i++) {
        struct settings_tls swap = settings->tls[i];

        if (strcmp(swap.name, "default") == 0) {
            memmove(&settings->tls[1], &settings->tls[0], i * sizeof(swap));
            settings->tls[0] = swap;
        }
    }
}

int settings_defaults_complete(struct settings *settings, struct diagnostics *diagnostics)
{
    complete_listens(settings);
    complete_backends(settings, diagnostics);
    put_default_first(settings);
    return complete_names(settings);
}

/* Makes of `initial`, a section at the values of settings.def, what it is beside `effective`. */
static int complete_section(const struct settings *settings, enum settings_section section,
                            const void *effective, void *initial)
{
    const struct port_rule *rule;
    int result = 0;

    switch (section) {
    case SECTION_GATEPOST:
        return complete_hostname(initial);
    case SECTION_MAILSTORE:
        return complete_domains(initial, settings->gatepost.hostname);
    case SECTION_BACKEND:
        complete_backend(initial, effective);
        return 0;
    case SECTION_LISTEN:
        rule = port_rules_find(((const struct settings_listen *)effective)->name);
        if (rule)
            result = apply_rule(initial, rule);
        complete_listen_tls(initial, effective);
        complete_listen_wait(initial, effective);
        return result;
    case SECTION_TLS:
    case SECTION_LIMITS:
    case SECTION_COUNT:
        return 0;
    }
    return 0;
}

int settings_defaults_hold(const struct settings *settings, enum settings_section section,
                           size_t index, const struct settings_key *key)
{
    const struct settings_section_info *info = &settings_sections[section];
    const void *effective = settings_section_at(settings, section, index);
    void *initial = calloc(1, info->item_size);
    int result;

    if (!initial)
        return -ENOMEM;
    result = settings_value_initial(info, initial);
    if (result == 0)
        result = complete_section(settings, section, effective, initial);
    if (result == 0)
        result = settings_value_equal(key, settings_member(effective, key),
                                      settings_member(initial, key));
    settings_value_deinit(info, initial);
    free(initial);
    return result;
}

/* Judges the [listen] sections: each port, and all of them beside each other.
 *
 * Happy path: each key is looked at beside those that it depends on, and nothing is said. Of a port
 * with enabled = no only the number is looked at. */
#include <stdarg.h>
#include <string.h>

#include "conf/settings_check_internal.h"
#include "conf/settings_form.h"
#include "conf/settings_report.h"

#define PORT_MAX    65535
#define PORT_MX     25
#define JOINED_SIZE 256

static const struct settings_listen *listen_at(const struct check *check, size_t index)
{
    return &check->settings->listens[index];
}

static bool is_open(const struct check *check, const struct settings_listen *listen)
{
    return settings_listen_open(check->settings, listen);
}

/* One port */

/* False: there is no [backend] of that name, which is told at `key`. */
static bool check_reference(const struct check *check, const struct settings_listen *listen,
                            const char *key, const char *name)
{
    const struct settings *settings = check->settings;
    const char *names[64], *nearest;
    size_t count = 0;

    if (settings_backend(settings, name))
        return true;
    for (size_t i = 0; i < settings->backend_count && count < 64; i++)
        names[count++] = settings->backends[i].name;
    nearest = diagnostics_nearest(name, names, count);
    LISTEN_ERROR_AT(check, listen, key, name, "there is no section [backend %s]%s%s%s", name,
                    nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                    nearest ? "\"?" : "");
    return false;
}

static void check_backend(const struct check *check, const struct settings_listen *listen)
{
    if (!*listen->backend)
        LISTEN_ERROR(check, listen, "backend", "[listen %s] needs a backend", listen->name);
    else
        check_reference(check, listen, "backend", listen->backend);
}

static void check_bind(const struct check *check, const struct settings_listen *listen)
{
    const char *item, *fault = check_bind_fault(&listen->bind, &item);
    unsigned port = settings_listen_port(check->settings, listen);

    if (fault)
        LISTEN_ERROR_AT(check, listen, "bind", item, "bind: %s %s", item, fault);
    if (port > PORT_MAX)
        LISTEN_ERROR(check, listen, "port",
                     "[listen %s] port + port_offset is %u; there is none above %d", listen->name,
                     port, PORT_MAX);
}

/* An opaque port, and a remote one, is relayed as it is: nothing in its dialogue can be offered,
 * required or refused.
 */
static void check_relayed(const struct check *check, const struct settings_listen *listen)
{
    const char *kind = listen->protocol == PROTOCOL_REMOTE ? "remote" : "opaque";

    if (listen->tls == TLS_RULE_STARTTLS)
        LISTEN_ERROR(check, listen, "tls",
                     "[listen %s] is %s: it has no STARTTLS; tls must be implicit or off",
                     listen->name, kind);
    if (listen->require_tls != REQUIRE_TLS_NO)
        LISTEN_ERROR(check, listen, "require_tls",
                     "[listen %s] is %s: nobody can be told that TLS is required", listen->name,
                     kind);
    if (listen->early_talker == EARLY_TALKER_REFUSE)
        LISTEN_ERROR(check, listen, "early_talker",
                     "[listen %s] is %s: there is no greeting that a client could be ahead of",
                     listen->name, kind);
}

static void check_combination(const struct check *check, const struct settings_listen *listen)
{
    if (protocol_is_relayed(listen->protocol))
        check_relayed(check, listen);
    else if (listen->tls == TLS_RULE_OFF && listen->require_tls != REQUIRE_TLS_NO)
        LISTEN_ERROR(check, listen, "require_tls", "[listen %s] requires TLS, but has tls = off",
                     listen->name);
    if (listen->protocol != PROTOCOL_SMTP && listen->require_auth)
        LISTEN_ERROR(check, listen, "require_auth",
                     "[listen %s] is no smtp port: require_auth has no meaning", listen->name);
    if (listen->protocol != PROTOCOL_SMTP && listen->legacy_auth_line)
        LISTEN_ERROR(check, listen, "legacy_auth_line",
                     "[listen %s] is no smtp port: legacy_auth_line has no meaning", listen->name);
    if (listen->protocol == PROTOCOL_SMTP && listen->port == PORT_MX &&
        listen->require_tls == REQUIRE_TLS_YES)
        LISTEN_WARNING(
            check, listen, "require_tls",
            "[listen %s] requires TLS on port 25: mail from servers without TLS is lost (RFC "
            "3207, section 4); "
            "require_tls = auth protects the passwords alone",
            listen->name);
}

/* Port 25 is where other servers deliver, and they do not log in. */
static void check_mx(const struct check *check, const struct settings_listen *listen)
{
    if (listen->protocol == PROTOCOL_SMTP && listen->port == PORT_MX && listen->require_auth)
        LISTEN_WARNING(check, listen, "require_auth",
                       "[listen %s] takes mail only after a login, on port 25: mail from other "
                       "servers is refused",
                       listen->name);
}

/* A port that must do TLS and cannot. */
static void check_tls_available(const struct check *check, const struct settings_listen *listen)
{
    if (check->has_certificate || protocol_is_relayed(listen->protocol) ||
        listen->tls == TLS_RULE_OFF)
        return;
    if (listen->tls == TLS_RULE_IMPLICIT)
        LISTEN_ERROR(check, listen, "tls",
                     "[listen %s] is TLS first and there is no certificate: set certificate and "
                     "key in [tls default], "
                     "or enabled = no",
                     listen->name);
    else if (listen->require_tls != REQUIRE_TLS_NO)
        LISTEN_ERROR(check, listen, "require_tls",
                     "[listen %s] requires TLS and there is no certificate: set certificate and "
                     "key in [tls default]",
                     listen->name);
}

static void check_trusted(const struct check *check, const struct settings_listen *listen)
{
    char network[FORM_NETWORK_SIZE];

    for (size_t i = 0; i < listen->trusted.count; i++) {
        const char *item = listen->trusted.items[i];

        if (!form_is_network(item))
            LISTEN_ERROR_AT(
                check, listen, "trusted", item,
                "trusted: %s is no address or network such as 192.0.2.1, 192.0.2.0/24 or "
                "2001:db8::/32",
                item);
        else if (form_network_has_host(item, network))
            LISTEN_ERROR_AT(check, listen, "trusted", item,
                            "trusted: %s has bits set behind its prefix: the network is %s", item,
                            network);
        else if (form_network_is_whole(item))
            LISTEN_WARNING_AT(check, listen, "trusted", item,
                              "trusted: %s lets anybody claim any address", item);
    }
}

/* A backend that a route leads to. */
static void check_routed(const struct check *check, const struct settings_listen *listen,
                         const char *key, const char *name)
{
    const struct settings_backend *backend = settings_backend(check->settings, name);

    if (!check_reference(check, listen, key, name) || !*listen->route)
        return;
    if (backend->address.count == 0)
        LISTEN_ERROR_AT(check, listen, key, name, "%s: [backend %s] has no address", key, name);
    if (backend->apop)
        LISTEN_ERROR_AT(check, listen, key, name,
                        "%s: [backend %s] has apop = yes: its banner is needed before the user is "
                        "known, by whom the route goes",
                        key, name);
}

/* `backend` serves whom no route is known for, or who does not log in. */
static void check_unrouted(const struct check *check, const struct settings_listen *listen)
{
    const struct settings_backend *backend = settings_backend(check->settings, listen->backend);

    if (backend && backend->apop)
        LISTEN_ERROR(check, listen, "route",
                     "[listen %s] has a route, and [backend %s] has apop = yes: its banner is "
                     "needed before the user is known",
                     listen->name, backend->name);
    if (backend && backend->address.count == 0)
        LISTEN_WARNING(check, listen, "route",
                       "[listen %s] has a route and is not opened: [backend %s] has no address",
                       listen->name, backend->name);
}

static void check_route_unused(const struct check *check, const struct settings_listen *listen)
{
    if (listen->route_backends.count > 0)
        LISTEN_WARNING(check, listen, "route_backends",
                       "route_backends has no effect: [listen %s] has no route", listen->name);
    if (*listen->default_backend)
        LISTEN_WARNING(check, listen, "default_backend",
                       "default_backend has no effect: [listen %s] has no route", listen->name);
}

static void check_route(const struct check *check, const struct settings_listen *listen)
{
    const char *fault = form_route_fault(listen->route);

    for (size_t i = 0; i < listen->route_backends.count; i++)
        check_routed(check, listen, "route_backends", listen->route_backends.items[i]);
    if (*listen->default_backend)
        check_routed(check, listen, "default_backend", listen->default_backend);
    if (!*listen->route) {
        check_route_unused(check, listen);
        return;
    }
    if (fault)
        LISTEN_ERROR(check, listen, "route", "route must be user:cdb:/path; \"%s\" %s",
                     listen->route, fault);
    if (protocol_is_relayed(listen->protocol))
        LISTEN_ERROR(check, listen, "route",
                     "[listen %s] is %s: no user is known by whom a route could go", listen->name,
                     listen->protocol == PROTOCOL_REMOTE ? "remote" : "opaque");
    if (listen->route_backends.count == 0)
        LISTEN_ERROR(check, listen, "route",
                     "[listen %s] has a route, but no route_backends: the [backend] sections that "
                     "the map may name",
                     listen->name);
    check_unrouted(check, listen);
}

static void check_listen(const struct check *check, const struct settings_listen *listen)
{
    if (listen->port == 0) /* also where it is not opened: settings_print() has no word for none */
        LISTEN_ERROR(check, listen, "port", "[listen %s] needs a port", listen->name);
    if (!listen->enabled)
        return;
    check_backend(check, listen);
    check_bind(check, listen);
    check_combination(check, listen);
    check_mx(check, listen);
    check_trusted(check, listen);
    check_tls_of_listen(check, listen);
    check_route(check, listen);
    if (is_open(check, listen))
        check_tls_available(check, listen);
}

/* All ports together */

const struct settings_list *check_bind_of(const struct check *check,
                                          const struct settings_listen *listen)
{
    return listen->bind.count > 0 ? &listen->bind : &check->settings->gatepost.bind;
}

/* The first address of `b` that gets in the way of `a`, or NULL. */
static const char *common_address(const struct check *check, const struct settings_listen *a,
                                  const struct settings_listen *b)
{
    const struct settings_list *one = check_bind_of(check, a), *other = check_bind_of(check, b);

    for (size_t i = 0; i < one->count && i < CHECK_BIND_MAX; i++)
        for (size_t j = 0; j < other->count && j < CHECK_BIND_MAX; j++)
            if (form_is_address(one->items[i]) &&
                form_addresses_overlap(one->items[i], other->items[j]))
                return other->items[j];
    return NULL;
}

/* Two ports that clash are told at the later one, unless only the earlier one has a line to show.
 */
static void check_port_taken(const struct check *check, size_t index)
{
    const struct settings_listen *listen = listen_at(check, index), *other;
    const char *address;

    for (size_t i = 0; i < index; i++) {
        other = listen_at(check, i);
        if (!listen->enabled || !other->enabled || listen->port == 0 || listen->port != other->port)
            continue;
        address = common_address(check, other, listen);
        if (address)
            LISTEN_ERROR(check,
                         check_is_written(check, SECTION_LISTEN, listen->name, "port") ? listen
                                                                                       : other,
                         "port", "[listen %s] and [listen %s] both open port %u on %s", other->name,
                         listen->name, listen->port, address);
    }
}

/* Appends ", name" to `joined`; where it gets too long, "..." stands for the rest. */
static void join(char joined[JOINED_SIZE], const char *name)
{
    size_t used = strlen(joined);

    if (used + strlen(name) + sizeof(", ...") < JOINED_SIZE)
        snprintf(joined + used, JOINED_SIZE - used, "%s%s", used ? ", " : "", name);
    else if (used < 3 || strcmp(joined + used - 3, "...") != 0)
        snprintf(joined + used, JOINED_SIZE - used, ", ...");
}

/* A warning about sections that need not be in any file: it has no place. */
static void warn_of_all(const struct check *check, enum settings_section section, const char *key,
                        const char *format, ...) __attribute__((format(printf, 4, 5)));

static void warn_of_all(const struct check *check, enum settings_section section, const char *key,
                        const char *format, ...)
{
    char topic[SETTINGS_TOPIC_SIZE], words[640];
    struct diagnostic_place place = { NULL, 0, 0, NULL, settings_topic(section, key, topic) };
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    diagnostics_add(check->diagnostics, DIAGNOSTIC_WARNING, &place, "%s", words);
}

static void warn_about_passwords(const struct check *check)
{
    char names[JOINED_SIZE] = "";

    for (size_t i = 0; i < check->settings->listen_count; i++) {
        const struct settings_listen *listen = listen_at(check, i);

        if (is_open(check, listen) && !protocol_is_relayed(listen->protocol) &&
            listen->tls != TLS_RULE_IMPLICIT && listen->require_tls == REQUIRE_TLS_NO)
            join(names, listen->name);
    }
    if (*names)
        warn_of_all(check, SECTION_LISTEN, "require_tls",
                    "passwords may be sent without TLS (listen %s); require_tls = auth ends it",
                    names);
}

static void warn_about_missing_tls(const struct check *check)
{
    char names[JOINED_SIZE] = "";

    if (check->has_certificate)
        return;
    for (size_t i = 0; i < check->settings->listen_count; i++) {
        const struct settings_listen *listen = listen_at(check, i);

        if (is_open(check, listen) && listen->tls != TLS_RULE_OFF &&
            (listen->tls == TLS_RULE_STARTTLS || protocol_is_relayed(listen->protocol)))
            join(names, listen->name);
    }
    if (*names)
        warn_of_all(check, SECTION_TLS, "certificate",
                    "TLS is not offered (listen %s): [tls default] has no certificate", names);
}

const struct settings_listen *check_loop(const struct check *check, const char *address)
{
    for (size_t i = 0; i < check->settings->listen_count; i++) {
        const struct settings_listen *listen = listen_at(check, i);
        const struct settings_list *bind = check_bind_of(check, listen);
        unsigned port = settings_listen_port(check->settings, listen);

        if (!is_open(check, listen))
            continue;
        for (size_t j = 0; j < bind->count && j < CHECK_BIND_MAX; j++)
            if (form_is_address(bind->items[j]) && form_leads_to(address, bind->items[j], port))
                return listen;
    }
    return NULL;
}

void check_listens(const struct check *check)
{
    for (size_t i = 0; i < check->settings->listen_count; i++) {
        check_listen(check, listen_at(check, i));
        check_port_taken(check, i);
    }
}

void check_warn_of_listens(const struct check *check)
{
    warn_about_missing_tls(check);
    warn_about_passwords(check);
}

/* Looks for what is missing, refers to nothing, or contradicts itself.
 *
 * Each check is one function over the complete settings; it tells what it finds in words that name
 * sections and keys, because a default has no line to show. What concerns several ports alike is
 * one warning that names them all. Ports that are not opened may be incomplete in what only an open
 * port needs: the six of them are always there. */
#include "conf/settings_check.h"

#include <stdarg.h>
#include <string.h>

#include "conf/settings_form.h"

#define RUNTIME_DIR_MAX 80 /* octets: leaves room in a socket's path for the names below it */
#define BIND_MAX        64 /* addresses of one port: guessed; each is a descriptor in every worker */
#define PORT_MAX        65535
#define PORT_MX         25
#define JOINED_SIZE     256

struct check {
    const struct settings *settings;
    const struct settings_origins *origins;
    struct diagnostics *diagnostics;
    bool has_certificate;
};

static void report(const struct check *check, enum diagnostic_kind kind,
                   enum settings_section section, const char *name, const char *key,
                   const char *format, ...) __attribute__((format(printf, 6, 7)));

/* Points at the key where it is written, else at its section's line, else at nothing. */
static void report(const struct check *check, enum diagnostic_kind kind,
                   enum settings_section section, const char *name, const char *key,
                   const char *format, ...)
{
    const struct settings_origin *origin =
        settings_origins_find(check->origins, section, name, key);
    struct diagnostic_place place;
    char words[640];
    va_list arguments;

    if (!origin)
        origin = settings_origins_find(check->origins, section, name, NULL);
    va_start(arguments, format);
    vsnprintf(words, sizeof(words), format, arguments);
    va_end(arguments);
    if (origin) {
        place = origin->place;
        if (origin->value_column)
            place.column = origin->value_column;
    }
    diagnostics_add(check->diagnostics, kind, origin ? &place : NULL, "%s", words);
}

#define GATEPOST_ERROR(check, key, ...)                                                            \
    report(check, DIAGNOSTIC_ERROR, SECTION_GATEPOST, "", key, __VA_ARGS__)
#define MAILSTORE_ERROR(check, key, ...)                                                           \
    report(check, DIAGNOSTIC_ERROR, SECTION_MAILSTORE, "", key, __VA_ARGS__)
#define TLS_ERROR(check, tls, key, ...)                                                            \
    report(check, DIAGNOSTIC_ERROR, SECTION_TLS, (tls)->name, key, __VA_ARGS__)
#define LISTEN_ERROR(check, listen, key, ...)                                                      \
    report(check, DIAGNOSTIC_ERROR, SECTION_LISTEN, (listen)->name, key, __VA_ARGS__)
#define BACKEND_ERROR(check, backend, key, ...)                                                    \
    report(check, DIAGNOSTIC_ERROR, SECTION_BACKEND, (backend)->name, key, __VA_ARGS__)

static bool uses_embedded(const struct check *check)
{
    for (size_t i = 0; i < check->settings->backend_count; i++)
        if (settings_backend_embedded(&check->settings->backends[i]))
            return true;
    return false;
}

static const struct settings_listen *listen_at(const struct check *check, size_t index)
{
    return &check->settings->listens[index];
}

static bool is_open(const struct check *check, const struct settings_listen *listen)
{
    return settings_listen_open(check->settings, listen);
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

/* [gatepost] and [mailstore] */

static const char *bind_fault(const struct settings_list *bind, const char **ret_item)
{
    for (size_t i = 0; i < bind->count; i++) {
        *ret_item = bind->items[i];
        if (!form_is_address(bind->items[i]))
            return "is no IPv4 or IPv6 address; write 0.0.0.0, :: or an address of this host, "
                   "without brackets or port";
        for (size_t j = 0; j < i; j++)
            if (form_addresses_overlap(bind->items[i], bind->items[j]))
                return "is bound twice by this list";
    }
    *ret_item = "the list";
    return bind->count > BIND_MAX ? "has more than 64 addresses" : NULL;
}

static void check_gatepost(const struct check *check)
{
    const struct settings_gatepost *gatepost = &check->settings->gatepost;
    const char *fault, *item;

    if (!form_is_domain(gatepost->hostname))
        GATEPOST_ERROR(check, "hostname",
                       "hostname must be a domain name such as mail.example.org");
    if (gatepost->bind.count == 0)
        GATEPOST_ERROR(check, "bind", "bind needs at least one address");
    fault = bind_fault(&gatepost->bind, &item);
    if (fault)
        GATEPOST_ERROR(check, "bind", "bind: %s %s", item, fault);
    if (strlen(gatepost->runtime_dir) > RUNTIME_DIR_MAX)
        GATEPOST_ERROR(
            check, "runtime_dir",
            "runtime_dir has more than %d octets; the paths of its sockets would be too long",
            RUNTIME_DIR_MAX);
    if (strcmp(gatepost->user, "root") == 0)
        report(check, DIAGNOSTIC_WARNING, SECTION_GATEPOST, "", "user",
               "user = root lets the workers that face the network keep all privileges");
    if (strcmp(gatepost->user, gatepost->mail_user) == 0 && uses_embedded(check))
        report(
            check, DIAGNOSTIC_WARNING, SECTION_GATEPOST, "", "mail_user",
            "user and mail_user are the same: the workers that face the network can read all mail");
}

static void check_mailstore(const struct check *check)
{
    const struct settings_mailstore *mailstore = &check->settings->mailstore;
    const char *fault = NULL;

    for (size_t i = 0; i < mailstore->domains.count; i++)
        if (!form_is_domain(mailstore->domains.items[i]))
            MAILSTORE_ERROR(check, "domains", "domains: %s is no domain name",
                            mailstore->domains.items[i]);
    if (strncmp(mailstore->relay, "unix:", 5) == 0)
        fault = form_socket_fault(mailstore->relay);
    else if (*mailstore->relay && !form_is_host_port(mailstore->relay))
        fault = "is neither unix:/path nor host:port";
    if (fault)
        MAILSTORE_ERROR(check, "relay", "relay = %s %s", mailstore->relay, fault);
}

/* [tls] */

static void check_certificate(const struct check *check, const struct settings_tls *tls)
{
    if (*tls->certificate && !*tls->key)
        TLS_ERROR(check, tls, "certificate", "[tls %s] has a certificate but no key", tls->name);
    if (!*tls->certificate && *tls->key)
        TLS_ERROR(check, tls, "key", "[tls %s] has a key but no certificate", tls->name);
    if (strcmp(tls->name, "default") == 0)
        return;
    if (!*tls->certificate && !*tls->key)
        TLS_ERROR(check, tls, NULL, "[tls %s] has neither certificate nor key", tls->name);
    if (!check->has_certificate)
        TLS_ERROR(
            check, tls, NULL,
            "[tls %s] is never used alone: clients that send no server name need [tls default]",
            tls->name);
}

static bool has_name(const struct settings_tls *tls, const char *name)
{
    for (size_t i = 0; i < tls->names.count; i++)
        if (strcasecmp(tls->names.items[i], name) == 0)
            return true;
    return false;
}

static void check_server_names(const struct check *check, size_t index)
{
    const struct settings_tls *all = check->settings->tls, *tls = &all[index];

    for (size_t i = 0; i < tls->names.count; i++) {
        if (!form_is_server_name(tls->names.items[i]))
            TLS_ERROR(check, tls, "names", "names: %s is no domain name", tls->names.items[i]);
        for (size_t j = 0; j < index; j++)
            if (has_name(&all[j], tls->names.items[i]))
                TLS_ERROR(check, tls, "names", "the name %s stands in [tls %s] and in [tls %s]",
                          tls->names.items[i], all[j].name, tls->name);
    }
}

/* [backend] */

static void check_address(const struct check *check, const struct settings_backend *backend)
{
    if (settings_backend_embedded(backend))
        return;
    for (size_t i = 0; i < backend->address.count; i++) {
        const char *item = backend->address.items[i], *fault = form_socket_fault(item);

        if (fault && !form_is_host_port(item))
            BACKEND_ERROR(check, backend, "address",
                          "address must be embedded, unix:/path or host:port; \"%s\" %s", item,
                          fault);
    }
}

/* Bit 1 << protocol for each protocol of the ports in front of a backend. */
static unsigned protocols_of(const struct check *check, const struct settings_backend *backend)
{
    unsigned protocols = 0;

    for (size_t i = 0; i < check->settings->listen_count; i++)
        if (listen_at(check, i)->enabled &&
            strcmp(listen_at(check, i)->backend, backend->name) == 0)
            protocols |= 1u << listen_at(check, i)->protocol;
    return protocols;
}

static void check_protocols(const struct check *check, const struct settings_backend *backend)
{
    const unsigned smtp = 1u << PROTOCOL_SMTP, pop3 = 1u << PROTOCOL_POP3,
                   opaque = 1u << PROTOCOL_OPAQUE;
    unsigned protocols = protocols_of(check, backend);

    if (backend->address.count > 0 && (protocols & smtp) && (protocols & pop3))
        BACKEND_ERROR(check, backend, "address",
                      "[backend %s] stands behind both smtp and pop3 ports", backend->name);
    /* Beside a mail port, an opaque port may pass through to the embedded worker; alone it does not
     * say which one. */
    if (settings_backend_embedded(backend) && protocols == opaque)
        BACKEND_ERROR(check, backend, "address",
                      "[backend %s] stands behind opaque ports only, which have no embedded server",
                      backend->name);
    if (backend->apop && (settings_backend_embedded(backend) || !(protocols & pop3)))
        BACKEND_ERROR(check, backend, "apop", "apop = yes: [backend %s] %s", backend->name,
                      protocols & pop3 ? "is embedded and has no APOP"
                                       : "stands behind no pop3 port");
    if (backend->address.count > 0 && !protocols)
        report(check, DIAGNOSTIC_WARNING, SECTION_BACKEND, backend->name, NULL,
               "[backend %s] stands behind no port", backend->name);
}

/* [listen]: one port */

static void check_references(const struct check *check, const struct settings_listen *listen)
{
    const struct settings *settings = check->settings;
    const char *names[64], *nearest;
    size_t count = 0;

    if (!*listen->backend) {
        LISTEN_ERROR(check, listen, "backend", "[listen %s] needs a backend", listen->name);
        return;
    }
    if (settings_backend(settings, listen->backend))
        return;
    for (size_t i = 0; i < settings->backend_count && count < 64; i++)
        names[count++] = settings->backends[i].name;
    nearest = diagnostics_nearest(listen->backend, names, count);
    LISTEN_ERROR(check, listen, "backend", "there is no section [backend %s]%s%s%s",
                 listen->backend, nearest ? "; did you mean \"" : "", nearest ? nearest : "",
                 nearest ? "\"?" : "");
}

static void check_bind(const struct check *check, const struct settings_listen *listen)
{
    const char *item, *fault = bind_fault(&listen->bind, &item);
    unsigned port = settings_listen_port(check->settings, listen);

    if (fault)
        LISTEN_ERROR(check, listen, "bind", "bind: %s %s", item, fault);
    if (port > PORT_MAX)
        LISTEN_ERROR(check, listen, "port",
                     "[listen %s] port + port_offset is %u; there is none above %d", listen->name,
                     port, PORT_MAX);
}

/* An opaque port is relayed as it is: nothing in its dialogue can be offered, required or refused.
 */
static void check_opaque(const struct check *check, const struct settings_listen *listen)
{
    if (listen->tls == TLS_RULE_STARTTLS)
        LISTEN_ERROR(check, listen, "tls",
                     "[listen %s] is opaque: it has no STARTTLS; tls must be implicit or off",
                     listen->name);
    if (listen->require_tls != REQUIRE_TLS_NO)
        LISTEN_ERROR(check, listen, "require_tls",
                     "[listen %s] is opaque: nobody can be told that TLS is required",
                     listen->name);
    if (listen->early_talker == EARLY_TALKER_REFUSE)
        LISTEN_ERROR(check, listen, "early_talker",
                     "[listen %s] is opaque: there is no greeting that a client could be ahead of",
                     listen->name);
}

static void check_combination(const struct check *check, const struct settings_listen *listen)
{
    if (listen->protocol == PROTOCOL_OPAQUE)
        check_opaque(check, listen);
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
        report(check, DIAGNOSTIC_WARNING, SECTION_LISTEN, listen->name, "require_tls",
               "[listen %s] requires TLS on port 25: mail from servers without TLS is lost (RFC "
               "3207, section 4); "
               "require_tls = auth protects the passwords alone",
               listen->name);
}

/* A port that must do TLS and cannot. */
static void check_tls_available(const struct check *check, const struct settings_listen *listen)
{
    if (check->has_certificate || listen->protocol == PROTOCOL_OPAQUE ||
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

static void check_listen(const struct check *check, const struct settings_listen *listen)
{
    if (listen->port == 0) /* also where it is not opened: settings_print() has no word for none */
        LISTEN_ERROR(check, listen, "port", "[listen %s] needs a port", listen->name);
    if (!listen->enabled)
        return;
    check_references(check, listen);
    check_bind(check, listen);
    check_combination(check, listen);
    if (is_open(check, listen))
        check_tls_available(check, listen);
}

/* [listen]: all ports together */

static const struct settings_list *bind_of(const struct check *check,
                                           const struct settings_listen *listen)
{
    return listen->bind.count > 0 ? &listen->bind : &check->settings->gatepost.bind;
}

/* The first address of `b` that gets in the way of `a`, or NULL. */
static const char *common_address(const struct check *check, const struct settings_listen *a,
                                  const struct settings_listen *b)
{
    const struct settings_list *one = bind_of(check, a), *other = bind_of(check, b);

    for (size_t i = 0; i < one->count && i < BIND_MAX; i++)
        for (size_t j = 0; j < other->count && j < BIND_MAX; j++)
            if (form_is_address(one->items[i]) &&
                form_addresses_overlap(one->items[i], other->items[j]))
                return other->items[j];
    return NULL;
}

static bool is_written(const struct check *check, const struct settings_listen *listen)
{
    return settings_origins_find(check->origins, SECTION_LISTEN, listen->name, "port") != NULL;
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
            LISTEN_ERROR(check, is_written(check, listen) ? listen : other, "port",
                         "[listen %s] and [listen %s] both open port %u on %s", other->name,
                         listen->name, listen->port, address);
    }
}

static void warn_about_passwords(const struct check *check)
{
    char names[JOINED_SIZE] = "";

    for (size_t i = 0; i < check->settings->listen_count; i++) {
        const struct settings_listen *listen = listen_at(check, i);

        if (is_open(check, listen) && listen->protocol != PROTOCOL_OPAQUE &&
            listen->tls != TLS_RULE_IMPLICIT && listen->require_tls == REQUIRE_TLS_NO)
            join(names, listen->name);
    }
    if (*names)
        diagnostics_add(check->diagnostics, DIAGNOSTIC_WARNING, NULL,
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
            (listen->tls == TLS_RULE_STARTTLS || listen->protocol == PROTOCOL_OPAQUE))
            join(names, listen->name);
    }
    if (*names)
        diagnostics_add(check->diagnostics, DIAGNOSTIC_WARNING, NULL,
                        "TLS is not offered (listen %s): [tls default] has no certificate", names);
}

/* Worth saying only where nothing is wrong: an error may be the cause. */
static void warn_about_no_port(const struct check *check)
{
    if (check->diagnostics->errors > 0)
        return;
    for (size_t i = 0; i < check->settings->listen_count; i++)
        if (is_open(check, listen_at(check, i)))
            return;
    diagnostics_add(
        check->diagnostics, DIAGNOSTIC_WARNING, NULL,
        "no port is opened: no [backend] has an address (embedded, or unix:/path of a server)");
}

void settings_check(const struct settings *settings, const struct settings_origins *origins,
                    struct diagnostics *diagnostics)
{
    const struct settings_tls *tls = settings_tls(settings, "default");
    struct check check = { settings, origins, diagnostics, tls && *tls->certificate };

    check_gatepost(&check);
    for (size_t i = 0; i < settings->tls_count; i++) {
        check_certificate(&check, &settings->tls[i]);
        check_server_names(&check, i);
    }
    for (size_t i = 0; i < settings->listen_count; i++) {
        check_listen(&check, &settings->listens[i]);
        check_port_taken(&check, i);
    }
    for (size_t i = 0; i < settings->backend_count; i++) {
        check_address(&check, &settings->backends[i]);
        check_protocols(&check, &settings->backends[i]);
    }
    check_mailstore(&check);
    warn_about_missing_tls(&check);
    warn_about_passwords(&check);
    warn_about_no_port(&check);
}

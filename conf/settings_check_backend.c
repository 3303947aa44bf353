/* Judges the [backend] sections: their addresses, and what does not go together with the ports that
 * reach them, directly or by a route.
 *
 * Happy path: each key is looked at beside those that it depends on, and nothing is said. What
 * depends on the ports is judged only where the backend has an address: without one it is not
 * used. */
#include <string.h>

#include "conf/settings_check_internal.h"
#include "conf/settings_form.h"

/* The proxy keeps 256 slots for addresses, four for each item (ADDRESS_SLOTS_MAX and
 * ADDRESS_PER_ITEM in its address.h). */
#define ITEMS_MAX     16 /* of one backend; guessed */
#define ALL_ITEMS_MAX 64

#define SMTP   (1u << PROTOCOL_SMTP)
#define POP3   (1u << PROTOCOL_POP3)
#define REMOTE (1u << PROTOCOL_REMOTE)
#define OPAQUE (1u << PROTOCOL_OPAQUE)

/* address */

/* A session would come back to us, and again, until no descriptor is left. */
static void check_no_loop(const struct check *check, const struct settings_backend *backend,
                          const char *item)
{
    const struct settings_listen *listen = check_loop(check, item);

    if (listen)
        BACKEND_ERROR_AT(check, backend, "address", item,
                         "address: %s is where [listen %s] listens: Gatepost would connect to "
                         "itself",
                         item, listen->name);
}

/* One server cannot be spoken to in two ways. Returns how they differ, in words, or NULL. */
static const char *difference(const struct settings_backend *a, const struct settings_backend *b)
{
    if (a->identity != b->identity)
        return "identity";
    if (a->tls != b->tls && (a->tls == BACKEND_TLS_IMPLICIT || b->tls == BACKEND_TLS_IMPLICIT))
        return "tls";
    return NULL;
}

/* Two backends may share a server, for the sake of their limits. */
static void check_shared(const struct check *check, const struct settings_backend *backend,
                         const char *item)
{
    for (size_t i = 0; i < check->settings->backend_count; i++) {
        const struct settings_backend *other = &check->settings->backends[i];
        const char *key = difference(other, backend);

        if (other == backend)
            return;
        for (size_t j = 0; j < other->address.count && key; j++) {
            if (form_same_backend(other->address.items[j], item)) {
                BACKEND_WARNING_AT(check, backend, "address", item,
                                   "address: %s is also an address of [backend %s], which has "
                                   "another %s; one of them must be wrong",
                                   item, other->name, key);
                return;
            }
        }
    }
}

static bool stands_before(const struct settings_list *list, size_t index)
{
    for (size_t i = 0; i < index; i++)
        if (form_same_backend(list->items[i], list->items[index]))
            return true;
    return false;
}

static void check_item(const struct check *check, const struct settings_backend *backend,
                       size_t index)
{
    const char *item = backend->address.items[index], *fault = form_backend_fault(item);

    if (strcmp(item, "embedded") == 0)
        BACKEND_ERROR_AT(check, backend, "address", item,
                         "address: embedded stands alone, beside no other address");
    else if (fault)
        BACKEND_ERROR_AT(check, backend, "address", item,
                         "address must be embedded, or unix:/path or host:port; \"%s\" %s", item,
                         fault);
    else if (stands_before(&backend->address, index))
        BACKEND_ERROR_AT(check, backend, "address", item, "address: %s stands twice in this list",
                         item);
    else {
        check_no_loop(check, backend, item);
        check_shared(check, backend, item);
    }
}

static void check_address(const struct check *check, const struct settings_backend *backend)
{
    if (settings_backend_embedded(backend))
        return;
    if (backend->address.count > ITEMS_MAX) {
        BACKEND_ERROR(check, backend, "address",
                      "[backend %s] has %zu addresses; at most %d are possible", backend->name,
                      backend->address.count, ITEMS_MAX);
        return;
    }
    for (size_t i = 0; i < backend->address.count; i++)
        check_item(check, backend, i);
}

static void check_all_addresses(const struct check *check)
{
    size_t count = 0;

    for (size_t i = 0; i < check->settings->backend_count; i++) {
        const struct settings_backend *backend = &check->settings->backends[i];

        count += backend->address.count;
        if (count > ALL_ITEMS_MAX) {
            BACKEND_ERROR(check, backend, "address",
                          "with [backend %s] all backends together have %zu addresses; at most %d "
                          "are possible",
                          backend->name, count, ALL_ITEMS_MAX);
            return;
        }
    }
}

/* TLS to the server */

/* Whoever sets these believes that there is TLS. */
static void check_plain(const struct check *check, const struct settings_backend *backend)
{
    if (*backend->ca)
        BACKEND_ERROR(check, backend, "ca",
                      "[backend %s] has a ca, but tls = off: nothing is encrypted or checked",
                      backend->name);
    if (*backend->sni)
        BACKEND_ERROR(check, backend, "sni",
                      "[backend %s] has an sni, but tls = off: nothing is encrypted or checked",
                      backend->name);
    if (!backend->verify)
        BACKEND_WARNING(check, backend, "verify",
                        "verify has no effect: [backend %s] has tls = off", backend->name);
}

static void check_unverified(const struct check *check, const struct settings_backend *backend)
{
    BACKEND_WARNING(check, backend, "verify",
                    "verify = no: what is sent to [backend %s] is encrypted, but to anybody who "
                    "answers in its place",
                    backend->name);
    if (*backend->ca)
        BACKEND_WARNING(check, backend, "ca", "ca has no effect: [backend %s] has verify = no",
                        backend->name);
}

static void check_verified_name(const struct check *check, const struct settings_backend *backend)
{
    for (size_t i = 0; i < backend->address.count && !*backend->sni; i++) {
        if (strncmp(backend->address.items[i], "unix:", 5) == 0) {
            BACKEND_ERROR(
                check, backend, "tls",
                "%s has no name that a certificate could bear: set sni to the name in the "
                "server's, or verify = no",
                backend->address.items[i]);
            return;
        }
    }
}

static void check_tls(const struct check *check, const struct settings_backend *backend)
{
    if (backend->tls == BACKEND_TLS_OFF) {
        check_plain(check, backend);
        return;
    }
    if (settings_backend_embedded(backend)) {
        BACKEND_ERROR(check, backend, "tls",
                      "[backend %s] is embedded: TLS ends before it, and tls must be off",
                      backend->name);
        return;
    }
    if (*backend->sni && (!form_is_domain(backend->sni) || form_is_address(backend->sni)))
        BACKEND_ERROR(check, backend, "sni", "sni: %s is no host name", backend->sni);
    if (backend->verify)
        check_verified_name(check, backend);
    else
        check_unverified(check, backend);
}

static void check_hide(const struct check *check, const struct settings_backend *backend)
{
    for (size_t i = 0; i < backend->hide.count; i++)
        if (!form_is_capability(backend->hide.items[i]))
            BACKEND_ERROR_AT(check, backend, "hide", backend->hide.items[i],
                             "hide: \"%s\" is no keyword of letters, digits and hyphens",
                             backend->hide.items[i]);
}

/* What depends on the ports */

/* The first listener of a protocol that reaches the backend, or NULL. */
static const struct settings_listen *reached_by(const struct check *check,
                                                const struct settings_backend *backend,
                                                enum port_protocol protocol)
{
    for (size_t i = 0; i < check->settings->listen_count; i++) {
        const struct settings_listen *listen = &check->settings->listens[i];

        if (listen->protocol == protocol &&
            settings_listen_reaches(check->settings, listen, backend))
            return listen;
    }
    return NULL;
}

/* Bit 1 << protocol for each protocol of the ports in front of a backend. */
static unsigned protocols_of(const struct check *check, const struct settings_backend *backend)
{
    unsigned protocols = 0;

    for (int i = 0; i <= PROTOCOL_OPAQUE; i++)
        if (reached_by(check, backend, (enum port_protocol)i))
            protocols |= 1u << i;
    return protocols;
}

static void check_protocols(const struct check *check, const struct settings_backend *backend,
                            unsigned protocols)
{
    if (!protocols)
        BACKEND_WARNING(check, backend, NULL, "[backend %s] stands behind no port", backend->name);
    if ((protocols & SMTP) && (protocols & POP3))
        BACKEND_ERROR(check, backend, "address",
                      "[backend %s] stands behind both smtp and pop3 ports: [listen %s] and "
                      "[listen %s]",
                      backend->name, reached_by(check, backend, PROTOCOL_SMTP)->name,
                      reached_by(check, backend, PROTOCOL_POP3)->name);
    if (settings_backend_embedded(backend) && (protocols & REMOTE) && (protocols & (SMTP | POP3)))
        BACKEND_ERROR(
            check, backend, "address",
            "[backend %s] is embedded and stands behind [listen %s], which is remote, and [listen "
            "%s], "
            "which is %s: each needs a backend of its own",
            backend->name, reached_by(check, backend, PROTOCOL_REMOTE)->name,
            reached_by(check, backend, protocols & SMTP ? PROTOCOL_SMTP : PROTOCOL_POP3)->name,
            protocols & SMTP ? "smtp" : "pop3");
    /* Beside a mail port, an opaque port may pass through to the embedded worker; alone it does not
     * say which one. */
    if (settings_backend_embedded(backend) && protocols == OPAQUE)
        BACKEND_ERROR(check, backend, "address",
                      "[backend %s] stands behind opaque ports only, which have no embedded server",
                      backend->name);
}

/* Its banner differs from connection to connection, so several addresses and STLS to the server
 * are fine; but it is shown before anybody has said who he is. (Routes: settings_check_listen.c) */
static void check_apop(const struct check *check, const struct settings_backend *backend,
                       unsigned protocols)
{
    if (settings_backend_embedded(backend))
        BACKEND_ERROR(check, backend, "apop",
                      "apop = yes: [backend %s] is embedded and has no APOP", backend->name);
    else if (!(protocols & POP3))
        BACKEND_ERROR(check, backend, "apop", "apop = yes: [backend %s] stands behind no pop3 port",
                      backend->name);
    else if (backend->policy == POLICY_HASH_USER)
        BACKEND_ERROR(check, backend, "apop",
                      "apop = yes: the banner of [backend %s] is needed before the user is known: "
                      "policy cannot be hash-user",
                      backend->name);
}

static void check_relayed(const struct check *check, const struct settings_backend *backend,
                          unsigned protocols)
{
    enum port_protocol protocol = protocols & OPAQUE ? PROTOCOL_OPAQUE : PROTOCOL_REMOTE;
    const char *listen = reached_by(check, backend, protocol)->name;
    const char *kind = protocols & OPAQUE ? "opaque" : "remote";

    if (backend->policy == POLICY_HASH_USER)
        BACKEND_ERROR(check, backend, "policy",
                      "policy = hash-user: [listen %s] in front of [backend %s] is %s, and no "
                      "user is known there; hash-client goes by the client's address",
                      listen, backend->name, kind);
    if (backend->tls == BACKEND_TLS_STARTTLS)
        BACKEND_ERROR(check, backend, "tls",
                      "tls = starttls: [listen %s] in front of [backend %s] is %s, and has no "
                      "command for it; tls must be implicit or off",
                      listen, backend->name, kind);
    if (backend->hide.count > 0 && !(protocols & (SMTP | POP3)))
        BACKEND_WARNING(check, backend, "hide",
                        "hide has no effect: [backend %s] stands behind %s ports only, which "
                        "are relayed as they are",
                        backend->name, kind);
}

static void check_xclient(const struct check *check, const struct settings_backend *backend,
                          unsigned protocols)
{
    enum port_protocol other = protocols & POP3     ? PROTOCOL_POP3
                               : protocols & REMOTE ? PROTOCOL_REMOTE
                                                    : PROTOCOL_OPAQUE;

    if (protocols & ~SMTP)
        BACKEND_ERROR(
            check, backend, "identity",
            "identity = xclient: XCLIENT is a command of SMTP, and [listen %s] in front of "
            "[backend %s] is %s; proxy-v1 and proxy-v2 go everywhere",
            reached_by(check, backend, other)->name, backend->name,
            other == PROTOCOL_POP3     ? "a pop3 port"
            : other == PROTOCOL_REMOTE ? "remote"
                                       : "opaque");
}

static void check_use(const struct check *check, const struct settings_backend *backend)
{
    unsigned protocols;

    if (backend->address.count == 0)
        return;
    protocols = protocols_of(check, backend);
    check_protocols(check, backend, protocols);
    if (backend->apop)
        check_apop(check, backend, protocols);
    if (backend->identity == IDENTITY_XCLIENT)
        check_xclient(check, backend, protocols);
    if (protocols & (REMOTE | OPAQUE))
        check_relayed(check, backend, protocols);
    if (backend->policy != POLICY_FAILOVER && backend->address.count == 1 &&
        form_names_one_address(backend->address.items[0]))
        BACKEND_WARNING(check, backend, "policy",
                        "policy has no effect: [backend %s] has one address", backend->name);
}

void check_backends(const struct check *check)
{
    check_all_addresses(check);
    for (size_t i = 0; i < check->settings->backend_count; i++) {
        const struct settings_backend *backend = &check->settings->backends[i];

        check_address(check, backend);
        check_tls(check, backend);
        check_hide(check, backend);
        check_use(check, backend);
    }
}

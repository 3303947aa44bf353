/* Looks for what is missing, refers to nothing, or contradicts itself.
 *
 * Each check is one function over the complete settings; it tells what it finds in words that name
 * sections and keys, because a default has no line to show. What concerns several ports alike is
 * one warning that names them all. Ports that are not opened may be incomplete in what only an open
 * port needs: the six of them are always there. */
#include "conf/settings_check.h"

#include <stdarg.h>
#include <string.h>

#include "conf/settings_check_internal.h"
#include "conf/settings_form.h"
#include "conf/settings_report.h"

#define RUNTIME_DIR_MAX 80 /* octets: leaves room in a socket's path for the names below it */

void check_report(const struct check *check, enum diagnostic_kind kind,
                  enum settings_section section, const char *name, const char *key,
                  const char *item, const char *format, ...)
{
    struct settings_ref ref = { settings_sections[section].name, name, key, item };
    va_list arguments;

    va_start(arguments, format);
    settings_report_words(check->settings, check->diagnostics, kind, &ref, format, arguments);
    va_end(arguments);
}

bool check_is_written(const struct check *check, enum settings_section section, const char *name,
                      const char *key)
{
    return settings_origins_find(check->settings->origins, section, name, key) != NULL;
}

#define GATEPOST_ERROR(check, key, ...)                                                            \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_GATEPOST, "", key, NULL, __VA_ARGS__)
#define MAILSTORE_ERROR(check, key, ...)                                                           \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_MAILSTORE, "", key, NULL, __VA_ARGS__)
#define MAILSTORE_ERROR_AT(check, key, item, ...)                                                  \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_MAILSTORE, "", key, item, __VA_ARGS__)
#define TLS_ERROR(check, tls, key, ...)                                                            \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_TLS, (tls)->name, key, NULL, __VA_ARGS__)
#define TLS_ERROR_AT(check, tls, key, item, ...)                                                   \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_TLS, (tls)->name, key, item, __VA_ARGS__)

static bool uses_embedded(const struct check *check)
{
    for (size_t i = 0; i < check->settings->backend_count; i++)
        if (settings_backend_embedded(&check->settings->backends[i]))
            return true;
    return false;
}

/* [gatepost] and [mailstore] */

const char *check_bind_fault(const struct settings_list *bind, const char **ret_item)
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
    return bind->count > CHECK_BIND_MAX ? "has more than 64 addresses" : NULL;
}

/* Does an embedded worker have that name for its socket? */
static bool is_embedded_socket(const struct check *check, const char *name)
{
    char own[80];

    for (size_t i = 0; i < check->settings->backend_count; i++) {
        const struct settings_backend *backend = &check->settings->backends[i];
        int length = snprintf(own, sizeof(own), "%s.sock", backend->name);

        if (settings_backend_embedded(backend) && length < (int)sizeof(own) &&
            strcmp(own, name) == 0)
            return true;
    }
    return false;
}

static void check_control(const struct check *check)
{
    const struct settings_gatepost *gatepost = &check->settings->gatepost;
    const char *name = gatepost->control_socket, *fault;

    if (strcmp(name, "none") == 0) {
        if (*gatepost->control_group)
            check_report(check, DIAGNOSTIC_WARNING, SECTION_GATEPOST, "", "control_group", NULL,
                         "control_group has no effect: control_socket = none");
        return;
    }
    fault = form_own_socket_fault(name, gatepost->runtime_dir);
    if (fault)
        GATEPOST_ERROR(check, "control_socket", "control_socket = %s %s", name, fault);
    else if (is_embedded_socket(check, name))
        GATEPOST_ERROR(check, "control_socket",
                       "control_socket = %s is the socket of an embedded worker: choose another "
                       "name",
                       name);
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
    fault = check_bind_fault(&gatepost->bind, &item);
    if (fault)
        check_report(check, DIAGNOSTIC_ERROR, SECTION_GATEPOST, "", "bind", item, "bind: %s %s",
                     item, fault);
    if (!form_is_log(gatepost->log))
        GATEPOST_ERROR(check, "log",
                       "log must be stderr, journald or syslog; journald:/path and syslog:/path "
                       "name another socket");
    if (strlen(gatepost->runtime_dir) > RUNTIME_DIR_MAX)
        GATEPOST_ERROR(
            check, "runtime_dir",
            "runtime_dir has more than %d octets; the paths of its sockets would be too long",
            RUNTIME_DIR_MAX);
    check_control(check);
    if (strcmp(gatepost->user, "root") == 0)
        check_report(check, DIAGNOSTIC_WARNING, SECTION_GATEPOST, "", "user", NULL,
                     "user = root lets the workers that face the network keep all privileges");
    if (strcmp(gatepost->user, gatepost->mail_user) == 0 && uses_embedded(check))
        check_report(
            check, DIAGNOSTIC_WARNING, SECTION_GATEPOST, "", "mail_user", NULL,
            "user and mail_user are the same: the workers that face the network can read all mail");
}

static void check_mailstore(const struct check *check)
{
    const struct settings_mailstore *mailstore = &check->settings->mailstore;
    const char *fault = NULL;

    for (size_t i = 0; i < mailstore->domains.count; i++)
        if (!form_is_domain(mailstore->domains.items[i]))
            MAILSTORE_ERROR_AT(check, "domains", mailstore->domains.items[i],
                               "domains: %s is no domain name", mailstore->domains.items[i]);
    if (strncmp(mailstore->relay, "unix:", 5) == 0)
        fault = form_socket_fault(mailstore->relay);
    else if (*mailstore->relay && !form_is_host_port(mailstore->relay))
        fault = "is neither unix:/path nor host:port";
    if (fault)
        MAILSTORE_ERROR(check, "relay", "relay = %s %s", mailstore->relay, fault);
    else if (*mailstore->relay && check_loop(check, mailstore->relay))
        MAILSTORE_ERROR(check, "relay",
                        "relay = %s is where [listen %s] listens: mail to other domains would come "
                        "back",
                        mailstore->relay, check_loop(check, mailstore->relay)->name);
}

/* [tls] */

static void check_paths(const struct check *check, const struct settings_tls *tls, const char *key,
                        const struct settings_list *paths)
{
    for (size_t i = 0; i < paths->count; i++)
        if (paths->items[i][0] != '/')
            TLS_ERROR_AT(check, tls, key, paths->items[i],
                         "%s needs an absolute path: one that begins with /", key);
}

/* The names that the directory is for are those of its certificates. */
static void check_directory(const struct check *check, const struct settings_tls *tls)
{
    if (strcmp(tls->name, "default") == 0)
        TLS_ERROR(check, tls, "directory",
                  "[tls default] is for clients that send no server name: it needs certificate and "
                  "key; a directory has its own section, such as [tls sites]");
    else if (tls->certificate.count > 0 || tls->key.count > 0)
        TLS_ERROR(check, tls, "directory",
                  "[tls %s] has a directory: certificate and key belong to another section",
                  tls->name);
    else if (tls->names.count > 0)
        TLS_ERROR(check, tls, "names",
                  "[tls %s] has a directory: its names are those in the certificates", tls->name);
}

static void check_certificate(const struct check *check, const struct settings_tls *tls)
{
    size_t certificates = tls->certificate.count, keys = tls->key.count;

    check_paths(check, tls, "certificate", &tls->certificate);
    check_paths(check, tls, "key", &tls->key);
    if (certificates > 0 && keys == 0)
        TLS_ERROR(check, tls, "certificate", "[tls %s] has a certificate but no key", tls->name);
    else if (certificates == 0 && keys > 0)
        TLS_ERROR(check, tls, "key", "[tls %s] has a key but no certificate", tls->name);
    else if (certificates != keys)
        TLS_ERROR(check, tls, "key",
                  "[tls %s] needs as many keys as certificates, in the same order: there are %zu "
                  "and %zu",
                  tls->name, keys, certificates);
    if (*tls->directory)
        check_directory(check, tls);
    if (strcmp(tls->name, "default") == 0)
        return;
    if (certificates == 0 && keys == 0 && !*tls->directory)
        TLS_ERROR(check, tls, NULL, "[tls %s] has neither certificate and key nor a directory",
                  tls->name);
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
            TLS_ERROR_AT(check, tls, "names", tls->names.items[i], "names: %s is no domain name",
                         tls->names.items[i]);
        for (size_t j = 0; j < index; j++)
            if (has_name(&all[j], tls->names.items[i]))
                TLS_ERROR_AT(check, tls, "names", tls->names.items[i],
                             "the name %s stands in [tls %s] and in [tls %s]", tls->names.items[i],
                             all[j].name, tls->name);
    }
}

void settings_check(const struct settings *settings, struct diagnostics *diagnostics)
{
    const struct settings_tls *tls = settings_tls(settings, "default");
    struct check check = { settings, diagnostics, tls && tls->certificate.count > 0 };

    check_gatepost(&check);
    for (size_t i = 0; i < settings->tls_count; i++) {
        check_certificate(&check, &settings->tls[i]);
        check_server_names(&check, i);
    }
    check_listens(&check);
    check_backends(&check);
    check_mailstore(&check);
    check_warn_of_listens(&check);
}

/* Gathering a configuration: settings, certificates, keys and CAs, accounts; and writing it into
 * bundles.
 *
 * Each step adds what it finds to the diagnostics, so that one run tells all. It fails where a file
 * cannot be read, a certificate is of no use, an account is unknown, or no port would be open. */
#include "proxy/configuration.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "proxy/base/bundle.h"
#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/configuration_check.h"
#include "proxy/folders.h"
#include "proxy/route_watch.h"
#include "proxy/tls_client.h"

/* Adds what is wrong with the CAs in `file`, if anything. In the system's, single ones expire
 * without harm. */
static void check_ca(const struct settings *settings, const struct settings_backend *backend,
                     const struct pem_file *file, struct diagnostics *diagnostics)
{
    struct settings_ref ref = { "backend", backend->name, "ca", NULL };
    const char *path = backend->ca[0] ? backend->ca : TLS_CLIENT_SYSTEM_CA;
    char room[512];
    struct text words = TEXT_OVER(room);
    int r = tls_client_check_ca(pem_file_span(file), &words);

    if (r == 0 || (r == TLS_CLIENT_CA_EXPIRED && !backend->ca[0]))
        return;
    settings_report(settings, diagnostics, r < 0 ? DIAGNOSTIC_ERROR : DIAGNOSTIC_WARNING, &ref,
                    "[backend %s] ca = %s: %s", backend->name, path, text_str(&words));
}

static void load_own_ca(struct configuration *configuration, const struct settings_backend *backend,
                        struct pem_file *file, struct diagnostics *diagnostics)
{
    const struct settings *settings = configuration->settings;
    struct settings_ref ref = { "backend", backend->name, "ca", NULL };
    int r = pem_file_read(backend->ca, &configuration->files, file);

    if (r < 0)
        settings_report(settings, diagnostics, DIAGNOSTIC_ERROR, &ref, "[backend %s] ca = %s: %s",
                        backend->name, backend->ca, pem_file_error(r));
    else
        check_ca(settings, backend, file, diagnostics);
}

/* Read once, for the first backend that needs it. */
static void load_system_ca(struct configuration *configuration,
                           const struct settings_backend *backend, struct pem_file *file,
                           struct diagnostics *diagnostics)
{
    const struct settings *settings = configuration->settings;
    struct settings_ref ref = { "backend", backend->name, "ca", NULL };
    int r = file->data ? 0 : pem_file_read(TLS_CLIENT_SYSTEM_CA, &configuration->files, file);

    if (r < 0)
        settings_report(settings, diagnostics, DIAGNOSTIC_ERROR, &ref,
                        "[backend %s] ca is empty, and the system's %s cannot be read: %s. Set ca, "
                        "or install ca-certificates",
                        backend->name, TLS_CLIENT_SYSTEM_CA, pem_file_error(r));
    else
        check_ca(settings, backend, file, diagnostics);
}

static int load_all_cas(struct configuration *configuration, struct diagnostics *diagnostics)
{
    const struct settings *settings = configuration->settings;
    struct pem_file *system;

    configuration->cas = calloc(settings->backend_count + 1, sizeof(*configuration->cas));
    if (!configuration->cas)
        return -ENOMEM;
    system = &configuration->cas[settings->backend_count];
    for (size_t i = 0; i < settings->backend_count; i++) {
        const struct settings_backend *backend = &settings->backends[i];

        struct settings_ref ref = { "backend", backend->name, "ca", NULL };

        if (!tls_client_wants_ca(backend) || settings_refused(settings, &ref))
            continue;
        if (backend->ca[0])
            load_own_ca(configuration, backend, &configuration->cas[i], diagnostics);
        else
            load_system_ca(configuration, backend, system, diagnostics);
    }
    return 0;
}

static void check_ports(const struct settings *settings, struct diagnostics *diagnostics)
{
    struct settings_ref ref = { "backend", "", "address", NULL };
    size_t open = 0;

    for (size_t i = 0; i < settings->listen_count; i++)
        open += settings_listen_open(settings, &settings->listens[i]);
    if (open == 0)
        settings_report(settings, diagnostics, DIAGNOSTIC_ERROR, &ref,
                        "no port is opened: none has a [backend] with an address (embedded, or "
                        "unix:/path or host:port of a server)");
}

/* Certificates and keys, then CAs. 0 or -ENOMEM. */
static int load_keys(struct configuration *configuration, const struct configuration_before *before,
                     struct diagnostics *diagnostics)
{
    struct bundle bundle = { NULL, 0 };
    struct certificates_before former = { .bundle = &bundle };
    int r = before ? bundle_read(before->bundle_fd, &bundle) : 0;

    if (before)
        former.certificates = before->configuration->certificates;
    if (r == 0)
        r = certificates_load(configuration->settings, diagnostics, &configuration->files,
                              before ? &former : NULL, &configuration->certificates);
    bundle_free(&bundle);
    return r < 0 ? r : load_all_cas(configuration, diagnostics);
}

int configuration_load(const char *path, const struct configuration_before *before,
                       struct diagnostics *diagnostics, struct configuration *ret_configuration)
{
    struct configuration configuration = { .settings = NULL };
    size_t errors_before = diagnostics->errors;
    int r = settings_read_file(path, diagnostics, &configuration.settings);
    bool sound;

    if (r < 0)
        return r;
    sound = diagnostics->errors == errors_before;
    for (size_t i = 0; i < ADDRESS_SLOTS_MAX; i++)
        configuration.slots[i] = (uint16_t)i;
    r = load_keys(&configuration, before, diagnostics);
    if (r == 0) {
        if (sound) /* else a mistake in the file may be the cause */
            check_ports(configuration.settings, diagnostics);
        route_watch_check(configuration.settings, diagnostics);
        privileges_resolve(configuration.settings, diagnostics, &configuration.privileges);
        configuration_check_sockets(configuration.settings, &configuration.privileges, diagnostics);
    }
    if (r == 0 && diagnostics->errors > errors_before)
        r = -EINVAL;
    if (r < 0)
        configuration_deinit(&configuration);
    else
        *ret_configuration = configuration;
    return r;
}

void configuration_drop_keys(struct configuration *configuration)
{
    const struct settings *settings = configuration->settings;

    certificates_forget(configuration->certificates);
    for (size_t i = 0; configuration->cas && i < settings->backend_count + 1; i++)
        pem_file_drop(&configuration->cas[i]);
    free(configuration->cas);
    configuration->cas = NULL;
}

int configuration_load_keys(struct configuration *configuration, int bundle_fd,
                            struct diagnostics *diagnostics)
{
    struct configuration in_use = *configuration;
    struct configuration_before before = { &in_use, bundle_fd };
    size_t errors_before = diagnostics->errors;
    int r;

    configuration_drop_keys(configuration);
    file_stamps_deinit(&configuration->files);
    configuration->certificates = NULL;
    r = load_keys(configuration, &before, diagnostics);
    if (r == 0 && diagnostics->errors > errors_before)
        r = -EINVAL;
    configuration->former = in_use.certificates;
    if (r < 0)
        configuration_settle_keys(configuration, false);
    return r;
}

bool configuration_unsettled(const struct configuration *configuration)
{
    return certificates_unsettled(configuration->certificates, configuration->former);
}

void configuration_settle_keys(struct configuration *configuration, bool take)
{
    struct certificates *taken = take ? configuration->certificates : configuration->former;

    certificates_free(take ? configuration->former : configuration->certificates);
    configuration->certificates = taken;
    configuration->former = NULL;
    if (!take)
        configuration_drop_keys(configuration);
}

void configuration_deinit(struct configuration *configuration)
{
    configuration_drop_keys(configuration);
    certificates_free(configuration->certificates);
    certificates_free(configuration->former);
    configuration->certificates = configuration->former = NULL;
    file_stamps_deinit(&configuration->files);
    settings_free(configuration->settings);
    configuration->settings = NULL;
}

static int add_settings(int fd, const struct settings *settings)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    int r;

    if (!out)
        return -errno;
    r = settings_print(settings, out);
    if (fclose(out) != 0 && r == 0)
        r = -ENOMEM;
    if (r == 0)
        r = bundle_add(fd, "settings", span_of(text, size));
    free(text);
    return r;
}

static int add_listener(int fd, const char *name, const char *address)
{
    char room[300];
    struct text line = TEXT_OVER(room);

    text_printf(&line, "%s %s", name, address);
    return line.overflow ? -ENAMETOOLONG : bundle_add(fd, "listener", text_span(&line));
}

/* Under the names that tls_client_ca() looks for. */
static int add_cas(int fd, const struct configuration *configuration)
{
    const struct settings *settings = configuration->settings;
    const struct pem_file *system = &configuration->cas[settings->backend_count];
    int r = system->data ? bundle_add(fd, "ca", pem_file_span(system)) : 0;

    for (size_t i = 0; r == 0 && i < settings->backend_count; i++) {
        char name[300];

        if (!configuration->cas[i].data)
            continue;
        snprintf(name, sizeof(name), "ca/%s", settings->backends[i].name);
        r = bundle_add(fd, name, pem_file_span(&configuration->cas[i]));
    }
    return r;
}

/* Seals what was written, or closes what failed. */
static int finish(int fd, int r)
{
    if (r == 0)
        r = bundle_seal(fd);
    if (r < 0)
        close(fd);
    return r < 0 ? r : fd;
}

int configuration_proxy_bundle(const struct configuration *configuration,
                               const struct listener_set *listeners)
{
    const struct settings *settings = configuration->settings;
    int fd = bundle_create(), r;

    if (fd < 0)
        return fd;
    r = add_settings(fd, settings);
    if (r == 0)
        r = certificates_add(configuration->certificates, fd);
    if (r == 0)
        r = add_cas(fd, configuration);
    if (r == 0)
        r = bundle_add(fd, "slots", span_of(configuration->slots, sizeof(configuration->slots)));
    for (size_t i = 0; r == 0 && i < listeners->public_count; i++)
        r = add_listener(fd, listeners->publics[i].rule->name, listeners->publics[i].address);
    return finish(fd, r);
}

int configuration_embedded_bundle(const struct configuration *configuration,
                                  const struct embedded_listener *listener)
{
    int fd = bundle_create(), r;

    if (fd < 0)
        return fd;
    r = add_settings(fd, configuration->settings);
    if (r == 0)
        r = add_listener(fd, listener->backend->name, listener->path);
    return finish(fd, r);
}

int configuration_make_folders(const struct configuration *configuration)
{
    const struct settings *settings = configuration->settings;
    const struct privileges *privileges = &configuration->privileges;
    bool embedded = false;
    int r;

    for (size_t i = 0; i < settings->backend_count; i++) {
        enum port_protocol protocol;

        embedded =
            embedded || (settings_backend_embedded(&settings->backends[i]) &&
                         settings_backend_protocol(settings, &settings->backends[i], &protocol));
    }
    /* The mail store may be below it; what is secret in it is a file of mode 0600. */
    r = folder_make(settings->gatepost.state_dir, 0711, NULL);
    if (r == 0 && embedded)
        r = folder_make(settings->gatepost.runtime_dir, 0755, NULL);
    if (r == 0 && embedded)
        r = folder_make(settings->mailstore.path, 0700,
                        privileges->drop ? &privileges->mail : NULL);
    return r;
}

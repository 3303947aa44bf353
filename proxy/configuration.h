/* One configuration as the supervisor holds it: settings, the PEM files they name (or, of CAs, the
 * system's), the accounts they name.
 *
 * Loading is all of the check that `gatepost -t` makes; a configuration that loads can be bundled
 * and handed to the children without looking at a file again. */
#ifndef GATEPOST_PROXY_CONFIGURATION_H
#define GATEPOST_PROXY_CONFIGURATION_H

#include "conf/settings.h"
#include "proxy/address.h"
#include "proxy/base/span.h"
#include "proxy/certificates.h"
#include "proxy/listener_set.h"
#include "proxy/pem_file.h"
#include "proxy/privileges.h"

struct configuration {
    struct settings *settings;
    struct certificates *certificates; /* without keys once they are dropped */
    struct certificates *former;       /* until configuration_settle_keys() */
    struct pem_file *cas;     /* one for each of settings->backends, then the system's; likewise */
    struct file_stamps files; /* that were read for these two */
    struct privileges privileges;
    uint16_t slots[ADDRESS_SLOTS_MAX]; /* the health slot of each address slot (proxy/health.h) */
};

/* The configuration in use, and the bundle that its keys are in. */
struct configuration_before {
    const struct configuration *configuration;
    int bundle_fd;
};

/* `before`: NULL where there is none. Every error and warning goes to `diagnostics`. 0, -EINVAL
 * when there is any error (nothing is written to *ret_configuration then), or -ENOMEM. */
int configuration_load(const char *path, const struct configuration_before *before,
                       struct diagnostics *diagnostics, struct configuration *ret_configuration);

/* Reads certificates, keys and CAs again, with the settings as they are; those in use are in this
 * bundle. 0: configuration_settle_keys() is to follow. -EINVAL when one cannot be used, or -ENOMEM:
 * they are dropped then. The stamps are those of this reading in any case. */
int configuration_load_keys(struct configuration *configuration, int bundle_fd,
                            struct diagnostics *diagnostics);

/* Is something in a folder of certificates worse than it was? */
bool configuration_unsettled(const struct configuration *configuration);

/* Those that were read are in use from now on, or they are dropped. */
void configuration_settle_keys(struct configuration *configuration, bool take);

void configuration_deinit(struct configuration *configuration);

/* Wipes the certificates and keys, and drops the CAs: the bundles hold them now. */
void configuration_drop_keys(struct configuration *configuration);

/* The sealed bundle of the proxy workers, with keys, and that of one embedded worker, without. A
 * descriptor or -errno. */
int configuration_proxy_bundle(const struct configuration *configuration,
                               const struct listener_set *listeners);
int configuration_embedded_bundle(const struct configuration *configuration,
                                  const struct embedded_listener *listener);

/* Makes the folders that settings name where they are missing. 0, or -errno after a log line. */
int configuration_make_folders(const struct configuration *configuration);

#endif

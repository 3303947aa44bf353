/* The certificates that [tls] sections name, as the supervisor holds them: read, judged, and put
 * into bundles. */
#ifndef GATEPOST_PROXY_CERTIFICATES_H
#define GATEPOST_PROXY_CERTIFICATES_H

#include "conf/settings.h"
#include "proxy/file_stamps.h"

struct certificates;

/* Reads what all sections name. Everything that is wrong is a diagnostic: what `certificate` and
 * `key` name must be good; in a `directory`, what cannot be used is left out with a warning. Files
 * and folders are added to `stamps` as they were before they were read. 0 and *ret_certificates, or
 * -ENOMEM. The settings are kept by reference. */
int certificates_load(const struct settings *settings, struct diagnostics *diagnostics,
                      struct file_stamps *stamps, struct certificates **ret_certificates);

/* How many of directories were left out. */
size_t certificates_left_out(const struct certificates *certificates);

/* Adds them to a bundle, as proxy/tls_store.h looks for them. 0 or -errno. */
int certificates_add(const struct certificates *certificates, int fd);

/* Wipes the keys. NULL is fine. */
void certificates_free(struct certificates *certificates);

#endif

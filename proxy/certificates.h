/* The certificates that [tls] sections name, as the supervisor holds them: read, judged, and put
 * into bundles. */
#ifndef GATEPOST_PROXY_CERTIFICATES_H
#define GATEPOST_PROXY_CERTIFICATES_H

#include "conf/settings.h"
#include "proxy/base/bundle.h"
#include "proxy/file_stamps.h"

struct certificates;

/* What was in use until now: the keys are in the bundle alone. */
struct certificates_before {
    const struct certificates *certificates;
    const struct bundle *bundle;
};

/* Reads what all sections name. Everything that is wrong is a diagnostic: what `certificate` and
 * `key` name must be good; in a `directory`, what cannot be used is left out with a warning, or
 * stays what it was in `before` (which may be NULL). Files and folders are added to `stamps` as
 * they were before they were read. 0 and *ret_certificates, or -ENOMEM. The settings are kept by
 * reference. */
int certificates_load(const struct settings *settings, struct diagnostics *diagnostics,
                      struct file_stamps *stamps, const struct certificates_before *before,
                      struct certificates **ret_certificates);

/* Is something in a folder worse than it was: gone, or of no use any more, or new and of no use?
 * Somebody may be at work there. */
bool certificates_unsettled(const struct certificates *now, const struct certificates *before);

/* How many of directories were left out. */
size_t certificates_left_out(const struct certificates *certificates);

/* Adds them to a bundle, as proxy/tls_store.h looks for them. 0 or -errno. */
int certificates_add(const struct certificates *certificates, int fd);

/* Wipes the keys, and keeps what `before` needs. NULL is fine. */
void certificates_forget(struct certificates *certificates);

/* Wipes the keys. NULL is fine. */
void certificates_free(struct certificates *certificates);

#endif

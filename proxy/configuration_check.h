/* What is odd about the things outside the files that settings name: certificates that end soon,
 * keys that everybody can read, sockets that a worker may not open. Warnings, with the place of the
 * setting. */
#ifndef GATEPOST_PROXY_CONFIGURATION_CHECK_H
#define GATEPOST_PROXY_CONFIGURATION_CHECK_H

#include "conf/settings.h"
#include "proxy/base/text.h"
#include "proxy/privileges.h"

/* A certificate that was read from `path`, which the setting `key` names ("certificate", or the
 * "directory" that it is in): soon at its end, not yet valid, or for other names than those it is
 * to be shown for. (That it has expired is tls_store_judge()'s to say.) */
void configuration_check_certificate(const struct settings *settings,
                                     const struct settings_tls *tls, const char *key,
                                     const char *path, struct span pem,
                                     struct diagnostics *diagnostics);

/* The file `path` of a private key: who may read it. `key`: "key" or "directory". */
void configuration_check_key(const struct settings *settings, const struct settings_tls *tls,
                             const char *key, const char *path, struct diagnostics *diagnostics);

/* Why a file cannot be read, in words; also whose it is, where that is why. `error`: -errno. */
void configuration_put_unreadable(const char *path, int error, struct text *words);

/* The UNIX sockets of servers: may the workers open them? */
void configuration_check_sockets(const struct settings *settings,
                                 const struct privileges *privileges,
                                 struct diagnostics *diagnostics);

#endif

/* What the parts of the check share: settings_check.c and settings_check_*.c. Private to
 * them. */
#ifndef GATEPOST_CONF_SETTINGS_CHECK_INTERNAL_H
#define GATEPOST_CONF_SETTINGS_CHECK_INTERNAL_H

#include "conf/settings_origins.h"

#define CHECK_BIND_MAX                                                                             \
    64 /* addresses of one port: guessed; each is a descriptor in every worker                     \
        */

struct check {
    const struct settings *settings;
    struct diagnostics *diagnostics;
    bool has_certificate;
};

/* Tells what is wrong, at the item of a list, at the key where it is written, else at its section's
 * line, else at no place. `key` and `item` may be NULL. */
void check_report(const struct check *check, enum diagnostic_kind kind,
                  enum settings_section section, const char *name, const char *key,
                  const char *item, const char *format, ...) __attribute__((format(printf, 7, 8)));

#define LISTEN_ERROR(check, listen, key, ...)                                                      \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_LISTEN, (listen)->name, key, NULL, __VA_ARGS__)
#define LISTEN_ERROR_AT(check, listen, key, item, ...)                                             \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_LISTEN, (listen)->name, key, item, __VA_ARGS__)
#define LISTEN_WARNING(check, listen, key, ...)                                                    \
    check_report(check, DIAGNOSTIC_WARNING, SECTION_LISTEN, (listen)->name, key, NULL, __VA_ARGS__)
#define LISTEN_WARNING_AT(check, listen, key, item, ...)                                           \
    check_report(check, DIAGNOSTIC_WARNING, SECTION_LISTEN, (listen)->name, key, item, __VA_ARGS__)
#define BACKEND_ERROR(check, backend, key, ...)                                                    \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_BACKEND, (backend)->name, key, NULL, __VA_ARGS__)
#define BACKEND_ERROR_AT(check, backend, key, item, ...)                                           \
    check_report(check, DIAGNOSTIC_ERROR, SECTION_BACKEND, (backend)->name, key, item, __VA_ARGS__)
#define BACKEND_WARNING(check, backend, key, ...)                                                  \
    check_report(check, DIAGNOSTIC_WARNING, SECTION_BACKEND, (backend)->name, key, NULL,           \
                 __VA_ARGS__)

#define BACKEND_WARNING_AT(check, backend, key, item, ...)                                         \
    check_report(check, DIAGNOSTIC_WARNING, SECTION_BACKEND, (backend)->name, key, item,           \
                 __VA_ARGS__)

/* Is anything of it written, or where `key` is not NULL, this key? */
bool check_is_written(const struct check *check, enum settings_section section, const char *name,
                      const char *key);

/* What is wrong with a list of addresses to bind, in words that follow *ret_item; or NULL. */
const char *check_bind_fault(const struct settings_list *bind, const char **ret_item);

/* The addresses that a listener binds. */
const struct settings_list *check_bind_of(const struct check *check,
                                          const struct settings_listen *listen);

/* The open listener that "host:port" leads to, or NULL. Whoever connects there connects to us. */
const struct settings_listen *check_loop(const struct check *check, const char *address);

/* From whom connections are served, and by which TLS: `from` and `tls_profile`. */
void check_tls_of_listen(const struct check *check, const struct settings_listen *listen);

/* Each section of its kind, and all of them together. */
void check_listens(const struct check *check);
void check_backends(const struct check *check);

/* What concerns many ports alike; after all other checks. */
void check_warn_of_listens(const struct check *check);

#endif

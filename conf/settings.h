/* The settings of one configuration: what the INI files say, over the built-in defaults.
 *
 * A struct settings is built by settings_load_file() or settings_load_text(), is immutable from
 * then on, and is freed by settings_free(). Numbers carry their unit in the member's name; texts
 * are never NULL. The members come from conf/settings.def. Thread-safe to read. */
#ifndef GATEPOST_CONF_SETTINGS_H
#define GATEPOST_CONF_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "conf/diagnostics.h"

#define SETTINGS_VERSION 1 /* of [gatepost] config_version: what this program understands */

/* In order of how much is known of the dialogue: of two ports in front of one backend the smaller
 * tells what the backend speaks. */
enum port_protocol { PROTOCOL_SMTP, PROTOCOL_POP3, PROTOCOL_REMOTE, PROTOCOL_OPAQUE };

/* Does a proxy pass it on as it is, without knowledge of its dialogue? */
static inline bool protocol_is_relayed(enum port_protocol protocol)
{
    return protocol >= PROTOCOL_REMOTE;
}

enum tls_rule { TLS_RULE_STARTTLS, TLS_RULE_IMPLICIT, TLS_RULE_OFF };
enum require_tls { REQUIRE_TLS_NO, REQUIRE_TLS_AUTH, REQUIRE_TLS_YES };
enum early_talker { EARLY_TALKER_SERVE, EARLY_TALKER_REFUSE };
enum identity { IDENTITY_NONE, IDENTITY_PROXY_V1, IDENTITY_PROXY_V2, IDENTITY_XCLIENT };
enum backend_tls { BACKEND_TLS_OFF, BACKEND_TLS_STARTTLS, BACKEND_TLS_IMPLICIT };
enum policy { POLICY_FAILOVER, POLICY_ROUND_ROBIN, POLICY_HASH_USER, POLICY_HASH_CLIENT };
enum bare_newline { BARE_NEWLINE_NORMALIZE, BARE_NEWLINE_REJECT, BARE_NEWLINE_PASS };
enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };
enum tls_profile { TLS_PROFILE_DEFAULT, TLS_PROFILE_COMPATIBLE, TLS_PROFILE_LEGACY };

/* A list: count texts, in the order written. */
struct settings_list {
    char **items;
    size_t count;
};

#define SETTINGS_TYPE_TEXT         char *
#define SETTINGS_TYPE_PATH         char *
#define SETTINGS_TYPE_LIST         struct settings_list
#define SETTINGS_TYPE_BOOLEAN      bool
#define SETTINGS_TYPE_COUNT        uint32_t
#define SETTINGS_TYPE_DURATION     uint32_t
#define SETTINGS_TYPE_BYTES        uint64_t
#define SETTINGS_TYPE_PROTOCOL     enum port_protocol
#define SETTINGS_TYPE_TLS_RULE     enum tls_rule
#define SETTINGS_TYPE_REQUIRE_TLS  enum require_tls
#define SETTINGS_TYPE_EARLY_TALKER enum early_talker
#define SETTINGS_TYPE_IDENTITY     enum identity
#define SETTINGS_TYPE_BARE_NEWLINE enum bare_newline
#define SETTINGS_TYPE_LOG_LEVEL    int /* enum log_level, 0 error .. 4 debug */
#define SETTINGS_TYPE_TLS_VERSION  enum tls_version
#define SETTINGS_TYPE_BACKEND_TLS  enum backend_tls
#define SETTINGS_TYPE_POLICY       enum policy
#define SETTINGS_TYPE_TLS_PROFILE  enum tls_profile

#define SETTINGS_MEMBER(key, kind, member, ...) SETTINGS_TYPE_##kind member;

struct settings_gatepost {
#define GATEPOST_KEY SETTINGS_MEMBER
#include "conf/settings.def"
};

struct settings_limits {
#define LIMITS_KEY SETTINGS_MEMBER
#include "conf/settings.def"
};

struct settings_mailstore {
#define MAILSTORE_KEY SETTINGS_MEMBER
#include "conf/settings.def"
};

struct settings_tls {
    char *name; /* "default" for [tls default] */
#define TLS_KEY SETTINGS_MEMBER
#include "conf/settings.def"
};

struct settings_listen {
    char *name;
#define LISTEN_KEY SETTINGS_MEMBER
#include "conf/settings.def"
};

struct settings_backend {
    char *name;
#define BACKEND_KEY SETTINGS_MEMBER
#include "conf/settings.def"
};

struct settings {
    struct settings_gatepost gatepost; /* hostname and bind are filled in: never empty */
    struct settings_limits limits;
    struct settings_mailstore mailstore; /* domains is filled in: never empty */
    struct settings_tls *tls;            /* as in the file; "default" first where it exists */
    size_t tls_count;
    struct settings_listen
        *listens; /* the rows of conf/port_rules.c in their order, then further sections */
    size_t listen_count;
    struct settings_backend
        *backends; /* smtp, pop3 and remote always exist, perhaps without an address */
    size_t backend_count;
    struct settings_origins *origins; /* where each was written; private to conf/ */
};

/* Loads the file `path` and, beside it, conf.d/NAME.ini in alphabetical order, which override it
 * key by key. Every error and warning of all of them goes to `diagnostics`. Returns 0 and a
 * *ret_settings that settings_free() takes, also when there are warnings; -EINVAL when there is any
 * error (then nothing is written to *ret_settings); -ENOMEM. */
int settings_load_file(const char *path, struct diagnostics *diagnostics,
                       struct settings **ret_settings);

/* The same from memory; `name` stands for the file in diagnostics. */
int settings_load_text(const char *text, size_t size, const char *name,
                       struct diagnostics *diagnostics, struct settings **ret_settings);

/* As settings_load_file(), but gives the settings out also where there are errors, so that more can
 * be looked at for the same report: what was refused is at its default. They are not to be used
 * while diagnostics->errors is above 0. Returns 0 or -ENOMEM. */
int settings_read_file(const char *path, struct diagnostics *diagnostics,
                       struct settings **ret_settings);

void settings_free(struct settings *settings);

/* Names a setting: `section` is "tls" in [tls default], `name` "default", or "" where a section has
 * none. `key` NULL: the section as a whole. `item`, of a list: the caret stands there; or NULL. */
struct settings_ref {
    const char *section, *name, *key, *item;
};

/* Adds a diagnostic about a setting that was loaded: at the place where it is written, else at its
 * section's line, else at none; and with what to read about it. */
void settings_report(const struct settings *settings, struct diagnostics *diagnostics,
                     enum diagnostic_kind kind, const struct settings_ref *ref, const char *format,
                     ...) __attribute__((format(printf, 5, 6)));

/* Does a file say anything of it that is in effect? */
bool settings_written(const struct settings *settings, const struct settings_ref *ref);

/* Was what the file says of it refused, so that its value is only the default? (After
 * settings_read_file().) */
bool settings_refused(const struct settings *settings, const struct settings_ref *ref);

/* Writes the whole of `settings` as INI text: settings_load_text() of it gives equal settings.
 * Includes the keys that are at their defaults. Returns 0 or -EIO. */
int settings_print(const struct settings *settings, FILE *out);

/* The same for people: each key with the place where it is written, or "default", as a comment.
 * `only_changed`: those alone that differ from their defaults, and sections that would not exist
 * without being named. What is written can be loaded, and gives the same settings. Returns 0, -EIO
 * or -ENOMEM. (JSON: settings_json.h) */
int settings_print_origins(const struct settings *settings, bool only_changed, FILE *out);

/* The section of that name, or NULL. */
const struct settings_backend *settings_backend(const struct settings *settings, const char *name);
const struct settings_tls *settings_tls(const struct settings *settings, const char *name);

/* Is the listener to be opened: enabled, and its backend has an address? (`address = embedded` is
 * written, never implied: nobody may meet an empty mailbox because a section was forgotten.) */
bool settings_listen_open(const struct settings *settings, const struct settings_listen *listen);

/* Does the listener, which must be open, bring clients to this backend: as its `backend`, or by its
 * route, as its `default_backend` or one of its `route_backends`? */
bool settings_listen_reaches(const struct settings *settings, const struct settings_listen *listen,
                             const struct settings_backend *backend);

/* What is spoken to a backend: smtp or pop3 where one of the open listeners that reach it speaks
 * that (never two of them do), else opaque. False: no open listener reaches it. */
bool settings_backend_protocol(const struct settings *settings,
                               const struct settings_backend *backend,
                               enum port_protocol *ret_protocol);

/* The port number that is bound: port plus port_offset. */
unsigned settings_listen_port(const struct settings *settings,
                              const struct settings_listen *listen);

static inline bool settings_backend_embedded(const struct settings_backend *backend)
{
    return backend->address.count == 1 &&
           strcmp(backend->address.items[0], "embedded") == 0; /* beside others it is an error */
}

/* Explains one key ("listen.detect_wait", "[listen] detect_wait", or a bare key name: every section
 * that has it) to `out`: section, type, unit, default, range, help. Returns 0, or -ENOENT after a
 * did-you-mean line. */
int settings_explain(const char *key, FILE *out);

#endif

/* Puts what certificates, keys and sockets are into warnings that say what to do.
 *
 * Happy path: nothing is said. What cannot be looked at is no warning: where it matters, it is an
 * error of whoever needs it, or shows by --probe. */
#include "proxy/configuration_check.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>

#include "proxy/pem_file.h"
#include "proxy/socket_access.h"
#include "proxy/tls_certificate.h"

#define DAY_SECONDS (24 * 60 * 60)
#define WARNING_DAYS                                                                               \
    14 /* ACME clients renew 30 days before the end: by then, something is wrong                   \
        */

/* Certificates */

static void warn_of_tls(const struct settings *settings, const struct settings_tls *tls,
                        const char *key, const char *item, struct diagnostics *diagnostics,
                        const struct text *words)
{
    struct settings_ref ref = { "tls", tls->name, key, item };

    settings_report(settings, diagnostics, DIAGNOSTIC_WARNING, &ref, "[tls %s] %.*s", tls->name,
                    (int)words->size, words->data);
}

static void put_path(const char *key, const char *path, struct text *words)
{
    text_printf(words, "%s%s %s", key, strcmp(key, "directory") == 0 ? ":" : " =", path);
}

static void check_validity(const struct settings *settings, const struct settings_tls *tls,
                           const char *key, const char *path,
                           const struct tls_certificate *certificate,
                           struct diagnostics *diagnostics)
{
    char room[600], date[TLS_DATE_SIZE];
    struct text words = TEXT_OVER(room);
    time_t now = time(NULL);
    int days = (int)((certificate->ends - now) / DAY_SECONDS);

    put_path(key, path, &words);
    if (certificate->begins > now)
        text_printf(&words, ": it is not valid before %s; until then clients refuse it",
                    tls_date(certificate->begins, date));
    else if (certificate->ends < now || days >= WARNING_DAYS)
        return;
    else if (days == 0)
        text_printf(&words, ": it ends within a day, on %s", tls_date(certificate->ends, date));
    else
        text_printf(&words, ": it ends in %d day%s, on %s", days, days == 1 ? "" : "s",
                    tls_date(certificate->ends, date));
    warn_of_tls(settings, tls, key, path, diagnostics, &words);
}

static void put_names_of(const struct tls_certificate *certificate, struct text *words)
{
    if (*certificate->names)
        text_printf(words, "it is for %s", certificate->names);
    else
        text_puts(words, "it is for no name");
}

/* The names of its section get it, whatever names it has. */
static void check_names(const struct settings *settings, const struct settings_tls *tls,
                        const char *path, struct span pem, struct diagnostics *diagnostics)
{
    for (size_t i = 0; i < tls->names.count; i++) {
        struct tls_certificate certificate;
        char room[600];
        struct text words = TEXT_OVER(room);

        if (tls_certificate_read(pem, tls->names.items[i], &certificate) < 0 || certificate.covers)
            continue;
        text_printf(&words, "names: %s gets %s, but ", tls->names.items[i], path);
        put_names_of(&certificate, &words);
        warn_of_tls(settings, tls, "names", tls->names.items[i], diagnostics, &words);
    }
}

/* May another section be chosen for clients that ask for the hostname? */
static bool others_have_hostname(const struct settings *settings)
{
    for (size_t i = 0; i < settings->tls_count; i++) {
        const struct settings_tls *tls = &settings->tls[i];

        if (strcmp(tls->name, "default") == 0)
            continue;
        if (tls->names.count == 0)
            return true; /* the names in its certificates are not known here */
        for (size_t j = 0; j < tls->names.count; j++)
            if (strcasecmp(tls->names.items[j], settings->gatepost.hostname) == 0)
                return true;
    }
    return false;
}

static void check_hostname(const struct settings *settings, const struct settings_tls *tls,
                           const char *path, const struct tls_certificate *certificate,
                           struct diagnostics *diagnostics)
{
    struct settings_ref hostname = { "gatepost", "", "hostname", NULL };
    char room[600];
    struct text words = TEXT_OVER(room);

    if (certificate->covers || strcmp(tls->name, "default") != 0 || others_have_hostname(settings))
        return;
    text_printf(&words, "certificate = %s: ", path);
    put_names_of(certificate, &words);
    text_printf(&words, ", not for %s%s: clients that connect to that name refuse it",
                settings_written(settings, &hostname) ? "hostname = " : "this host's name ",
                settings->gatepost.hostname);
    warn_of_tls(settings, tls, "certificate", path, diagnostics, &words);
}

void configuration_check_certificate(const struct settings *settings,
                                     const struct settings_tls *tls, const char *key,
                                     const char *path, struct span pem,
                                     struct diagnostics *diagnostics)
{
    struct tls_certificate certificate;

    if (tls_certificate_read(pem, settings->gatepost.hostname, &certificate) < 0)
        return;
    check_validity(settings, tls, key, path, &certificate, diagnostics);
    check_hostname(settings, tls, path, &certificate, diagnostics);
    check_names(settings, tls, path, pem, diagnostics);
}

void configuration_check_key(const struct settings *settings, const struct settings_tls *tls,
                             const char *key, const char *path, struct diagnostics *diagnostics)
{
    char room[600];
    struct text words = TEXT_OVER(room);
    struct stat status;

    if (stat(path, &status) < 0 || !(status.st_mode & (S_IROTH | S_IWOTH)))
        return;
    put_path(key, path, &words);
    text_printf(&words, " can be %s by every user of this machine: chmod 600 %s",
                status.st_mode & S_IROTH ? "read" : "written", path);
    warn_of_tls(settings, tls, key, path, diagnostics, &words);
}

/* Owners */

static void put_owner(uid_t uid, gid_t gid, mode_t mode, struct text *words)
{
    const struct passwd *owner = getpwuid(uid);
    const struct group *group = getgrgid(gid);

    if (owner)
        text_puts(words, owner->pw_name);
    else
        text_printf(words, "%u", (unsigned)uid);
    if (group)
        text_printf(words, ":%s", group->gr_name);
    else
        text_printf(words, ":%u", (unsigned)gid);
    text_printf(words, ", mode %04o", (unsigned)mode & 07777);
}

void configuration_put_unreadable(const char *path, int error, struct text *words)
{
    struct stat status;

    text_puts(words, pem_file_error(error));
    if (error != -EACCES)
        return;
    if (stat(path, &status) < 0) {
        text_puts(words, ": a folder above it is closed");
        return;
    }
    text_puts(words, ": it belongs to ");
    put_owner(status.st_uid, status.st_gid, status.st_mode, words);
}

/* Sockets */

/* Who is to open it, and what would let him. */
struct opener {
    const char *words; /* "user = gatepost" */
    const struct account *account;
    bool by_groups; /* [gatepost] groups is for him */
};

static void put_remedy(const struct socket_obstacle *obstacle, const struct opener *opener,
                       struct text *words)
{
    const struct group *group = getgrgid(obstacle->gid);

    if (obstacle->uid == opener->account->uid)
        text_puts(words,
                  obstacle->folder ? "; let its owner enter it" : "; let its owner write to it");
    else if (!obstacle->group_would_do || !group)
        text_puts(words, obstacle->folder ? "; let a group enter it" : "; let a group write to it");
    else if (opener->by_groups)
        text_printf(words, "; [gatepost] groups = %s would do", group->gr_name);
    else
        text_printf(words, "; the group %s would do", group->gr_name);
}

/* "user = nobody may not open unix:/run/a/s: the folder /run/a belongs to root:postfix, mode 0750;
 * ..."
 */
static void warn_of_socket(const struct settings *settings, const struct settings_ref *ref,
                           const char *path, const struct opener *opener,
                           struct diagnostics *diagnostics)
{
    struct socket_obstacle obstacle;
    char room[600];
    struct text words = TEXT_OVER(room);

    switch (socket_access(path, opener->account, &obstacle)) {
    case SOCKET_ACCESS_GOOD:
    case SOCKET_ACCESS_ABSENT: /* its server may be started later */
        return;
    case SOCKET_ACCESS_NO_SOCKET:
        text_printf(&words, "%s is no socket", path);
        break;
    case SOCKET_ACCESS_CLOSED:
        text_printf(&words, "%s may not open unix:%s: %s%s belongs to ", opener->words, path,
                    obstacle.folder ? "the folder " : "", obstacle.folder ? obstacle.path : "it");
        put_owner(obstacle.uid, obstacle.gid, obstacle.mode, &words);
        put_remedy(&obstacle, opener, &words);
        break;
    }
    settings_report(settings, diagnostics, DIAGNOSTIC_WARNING, ref, "%s: %s", ref->key,
                    text_str(&words));
}

/* The path in "unix:/path", or NULL. */
static const char *socket_path(const char *address)
{
    return strncmp(address, "unix:/", 6) == 0 ? address + 5 : NULL;
}

static struct opener opener_of(const struct privileges *privileges, const char *key,
                               const char *name, const struct account *account, char room[300])
{
    if (privileges->drop)
        snprintf(room, 300, "%s = %s", key, name);
    else
        strcpy(room, "who runs Gatepost");
    return (struct opener){ room, account, privileges->drop && strcmp(key, "user") == 0 };
}

void configuration_check_sockets(const struct settings *settings,
                                 const struct privileges *privileges,
                                 struct diagnostics *diagnostics)
{
    char user[300], mail_user[300];
    struct opener proxy =
        opener_of(privileges, "user", settings->gatepost.user, &privileges->proxy, user);
    struct opener mail = opener_of(privileges, "mail_user", settings->gatepost.mail_user,
                                   &privileges->mail, mail_user);
    struct settings_ref relay = { "mailstore", "", "relay", NULL };

    for (size_t i = 0; i < settings->backend_count; i++) {
        const struct settings_backend *backend = &settings->backends[i];

        for (size_t j = 0; j < backend->address.count; j++) {
            const char *item = backend->address.items[j], *path = socket_path(item);
            struct settings_ref ref = { "backend", backend->name, "address", item };

            if (path)
                warn_of_socket(settings, &ref, path, &proxy, diagnostics);
        }
    }
    if (socket_path(settings->mailstore.relay))
        warn_of_socket(settings, &relay, socket_path(settings->mailstore.relay), &mail,
                       diagnostics);
}

/* Looking up the accounts that children change to. Fails, in words, for users and groups that do
 * not exist. */
#include "proxy/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "proxy/base/err.h"

/* Where what is found is told: at a key of [gatepost]. */
struct look_up {
    const struct settings *settings;
    struct diagnostics *diagnostics;
    struct settings_ref ref;
};

#define LOOK_UP_ERROR(look_up, ...)                                                                \
    settings_report((look_up)->settings, (look_up)->diagnostics, DIAGNOSTIC_ERROR,                 \
                    &(look_up)->ref, __VA_ARGS__)
#define LOOK_UP_WARNING(look_up, ...)                                                              \
    settings_report((look_up)->settings, (look_up)->diagnostics, DIAGNOSTIC_WARNING,               \
                    &(look_up)->ref, __VA_ARGS__)

static void add_group(struct account *account, gid_t gid, const struct look_up *look_up)
{
    for (uint32_t i = 0; i < account->group_count; i++)
        if (account->groups[i] == gid)
            return;
    if (account->group_count == CHILD_GROUPS_MAX) {
        LOOK_UP_ERROR(look_up, "more than %d groups for one user: remove some from groups",
                      CHILD_GROUPS_MAX);
        return;
    }
    account->groups[account->group_count++] = gid;
}

static void add_own_groups(struct account *account, const struct passwd *entry,
                           const struct look_up *look_up)
{
    gid_t own[CHILD_GROUPS_MAX];
    int count = CHILD_GROUPS_MAX;

    if (getgrouplist(entry->pw_name, entry->pw_gid, own, &count) < 0) {
        LOOK_UP_ERROR(look_up, "user %s is in %d groups, more than the %d that a worker can keep",
                      entry->pw_name, count, CHILD_GROUPS_MAX);
        return;
    }
    for (int i = 0; i < count; i++)
        add_group(account, own[i], look_up);
}

static void look_up_user(const struct settings *settings, const char *key, const char *name,
                         struct diagnostics *diagnostics, struct account *account)
{
    struct look_up look_up = { settings, diagnostics, { "gatepost", "", key, NULL } };
    const struct passwd *entry;

    if (settings_refused(settings, &look_up.ref))
        return;
    errno = 0;
    entry = getpwnam(name);
    if (!entry) {
        LOOK_UP_ERROR(&look_up, "[gatepost] %s = %s: %s (create it with: useradd --system %s)", key,
                      name, errno ? err_text(errno) : "there is no such user", name);
        return;
    }
    if (entry->pw_uid == 0 && strcmp(name, "root") != 0) /* of root, settings_check() warns */
        LOOK_UP_WARNING(&look_up,
                        "[gatepost] %s = %s: a worker that is broken into owns the machine", key,
                        name);
    account->uid = entry->pw_uid;
    account->gid = entry->pw_gid;
    add_own_groups(account, entry, &look_up);
}

static void look_up_groups(const struct settings *settings, struct diagnostics *diagnostics,
                           struct account *account)
{
    const struct settings_list *names = &settings->gatepost.groups;

    for (size_t i = 0; i < names->count; i++) {
        struct look_up look_up = { settings,
                                   diagnostics,
                                   { "gatepost", "", "groups", names->items[i] } };
        const struct group *entry;

        errno = 0;
        entry = getgrnam(names->items[i]);
        if (entry)
            add_group(account, entry->gr_gid, &look_up);
        else
            LOOK_UP_ERROR(&look_up, "[gatepost] groups: %s: %s", names->items[i],
                          errno ? err_text(errno) : "there is no such group");
    }
}

static bool in_group(const struct account *account, const char *name)
{
    const struct group *entry = getgrnam(name);

    if (entry && entry->gr_gid == account->gid)
        return true;
    for (uint32_t i = 0; entry && i < account->group_count; i++)
        if (account->groups[i] == entry->gr_gid)
            return true;
    return false;
}

/* Not started by root: what the settings ask for and nobody can do. */
static void warn_of_lost_wishes(const struct settings *settings, struct diagnostics *diagnostics,
                                const struct account *own)
{
    const struct settings_list *groups = &settings->gatepost.groups;
    struct look_up look_up = { settings, diagnostics, { "gatepost", "", "groups", NULL } };
    const struct passwd *mail_user = getpwnam(settings->gatepost.mail_user);
    bool embedded = false;

    for (size_t i = 0; i < groups->count; i++) {
        look_up.ref.item = groups->items[i];
        if (!in_group(own, groups->items[i]))
            LOOK_UP_WARNING(&look_up,
                            "[gatepost] groups: %s has no effect: not started by root (under "
                            "systemd, SupplementaryGroups= gives a group)",
                            groups->items[i]);
    }
    for (size_t i = 0; i < settings->backend_count; i++)
        embedded |= settings_backend_embedded(&settings->backends[i]);
    look_up.ref = (struct settings_ref){ "gatepost", "", "mail_user", NULL };
    if (embedded && mail_user && mail_user->pw_uid != own->uid)
        LOOK_UP_WARNING(&look_up,
                        "[gatepost] mail_user = %s has no effect: not started by root, so mail "
                        "belongs to whoever started it (under systemd, embedded.conf changes that)",
                        settings->gatepost.mail_user);
}

static void look_up_control(const struct settings *settings, struct diagnostics *diagnostics,
                            struct privileges *privileges)
{
    const char *name = settings->gatepost.control_group;
    struct look_up look_up = { settings, diagnostics, { "gatepost", "", "control_group", NULL } };
    const struct group *entry;

    if (!*name)
        return;
    errno = 0;
    entry = getgrnam(name);
    if (!entry) {
        LOOK_UP_ERROR(&look_up, "[gatepost] control_group = %s: %s", name,
                      errno ? err_text(errno) : "there is no such group");
        return;
    }
    privileges->has_control = true;
    privileges->control = entry->gr_gid;
}

void privileges_resolve(const struct settings *settings, struct diagnostics *diagnostics,
                        struct privileges *ret_privileges)
{
    const struct settings_gatepost *global = &settings->gatepost;
    struct settings_ref mail_user = { "gatepost", "", "mail_user", NULL };
    struct privileges privileges = { .drop = geteuid() == 0 };
    int count;

    look_up_control(settings, diagnostics, &privileges);
    if (!privileges.drop) {
        privileges.proxy = (struct account){ .uid = geteuid(), .gid = getegid() };
        count = getgroups(CHILD_GROUPS_MAX, privileges.proxy.groups);
        privileges.proxy.group_count = count < 0 ? 0 : (uint32_t)count;
        privileges.mail = privileges.proxy;
        warn_of_lost_wishes(settings, diagnostics, &privileges.proxy);
        *ret_privileges = privileges;
        return;
    }
    look_up_user(settings, "user", global->user, diagnostics, &privileges.proxy);
    look_up_groups(settings, diagnostics, &privileges.proxy);
    look_up_user(settings, "mail_user", global->mail_user, diagnostics, &privileges.mail);
    if (diagnostics->errors == 0 && privileges.proxy.uid == privileges.mail.uid &&
        strcmp(global->user, global->mail_user) != 0) /* of one name, settings_check() warns */
        settings_report(settings, diagnostics, DIAGNOSTIC_WARNING, &mail_user,
                        "[gatepost] user and mail_user have the same number: the workers that face "
                        "the network can read all mail");
    *ret_privileges = privileges;
}

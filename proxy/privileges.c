/* Looking up the accounts that children change to. Fails, in words, for users and groups that do
 * not exist. */
#include "proxy/privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <unistd.h>

#include "proxy/base/err.h"

static void add_group(struct account *account, gid_t gid, struct diagnostics *diagnostics)
{
    for (uint32_t i = 0; i < account->group_count; i++)
        if (account->groups[i] == gid)
            return;
    if (account->group_count == CHILD_GROUPS_MAX) {
        diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, NULL,
                        "more than %d groups for one user: remove some from groups",
                        CHILD_GROUPS_MAX);
        return;
    }
    account->groups[account->group_count++] = gid;
}

static void add_own_groups(struct account *account, const struct passwd *entry,
                           struct diagnostics *diagnostics)
{
    gid_t own[CHILD_GROUPS_MAX];
    int count = CHILD_GROUPS_MAX;

    if (getgrouplist(entry->pw_name, entry->pw_gid, own, &count) < 0) {
        diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, NULL,
                        "user %s is in %d groups, more than the %d that a worker can keep",
                        entry->pw_name, count, CHILD_GROUPS_MAX);
        return;
    }
    for (int i = 0; i < count; i++)
        add_group(account, own[i], diagnostics);
}

static void look_up_user(const char *key, const char *name, struct diagnostics *diagnostics,
                         struct account *account)
{
    const struct passwd *entry;

    errno = 0;
    entry = getpwnam(name);
    if (!entry) {
        diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, NULL,
                        "[gatepost] %s = %s: %s (create it with: useradd --system %s)", key, name,
                        errno ? err_text(errno) : "there is no such user", name);
        return;
    }
    if (entry->pw_uid == 0)
        diagnostics_add(diagnostics, DIAGNOSTIC_WARNING, NULL,
                        "[gatepost] %s = %s: a worker that is broken into owns the machine", key,
                        name);
    account->uid = entry->pw_uid;
    account->gid = entry->pw_gid;
    add_own_groups(account, entry, diagnostics);
}

static void look_up_groups(const struct settings_list *names, struct diagnostics *diagnostics,
                           struct account *account)
{
    for (size_t i = 0; i < names->count; i++) {
        const struct group *entry;

        errno = 0;
        entry = getgrnam(names->items[i]);
        if (entry)
            add_group(account, entry->gr_gid, diagnostics);
        else
            diagnostics_add(diagnostics, DIAGNOSTIC_ERROR, NULL, "[gatepost] groups: %s: %s",
                            names->items[i], errno ? err_text(errno) : "there is no such group");
    }
}

void privileges_resolve(const struct settings *settings, struct diagnostics *diagnostics,
                        struct privileges *ret_privileges)
{
    const struct settings_gatepost *global = &settings->gatepost;
    struct privileges privileges = { .drop = geteuid() == 0 };

    if (!privileges.drop) {
        privileges.proxy = (struct account){ .uid = geteuid(), .gid = getegid() };
        privileges.mail = privileges.proxy;
        if (global->groups.count > 0)
            diagnostics_add(diagnostics, DIAGNOSTIC_WARNING, NULL,
                            "[gatepost] groups has no effect: not started by root");
        *ret_privileges = privileges;
        return;
    }
    look_up_user("user", global->user, diagnostics, &privileges.proxy);
    look_up_groups(&global->groups, diagnostics, &privileges.proxy);
    look_up_user("mail_user", global->mail_user, diagnostics, &privileges.mail);
    if (diagnostics->errors == 0 && privileges.proxy.uid == privileges.mail.uid)
        diagnostics_add(diagnostics, DIAGNOSTIC_WARNING, NULL,
                        "[gatepost] user and mail_user are the same: a proxy worker can read mail");
    *ret_privileges = privileges;
}

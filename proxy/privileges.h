/* Who the children will be: the accounts of `user` and `mail_user`, resolved once by the
 * supervisor. */
#ifndef GATEPOST_PROXY_PRIVILEGES_H
#define GATEPOST_PROXY_PRIVILEGES_H

#include <sys/types.h>

#include "conf/diagnostics.h"
#include "conf/settings.h"
#include "proxy/base/child.h"

struct account {
    uid_t uid;
    gid_t gid;
    uint32_t group_count;
    uint32_t groups[CHILD_GROUPS_MAX];
};

struct privileges {
    bool drop; /* started by root: children change to these accounts; otherwise they stay who they
                  are */
    struct account proxy; /* `user`, its own groups and `groups` */
    struct account mail;  /* `mail_user` and its own groups */
    bool has_control;     /* `control_group` is set ... */
    gid_t control;        /* ... and is this one */
};

/* Looks the names up. Unknown ones, and accounts that give a worker too much, go to `diagnostics`;
 * where those are errors, *ret_privileges is not to be used. Not started by root: the caller's own
 * ids and no look-up. */
void privileges_resolve(const struct settings *settings, struct diagnostics *diagnostics,
                        struct privileges *ret_privileges);

#endif

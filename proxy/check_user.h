/* As whom the settings are checked: whoever will read them. */
#ifndef GATEPOST_PROXY_CHECK_USER_H
#define GATEPOST_PROXY_CHECK_USER_H

#include <sys/types.h>

enum check_user {
    CHECK_USER_OWN = 0,    /* the process stays who it is */
    CHECK_USER_CHANGED = 1 /* it is another now, for good */
};

/* Where root checks the settings in the file `path`, and the Gatepost that runs with their control
 * socket is somebody else's: becomes that user, with its groups. A check_user, *ret_uid is set with
 * the second; or -errno: it should be changed, and could not be. */
int check_user_become(const char *path, uid_t *ret_uid);

#endif

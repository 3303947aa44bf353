/* As whom the settings are checked: whoever will read them. */
#ifndef GATEPOST_PROXY_CHECK_USER_H
#define GATEPOST_PROXY_CHECK_USER_H

#include <sys/types.h>

enum check_user {
    CHECK_USER_OWN = 0,  /* the process stays who it is */
    CHECK_USER_CHANGED,  /* it is another now, until check_user_return() */
    CHECK_USER_SHUT_OUT, /* it stays who it is: the other may not even read the settings */
};

/* Where root checks the settings in the file `path`, and the Gatepost that runs with their control
 * socket is somebody else's: becomes that user, with its groups. A check_user, *ret_uid is set with
 * all but the first; or -errno: it should be changed, and could not be. */
int check_user_become(const char *path, uid_t *ret_uid);

/* Fine to call in any case. */
void check_user_return(void);

#endif

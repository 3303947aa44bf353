/* Folders that the supervisor makes for itself and for the embedded workers. */
#ifndef GATEPOST_PROXY_FOLDERS_H
#define GATEPOST_PROXY_FOLDERS_H

#include "proxy/privileges.h"

/* Makes `path` where it is missing, with `mode` and, unless NULL, `owner`; missing parents are made
 * 0755. A folder that is there stays as it is; another owner's is told in the log. 0, or -errno
 * after a log line. */
int folder_make(const char *path, mode_t mode, const struct account *owner);

#endif

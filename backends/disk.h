/* Two small things about files that the store and gatepost-fetch have in common. Both block. */
#ifndef GATEPOST_BACKENDS_DISK_H
#define GATEPOST_BACKENDS_DISK_H

#include "proxy/base/span.h"

/* Writes all of `octets`. 0 or -errno, and then a part of them may be written. */
int disk_write(int file, struct span octets);

/* Makes what was linked, renamed and removed in the folder `path`, below `folder` (AT_FDCWD is
 * fine), durable. 0 or -errno. */
int disk_sync_folder(int folder, const char *path);

#endif

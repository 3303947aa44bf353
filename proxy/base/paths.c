/* Names of sockets that two programs must agree on. Fails where a name does not fit. */
#include "proxy/base/paths.h"

#include <errno.h>
#include <stdio.h>

int embedded_socket_path(const char *runtime_dir, const char *backend, char *into, size_t room)
{
    int length = snprintf(into, room, "%s/%s.sock", runtime_dir, backend);

    return length < 0 || (size_t)length >= room ? -ENAMETOOLONG : 0;
}

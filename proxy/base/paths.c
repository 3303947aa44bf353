/* Names of sockets that two programs must agree on. Fails where a name does not fit. */
#include "proxy/base/paths.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

int embedded_socket_path(const char *runtime_dir, const char *backend, char *into, size_t room)
{
    int length = snprintf(into, room, "%s/%s.sock", runtime_dir, backend);

    return length < 0 || (size_t)length >= room ? -ENAMETOOLONG : 0;
}

int control_socket_path(const char *runtime_dir, const char *control_socket, char *into,
                        size_t room)
{
    bool is_path = *control_socket == '/';
    int length;

    if (strcmp(control_socket, "none") == 0)
        return -ENOENT;
    length = snprintf(into, room, "%s%s%s", is_path ? "" : runtime_dir, is_path ? "" : "/",
                      control_socket);
    return length < 0 || (size_t)length >= room ? -ENAMETOOLONG : 0;
}

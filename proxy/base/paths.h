/* Where the programs of one installation meet in the file system. */
#ifndef GATEPOST_BASE_PATHS_H
#define GATEPOST_BASE_PATHS_H

#include <stddef.h>

/* Writes the path of the socket of the embedded worker behind [backend `backend`] into `into`:
 * RUNTIME_DIR/BACKEND.sock. `room` is that of the caller's sun_path. 0, or -ENAMETOOLONG with
 * nothing usable in `into`. */
int embedded_socket_path(const char *runtime_dir, const char *backend, char *into, size_t room);

/* The same for the socket of gatepostctl: [gatepost] control_socket is a path, or a name in
 * runtime_dir. -ENOENT: it is `none`. */
int control_socket_path(const char *runtime_dir, const char *control_socket, char *into,
                        size_t room);

#endif

/* The password: asked for at the terminal, read from a descriptor, or from what a command prints.
 *
 * Never from arguments or the environment, which others can read. Each function writes the password
 * with a NUL into `into`, PASSWORD_ROOM octets that the caller wipes (explicit_bzero) after use;
 * where it fails the room is wiped already, and *words says why. An empty password, one that is too
 * long, and one with a NUL are failures. 0 or -errno. */
#ifndef GATEPOST_TOOLS_FETCH_PASSWORD_H
#define GATEPOST_TOOLS_FETCH_PASSWORD_H

#include "proxy/base/text.h"

#define PASSWORD_ROOM 256

/* Writes `prompt` to /dev/tty and reads one line without echo. A signal that ends or stops the
 * process does so with the terminal as it was before; after a stop it is asked for anew. -ENXIO: no
 * terminal; -EINTR: a signal that the program catches; -ENODATA: end of file. */
int password_ask(const char *prompt, char *into, struct text *words);

/* The first line that comes from `fd`, which is closed. Octets behind the line may be lost. */
int password_from_descriptor(int fd, char *into, struct text *words);

/* The first line of what `command` (sh -c) prints; it has the terminal's input and error output,
 * as a password manager that asks for a PIN needs. A command that fails is a failure, whatever it
 * printed. -ECHILD: it failed. */
int password_from_command(const char *command, char *into, struct text *words);

#endif

/* Commands of the user's, run by sh -c: with default signals and no descriptors but the three. */
#ifndef GATEPOST_TOOLS_FETCH_SHELL_H
#define GATEPOST_TOOLS_FETCH_SHELL_H

#include "proxy/base/text.h"

#include <sys/types.h>

/* `in` and `out` become its standard input and output; they stay open here. `in` is not 1,
 * `out` not 0. 0 or -errno. */
int shell_start(const char *command, int in, int out, pid_t *ret_process);

/* Waits for its end. 0: exit code 0; else *words says how it ended, and 1 is returned. */
int shell_finish(pid_t process, struct text *words);

#endif

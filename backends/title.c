/* The title of a process: written over the strings that it was started with, where the kernel looks
 * for them.
 *
 * Happy path: the environment is copied away, since its strings follow those of the arguments and
 * give the room. */
#include "backends/title.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

/* The end of the strings that stand one behind the other from `start`. */
static char *strings_end(char *start)
{
    char *end = start + strlen(start) + 1;

    /* The arguments behind the first are not reachable from here, but the kernel laid the
     * environment behind them. */
    for (char **variable = environ; variable && *variable; variable++)
        if (*variable >= start && *variable + strlen(*variable) + 1 > end)
            end = *variable + strlen(*variable) + 1;
    return end;
}

static int copy_environment(void)
{
    size_t count = 0;
    char **copy;

    while (environ && environ[count])
        count++;
    copy = calloc(count + 1, sizeof(*copy));
    if (!copy)
        return -1;
    for (size_t i = 0; i < count; i++)
        if (!(copy[i] = strdup(environ[i])))
            return -1; /* a few bytes are lost; the process goes on with the old environment */
    environ = copy;
    return 0;
}

void title_set(const char *title)
{
    char *start = program_invocation_name, *end = strings_end(start);
    size_t room = (size_t)(end - start), size = strlen(title);

    prctl(PR_SET_NAME, title, 0, 0, 0);
    if (size + 1 > room || copy_environment() < 0)
        return;
    memset(start, 0, room);
    memcpy(start, title, size);
}

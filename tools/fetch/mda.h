/* A message handed to a command (a mail delivery agent, MDA) on its standard input.
 *
 * The command runs by sh -c with default signals, the message's file from its first octet as
 * standard input, standard error as standard output too (so that it cannot spoil what the program
 * prints), and no other descriptor. start -> wait for `fd` if there is something else to do ->
 * finish. */
#ifndef GATEPOST_TOOLS_FETCH_MDA_H
#define GATEPOST_TOOLS_FETCH_MDA_H

#include "proxy/base/text.h"

#include <sys/types.h>

struct mda {
    pid_t process;
    int fd; /* can be read (poll) once the command has ended */
};

enum mda_result {
    MDA_TAKEN = 1, /* exit code 0: the message is the command's now */
    MDA_LATER,     /* anything else: *words says how it ended; try again later */
};

/* `file` is an open descriptor of the message; its offset is moved. 0 or -errno: not started. */
int mda_start(const char *command, int file, struct mda *ret_mda);

/* Waits for the end. An mda_result. */
int mda_finish(struct mda *mda, struct text *words);

/* Ends a command whose answer nobody waits for (SIGTERM), and waits for its end. */
void mda_stop(struct mda *mda);

#endif

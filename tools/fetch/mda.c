/* The command is a shell's; a descriptor of its process tells when it has ended. */
#include "tools/fetch/mda.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "tools/fetch/shell.h"

int mda_start(const char *command, int file, struct mda *ret_mda)
{
    char room[96];
    struct text nothing = TEXT_OVER(room);
    struct mda mda;
    int r;

    if (lseek(file, 0, SEEK_SET) < 0)
        return -errno;
    r = shell_start(command, file, STDERR_FILENO, &mda.process);
    if (r < 0)
        return r;
    mda.fd = (int)syscall(SYS_pidfd_open, mda.process, 0);
    if (mda.fd < 0) {
        r = -errno;
        kill(mda.process, SIGTERM);
        shell_finish(mda.process, &nothing);
        return r;
    }
    *ret_mda = mda;
    return 0;
}

int mda_finish(struct mda *mda, struct text *words)
{
    int r = shell_finish(mda->process, words);

    close(mda->fd);
    mda->fd = -1;
    return r == 0 ? MDA_TAKEN : MDA_LATER;
}

void mda_stop(struct mda *mda)
{
    char room[96];
    struct text nothing = TEXT_OVER(room);

    kill(mda->process, SIGTERM);
    mda_finish(mda, &nothing);
}

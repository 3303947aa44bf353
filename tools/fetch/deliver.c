/* Hands messages to the command of --mda. Happy path: it runs, reads, and ends with 0. Anything
 * else ends the run for now; the message waits in tmp/. */
#include <errno.h>
#include <sysexits.h>

#include "proxy/base/err.h"
#include "tools/fetch/fetch_private.h"
#include "tools/fetch/mda.h"

int deliver_to_command(void *context, int fd)
{
    struct fetch *fetch = context;
    char room[256];
    struct text words = TEXT_OVER(room);
    struct mda mda;
    int r;

    progress_clear(&fetch->report->progress); /* it may have words of its own */
    r = mda_start(fetch->options->mda, fd, &mda);
    if (r < 0) {
        report_end(fetch->report, EX_OSERR, "%s cannot be started: %s", fetch->options->mda,
                   err_text(r));
        return r;
    }
    if (mda_finish(&mda, &words) == MDA_TAKEN)
        return 0;
    report_end(fetch->report, EX_TEMPFAIL, "%s did not take a message, which waits in %s/tmp: %s",
               fetch->options->mda, fetch->options->maildir, text_str(&words));
    fetch->transient = true;
    return -EAGAIN;
}

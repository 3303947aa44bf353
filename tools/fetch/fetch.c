/* A run of gatepost-fetch.
 *
 *   talk.c      one connection: joins      dialogue.c  what is said (PURE)
 *               the parts on the right     link.c      the connection itself
 *   deliver.c   --mda                      mirror.c    the local Maildir
 *   report.c    how it went                sending.c   the outbox
 *
 * Happy path: the Maildir is opened, the outbox looked through, one connection made, and all is in
 * step. A link that is cut, a server that does not answer and what is refused for now are tried
 * again, after a while that grows; all else ends the run with a sentence. However it ends, what has
 * come is kept. */
#include "tools/fetch/fetch.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sysexits.h>

#include "gatepost_build.h"
#include "proxy/base/err.h"
#include "tools/fetch/backoff.h"
#include "tools/fetch/fetch_private.h"

#define TRY_AGAIN 256 /* at once; beside the exit codes, which are below */

/* ---- the Maildir and the outbox ---- */

static int explain_maildir(struct fetch *fetch, int r, const char *words)
{
    const struct options *options = fetch->options;
    struct report *report = fetch->report;

    switch (r) {
    case MIRROR_BUSY:
        return report_end(report, EX_TEMPFAIL, "%s: another gatepost-fetch works on this Maildir",
                          options->maildir);
    case MIRROR_OTHER:
        return report_end(report, EX_CONFIG,
                          "%s mirrors the mailbox of %s; use another Maildir for %s at %s, or "
                          "remove %s/gatepost-fetch/mailbox if they are the same",
                          options->maildir, words, options->user, options->link.host,
                          options->maildir);
    default:
        return report->exit != EX_OK ? report->exit /* of the command of --mda */
                                     : report_end(report, EX_CANTCREAT, "%s", words);
    }
}

static int open_mirror(struct fetch *fetch)
{
    const struct options *options = fetch->options;
    const struct mirror_options mirror = {
        .maildir = options->maildir,
        .user = options->user,
        .host = options->link.host,
        .keep = options->keep,
        .deliver = options->mda ? deliver_to_command : NULL,
        .context = fetch,
    };
    char room[1024];
    struct text words = TEXT_OVER(room);
    int r;

    if (fetch->mirror_open)
        return EX_OK;
    r = mirror_open(&fetch->mirror, &mirror, &words);
    fetch->transient = r == -EAGAIN;
    if (r != 0)
        return explain_maildir(fetch, r, text_str(&words));
    fetch->mirror_open = true;
    return EX_OK;
}

static void close_mirror(struct fetch *fetch)
{
    if (!fetch->mirror_open)
        return;
    fetch->report->received.messages += fetch->mirror.messages;
    mirror_close(&fetch->mirror);
    fetch->mirror_open = false;
}

static int open_outbox(struct fetch *fetch)
{
    const struct options *options = fetch->options;
    char account[1024];
    const struct outbox_options outbox = { .folder = options->outbox,
                                           .sent = options->sent,
                                           .maildir = options->maildir,
                                           .sender = options->sender,
                                           .account = account };
    int r;

    snprintf(account, sizeof(account), "%s@%s", options->user, options->link.host);
    r = sending_open(&fetch->sending, &outbox, fetch->report);
    if (r == -EINVAL)
        return report_end(
            fetch->report, EX_USAGE,
            "%s: the outbox must be another folder than the Maildir and that of --sent",
            options->outbox);
    return r == 0 ? EX_OK
                  : report_end(fetch->report, EX_CANTCREAT, "%s: the outbox cannot be opened: %s",
                               options->outbox, err_text(r));
}

static int scan_outbox(struct fetch *fetch)
{
    int r = sending_scan(&fetch->sending);

    return r == 0 ? EX_OK
                  : report_end(fetch->report, EX_IOERR, "%s: the outbox cannot be read: %s",
                               fetch->options->outbox, err_text(r));
}

/* ---- how a connection ends ---- */

static int stop(struct fetch *fetch)
{
    fetch->transient = false;
    return fetch->options->watch ? report_end(fetch->report, EX_OK, "%s", "")
                                 : report_end(fetch->report, EX_TEMPFAIL, "stopped by a signal");
}

static int done(struct fetch *fetch)
{
    if (!fetch->sending.later[0])
        return report_end(fetch->report, EX_OK, "%s", "");
    fetch->transient = true;
    return report_end(fetch->report, EX_TEMPFAIL, "not sent yet: %s", fetch->sending.later);
}

/* An exit code or TRY_AGAIN. */
static int conclude(struct fetch *fetch, int r)
{
    const char *host = fetch->options->link.host, *words = fetch->dialogue.words;
    struct report *report = fetch->report;

    if (report->exit != EX_OK)
        return report->exit;
    switch (r) {
    case DIALOGUE_DONE:
        return done(fetch);
    case DIALOGUE_AGAIN:
    case -ESTALE:
        return TRY_AGAIN;
    case DIALOGUE_LOGIN:
        return report_end(report, EX_NOPERM, "%s refuses the login of %s: %s", host,
                          fetch->options->user, words);
    case DIALOGUE_LATER:
        fetch->transient = true;
        return report_end(report, EX_TEMPFAIL, "%s: %s", host, words);
    case DIALOGUE_REFUSED:
        return report_end(report, EX_PROTOCOL, "%s refuses: %s", host, words);
    case -EPROTO:
        return report_end(report, EX_PROTOCOL, "%s does not speak Remote Mail 1: %s", host,
                          words[0] ? words : "messages out of order");
    case -EINTR:
        return stop(fetch);
    default:
        return report_end(report, EX_OSERR, "%s", err_text(r));
    }
}

static int explain_link(struct fetch *fetch, int r, const char *words)
{
    const struct link_options *link = &fetch->options->link;
    struct report *report = fetch->report;

    switch (r) {
    case LINK_UNKNOWN:
        fetch->transient = fetch->options->watch;
        return report_end(report, EX_NOHOST, "%s is not known: %s", link->host, words);
    case LINK_SILENT:
        fetch->transient = true;
        return report_end(report, EX_UNAVAILABLE, "%s does not answer on port %s: %s", link->host,
                          link->port, words);
    case LINK_CUT:
        fetch->transient = true;
        return report_end(report, EX_TEMPFAIL, "%s: %s", link->host, words);
    case LINK_UNTRUSTED:
        return report_end(report, EX_PROTOCOL, "%s: no TLS with it: %s", link->host, words);
    case LINK_BAD_CA:
        return report_end(report, EX_CONFIG, "the authorities cannot be read: %s", words);
    case -EINTR:
        return stop(fetch);
    default:
        return report_end(report, EX_OSERR, "%s", err_text(r));
    }
}

static void tell_link(struct fetch *fetch)
{
    char room[128];
    struct text kind = TEXT_OVER(room);

    link_put_kind(fetch->link, &kind);
    if (fetch->options->verbose)
        report_tell(fetch->report, "connected to %s, %s", fetch->options->link.host,
                    text_str(&kind));
}

/* What has come is stored or kept. `r` is how the connection has ended; what is worse is returned.
 */
static int keep_what_came(struct fetch *fetch, int r)
{
    int kept = mirror_disconnected(&fetch->mirror);

    if (kept == -EAGAIN) /* deliver_to_command() has said why */
        r = fetch->report->exit;
    else if (kept < 0 && (r == EX_OK || r == TRY_AGAIN || fetch->transient)) {
        fetch->transient = false;
        r = report_end(fetch->report, EX_IOERR, "%s: %s", fetch->options->maildir, err_text(kept));
    }
    if (kept < 0 || fetch->store_failed)
        close_mirror(fetch); /* to be opened anew, and looked through */
    return r;
}

/* An exit code or TRY_AGAIN. */
static int talk_once(struct fetch *fetch)
{
    char room[512];
    struct text words = TEXT_OVER(room);
    int r = link_open(&fetch->options->link, &fetch->link, &words);

    if (r != 0)
        return explain_link(fetch, r, text_str(&words));
    fetch->report->connections++;
    tell_link(fetch);
    r = conclude(fetch, talk(fetch));
    link_close(fetch->link);
    return keep_what_came(fetch, r);
}

static int connect_once(struct fetch *fetch)
{
    int r;

    report_end(fetch->report, EX_OK, "%s", "");
    fetch->moved = fetch->waiting = fetch->transient = fetch->receiving = false;
    fetch->store_failed = fetch->showing_sent = false;
    r = open_mirror(fetch);
    if (r == EX_OK)
        r = scan_outbox(fetch);
    if (r == EX_OK)
        r = talk_once(fetch);
    if (fetch->sending.kept > fetch->kept_before)
        fetch->moved = true;
    fetch->kept_before = fetch->sending.kept;
    sending_rest(&fetch->sending);
    return r;
}

/* ---- again and again ---- */

static void wait_a_while(struct fetch *fetch, unsigned failures)
{
    uint32_t random = 0, ms;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        random = 0;
    ms = backoff_ms(failures, random);
    if (fetch->options->verbose)
        report_tell(fetch->report, "%s; trying again in %u s", fetch->report->error,
                    (ms + 999) / 1000);
    if (!*fetch->stopped)
        poll(NULL, 0, (int)ms);
}

static void connect_until_done(struct fetch *fetch)
{
    unsigned failures = 0;

    for (;;) {
        int r = connect_once(fetch);

        if (r != TRY_AGAIN && !fetch->transient)
            return;
        failures = fetch->moved ? 1 : failures + 1;
        if (!fetch->options->watch && failures > fetch->options->retries &&
            (r != TRY_AGAIN || failures > 1)) {
            if (r == TRY_AGAIN)
                report_end(fetch->report, EX_TEMPFAIL, "%s: %s", fetch->options->link.host,
                           fetch->sending.later[0] ? fetch->sending.later : "no way on");
            return;
        }
        if (r != TRY_AGAIN)
            sending_retry(&fetch->sending);
        if (r != TRY_AGAIN || failures > 1)
            wait_a_while(fetch, failures);
        if (*fetch->stopped) {
            stop(fetch);
            return;
        }
    }
}

/* What is out of the outbox for good is the one thing that no later run tells of. */
static void tell_refusals(struct fetch *fetch)
{
    const struct report *report = fetch->report;

    if (fetch->options->watch) /* each was told when it happened */
        return;
    if (report->refused.count > 0 && (report->exit == EX_OK || report->exit == EX_TEMPFAIL))
        report_end(fetch->report, EX_DATAERR, "%zu message%s will not be sent: see %s/.Failed",
                   report->refused.count, report->refused.count == 1 ? "" : "s",
                   fetch->options->outbox);
}

static void run(struct fetch *fetch, struct span password)
{
    if (open_mirror(fetch) != EX_OK && !fetch->transient)
        return;
    if (open_outbox(fetch) != EX_OK)
        return;
    if (fetch->options->watch) /* before the first look: what is put in behind that is told */
        sending_watch(&fetch->sending);
    fetch->facts = (struct dialogue_facts){
        .agent = "gatepost-fetch/" GATEPOST_VERSION,
        .mirror = fetch->mirror.id,
        .user = span_of_text(fetch->options->user),
        .password = password,
        .one_flight = !fetch->options->link.plain,
        .sync = !fetch->options->keep,
        .watch = fetch->options->watch,
    };
    connect_until_done(fetch);
    tell_refusals(fetch);
}

void fetch_run(const struct options *options, struct span password, const volatile int *stopped,
               struct report *report)
{
    struct fetch *fetch = calloc(1, sizeof(*fetch));

    if (!fetch) {
        report_end(report, EX_OSERR, "no memory");
        return;
    }
    fetch->options = options;
    fetch->stopped = stopped;
    fetch->report = report;
    run(fetch, password);
    sending_close(&fetch->sending);
    close_mirror(fetch);
    free(fetch);
}

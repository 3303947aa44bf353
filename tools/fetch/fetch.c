/* Joins the parts of gatepost-fetch.
 *
 *   dialogue.c   what is said (PURE)          link.c    the connection
 *   mirror.c     the local Maildir            report.c  how it went
 *
 * Happy path: the Maildir is opened, a connection made, octets carried between it and the dialogue,
 * what has come stored whenever there is nothing more to read. A link that is cut, a server that
 * does not answer and one that is out of order for now are tried again, after a while that grows;
 * all else ends the run with a sentence. However it ends, what has come is kept. */
#include "tools/fetch/fetch.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sysexits.h>

#include "gatepost_build.h"
#include "proxy/base/err.h"
#include "tools/fetch/backoff.h"
#include "tools/fetch/dialogue.h"
#include "tools/fetch/mirror.h"

#define IN_BYTES   65536
#define SILENCE_MS 300000            /* without an octet, where one is due */
#define WAIT_MS    (1740000 + 60000) /* the same in WAIT */

/* Outcomes of a connection beside exit codes, which are below 128. */
enum { TRY_AGAIN = 256 };

struct fetch {
    const struct options *options;
    const volatile int *stopped;
    struct report *report;
    struct mirror mirror;
    struct dialogue_facts facts;
    struct dialogue dialogue;
    struct link *link;
    bool moved; /* something has come nearer to its end on this connection */
    bool waiting;
    bool transient; /* what ended the connection may be over in a while */
    uint64_t frame_octets;
};

void fetch_tell(const char *format, ...)
{
    va_list args;

    fputs("gatepost-fetch: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

/* ---- what the dialogue asks for ---- */

/* An error of the disk, in words. */
static int local(struct fetch *fetch, int r)
{
    if (r < 0 && r != -EPROTO)
        report_end(fetch->report, EX_IOERR, "%s: %s", fetch->options->maildir, err_text(r));
    return r;
}

static int on_greeted(void *context, uint64_t limit_bytes)
{
    (void)context;
    (void)limit_bytes;
    return 0;
}

static int on_logged_in(void *context, uint64_t messages, uint64_t octets)
{
    (void)context;
    (void)messages;
    (void)octets;
    return 0;
}

static bool on_where(void *context, struct remote_uid *ret_uid, uint64_t *ret_offset)
{
    struct fetch *fetch = context;

    return mirror_where(&fetch->mirror, ret_uid, ret_offset);
}

static int on_no_such_part(void *context)
{
    struct fetch *fetch = context;

    return local(fetch, mirror_no_such_part(&fetch->mirror));
}

static int on_new_epoch(void *context)
{
    struct fetch *fetch = context;

    return local(fetch, mirror_new_epoch(&fetch->mirror));
}

static int on_frame(void *context, const struct remote_frame *frame)
{
    struct fetch *fetch = context;

    fetch->frame_octets = frame->octets;
    return local(fetch, mirror_frame(&fetch->mirror, frame));
}

static int on_octets(void *context, struct span octets)
{
    struct fetch *fetch = context;

    fetch->moved = true;
    return local(fetch, mirror_octets(&fetch->mirror, octets));
}

static int on_whole(void *context, struct remote_uid uid, struct span digest)
{
    struct fetch *fetch = context;
    int r = mirror_whole(&fetch->mirror, uid, digest);

    fetch->moved = true;
    switch (r) {
    case MIRROR_TAKEN:
        fetch->report->received.octets += fetch->frame_octets;
        return 0;
    case MIRROR_WRONG:
        return DIALOGUE_AGAIN;
    case MIRROR_WRONG_TWICE:
        report_end(fetch->report, EX_PROTOCOL,
                   "message %08x.%llu came twice with octets that are not what its digest says",
                   uid.epoch, (unsigned long long)uid.number);
        return -EBADMSG;
    default:
        return local(fetch, r);
    }
}

static int on_pulled(void *context)
{
    struct fetch *fetch = context;

    return local(fetch, mirror_pulled(&fetch->mirror));
}

static bool on_next_ack(void *context, struct remote_uid *ret_uid)
{
    struct fetch *fetch = context;

    return mirror_next_ack(&fetch->mirror, ret_uid);
}

static int on_synced(void *context)
{
    struct fetch *fetch = context;

    return local(fetch, mirror_synced(&fetch->mirror));
}

static bool on_next_have(void *context, size_t *ret_index, struct span *ret_id)
{
    (void)context;
    (void)ret_index;
    (void)ret_id;
    return false;
}

static int on_next_push(void *context, struct dialogue_push *ret_push)
{
    (void)context;
    (void)ret_push;
    return DIALOGUE_NONE;
}

static bool on_more_uploads(void *context)
{
    (void)context;
    return false;
}

static void on_waiting(void *context, bool begins)
{
    struct fetch *fetch = context;

    fetch->waiting = begins;
}

static const struct dialogue_caller caller = {
    .greeted = on_greeted,
    .logged_in = on_logged_in,
    .where = on_where,
    .no_such_part = on_no_such_part,
    .new_epoch = on_new_epoch,
    .frame = on_frame,
    .octets = on_octets,
    .whole = on_whole,
    .pulled = on_pulled,
    .next_ack = on_next_ack,
    .synced = on_synced,
    .next_have = on_next_have,
    .next_push = on_next_push,
    .more_uploads = on_more_uploads,
    .waiting = on_waiting,
};

/* ---- carrying octets ---- */

static int cut(struct fetch *fetch, const char *words)
{
    fetch->transient = true;
    return report_end(fetch->report, EX_TEMPFAIL, "%s: %s", fetch->options->link.host, words);
}

/* Sends what there is to say. DIALOGUE_MORE, or how the connection ends. */
static int send_output(struct fetch *fetch)
{
    int r = DIALOGUE_MORE;

    while (r == DIALOGUE_MORE && dialogue_output(&fetch->dialogue).size > 0) {
        long sent = link_write(fetch->link, dialogue_output(&fetch->dialogue));

        if (sent == -EAGAIN)
            break;
        if (sent < 0) /* what it has said before it closed comes first */
            return DIALOGUE_MORE;
        dialogue_sent(&fetch->dialogue, (size_t)sent);
        r = dialogue_fill(&fetch->dialogue);
    }
    return r;
}

/* Nothing to read: what is whole is stored, then it is time to wait. */
static int be_idle(struct fetch *fetch)
{
    int r;

    if (fetch->mirror.group_count > 0) {
        r = local(fetch, mirror_commit(&fetch->mirror));
        return r < 0 ? r : dialogue_fill(&fetch->dialogue);
    }
    r = link_wait(fetch->link, dialogue_output(&fetch->dialogue).size > 0, -1,
                  fetch->waiting ? WAIT_MS : SILENCE_MS);
    if (r == 0)
        return cut(fetch, "it has said nothing for a long time");
    return r == -EINTR || r > 0 ? DIALOGUE_MORE : r;
}

/* Takes what has come. DIALOGUE_MORE, or how the connection ends. */
static int take_input(struct fetch *fetch)
{
    unsigned char in[IN_BYTES];
    long got = link_read(fetch->link, in, sizeof(in));
    int r;

    if (got == -EAGAIN)
        return be_idle(fetch);
    if (got == -EINTR)
        return DIALOGUE_MORE;
    if (got <= 0)
        return cut(fetch, got == 0 ? "it has closed the connection" : err_text((int)got));
    r = dialogue_feed(&fetch->dialogue, span_of(in, (size_t)got));
    return r == DIALOGUE_MORE ? dialogue_fill(&fetch->dialogue) : r;
}

static int converse(struct fetch *fetch)
{
    int r = dialogue_fill(&fetch->dialogue);

    while (r == DIALOGUE_MORE && !*fetch->stopped) {
        r = send_output(fetch);
        if (r == DIALOGUE_MORE)
            r = take_input(fetch);
    }
    return r == DIALOGUE_MORE ? -EINTR : r;
}

/* ---- how a connection ends ---- */

static int stop(struct fetch *fetch)
{
    return fetch->options->watch ? report_end(fetch->report, EX_OK, "%s", "")
                                 : report_end(fetch->report, EX_TEMPFAIL, "stopped by a signal");
}

/* An exit code or TRY_AGAIN. */
static int conclude(struct fetch *fetch, int r)
{
    const char *host = fetch->options->link.host, *words = fetch->dialogue.words;

    switch (r) {
    case DIALOGUE_DONE:
        return report_end(fetch->report, EX_OK, "%s", "");
    case DIALOGUE_AGAIN:
    case -ESTALE:
        return TRY_AGAIN;
    case DIALOGUE_LOGIN:
        return report_end(fetch->report, EX_NOPERM, "%s refuses the login of %s: %s", host,
                          fetch->options->user, words);
    case DIALOGUE_LATER:
        fetch->transient = true;
        return report_end(fetch->report, EX_TEMPFAIL, "%s: %s", host, words);
    case DIALOGUE_REFUSED:
        return report_end(fetch->report, EX_PROTOCOL, "%s refuses: %s", host, words);
    case -EPROTO:
        return report_end(fetch->report, EX_PROTOCOL, "%s does not speak Remote Mail 1: %s", host,
                          words[0] ? words : "messages out of order");
    case -EINTR:
        return stop(fetch);
    default:
        if (r < 0 && fetch->report->exit == EX_OK)
            report_end(fetch->report, EX_OSERR, "%s", err_text(r));
        return fetch->report->exit;
    }
}

static int explain_opening(struct fetch *fetch, int r, const char *words)
{
    const struct link_options *link = &fetch->options->link;

    switch (r) {
    case LINK_UNKNOWN:
        fetch->transient = fetch->options->watch;
        return report_end(fetch->report, EX_NOHOST, "%s is not known: %s", link->host, words);
    case LINK_SILENT:
        fetch->transient = true;
        return report_end(fetch->report, EX_UNAVAILABLE, "%s does not answer on port %s: %s",
                          link->host, link->port, words);
    case LINK_UNTRUSTED:
        return report_end(fetch->report, EX_PROTOCOL, "%s: no TLS with it: %s", link->host, words);
    case LINK_BAD_CA:
        return report_end(fetch->report, EX_CONFIG, "the authorities cannot be read: %s", words);
    case -EINTR:
        return stop(fetch);
    default:
        return report_end(fetch->report, EX_OSERR, "%s", err_text(r));
    }
}

/* An exit code or TRY_AGAIN. */
static int connect_once(struct fetch *fetch)
{
    char room[512];
    struct text words = TEXT_OVER(room);
    int r, kept;

    fetch->report->exit = EX_OK;
    fetch->moved = fetch->waiting = fetch->transient = false;
    r = link_open(&fetch->options->link, &fetch->link, &words);
    if (r != 0)
        return explain_opening(fetch, r, text_str(&words));
    fetch->report->connections++;
    mirror_connected(&fetch->mirror);
    dialogue_init(&fetch->dialogue, &fetch->facts, &caller, fetch);
    r = conclude(fetch, converse(fetch));
    dialogue_deinit(&fetch->dialogue);
    link_close(fetch->link);
    kept = mirror_disconnected(&fetch->mirror);
    if (kept < 0 && r != EX_IOERR) {
        fetch->transient = false;
        local(fetch, kept);
        return EX_IOERR;
    }
    return r;
}

/* ---- again and again ---- */

static void wait_a_while(struct fetch *fetch, unsigned failures)
{
    uint32_t random = 0;
    uint32_t ms;

    if (getrandom(&random, sizeof(random), 0) != sizeof(random))
        random = 0;
    ms = backoff_ms(failures, random);
    if (fetch->options->verbose)
        fetch_tell("%s; trying again in %u s", fetch->report->error, (ms + 999) / 1000);
    if (!*fetch->stopped)
        poll(NULL, 0, (int)ms);
}

static bool may_retry(const struct fetch *fetch, unsigned failures)
{
    return fetch->options->watch || failures <= fetch->options->retries;
}

static void connect_until_done(struct fetch *fetch)
{
    unsigned failures = 0;

    for (;;) {
        int r = connect_once(fetch);

        if (r != TRY_AGAIN && !fetch->transient)
            return;
        failures = fetch->moved ? 1 : failures + 1;
        if (!may_retry(fetch, failures)) {
            if (r == TRY_AGAIN)
                report_end(fetch->report, EX_TEMPFAIL, "%s: no way on", fetch->options->link.host);
            return;
        }
        if (r != TRY_AGAIN || failures > 1)
            wait_a_while(fetch, failures);
        if (*fetch->stopped) {
            stop(fetch);
            return;
        }
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
    };
    char room[1024];
    struct text words = TEXT_OVER(room);
    int r = mirror_open(&fetch->mirror, &mirror, &words);

    switch (r) {
    case 0:
        return 0;
    case MIRROR_BUSY:
        return report_end(fetch->report, EX_TEMPFAIL,
                          "%s: another gatepost-fetch works on this Maildir", options->maildir);
    case MIRROR_OTHER:
        return report_end(fetch->report, EX_CONFIG,
                          "%s mirrors the mailbox %s; use another Maildir for %s at %s, or remove "
                          "%s/gatepost-fetch/mailbox if both are the same",
                          options->maildir, text_str(&words), options->user, options->link.host,
                          options->maildir);
    default:
        return report_end(fetch->report, EX_CANTCREAT, "%s", text_str(&words));
    }
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
    if (open_mirror(fetch) == 0) {
        fetch->facts = (struct dialogue_facts){
            .agent = "gatepost-fetch/" GATEPOST_VERSION,
            .mirror = fetch->mirror.id,
            .user = span_of_text(options->user),
            .password = password,
            .one_flight = !options->link.plain,
            .sync = !options->keep,
            .watch = options->watch,
        };
        connect_until_done(fetch);
        report->received.messages = fetch->mirror.messages;
        mirror_close(&fetch->mirror);
    }
    free(fetch);
}

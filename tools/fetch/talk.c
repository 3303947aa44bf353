/* One connection of a run: the dialogue, whose questions the Maildir and the outbox answer, and the
 * link that carries it.
 *
 * Happy path: what is to be said is sent, what comes is taken, and whenever nothing more is there
 * to read, what is whole is stored. Whoever writes keeps reading: neither waits for the other. */
#include "tools/fetch/fetch_private.h"

#include <errno.h>
#include <sysexits.h>

#include "proxy/base/err.h"

#define IN_BYTES   65536
#define SILENCE_MS 300000                             /* without an octet, where one is due */
#define WAIT_MS    (DIALOGUE_WAIT_MAX * 1000 + 60000) /* the same in WAIT */

/* ---- what the dialogue asks for: receiving ---- */

/* An error of the disk, in words, unless there are some already. */
static int local(struct fetch *fetch, int r)
{
    if (r >= 0 || r == -EPROTO)
        return r;
    fetch->store_failed = true;
    if (fetch->report->exit == EX_OK)
        report_end(fetch->report, EX_IOERR, "%s: %s", fetch->options->maildir, err_text(r));
    return r;
}

static int on_greeted(void *context, uint64_t limit_bytes)
{
    struct fetch *fetch = context;

    fetch->sending.limit_bytes = limit_bytes;
    return 0;
}

/* What is on the server is what will come, but for what an earlier run was told to keep there. */
static int on_logged_in(void *context, uint64_t messages, uint64_t octets)
{
    struct fetch *fetch = context;
    size_t here = fetch->mirror.stored.count;

    fetch->sending.logged_in = true;
    fetch->messages = messages > here ? messages - here : 0;
    fetch->octets = here > 0 ? 0 : octets;
    if (fetch->options->verbose)
        report_tell(fetch->report, "%llu messages, %llu octets on the server",
                    (unsigned long long)messages, (unsigned long long)octets);
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

    if (!fetch->receiving)
        progress_begin(&fetch->report->progress, "receiving", fetch->messages,
                       fetch->octets > frame->offset ? fetch->octets - frame->offset : 0);
    fetch->receiving = true;
    progress_message(&fetch->report->progress);
    fetch->frame_octets = frame->octets;
    return local(fetch, mirror_frame(&fetch->mirror, frame));
}

static int on_octets(void *context, struct span octets)
{
    struct fetch *fetch = context;

    fetch->moved = true;
    progress_octets(&fetch->report->progress, octets.size);
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
                   "message %08x.%llu came twice with octets that do not have its digest",
                   uid.epoch, (unsigned long long)uid.number);
        return -EBADMSG;
    default:
        return local(fetch, r);
    }
}

static int on_pulled(void *context)
{
    struct fetch *fetch = context;

    progress_clear(&fetch->report->progress);
    fetch->receiving = false;
    fetch->messages = fetch->octets = 0; /* of what comes later nothing was told */
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

/* ---- sending ---- */

/* The same for the outbox. -ESTALE has words later, if it comes to that. */
static int outgoing(struct fetch *fetch, int r)
{
    if (r < 0 && r != -ESTALE && fetch->report->exit == EX_OK)
        report_end(fetch->report, EX_IOERR, "%s: %s", fetch->options->outbox, err_text(r));
    return r;
}

static bool on_next_have(void *context, size_t *ret_index, struct span *ret_id)
{
    struct fetch *fetch = context;

    return sending_next_have(&fetch->sending, ret_index, ret_id);
}

/* The first of several begins the line of them all. */
static void show_sending(struct fetch *fetch)
{
    struct report_count left;

    if (!fetch->showing_sent) {
        sending_left(&fetch->sending, &left);
        progress_begin(&fetch->report->progress, "sending", left.messages, left.octets);
    }
    fetch->showing_sent = true;
    progress_message(&fetch->report->progress);
}

static int on_next_push(void *context, struct dialogue_push *ret_push)
{
    struct fetch *fetch = context;
    int r = outgoing(fetch, sending_next_push(&fetch->sending, ret_push));

    if (r == DIALOGUE_PUSH)
        show_sending(fetch);
    return r;
}

static int on_read(void *context, unsigned char *into, size_t room, size_t *ret_size)
{
    struct fetch *fetch = context;
    int r = outgoing(fetch, sending_read(&fetch->sending, into, room, ret_size));

    if (r == 0 && !fetch->receiving)
        progress_octets(&fetch->report->progress, *ret_size);
    return r;
}

static int on_had(void *context, size_t index, bool done, uint64_t octets)
{
    struct fetch *fetch = context;

    return outgoing(fetch, sending_had(&fetch->sending, index, done, octets));
}

static int on_pushed(void *context, size_t index)
{
    struct fetch *fetch = context;

    fetch->moved = true;
    return outgoing(fetch, sending_pushed(&fetch->sending, index));
}

static int on_refused(void *context, size_t index, struct span code, struct span words)
{
    struct fetch *fetch = context;

    return outgoing(fetch, sending_refused(&fetch->sending, index, code, words));
}

static bool on_more_uploads(void *context)
{
    struct fetch *fetch = context;

    progress_clear(&fetch->report->progress);
    fetch->showing_sent = false;
    return sending_more(&fetch->sending);
}

static void on_waiting(void *context, bool begins)
{
    struct fetch *fetch = context;

    fetch->waiting = begins;
    if (begins)
        sending_rest(&fetch->sending);
    else
        sending_retry(&fetch->sending);
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
    .read = on_read,
    .had = on_had,
    .pushed = on_pushed,
    .refused = on_refused,
    .more_uploads = on_more_uploads,
    .waiting = on_waiting,
};

/* ---- carrying octets ---- */

static int cut(struct fetch *fetch, const char *words)
{
    fetch->transient = true;
    report_end(fetch->report, EX_TEMPFAIL, "%s: %s", fetch->options->link.host, words);
    return -ECONNRESET;
}

/* Sends what there is to say. DIALOGUE_MORE, or how the connection ends. */
static int send_output(struct fetch *fetch)
{
    int r = DIALOGUE_MORE;

    while (r == DIALOGUE_MORE && dialogue_output(&fetch->dialogue).size > 0) {
        long sent = link_write(fetch->link, dialogue_output(&fetch->dialogue));

        if (sent < 0) /* what it has said before it closed comes first, then the read fails too */
            break;
        dialogue_sent(&fetch->dialogue, (size_t)sent);
        r = dialogue_fill(&fetch->dialogue);
    }
    return r;
}

/* Something may have been put into the outbox while the server was being waited for. */
static int look_at_outbox(struct fetch *fetch)
{
    if (!sending_more(&fetch->sending)) {
        sending_rest(&fetch->sending);
        return DIALOGUE_MORE;
    }
    dialogue_wake(&fetch->dialogue);
    return dialogue_fill(&fetch->dialogue);
}

static int be_idle(struct fetch *fetch)
{
    /* While uploads are under way the outbox must stay as it was listed: what comes is looked at in
     * the next WAIT. */
    bool idle = fetch->waiting && fetch->dialogue.state == DIALOGUE_WAITING;
    int r, watch = idle ? sending_watch(&fetch->sending) : -1;

    if (fetch->mirror.group_count > 0) {
        r = local(fetch, mirror_commit(&fetch->mirror));
        return r < 0 ? r : dialogue_fill(&fetch->dialogue);
    }
    r = link_wait(fetch->link, dialogue_output(&fetch->dialogue).size > 0, watch,
                  idle ? WAIT_MS : SILENCE_MS);
    if (r == 0)
        return cut(fetch, "it has said nothing for a long time");
    if (r > 0 && r & LINK_OTHER)
        return look_at_outbox(fetch);
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

int talk(struct fetch *fetch)
{
    int r;

    mirror_connected(&fetch->mirror);
    dialogue_init(&fetch->dialogue, &fetch->facts, &caller, fetch);
    r = dialogue_fill(&fetch->dialogue);
    while (r == DIALOGUE_MORE && !*fetch->stopped) {
        r = send_output(fetch);
        if (r == DIALOGUE_MORE)
            r = take_input(fetch);
    }
    dialogue_deinit(&fetch->dialogue);
    progress_clear(&fetch->report->progress);
    return r == DIALOGUE_MORE ? -EINTR : r;
}

/* What goes down in a session of Remote Mail: lists, frames, acknowledgements, news.
 *
 * Happy path: a list is made when LIST, PULL or WAIT begins, and told or sent in pieces by the
 * pump; ACK marks a message, complete() deletes. While a frame is being sent nothing can be said: a
 * message that cannot be read to its end ends the session without words. */
#include <errno.h>
#include <stdio.h>

#include "backends/remote_session_private.h"

#define LINES_PER_PUMP 64 /* of a LIST, at most 50 octets each: some KiB at a time */

int remote_mail_refresh(struct remote_session *session)
{
    int r = session->caller->refresh(session->context, &session->mailbox);

    if (r < 0)
        session->mailbox = (struct remote_mailbox){ .messages = NULL };
    return r;
}

static uint64_t last_number(const struct remote_session *session)
{
    const struct remote_mailbox *mailbox = &session->mailbox;

    return mailbox->count > 0 ? mailbox->messages[mailbox->count - 1].number : 0;
}

int remote_mail_tell(struct remote_session *session)
{
    uint64_t octets = 0;

    for (size_t i = 0; i < session->mailbox.count; i++)
        octets += session->mailbox.messages[i].octets;
    session->seen = last_number(session);
    return remote_reply(session, "+ %zu messages %llu octets", session->mailbox.count,
                        (unsigned long long)octets);
}

/* ---- LIST and PULL ---- */

/* Index of the first message behind number `after`. */
static size_t find_after(const struct remote_session *session, uint64_t after)
{
    size_t low = 0, high = session->mailbox.count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;

        if (session->mailbox.messages[middle].number <= after)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Lists the mailbox anew and reads where to begin. 0: *ret_uid is of this epoch, or before all.
 * Positive: refused, and *ret_result is what the request returns. */
static int begin(struct remote_session *session, struct span word, struct remote_uid *ret_uid,
                 int *ret_result)
{
    struct remote_uid uid = { 0, 0 };

    if (word.size > 0 && !remote_uid_parse(word, true, &uid)) {
        *ret_result = remote_refuse(session, "[SYNTAX] a uid is 8 of 0-9a-f, a dot and a number");
        return 1;
    }
    if (remote_mail_refresh(session) < 0) {
        *ret_result = remote_refuse_store(session);
        return 1;
    }
    if (uid.number > 0 && uid.epoch != session->mailbox.epoch) {
        char words[64];

        snprintf(words, sizeof(words), "[NOSUCH] epoch %08x", session->mailbox.epoch);
        *ret_result = remote_refuse(session, words);
        return 1;
    }
    *ret_uid = uid;
    return 0;
}

int remote_do_list(struct remote_session *session, struct span args)
{
    struct remote_uid after;
    int r = 0;

    if (begin(session, args, &after, &r) != 0)
        return r;
    session->next = find_after(session, after.number);
    session->done = 0;
    session->state = REMOTE_LISTING;
    return 0;
}

/* Inside the message `uid` itself, which must be there and have that many octets. */
static int begin_inside(struct remote_session *session, struct remote_uid uid, uint64_t offset)
{
    size_t index = find_after(session, uid.number - 1);
    uint64_t octets;
    int r = -ENOENT;

    if (index < session->mailbox.count && session->mailbox.messages[index].number == uid.number)
        r = session->caller->open_message(session->context, index, offset, &octets);
    if (r == -ENOENT)
        return remote_refuse(session, "[NOSUCH] message");
    if (r == -ERANGE)
        return remote_refuse(session, "[NOSUCH] offset");
    if (r < 0)
        return remote_refuse(session, "[TEMP] this message cannot be read now");
    session->next = index;
    session->offset = offset;
    session->state = REMOTE_PULLING;
    return 0;
}

int remote_do_pull(struct remote_session *session, struct span args)
{
    struct span word = span_take_word(&args), second = span_take_word(&args);
    struct remote_uid uid;
    uint64_t offset = 0;
    int r = 0;

    if (second.size > 0 && (!span_parse_u64(second, &offset) || span_equal(word, SPAN_LIT("0"))))
        return remote_refuse(session, "[SYNTAX] an offset is a number of octets of one message");
    if (begin(session, word, &uid, &r) != 0)
        return r;
    session->done = session->offset = 0;
    if (second.size > 0)
        return begin_inside(session, uid, offset);
    session->next = find_after(session, uid.number);
    session->state = REMOTE_PULLING;
    return 0;
}

/* ---- ACK and SYNC ---- */

/* Not answered. What cannot be a uid shows that the two are of different minds about what was
 * deleted. */
int remote_do_ack(struct remote_session *session, struct span args)
{
    struct remote_uid uid;
    size_t index;

    if (!remote_uid_parse(args, false, &uid))
        return remote_refuse_and_end(session, "[SYNTAX] ACK needs a uid");
    index = find_after(session, uid.number - 1);
    if (uid.epoch == session->mailbox.epoch && index < session->mailbox.count &&
        session->mailbox.messages[index].number == uid.number)
        session->mailbox.messages[index].deleted = true;
    return 0;
}

static int answer_sync(struct remote_session *session)
{
    uint64_t deleted;

    if (session->caller->complete(session->context, &deleted) < 0)
        return remote_refuse(session, "[TEMP] the deletion cannot be made durable now");
    return remote_reply(session, "+ SYNC %llu", (unsigned long long)deleted);
}

int remote_do_sync(struct remote_session *session, struct span args)
{
    (void)args;
    if (session->state != REMOTE_PULLING)
        return answer_sync(session);
    session->syncs++;
    return 0;
}

/* ---- WAIT ---- */

int remote_do_wait(struct remote_session *session, struct span args)
{
    uint64_t seconds;

    if (!span_parse_u64(args, &seconds))
        return remote_refuse(session, "[SYNTAX] WAIT needs a number of seconds");
    session->state = REMOTE_WAITING;
    session->caller->wait(session->context,
                          seconds < REMOTE_WAIT_MAX ? (uint32_t)seconds : REMOTE_WAIT_MAX);
    return 0;
}

static int end_wait(struct remote_session *session, const char *words)
{
    session->state = REMOTE_READY;
    return remote_reply(session, "+ %s", words);
}

int remote_mail_look(struct remote_session *session, bool over)
{
    int r = 0;

    if (session->state != REMOTE_WAITING)
        return 0;
    if (remote_mail_refresh(session) == 0 && last_number(session) > session->seen) {
        session->seen = last_number(session);
        r = end_wait(session, "NEW");
    } else if (over) {
        r = end_wait(session, "NONE");
    }
    return r;
}

int remote_session_wake(struct remote_session *session, bool over)
{
    int r = remote_mail_look(session, over);

    return r == 0 ? REMOTE_MORE : r;
}

/* ---- the pump ---- */

bool remote_session_pumping(const struct remote_session *session)
{
    return session->state == REMOTE_LISTING || session->state == REMOTE_PULLING;
}

/* The LIST or PULL is over; the kept request has its turn. */
static int finish(struct remote_session *session, const char *verb)
{
    int r = remote_reply(session, "+ %s %llu", verb, (unsigned long long)session->done);

    session->seen = last_number(session);
    session->state = REMOTE_READY;
    if (r < 0 || !session->is_kept)
        return r;
    session->is_kept = session->quitting = false;
    return remote_run_request(session, span_of(session->kept, session->kept_size));
}

static int pump_list(struct remote_session *session)
{
    int r = 0;

    for (unsigned i = 0; r == 0 && i < LINES_PER_PUMP && session->next < session->mailbox.count;
         i++) {
        const struct maildrop_message *message = &session->mailbox.messages[session->next++];

        r = remote_reply(session, "* %s %llu", message->uid, (unsigned long long)message->octets);
        session->done++;
    }
    return r == 0 && session->next == session->mailbox.count ? finish(session, "LIST") : r;
}

static int answer_syncs(struct remote_session *session)
{
    int r = 0;

    for (; r == 0 && session->syncs > 0; session->syncs--)
        r = answer_sync(session);
    return r;
}

static int begin_frame(struct remote_session *session)
{
    char room[128];
    struct text head = TEXT_OVER(room);
    struct remote_frame frame = { .offset = session->offset };
    int r =
        session->caller->open_message(session->context, session->next, frame.offset, &frame.octets);

    if (r == -ENOENT) { /* another client has removed it meanwhile */
        session->next++;
        session->offset = 0;
        return 0;
    }
    if (r < 0)
        return r;
    frame.uid = (struct remote_uid){ session->mailbox.epoch,
                                     session->mailbox.messages[session->next].number };
    remote_frame_put_head(&head, &frame);
    session->inside = true;
    return session->caller->write(session->context, text_span(&head));
}

static int end_frame(struct remote_session *session, const char *digest)
{
    char room[256];
    struct text tail = TEXT_OVER(room);
    struct remote_uid uid = { session->mailbox.epoch,
                              session->mailbox.messages[session->next].number };

    remote_frame_put_tail(&tail, uid, span_of(digest, REMOTE_DIGEST_MAX));
    session->inside = false;
    session->offset = 0;
    session->next++;
    session->done++;
    session->pulled++;
    return session->caller->write(session->context, text_span(&tail));
}

static int pump_pull(struct remote_session *session)
{
    char digest[REMOTE_DIGEST_MAX];
    int r;

    if (session->inside) {
        r = session->caller->send_piece(session->context, digest);
        if (r != REMOTE_PIECE_LAST)
            return r == REMOTE_PIECE_MORE ? 0 : r;
        r = end_frame(session, digest);
        return r == 0 ? answer_syncs(session) : r;
    }
    r = answer_syncs(session);
    if (r != 0)
        return r;
    /* Deleted: acknowledged while it was waiting here, by a client that had it already. */
    while (session->next < session->mailbox.count &&
           session->mailbox.messages[session->next].deleted) {
        session->next++;
        session->offset = 0;
    }
    if (session->next == session->mailbox.count || session->quitting)
        return finish(session, "PULL");
    return begin_frame(session);
}

int remote_session_pump(struct remote_session *session)
{
    int r = 0;

    if (session->state == REMOTE_LISTING)
        r = pump_list(session);
    else if (session->state == REMOTE_PULLING)
        r = pump_pull(session);
    return r == 0 ? REMOTE_MORE : r;
}

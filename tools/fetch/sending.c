/* The outbox of a run.
 *
 * Happy path: an item is sent, DONE is its answer, the outbox lets it go. What an earlier run had
 * begun is asked about first, and goes on where the server has got to. What the server refuses for
 * now stays in the outbox; what it refuses for good leaves it, with the reason; local recipients
 * and others, which it takes in messages of their own only, are split. */
#include "tools/fetch/sending.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define OWN_MESSAGES "messages of their own: <" /* what stands before the address that is told */

static void put_out(void *context, const char *name, const char *words)
{
    report_refusal(context, name, words);
}

static void leave_alone(void *context, const char *name, const char *words)
{
    report_waiting(context, name, words);
}

int sending_open(struct sending *sending, const struct outbox_options *options,
                 struct report *report)
{
    struct outbox_options copy = *options;

    *sending = (struct sending){ .report = report };
    copy.refused = put_out;
    copy.waits = leave_alone;
    copy.context = report;
    return options->folder ? outbox_open(&copy, &sending->outbox) : 0;
}

void sending_close(struct sending *sending)
{
    if (sending->outbox)
        outbox_close(sending->outbox);
    free(sending->states);
    free(sending->put_off);
    *sending = (struct sending){ .outbox = NULL };
}

static void forget(struct sending *sending)
{
    sending->count = 0;
    sending->split_at[0] = '\0';
    sending->stale = false;
    if (sending->put_off_count == 0)
        sending->later[0] = '\0';
}

void sending_retry(struct sending *sending)
{
    sending->put_off_count = 0;
}

static bool is_put_off(const struct sending *sending, const char *id)
{
    for (size_t i = 0; i < sending->put_off_count; i++)
        if (strcmp(sending->put_off[i], id) == 0)
            return true;
    return false;
}

static enum sending_stage first_stage(const struct sending *sending, const struct outbox_item *item)
{
    if (is_put_off(sending, item->id))
        return SENDING_LATER;
    return item->begun ? SENDING_TO_ASK : SENDING_FRESH;
}

static int make_states(struct sending *sending, size_t count)
{
    struct sending_item *states = realloc(sending->states, (count + 1) * sizeof(*states));

    if (!states)
        return -ENOMEM;
    sending->states = states;
    sending->count = count;
    for (size_t i = 0; i < count; i++)
        states[i] = (struct sending_item){ .stage = first_stage(sending, &sending->items[i]) };
    return 0;
}

static int scan(struct sending *sending)
{
    size_t count = 0;
    int r;

    forget(sending);
    sending->resting = false;
    if (!sending->outbox)
        return 0;
    r = outbox_scan(sending->outbox, &sending->items, &count);
    if (r == -EBUSY) {
        snprintf(sending->later, sizeof(sending->later), "another run has the outbox");
        return 0;
    }
    return r < 0 ? r : make_states(sending, count);
}

int sending_scan(struct sending *sending)
{
    sending->logged_in = false;
    sending->limit_bytes = sending->kept = 0;
    return scan(sending);
}

void sending_rest(struct sending *sending)
{
    if (!sending->outbox)
        return;
    outbox_end(sending->outbox);
    outbox_unlock(sending->outbox);
    sending->items = NULL;
    sending->count = 0;
    sending->resting = true;
}

int sending_watch(struct sending *sending)
{
    int fd = sending->outbox ? outbox_watch(sending->outbox) : -1;

    return fd < 0 ? -1 : fd;
}

static bool is_open(enum sending_stage stage)
{
    return stage == SENDING_FRESH || stage == SENDING_TO_ASK || stage == SENDING_ASKED ||
           stage == SENDING_KNOWN;
}

bool sending_any(const struct sending *sending)
{
    for (size_t i = 0; i < sending->count; i++)
        if (is_open(sending->states[i].stage))
            return true;
    return false;
}

void sending_left(const struct sending *sending, struct report_count *ret_left)
{
    *ret_left = (struct report_count){ 0, 0 };
    for (size_t i = 0; i < sending->count; i++) {
        if (!is_open(sending->states[i].stage) && sending->states[i].stage != SENDING_SENT)
            continue;
        ret_left->messages++;
        ret_left->octets += sending->items[i].octets - sending->states[i].offset;
    }
}

/* ---- what the server will not have ---- */

static int give_up(struct sending *sending, size_t index, const char *words)
{
    sending->states[index].stage = SENDING_SETTLED;
    report_refusal(sending->report, sending->items[index].name, words);
    return outbox_refused(sending->outbox, index, words);
}

static int put_off(struct sending *sending, size_t index, const char *words)
{
    const struct outbox_item *item = &sending->items[index];
    void *grown =
        realloc(sending->put_off, (sending->put_off_count + 1) * sizeof(sending->put_off[0]));

    if (!grown)
        return -ENOMEM;
    sending->put_off = grown;
    memcpy(sending->put_off[sending->put_off_count++], item->id, sizeof(item->id));
    sending->states[index].stage = SENDING_LATER;
    snprintf(sending->later, sizeof(sending->later), "%.60s: %.150s", item->name, words);
    return 0;
}

/* The offset that it tells is the right one; without one the message is asked about again. Once. */
static int settle_conflict(struct sending *sending, size_t index, struct span words,
                           const char *told)
{
    struct sending_item *item = &sending->states[index];
    uint64_t octets;

    if (item->conflict)
        return give_up(sending, index, told);
    item->conflict = true;
    item->stage = SENDING_TO_ASK;
    if (span_parse_u64(words, &octets) && octets <= sending->items[index].octets) {
        item->stage = SENDING_KNOWN;
        item->offset = octets;
    }
    return 0;
}

/* "... messages of their own: <address>" */
static bool wants_split(struct sending *sending, size_t index, struct span words)
{
    size_t at = span_search(words, SPAN_LIT(OWN_MESSAGES));
    struct span address = span_skip(words, at + strlen(OWN_MESSAGES));
    size_t end = span_find(address, '>');

    if (at == words.size || end == address.size)
        return false;
    sending->states[index].stage = SENDING_SPLIT;
    if (sending->split_at[0])
        return true; /* after the first */
    sending->split = index;
    snprintf(sending->split_at, sizeof(sending->split_at), "%.*s", (int)end,
             (const char *)address.data);
    return true;
}

static bool is_code(struct span code, const char *name)
{
    return span_equal_nocase(code, span_of_text(name));
}

int sending_refused(struct sending *sending, size_t index, struct span code, struct span words)
{
    bool too_big = sending->limit_bytes > 0 && sending->items[index].octets > sending->limit_bytes;
    char room[512];
    struct text told = TEXT_OVER(room);

    text_put_escaped(&told, words, 400);
    text_str(&told);
    if (is_code(code, "TEMP") || is_code(code, "STATE") || (is_code(code, "LIMIT") && !too_big))
        return put_off(sending, index, room);
    if (is_code(code, "CONFLICT"))
        return settle_conflict(sending, index, words, room);
    if (is_code(code, "PERM") && wants_split(sending, index, words))
        return 0;
    return give_up(sending, index, room);
}

/* ---- what it has ---- */

int sending_pushed(struct sending *sending, size_t index)
{
    sending->states[index].stage = SENDING_SETTLED;
    sending->report->sent.messages++;
    return outbox_done(sending->outbox, index);
}

int sending_had(struct sending *sending, size_t index, bool done, uint64_t octets)
{
    struct sending_item *item = &sending->states[index];

    if (done)
        return sending_pushed(sending, index);
    item->stage = SENDING_KNOWN;
    sending->kept += octets;
    item->offset = octets <= sending->items[index].octets ? octets : 0;
    return 0;
}

/* ---- what is said ---- */

bool sending_next_have(struct sending *sending, size_t *ret_index, struct span *ret_id)
{
    for (size_t i = 0; i < sending->count; i++) {
        if (sending->states[i].stage != SENDING_TO_ASK)
            continue;
        sending->states[i].stage = SENDING_ASKED;
        *ret_index = i;
        *ret_id = span_of_text(sending->items[i].id);
        return true;
    }
    return false;
}

/* 0: it is there, and on record. -EAGAIN: not to be sent now. */
static int begin(struct sending *sending, size_t index)
{
    struct sending_item *item = &sending->states[index];
    int r;

    if (sending->limit_bytes > 0 && sending->items[index].octets > sending->limit_bytes) {
        r = give_up(sending, index, "the message is larger than the server takes");
        return r < 0 ? r : -EAGAIN;
    }
    r = outbox_begin(sending->outbox, index, item->offset);
    if (r == 0)
        item->stage = SENDING_SENT;
    if (r != -ENOENT && r != -ESTALE)
        return r;
    item->stage = SENDING_SETTLED; /* or something else under the same name: looked at again */
    sending->stale = sending->stale || r == -ESTALE;
    return -EAGAIN;
}

static void describe(const struct sending *sending, size_t index, struct dialogue_push *ret_push)
{
    const struct outbox_item *item = &sending->items[index];

    *ret_push = (struct dialogue_push){ .index = index,
                                        .id = span_of_text(item->id),
                                        .digest = span_of_text(item->digest),
                                        .envelope = span_of_text(item->envelope),
                                        .octets = item->octets,
                                        .offset = sending->states[index].offset };
}

int sending_next_push(struct sending *sending, struct dialogue_push *ret_push)
{
    bool hold = false;

    for (size_t i = 0; i < sending->count; i++) {
        enum sending_stage stage = sending->states[i].stage;
        int r;

        hold = hold || is_open(stage);
        if (!sending->logged_in || (stage != SENDING_FRESH && stage != SENDING_KNOWN))
            continue;
        r = begin(sending, i);
        if (r == 0)
            describe(sending, i, ret_push);
        if (r != -EAGAIN)
            return r < 0 ? r : DIALOGUE_PUSH;
    }
    return hold && sending_any(sending) ? DIALOGUE_HOLD : DIALOGUE_NONE;
}

int sending_read(struct sending *sending, unsigned char *into, size_t room, size_t *ret_size)
{
    int r = outbox_read(sending->outbox, into, room, ret_size);

    if (r == 0)
        sending->report->sent.octets += *ret_size;
    return r;
}

/* ---- before it would wait or quit ---- */

static int carry_out_split(struct sending *sending)
{
    size_t index = sending->split;
    int r = outbox_split(sending->outbox, index, sending->split_at);

    sending->split_at[0] = '\0';
    if (r == -EINVAL)
        return give_up(sending, index, "its recipients need messages of their own");
    return r;
}

bool sending_more(struct sending *sending)
{
    bool splits = sending->split_at[0] != '\0';

    if (!splits && !sending->stale && !sending->resting)
        return sending_any(sending);
    if ((!splits || carry_out_split(sending) >= 0) && scan(sending) == 0)
        return sending_any(sending);
    snprintf(sending->later, sizeof(sending->later), "the outbox cannot be read or written now");
    return false;
}

/* What the client of Remote Mail says: one function for each state, in a table.
 *
 * Happy path: hello, uploads, pull, acknowledgements while it streams, the end or a wait. Nothing
 * is said that the output has no room for; it comes with the next call. Ends early where the caller
 * does, and where name and password are longer than a line. Each function returns 0, a
 * dialogue_result, or -errno. */
#include "tools/fetch/dialogue_private.h"

#include <errno.h>
#include <stdio.h>

#define LINE_ROOM     REMOTE_LINE_MAX
#define ENVELOPE_ROOM 81920 /* of an envelope of 64 KiB, whose lines get a CR each */
#define BODY_ROOM     16384 /* less free room than this is not worth a read */

/* ---- output ---- */

static size_t room_left(const struct dialogue *dialogue)
{
    return sizeof(dialogue->out) - (dialogue->out_end - dialogue->out_start);
}

/* All that is free, in one piece. */
static void make_room(struct dialogue *dialogue)
{
    size_t size = dialogue->out_end - dialogue->out_start;

    if (dialogue->out_start == 0)
        return;
    memmove(dialogue->out, dialogue->out + dialogue->out_start, size);
    dialogue->out_start = 0;
    dialogue->out_end = size;
}

struct span dialogue_output(const struct dialogue *dialogue)
{
    return span_of(dialogue->out + dialogue->out_start, dialogue->out_end - dialogue->out_start);
}

/* What has gone is wiped: the password was in it. */
void dialogue_sent(struct dialogue *dialogue, size_t size)
{
    if (!dialogue->logged_in)
        explicit_bzero(dialogue->out + dialogue->out_start, size);
    dialogue->out_start += size;
    if (dialogue->out_start == dialogue->out_end)
        dialogue->out_start = dialogue->out_end = 0;
}

/* The room was looked at before. */
static void say(struct dialogue *dialogue, struct text *line)
{
    memcpy(dialogue->out + dialogue->out_end, line->data, line->size);
    dialogue->out_end += line->size;
}

static void say_word(struct dialogue *dialogue, const char *word)
{
    char room[LINE_ROOM];
    struct text line = TEXT_OVER(room);

    text_printf(&line, "%s\r\n", word);
    say(dialogue, &line);
}

static bool can_ask(struct dialogue *dialogue, size_t room)
{
    make_room(dialogue);
    return room_left(dialogue) >= room && dialogue->pending_count < DIALOGUE_PENDING;
}

static void expect_upload(struct dialogue *dialogue, enum request_kind request, size_t index,
                          struct span id)
{
    size_t at = (dialogue->pending_first + dialogue->pending_count++) % DIALOGUE_PENDING;
    struct dialogue_pending *pending = &dialogue->pending[at];

    *pending = (struct dialogue_pending){ (uint8_t)request, index, "" };
    memcpy(pending->id, id.data, id.size < REMOTE_UPLOAD_MAX ? id.size : REMOTE_UPLOAD_MAX);
}

static void expect(struct dialogue *dialogue, enum request_kind request)
{
    expect_upload(dialogue, request, 0, SPAN_LIT(""));
}

/* ---- what is said in each state ---- */

static int say_login(struct dialogue *dialogue)
{
    const struct dialogue_facts *facts = dialogue->facts;
    char plain[LINE_ROOM], room[LINE_ROOM];
    struct text response = TEXT_OVER(plain), line = TEXT_OVER(room);

    text_put(&response, SPAN_LIT("\0"));
    text_put(&response, facts->user);
    text_put(&response, SPAN_LIT("\0"));
    text_put(&response, facts->password);
    text_puts(&line, "AUTH PLAIN ");
    text_put_base64(&line, text_span(&response));
    text_puts(&line, "\r\n");
    if (!line.overflow && !response.overflow)
        say(dialogue, &line);
    explicit_bzero(plain, sizeof(plain));
    explicit_bzero(room, sizeof(room));
    if (line.overflow || response.overflow) {
        snprintf(dialogue->words, sizeof(dialogue->words), "name and password are too long");
        return DIALOGUE_LOGIN;
    }
    expect(dialogue, REQUEST_AUTH);
    dialogue->state = DIALOGUE_UPLOADS;
    return 0;
}

static int say_hello(struct dialogue *dialogue)
{
    char room[LINE_ROOM];
    struct text line = TEXT_OVER(room);

    text_printf(&line, "RM/1 %s id=%.16s\r\n", dialogue->facts->agent, dialogue->facts->mirror);
    say(dialogue, &line);
    expect(dialogue, REQUEST_GREETING);
    dialogue->state = DIALOGUE_GREETED;
    return dialogue->facts->one_flight ? say_login(dialogue) : 0;
}

static int say_after_greeting(struct dialogue *dialogue)
{
    return dialogue->greeted ? say_login(dialogue) : 0;
}

static int say_acks(struct dialogue *dialogue)
{
    struct remote_uid uid;

    make_room(dialogue);
    while (room_left(dialogue) >= 2 * LINE_ROOM &&
           dialogue->caller->next_ack(dialogue->context, &uid)) {
        char room[LINE_ROOM];
        struct text line = TEXT_OVER(room);

        text_puts(&line, "ACK ");
        remote_uid_put(&line, uid);
        text_puts(&line, "\r\n");
        say(dialogue, &line);
    }
    return 0;
}

static bool say_haves(struct dialogue *dialogue)
{
    size_t index;
    struct span id;

    while (can_ask(dialogue, LINE_ROOM)) {
        char room[LINE_ROOM];
        struct text line = TEXT_OVER(room);

        if (!dialogue->caller->next_have(dialogue->context, &index, &id))
            return true;
        text_puts(&line, "HAVE ");
        text_put(&line, id);
        text_puts(&line, "\r\n");
        say(dialogue, &line);
        expect_upload(dialogue, REQUEST_HAVE, index, id);
    }
    return false;
}

/* The line of PUSH and the envelope, whose lines get their CRs. */
static void say_push(struct dialogue *dialogue, const struct dialogue_push *push)
{
    struct text line = { (char *)dialogue->out + dialogue->out_end, 0,
                         sizeof(dialogue->out) - dialogue->out_end, false };
    struct span rest = push->envelope;

    text_puts(&line, "PUSH ");
    text_put(&line, push->id);
    text_printf(&line, " %llu ", (unsigned long long)push->octets);
    text_put(&line, push->digest);
    if (push->offset > 0)
        text_printf(&line, " %llu", (unsigned long long)push->offset);
    text_puts(&line, "\r\n");
    while (rest.size > 0) {
        size_t size = span_find(rest, '\n');

        text_put(&line, span_first(rest, size));
        text_puts(&line, "\r\n");
        rest = span_skip(rest, size + 1);
    }
    text_puts(&line, "\r\n");
    dialogue->out_end += line.size;
    expect_upload(dialogue, REQUEST_PUSH, push->index, push->id);
    dialogue->push_index = push->index;
    dialogue->push_left = push->octets - push->offset;
    dialogue->pushing = dialogue->push_left > 0;
}

static int say_body(struct dialogue *dialogue)
{
    while (dialogue->pushing) {
        size_t room, size = 0;
        int r;

        make_room(dialogue);
        room = room_left(dialogue);
        if (room < BODY_ROOM)
            return 0;
        r = dialogue->caller->read(dialogue->context, dialogue->out + dialogue->out_end,
                                   room < dialogue->push_left ? room : (size_t)dialogue->push_left,
                                   &size);
        if (r != 0)
            return r;
        if (size == 0) /* less than was announced */
            return -ESTALE;
        dialogue->out_end += size;
        dialogue->push_left -= size;
        dialogue->pushing = dialogue->push_left > 0;
    }
    return 0;
}

static int say_uploads(struct dialogue *dialogue)
{
    struct dialogue_push push;
    int r;

    if (!dialogue->pushing)
        say_acks(dialogue);
    for (;;) {
        r = say_body(dialogue);
        if (r != 0 || dialogue->pushing || !say_haves(dialogue) ||
            !can_ask(dialogue, ENVELOPE_ROOM))
            return r;
        r = dialogue->caller->next_push(dialogue->context, &push);
        if (r == DIALOGUE_NONE) {
            dialogue->state = DIALOGUE_PULL;
            return 0;
        }
        if (r != DIALOGUE_PUSH)
            return r == DIALOGUE_HOLD ? 0 : r;
        if (!dialogue->logged_in)
            return -EINVAL; /* the caller has been told that it is too early */
        say_push(dialogue, &push);
    }
}

static int say_pull(struct dialogue *dialogue)
{
    char room[LINE_ROOM];
    struct text line = TEXT_OVER(room);
    struct remote_uid uid;
    uint64_t offset = 0;

    say_acks(dialogue);
    if (!can_ask(dialogue, LINE_ROOM))
        return 0;
    dialogue->inside_part = dialogue->caller->where(dialogue->context, &uid, &offset);
    text_puts(&line, "PULL");
    if (uid.number > 0) {
        text_puts(&line, " ");
        remote_uid_put(&line, uid);
    }
    if (dialogue->inside_part)
        text_printf(&line, " %llu", (unsigned long long)offset);
    text_puts(&line, "\r\n");
    say(dialogue, &line);
    expect(dialogue, REQUEST_PULL);
    dialogue->frames = 0;
    dialogue->state = DIALOGUE_PULLING;
    return 0;
}

static int say_end(struct dialogue *dialogue)
{
    char room[LINE_ROOM];
    struct text line = TEXT_OVER(room);

    if (dialogue->pending_count > 0)
        return 0;
    if (dialogue->caller->more_uploads(dialogue->context)) {
        dialogue->state = DIALOGUE_UPLOADS;
        return say_uploads(dialogue);
    }
    say_acks(dialogue);
    if (!can_ask(dialogue, 3 * LINE_ROOM))
        return 0;
    if (dialogue->facts->sync) {
        say_word(dialogue, "SYNC");
        expect(dialogue, REQUEST_SYNC);
    }
    if (dialogue->facts->watch)
        text_printf(&line, "WAIT %u", dialogue->wait_seconds);
    else
        text_puts(&line, "QUIT");
    say_word(dialogue, text_str(&line));
    expect(dialogue, dialogue->facts->watch ? REQUEST_WAIT : REQUEST_QUIT);
    dialogue->state = dialogue->facts->watch ? DIALOGUE_WAITING : DIALOGUE_QUITTING;
    if (dialogue->facts->watch)
        dialogue->caller->waiting(dialogue->context, true);
    return 0;
}

static int say_nothing(struct dialogue *dialogue)
{
    (void)dialogue;
    return 0;
}

static int (*const states[DIALOGUE_STATES])(struct dialogue *dialogue) = {
    [DIALOGUE_HELLO] = say_hello,     [DIALOGUE_GREETED] = say_after_greeting,
    [DIALOGUE_UPLOADS] = say_uploads, [DIALOGUE_PULL] = say_pull,
    [DIALOGUE_PULLING] = say_acks,    [DIALOGUE_ENDING] = say_end,
    [DIALOGUE_WAITING] = say_nothing, [DIALOGUE_QUITTING] = say_nothing,
};

int dialogue_fill(struct dialogue *dialogue)
{
    enum dialogue_state before;
    int r;

    do {
        before = dialogue->state;
        r = states[before](dialogue);
    } while (r == 0 && dialogue->state != before);
    return r == 0 ? DIALOGUE_MORE : r;
}

/* The client's side of Remote Mail.
 *
 * Two tables. `states` is what is written in each state; `requests` is what each answer means.
 * Happy path: hello, uploads, pull, ending, waiting or quitting, BYE. It ends early where a login
 * or a pull is refused, where an answer is none (-EPROTO), and where a large upload is refused in
 * its middle (DIALOGUE_AGAIN: what the server would not read is not sent). */
#include "tools/fetch/dialogue.h"

#include <errno.h>
#include <stdio.h>

#define LINE_ROOM     REMOTE_LINE_MAX
#define ENVELOPE_ROOM 81920 /* of an envelope of 64 KiB, whose lines get a CR each */
#define BODY_ROOM     16384 /* less free room than this is not worth a read */
#define WAIT_SECONDS  1740
#define PULLS_REFUSED 3 /* one after another, and the server does not know what it says */

enum request_kind {
    REQUEST_GREETING,
    REQUEST_AUTH,
    REQUEST_HAVE,
    REQUEST_PUSH,
    REQUEST_PULL,
    REQUEST_SYNC,
    REQUEST_WAIT,
    REQUEST_QUIT,
    REQUEST_KINDS,
};

/* Each of these and of what stands in the tables returns 0, a dialogue_result, or -errno. */

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

static void expect(struct dialogue *dialogue, enum request_kind request, size_t index)
{
    size_t at = (dialogue->pending_first + dialogue->pending_count++) % DIALOGUE_PENDING;

    dialogue->pending[at] = (struct dialogue_pending){ (uint8_t)request, index };
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
    expect(dialogue, REQUEST_AUTH, 0);
    dialogue->state = DIALOGUE_UPLOADS;
    return 0;
}

static int say_hello(struct dialogue *dialogue)
{
    char room[LINE_ROOM];
    struct text line = TEXT_OVER(room);

    text_printf(&line, "RM/1 %s id=%.16s\r\n", dialogue->facts->agent, dialogue->facts->mirror);
    say(dialogue, &line);
    expect(dialogue, REQUEST_GREETING, 0);
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
        expect(dialogue, REQUEST_HAVE, index);
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
    expect(dialogue, REQUEST_PUSH, push->index);
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
    expect(dialogue, REQUEST_PULL, 0);
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
        expect(dialogue, REQUEST_SYNC, 0);
    }
    if (dialogue->facts->watch)
        text_printf(&line, "WAIT %d", WAIT_SECONDS);
    else
        text_puts(&line, "QUIT");
    say_word(dialogue, text_str(&line));
    expect(dialogue, dialogue->facts->watch ? REQUEST_WAIT : REQUEST_QUIT, 0);
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

/* ---- what is answered ---- */

static int misunderstood(struct dialogue *dialogue, struct span line)
{
    struct text words = TEXT_OVER(dialogue->words);

    text_put_escaped(&words, line, 100);
    text_str(&words);
    return -EPROTO;
}

/* "[CODE] words", kept for the owner. */
static void keep_words(struct dialogue *dialogue, struct span words)
{
    struct text kept = TEXT_OVER(dialogue->words);

    text_put_escaped(&kept, words, 100);
    text_str(&kept);
}

static int on_greeting(struct dialogue *dialogue, size_t index, struct span rest)
{
    struct span word;
    uint64_t limit = 0;

    (void)index;
    span_take_word(&rest); /* who it is */
    while ((word = span_take_word(&rest)).size > 0)
        if (span_starts_nocase(word, SPAN_LIT("SIZE=")))
            span_parse_u64(span_skip(word, 5), &limit);
    dialogue->greeted = true;
    return dialogue->caller->greeted(dialogue->context, limit);
}

/* "n messages m octets" */
static int on_login(struct dialogue *dialogue, size_t index, struct span rest)
{
    uint64_t messages = 0, octets = 0;

    (void)index;
    if (!span_parse_u64(span_take_word(&rest), &messages))
        return misunderstood(dialogue, rest);
    span_take_word(&rest);
    if (!span_parse_u64(span_take_word(&rest), &octets))
        return misunderstood(dialogue, rest);
    dialogue->logged_in = true;
    return dialogue->caller->logged_in(dialogue->context, messages, octets);
}

/* "id DONE" or "id octets" */
static int on_have(struct dialogue *dialogue, size_t index, struct span rest)
{
    uint64_t octets = 0;
    struct span word;
    bool done;

    span_take_word(&rest);
    word = span_take_word(&rest);
    done = span_equal(word, SPAN_LIT("DONE"));
    if (!done && !span_parse_u64(word, &octets))
        return misunderstood(dialogue, word);
    return dialogue->caller->had(dialogue->context, index, done, octets);
}

/* An answer that came while its body is being written: the server reads no more than a little. */
static int go_on(const struct dialogue *dialogue, size_t index)
{
    return dialogue->pushing && dialogue->push_index == index &&
                   dialogue->push_left > DIALOGUE_FINISH_MAX
               ? DIALOGUE_AGAIN
               : 0;
}

static int on_pushed(struct dialogue *dialogue, size_t index, struct span rest)
{
    int r;

    span_take_word(&rest);
    if (!span_equal(rest, SPAN_LIT("DONE")))
        return misunderstood(dialogue, rest);
    r = dialogue->caller->pushed(dialogue->context, index);
    return r == 0 ? go_on(dialogue, index) : r;
}

static int on_pulled(struct dialogue *dialogue, size_t index, struct span rest)
{
    uint64_t frames = 0;

    (void)index;
    if (!span_parse_u64(rest, &frames) || frames != dialogue->frames)
        return misunderstood(dialogue, rest);
    dialogue->pull_refusals = 0;
    dialogue->state = DIALOGUE_ENDING;
    return dialogue->caller->pulled(dialogue->context);
}

static int on_synced(struct dialogue *dialogue, size_t index, struct span rest)
{
    (void)index;
    (void)rest;
    return dialogue->caller->synced(dialogue->context);
}

/* NEW or NONE: either way it is worth a look. */
static int on_waited(struct dialogue *dialogue, size_t index, struct span rest)
{
    bool is_new = span_equal(rest, SPAN_LIT("NEW"));

    (void)index;
    if (!is_new && !span_equal(rest, SPAN_LIT("NONE")))
        return misunderstood(dialogue, rest);
    dialogue->caller->waiting(dialogue->context, false);
    if (dialogue->state == DIALOGUE_WAITING)
        dialogue->state = is_new ? DIALOGUE_PULL : DIALOGUE_ENDING;
    return 0;
}

static int on_bye(struct dialogue *dialogue, size_t index, struct span rest)
{
    (void)dialogue;
    (void)index;
    (void)rest;
    return DIALOGUE_DONE;
}

/* ---- what is refused ---- */

static bool is_code(struct span code, const char *name)
{
    return span_equal_nocase(code, span_of_text(name));
}

static int refuse_all(struct dialogue *dialogue, size_t index, struct span code, struct span words)
{
    (void)index;
    (void)words;
    (void)dialogue;
    return is_code(code, "TEMP") || is_code(code, "LIMIT") ? DIALOGUE_LATER : DIALOGUE_REFUSED;
}

static int refuse_login(struct dialogue *dialogue, size_t index, struct span code,
                        struct span words)
{
    return is_code(code, "AUTH") ? DIALOGUE_LOGIN : refuse_all(dialogue, index, code, words);
}

/* "PUSH id words" */
static int refuse_push(struct dialogue *dialogue, size_t index, struct span code, struct span words)
{
    int r;

    span_take_word(&words);
    span_take_word(&words);
    r = dialogue->caller->refused(dialogue->context, index, code, words);
    return r == 0 ? go_on(dialogue, index) : r;
}

/* A part that is not there is forgotten, and so are all numbers of another epoch; then once more.
 */
static int refuse_pull(struct dialogue *dialogue, size_t index, struct span code, struct span words)
{
    int r;

    if (!is_code(code, "NOSUCH") || dialogue->frames > 0)
        return refuse_all(dialogue, index, code, words);
    if (++dialogue->pull_refusals >= PULLS_REFUSED)
        return -EPROTO;
    r = span_starts_nocase(words, SPAN_LIT("epoch "))
            ? dialogue->caller->new_epoch(dialogue->context)
            : dialogue->caller->no_such_part(dialogue->context);
    dialogue->state = DIALOGUE_PULL;
    return r;
}

/* ---- the table ---- */

static const struct request {
    const char *verb; /* what follows "+ "; "": the words are all that is said */
    int (*done)(struct dialogue *dialogue, size_t index, struct span rest);
    int (*refused)(struct dialogue *dialogue, size_t index, struct span code, struct span words);
} requests[REQUEST_KINDS] = {
    [REQUEST_GREETING] = { "RM/1", on_greeting, refuse_all },
    [REQUEST_AUTH] = { "", on_login, refuse_login },
    [REQUEST_HAVE] = { "HAVE", on_have, refuse_all },
    [REQUEST_PUSH] = { "PUSH", on_pushed, refuse_push },
    [REQUEST_PULL] = { "PULL", on_pulled, refuse_pull },
    [REQUEST_SYNC] = { "SYNC", on_synced, refuse_all },
    [REQUEST_WAIT] = { "", on_waited, refuse_all },
    [REQUEST_QUIT] = { "BYE", on_bye, refuse_all },
};

/* "- [CODE] words" without what precedes the bracket. */
static int take_refusal(struct dialogue *dialogue, const struct dialogue_pending *pending,
                        struct span rest)
{
    struct span code = span_take_word(&rest);

    keep_words(dialogue, rest);
    if (code.size < 3 || code.data[0] != '[' || code.data[code.size - 1] != ']')
        return misunderstood(dialogue, code);
    code = span_first(span_skip(code, 1), code.size - 2);
    return requests[pending->request].refused(dialogue, pending->index, code, rest);
}

static int take_reply(struct dialogue *dialogue, struct span line)
{
    struct dialogue_pending pending = dialogue->pending[dialogue->pending_first];
    const struct request *request = &requests[pending.request];
    struct span rest = span_skip(line, 2);

    if (dialogue->pending_count == 0 || line.data[0] == '*')
        return misunderstood(dialogue, line);
    dialogue->pending_first = (dialogue->pending_first + 1) % DIALOGUE_PENDING;
    dialogue->pending_count--;
    if (line.data[0] == '-')
        return take_refusal(dialogue, &pending, rest);
    if (request->verb[0] && !span_equal_nocase(span_take_word(&rest), span_of_text(request->verb)))
        return misunderstood(dialogue, line);
    return request->done(dialogue, pending.index, rest);
}

/* A frame is part of the answer to PULL, and comes at no other time. */
static int take_frame(struct dialogue *dialogue)
{
    if (dialogue->pending_count == 0 ||
        dialogue->pending[dialogue->pending_first].request != REQUEST_PULL)
        return misunderstood(dialogue, SPAN_LIT("a message that nobody asked for"));
    dialogue->frames++;
    return dialogue->caller->frame(dialogue->context, &dialogue->reader.frame);
}

static int take(struct dialogue *dialogue, int kind, struct span got)
{
    switch ((enum remote_read)kind) {
    case REMOTE_READ_REPLY:
        return take_reply(dialogue, got);
    case REMOTE_READ_FRAME:
        return take_frame(dialogue);
    case REMOTE_READ_OCTETS:
        return dialogue->caller->octets(dialogue->context, got);
    case REMOTE_READ_DIGEST:
        return dialogue->caller->whole(dialogue->context, dialogue->reader.frame.uid, got);
    case REMOTE_READ_MORE:
        break;
    }
    return 0;
}

int dialogue_feed(struct dialogue *dialogue, struct span octets)
{
    struct span got;
    int r = 0, kind;

    while (r == 0) {
        kind = remote_reader_next(&dialogue->reader, &octets, &got);
        if (kind == REMOTE_READ_MORE)
            return DIALOGUE_MORE;
        if (kind == -EPROTO)
            return misunderstood(dialogue, SPAN_LIT("octets that are no Remote Mail"));
        r = kind < 0 ? kind : take(dialogue, kind, got);
    }
    return r;
}

void dialogue_wake(struct dialogue *dialogue)
{
    if (dialogue->state == DIALOGUE_WAITING)
        dialogue->state = DIALOGUE_UPLOADS;
}

void dialogue_init(struct dialogue *dialogue, const struct dialogue_facts *facts,
                   const struct dialogue_caller *caller, void *context)
{
    dialogue->facts = facts;
    dialogue->caller = caller;
    dialogue->context = context;
    remote_reader_init(&dialogue->reader);
    dialogue->state = DIALOGUE_HELLO;
    dialogue->greeted = dialogue->logged_in = dialogue->pushing = dialogue->inside_part = false;
    dialogue->frames = 0;
    dialogue->pull_refusals = 0;
    dialogue->pending_first = dialogue->pending_count = 0;
    dialogue->out_start = dialogue->out_end = 0;
    dialogue->words[0] = '\0';
}

void dialogue_deinit(struct dialogue *dialogue)
{
    explicit_bzero(dialogue->out, sizeof(dialogue->out));
    remote_reader_deinit(&dialogue->reader);
}

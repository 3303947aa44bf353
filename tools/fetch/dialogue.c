/* What the answers of a server of Remote Mail mean: one row of a table for each request.
 *
 * Happy path: greeted, logged in, messages, done, BYE. It ends early where a login or a pull is
 * refused, where an answer is none (-EPROTO), and where a large upload is refused in its middle
 * (DIALOGUE_AGAIN: what the server would not read is not sent). */
#include "tools/fetch/dialogue_private.h"

#include <errno.h>

#define PULLS_REFUSED 3 /* one after another, and the server does not know what it says */

/* Each of these and of what stands in the table returns 0, a dialogue_result, or -errno. */

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
    uint64_t limit = 0, wait = 0;

    (void)index;
    span_take_word(&rest); /* who it is */
    while ((word = span_take_word(&rest)).size > 0) {
        if (span_starts_nocase(word, SPAN_LIT("SIZE=")))
            span_parse_u64(span_skip(word, 5), &limit);
        if (span_starts_nocase(word, SPAN_LIT("WAIT=")))
            span_parse_u64(span_skip(word, 5), &wait);
    }
    if (wait > 0 && wait < DIALOGUE_WAIT_MAX)
        dialogue->wait_seconds = (unsigned)wait;
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

/* "DONE" or "octets" */
static int on_have(struct dialogue *dialogue, size_t index, struct span rest)
{
    uint64_t octets = 0;
    bool done;

    done = span_equal(rest, SPAN_LIT("DONE"));
    if (!done && !span_parse_u64(rest, &octets))
        return misunderstood(dialogue, rest);
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

static int refuse_push(struct dialogue *dialogue, size_t index, struct span code, struct span words)
{
    int r = dialogue->caller->refused(dialogue->context, index, code, words);

    return r == 0 ? go_on(dialogue, index) : r;
}

/* An upload that cannot be looked up now holds up nothing else. */
static int refuse_have(struct dialogue *dialogue, size_t index, struct span code, struct span words)
{
    return is_code(code, "TEMP") ? dialogue->caller->refused(dialogue->context, index, code, words)
                                 : refuse_all(dialogue, index, code, words);
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
    [REQUEST_HAVE] = { "HAVE", on_have, refuse_have },
    [REQUEST_PUSH] = { "PUSH", on_pushed, refuse_push },
    [REQUEST_PULL] = { "PULL", on_pulled, refuse_pull },
    [REQUEST_SYNC] = { "SYNC", on_synced, refuse_all },
    [REQUEST_WAIT] = { "", on_waited, refuse_all },
    [REQUEST_QUIT] = { "BYE", on_bye, refuse_all },
};

/* Takes the verb off what the server says, and the id of the upload: an answer to another one would
 * have a message go that was not sent. */
static bool take_subject(const struct dialogue_pending *pending, struct span *rest)
{
    const char *verb = requests[pending->request].verb;

    return (!verb[0] || span_equal_nocase(span_take_word(rest), span_of_text(verb))) &&
           (!pending->id[0] || span_equal(span_take_word(rest), span_of_text(pending->id)));
}

/* "- [CODE] words" without what precedes the bracket. What is refused of an upload is said with its
 * id; other words are about all that was said. */
static int take_refusal(struct dialogue *dialogue, const struct dialogue_pending *pending,
                        struct span rest)
{
    struct span code = span_take_word(&rest);

    keep_words(dialogue, rest);
    if (code.size < 3 || code.data[0] != '[' || code.data[code.size - 1] != ']')
        return misunderstood(dialogue, code);
    code = span_first(span_skip(code, 1), code.size - 2);
    if (pending->request == REQUEST_PUSH && !take_subject(pending, &rest))
        return refuse_all(dialogue, pending->index, code, rest);
    return requests[pending->request].refused(dialogue, pending->index, code, rest);
}

static int take_reply(struct dialogue *dialogue, struct span line)
{
    struct dialogue_pending pending = dialogue->pending[dialogue->pending_first];
    struct span rest = span_skip(line, 2);

    if (dialogue->pending_count == 0 || line.data[0] == '*')
        return misunderstood(dialogue, line);
    dialogue->pending_first = (dialogue->pending_first + 1) % DIALOGUE_PENDING;
    dialogue->pending_count--;
    if (line.data[0] == '-')
        return take_refusal(dialogue, &pending, rest);
    if (!take_subject(&pending, &rest))
        return misunderstood(dialogue, line);
    return requests[pending.request].done(dialogue, pending.index, rest);
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
    dialogue->wait_seconds = DIALOGUE_WAIT_MAX;
    dialogue->pending_first = dialogue->pending_count = 0;
    dialogue->out_start = dialogue->out_end = 0;
    dialogue->words[0] = '\0';
}

void dialogue_deinit(struct dialogue *dialogue)
{
    explicit_bzero(dialogue->out, sizeof(dialogue->out));
    remote_reader_deinit(&dialogue->reader);
}

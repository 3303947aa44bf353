/* Watches a POP3 session between client and backend: the client's side.
 *
 * Happy path: command lines that stand whole in the input pass in place, many at a time, and each
 * adds what its reply will be to the queue. In the middle of AUTH a line is an answer.
 *
 * Failures: a bad line is answered here, when nothing is outstanding; too many of them end the
 * session. */
#include "proxy/inspect_pop3.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/inspect_pop3_internal.h"

/* Octets of a reply's first line, with its end. RFC 1939 section 3 wants 512. */
#define REPLY_LINE_MAX 2048

int inspect_pop3_init(struct inspect_pop3 *inspect, const struct inspect_start *start)
{
    *inspect = (struct inspect_pop3){
        .rule = start->rule,
        .tls = start->tls,
        .pipelining = start->pipelining,
        .mode = POP3_MODE_COMMANDS,
        .facts = { .errors = start->errors },
    };
    line_init(&inspect->line, LINE_LENIENT, POP3_LINE_MAX);
    line_init(&inspect->reply, LINE_LENIENT, REPLY_LINE_MAX);
    auth_watch_name(&inspect->auth, start->user);
    return 0;
}

void inspect_pop3_deinit(struct inspect_pop3 *inspect)
{
    line_reset(&inspect->line);
    line_reset(&inspect->reply);
    own_release(&inspect->own);
    free(inspect->collect);
    explicit_bzero(inspect, sizeof(*inspect));
}

/* Nothing of the client may pass before the server has answered. */
static bool must_wait(const struct inspect_pop3 *inspect)
{
    if (inspect->queue.count == 0)
        return false;
    return inspect->sync || !inspect->pipelining || reply_queue_full(&inspect->queue);
}

/* See inspect_pop3.h: LF . CR LF, or LF . LF, and nothing behind it. */
static bool seems_over(const struct inspect_pop3 *inspect)
{
    return inspect->in_body && inspect->queue.count == 1 &&
           (inspect->recent == 0x0a2e0d0a || (inspect->recent & 0xffffff) == 0x0a2e0a);
}

static void expect(struct inspect_pop3 *inspect, uint8_t reply, bool sync)
{
    reply_queue_push(&inspect->queue, reply);
    inspect->sync = sync;
}

/* The command passes. */
static void note_command(struct inspect_pop3 *inspect, const struct pop3_decision *decision)
{
    struct span rest = decision->argument;

    expect(inspect, decision->reply, decision->sync);
    if (decision->names_user)
        auth_watch_name(&inspect->auth, span_take_word(&rest));
    if (decision->reply == POP3_REPLY_AUTH)
        auth_watch_begin(&inspect->auth, decision->argument);
    if (decision->reply == POP3_REPLY_LOGIN)
        auth_watch_command(&inspect->auth, decision->names_user ? AUTH_APOP : AUTH_PASS);
    if (decision->reply == POP3_REPLY_AUTH || decision->reply == POP3_REPLY_LOGIN)
        inspect->secret = true;
    if (decision->reply == POP3_REPLY_QUIT)
        inspect->facts.quit = true;
}

/* Counts a bad command. Were these too many? */
static bool count_error(struct inspect_pop3 *inspect)
{
    if (inspect->facts.errors < UINT8_MAX)
        inspect->facts.errors++;
    return inspect->facts.errors >= inspect->rule->max_errors;
}

/* A reply of our own; nothing is outstanding. */
static int say(struct inspect_pop3 *inspect, const struct pop3_decision *decision,
               struct span *ret_piece)
{
    bool too_many = decision->counted && count_error(inspect);
    struct span words = span_of_text(decision->words ? decision->words : "");
    char room[160];
    struct text wants_tls = TEXT_OVER(room);

    inspect->secret = true; /* it may have been a PASS */
    if (decision->wants_tls) {
        inspect->facts.login_in_clear = true;
        pop3_put_wants_tls(inspect->rule, &wants_tls);
        words = text_span(&wants_tls);
    }
    if (own_join(&inspect->own, words,
                 too_many ? SPAN_LIT("-ERR Too many errors\r\n") : span_of(NULL, 0)) < 0)
        return -ENOMEM;
    *ret_piece = own_span(&inspect->own);
    if (too_many)
        return pop3_close(inspect, "the client sent too many bad commands");
    if (decision->verdict == INSPECT_CLOSE)
        return pop3_close(inspect, decision->violation);
    return decision->verdict;
}

/* Does `line` stand in the input as it is to pass, with CRLF? */
static bool stands_whole(const struct line_ahead *ahead, struct span line)
{
    return ahead->raw.data && line.size == ahead->line.size && ahead->raw.size == line.size + 2;
}

/* Takes the line and passes it: in place and as part of the batch where it can be (0), else as a
 * piece of its own. */
static int pass_line(struct inspect_pop3 *inspect, struct span *in, const struct line_ahead *ahead,
                     struct span line, struct span *batch, struct span *ret_piece)
{
    if (stands_whole(ahead, line)) {
        batch_add(batch, ahead->raw);
        return line_take(&inspect->line, in, ahead);
    }
    if (own_join(&inspect->own, line, SPAN_LIT("\r\n")) < 0)
        return -ENOMEM;
    if (line_take(&inspect->line, in, ahead) < 0)
        return -ENOMEM;
    *ret_piece = own_span(&inspect->own);
    return INSPECT_FORWARD;
}

/* The line goes back whole; nothing is outstanding. */
static int hand_back(struct inspect_pop3 *inspect, struct span *in, const struct line_ahead *ahead,
                     struct span *ret_piece)
{
    if (own_join(&inspect->own, ahead->line, SPAN_LIT("\r\n")) < 0 ||
        line_take(&inspect->line, in, ahead) < 0)
        return -ENOMEM;
    *ret_piece = own_span(&inspect->own);
    return INSPECT_HAND_BACK;
}

static int take_command(struct inspect_pop3 *inspect, struct span *in,
                        const struct line_ahead *ahead, struct span *batch, struct span *ret_piece)
{
    struct pop3_decision decision = pop3_judge(inspect, ahead->line);

    if (decision.verdict != INSPECT_FORWARD) {
        if (batch->size > 0 || inspect->queue.count > 0)
            return batch_settle(batch, ret_piece, INSPECT_WAIT);
        if (decision.verdict == INSPECT_HAND_BACK)
            return hand_back(inspect, in, ahead, ret_piece);
        if (line_take(&inspect->line, in, ahead) < 0)
            return -ENOMEM;
        return say(inspect, &decision, ret_piece);
    }
    if (batch->size > 0 && !stands_whole(ahead, decision.line))
        return batch_settle(batch, ret_piece, 0);
    note_command(inspect, &decision);
    return pass_line(inspect, in, ahead, decision.line, batch, ret_piece);
}

/* RFC 5034 section 4: one line, which is no command. */
static int take_answer(struct inspect_pop3 *inspect, struct span *in,
                       const struct line_ahead *ahead, struct span *batch, struct span *ret_piece)
{
    auth_watch_answer(&inspect->auth, ahead->line);
    inspect->mode = POP3_MODE_COMMANDS;
    expect(inspect, POP3_REPLY_AUTH, true);
    return pass_line(inspect, in, ahead, ahead->line, batch, ret_piece);
}

/* The next line is too long. Inside AUTH the server has to know that there is no answer: it is
 * cancelled, and what the server says to that is the reply. */
static int take_bad_line(struct inspect_pop3 *inspect, struct span *in, struct span *ret_piece)
{
    static const struct pop3_decision too_long = { .verdict = INSPECT_ANSWER,
                                                   .words = "-ERR line too long\r\n",
                                                   .counted = true };
    struct span unused;

    if (line_next(&inspect->line, in, &unused) < 0)
        return -ENOMEM;
    if (inspect->mode != POP3_MODE_AUTH || inspect->facts.errors + 1u >= inspect->rule->max_errors)
        return say(inspect, &too_long, ret_piece);
    count_error(inspect);
    auth_watch_answer(&inspect->auth, SPAN_LIT("*"));
    inspect->mode = POP3_MODE_COMMANDS;
    expect(inspect, POP3_REPLY_AUTH, true);
    *ret_piece = SPAN_LIT("*\r\n");
    return INSPECT_FORWARD;
}

static int client_step(struct inspect_pop3 *inspect, struct span *in, struct span *batch,
                       struct span *ret_piece)
{
    struct line_ahead ahead;
    int r;

    if (inspect->mode == POP3_MODE_CLOSED || inspect->mode == POP3_MODE_DONE)
        return INSPECT_CLOSE;
    if (in->size == 0)
        return batch_settle(batch, ret_piece, INSPECT_MORE);
    if (seems_over(inspect))
        pop3_finish_body(inspect);
    if (must_wait(inspect))
        return batch_settle(batch, ret_piece, INSPECT_WAIT);
    inspect->line.limit = inspect->mode == POP3_MODE_AUTH ? AUTH_LINE_MAX : POP3_LINE_MAX;
    r = line_peek(&inspect->line, in, &ahead);
    switch (r) {
    case LINE_MORE:
        return batch_settle(batch, ret_piece, INSPECT_MORE);
    case LINE_SPOILED:
        if (batch->size > 0 || inspect->queue.count > 0)
            return batch_settle(batch, ret_piece, INSPECT_WAIT);
        return take_bad_line(inspect, in, ret_piece);
    case LINE_READY:
        if (inspect->mode == POP3_MODE_AUTH)
            return take_answer(inspect, in, &ahead, batch, ret_piece);
        return take_command(inspect, in, &ahead, batch, ret_piece);
    default:
        return r;
    }
}

int inspect_pop3_client(struct inspect_pop3 *inspect, struct span *in, struct span *ret_piece)
{
    struct span batch = { NULL, 0 };
    int r;

    own_release(&inspect->own);
    *ret_piece = batch;
    do {
        r = client_step(inspect, in, &batch, ret_piece);
    } while (r == 0);
    return r;
}

static bool in_auth(const struct inspect_pop3 *inspect)
{
    return inspect->mode == POP3_MODE_AUTH ||
           (inspect->queue.count > 0 && reply_queue_last(&inspect->queue) == POP3_REPLY_AUTH);
}

enum inspect_phase inspect_pop3_phase(const struct inspect_pop3 *inspect)
{
    if (inspect->mode == POP3_MODE_AUTH)
        return INSPECT_PHASE_MESSAGE;
    return inspect->queue.count > 0 ? INSPECT_PHASE_REPLY : INSPECT_PHASE_COMMAND;
}

enum inspect_end inspect_pop3_client_end(const struct inspect_pop3 *inspect)
{
    if (in_auth(inspect) || line_unfinished(&inspect->line))
        return INSPECT_END_VANISHED;
    return inspect->queue.count > 0 ? INSPECT_END_ANSWER : INSPECT_END_IDLE;
}

bool inspect_pop3_quiet(const struct inspect_pop3 *inspect)
{
    return inspect_pop3_phase(inspect) == INSPECT_PHASE_COMMAND;
}

bool inspect_pop3_secret(const struct inspect_pop3 *inspect)
{
    struct span held = span_of(inspect->line.held, inspect->line.held_size);

    return inspect->secret || in_auth(inspect) || span_starts_nocase(held, SPAN_LIT("PASS")) ||
           span_starts_nocase(held, SPAN_LIT("APOP")) || span_starts_nocase(held, SPAN_LIT("AUTH"));
}

const struct inspect_facts *inspect_pop3_facts(const struct inspect_pop3 *inspect)
{
    return &inspect->facts;
}

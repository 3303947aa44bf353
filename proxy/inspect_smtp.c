/* Watches an SMTP session between client and backend: the client's side.
 *
 * Happy path: command lines that stand whole in the input pass in place, many at a time, and each
 * adds what its reply will be to the queue. Between them the client's octets are a message (DATA),
 * a chunk (BDAT) or an answer (AUTH), and are looked through for their end or counted.
 *
 * Failures: a bad line is answered here, when nothing is outstanding; too many of them, and what
 * could be taken for something else than it is, end the session. */
#include "proxy/inspect_smtp.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/inspect_smtp_internal.h"

#define REPLY_LINE_MAX 2048 /* octets, with the line end; RFC 5321 section 4.5.3.1.5 wants 512 */

#define GATHER_BYTES 16384 /* of a message's small pieces that are passed together (guessed) */
#define GATHER_BELOW 4096  /* octets of a piece that is small */

int inspect_smtp_init(struct inspect_smtp *inspect, const struct inspect_start *start)
{
    *inspect = (struct inspect_smtp){
        .rule = start->rule,
        .tls = start->tls,
        .pipelining = start->pipelining,
        .chunking = start->chunking,
        .said_hello = start->said_hello,
        .mode = SMTP_MODE_COMMANDS,
        .facts = { .errors = start->errors },
    };
    line_init(&inspect->line, LINE_STRICT, AUTH_LINE_MAX);
    line_init(&inspect->reply, LINE_LENIENT, REPLY_LINE_MAX);
    return 0;
}

void inspect_smtp_deinit(struct inspect_smtp *inspect)
{
    line_reset(&inspect->line);
    line_reset(&inspect->reply);
    own_release(&inspect->own);
    free(inspect->collect);
    explicit_bzero(inspect, sizeof(*inspect));
}

/* Nothing of the client may pass before the server has answered. RFC 2920 section 3.1. */
static bool must_wait(const struct inspect_smtp *inspect)
{
    if (inspect->queue.count == 0)
        return false;
    return inspect->sync || !inspect->pipelining || reply_queue_full(&inspect->queue);
}

static void expect(struct inspect_smtp *inspect, uint8_t reply, bool sync)
{
    reply_queue_push(&inspect->queue, reply);
    inspect->sync = sync;
    if (reply == SMTP_REPLY_FINAL || reply == SMTP_REPLY_FINAL_CHUNK)
        inspect->finals++;
}

/* The command passes. */
static void note_command(struct inspect_smtp *inspect, const struct smtp_decision *decision)
{
    expect(inspect, decision->reply, decision->sync);
    inspect->chunk_left = decision->octets;
    if (decision->reply == SMTP_REPLY_QUIT)
        inspect->facts.quit = true;
    if (decision->reply == SMTP_REPLY_AUTH) {
        inspect->secret = true;
        auth_watch_begin(&inspect->auth, decision->argument);
    }
}

/* Counts a bad command. Were these too many? */
static bool count_error(struct inspect_smtp *inspect)
{
    if (inspect->facts.errors < UINT8_MAX)
        inspect->facts.errors++;
    return inspect->facts.errors >= inspect->rule->max_errors;
}

/* A reply of our own; nothing is outstanding. */
static int say(struct inspect_smtp *inspect, const struct smtp_decision *decision,
               struct span *ret_piece)
{
    struct span words = span_of_text(decision->words ? decision->words : "");

    inspect->secret = true; /* it may have been an AUTH */
    inspect->facts.login_in_clear = inspect->facts.login_in_clear || decision->login_in_clear;
    *ret_piece = words;
    if (decision->counted && count_error(inspect)) {
        if (own_join(&inspect->own, words, SPAN_LIT("421 4.7.0 Too many errors\r\n")) < 0)
            return -ENOMEM;
        *ret_piece = own_span(&inspect->own);
        return smtp_close(inspect, "the client sent too many bad commands");
    }
    if (decision->verdict == INSPECT_CLOSE)
        return smtp_close(inspect, decision->violation);
    return decision->verdict;
}

/* RFC 3030 section 2 allows leading zeros, more than one space and any case; what a server makes of
 * them is not to be found out: a BDAT goes as we understood it. */
static struct span plain_bdat(const struct smtp_decision *decision, char *room, size_t size)
{
    bool last = decision->reply == SMTP_REPLY_FINAL_CHUNK;
    int length = snprintf(room, size, "BDAT %llu%s", (unsigned long long)decision->octets,
                          last ? " LAST" : "");

    return span_of(room, (size_t)length);
}

/* Takes the line and passes it: in place and as part of the batch where it can be (0), else as a
 * piece of its own. */
static int pass_line(struct inspect_smtp *inspect, struct span *in, const struct line_ahead *ahead,
                     struct span words, struct span *batch, struct span *ret_piece)
{
    if (ahead->raw.data && words.data == ahead->line.data) {
        batch_add(batch, ahead->raw);
        return line_take(&inspect->line, in, ahead);
    }
    if (own_join(&inspect->own, words, SPAN_LIT("\r\n")) < 0)
        return -ENOMEM;
    if (line_take(&inspect->line, in, ahead) < 0)
        return -ENOMEM;
    *ret_piece = own_span(&inspect->own);
    return INSPECT_FORWARD;
}

/* The line goes back whole; nothing is outstanding. */
static int hand_back(struct inspect_smtp *inspect, struct span *in, const struct line_ahead *ahead,
                     struct span *ret_piece)
{
    if (own_join(&inspect->own, ahead->line, SPAN_LIT("\r\n")) < 0 ||
        line_take(&inspect->line, in, ahead) < 0)
        return -ENOMEM;
    *ret_piece = own_span(&inspect->own);
    return INSPECT_HAND_BACK;
}

static int take_command(struct inspect_smtp *inspect, struct span *in,
                        const struct line_ahead *ahead, struct span *batch, struct span *ret_piece)
{
    struct smtp_decision decision = smtp_judge(inspect, ahead->line);
    bool bdat = decision.reply == SMTP_REPLY_CHUNK || decision.reply == SMTP_REPLY_FINAL_CHUNK;
    struct span words = ahead->line;
    char room[40];

    if (decision.verdict != INSPECT_FORWARD) {
        if (batch->size > 0 || inspect->queue.count > 0)
            return batch_settle(batch, ret_piece, INSPECT_WAIT);
        if (decision.verdict == INSPECT_HAND_BACK)
            return hand_back(inspect, in, ahead, ret_piece);
        if (line_take(&inspect->line, in, ahead) < 0)
            return -ENOMEM;
        return say(inspect, &decision, ret_piece);
    }
    if (bdat) {
        words = plain_bdat(&decision, room, sizeof(room));
        if (span_equal_nocase(words, ahead->line))
            words = ahead->line;
    }
    if (batch->size > 0 && words.data != ahead->line.data)
        return batch_settle(batch, ret_piece, 0);
    note_command(inspect, &decision);
    return pass_line(inspect, in, ahead, words, batch, ret_piece);
}

/* RFC 4954 section 4: one line, which is no command. */
static int take_answer(struct inspect_smtp *inspect, struct span *in,
                       const struct line_ahead *ahead, struct span *batch, struct span *ret_piece)
{
    auth_watch_answer(&inspect->auth, ahead->line);
    inspect->mode = SMTP_MODE_COMMANDS;
    expect(inspect, SMTP_REPLY_AUTH, true);
    return pass_line(inspect, in, ahead, ahead->line, batch, ret_piece);
}

/* The next line is spoiled or too long. Inside AUTH the server has to know that there is no answer:
 * it is cancelled, and what the server says to that is the reply. */
static int take_bad_line(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece)
{
    struct span unused;
    int r = line_next(&inspect->line, in, &unused);
    struct smtp_decision decision = smtp_judge_bad_line(r);

    if (r < 0)
        return -ENOMEM;
    if (inspect->mode != SMTP_MODE_AUTH || inspect->facts.errors + 1u >= inspect->rule->max_errors)
        return say(inspect, &decision, ret_piece);
    count_error(inspect);
    auth_watch_answer(&inspect->auth, SPAN_LIT("*"));
    inspect->mode = SMTP_MODE_COMMANDS;
    expect(inspect, SMTP_REPLY_AUTH, true);
    *ret_piece = SPAN_LIT("*\r\n");
    return INSPECT_FORWARD;
}

static int take_line(struct inspect_smtp *inspect, struct span *in, struct span *batch,
                     struct span *ret_piece)
{
    struct line_ahead ahead;
    int r;

    if (must_wait(inspect))
        return batch_settle(batch, ret_piece, INSPECT_WAIT);
    r = line_peek(&inspect->line, in, &ahead);
    switch (r) {
    case LINE_MORE:
        return batch_settle(batch, ret_piece, INSPECT_MORE);
    case LINE_SPOILED:
        if (batch->size > 0 || inspect->queue.count > 0)
            return batch_settle(batch, ret_piece, INSPECT_WAIT);
        return take_bad_line(inspect, in, ret_piece);
    case LINE_READY:
        if (inspect->mode == SMTP_MODE_AUTH)
            return take_answer(inspect, in, &ahead, batch, ret_piece);
        return take_command(inspect, in, &ahead, batch, ret_piece);
    default:
        return r;
    }
}

static int take_chunk(struct inspect_smtp *inspect, struct span *in, struct span *batch)
{
    size_t size = inspect->chunk_left < in->size ? (size_t)inspect->chunk_left : in->size;

    batch_add(batch, span_first(*in, size));
    *in = span_skip(*in, size);
    inspect->chunk_left -= size;
    return 0;
}

/* A message of many bare newlines comes in as many small pieces: they are copied together, or each
 * would be a write of its own. Returns the last enum message_scan_result, or -ENOMEM. */
static int gather_message(struct inspect_smtp *inspect, struct span *in, struct span *piece)
{
    unsigned char *room = malloc(GATHER_BYTES);
    size_t size = piece->size;
    int r = MESSAGE_PASS;

    if (!room)
        return -ENOMEM;
    memcpy(room, piece->data, size);
    /* What is passed is at most as long as what is given, or the few octets of a static text. */
    while ((r == MESSAGE_PASS || r == MESSAGE_MORE) && in->size > 0 && GATHER_BYTES - size >= 8) {
        struct span window = span_first(*in, GATHER_BYTES - size), more = { NULL, 0 };
        size_t given = window.size;

        r = message_scan_next(&inspect->scan, &window, &more);
        *in = span_skip(*in, given - window.size);
        if (more.size > 0)
            memcpy(room + size, more.data, more.size);
        size += more.size;
    }
    inspect->own = (struct own_piece){ room, size };
    *piece = own_span(&inspect->own);
    return r;
}

/* Nothing is outstanding, so the batch is empty. */
static int take_message(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece)
{
    int r = message_scan_next(&inspect->scan, in, ret_piece);

    if (r == MESSAGE_PASS && in->size > 0 && ret_piece->size < GATHER_BELOW)
        r = gather_message(inspect, in, ret_piece);
    if (r < 0)
        return r;
    if (inspect->scan.bare)
        inspect->facts.bare_newlines = true;
    if (r == MESSAGE_ENDED) {
        inspect->mode = SMTP_MODE_COMMANDS;
        expect(inspect, SMTP_REPLY_FINAL, false);
    } else if (r == MESSAGE_BARE) {
        inspect->mode = SMTP_MODE_REFUSED;
        inspect->refused = MESSAGE_END_INSIDE;
    }
    if (ret_piece->size > 0)
        return INSPECT_FORWARD;
    return r == MESSAGE_BARE ? 0 : INSPECT_MORE;
}

static int take_refused(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece)
{
    size_t size;
    bool ended = message_end_find(&inspect->refused, *in, &size);

    *in = span_skip(*in, size);
    if (!ended)
        return INSPECT_MORE;
    *ret_piece = SPAN_LIT("550 5.5.2 Bare newline in message\r\n"
                          "421 4.5.2 Bare newline in message, closing\r\n");
    return smtp_close(inspect, "the client sent a bare newline in a message");
}

static int client_step(struct inspect_smtp *inspect, struct span *in, struct span *batch,
                       struct span *ret_piece)
{
    if (inspect->mode == SMTP_MODE_CLOSED || inspect->mode == SMTP_MODE_DONE)
        return INSPECT_CLOSE;
    if (in->size == 0)
        return batch_settle(batch, ret_piece, INSPECT_MORE);
    if (inspect->mode == SMTP_MODE_MESSAGE)
        return take_message(inspect, in, ret_piece);
    if (inspect->mode == SMTP_MODE_REFUSED)
        return take_refused(inspect, in, ret_piece);
    if (inspect->chunk_left > 0)
        return take_chunk(inspect, in, batch);
    return take_line(inspect, in, batch, ret_piece);
}

int inspect_smtp_client(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece)
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

/* A message whose octets have all come waits for its reply. */
static bool awaits_final(const struct inspect_smtp *inspect)
{
    bool unfinished = inspect->chunk_left > 0 && inspect->queue.count > 0 &&
                      reply_queue_last(&inspect->queue) == SMTP_REPLY_FINAL_CHUNK;

    return inspect->finals > (unfinished ? 1 : 0);
}

static bool in_auth(const struct inspect_smtp *inspect)
{
    return inspect->mode == SMTP_MODE_AUTH ||
           (inspect->queue.count > 0 && reply_queue_last(&inspect->queue) == SMTP_REPLY_AUTH);
}

static bool in_message(const struct inspect_smtp *inspect)
{
    return inspect->mode == SMTP_MODE_MESSAGE || inspect->mode == SMTP_MODE_REFUSED ||
           inspect->chunk_left > 0;
}

enum inspect_phase inspect_smtp_phase(const struct inspect_smtp *inspect)
{
    if (in_message(inspect) || inspect->mode == SMTP_MODE_AUTH)
        return INSPECT_PHASE_MESSAGE;
    if (inspect->finals > 0)
        return INSPECT_PHASE_FINAL;
    return inspect->queue.count > 0 ? INSPECT_PHASE_REPLY : INSPECT_PHASE_COMMAND;
}

enum inspect_end inspect_smtp_client_end(const struct inspect_smtp *inspect)
{
    if (awaits_final(inspect))
        return INSPECT_END_FLUSH;
    if (in_message(inspect) || in_auth(inspect) || line_unfinished(&inspect->line))
        return INSPECT_END_VANISHED;
    return inspect->queue.count > 0 ? INSPECT_END_ANSWER : INSPECT_END_IDLE;
}

bool inspect_smtp_quiet(const struct inspect_smtp *inspect)
{
    return inspect_smtp_phase(inspect) == INSPECT_PHASE_COMMAND;
}

bool inspect_smtp_secret(const struct inspect_smtp *inspect)
{
    struct span held = span_of(inspect->line.held, inspect->line.held_size);

    return inspect->secret || in_auth(inspect) || span_starts_nocase(held, SPAN_LIT("AUTH"));
}

const struct inspect_facts *inspect_smtp_facts(const struct inspect_smtp *inspect)
{
    return &inspect->facts;
}

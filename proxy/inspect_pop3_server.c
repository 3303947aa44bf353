/* Watches a POP3 session between client and backend: the server's side.
 *
 * Happy path: the first line of a reply says whether a body follows; first lines and bodies that
 * stand whole in the input pass in place, many at a time. A reply to CAPA, and to AUTH alone, is
 * kept until it is whole, and written anew.
 *
 * Failures: a server that says what nobody asked for, or what is no reply, ends the session. */
#include <errno.h>
#include <stdlib.h>

#include "proxy/inspect_pop3_internal.h"

_Static_assert(sizeof(((struct inspect_facts *)0)->login) == AUTH_NAME_MAX + 1,
               "a name is copied whole");

enum status { STATUS_OK, STATUS_ERR, STATUS_CHALLENGE, STATUS_NONE };

static enum status status_of(struct span line)
{
    if (span_starts_nocase(line, SPAN_LIT("+OK")))
        return STATUS_OK;
    if (span_starts_nocase(line, SPAN_LIT("-ERR")))
        return STATUS_ERR;
    if (span_equal(line, SPAN_LIT("+")) || span_starts_nocase(line, SPAN_LIT("+ ")))
        return STATUS_CHALLENGE;
    return STATUS_NONE;
}

/* Why this line cannot begin the reply that comes next; NULL where it can. */
static const char *reply_fault(const struct inspect_pop3 *inspect, enum status status)
{
    if (status == STATUS_NONE)
        return "the server sent what is no reply";
    if (inspect->queue.count == 0)
        return status == STATUS_ERR ? NULL : "the server sent a reply that nobody asked for";
    if (status == STATUS_CHALLENGE && reply_queue_first(&inspect->queue) != POP3_REPLY_AUTH)
        return "the server wants more of a command that has no more";
    return NULL;
}

static int violate(struct inspect_pop3 *inspect, const char *words, struct span *ret_piece)
{
    *ret_piece = SPAN_LIT("-ERR [SYS/TEMP] The mail server answered what cannot be understood\r\n");
    return pop3_close(inspect, words);
}

static void finish_reply(struct inspect_pop3 *inspect)
{
    uint8_t kind = reply_queue_first(&inspect->queue);

    reply_queue_pop(&inspect->queue);
    if (inspect->queue.count == 0)
        inspect->sync = false; /* a command with `sync` is always the last one */
    if (kind != POP3_REPLY_AUTH && kind != POP3_REPLY_LOGIN && inspect->queue.count == 0)
        inspect->secret = false;
}

void pop3_finish_body(struct inspect_pop3 *inspect)
{
    inspect->in_body = false;
    finish_reply(inspect);
}

/* RFC 3206 section 4, RFC 2449 section 8.1.2: these say nothing of the password. */
static bool is_failed_login(struct span line)
{
    struct span text = span_trim(span_skip(line, 4));

    return !span_starts_nocase(text, SPAN_LIT("[SYS/TEMP")) &&
           !span_starts_nocase(text, SPAN_LIT("[IN-USE"));
}

static void finish_login(struct inspect_pop3 *inspect, enum status status, struct span line)
{
    if (status == STATUS_OK) {
        inspect->logged_in = true;
        memcpy(inspect->facts.login, inspect->auth.name, sizeof(inspect->facts.login));
    } else if (is_failed_login(line) && inspect->auth.answered) {
        inspect->facts.logins_failed++;
    }
}

static bool has_body(uint8_t kind)
{
    return kind == POP3_REPLY_BODY || kind == POP3_REPLY_RETR;
}

/* The first line of a reply is passed: what it changes. */
static void note_status(struct inspect_pop3 *inspect, enum status status, struct span line)
{
    uint8_t kind = reply_queue_first(&inspect->queue);

    if (status == STATUS_OK && has_body(kind)) {
        inspect->in_body = true;
        inspect->body = MESSAGE_END_START;
        inspect->recent = 0x0d0a;
        inspect->facts.messages += kind == POP3_REPLY_RETR;
        return;
    }
    finish_reply(inspect);
    if (status == STATUS_CHALLENGE)
        inspect->mode = POP3_MODE_AUTH;
    else if (kind == POP3_REPLY_AUTH || kind == POP3_REPLY_LOGIN)
        finish_login(inspect, status, line);
    else if (kind == POP3_REPLY_QUIT)
        inspect->mode = POP3_MODE_DONE;
}

static int pass_body(struct inspect_pop3 *inspect, struct span *in, struct span *batch)
{
    size_t size;
    bool ended = message_end_find(&inspect->body, *in, &size);

    for (size_t i = size < 4 ? 0 : size - 4; i < size; i++)
        inspect->recent = inspect->recent << 8 | in->data[i];
    batch_add(batch, span_first(*in, size));
    *in = span_skip(*in, size);
    if (ended)
        pop3_finish_body(inspect);
    return 0;
}

/* The whole list is there: the client gets what it is offered of it. */
static int pass_list(struct inspect_pop3 *inspect, struct span *ret_piece)
{
    struct span whole = reply_collect_span(inspect->collect);
    /* After the login STLS is over, as it is under TLS. RFC 2595 section 4. */
    bool tls = inspect->tls || inspect->logged_in;
    struct capabilities *list = NULL;
    int r;

    if (reply_queue_first(&inspect->queue) == POP3_REPLY_MECHANISMS) {
        r = own_join(&inspect->own, whole, span_of(NULL, 0)); /* sifted before */
    } else {
        r = capabilities_parse(PROTOCOL_POP3, whole, &list);
        if (r == -EPROTO)
            return violate(inspect, "the server's reply to CAPA cannot be understood", ret_piece);
        if (r == 0)
            r = own_write_capabilities(&inspect->own, list, inspect->rule, tls);
        capabilities_unref(list);
    }
    if (r < 0)
        return r;
    free(inspect->collect);
    inspect->collect = NULL;
    finish_reply(inspect);
    *ret_piece = own_span(&inspect->own);
    return INSPECT_FORWARD;
}

/* One line of a list that is kept until it is whole. */
static int collect_line(struct inspect_pop3 *inspect, struct span *in,
                        const struct line_ahead *ahead, struct span *ret_piece)
{
    bool first = !inspect->collect, last = span_equal(ahead->line, SPAN_LIT("."));
    bool mechanism = reply_queue_first(&inspect->queue) == POP3_REPLY_MECHANISMS && !first && !last;
    int r = 0;

    if (!mechanism || capabilities_mechanism_passes(ahead->line))
        r = reply_collect_add(&inspect->collect, ahead->line);
    if (r == -EPROTO)
        return violate(inspect, "the server's list is too long", ret_piece);
    if (r < 0 || line_take(&inspect->reply, in, ahead) < 0)
        return -ENOMEM;
    return last ? pass_list(inspect, ret_piece) : 0;
}

/* The first line of a reply passes as it is. */
static int pass_status(struct inspect_pop3 *inspect, struct span *in,
                       const struct line_ahead *ahead, enum status status, struct span *batch,
                       struct span *ret_piece)
{
    struct span held = span_of(inspect->reply.held, inspect->reply.held_size);
    bool asked = inspect->queue.count > 0;

    if (ahead->raw.data) {
        batch_add(batch, ahead->raw);
    } else {
        if (own_join(&inspect->own, held, SPAN_LIT("\n")) < 0)
            return -ENOMEM;
        *ret_piece = own_span(&inspect->own);
    }
    if (asked)
        note_status(inspect, status, ahead->line);
    if (line_take(&inspect->reply, in, ahead) < 0)
        return -ENOMEM;
    if (!asked) { /* an -ERR that nobody asked for: the server closes, and says why */
        batch_settle(batch, ret_piece, 0);
        return pop3_close(inspect, "the server ended the session");
    }
    return ahead->raw.data ? 0 : INSPECT_FORWARD;
}

static int take_reply_line(struct inspect_pop3 *inspect, struct span *in,
                           const struct line_ahead *ahead, struct span *batch,
                           struct span *ret_piece)
{
    enum status status = status_of(ahead->line);
    const char *fault = inspect->collect ? NULL : reply_fault(inspect, status);
    uint8_t kind = inspect->queue.count > 0 ? reply_queue_first(&inspect->queue) : POP3_REPLY_LINE;
    bool list = (kind == POP3_REPLY_CAPA || kind == POP3_REPLY_MECHANISMS) &&
                (inspect->collect || status == STATUS_OK);

    if ((fault || list) && batch->size > 0)
        return batch_settle(batch, ret_piece, 0);
    if (fault)
        return violate(inspect, fault, ret_piece);
    if (list)
        return collect_line(inspect, in, ahead, ret_piece);
    return pass_status(inspect, in, ahead, status, batch, ret_piece);
}

static int server_step(struct inspect_pop3 *inspect, struct span *in, struct span *batch,
                       struct span *ret_piece)
{
    struct line_ahead ahead;
    int r;

    if (in->size == 0)
        return batch_settle(batch, ret_piece, INSPECT_MORE);
    if (inspect->mode == POP3_MODE_CLOSED || inspect->mode == POP3_MODE_DONE)
        return batch_settle(batch, ret_piece, INSPECT_CLOSE);
    if (inspect->in_body)
        return pass_body(inspect, in, batch);
    if (batch->size > 0 && span_find(*in, '\n') == in->size)
        return batch_settle(batch, ret_piece, 0);
    r = line_peek(&inspect->reply, in, &ahead);
    if (r < 0)
        return r;
    if (r == LINE_READY)
        return take_reply_line(inspect, in, &ahead, batch, ret_piece);
    if (r == LINE_SPOILED && batch->size > 0)
        return batch_settle(batch, ret_piece, 0);
    if (r == LINE_SPOILED || inspect->reply.discarding)
        return violate(inspect, "the server sent a line that is too long", ret_piece);
    return INSPECT_MORE;
}

int inspect_pop3_server(struct inspect_pop3 *inspect, struct span *in, struct span *ret_piece)
{
    struct span batch = { NULL, 0 };
    int r;

    own_release(&inspect->own);
    *ret_piece = batch;
    do {
        r = server_step(inspect, in, &batch, ret_piece);
    } while (r == 0);
    return r;
}

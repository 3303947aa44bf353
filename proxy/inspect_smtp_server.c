/* Watches an SMTP session between client and backend: the server's side.
 *
 * Happy path: lines of replies that stand whole in the input pass in place, many at a time; the
 * last line of each takes its command off the queue and moves the session's state. A reply to EHLO
 * is kept until it is whole, and written anew.
 *
 * Failures: a server that says what nobody asked for, or what is no reply, ends the session with
 * 421. */
#include <errno.h>
#include <stdlib.h>

#include "proxy/inspect_smtp_internal.h"

_Static_assert(sizeof(((struct inspect_facts *)0)->login) == AUTH_NAME_MAX + 1,
               "a name is copied whole");

/* One line of a reply: "250-text", "250 text" or "250" (RFC 5321 section 4.2). */
static bool parse_reply(struct span line, unsigned *ret_code, bool *ret_last)
{
    if (line.size < 3 || (line.size > 3 && line.data[3] != ' ' && line.data[3] != '-'))
        return false;
    if (line.data[0] < '2' || line.data[0] > '5')
        return false;
    if (line.data[1] < '0' || line.data[1] > '9' || line.data[2] < '0' || line.data[2] > '9')
        return false;
    *ret_code = (line.data[0] - '0') * 100u + (line.data[1] - '0') * 10u + (line.data[2] - '0');
    *ret_last = line.size == 3 || line.data[3] == ' ';
    return true;
}

/* Why this line cannot be part of the reply that comes next; NULL where it can. */
static const char *reply_fault(const struct inspect_smtp *inspect, unsigned code)
{
    uint8_t kind;

    if (inspect->code != 0 && inspect->code != code)
        return "the server mixed codes in one reply";
    if (code == 421)
        return NULL;
    if (inspect->queue.count == 0)
        return "the server sent a reply that nobody asked for";
    kind = reply_queue_first(&inspect->queue);
    if (code / 100 == 3 && !(code == 354 && kind == SMTP_REPLY_DATA) &&
        !(code == 334 && kind == SMTP_REPLY_AUTH))
        return "the server wants more of a command that has no more";
    return NULL;
}

/* RFC 4954 section 6. Codes that judge the command, not the password, are no failed login. */
static bool is_failed_login(unsigned code)
{
    return code / 100 == 5 && code / 10 != 50 && code != 530 && code != 538;
}

static void finish_auth(struct inspect_smtp *inspect, unsigned code)
{
    if (code == 334) {
        inspect->mode = SMTP_MODE_AUTH;
        return;
    }
    if (code / 100 == 2) {
        inspect->authenticated = true;
        memcpy(inspect->facts.login, inspect->auth.name, sizeof(inspect->facts.login));
    }
    if (is_failed_login(code) && inspect->auth.answered) {
        inspect->facts.logins_failed++; /* the name stays until the next AUTH */
        return;
    }
    explicit_bzero(&inspect->auth, sizeof(inspect->auth));
}

static void finish_hello(struct inspect_smtp *inspect, bool positive)
{
    if (!positive)
        return;
    inspect->said_hello = true;
    inspect->in_transaction = false;
}

static void finish_final(struct inspect_smtp *inspect, bool positive)
{
    inspect->finals--;
    inspect->in_transaction = false;
    if (positive)
        inspect->facts.messages++;
}

/* A whole reply has come: what it changes. */
static void finish_reply(struct inspect_smtp *inspect, unsigned code)
{
    uint8_t kind = reply_queue_first(&inspect->queue);
    bool positive = code / 100 == 2;

    reply_queue_pop(&inspect->queue);
    if (inspect->queue.count == 0)
        inspect->sync = false; /* a command with `sync` is always the last one */
    if (kind != SMTP_REPLY_AUTH && inspect->queue.count == 0)
        inspect->secret = false;
    switch ((enum smtp_reply)kind) {
    case SMTP_REPLY_HELO:
        /* Who says HELO is offered nothing. */
        inspect->pipelining = inspect->pipelining && !positive;
        inspect->chunking = inspect->chunking && !positive;
        finish_hello(inspect, positive);
        break;
    case SMTP_REPLY_EHLO:
        finish_hello(inspect, positive);
        break;
    case SMTP_REPLY_MAIL:
        inspect->in_transaction = inspect->in_transaction || positive;
        break;
    case SMTP_REPLY_RSET:
        inspect->in_transaction = inspect->in_transaction && !positive;
        break;
    case SMTP_REPLY_AUTH:
        finish_auth(inspect, code);
        break;
    case SMTP_REPLY_DATA:
        if (code == 354) {
            inspect->mode = SMTP_MODE_MESSAGE;
            message_scan_init(&inspect->scan, inspect->rule->bare_newline);
        }
        break;
    case SMTP_REPLY_FINAL:
    case SMTP_REPLY_FINAL_CHUNK:
        finish_final(inspect, positive);
        break;
    case SMTP_REPLY_QUIT:
        if (positive)
            inspect->mode = SMTP_MODE_DONE;
        break;
    case SMTP_REPLY_CHUNK:
    case SMTP_REPLY_OTHER:
        break;
    }
}

static int violate(struct inspect_smtp *inspect, const char *words, struct span *ret_piece)
{
    *ret_piece = SPAN_LIT("421 4.4.2 The mail server answered what cannot be understood\r\n");
    return smtp_close(inspect, words);
}

/* The whole reply to EHLO is there: the client gets what it is offered of it. RFC 5321
 * section 4.1.1.1. */
static int pass_hello(struct inspect_smtp *inspect, unsigned code, struct span *ret_piece)
{
    struct span whole = reply_collect_span(inspect->collect);
    struct capabilities *list = NULL;
    int r = capabilities_parse(PROTOCOL_SMTP, whole, &list);

    if (r == -EPROTO && code / 100 == 2)
        return violate(inspect, "the server's reply to EHLO cannot be understood", ret_piece);
    if (r == -EPROTO) {
        r = own_join(&inspect->own, whole, span_of(NULL, 0)); /* a refusal */
    } else if (r == 0) {
        r = own_write_capabilities(&inspect->own, list, inspect->rule, inspect->tls);
        inspect->pipelining = capabilities_find(list, SPAN_LIT("PIPELINING")) != NULL;
        inspect->chunking = capabilities_find(list, SPAN_LIT("CHUNKING")) != NULL;
        capabilities_unref(list);
    }
    if (r < 0)
        return r;
    free(inspect->collect);
    inspect->collect = NULL;
    finish_reply(inspect, code);
    *ret_piece = own_span(&inspect->own);
    return INSPECT_FORWARD;
}

/* One line of the reply to EHLO, which is kept until it is whole. */
static int collect_line(struct inspect_smtp *inspect, struct span *in,
                        const struct line_ahead *ahead, bool last, struct span *ret_piece)
{
    unsigned code = inspect->code;
    int r = reply_collect_add(&inspect->collect, ahead->line);

    if (r == -EPROTO)
        return violate(inspect, "the server's reply to EHLO is too long", ret_piece);
    if (r < 0 || line_take(&inspect->reply, in, ahead) < 0)
        return -ENOMEM;
    if (!last)
        return 0;
    inspect->code = 0;
    return pass_hello(inspect, code, ret_piece);
}

/* One line of any other reply passes as it is. */
static int pass_reply_line(struct inspect_smtp *inspect, struct span *in,
                           const struct line_ahead *ahead, bool last, struct span *batch,
                           struct span *ret_piece)
{
    unsigned code = inspect->code;
    struct span held = span_of(inspect->reply.held, inspect->reply.held_size);

    if (ahead->raw.data) {
        batch_add(batch, ahead->raw);
    } else {
        if (own_join(&inspect->own, held, SPAN_LIT("\n")) < 0)
            return -ENOMEM;
        *ret_piece = own_span(&inspect->own);
    }
    if (line_take(&inspect->reply, in, ahead) < 0)
        return -ENOMEM;
    if (last) {
        inspect->code = 0;
        if (code == 421) { /* RFC 5321 section 3.8: the server closes */
            batch_settle(batch, ret_piece, 0);
            return smtp_close(inspect, "the server ended the session");
        }
        finish_reply(inspect, code);
    }
    return ahead->raw.data ? 0 : INSPECT_FORWARD;
}

static int judge_reply_line(struct inspect_smtp *inspect, struct span *in,
                            const struct line_ahead *ahead, struct span *batch,
                            struct span *ret_piece)
{
    const char *fault = "the server sent what is no reply";
    bool last = false, hello;
    unsigned code = 0;

    if (parse_reply(ahead->line, &code, &last))
        fault = reply_fault(inspect, code);
    hello = !fault && code != 421 && reply_queue_first(&inspect->queue) == SMTP_REPLY_EHLO;
    if ((fault || hello) && batch->size > 0)
        return batch_settle(batch, ret_piece, 0);
    if (fault)
        return violate(inspect, fault, ret_piece);
    inspect->code = (uint16_t)code;
    if (hello)
        return collect_line(inspect, in, ahead, last, ret_piece);
    return pass_reply_line(inspect, in, ahead, last, batch, ret_piece);
}

static int server_step(struct inspect_smtp *inspect, struct span *in, struct span *batch,
                       struct span *ret_piece)
{
    struct line_ahead ahead;
    int r;

    if (in->size == 0 || (batch->size > 0 && span_find(*in, '\n') == in->size))
        return batch_settle(batch, ret_piece, INSPECT_MORE);
    if (inspect->mode == SMTP_MODE_CLOSED || inspect->mode == SMTP_MODE_DONE)
        return batch->size > 0 ? batch_settle(batch, ret_piece, 0) : INSPECT_CLOSE;
    r = line_peek(&inspect->reply, in, &ahead);
    if (r < 0)
        return r;
    if (r == LINE_READY)
        return judge_reply_line(inspect, in, &ahead, batch, ret_piece);
    if (r == LINE_SPOILED && batch->size > 0)
        return batch_settle(batch, ret_piece, 0);
    if (r == LINE_SPOILED || inspect->reply.discarding)
        return violate(inspect, "the server sent a line that is too long", ret_piece);
    return INSPECT_MORE;
}

int inspect_smtp_server(struct inspect_smtp *inspect, struct span *in, struct span *ret_piece)
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

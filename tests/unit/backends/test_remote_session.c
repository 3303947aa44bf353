/* Conversations of Remote Mail, whole and one octet at a time: what is said, and what is asked of
 * the caller. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/remote_session.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define DIGEST      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LONG_500                                                                                   \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxxxxx"                                                                                     \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxxxxx"                                                                                     \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxxxxx"                                                                                     \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxxxxx"                                                                                     \
    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" \
    "xxxxxxxx"

/* A mailbox of epoch 0000beef with the messages 1, 3 and 4. */
static const struct {
    uint64_t number;
    const char *text;
} texts[] = { { 1, "one\r\n" }, { 3, "three, longer\r\n" }, { 4, "" } };

struct side {
    FILE *out;
    struct maildrop_message messages[COUNT(texts)];
    size_t count;
    bool gone[COUNT(texts)];
    unsigned deleted, refreshes;
    uint32_t waited;
    const char *text; /* of the open message, what is left to send */
    int store_error, complete_error, read_error;
    FILE *upload; /* the open one */
    char *uploaded;
    size_t uploaded_size;
    unsigned envelopes, stops;
};

static int side_login(void *context, struct span name, struct span password, struct span mirror)
{
    (void)context;
    assert_true(span_equal(mirror, SPAN_LIT("0123456789abcdef")));
    if (span_equal(name, SPAN_LIT("later")))
        return REMOTE_LOGIN_TEMPORARY;
    if (span_equal(name, SPAN_LIT("never")))
        return REMOTE_LOGIN_PERMANENT;
    return span_equal(name, SPAN_LIT("anna")) && span_equal(password, SPAN_LIT("secret"))
               ? REMOTE_LOGIN_DONE
               : REMOTE_LOGIN_WRONG;
}

static int side_complete(void *context, uint64_t *ret_deleted)
{
    struct side *side = context;

    if (side->complete_error < 0)
        return side->complete_error;
    for (size_t i = 0; i < side->count; i++)
        for (size_t k = 0; k < COUNT(texts); k++)
            if (side->messages[i].deleted && texts[k].number == side->messages[i].number &&
                !side->gone[k]) {
                side->gone[k] = true;
                side->deleted++;
            }
    *ret_deleted = side->deleted;
    return 0;
}

static int side_refresh(void *context, struct remote_mailbox *ret_mailbox)
{
    struct side *side = context;
    uint64_t deleted;

    side->refreshes++;
    side_complete(side, &deleted);
    side->count = 0;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct maildrop_message *message = &side->messages[side->count];

        if (side->gone[i])
            continue;
        memset(message, 0, sizeof(*message));
        message->number = texts[i].number;
        message->octets = strlen(texts[i].text);
        snprintf(message->uid, sizeof(message->uid), "0000beef.%d", (int)texts[i].number);
        side->count++;
    }
    *ret_mailbox = (struct remote_mailbox){ side->messages, side->count, 0xbeef };
    return side->store_error;
}

static int side_open(void *context, size_t index, uint64_t offset, uint64_t *ret_octets)
{
    struct side *side = context;

    assert_true(index < side->count);
    for (size_t i = 0; i < COUNT(texts); i++)
        if (texts[i].number == side->messages[index].number) {
            *ret_octets = strlen(texts[i].text);
            if (offset > *ret_octets)
                return -ERANGE;
            side->text = texts[i].text + offset;
            return side->gone[i] ? -ENOENT : side->read_error;
        }
    return -ENOENT;
}

static int side_write(void *context, struct span octets)
{
    struct side *side = context;

    fwrite(octets.data, 1, octets.size, side->out);
    return 0;
}

/* Three octets at a time. */
static int side_piece(void *context, char *ret_digest)
{
    struct side *side = context;
    struct span piece = span_first(span_of_text(side->text), 3);

    memcpy(ret_digest, DIGEST, REMOTE_DIGEST_MAX);
    if (piece.size == 0)
        return REMOTE_PIECE_LAST;
    side->text += piece.size;
    side_write(side, piece);
    return REMOTE_PIECE_MORE;
}

static void side_wait(void *context, uint32_t seconds)
{
    struct side *side = context;

    side->waited = seconds;
}

/* Ids that begin with "d" are done, with "f" half there; what the message is decides the rest. */
static int side_have(void *context, struct span id, uint64_t *ret_octets)
{
    (void)context;
    *ret_octets = id.data[0] == 'f' ? 5 : 0;
    return id.data[0] == 'd' ? REMOTE_PUSH_DONE : id.data[0] == 'e' ? -EIO : 0;
}

static int side_push_begin(void *context, const struct remote_upload *upload, struct text *reason)
{
    struct side *side = context;
    uint64_t kept;

    assert_null(side->upload);
    assert_int_equal(upload->digest.size, REMOTE_DIGEST_MAX);
    side->envelopes++;
    if (side_have(side, upload->id, &kept) == REMOTE_PUSH_DONE)
        return REMOTE_PUSH_DONE;
    if (!span_equal(upload->envelope, SPAN_LIT("FROM:<a@b>\nTO:<c@d>\n"))) {
        text_puts(reason, "[PERM] PUSH envelope");
        return REMOTE_PUSH_REFUSED;
    }
    if (kept != upload->offset) {
        text_printf(reason, "[CONFLICT] PUSH %d", (int)kept);
        return REMOTE_PUSH_REFUSED;
    }
    side->upload = open_memstream(&side->uploaded, &side->uploaded_size);
    return REMOTE_PUSH_TAKEN;
}

static int side_push_write(void *context, struct span octets)
{
    struct side *side = context;

    assert_non_null(side->upload);
    if (span_find(octets, '!') < octets.size)
        return -ENOSPC;
    fwrite(octets.data, 1, octets.size, side->upload);
    return 0;
}

static void side_push_stop(void *context)
{
    struct side *side = context;

    assert_non_null(side->upload);
    fclose(side->upload);
    free(side->uploaded);
    side->upload = NULL;
    side->stops++;
}

static int side_push_end(void *context, struct text *reason)
{
    struct side *side = context;
    bool good;

    assert_non_null(side->upload);
    fclose(side->upload);
    side->upload = NULL;
    good = strncmp(side->uploaded, "hello", 5) == 0 || side->uploaded_size == 0;
    free(side->uploaded);
    text_puts(reason, "[CONFLICT] PUSH digest");
    return good ? REMOTE_PUSH_DONE : REMOTE_PUSH_REFUSED;
}

static const struct remote_caller caller = {
    .login = side_login,
    .refresh = side_refresh,
    .complete = side_complete,
    .open_message = side_open,
    .send_piece = side_piece,
    .have = side_have,
    .push_begin = side_push_begin,
    .push_write = side_push_write,
    .push_end = side_push_end,
    .push_stop = side_push_stop,
    .wait = side_wait,
    .write = side_write,
};

/* Feeds all of `in`, `step` octets at a time, and pumps where the session does not listen, and at
 * the end. */
static int converse(struct side *side, const struct remote_facts *facts, const char *in,
                    size_t step)
{
    struct remote_session session;
    size_t size = strlen(in);
    int r = REMOTE_MORE;

    remote_session_init(&session, facts, &caller, side);
    for (size_t at = 0; at < size && r == REMOTE_MORE; at += step) {
        struct span rest = span_of(in + at, size - at < step ? size - at : step);

        do {
            while (r == REMOTE_MORE && !remote_session_listening(&session))
                r = remote_session_pump(&session);
            if (r == REMOTE_MORE)
                r = remote_session_feed(&session, &rest);
        } while (r == REMOTE_MORE && rest.size > 0);
    }
    while (r == REMOTE_MORE && remote_session_pumping(&session))
        r = remote_session_pump(&session);
    assert_true(session.errors <= facts->max_errors);
    remote_session_deinit(&session);
    assert_null(side->upload); /* whatever happens, it is ended or stopped */
    return r;
}

#define HELLO     "RM/1 test/1 id=0123456789abcdef\r\n"
#define HELLO_OUT "+ RM/1 host SIZE=1000 WAIT=1740 PUSH\r\n"
#define IN        HELLO "AUTH PLAIN AGFubmEAc2VjcmV0\r\n"
#define OUT       HELLO_OUT "+ 3 messages 20 octets\r\n"
#define ID        "0123456789abcdef0123456789abcde"
#define ENVELOPE  "\r\nFROM:<a@b>\r\nTO:<c@d>\r\n\r\n"
#define FRAME_1   "M 0000beef.1 5 0\r\none\r\n\r\nS 0000beef.1 " DIGEST "\r\n"
#define FRAME_3   "M 0000beef.3 15 0\r\nthree, longer\r\n\r\nS 0000beef.3 " DIGEST "\r\n"
#define FRAME_4   "M 0000beef.4 0 0\r\n\r\nS 0000beef.4 " DIGEST "\r\n"

static const struct row {
    const char *name, *in, *out;
    bool ended;
    unsigned deleted;
    int store_error, complete_error;
} rows[] = {
    { .name = "the greeting", .in = HELLO, .out = HELLO_OUT },
    { .name = "verbs in any case",
      .in = "rm/1 test/1 ID=0123456789abcdef\r\nauth plain AGFubmEAc2VjcmV0\r\nnoop\r\nquit\r\n",
      .out = OUT "+ NOOP\r\n+ BYE\r\n",
      .ended = true },
    { .name = "another version",
      .in = "RM/2 x id=0123456789abcdef\r\n",
      .out = "- [SYNTAX] versions: RM/1\r\n",
      .ended = true },
    { .name = "an HTTP client",
      .in = "GET / HTTP/1.1\r\nHost: x\r\n",
      .out = "- [SYNTAX] versions: RM/1\r\n",
      .ended = true },
    { .name = "no id",
      .in = "RM/1 test/1\r\n",
      .out = "- [SYNTAX] write RM/1 agent id=, and 16 of 0-9a-f\r\n",
      .ended = true },
    { .name = "a long id",
      .in = "RM/1 test/1 id=0123456789abcdef0\r\n",
      .out = "- [SYNTAX] write RM/1 agent id=, and 16 of 0-9a-f\r\n",
      .ended = true },
    { .name = "QUIT at once", .in = HELLO "QUIT\r\n", .out = HELLO_OUT "+ BYE\r\n", .ended = true },
    { .name = "requests before login",
      .in = HELLO "LIST\r\nPULL\r\nSYNC\r\nACK 0000beef.1\r\nWAIT 1\r\n",
      .out = HELLO_OUT
      "- [STATE] AUTH comes first\r\n- [STATE] AUTH comes first\r\n- [STATE] AUTH comes first\r\n"
      "- [STATE] AUTH comes first\r\n- [STATE] AUTH comes first\r\n" },
    { .name = "wrong password",
      .in = HELLO "AUTH PLAIN AGFubmEAeA==\r\n",
      .out = HELLO_OUT "- [AUTH] wrong name or password\r\n" },
    { .name = "another's rights",
      .in = HELLO "AUTH PLAIN YmVydABhbm5hAHNlY3JldA==\r\n",
      .out = HELLO_OUT "- [AUTH] nobody can act for another user here\r\n" },
    { .name = "no PLAIN response",
      .in = HELLO "AUTH PLAIN YW5uYQ==\r\nAUTH PLAIN x\r\nAUTH LOGIN YQ==\r\nAUTH PLAIN\r\n",
      .out = HELLO_OUT
      "- [SYNTAX] this is no PLAIN response\r\n- [SYNTAX] this is no base64\r\n"
      "- [SYNTAX] PLAIN is the only mechanism here\r\n- [SYNTAX] wrong number of words\r\n" },
    { .name = "a store that is busy, and one out of order",
      .in = HELLO "AUTH PLAIN AGxhdGVyAHg=\r\nAUTH PLAIN AG5ldmVyAHg=\r\n",
      .out =
          HELLO_OUT "- [TEMP] the mailbox cannot be read now, please try again\r\n"
                    "- [PERM] the mail store is out of order, please tell its administrator\r\n" },
    { .name = "a mailbox that cannot be listed",
      .in = IN "LIST\r\n",
      .out = HELLO_OUT
      "- [TEMP] the mailbox cannot be read now, please try again\r\n- [STATE] AUTH comes first\r\n",
      .store_error = -EIO },
    { .name = "AUTH twice",
      .in = IN "AUTH PLAIN AGFubmEAc2VjcmV0\r\n",
      .out = OUT "- [STATE] you are logged in already\r\n" },
    { .name = "lists",
      .in = IN "LIST\r\nLIST 0\r\nLIST 0000beef.1\r\nLIST 0000beef.2\r\nLIST 0000beef.4\r\n",
      .out = OUT "* 0000beef.1 5\r\n* 0000beef.3 15\r\n* 0000beef.4 0\r\n+ LIST 3\r\n"
                 "* 0000beef.1 5\r\n* 0000beef.3 15\r\n* 0000beef.4 0\r\n+ LIST 3\r\n"
                 "* 0000beef.3 15\r\n* 0000beef.4 0\r\n+ LIST 2\r\n"
                 "* 0000beef.3 15\r\n* 0000beef.4 0\r\n+ LIST 2\r\n"
                 "+ LIST 0\r\n" },
    { .name = "uids that are none, or of another epoch",
      .in = IN "LIST x\r\nLIST 0000beef.0\r\nLIST 0000bee0.1\r\nPULL "
               "0000bee0.1\r\nPULL ../x\r\n",
      .out = OUT "- [SYNTAX] a uid is 8 of 0-9a-f, a dot and a number\r\n"
                 "- [SYNTAX] a uid is 8 of 0-9a-f, a dot and a number\r\n"
                 "- [NOSUCH] epoch 0000beef\r\n- [NOSUCH] epoch 0000beef\r\n"
                 "- [SYNTAX] a uid is 8 of 0-9a-f, a dot and a number\r\n" },
    { .name = "all pulled",
      .in = IN "PULL\r\n",
      .out = OUT FRAME_1 FRAME_3 FRAME_4 "+ PULL 3\r\n" },
    { .name = "pulled after one",
      .in = IN "PULL 0000beef.3\r\n",
      .out = OUT FRAME_4 "+ PULL 1\r\n" },
    { .name = "nothing to pull", .in = IN "PULL 0000beef.9\r\n", .out = OUT "+ PULL 0\r\n" },
    { .name = "pulled inside",
      .in = IN "PULL 0000beef.3 13\r\n",
      .out =
          OUT "M 0000beef.3 15 13\r\n\r\n\r\nS 0000beef.3 " DIGEST "\r\n" FRAME_4 "+ PULL 2\r\n" },
    { .name = "pulled at the end of one",
      .in = IN "PULL 0000beef.1 5\r\n",
      .out = OUT "M 0000beef.1 5 5\r\n\r\nS 0000beef.1 " DIGEST "\r\n" FRAME_3 FRAME_4
                 "+ PULL 3\r\n" },
    { .name = "offsets that are none",
      .in = IN "PULL 0000beef.1 6\r\nPULL 0000beef.2 0\r\nPULL 0000beef.1 x\r\nPULL 0 1\r\nPULL "
               "0000beef.1 1 1\r\n",
      .out = OUT "- [NOSUCH] offset\r\n- [NOSUCH] message\r\n"
                 "- [SYNTAX] an offset is a number of octets of one message\r\n"
                 "- [SYNTAX] an offset is a number of octets of one message\r\n"
                 "- [SYNTAX] wrong number of words\r\n" },
    { .name = "acknowledged, and durable",
      .in = IN "ACK 0000beef.1\r\nACK 0000beef.4\r\nSYNC\r\nSYNC\r\nLIST\r\n",
      .out = OUT "+ SYNC 2\r\n+ SYNC 2\r\n* 0000beef.3 15\r\n+ LIST 1\r\n",
      .deleted = 2 },
    { .name = "acknowledged, and QUIT",
      .in = IN "ACK 0000beef.3\r\nQUIT\r\n",
      .out = OUT "+ BYE\r\n",
      .ended = true,
      .deleted = 1 },
    { .name = "acknowledged what is not there",
      .in = IN "ACK 0000beef.2\r\nACK 0000beef.9\r\nACK 0000bee0.1\r\nSYNC\r\n",
      .out = OUT "+ SYNC 0\r\n" },
    { .name = "an ACK that names nothing",
      .in = IN "ACK all\r\nNOOP\r\n",
      .out = OUT "- [SYNTAX] ACK needs a uid\r\n",
      .ended = true },
    { .name = "an ACK of zero",
      .in = IN "ACK 0\r\n",
      .out = OUT "- [SYNTAX] ACK needs a uid\r\n",
      .ended = true },
    { .name = "acknowledged while it is pulled",
      .in = IN "PULL\r\nACK 0000beef.3\r\nSYNC\r\nACK 0000beef.1\r\nNOOP\r\n",
      .out = OUT "+ SYNC 2\r\n" FRAME_4 "+ PULL 1\r\n+ NOOP\r\n",
      .deleted = 2 },
    { .name = "requests behind a PULL wait",
      .in = IN "PULL 0000beef.3\r\nLIST 0000beef.3\r\nSYNC\r\nNOOP\r\n",
      .out = OUT FRAME_4 "+ PULL 1\r\n* 0000beef.4 0\r\n+ LIST 1\r\n+ SYNC 0\r\n+ NOOP\r\n" },
    { .name = "QUIT before a PULL has begun to send",
      .in = IN "PULL\r\nQUIT\r\n",
      .out = OUT "+ PULL 0\r\n+ BYE\r\n",
      .ended = true },
    { .name = "QUIT behind a LIST lets it end",
      .in = IN "LIST 0000beef.3\r\nQUIT\r\n",
      .out = OUT "* 0000beef.4 0\r\n+ LIST 1\r\n+ BYE\r\n",
      .ended = true },
    { .name = "a wait that the client ends",
      .in = IN "WAIT 5\r\nNOOP\r\n",
      .out = OUT "+ NONE\r\n+ NOOP\r\n" },
    { .name = "no time to wait",
      .in = IN "WAIT x\r\nWAIT\r\n",
      .out =
          OUT "- [SYNTAX] WAIT needs a number of seconds\r\n- [SYNTAX] wrong number of words\r\n" },
    { .name = "deletion that does not become durable",
      .in = IN "ACK 0000beef.1\r\nSYNC\r\nQUIT\r\n",
      .out = OUT "- [TEMP] the deletion cannot be made durable now\r\n- [TEMP] the deletion cannot "
                 "be made durable now\r\n",
      .ended = true,
      .complete_error = -EIO },
    { .name = "what is kept of an upload",
      .in = IN "HAVE a" ID "\r\nHAVE d" ID "\r\nHAVE f" ID "\r\nHAVE e" ID "\r\nHAVE x\r\nHAVE A" ID
               "\r\n",
      .out = OUT "+ HAVE a" ID " 0\r\n+ HAVE d" ID " DONE\r\n+ HAVE f" ID " 5\r\n"
                 "- [TEMP] uploads cannot be looked up now\r\n"
                 "- [SYNTAX] the id of an upload is 32 of 0-9a-f\r\n"
                 "- [SYNTAX] the id of an upload is 32 of 0-9a-f\r\n" },
    { .name = "an upload, and another behind it",
      .in = IN "PUSH a" ID " 7 " DIGEST ENVELOPE "hello\r\nPUSH b" ID " 5 " DIGEST ENVELOPE
               "helloNOOP\r\n",
      .out = OUT "+ PUSH a" ID " DONE\r\n+ PUSH b" ID " DONE\r\n+ NOOP\r\n" },
    { .name = "octets that look like the protocol",
      .in = IN "PUSH a" ID " 13 " DIGEST ENVELOPE "hello\nQUIT\r\nNOOP\r\n",
      .out = OUT "+ PUSH a" ID " DONE\r\n- [SYNTAX] unknown request\r\n" },
    { .name = "an empty upload",
      .in = IN "PUSH a" ID " 0 " DIGEST ENVELOPE "NOOP\r\n",
      .out = OUT "+ PUSH a" ID " DONE\r\n+ NOOP\r\n" },
    { .name = "an upload gone on with",
      .in = IN "PUSH f" ID " 10 " DIGEST " 5" ENVELOPE "helloNOOP\r\n",
      .out = OUT "+ PUSH f" ID " DONE\r\n+ NOOP\r\n" },
    { .name = "gone on with at the wrong place: its octets are read and forgotten",
      .in = IN "PUSH f" ID " 10 " DIGEST " 4" ENVELOPE "abcdefNOOP\r\n",
      .out = OUT "- [CONFLICT] PUSH 5\r\n+ NOOP\r\n" },
    { .name = "done before",
      .in = IN "PUSH d" ID " 5 " DIGEST ENVELOPE "helloNOOP\r\n",
      .out = OUT "+ PUSH d" ID " DONE\r\n+ NOOP\r\n" },
    { .name = "another digest",
      .in = IN "PUSH a" ID " 5 " DIGEST ENVELOPE "jelloNOOP\r\n",
      .out = OUT "- [CONFLICT] PUSH digest\r\n+ NOOP\r\n" },
    { .name = "a refused envelope",
      .in = IN "PUSH a" ID " 5 " DIGEST "\r\nFROM:<a@b>\r\n\r\nhelloNOOP\r\n",
      .out = OUT "- [PERM] PUSH envelope\r\n+ NOOP\r\n" },
    { .name = "a disk that is full",
      .in = IN "PUSH a" ID " 5 " DIGEST ENVELOPE "!ellaNOOP\r\n",
      .out = OUT "- [TEMP] PUSH a" ID " it cannot be taken now, please try again\r\n+ NOOP\r\n" },
    { .name = "no PUSH at all",
      .in = IN "PUSH a" ID " x " DIGEST ENVELOPE "hello",
      .out = OUT "- [SYNTAX] write PUSH id octets sha256, and perhaps an offset\r\n",
      .ended = true },
    { .name = "an id with a path in it",
      .in = IN "PUSH ../../../../../etc/passwd0000000 5 " DIGEST "\r\n",
      .out = OUT "- [SYNTAX] write PUSH id octets sha256, and perhaps an offset\r\n",
      .ended = true },
    { .name = "more octets than there are",
      .in = IN "PUSH a" ID " 9223372036854775808 " DIGEST "\r\n",
      .out = OUT "- [SYNTAX] write PUSH id octets sha256, and perhaps an offset\r\n",
      .ended = true },
    { .name = "an offset behind the end",
      .in = IN "PUSH a" ID " 5 " DIGEST " 6\r\n",
      .out = OUT "- [SYNTAX] write PUSH id octets sha256, and perhaps an offset\r\n",
      .ended = true },
    { .name = "no digest",
      .in = IN "PUSH a" ID " 5\r\n",
      .out = OUT "- [SYNTAX] write PUSH id octets sha256, and perhaps an offset\r\n",
      .ended = true },
    { .name = "an upload that never ends",
      .in = IN "PUSH a" ID " 5 " DIGEST ENVELOPE "hell",
      .out = OUT },
    { .name = "an envelope that never ends",
      .in = IN "PUSH a" ID " 5 " DIGEST "\r\nFROM:<a@b>\r\n",
      .out = OUT },
    { .name = "a bare LF",
      .in = IN "NOOP\nNOOP\r\n",
      .out = OUT "- [SYNTAX] a line is at most 512 octets, ended by CR LF\r\n",
      .ended = true },
    { .name = "a long line",
      .in = IN "NOOP " LONG_500 "yyyyyy\r\nNOOP\r\n",
      .out = OUT "- [SYNTAX] a line is at most 512 octets, ended by CR LF\r\n",
      .ended = true },
    { .name = "a line that is just not too long",
      .in = IN "NOOP " LONG_500 "yyyyy\r\n",
      .out = OUT "- [SYNTAX] wrong number of words\r\n" },
    { .name = "too many refusals",
      .in = IN "X\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\nX\r\n",
      .out = OUT
      "- [SYNTAX] unknown request\r\n- [SYNTAX] unknown request\r\n- [SYNTAX] unknown request\r\n"
      "- [SYNTAX] unknown request\r\n- [SYNTAX] unknown request\r\n- [SYNTAX] unknown request\r\n",
      .ended = true },
};

static void check_row(const struct row *row, size_t step)
{
    static const struct remote_facts facts = { "host", true, 6, 1000 };
    struct side side = { .store_error = row->store_error, .complete_error = row->complete_error };
    char *out;
    size_t size;
    int r;

    side.out = open_memstream(&out, &size);
    assert_non_null(side.out);
    r = converse(&side, &facts, row->in, step);
    assert_int_equal(fclose(side.out), 0);
    if (strcmp(out, row->out) != 0 || r != (row->ended ? REMOTE_ENDED : REMOTE_MORE) ||
        side.deleted != row->deleted)
        fail_msg("%s, %zu at a time: %d, %u deleted\n%s", row->name, step, r, side.deleted, out);
    free(out);
}

static void requests_are_answered_alike_however_they_are_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        check_row(&rows[i], 1);
        check_row(&rows[i], 7);
        check_row(&rows[i], 4096);
    }
}

static void without_tls_no_password_is_taken(void **state)
{
    static const struct remote_facts facts = { "host", false, 6, 1000 };
    struct side side = { .count = 0 };
    char *out;
    size_t size;

    (void)state;
    side.out = open_memstream(&out, &size);
    assert_int_equal(converse(&side, &facts, IN, 4096), REMOTE_MORE);
    assert_int_equal(fclose(side.out), 0);
    assert_string_equal(out, HELLO_OUT "- [TLS] passwords are not taken without TLS\r\n");
    free(out);
}

/* Feeds `in` at once. */
static int talk(struct remote_session *session, const char *in)
{
    struct span rest = span_of_text(in);

    return remote_session_feed(session, &rest);
}

static void what_ends_a_session_inside_a_frame_says_nothing(void **state)
{
    static const struct remote_facts facts = { "host", true, 6, 1000 };
    static const char *const ends[] = { "ACK x\r\n", "NOOP\n", LONG_500 LONG_500 "\r\n" };

    (void)state;
    for (size_t i = 0; i < COUNT(ends); i++) {
        struct side side = { .count = 0 };
        struct remote_session session;
        char *out;
        size_t size, before;

        side.out = open_memstream(&out, &size);
        remote_session_init(&session, &facts, &caller, &side);
        assert_int_equal(talk(&session, IN "PULL\r\n"), REMOTE_MORE);
        for (int pumps = 0; pumps < 2; pumps++)
            assert_int_equal(remote_session_pump(&session), REMOTE_MORE);
        fflush(side.out);
        before = size;
        assert_int_equal(talk(&session, ends[i]), REMOTE_ENDED);
        fflush(side.out);
        assert_int_equal(size, before);
        fclose(side.out);
        free(out);
        remote_session_deinit(&session);
    }
}

static void quit_and_sync_in_a_pull_are_answered_behind_the_frame(void **state)
{
    static const struct remote_facts facts = { "host", true, 6, 1000 };
    struct side side = { .count = 0 };
    struct remote_session session;
    char *out;
    size_t size;
    int r = REMOTE_MORE;

    (void)state;
    side.out = open_memstream(&out, &size);
    remote_session_init(&session, &facts, &caller, &side);
    assert_int_equal(talk(&session, IN "PULL\r\n"), REMOTE_MORE);
    for (int pumps = 0; pumps < 2; pumps++)
        assert_int_equal(remote_session_pump(&session), REMOTE_MORE);
    assert_int_equal(talk(&session, "SYNC\r\nQUIT\r\n"), REMOTE_MORE);
    assert_false(remote_session_listening(&session));
    while (r == REMOTE_MORE)
        r = remote_session_pump(&session);
    assert_int_equal(r, REMOTE_ENDED);
    fclose(side.out);
    assert_string_equal(out, OUT FRAME_1 "+ SYNC 0\r\n+ PULL 1\r\n+ BYE\r\n");
    free(out);
    remote_session_deinit(&session);
}

static void a_wait_ends_with_new_mail_or_with_its_time(void **state)
{
    static const struct remote_facts facts = { "host", true, 6, 1000 };
    struct side side = { .gone = { false, false, true } };
    struct remote_session session;
    char *out;
    size_t size;

    (void)state;
    side.out = open_memstream(&out, &size);
    remote_session_init(&session, &facts, &caller, &side);
    assert_int_equal(talk(&session, IN "WAIT 9999\r\n"), REMOTE_MORE);
    assert_int_equal(side.waited, REMOTE_WAIT_MAX);
    assert_int_equal(remote_session_wake(&session, false), REMOTE_MORE);
    assert_int_equal(session.state, REMOTE_WAITING);
    side.gone[2] = false;
    assert_int_equal(remote_session_wake(&session, false), REMOTE_MORE);
    assert_int_equal(session.state, REMOTE_READY);
    assert_int_equal(talk(&session, "WAIT 7\r\n"), REMOTE_MORE);
    assert_int_equal(side.waited, 7);
    assert_int_equal(remote_session_wake(&session, true), REMOTE_MORE);
    assert_int_equal(remote_session_wake(&session, true), REMOTE_MORE);
    fclose(side.out);
    assert_string_equal(out, HELLO_OUT "+ 2 messages 20 octets\r\n+ NEW\r\n+ NONE\r\n");
    free(out);
    remote_session_deinit(&session);
}

static void a_message_that_is_gone_is_passed_over_and_one_that_fails_ends_all(void **state)
{
    static const struct remote_facts facts = { "host", true, 6, 1000 };

    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        struct side side = { .count = 0 };
        struct remote_session session;
        char *out;
        size_t size;
        int r = REMOTE_MORE;

        side.out = open_memstream(&out, &size);
        remote_session_init(&session, &facts, &caller, &side);
        assert_int_equal(talk(&session, IN "PULL\r\n"), REMOTE_MORE);
        side.gone[0] = true;
        side.read_error = fails ? -EIO : 0;
        while (r == REMOTE_MORE && remote_session_pumping(&session))
            r = remote_session_pump(&session);
        assert_int_equal(r, fails ? -EIO : REMOTE_MORE);
        fclose(side.out);
        assert_string_equal(out, fails ? OUT : OUT FRAME_3 FRAME_4 "+ PULL 2\r\n");
        free(out);
        remote_session_deinit(&session);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered_alike_however_they_are_cut),
        cmocka_unit_test(without_tls_no_password_is_taken),
        cmocka_unit_test(what_ends_a_session_inside_a_frame_says_nothing),
        cmocka_unit_test(quit_and_sync_in_a_pull_are_answered_behind_the_frame),
        cmocka_unit_test(a_wait_ends_with_new_mail_or_with_its_time),
        cmocka_unit_test(a_message_that_is_gone_is_passed_over_and_one_that_fails_ends_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Any octets as a client of Remote Mail: whole and one octet at a time the same is answered,
 * deleted and uploaded; every reply begins with +, - or *; what the server sends is read by the
 * client's reader of frames, whole and cut, without a complaint, and each frame has the octets of
 * its message; an upload that was begun is ended or stopped once, and gets no octet more than it
 * announced; no password comes back. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/remote_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PASSWORD "sesame"
#define DIGEST   "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define EPOCH    0xbeef

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static const char *const texts[] = { "one\r\n", "three, longer\r\n", "" };
static const uint64_t numbers[] = { 1, 3, 4 };

#define MESSAGES 3

struct side {
    struct maildrop_message messages[MESSAGES];
    size_t count;
    bool gone[MESSAGES];
    unsigned logins, deleted, begun, ended, refreshes;
    const char *text;
    bool uploading;
    uint64_t left; /* of the upload */
    uint64_t taken;
    FILE *replies;
    char *out;
    size_t out_size;
};

static int side_login(void *context, struct span name, struct span password, struct span mirror)
{
    struct side *side = context;

    REQUIRE(side->logins == 0 && name.size > 0 && remote_is_hex(mirror, REMOTE_MIRROR_MAX));
    if (!span_equal(name, SPAN_LIT("a")) || !span_equal(password, SPAN_LIT(PASSWORD)))
        return REMOTE_LOGIN_WRONG;
    side->logins++;
    return REMOTE_LOGIN_DONE;
}

static int side_complete(void *context, uint64_t *ret_deleted)
{
    struct side *side = context;

    REQUIRE(side->logins == 1);
    for (size_t i = 0; i < side->count; i++)
        for (size_t k = 0; k < MESSAGES; k++)
            if (side->messages[i].deleted && numbers[k] == side->messages[i].number &&
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

    side_complete(side, &deleted);
    side->refreshes++;
    side->count = 0;
    for (size_t i = 0; i < MESSAGES; i++) {
        struct maildrop_message *message = &side->messages[side->count];

        if (side->gone[i])
            continue;
        *message = (struct maildrop_message){ .number = numbers[i], .octets = strlen(texts[i]) };
        snprintf(message->uid, sizeof(message->uid), "%08x.%d", EPOCH, (int)numbers[i]);
        side->count++;
    }
    *ret_mailbox = (struct remote_mailbox){ side->messages, side->count, EPOCH };
    return 0;
}

static int side_open(void *context, size_t index, uint64_t offset, uint64_t *ret_octets)
{
    struct side *side = context;

    REQUIRE(index < side->count);
    for (size_t i = 0; i < MESSAGES; i++)
        if (numbers[i] == side->messages[index].number) {
            *ret_octets = strlen(texts[i]);
            if (offset > *ret_octets)
                return -34; /* -ERANGE */
            side->text = texts[i] + offset;
            return 0;
        }
    return -2; /* -ENOENT */
}

static int side_write(void *context, struct span octets)
{
    struct side *side = context;

    REQUIRE(fwrite(octets.data, 1, octets.size, side->replies) == octets.size);
    return 0;
}

static int side_piece(void *context, char *ret_digest)
{
    struct side *side = context;
    struct span piece = span_first(span_of_text(side->text), 3);

    if (piece.size == 0) {
        memcpy(ret_digest, DIGEST, REMOTE_DIGEST_MAX);
        return REMOTE_PIECE_LAST;
    }
    side->text += piece.size;
    side_write(side, piece);
    return REMOTE_PIECE_MORE;
}

static void side_wait(void *context, uint32_t seconds)
{
    (void)context;
    REQUIRE(seconds <= REMOTE_WAIT_MAX);
}

static int side_have(void *context, struct span id, uint64_t *ret_octets)
{
    (void)context;
    REQUIRE(remote_is_hex(id, REMOTE_UPLOAD_MAX));
    *ret_octets = 0;
    return id.data[0] == 'd' ? REMOTE_PUSH_DONE : 0;
}

static int side_push_begin(void *context, const struct remote_upload *upload, struct text *reason)
{
    struct side *side = context;

    REQUIRE(side->logins == 1 && !side->uploading && upload->offset <= upload->octets);
    REQUIRE(remote_is_hex(upload->id, REMOTE_UPLOAD_MAX) &&
            remote_is_hex(upload->digest, REMOTE_DIGEST_MAX));
    REQUIRE(upload->envelope.size == 0 || upload->envelope.data[upload->envelope.size - 1] == '\n');
    if (upload->id.data[0] == 'd')
        return REMOTE_PUSH_DONE;
    if (upload->id.data[0] == 'c') {
        text_puts(reason, "[PERM] PUSH no");
        return REMOTE_PUSH_REFUSED;
    }
    side->uploading = true;
    side->left = upload->octets - upload->offset;
    side->begun++;
    return REMOTE_PUSH_TAKEN;
}

static int side_push_write(void *context, struct span octets)
{
    struct side *side = context;

    REQUIRE(side->uploading && octets.size > 0 && octets.size <= side->left);
    side->left -= octets.size;
    side->taken += octets.size;
    return 0;
}

static int side_push_end(void *context, struct text *reason)
{
    struct side *side = context;

    (void)reason;
    REQUIRE(side->uploading && side->left == 0);
    side->uploading = false;
    side->ended++;
    return REMOTE_PUSH_DONE;
}

static void side_push_stop(void *context)
{
    struct side *side = context;

    REQUIRE(side->uploading && side->left > 0);
    side->uploading = false;
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

/* Pumps where the session does not listen, and at the end. */
static int converse(struct side *side, const uint8_t *data, size_t size, size_t step)
{
    static const struct remote_facts facts = { "host", true, 10, 1000 };
    struct remote_session session;
    int r = REMOTE_MORE;

    *side = (struct side){ .count = 0 };
    side->replies = open_memstream(&side->out, &side->out_size);
    REQUIRE(side->replies);
    remote_session_init(&session, &facts, &caller, side);
    for (size_t at = 0; at < size && r == REMOTE_MORE; at += step) {
        struct span rest = span_of(data + at, size - at < step ? size - at : step);

        do {
            while (r == REMOTE_MORE && !remote_session_listening(&session)) {
                REQUIRE(remote_session_pumping(&session));
                r = remote_session_pump(&session);
            }
            if (r == REMOTE_MORE)
                r = remote_session_feed(&session, &rest);
        } while (r == REMOTE_MORE && rest.size > 0);
    }
    while (r == REMOTE_MORE && remote_session_pumping(&session))
        r = remote_session_pump(&session);
    REQUIRE(r == REMOTE_MORE || r == REMOTE_ENDED);
    REQUIRE(session.errors <= 10 && (session.errors < 10 || r == REMOTE_ENDED));
    remote_session_deinit(&session);
    REQUIRE(!side->uploading);
    REQUIRE(fclose(side->replies) == 0);
    return r;
}

/* What a client's reader tells of `in`, as octets. Returns the last result. */
static int read_all(struct span in, size_t step, char **ret_told, size_t *ret_size)
{
    struct remote_reader reader;
    FILE *told = open_memstream(ret_told, ret_size);
    int r = REMOTE_READ_MORE;

    REQUIRE(told);
    remote_reader_init(&reader);
    while (r >= 0 && in.size > 0) {
        struct span rest = span_first(in, step), got;

        in = span_skip(in, step);
        while ((r = remote_reader_next(&reader, &rest, &got)) > REMOTE_READ_MORE) {
            if (r == REMOTE_READ_FRAME)
                REQUIRE(reader.frame.offset <= reader.frame.octets && reader.frame.uid.number > 0);
            if (r == REMOTE_READ_OCTETS)
                REQUIRE(got.size > 0);
            else
                fputc('0' + r, told);
            if (r == REMOTE_READ_DIGEST)
                REQUIRE(remote_is_hex(got, REMOTE_DIGEST_MAX) && reader.left == 0);
            if (r != REMOTE_READ_FRAME)
                fwrite(got.data, 1, got.size, told);
        }
    }
    remote_reader_deinit(&reader);
    REQUIRE(fclose(told) == 0);
    return r;
}

static void require_readable(struct span in)
{
    char *whole, *bytewise;
    size_t whole_size, bytewise_size;
    int r = read_all(in, in.size ? in.size : 1, &whole, &whole_size);

    REQUIRE(read_all(in, 1, &bytewise, &bytewise_size) == r);
    REQUIRE(r == REMOTE_READ_MORE);
    REQUIRE(span_equal(span_of(whole, whole_size), span_of(bytewise, bytewise_size)));
    free(whole);
    free(bytewise);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct side whole, bytewise;
    struct span out;
    int r;

    if (size > 65536)
        return 0;
    r = converse(&whole, data, size, size ? size : 1);
    REQUIRE(converse(&bytewise, data, size, 1) == r);
    REQUIRE(whole.deleted == bytewise.deleted && whole.ended == bytewise.ended &&
            whole.taken == bytewise.taken);
    out = span_of(whole.out, whole.out_size);
    REQUIRE(span_equal(out, span_of(bytewise.out, bytewise.out_size)));
    REQUIRE(span_search(out, SPAN_LIT(PASSWORD)) == out.size);
    require_readable(out);
    free(whole.out);
    free(bytewise.out);
    return 0;
}

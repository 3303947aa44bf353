/* Any octets as a server of Remote Mail: whole and one octet at a time the client says the same,
 * asks its caller the same and ends the same; what it says is lines of its own, of which a server
 * would understand each; the password is said once; a message's octets are as many as were
 * announced, and none comes that was not asked for; an upload gets one answer. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/fetch/dialogue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID_A   "0123456789abcdef0123456789abcdef"
#define ID_B   "fedcba9876543210fedcba9876543210"
#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

/* The first octet of the input: how the client is set up. */
enum { ONE_FLIGHT = 1, SYNC = 2, WATCH = 4, UPLOADS = 8, BEGUN = 16, PART = 32 };

static const char *const bodies[] = { "Subject: a\r\n\r\nhello\r\n", "b\r\n" };

struct side {
    unsigned setup;
    bool logged_in, parted, inside;
    unsigned stage[2]; /* 0 new, 1 to be asked, 2 asked, 3 known, 4 sent, 5 answered */
    uint64_t offset[2];
    size_t reading, at;
    uint64_t left; /* of the frame */
    unsigned pulls, acks, logins;
    uint64_t stored;
    FILE *told, *said;
    char *told_text, *said_text;
    size_t told_size, said_size;
};

static int side_greeted(void *context, uint64_t limit_bytes)
{
    struct side *side = context;

    fprintf(side->told, "size %llu\n", (unsigned long long)limit_bytes);
    return 0;
}

static int side_logged_in(void *context, uint64_t messages, uint64_t octets)
{
    struct side *side = context;

    side->logged_in = true;
    fprintf(side->told, "login %llu %llu\n", (unsigned long long)messages,
            (unsigned long long)octets);
    return 0;
}

static bool side_where(void *context, struct remote_uid *ret_uid, uint64_t *ret_offset)
{
    struct side *side = context;

    side->pulls++;
    *ret_uid = (struct remote_uid){ side->setup & PART ? 0xbeef : 0, side->setup & PART ? 7 : 0 };
    *ret_offset = 3;
    return (side->setup & PART) && !side->parted;
}

static int side_forget(void *context)
{
    struct side *side = context;

    side->parted = true;
    fprintf(side->told, "forget\n");
    return 0;
}

static int side_frame(void *context, const struct remote_frame *frame)
{
    struct side *side = context;

    REQUIRE(side->pulls > 0 && !side->inside && side->logged_in);
    side->inside = true;
    side->left = frame->octets - frame->offset;
    fprintf(side->told, "frame %llu\n", (unsigned long long)frame->uid.number);
    return 0;
}

static int side_octets(void *context, struct span octets)
{
    struct side *side = context;

    REQUIRE(side->inside && octets.size > 0 && octets.size <= side->left);
    side->left -= octets.size;
    fwrite(octets.data, 1, octets.size, side->told);
    return 0;
}

static int side_whole(void *context, struct remote_uid uid, struct span digest)
{
    struct side *side = context;

    REQUIRE(side->inside && side->left == 0 && digest.size == REMOTE_DIGEST_MAX);
    side->inside = false;
    side->stored = uid.number;
    return uid.number % 16 == 9 ? DIALOGUE_AGAIN : 0;
}

static int side_pulled(void *context)
{
    struct side *side = context;

    REQUIRE(!side->inside);
    fprintf(side->told, "pulled\n");
    return 0;
}

static bool side_next_ack(void *context, struct remote_uid *ret_uid)
{
    struct side *side = context;

    if (side->acks > 0)
        return false;
    side->acks++;
    *ret_uid = (struct remote_uid){ 0xbeef, 1 };
    return true;
}

static int side_synced(void *context)
{
    struct side *side = context;

    REQUIRE(side->setup & SYNC);
    fprintf(side->told, "synced\n");
    return 0;
}

static bool side_next_have(void *context, size_t *ret_index, struct span *ret_id)
{
    struct side *side = context;

    for (size_t i = 0; i < 2; i++) {
        if (side->stage[i] != 1)
            continue;
        side->stage[i] = 2;
        *ret_index = i;
        *ret_id = i == 0 ? SPAN_LIT(ID_A) : SPAN_LIT(ID_B);
        return true;
    }
    return false;
}

static int side_next_push(void *context, struct dialogue_push *ret_push)
{
    struct side *side = context;
    bool hold = false;

    for (size_t i = 0; i < 2; i++) {
        hold = hold || side->stage[i] < 4;
        if (!side->logged_in || (side->stage[i] != 0 && side->stage[i] != 3))
            continue;
        side->stage[i] = 4;
        side->reading = i;
        side->at = side->offset[i];
        *ret_push = (struct dialogue_push){ .index = i,
                                            .id = i == 0 ? SPAN_LIT(ID_A) : SPAN_LIT(ID_B),
                                            .digest = SPAN_LIT(DIGEST),
                                            .envelope = SPAN_LIT("FROM:<a@b>\nTO:<c@d>\n"),
                                            .octets = strlen(bodies[i]),
                                            .offset = side->offset[i] };
        return DIALOGUE_PUSH;
    }
    return hold ? DIALOGUE_HOLD : DIALOGUE_NONE;
}

static int side_read(void *context, unsigned char *into, size_t room, size_t *ret_size)
{
    struct side *side = context;
    struct span rest = span_skip(span_of_text(bodies[side->reading]), side->at);

    rest = span_first(rest, room);
    if (rest.size > 0)
        memcpy(into, rest.data, rest.size);
    side->at += rest.size;
    *ret_size = rest.size;
    return 0;
}

static int side_had(void *context, size_t index, bool done, uint64_t octets)
{
    struct side *side = context;

    REQUIRE(index < 2 && side->stage[index] == 2);
    side->stage[index] = done ? 5 : 3;
    side->offset[index] = octets <= strlen(bodies[index]) ? octets : 0;
    fprintf(side->told, "had %zu %d %llu\n", index, done, (unsigned long long)octets);
    return 0;
}

static int side_pushed(void *context, size_t index)
{
    struct side *side = context;

    REQUIRE(index < 2 && side->stage[index] == 4);
    side->stage[index] = 5;
    fprintf(side->told, "pushed %zu\n", index);
    return 0;
}

static int side_refused(void *context, size_t index, struct span code, struct span words)
{
    struct side *side = context;

    REQUIRE(index < 2 && (side->stage[index] == 2 || side->stage[index] == 4));
    side->stage[index] = 5;
    fprintf(side->told, "refused %zu\n", index);
    fwrite(code.data, 1, code.size, side->told);
    fwrite(words.data, 1, words.size, side->told);
    return 0;
}

static bool side_more_uploads(void *context)
{
    (void)context;
    return false;
}

static void side_waiting(void *context, bool begins)
{
    struct side *side = context;

    fprintf(side->told, "wait %d\n", begins);
}

static const struct dialogue_caller caller = {
    .greeted = side_greeted,
    .logged_in = side_logged_in,
    .where = side_where,
    .no_such_part = side_forget,
    .new_epoch = side_forget,
    .frame = side_frame,
    .octets = side_octets,
    .whole = side_whole,
    .pulled = side_pulled,
    .next_ack = side_next_ack,
    .synced = side_synced,
    .next_have = side_next_have,
    .next_push = side_next_push,
    .read = side_read,
    .had = side_had,
    .pushed = side_pushed,
    .refused = side_refused,
    .more_uploads = side_more_uploads,
    .waiting = side_waiting,
};

static void drain(struct dialogue *dialogue, struct side *side)
{
    struct span output = dialogue_output(dialogue);

    fwrite(output.data, 1, output.size, side->said);
    dialogue_sent(dialogue, output.size);
}

/* A reply may answer what was not said yet, if the octets come faster than a server could have
 * them: so each line is fed by itself, as an honest server waits for what it answers. */
static size_t line_size(const uint8_t *data, size_t size)
{
    size_t end = span_find(span_of(data, size), '\n');

    return end < size ? end + 1 : size;
}

static int converse(struct side *side, unsigned setup, const uint8_t *data, size_t size,
                    size_t step)
{
    const struct dialogue_facts facts = { .agent = "test/1",
                                          .mirror = "0123456789abcdef",
                                          .user = SPAN_LIT("anna"),
                                          .password = SPAN_LIT("secret"),
                                          .one_flight = setup & ONE_FLIGHT,
                                          .sync = setup & SYNC,
                                          .watch = setup & WATCH };
    static struct dialogue dialogue;
    int r;

    *side = (struct side){ .setup = setup };
    side->stage[0] = side->stage[1] = !(setup & UPLOADS) ? 5 : setup & BEGUN ? 1 : 0;
    side->told = open_memstream(&side->told_text, &side->told_size);
    side->said = open_memstream(&side->said_text, &side->said_size);
    REQUIRE(side->told && side->said);
    dialogue_init(&dialogue, &facts, &caller, side);
    r = dialogue_fill(&dialogue);
    drain(&dialogue, side);
    while (r == DIALOGUE_MORE && size > 0) {
        size_t line = line_size(data, size);

        for (size_t at = 0; r == DIALOGUE_MORE && at < line; at += step) {
            r = dialogue_feed(&dialogue, span_of(data + at, line - at < step ? line - at : step));
            if (r == DIALOGUE_MORE)
                r = dialogue_fill(&dialogue);
            drain(&dialogue, side);
        }
        data += line;
        size -= line;
    }
    REQUIRE(span_find(span_of_text(dialogue.words), '\x1b') == strlen(dialogue.words));
    REQUIRE(dialogue.pending_count <= DIALOGUE_PENDING);
    dialogue_deinit(&dialogue);
    fclose(side->told);
    fclose(side->said);
    return r;
}

/* Every line but those of uploads begins with a request. */
static void require_requests(struct span said, bool uploads)
{
    static const char *const verbs[] = {
        "RM/1 ", "AUTH ", "ACK ", "PULL", "SYNC", "WAIT ", "QUIT\r"
    };

    while (said.size > 0 && !uploads) {
        size_t end = span_search(said, SPAN_LIT("\r\n"));
        bool known = false;

        REQUIRE(end < said.size && end <= REMOTE_LINE_MAX - 2);
        for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
            known = known || span_starts_nocase(said, span_of_text(verbs[i]));
        REQUIRE(known);
        said = span_skip(said, end + 2);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct side whole, bytewise;
    struct span said, auth;
    int r;

    if (size < 1 || size > 65536)
        return 0;
    r = converse(&whole, data[0], data + 1, size - 1, SIZE_MAX / 2);
    REQUIRE(converse(&bytewise, data[0], data + 1, size - 1, 1) == r);
    said = span_of(whole.said_text, whole.said_size);
    REQUIRE(span_equal(said, span_of(bytewise.said_text, bytewise.said_size)));
    REQUIRE(span_equal(span_of(whole.told_text, whole.told_size),
                       span_of(bytewise.told_text, bytewise.told_size)));
    auth = span_skip(said, span_search(said, SPAN_LIT("AUTH PLAIN ")));
    REQUIRE(span_search(span_skip(auth, 1), SPAN_LIT("AUTH PLAIN ")) == span_skip(auth, 1).size);
    require_requests(said, data[0] & UPLOADS);
    free(whole.told_text);
    free(whole.said_text);
    free(bytewise.told_text);
    free(bytewise.said_text);
    return 0;
}

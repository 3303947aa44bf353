/* Any octets as what a server of Remote Mail sends, for the client's reader.
 *
 * Invariants: whole, byte by byte and in uneven pieces the same is read. There is one spelling of
 * everything: what was read, written again as the server writes it, is what came, octet for octet,
 * up to where it breaks off. A frame begins inside its message, has as many octets as it announced
 * and no more, and ends with a digest of its own uid. Behind an error nothing is read. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/remote_frame.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

struct seen {
    char *again; /* what was read, as a server would have written it */
    size_t size;
    FILE *out;
    bool inside; /* a frame */
    uint64_t left;
    int result;
};

static void begin_frame(struct seen *seen, const struct remote_reader *reader)
{
    char room[128];
    struct text head = TEXT_OVER(room);

    REQUIRE(!seen->inside && reader->frame.offset <= reader->frame.octets);
    REQUIRE(reader->frame.uid.number > 0);
    seen->inside = true;
    seen->left = reader->frame.octets - reader->frame.offset;
    remote_frame_put_head(&head, &reader->frame);
    fwrite(head.data, 1, head.size, seen->out);
}

static void take_octets(struct seen *seen, struct span octets)
{
    REQUIRE(seen->inside && octets.size > 0 && octets.size <= seen->left);
    seen->left -= octets.size;
    fwrite(octets.data, 1, octets.size, seen->out);
}

static void end_frame(struct seen *seen, const struct remote_reader *reader, struct span digest)
{
    char room[256];
    struct text tail = TEXT_OVER(room);

    REQUIRE(seen->inside && seen->left == 0 && remote_is_hex(digest, REMOTE_DIGEST_MAX));
    seen->inside = false;
    remote_frame_put_tail(&tail, reader->frame.uid, digest);
    fwrite(tail.data, 1, tail.size, seen->out);
}

static void take_reply(struct seen *seen, struct span line)
{
    REQUIRE(!seen->inside && line.size >= 2 && line.size + 2 <= REMOTE_LINE_MAX);
    REQUIRE(span_find(line, '\r') == line.size && span_find(line, '\n') == line.size &&
            span_find(line, '\0') == line.size);
    fwrite(line.data, 1, line.size, seen->out);
    fputs("\r\n", seen->out);
}

static void take(struct seen *seen, const struct remote_reader *reader, int what, struct span got)
{
    if (what == REMOTE_READ_FRAME)
        begin_frame(seen, reader);
    else if (what == REMOTE_READ_OCTETS)
        take_octets(seen, got);
    else if (what == REMOTE_READ_DIGEST)
        end_frame(seen, reader, got);
    else
        take_reply(seen, got);
}

static struct seen play(struct span input, size_t piece)
{
    struct seen seen = { .result = REMOTE_READ_MORE };
    struct remote_reader reader;

    seen.out = open_memstream(&seen.again, &seen.size);
    REQUIRE(seen.out);
    remote_reader_init(&reader);
    while (seen.result > 0 && input.size > 0) {
        struct span in = span_first(input, piece), got;

        input = span_skip(input, in.size);
        while ((seen.result = remote_reader_next(&reader, &in, &got)) > REMOTE_READ_MORE)
            take(&seen, &reader, seen.result, got);
        REQUIRE(seen.result == REMOTE_READ_MORE ? in.size == 0 : seen.result == -EPROTO);
    }
    remote_reader_deinit(&reader);
    REQUIRE(fclose(seen.out) == 0);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = { 1, 2, 7 };
    struct span input = span_of(data, size);
    struct seen whole = play(input, SIZE_MAX);

    REQUIRE(span_equal(span_of(whole.again, whole.size), span_first(input, whole.size)));
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct seen seen = play(input, pieces[i]);

        REQUIRE(seen.result == whole.result && seen.inside == whole.inside);
        REQUIRE(span_equal(span_of(seen.again, seen.size), span_of(whole.again, whole.size)));
        free(seen.again);
    }
    free(whole.again);
    return 0;
}

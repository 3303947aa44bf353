/* Lines from random octets: the first octet chooses the mode, the second the limit, the rest is the
 * stream.
 *
 * Invariants: whole, byte by byte and in uneven pieces give the same lines; no line is longer than
 * the limit; a strict line holds no CR, LF or NUL; what is held never exceeds the limit by more
 * than the growth of its room. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/line.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What came out, as one number that depends on every octet and its place. */
struct seen {
    uint64_t hash;
    size_t count;
    bool unfinished;
};

static void note(struct seen *seen, struct span bytes, unsigned char end)
{
    for (size_t i = 0; i < bytes.size; i++)
        seen->hash = (seen->hash ^ bytes.data[i]) * 1099511628211u; /* FNV-1a */
    seen->hash = (seen->hash ^ end) * 1099511628211u;
    seen->count++;
}

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void check_line(const struct line *line, struct span cut)
{
    check(cut.size + 2 <= line->limit, "a line is longer than the limit");
    check(span_find(cut, '\n') == cut.size, "a line holds an LF");
    if (line->mode != LINE_STRICT)
        return;
    check(span_find(cut, '\r') == cut.size, "a strict line holds a CR");
    check(span_find(cut, '\0') == cut.size, "a strict line holds a NUL");
}

static struct seen play(enum line_mode mode, uint32_t limit, struct span input, size_t piece)
{
    struct seen seen = { 14695981039346656037u, 0, false };
    struct line line;

    line_init(&line, mode, limit);
    while (input.size > 0) {
        struct span in = span_first(input, piece), cut;
        int result;

        input = span_skip(input, in.size);
        while ((result = line_next(&line, &in, &cut)) != LINE_MORE) {
            check(result > 0, "no memory");
            if (result == LINE_READY)
                check_line(&line, cut);
            note(&seen, result == LINE_READY ? cut : span_of(NULL, 0), (unsigned char)result);
        }
        check(in.size == 0, "octets were left");
        check(line.held_room <= 2 * (size_t)limit + 128, "too much is held");
    }
    seen.unfinished = line_unfinished(&line);
    line_reset(&line);
    return seen;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = { 1, 2, 7 };
    enum line_mode mode;
    uint32_t limit;
    struct span input;
    struct seen whole;

    if (size < 2)
        return 0;
    mode = data[0] & 1 ? LINE_LENIENT : LINE_STRICT;
    limit = 2 + data[1];
    input = span_of(data + 2, size - 2);
    whole = play(mode, limit, input, SIZE_MAX);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        struct seen seen = play(mode, limit, input, pieces[i]);

        check(seen.hash == whole.hash && seen.count == whole.count &&
                  seen.unfinished == whole.unfinished,
              "pieces give other lines");
    }
    return 0;
}

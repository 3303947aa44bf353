/* A message on its way out: line ends, and the fields that nobody else may see. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tools/fetch/wire.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

static const struct row {
    const char *name;
    const char *in, *out; /* out NULL: as in */
} rows[] = {
    { "already as it must be", "A: 1\r\n\r\nbody\r\n", NULL },
    { "LF", "A: 1\n\nbody\n\n", "A: 1\r\n\r\nbody\r\n\r\n" },
    { "bare CR", "A: 1\r\rbo\rdy\r", "A: 1\r\n\r\nbo\r\ndy\r\n" },
    { "CRCRLF is one end", "A: 1\r\r\n\r\r\nbody\r\r\n", "A: 1\r\n\r\nbody\r\n" },
    { "three CRs and an LF", "A: 1\r\r\r\nbody", "A: 1\r\n\r\nbody\r\n" },
    { "CR at the end of all", "A: 1\n\nbody\r\r", "A: 1\r\n\r\nbody\r\n\r\n" },
    { "LF CR", "A: 1\n\nx\n\ry\n", "A: 1\r\n\r\nx\r\n\r\ny\r\n" },
    { "the last line has no end", "A: 1\r\n\r\nbody", "A: 1\r\n\r\nbody\r\n" },
    { "a header alone", "A: 1", "A: 1\r\n" },
    { "nothing", "", "" },
    { "a body alone", "\nbody\n", "\r\nbody\r\n" },
    { "octets that are no ASCII", "A: \xc3\xa4\n\n\xff\xfe\n", "A: \xc3\xa4\r\n\r\n\xff\xfe\r\n" },

    { "Bcc", "A: 1\nBcc: x@y\nB: 2\n\nbody\n", "A: 1\r\nB: 2\r\n\r\nbody\r\n" },
    { "Bcc first", "Bcc: x@y\nA: 1\n\n", "A: 1\r\n\r\n" },
    { "Bcc last", "A: 1\nBcc: x@y\n\nbody", "A: 1\r\n\r\nbody\r\n" },
    { "Bcc at the end of all", "A: 1\nBcc: x@y", "A: 1\r\n" },
    { "Bcc of any case", "bCC: x@y\nBCC:\nA: 1\n\n", "A: 1\r\n\r\n" },
    { "a blank before the colon", "Bcc : x@y\nBcc\t: x\nA: 1\n\n", "A: 1\r\n\r\n" },
    { "folded Bcc", "Bcc: x@y,\n z@y,\n\tw@y\nA: 1\n\n", "A: 1\r\n\r\n" },
    { "Bcc folded at once", "Bcc:\n x@y\n  \nA: 1\n\n", "A: 1\r\n\r\n" },
    { "two of them", "Bcc: x@y\nBcc: z@y\nA: 1\n\n", "A: 1\r\n\r\n" },
    { "Bcc behind a bare CR", "A: 1\rBcc: x@y\r z@y\rB: 2\r\r", "A: 1\r\nB: 2\r\n\r\n" },
    { "Bcc behind CRCRLF", "A: 1\r\r\nBcc: x@y\r\r\nB: 2\n\n", "A: 1\r\nB: 2\r\n\r\n" },
    { "Resent-Bcc", "Resent-Bcc: x@y\n z@y\nResent-To: w@y\n\n", "Resent-To: w@y\r\n\r\n" },
    { "Return-Path", "Return-Path: <x@y>\nA: 1\n\n", "A: 1\r\n\r\n" },
    { "a Bcc alone", "Bcc: x@y\n\nbody\n", "\r\nbody\r\n" },

    { "Bcc in the body", "A: 1\n\nBcc: x@y\n", "A: 1\r\n\r\nBcc: x@y\r\n" },
    { "other names",
      "Bc: 1\nBccc: 2\nBcc2: 3\nX-Bcc: 4\nResent-Bccs: 5\nResent-: 6\nReturn-Paths: 7\n\n",
      "Bc: 1\r\nBccc: 2\r\nBcc2: 3\r\nX-Bcc: 4\r\nResent-Bccs: 5\r\nResent-: 6\r\nReturn-Paths: "
      "7\r\n\r\n" },
    { "in a value", "A: Bcc: 1\n Bcc: 2\n\n", "A: Bcc: 1\r\n Bcc: 2\r\n\r\n" },
    { "no field at all", "Bcc\nResent-B\n\n", "Bcc\r\nResent-B\r\n\r\n" },
    { "a continuation of nothing", " Bcc: 1\nA: 1\n\n", " Bcc: 1\r\nA: 1\r\n\r\n" },
};

/* In pieces of `step` octets, each from and into an allocation of exactly the size promised. */
static size_t run(struct span in, size_t step, unsigned char *into)
{
    struct wire wire = { 0 };
    size_t size = 0, count;
    unsigned char *room;

    while (in.size > 0) {
        struct span part = span_first(in, step);

        room = malloc(WIRE_ROOM(part.size));
        assert_non_null(room);
        count = wire_put(&wire, part, room);
        memcpy(into + size, room, count);
        size += count;
        free(room);
        in = span_skip(in, part.size);
    }
    room = malloc(WIRE_ROOM(0));
    assert_non_null(room);
    count = wire_end(&wire, room);
    memcpy(into + size, room, count);
    free(room);
    return size + count;
}

static void test_every_row_whole_and_in_pieces(void **state)
{
    static const size_t steps[] = { SIZE_MAX, 1, 2, 3, 7 };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t j = 0; j < COUNT(steps); j++) {
            const char *want = rows[i].out ? rows[i].out : rows[i].in;
            unsigned char out[1024];
            size_t size = run(span_of_text(rows[i].in), steps[j], out);

            if (size != strlen(want) || memcmp(out, want, size) != 0)
                fail_msg("%s, in pieces of %zu: %.*s", rows[i].name, steps[j], (int)size, out);
        }
}

static void test_what_came_out_goes_through_unchanged(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        unsigned char once[1024], twice[1024];
        size_t size = run(span_of_text(rows[i].in), SIZE_MAX, once);

        assert_int_equal(run(span_of(once, size), SIZE_MAX, twice), size);
        assert_memory_equal(once, twice, size);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_whole_and_in_pieces),
        cmocka_unit_test(test_what_came_out_goes_through_unchanged),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A message behind DATA: every false end of data, in front of servers that are strict and servers
 * that are not. Each input is given whole, one octet at a time, and cut in two at each place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/base/lanes.h"
#include "proxy/message_scan.h"
#include "tests/lib/message_reference.h"

#define REST "QUIT\r\n" /* what follows the message; it must stay */

struct row {
    const char *name;
    const char *in;
    size_t in_size;
    const char *out;
    size_t out_size;
    bool bare;
};

#define ROW(name, in, out, bare)                                                                   \
    {                                                                                              \
        name, in, sizeof(in) - 1, out, sizeof(out) - 1, bare                                       \
    }

static const struct row rows[] = {
    /* what is clean passes as it is */
    ROW("an empty message", ".\r\n", ".\r\n", false),
    ROW("one line", "a\r\n.\r\n", "a\r\n.\r\n", false),
    ROW("a stuffed dot", "..\r\n.\r\n", "..\r\n.\r\n", false),
    ROW("dots and text", ".a\r\n...\r\na.\r\n.\r\n", ".a\r\n...\r\na.\r\n.\r\n", false),
    ROW("empty lines", "\r\n\r\n\r\n.\r\n", "\r\n\r\n\r\n.\r\n", false),
    ROW("eight bits", "\xc3\xa4\xff\r\n.\r\n", "\xc3\xa4\xff\r\n.\r\n", false),
    ROW("a line of commands", "QUIT\r\nRSET\r\n.\r\n", "QUIT\r\nRSET\r\n.\r\n", false),
    ROW("a dot and a space", ". \r\n.\r\n", ". \r\n.\r\n", false),
    ROW("a dot and a tab", ".\t\r\n.\r\n", ".\t\r\n.\r\n", false),
    ROW("a NUL inside a line", "a\0b\r\n.\r\n", "a\0b\r\n.\r\n", false),
    /* a bare newline becomes CRLF */
    ROW("a bare LF", "a\nb\r\n.\r\n", "a\r\nb\r\n.\r\n", true),
    ROW("a bare CR", "a\rb\r\n.\r\n", "a\r\nb\r\n.\r\n", true),
    ROW("CR CR LF", "a\r\r\nb\r\n.\r\n", "a\r\n\r\nb\r\n.\r\n", true),
    ROW("LF CR", "a\n\rb\r\n.\r\n", "a\r\n\r\nb\r\n.\r\n", true),
    ROW("LF at once", "\n.\r\n\r\n.\r\n", "\r\n..\r\n\r\n.\r\n", true),
    ROW("CR at once", "\r.\r\n\r\n.\r\n", "\r\n..\r\n\r\n.\r\n", true),
    ROW("a stuffed dot behind LF", "a\n..\r\n.\r\n", "a\r\n...\r\n.\r\n", true),
    /* false ends of data */
    ROW("LF.LF", "a\n.\nb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", true),
    ROW("LF.CRLF", "a\n.\r\nb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", true),
    ROW("LF.CR", "a\n.\rb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", true),
    ROW("LF.CRCRLF", "a\n.\r\r\nb\r\n.\r\n", "a\r\n..\r\n\r\nb\r\n.\r\n", true),
    ROW("CRLF.LF", "a\r\n.\nb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", true),
    ROW("CRLF.CR", "a\r\n.\rb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", true),
    ROW("CRLF.CRCRLF", "a\r\n.\r\r\nb\r\n.\r\n", "a\r\n..\r\n\r\nb\r\n.\r\n", true),
    ROW("CRLF.CRCR", "a\r\n.\r\rb\r\n.\r\n", "a\r\n..\r\n\r\nb\r\n.\r\n", true),
    ROW("CR.CR", "a\r.\rb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", true),
    ROW("CR.LF", "a\r.\nb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", true),
    ROW("CR.CRLF", "a\r.\r\nb\r\n.\r\n", "a\r\n..\r\nb\r\n.\r\n", true),
    ROW("CRLFCR.CRLF", "a\r\n\r.\r\nb\r\n.\r\n", "a\r\n\r\n..\r\nb\r\n.\r\n", true),
    ROW("CRLFLF.CRLF", "a\r\n\n.\r\nb\r\n.\r\n", "a\r\n\r\n..\r\nb\r\n.\r\n", true),
    ROW("LFCR.CRLF", "a\n\r.\r\nb\r\n.\r\n", "a\r\n\r\n..\r\nb\r\n.\r\n", true),
    ROW("CRLF CRCRLF.CRCRLF", "a\r\n\r\r\n.\r\r\nb\r\n.\r\n", "a\r\n\r\n\r\n..\r\n\r\nb\r\n.\r\n",
        true),
    ROW("a bare LF as the first octet behind a dot", ".\nb\r\n.\r\n", "..\r\nb\r\n.\r\n", true),
    /* this is an end: CRLF.CRLF stands there */
    ROW("CRCRLF.CRLF", "a\r\r\n.\r\n", "a\r\n\r\n.\r\n", true),
    /* a NUL is nothing to look past */
    ROW("CRLF.NUL CRLF", "a\r\n.\0\r\nb\r\n.\r\n", "a\r\n..\0\r\nb\r\n.\r\n", false),
    ROW("CRLF NUL.CRLF", "a\r\n\0.\r\nb\r\n.\r\n", "a\r\n\0..\r\nb\r\n.\r\n", false),
    ROW("CRLF NUL.NUL CRLF", "a\r\n\0\0.\0\r\nb\r\n.\r\n", "a\r\n\0\0..\0\r\nb\r\n.\r\n", false),
    ROW("LF NUL.LF", "a\n\0.\nb\r\n.\r\n", "a\r\n\0..\r\nb\r\n.\r\n", true),
    ROW("CRLF.CR NUL LF", "a\r\n.\r\0\nb\r\n.\r\n", "a\r\n..\r\n\0\r\nb\r\n.\r\n", true),
    ROW("CR NUL LF.CRLF", "a\r\0\n.\r\nb\r\n.\r\n", "a\r\n\0\r\n..\r\nb\r\n.\r\n", true),
};

struct result {
    unsigned char out[512];
    size_t size;
    int verdict;
    size_t left; /* octets of the input that were not taken */
    bool bare;
};

/* Gives `in` in two pieces, the first of `first` octets, each `step` octets at a time. */
static struct result scan_cut(enum bare_newline rule, struct span in, size_t first, size_t step)
{
    struct message_scan scan;
    struct result result = { .verdict = MESSAGE_MORE };
    size_t at = 0;

    message_scan_init(&scan, rule);
    while (at < in.size && (result.verdict == MESSAGE_MORE || result.verdict == MESSAGE_PASS)) {
        size_t border = at < first ? first : in.size;
        size_t size = step < border - at ? step : border - at;
        unsigned char *block = malloc(size);
        struct span given = span_of(block, size), piece;

        assert_non_null(block);
        memcpy(block, in.data + at, size);
        while (given.size > 0 &&
               (result.verdict == MESSAGE_MORE || result.verdict == MESSAGE_PASS)) {
            result.verdict = message_scan_next(&scan, &given, &piece);
            if (result.verdict == MESSAGE_PASS || result.verdict == MESSAGE_ENDED) {
                assert_true(piece.size > 0 && result.size + piece.size <= sizeof(result.out));
                memcpy(result.out + result.size, piece.data, piece.size);
                result.size += piece.size;
            }
        }
        at += size - given.size;
        free(block);
    }
    if (result.verdict == MESSAGE_BARE) { /* as the inspector goes on */
        struct message_end end = MESSAGE_END_INSIDE;
        size_t size;

        if (message_end_find(&end, span_skip(in, at), &size))
            at += size;
        else
            at = SIZE_MAX;
    }
    result.left = in.size - at;
    result.bare = scan.bare;
    return result;
}

static void expect_result(const char *name, struct result got, int verdict, struct span out,
                          bool bare)
{
    if (got.verdict != verdict || got.left != strlen(REST) || got.bare != bare ||
        !span_equal(span_of(got.out, got.size), out))
        fail_msg("%s: verdict %d, %zu octets left, bare %d, passed \"%.*s\"", name, got.verdict,
                 got.left, got.bare, (int)got.size, (const char *)got.out);
}

/* The longest beginning of `in` that `reject` may pass: up to the bare newline, without what is
 * held. */
static void expect_rejected(const struct row *row, struct result got, struct span in)
{
    if (got.verdict != MESSAGE_BARE || got.left != strlen(REST) || !got.bare)
        fail_msg("%s: verdict %d, %zu octets left", row->name, got.verdict, got.left);
    assert_true(reference_dots(span_of(got.out, got.size)) == 0);
    if (span_find(in, '\0') == in.size)
        assert_memory_equal(got.out, in.data, got.size);
}

static void try_cut(const struct row *row, struct span in, size_t first, size_t step)
{
    struct span out = span_of(row->out, row->out_size);

    expect_result(row->name, scan_cut(BARE_NEWLINE_NORMALIZE, in, first, step), MESSAGE_ENDED, out,
                  row->bare);
    expect_result(row->name, scan_cut(BARE_NEWLINE_PASS, in, first, step), MESSAGE_ENDED,
                  span_of(row->in, row->in_size), false);
    if (row->bare)
        expect_rejected(row, scan_cut(BARE_NEWLINE_REJECT, in, first, step), in);
    else
        expect_result(row->name, scan_cut(BARE_NEWLINE_REJECT, in, first, step), MESSAGE_ENDED, out,
                      false);
}

static void rule_16_every_false_end_of_data_is_made_harmless(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const struct row *row = &rows[i];
        unsigned char in[256];
        size_t size = row->in_size + strlen(REST);

        memcpy(in, row->in, row->in_size);
        memcpy(in + row->in_size, REST, strlen(REST));
        assert_int_equal(reference_dots(span_of(row->out, row->out_size)), 1);
        try_cut(row, span_of(in, size), 0, SIZE_MAX);
        try_cut(row, span_of(in, size), 0, 1);
        for (size_t cut = 1; cut < size; cut++)
            try_cut(row, span_of(in, size), cut, SIZE_MAX);
    }
}

static void compare_with_reference(struct span in)
{
    unsigned char room[512];
    struct reference reference = { .out = room };
    struct result whole = scan_cut(BARE_NEWLINE_NORMALIZE, in, 0, SIZE_MAX);
    struct result by_octet = scan_cut(BARE_NEWLINE_NORMALIZE, in, 0, 1);

    reference_normalize(&reference, in);
    assert_true(reference.ended);
    assert_int_equal(whole.verdict, MESSAGE_ENDED);
    assert_int_equal(whole.left, in.size - reference.taken);
    assert_int_equal(whole.size, reference.out_size);
    assert_memory_equal(whole.out, reference.out, whole.size);
    assert_int_equal(by_octet.size, whole.size);
    assert_memory_equal(by_octet.out, whole.out, whole.size);
    assert_int_equal(by_octet.left, whole.left);
    assert_int_equal(whole.bare, reference.bare);
    assert_int_equal(reference_dots(span_of(whole.out, whole.size)), 1);
}

/* All strings of up to seven of the octets that matter: 97,656 messages. */
static void rule_16_no_short_message_has_two_ends_for_any_reader(void **state)
{
    static const unsigned char alphabet[] = { '\r', '\n', '.', '\0', 'a' };
    unsigned char in[32];

    (void)state;
    for (unsigned length = 0; length <= 7; length++) {
        unsigned long count = 1;

        for (unsigned i = 0; i < length; i++)
            count *= sizeof(alphabet);
        for (unsigned long number = 0; number < count; number++) {
            unsigned long digits = number;

            for (unsigned i = 0; i < length; i++, digits /= sizeof(alphabet))
                in[i] = alphabet[digits % sizeof(alphabet)];
            memcpy(in + length, "a\r\n.\r\n", 6);
            compare_with_reference(span_of(in, length + 6));
        }
    }
}

/* All strings of up to five of them, at every place of the octets that are looked at at once, with
 * enough ordinary lines around. */
static void rule_16_nor_has_one_whose_octets_lie_anywhere_in_long_lines(void **state)
{
    static const unsigned char alphabet[] = { '\r', '\n', '.', '\0', 'a' };
    static const char line[] = "a line of forty octets, long enough: so\r\n";
    unsigned char in[300];

    (void)state;
    for (unsigned long number = 0; number < 3125; number++)
        for (size_t place = 0; place <= LANES_BLOCK + LANES; place++) {
            unsigned long digits = number;
            size_t size = 0;

            memcpy(in, line, sizeof(line) - 1);
            memset(in + sizeof(line) - 1, 'b', place);
            size = sizeof(line) - 1 + place;
            for (unsigned i = 0; i < 5; i++, digits /= sizeof(alphabet))
                in[size++] = alphabet[digits % sizeof(alphabet)];
            for (unsigned i = 0; i < 2; i++, size += sizeof(line) - 1)
                memcpy(in + size, line, sizeof(line) - 1);
            memcpy(in + size, ".\r\n", 3);
            compare_with_reference(span_of(in, size + 3));
        }
}

/* The end of a block at every place, with dots and newlines before it that are none. */
static void the_end_of_a_block_is_found_at_every_place(void **state)
{
    static const char mark[] = "\r\n.\r\nNOOP\r\n";
    unsigned char in[4 * LANES_BLOCK];

    (void)state;
    for (size_t place = 4; place < 2 * LANES_BLOCK; place++) {
        struct message_end end = MESSAGE_END_INSIDE, by_octet = MESSAGE_END_INSIDE;
        size_t size = 0, at = 0;
        bool ended = false;

        memset(in, '.', place);
        in[place / 2] = '\n';
        memset(in + place, 'b', sizeof(in) - place);
        memcpy(in + place, mark, sizeof(mark) - 1);
        assert_true(message_end_find(&end, span_of(in, sizeof(in)), &size));
        assert_int_equal(size, place + 5);
        while (!ended)
            ended = message_end_find(&by_octet, span_of(in + at++, 1), &size);
        assert_int_equal(at, place + 5);
    }
}

static void rule_16_bare_newlines_that_end_beyond_one_window_are_found(void **state)
{
    static unsigned char in[5000], out[5100];
    struct message_scan scan;
    struct span rest = span_of(in, sizeof(in)), piece;
    size_t size = 0;
    int r;

    (void)state;
    memset(in, 'a', sizeof(in));
    in[1023] = '\r',
    in[1024] = '\n'; /* a CRLF across the border of what is looked through at a time */
    in[2047] = '\n';
    in[3072] = '\r';
    memcpy(in + sizeof(in) - 5, "\r\n.\r\n", 5);
    message_scan_init(&scan, BARE_NEWLINE_NORMALIZE);
    do {
        r = message_scan_next(&scan, &rest, &piece);
        memcpy(out + size, piece.data, piece.size);
        size += piece.size;
    } while (r == MESSAGE_PASS);
    assert_int_equal(r, MESSAGE_ENDED);
    assert_int_equal(size, sizeof(in) + 2);
    assert_memory_equal(out + 2047, "\r\n", 2);
    assert_memory_equal(out + 3073, "\r\n", 2);
    assert_true(scan.bare);
}

static void clean_octets_pass_as_one_piece_in_place(void **state)
{
    static const char in[] = "Subject: a\r\n\r\n..b\r\n.c\r\nd\r\n.\r\nNOOP\r\n";
    struct span rest = span_of_text(in), piece;
    struct message_scan scan;

    (void)state;
    message_scan_init(&scan, BARE_NEWLINE_NORMALIZE);
    assert_int_equal(message_scan_next(&scan, &rest, &piece), MESSAGE_ENDED);
    assert_ptr_equal(piece.data, in);
    assert_int_equal(piece.size, strlen(in) - strlen("NOOP\r\n"));
    assert_int_equal(rest.size, strlen("NOOP\r\n"));
}

static void nothing_but_the_end_ends_a_block(void **state)
{
    static const char *const open[] = {
        "",        ".",      ".\r",      ".\n",      "..\r\n",   "\n.\r\n",        ".\r\r\n",
        "\r.\r\n", "a.\r\n", "a\r\n.\r", "a\r\n.\n", "a\n.\r\n", "\r\n\r\n..\r\n", " .\r\n",
        ". \r\n"
    };

    (void)state;
    for (size_t i = 0; i < sizeof(open) / sizeof(open[0]); i++) {
        struct message_end end = MESSAGE_END_START, by_octet = MESSAGE_END_START;
        struct span in = span_of_text(open[i]);
        size_t size = 77;

        assert_false(message_end_find(&end, in, &size));
        assert_int_equal(size, in.size);
        for (size_t k = 0; k < in.size; k++)
            assert_false(message_end_find(&by_octet, span_of(in.data + k, 1), &size));
        assert_int_equal(end.matched, by_octet.matched);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_16_every_false_end_of_data_is_made_harmless),
        cmocka_unit_test(rule_16_no_short_message_has_two_ends_for_any_reader),
        cmocka_unit_test(rule_16_nor_has_one_whose_octets_lie_anywhere_in_long_lines),
        cmocka_unit_test(the_end_of_a_block_is_found_at_every_place),
        cmocka_unit_test(rule_16_bare_newlines_that_end_beyond_one_window_are_found),
        cmocka_unit_test(clean_octets_pass_as_one_piece_in_place),
        cmocka_unit_test(nothing_but_the_end_ends_a_block),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

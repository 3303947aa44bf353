/* Line ends on disk and on the wire: every short message there and back, files of other programs,
 * dot-stuffing, TOP. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>

#include "backends/newline.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define ROOM        64

/* Converts in pieces of `step` octets, each from and into an allocation of exactly the size that is
 * promised. */
static size_t to_disk(struct span wire, size_t step, unsigned char into[ROOM], uint64_t *ret_octets)
{
    struct newline_to_disk newline = { 0 };
    size_t size = 0;

    while (wire.size > 0) {
        struct span part = span_first(wire, step);
        unsigned char *room = malloc(part.size + 1);
        size_t count;

        assert_non_null(room);
        count = newline_to_disk(&newline, part, room);
        memcpy(into + size, room, count);
        size += count;
        free(room);
        wire = span_skip(wire, part.size);
    }
    size += newline_to_disk_end(&newline, into + size);
    *ret_octets = newline.octets;
    return size;
}

static size_t to_wire(struct newline_to_wire newline, struct span disk, size_t step,
                      unsigned char into[2 * ROOM])
{
    size_t size = 0;

    while (disk.size > 0) {
        struct span part = span_first(disk, step);
        unsigned char *room = malloc(2 * part.size);
        size_t count;

        assert_non_null(room);
        count = newline_to_wire(&newline, part, room);
        memcpy(into + size, room, count);
        size += count;
        free(room);
        disk = span_skip(disk, part.size);
    }
    return size + newline_to_wire_end(&newline, into + size);
}

/* The `number`-th text of `size` octets over an alphabet of what matters. */
static void spell(unsigned number, size_t size, unsigned char *into)
{
    static const char alphabet[] = { '\r', '\n', '.', 'a' };

    for (size_t i = 0; i < size; i++, number /= 4)
        into[i] = (unsigned char)alphabet[number % 4];
}

/* What must come back: bare LF as CRLF, and an end to the last line. */
static size_t canonical(struct span text, unsigned char *into)
{
    size_t size = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\n' && (i == 0 || text.data[i - 1] != '\r'))
            into[size++] = '\r';
        into[size++] = text.data[i];
    }
    if (size > 0 && into[size - 1] != '\n') {
        into[size++] = '\r';
        into[size++] = '\n';
    }
    return size;
}

static void every_short_message_comes_back(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 7; size++) {
        for (unsigned number = 0; number < 1u << (2 * size); number++) {
            unsigned char text[8], want[ROOM], disk[ROOM], wire[2 * ROOM], stuffed[2 * ROOM];
            uint64_t octets = 0, octets_bytewise = 0;
            size_t want_size, disk_size, wire_size;

            spell(number, size, text);
            want_size = canonical(span_of(text, size), want);
            disk_size = to_disk(span_of(text, size), ROOM, disk, &octets);
            wire_size =
                to_wire((struct newline_to_wire){ 0 }, span_of(disk, disk_size), ROOM, wire);
            assert_int_equal(octets, want_size);
            assert_int_equal(wire_size, want_size);
            assert_memory_equal(wire, want, want_size);

            assert_int_equal(to_disk(span_of(text, size), 1, wire, &octets_bytewise), disk_size);
            assert_int_equal(octets_bytewise, octets);
            assert_memory_equal(wire, disk, disk_size);
            wire_size = to_wire((struct newline_to_wire){ .dot_stuffing = true },
                                span_of(disk, disk_size), ROOM, wire);
            assert_int_equal(to_wire((struct newline_to_wire){ .dot_stuffing = true },
                                     span_of(disk, disk_size), 1, stuffed),
                             wire_size);
            assert_memory_equal(wire, stuffed, wire_size);
        }
    }
}

static const struct disk_row {
    const char *name, *wire, *disk;
} disk_rows[] = {
    { "CRLF becomes LF", "a\r\nb\r\n", "a\nb\n" },
    { "a bare CR stays", "a\rb\r\n", "a\rb\n" },
    { "CRCRLF stays whole", "a\r\r\nb\r\n", "a\r\r\nb\n" },
    { "so does CRCRCRLF", "\r\r\r\n", "\r\r\r\n" },
    { "a last line gets an end", "a\r\nb", "a\nb\n" },
    { "a CR at the end is no line end", "a\r", "a\r\r\n" },
    { "nothing stays nothing", "", "" },
};

static void on_disk_lines_end_in_lf(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(disk_rows); i++) {
        unsigned char disk[ROOM];
        uint64_t octets;
        size_t size = to_disk(span_of_text(disk_rows[i].wire), ROOM, disk, &octets);

        if (!span_equal(span_of(disk, size), span_of_text(disk_rows[i].disk)))
            fail_msg("%s", disk_rows[i].name);
    }
}

static const struct wire_row {
    const char *name, *disk, *wire;
    bool limited;
    uint64_t lines;
} wire_rows[] = {
    { "LF becomes CRLF", "a\nb\n", "a\r\nb\r\n", false, 0 },
    { "a file with CRLF stays as it is", "a\r\nb\r\n", "a\r\nb\r\n", false, 0 },
    { "both in one file", "a\r\nb\n", "a\r\nb\r\n", false, 0 },
    { "a last line gets an end", "a\nb", "a\r\nb\r\n", false, 0 },
    { "an empty file stays empty", "", "", false, 0 },
    { "dots at line starts are doubled", ".\n..\n.a\na.\n", "..\r\n...\r\n..a\r\na.\r\n", false,
      0 },
    { "a dot behind CRLF as well", "a\r\n.\r\n", "a\r\n..\r\n", false, 0 },
    { "a dot behind a bare CR is in the line", "a\r.\n", "a\r.\r\n", false, 0 },
    { "a dot alone without a line end", "a\n.", "a\r\n..\r\n", false, 0 },
    { "TOP 0: header and empty line", "h\n\nb\nc\n", "h\r\n\r\n", true, 0 },
    { "TOP 1", "h\n\nb\nc\n", "h\r\n\r\nb\r\n", true, 1 },
    { "TOP 1 of a file with CRLF", "h\r\n\r\nb\r\nc\r\n", "h\r\n\r\nb\r\n", true, 1 },
    { "TOP of more lines than there are", "h\n\nb\nc\n", "h\r\n\r\nb\r\nc\r\n", true, 9 },
    { "an empty line of the body counts", "h\n\n\nb\nc\n", "h\r\n\r\n\r\nb\r\n", true, 2 },
    { "a message without a body", "h\ni\n", "h\r\ni\r\n", true, 1 },
    { "a message without a header", "\nb\nc\n", "\r\nb\r\n", true, 1 },
    { "CRCRLF is no empty line", "h\n\r\r\n\nb\n", "h\r\n\r\r\n\r\n", true, 0 },
    { "TOP doubles dots", "h\n\n.b\n.c\n", "h\r\n\r\n..b\r\n", true, 1 },
    { "TOP with the largest number", "h\n\nb\n", "h\r\n\r\nb\r\n", true, UINT64_MAX },
    { "TOP of a body without a line end", "h\n\nb", "h\r\n\r\nb\r\n", true, 1 },
};

static void on_the_wire_lines_end_in_crlf(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(wire_rows); i++) {
        const struct wire_row *row = &wire_rows[i];
        struct newline_to_wire newline = { .dot_stuffing = true,
                                           .limited = row->limited,
                                           .lines_left = row->lines };
        unsigned char wire[2 * ROOM];

        for (size_t step = 1; step <= ROOM; step += ROOM - 1) {
            size_t size = to_wire(newline, span_of_text(row->disk), step, wire);

            if (!span_equal(span_of(wire, size), span_of_text(row->wire)))
                fail_msg("%s, %zu octets at a time", row->name, step);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_short_message_comes_back),
        cmocka_unit_test(on_disk_lines_end_in_lf),
        cmocka_unit_test(on_the_wire_lines_end_in_crlf),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

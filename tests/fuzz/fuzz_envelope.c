/* A message of random octets: who gets it (envelope.h), and what goes over the wire (wire.h).
 *
 * Invariants: whole, octet by octet and in uneven pieces give the same; every line of an envelope
 * is "FROM:<...>" or "TO:<...>" of printable ASCII, with at most 100 recipients; the wire has CRLF
 * line ends only, no Bcc, Resent-Bcc or Return-Path in its header, and goes through unchanged a
 * second time. */
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "tools/fetch/envelope.h"
#include "tools/fetch/wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static struct envelope *read_envelope(struct span in, size_t step, int *ret_result)
{
    struct envelope *envelope;

    check(envelope_new(NULL, &envelope) == 0, "no memory");
    for (; in.size > 0; in = span_skip(in, step))
        check(envelope_feed(envelope, span_first(in, step)) > 0, "no memory");
    *ret_result = envelope_end(envelope);
    check(*ret_result == ENVELOPE_READY || *ret_result == ENVELOPE_REFUSED, "no end");
    return envelope;
}

static const char *answer(const struct envelope *envelope, int result)
{
    return result == ENVELOPE_READY ? envelope_lines(envelope) : envelope_words(envelope);
}

static void check_line(struct span line, const char *keyword)
{
    size_t size = strlen(keyword);

    check(line.size > size && memcmp(line.data, keyword, size) == 0, "no line of an envelope");
    check(line.data[line.size - 1] == '>' && line.size <= size + ENVELOPE_ADDRESS_MAX + 1,
          "no address");
    for (size_t i = 0; i < line.size; i++)
        check(line.data[i] >= ' ' && line.data[i] < 0x7f, "not printable");
}

static void check_lines(const char *lines)
{
    struct span rest = span_of_text(lines);
    size_t number = 0;

    for (; rest.size > 0; number++) {
        size_t size = span_find(rest, '\n');

        check(size < rest.size, "a line without an end");
        check_line(span_first(rest, size), number == 0 ? "FROM:<" : "TO:<");
        rest = span_skip(rest, size + 1);
    }
    check(number >= 2 && number <= 1 + ENVELOPE_RECIPIENTS_MAX, "too few or too many");
}

static void check_envelope(struct span in, size_t step, const struct envelope *whole, int result)
{
    int again;
    struct envelope *pieces = read_envelope(in, step, &again);

    check(again == result && strcmp(answer(pieces, again), answer(whole, result)) == 0,
          "pieces give another envelope");
    envelope_free(pieces);
}

/* Into an allocation that the caller frees. */
static struct span make_wire(struct span in, size_t step)
{
    unsigned char *out = malloc(WIRE_ROOM(in.size));
    struct wire wire = { 0 };
    size_t size = 0;

    check(out != NULL, "no memory");
    for (; in.size > 0; in = span_skip(in, step)) {
        struct span part = span_first(in, step);
        unsigned char *room = malloc(WIRE_ROOM(part.size));
        size_t count;

        check(room != NULL, "no memory");
        count = wire_put(&wire, part, room);
        memcpy(out + size, room, count);
        size += count;
        free(room);
    }
    size += wire_end(&wire, out + size);
    return span_of(out, size);
}

static bool is_left_out(struct span line)
{
    static const char *const names[] = { "bcc", "resent-bcc", "return-path" };
    size_t size = 0;

    while (size < line.size && line.data[size] > ' ' && line.data[size] != ':')
        size++;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        if (size < line.size && strlen(names[i]) == size &&
            strncasecmp((const char *)line.data, names[i], size) == 0 && line.data[size] &&
            strchr(": \t", line.data[size]))
            return true;
    return false;
}

static void check_wire(struct span wire)
{
    bool header = true;

    while (wire.size > 0) {
        size_t size = span_search(wire, SPAN_LIT("\r\n"));
        struct span line = span_first(wire, size);

        check(size < wire.size, "a line without an end");
        check(span_find(line, '\r') == size && span_find(line, '\n') == size, "a bare CR or LF");
        header = header && size > 0;
        check(!header || !is_left_out(line), "a field that must be left out");
        wire = span_skip(wire, size + 2);
    }
}

static void check_same_wire(struct span in, size_t step, struct span whole)
{
    struct span pieces = make_wire(in, step);

    check(span_equal(pieces, whole), "another wire form");
    free((void *)(uintptr_t)pieces.data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const size_t pieces[] = { 1, 2, 7 };
    struct span in = span_of(data, size), wire = make_wire(in, SIZE_MAX);
    int result;
    struct envelope *envelope = read_envelope(in, SIZE_MAX, &result);

    if (result == ENVELOPE_READY)
        check_lines(envelope_lines(envelope));
    check_wire(wire);
    check_same_wire(wire, SIZE_MAX, wire);
    for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
        check_envelope(in, pieces[i], envelope, result);
        check_same_wire(in, pieces[i], wire);
    }
    envelope_free(envelope);
    free((void *)(uintptr_t)wire.data);
    return 0;
}

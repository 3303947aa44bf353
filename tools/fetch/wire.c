/* Line ends and left-out fields, one octet at a time.
 *
 * Happy path: an octet of the body is copied, an LF becomes CRLF. In the header the first octets of
 * each line are held until they are no beginning of a field that is left out; a line that begins
 * with a blank goes the way of the line before it. */
#include "tools/fetch/wire.h"

#include <strings.h>

struct out {
    unsigned char *at;
};

static void emit(struct out *out, struct span octets)
{
    if (octets.size > 0)
        memcpy(out->at, octets.data, octets.size);
    out->at += octets.size;
}

static bool is_blank(unsigned char octet)
{
    return octet == ' ' || octet == '\t';
}

enum verdict { UNDECIDED, KEEP, DROP };

/* What a line is that begins with `start`. A blank before the colon is obsolete, but allowed (RFC
 * 5322 section 4.5). */
static enum verdict judge(struct span start)
{
    static const char *const names[] = { "bcc", "resent-bcc", "return-path" };
    enum verdict verdict = KEEP;

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        size_t size = strlen(names[i]);
        size_t same = start.size < size ? start.size : size;

        if (strncasecmp((const char *)start.data, names[i], same) != 0)
            continue;
        if (start.size <= size)
            verdict = UNDECIDED;
        else if (start.data[size] == ':' || is_blank(start.data[size]))
            return DROP;
    }
    return verdict;
}

static void decide(struct wire *wire, bool drop, struct out *out)
{
    wire->decided = true;
    wire->dropping = drop;
    if (!drop)
        emit(out, span_of(wire->held, wire->held_size));
    wire->held_size = 0;
}

static void put_in_header(struct wire *wire, unsigned char octet, struct out *out)
{
    enum verdict verdict;

    if (!wire->in_line && is_blank(octet))
        decide(wire, wire->dropping, out);
    if (wire->decided) {
        if (!wire->dropping)
            emit(out, span_of(&octet, 1));
        return;
    }
    wire->held[wire->held_size++] = octet;
    verdict = judge(span_of(wire->held, wire->held_size));
    if (verdict != UNDECIDED)
        decide(wire, verdict == DROP, out);
}

static void end_line(struct wire *wire, struct out *out)
{
    if (!wire->body && !wire->in_line) {
        wire->body = true;
        wire->dropping = false;
    } else if (!wire->body && !wire->decided) {
        decide(wire, false, out);
    }
    if (wire->body || !wire->dropping)
        emit(out, SPAN_LIT("\r\n"));
    wire->in_line = false;
    wire->decided = false;
}

size_t wire_put(struct wire *wire, struct span in, unsigned char *into)
{
    struct out out = { into };

    for (size_t i = 0; i < in.size; i++) {
        bool text;

        for (unsigned ends = wire_lines_step(&wire->lines, in.data[i], &text); ends > 0; ends--)
            end_line(wire, &out);
        if (!text)
            continue;
        if (wire->body)
            *out.at++ = in.data[i];
        else
            put_in_header(wire, in.data[i], &out);
        wire->in_line = true;
    }
    return (size_t)(out.at - into);
}

size_t wire_end(struct wire *wire, unsigned char *into)
{
    struct out out = { into };

    for (unsigned ends = wire_lines_end(&wire->lines); ends > 0; ends--)
        end_line(wire, &out);
    if (wire->in_line)
        end_line(wire, &out);
    return (size_t)(out.at - into);
}

/* Looks at the next line before it is taken.
 *
 * Happy path: nothing is held, and the line stands whole in the input: it is shown in place, and
 * taking it moves the input on. Where its beginning is held, all but its LF is moved to what is
 * held, so that the LF alone stands in the input until the line is taken. Fails only for want of
 * memory. */
#include "proxy/line_peek.h"

#include <errno.h>

/* Is `body`, all of the line but its LF, a good line? */
static int judge_end(const struct line *line, struct span body, struct span *ret_line)
{
    bool strict = line->mode == LINE_STRICT;

    if (line->discarding)
        return LINE_SPOILED;
    if (body.size > 0 && body.data[body.size - 1] == '\r')
        body.size--;
    else if (strict)
        return LINE_SPOILED;
    if (body.size + 2 > line->limit)
        return LINE_SPOILED;
    if (strict && (span_find(body, '\0') < body.size || span_find(body, '\r') < body.size))
        return LINE_SPOILED;
    *ret_line = body;
    return LINE_READY;
}

/* Moves what stands before the LF at `lf` to what is held. */
static int hold_beginning(struct line *line, struct span *in, size_t lf)
{
    struct span beginning = span_first(*in, lf), unused;

    if (line_next(line, &beginning, &unused) < 0)
        return -ENOMEM;
    *in = span_skip(*in, lf);
    return 0;
}

/* Wipes and frees the line that was taken last. There is no input, so nothing else happens. */
static void let_go(struct line *line)
{
    struct span nothing = { NULL, 0 }, unused;

    if (line->returned)
        (void)line_next(line, &nothing, &unused);
}

int line_peek(struct line *line, struct span *in, struct line_ahead *ret_ahead)
{
    struct span nothing = { NULL, 0 }, unused, body;
    size_t lf;
    int r;

    let_go(line);
    for (;;) {
        struct span end;

        lf = span_find(*in, '\n');
        if (lf == in->size)
            return line_next(line, in, &unused);
        if (line_unfinished(line)) {
            if (hold_beginning(line, in, lf) < 0)
                return -ENOMEM;
            lf = 0;
        }
        if (!line->void_rest)
            break;
        if (!line->after_cr)
            return LINE_SPOILED;
        end = span_first(*in, 1);
        (void)line_next(line, &end, &unused); /* the CRLF that ends a void */
        *in = span_skip(*in, 1);
    }
    body = line->held ? span_of(line->held, line->held_size) : span_first(*in, lf);
    r = judge_end(line, body, &body);
    if (r == LINE_READY)
        *ret_ahead = (struct line_ahead){ body, line->held ? nothing : span_first(*in, lf + 1) };
    return r;
}

int line_take(struct line *line, struct span *in, const struct line_ahead *ahead)
{
    struct span unused;

    if (ahead->raw.data) {
        *in = span_skip(*in, ahead->raw.size);
        return 0;
    }
    if (line_next(line, in, &unused) < 0)
        return -ENOMEM;
    let_go(line);
    return 0;
}

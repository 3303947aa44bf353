/* Cuts a stream of bytes into command lines; see line.h for what ends, spoils and voids a line.
 *
 * Happy path: the whole line stands in the input and is returned in place. Otherwise its beginning
 * is held on the heap until its end arrives. Fails only for want of memory. */
#include "proxy/base/line.h"

#include <errno.h>
#include <stdlib.h>

#define HELD_ROOM_FIRST                                                                            \
    128 /* bytes; most command lines fit, so a slow typist costs one small piece (guessed) */

void line_init(struct line *line, enum line_mode mode, uint32_t limit)
{
    *line = (struct line){ .mode = (uint8_t)mode, .limit = limit };
}

static void release_held(struct line *line)
{
    if (line->held)
        explicit_bzero(line->held, line->held_room); /* it may have been a password */
    free(line->held);
    line->held = NULL;
    line->held_size = line->held_room = 0;
    line->returned = false;
}

void line_reset(struct line *line)
{
    release_held(line);
    line_init(line, line->mode, line->limit);
}

static int hold(struct line *line, struct span bytes)
{
    size_t need = line->held_size + bytes.size;

    if (bytes.size == 0)
        return 0;
    if (need > line->held_room) {
        size_t room = line->held_room ? line->held_room * 2 : HELD_ROOM_FIRST;
        unsigned char *grown;

        while (room < need)
            room *= 2;
        grown = malloc(room);
        if (!grown)
            return -ENOMEM;
        if (line->held) {
            memcpy(grown, line->held, line->held_size);
            explicit_bzero(line->held, line->held_room);
            free(line->held);
        }
        line->held = grown;
        line->held_room = room;
    }
    memcpy(line->held + line->held_size, bytes.data, bytes.size);
    line->held_size = need;
    return 0;
}

/* The line `body` (all but its LF) has ended. */
static int end_line(struct line *line, struct span body, struct span *ret_line)
{
    bool crlf = body.size > 0 && body.data[body.size - 1] == '\r';
    int result = LINE_READY;

    if (crlf)
        body.size--;
    if (line->mode == LINE_STRICT &&
        memchr(body.data ? (const void *)body.data : "", '\0', body.size))
        line->spoiled = true;
    if (line->mode == LINE_STRICT && span_find(body, '\r') < body.size)
        line->spoiled = true;
    if (line->spoiled)
        result = LINE_SPOILED;
    if (line->discarding || body.size + 2 > line->limit)
        result = LINE_TOO_LONG;
    line->spoiled = line->discarding = line->after_cr = false;
    if (line->held)
        line->returned = true;
    if (result == LINE_READY)
        *ret_line = body;
    return result;
}

/* `part` holds no LF: the line goes on behind it. */
static int keep_beginning(struct line *line, struct span part)
{
    if (part.size == 0)
        return LINE_MORE;
    line->after_cr = part.data[part.size - 1] == '\r';
    /* One byte more than the limit allows may be a CR that the limit counts already, or not: hold
     * it. */
    if (line->discarding || line->held_size + part.size >= line->limit) {
        release_held(line);
        line->discarding = true;
        return LINE_MORE;
    }
    return hold(line, part) < 0 ? -ENOMEM : LINE_MORE;
}

/* Behind a reported bare LF: skips to the CRLF that ends the void. Returns LINE_MORE, or
 * LINE_SPOILED for one more bare LF; 0 when the void has ended. */
static int skip_void(struct line *line, struct span *in)
{
    while (in->size > 0) {
        unsigned char byte = in->data[0];
        bool ends = byte == '\n' && line->after_cr;

        *in = span_skip(*in, 1);
        line->after_cr = byte == '\r';
        if (ends) {
            line->void_rest = false;
            return 0;
        }
        if (byte == '\n')
            return LINE_SPOILED;
    }
    return LINE_MORE;
}

int line_next(struct line *line, struct span *in, struct span *ret_line)
{
    size_t lf;
    struct span part, body;
    bool bare;
    int r;

    if (line->returned)
        release_held(line);
    if (line->void_rest) {
        r = skip_void(line, in);
        if (r != 0)
            return r;
    }
    lf = span_find(*in, '\n');
    part = span_first(*in, lf);
    if (lf == in->size) {
        *in = span_skip(*in, lf);
        return keep_beginning(line, part);
    }
    *in = span_skip(*in, lf + 1);
    bare = part.size > 0 ? part.data[part.size - 1] != '\r' : !line->after_cr;
    if (bare && line->mode == LINE_STRICT) {
        release_held(line);
        *line = (struct line){ .mode = line->mode, .limit = line->limit, .void_rest = true };
        return LINE_SPOILED;
    }
    body = part;
    if (line->held && !line->discarding) {
        if (hold(line, part) < 0)
            return -ENOMEM;
        body = span_of(line->held, line->held_size);
    } else if (line->discarding) {
        body = span_of(NULL, 0);
    }
    return end_line(line, body, ret_line);
}

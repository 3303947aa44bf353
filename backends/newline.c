/* Line ends of a message, on the wire and on disk. Happy path: CRLF to LF and back. Nothing here
 * can fail. */
#include "backends/newline.h"

/* One octet that is no LF. */
static size_t store_octet(struct newline_to_disk *state, unsigned char byte, unsigned char *into)
{
    size_t size = 0;

    state->unfinished = true;
    if (state->crs > 0)
        into[size++] = '\r';
    if (byte == '\r') {
        state->crs = state->crs > 0 ? 2 : 1;
    } else {
        state->crs = 0;
        into[size++] = byte;
    }
    return size;
}

static size_t store_lf(struct newline_to_disk *state, unsigned char *into)
{
    size_t size = 0;

    if (state->crs == 0)
        state->octets++; /* a bare LF gets a CR on the wire */
    else if (state->crs == 2)
        into[size++] = '\r'; /* CRCRLF: without this CR it would read as CRLF */
    into[size++] = '\n';
    state->crs = 0;
    state->unfinished = false;
    return size;
}

size_t newline_to_disk(struct newline_to_disk *state, struct span in, unsigned char *into)
{
    size_t size = 0;

    state->octets += in.size;
    for (size_t i = 0; i < in.size; i++)
        size += in.data[i] == '\n' ? store_lf(state, into + size)
                                   : store_octet(state, in.data[i], into + size);
    return size;
}

size_t newline_to_disk_end(struct newline_to_disk *state, unsigned char *into)
{
    return state->unfinished ? newline_to_disk(state, SPAN_LIT("\r\n"), into) : 0;
}

/* A line has ended: counts it, finds the end of the header. */
static void count_line(struct newline_to_wire *state, bool empty)
{
    if (state->body && state->lines_left > 0)
        state->lines_left--;
    else if (empty)
        state->body = true;
}

bool newline_to_wire_done(const struct newline_to_wire *state)
{
    return state->limited && state->body && state->lines_left == 0;
}

static size_t send_lf(struct newline_to_wire *state, bool empty, unsigned char *into)
{
    size_t size = 0;

    if (!state->after_cr)
        into[size++] = '\r';
    into[size++] = '\n';
    count_line(state, empty);
    state->in_line = state->after_cr = state->lone_cr = false;
    return size;
}

static size_t send_octet(struct newline_to_wire *state, unsigned char byte, unsigned char *into)
{
    size_t size = 0;

    if (byte == '.' && !state->in_line && state->dot_stuffing)
        into[size++] = '.';
    into[size++] = byte;
    state->lone_cr = byte == '\r' && !state->in_line;
    state->after_cr = byte == '\r';
    state->in_line = true;
    return size;
}

size_t newline_to_wire(struct newline_to_wire *state, struct span in, unsigned char *into)
{
    size_t size = 0;

    for (size_t i = 0; i < in.size && !newline_to_wire_done(state); i++)
        size += in.data[i] == '\n' ? send_lf(state, !state->in_line || state->lone_cr, into + size)
                                   : send_octet(state, in.data[i], into + size);
    return size;
}

size_t newline_to_wire_end(struct newline_to_wire *state, unsigned char *into)
{
    if (!state->in_line)
        return 0;
    memcpy(into, "\r\n", 2);
    state->in_line = state->after_cr = state->lone_cr = false;
    return 2;
}

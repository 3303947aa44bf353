/* Finds the end of a multi-line block: matches CRLF.CRLF by a search, and octet by octet across
 * borders. Cannot fail. */
#include "proxy/message_end.h"

#include "proxy/base/lanes.h"

static const unsigned char end_mark[5] = { '\r', '\n', '.', '\r', '\n' };

/* Where an LF has a dot behind it. */
static lanes lf_dots(const unsigned char *octets)
{
    return lanes_equal(lanes_load(octets), '\n') & lanes_equal(lanes_load(octets + 1), '.');
}

static bool block_has_lf_dot(const unsigned char *octets)
{
    return lanes_any(lf_dots(octets) | lf_dots(octets + LANES) | lf_dots(octets + 2 * LANES) |
                     lf_dots(octets + 3 * LANES));
}

/* The first LF with a dot behind it, or in.size: in mail there are few. */
static size_t find_lf_dot(struct span in, size_t at)
{
    while (at + LANES_BLOCK < in.size && !block_has_lf_dot(in.data + at))
        at += LANES_BLOCK;
    while (at + LANES < in.size && !lanes_any(lf_dots(in.data + at)))
        at += LANES;
    while (at + 1 < in.size && (in.data[at] != '\n' || in.data[at + 1] != '.'))
        at++;
    return at + 1 < in.size ? at : in.size;
}

static size_t find_mark(struct span in)
{
    for (size_t lf = find_lf_dot(in, 0); lf < in.size; lf = find_lf_dot(in, lf + 1))
        if (lf >= 1 && in.size - lf >= sizeof(end_mark) - 1 &&
            memcmp(in.data + lf - 1, end_mark, sizeof(end_mark)) == 0)
            return lf - 1;
    return in.size;
}

/* One octet. The only proper beginning of the mark that is also found inside it is CRLF at its end,
 * and then it has ended; so after a mismatch at most this octet begins it anew. */
static void match_octet(struct message_end *end, unsigned char octet)
{
    if (octet == end_mark[end->matched])
        end->matched++;
    else
        end->matched = octet == '\r' ? 1 : 0;
}

bool message_end_find(struct message_end *end, struct span in, size_t *ret_size)
{
    size_t at = 0, found, border;
    struct span rest;

    while (at < in.size && end->matched > 0) {
        match_octet(end, in.data[at++]);
        if (end->matched == sizeof(end_mark)) {
            *ret_size = at;
            return true;
        }
    }
    rest = span_skip(in, at);
    found = find_mark(rest);
    if (found < rest.size) {
        end->matched = sizeof(end_mark);
        *ret_size = at + found + sizeof(end_mark);
        return true;
    }
    border = rest.size < sizeof(end_mark) ? 0 : rest.size - (sizeof(end_mark) - 1);
    for (size_t i = border; i < rest.size; i++)
        match_octet(end, rest.data[i]);
    *ret_size = in.size;
    return false;
}

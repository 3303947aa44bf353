/* Finds the end of a multi-line block: matches CRLF.CRLF by a search, and octet by octet across
 * borders. Cannot fail. */
#include "proxy/message_end.h"

static const unsigned char end_mark[5] = { '\r', '\n', '.', '\r', '\n' };

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
    found = span_search(rest, span_of(end_mark, sizeof(end_mark)));
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

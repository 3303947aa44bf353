/* Judges replies by the first four octets of their lines. */
#include "tools/bench/reply.h"

static int judge_line(const struct reply *reply, bool smtp)
{
    const unsigned char *first = reply->first;

    if (!smtp)
        return first[0] == '+' ? REPLY_YES : REPLY_NO;
    if (reply->column < 4 || (first[0] != '2' && first[0] != '3'))
        return REPLY_NO;
    return first[3] == '-' ? REPLY_MORE : REPLY_YES;
}

int reply_take(struct reply *reply, bool smtp, struct span *in)
{
    while (in->size > 0) {
        unsigned char octet = in->data[0];
        int result;

        if (reply->column < sizeof(reply->first))
            reply->first[reply->column] = octet;
        reply->column++;
        *in = span_skip(*in, 1);
        if (octet != '\n')
            continue;
        result = judge_line(reply, smtp);
        reply->column = 0;
        if (result != REPLY_MORE)
            return result;
    }
    return REPLY_MORE;
}

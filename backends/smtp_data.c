/* Finds the end of DATA, takes away the dots that were put there for transparency, and notices bare
 * CR and LF.
 *
 * Happy path: one pass over the bytes, pieces as long as the input allows. Cannot fail. */
#include "backends/smtp_data.h"

/* Moves over one octet that is no dot at the start of a line. */
static void step(struct smtp_data *data, unsigned char byte)
{
    bool after_cr = data->place == SMTP_DATA_AFTER_CR;

    if (after_cr != (byte == '\n'))
        data->bare = true;
    if (byte == '\r')
        data->place = SMTP_DATA_AFTER_CR;
    else if (after_cr && byte == '\n')
        data->place = SMTP_DATA_LINE_START;
    else
        data->place = SMTP_DATA_INSIDE;
}

/* Behind a dot that began a line. True at the end of the message. */
static bool take_after_dot(struct smtp_data *data, struct span *in)
{
    unsigned char byte = in->data[0];

    if (data->place == SMTP_DATA_AFTER_DOT && byte == '\r') {
        data->place = SMTP_DATA_AFTER_DOT_CR;
        *in = span_skip(*in, 1);
        return false;
    }
    if (data->place == SMTP_DATA_AFTER_DOT_CR && byte == '\n') {
        *in = span_skip(*in, 1);
        return true;
    }
    /* A line that begins with a dot and goes on; behind a CR it is spoiled, and step() says so. */
    data->place = data->place == SMTP_DATA_AFTER_DOT_CR ? SMTP_DATA_AFTER_CR : SMTP_DATA_INSIDE;
    return false;
}

int smtp_data_next(struct smtp_data *data, struct span *in, struct span *ret_text)
{
    size_t i;

    while (in->size > 0 && data->place >= SMTP_DATA_AFTER_DOT)
        if (take_after_dot(data, in))
            return SMTP_DATA_END;
    if (in->size == 0)
        return SMTP_DATA_MORE;
    for (i = 0; i < in->size; i++) {
        if (data->place == SMTP_DATA_LINE_START && in->data[i] == '.') {
            data->place = SMTP_DATA_AFTER_DOT;
            *ret_text = span_first(*in, i);
            *in = span_skip(*in, i + 1);
            return SMTP_DATA_TEXT;
        }
        step(data, in->data[i]);
    }
    *ret_text = *in;
    *in = span_skip(*in, in->size);
    return SMTP_DATA_TEXT;
}

void smtp_data_watch_chunk(struct smtp_data *data, struct span octets)
{
    for (size_t i = 0; i < octets.size; i++)
        step(data, octets.data[i]);
}

bool smtp_data_end_chunks(struct smtp_data *data)
{
    if (data->place == SMTP_DATA_AFTER_CR)
        data->bare = true;
    return data->place != SMTP_DATA_LINE_START;
}

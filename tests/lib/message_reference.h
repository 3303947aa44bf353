/* What must become of a message behind DATA, said a second time and simply: cut into lines first,
 * then judged line by line. The unit test and the fuzz target of the scanner compare with it. */
#ifndef GATEPOST_TESTS_MESSAGE_REFERENCE_H
#define GATEPOST_TESTS_MESSAGE_REFERENCE_H

#include "proxy/base/span.h"

struct reference {
    unsigned char *out; /* room for three times the input */
    size_t out_size;
    size_t taken; /* octets of the input that belong to the message, where it has ended */
    bool ended;
    bool bare;
};

static inline void reference_put(struct reference *reference, const void *data, size_t size)
{
    if (size > 0)
        memcpy(reference->out + reference->out_size, data, size);
    reference->out_size += size;
}

/* One whole line: its octets, whether its start and its end are a CRLF that was sent. */
static inline void reference_line(struct reference *reference, struct span line, bool sent_start,
                                  bool sent_end)
{
    size_t nuls = 0;

    while (nuls < line.size && line.data[nuls] == '\0')
        nuls++;
    if (line.size == 1 && line.data[0] == '.' && sent_start && sent_end) {
        reference_put(reference, ".\r\n", 3);
        reference->ended = true;
        return;
    }
    reference_put(reference, line.data, nuls);
    line = span_skip(line, nuls);
    if (line.size > 0 && line.data[0] == '.') {
        bool alone = line.size == 1 && !sent_end;
        bool before_nul = line.size > 1 && line.data[1] == '\0';

        if (!sent_start || nuls > 0 || alone || before_nul)
            reference_put(reference, ".", 1);
    }
    reference_put(reference, line.data, line.size);
    reference_put(reference, "\r\n", 2);
}

/* `normalize`. Only for input that ends in CRLF. */
static inline void reference_normalize(struct reference *reference, struct span in)
{
    bool sent_start = true;
    size_t start = 0;

    for (size_t i = 0; i < in.size && !reference->ended; i++) {
        bool cr = in.data[i] == '\r', lf = in.data[i] == '\n';
        bool crlf = cr && i + 1 < in.size && in.data[i + 1] == '\n';

        if (!cr && !lf)
            continue;
        reference_line(reference, span_of(in.data + start, i - start), sent_start, crlf);
        reference->bare = reference->bare || !crlf;
        sent_start = crlf;
        i += crlf;
        start = i + 1;
    }
    reference->taken = start;
}

/* How many lines that hold nothing but a dot does the worst reader see: one that takes CR, LF and
 * CRLF for the end of a line and does not see a NUL? */
static inline unsigned reference_dots(struct span out)
{
    unsigned dots = 0, size = 0;
    bool dot = false;

    for (size_t i = 0; i < out.size; i++) {
        unsigned char octet = out.data[i];

        if (octet == '\0')
            continue;
        if (octet == '\r' || octet == '\n') {
            dots += dot && size == 1;
            size = 0;
            dot = false;
            continue;
        }
        dot = octet == '.';
        size++;
    }
    return dots;
}

#endif

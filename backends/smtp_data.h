/* The octets of a message on their way in: behind DATA until CRLF.CRLF, and in the chunks of BDAT.
 *
 * PURE, no memory of its own. Behind DATA nothing but CR LF . CR LF ends the message (RFC 5321
 * section 4.1.1.4; the CRLF of the DATA line counts as the first one), and the dot that the sender
 * put before a dot is taken away (section 4.5.2). A CR or an LF that stands alone never ends
 * anything; it sets `bare`, and the message is to be refused. */
#ifndef GATEPOST_BACKENDS_SMTP_DATA_H
#define GATEPOST_BACKENDS_SMTP_DATA_H

#include "proxy/base/span.h"

struct smtp_data {
    uint8_t place; /* enum smtp_data_place */
    bool bare;     /* a CR without LF or an LF without CR was seen */
};

enum smtp_data_place {
    SMTP_DATA_LINE_START,
    SMTP_DATA_INSIDE,
    SMTP_DATA_AFTER_CR,
    SMTP_DATA_AFTER_DOT,    /* a dot that began the line */
    SMTP_DATA_AFTER_DOT_CR, /* that dot, and a CR */
};

enum smtp_data_result {
    SMTP_DATA_MORE = 1, /* all input used */
    SMTP_DATA_TEXT,     /* *ret_text is a piece of the message, perhaps empty; there may be more */
    SMTP_DATA_END,      /* the message has ended; *in goes on behind it */
};

static inline void smtp_data_init(struct smtp_data *data)
{
    *data = (struct smtp_data){ .place = SMTP_DATA_LINE_START };
}

/* DATA: takes a piece of the message off *in. Once `bare` is set the pieces are not the sender's
 * message any more. */
int smtp_data_next(struct smtp_data *data, struct span *in, struct span *ret_text);

/* BDAT: looks at the next octets of a chunk, which are message as they are. */
void smtp_data_watch_chunk(struct smtp_data *data, struct span octets);

/* BDAT: no octet follows. True where the last line lacks its CRLF, which the receiver adds. */
bool smtp_data_end_chunks(struct smtp_data *data);

#endif

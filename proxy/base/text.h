/* A bounded writer: text is appended into room that the caller lends, and what does not fit is
 * never half written.
 *
 * `overflow` stays set once an append did not fit; the caller checks it once, at the end. `data`
 * always holds `size` bytes and is not NUL-terminated; text_str() terminates it. */
#ifndef GATEPOST_BASE_TEXT_H
#define GATEPOST_BASE_TEXT_H

#include "proxy/base/span.h"

struct text {
    char *data;
    size_t size;
    size_t room;
    bool overflow;
};

/* A text over a char array. */
#define TEXT_OVER(array) ((struct text){ (array), 0, sizeof(array), false })

void text_put(struct text *text, struct span bytes);
void text_puts(struct text *text, const char *string);
void text_printf(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* In decimal digits. */
void text_put_number(struct text *text, uint64_t number);

/* Appends bytes from a peer made harmless: printable ASCII as it is, backslash and all else as
 * \xHH, at most `limit` bytes of input (then "..."). This and text_put_word() are the only ways in
 * which a peer's bytes reach a log or a terminal. */
void text_put_escaped(struct text *text, struct span bytes, size_t limit);

/* The same for the value of a "key=value": also blank, quotes, and , < = > become \xHH, so that
 * nothing in it ends the value or looks like another. An empty one is written as nothing. */
void text_put_word(struct text *text, struct span bytes, size_t limit);

/* Base64 (RFC 4648, section 4, with padding) of `bytes`. */
void text_put_base64(struct text *text, struct span bytes);

/* NUL-terminates (a full text loses its last byte for it) and returns data. */
const char *text_str(struct text *text);

static inline struct span text_span(const struct text *text)
{
    return span_of(text->data, text->size);
}

/* Decodes base64 strictly: padding required, no white space. Returns the number of bytes written to
 * `into` (at most `room`), or -1 where `encoded` is no base64 or does not fit. */
long base64_decode(struct span encoded, unsigned char *into, size_t room);

#endif

/* Appending text to lent room, escaping what came from a peer, and base64. Fails only by setting
 * `overflow`. */
#include "proxy/base/text.h"

#include <stdarg.h>
#include <stdio.h>

void text_put(struct text *text, struct span bytes)
{
    if (text->overflow || bytes.size > text->room - text->size) {
        text->overflow = true;
        return;
    }
    if (bytes.size > 0)
        memcpy(text->data + text->size, bytes.data, bytes.size);
    text->size += bytes.size;
}

void text_puts(struct text *text, const char *string)
{
    text_put(text, span_of_text(string));
}

void text_printf(struct text *text, const char *format, ...)
{
    size_t left = text->room - text->size;
    va_list args;
    int length;

    if (text->overflow)
        return;
    va_start(args, format);
    length = vsnprintf(text->data + text->size, left, format, args);
    va_end(args);
    if (length < 0 || (size_t)length >= left)
        text->overflow = true;
    else
        text->size += (size_t)length;
}

void text_put_number(struct text *text, uint64_t number)
{
    char digits[20]; /* of 2^64 - 1 */
    size_t first = sizeof(digits);

    do {
        digits[--first] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    text_put(text, span_of(digits + first, sizeof(digits) - first));
}

/* How many octets at the beginning go as they are? */
static size_t harmless(struct span bytes, const char *special)
{
    size_t i = 0;

    while (i < bytes.size && bytes.data[i] >= 0x20 && bytes.data[i] < 0x7f &&
           !strchr(special, bytes.data[i]))
        i++;
    return i;
}

/* Printable characters of `special` are escaped as well. */
static void put_escaped(struct text *text, struct span bytes, size_t limit, const char *special)
{
    static const char hex[] = "0123456789abcdef";
    struct span rest = span_first(bytes, limit);

    while (rest.size > 0) {
        size_t plain = harmless(rest, special);

        text_put(text, span_first(rest, plain));
        if (plain < rest.size) {
            unsigned char byte = rest.data[plain++];
            char escaped[4] = { '\\', 'x', hex[byte >> 4], hex[byte & 15] };

            text_put(text, span_of(escaped, 4));
        }
        rest = span_skip(rest, plain);
    }
    if (bytes.size > limit)
        text_puts(text, "...");
}

void text_put_escaped(struct text *text, struct span bytes, size_t limit)
{
    put_escaped(text, bytes, limit, "\\");
}

void text_put_word(struct text *text, struct span bytes, size_t limit)
{
    put_escaped(text, bytes, limit, "\\ \"',<=>");
}

static const char base64_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void text_put_base64(struct text *text, struct span bytes)
{
    for (size_t i = 0; i < bytes.size; i += 3) {
        size_t have = bytes.size - i < 3 ? bytes.size - i : 3;
        uint32_t bits = (uint32_t)bytes.data[i] << 16;
        char quad[4];

        if (have > 1)
            bits |= (uint32_t)bytes.data[i + 1] << 8;
        if (have > 2)
            bits |= bytes.data[i + 2];
        for (unsigned k = 0; k < 4; k++)
            quad[k] = k <= have ? base64_alphabet[(bits >> (18 - 6 * k)) & 63] : '=';
        text_put(text, span_of(quad, 4));
    }
}

const char *text_str(struct text *text)
{
    if (text->room == 0)
        return "";
    if (text->size == text->room)
        text->size--;
    text->data[text->size] = '\0';
    return text->data;
}

static int base64_value(unsigned char byte)
{
    const char *found = byte ? strchr(base64_alphabet, byte) : NULL;

    return found ? (int)(found - base64_alphabet) : -1;
}

/* Decodes one group of four; returns how many bytes it held (1 to 3), or -1. */
static int base64_group(const unsigned char *quad, bool last, unsigned char out[3])
{
    unsigned pad = last ? (quad[3] == '=') + (quad[3] == '=' && quad[2] == '=') : 0;
    uint32_t bits = 0;

    for (unsigned k = 0; k < 4 - pad; k++) {
        int value = base64_value(quad[k]);

        if (value < 0)
            return -1;
        bits |= (uint32_t)value << (18 - 6 * k);
    }
    out[0] = (unsigned char)(bits >> 16);
    out[1] = (unsigned char)(bits >> 8);
    out[2] = (unsigned char)bits;
    return 3 - (int)pad;
}

long base64_decode(struct span encoded, unsigned char *into, size_t room)
{
    size_t size = 0;

    if (encoded.size % 4 != 0)
        return -1;
    for (size_t i = 0; i < encoded.size; i += 4) {
        unsigned char group[3];
        int count = base64_group(encoded.data + i, i + 4 == encoded.size, group);

        if (count < 0 || size + (size_t)count > room)
            return -1;
        memcpy(into + size, group, (size_t)count);
        size += (size_t)count;
    }
    return (long)size;
}

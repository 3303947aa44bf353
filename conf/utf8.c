/* Looks at UTF-8 one character at a time. Nothing here can fail; octets that are no character are
 * an answer. */
#include "conf/utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* How many octets a character has that begins with `first`; 0: none begins so. */
static size_t announced_size(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first < 0xc2 || first > 0xf4) /* a later octet, an over-long form, beyond U+10FFFF */
        return 0;
    return first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}

size_t utf8_size(const char *text, size_t size)
{
    const unsigned char *octets = (const unsigned char *)text;
    size_t announced = size > 0 ? announced_size(octets[0]) : 0;

    if (announced == 0 || announced > size)
        return 0;
    for (size_t i = 1; i < announced; i++)
        if ((octets[i] & 0xc0) != 0x80)
            return 0;
    if ((octets[0] == 0xe0 && octets[1] < 0xa0) || (octets[0] == 0xf0 && octets[1] < 0x90))
        return 0; /* over-long */
    if ((octets[0] == 0xed && octets[1] > 0x9f) || (octets[0] == 0xf4 && octets[1] > 0x8f))
        return 0; /* a surrogate, beyond U+10FFFF */
    return announced;
}

/* Terminals obey the controls U+0080 to U+009F as well. */
static bool is_control(const char *text, size_t size)
{
    unsigned char first = (unsigned char)text[0];

    if (size == 1)
        return (first < ' ' && first != '\t') || first == 0x7f;
    return first == 0xc2 && (unsigned char)text[1] < 0xa0;
}

void utf8_print_harmless(const char *text, FILE *out)
{
    size_t rest = strlen(text), size;

    for (; rest > 0; text += size, rest -= size) {
        size = utf8_size(text, rest);
        if (size == 0 || is_control(text, size))
            putc('?', out);
        else
            fwrite(text, 1, size, out);
        if (size == 0)
            size = 1;
    }
}

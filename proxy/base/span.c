/* Looking at borrowed bytes: comparing, searching, taking words. Nothing here can fail but the
 * parse of a number. */
#include "proxy/base/span.h"

static unsigned char lower(unsigned char byte)
{
    return byte >= 'A' && byte <= 'Z' ? (unsigned char)(byte + ('a' - 'A')) : byte;
}

static bool is_blank(unsigned char byte)
{
    return byte == ' ' || byte == '\t';
}

bool span_equal(struct span a, struct span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool span_starts_nocase(struct span span, struct span prefix)
{
    if (span.size < prefix.size)
        return false;
    for (size_t i = 0; i < prefix.size; i++)
        if (lower(span.data[i]) != lower(prefix.data[i]))
            return false;
    return true;
}

bool span_equal_nocase(struct span a, struct span b)
{
    return a.size == b.size && span_starts_nocase(a, b);
}

size_t span_find(struct span span, unsigned char byte)
{
    const unsigned char *found = span.size > 0 ? memchr(span.data, byte, span.size) : NULL;

    return found ? (size_t)(found - span.data) : span.size;
}

size_t span_search(struct span span, struct span needle)
{
    const unsigned char *found =
        span.size > 0 ? memmem(span.data, span.size, needle.data, needle.size) : NULL;

    return found ? (size_t)(found - span.data) : span.size;
}

struct span span_take_word(struct span *rest)
{
    size_t start = 0, end;
    struct span word;

    while (start < rest->size && is_blank(rest->data[start]))
        start++;
    end = start;
    while (end < rest->size && !is_blank(rest->data[end]))
        end++;
    word = span_skip(span_first(*rest, end), start);
    while (end < rest->size && is_blank(rest->data[end]))
        end++;
    *rest = span_skip(*rest, end);
    return word;
}

size_t span_count_words(struct span span)
{
    size_t count = 0;

    while (span_take_word(&span).size > 0)
        count++;
    return count;
}

struct span span_trim(struct span span)
{
    while (span.size > 0 && is_blank(span.data[0]))
        span = span_skip(span, 1);
    while (span.size > 0 && is_blank(span.data[span.size - 1]))
        span.size--;
    return span;
}

bool span_parse_u64(struct span span, uint64_t *ret_value)
{
    uint64_t value = 0;

    if (span.size < 1 || span.size > 20)
        return false;
    for (size_t i = 0; i < span.size; i++) {
        unsigned digit = (unsigned)span.data[i] - '0';

        if (digit > 9 || value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *ret_value = value;
    return true;
}

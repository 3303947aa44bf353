/* A borrowed piece of bytes: pointer and length, never NUL-terminated, never owned.
 *
 * Bytes from a peer travel as a struct span through the whole product. The helpers below only look;
 * none of them allocates, and none writes through the pointer. */
#ifndef GATEPOST_BASE_SPAN_H
#define GATEPOST_BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
    const unsigned char *data;
    size_t size;
};

/* A span over a string literal, without its terminating NUL. */
#define SPAN_LIT(text) ((struct span){ (const unsigned char *)("" text), sizeof(text) - 1 })

static inline struct span span_of(const void *data, size_t size)
{
    return (struct span){ data, size };
}

static inline struct span span_of_text(const char *text)
{
    return (struct span){ (const unsigned char *)text, strlen(text) };
}

/* `span` without its first `count` bytes (or empty, where it has fewer). */
static inline struct span span_skip(struct span span, size_t count)
{
    if (count > span.size)
        count = span.size;
    if (count == 0)
        return span; /* its data may be NULL */
    return (struct span){ span.data + count, span.size - count };
}

static inline struct span span_first(struct span span, size_t count)
{
    return (struct span){ span.data, count < span.size ? count : span.size };
}

bool span_equal(struct span a, struct span b);

/* ASCII case is ignored; bytes from 0x80 up are compared as they are. */
bool span_equal_nocase(struct span a, struct span b);
bool span_starts_nocase(struct span span, struct span prefix);

/* `line` without the CR and LF at its end. */
static inline struct span span_without_line_end(struct span line)
{
    while (line.size > 0 && (line.data[line.size - 1] == '\r' || line.data[line.size - 1] == '\n'))
        line.size--;
    return line;
}

/* Index of the first `byte`, or span.size. */
size_t span_find(struct span span, unsigned char byte);

/* Index of the first occurrence of `needle`, or span.size. */
size_t span_search(struct span span, struct span needle);

/* Takes the next word off *rest: skips spaces and tabs, returns the bytes up to the next space or
 * tab (empty at the end), and leaves *rest behind the word and the spaces that follow it. */
struct span span_take_word(struct span *rest);
size_t span_count_words(struct span span);

/* `span` without spaces and tabs at both ends. */
struct span span_trim(struct span span);

/* Parses 1 to 20 decimal digits, nothing else. Returns false where that is not what `span` is, or
 * where the number does not fit in 64 bits. */
bool span_parse_u64(struct span span, uint64_t *ret_value);

#endif

/* A reader of JSON that keeps nothing but where it is. Each function takes what it is named after
 * off the front of the text; false: it is not there. */
#include "proxy/json_check.h"

#include "conf/utf8.h"

struct reader {
    struct span left;
    unsigned depth;
};

static bool take_value(struct reader *reader);

static int next(const struct reader *reader)
{
    return reader->left.size > 0 ? reader->left.data[0] : -1;
}

static bool take(struct reader *reader, int octet)
{
    if (next(reader) != octet)
        return false;
    reader->left = span_skip(reader->left, 1);
    return true;
}

static void skip_space(struct reader *reader)
{
    while (take(reader, ' ') || take(reader, '\t') || take(reader, '\n') || take(reader, '\r'))
        ;
}

static bool take_word(struct reader *reader, struct span word)
{
    if (!span_equal(span_first(reader->left, word.size), word))
        return false;
    reader->left = span_skip(reader->left, word.size);
    return true;
}

static bool is_digit(int octet)
{
    return octet >= '0' && octet <= '9';
}

static bool take_number(struct reader *reader)
{
    unsigned digits = 0;
    bool zero;

    take(reader, '-');
    zero = next(reader) == '0';
    while (is_digit(next(reader))) {
        reader->left = span_skip(reader->left, 1);
        digits++;
    }
    return zero ? digits == 1 : digits > 0 && digits <= JSON_CHECK_DIGITS;
}

static int hex_digit(int octet)
{
    if (is_digit(octet))
        return octet - '0';
    octet |= 0x20;
    return octet >= 'a' && octet <= 'f' ? octet - 'a' + 10 : -1;
}

/* Behind \u: surrogates (no character), and NUL, which the readers of texts do not take, are not
 * wanted. */
static bool take_code(struct reader *reader)
{
    unsigned code = 0;

    for (int i = 0; i < 4; i++) {
        int digit = hex_digit(next(reader));

        if (digit < 0)
            return false;
        code = code << 4 | (unsigned)digit;
        reader->left = span_skip(reader->left, 1);
    }
    return code != 0 && (code < 0xd800 || code > 0xdfff);
}

/* Behind the backslash. */
static bool take_escape(struct reader *reader)
{
    static const char plain[] = "\"\\/bfnrt";

    if (take(reader, 'u'))
        return take_code(reader);
    for (size_t i = 0; plain[i]; i++)
        if (take(reader, plain[i]))
            return true;
    return false;
}

static bool take_string(struct reader *reader)
{
    if (!take(reader, '"'))
        return false;
    while (!take(reader, '"')) {
        size_t size = utf8_size((const char *)reader->left.data, reader->left.size);

        if (size == 0 || reader->left.data[0] < 0x20)
            return false;
        if (!take(reader, '\\'))
            reader->left = span_skip(reader->left, size);
        else if (!take_escape(reader))
            return false;
    }
    return true;
}

static bool take_member(struct reader *reader)
{
    skip_space(reader);
    if (!take_string(reader))
        return false;
    skip_space(reader);
    return take(reader, ':') && take_value(reader);
}

/* Members up to the closing bracket, separated by commas. */
static bool take_members(struct reader *reader, int end, bool (*member)(struct reader *reader))
{
    skip_space(reader);
    if (take(reader, end))
        return true;
    do {
        if (!member(reader))
            return false;
        skip_space(reader);
    } while (take(reader, ','));
    return take(reader, end);
}

static bool take_nested(struct reader *reader, int end, bool (*member)(struct reader *reader))
{
    bool good;

    if (reader->depth == JSON_CHECK_DEPTH)
        return false;
    reader->depth++;
    good = take_members(reader, end, member);
    reader->depth--;
    return good;
}

static bool take_value(struct reader *reader)
{
    skip_space(reader);
    if (next(reader) == '"')
        return take_string(reader);
    if (take(reader, '{'))
        return take_nested(reader, '}', take_member);
    if (take(reader, '['))
        return take_nested(reader, ']', take_value);
    return take_word(reader, SPAN_LIT("true")) || take_word(reader, SPAN_LIT("false")) ||
           take_word(reader, SPAN_LIT("null")) || take_number(reader);
}

bool json_check_object(struct span text)
{
    struct reader reader = { text, 0 };

    skip_space(&reader);
    if (next(&reader) != '{' || !take_value(&reader))
        return false;
    skip_space(&reader);
    return reader.left.size == 0;
}

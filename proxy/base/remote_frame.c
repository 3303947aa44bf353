/* Uids, ids and frames of Remote Mail, written and read.
 *
 * Happy path: a line "M ...", as many octets as it announced, an empty line, a line "S ..." with
 * the uid of the frame. Fails with -EPROTO at the first line that is neither a reply nor what must
 * come next, is too long, or holds a bare CR, a bare LF or a NUL. */
#include "proxy/base/remote_frame.h"

#include <errno.h>

#define EPOCH_DIGITS 8
#define NUMBER_MAX   (1ULL << 63)

/* ---- words ---- */

static int hex_value(unsigned char digit)
{
    if (digit >= '0' && digit <= '9')
        return digit - '0';
    return digit >= 'a' && digit <= 'f' ? digit - 'a' + 10 : -1;
}

bool remote_is_hex(struct span word, size_t digits)
{
    for (size_t i = 0; i < word.size; i++)
        if (hex_value(word.data[i]) < 0)
            return false;
    return word.size == digits;
}

/* A number in its only spelling. */
static bool parse_number(struct span word, uint64_t *ret_number)
{
    return (word.size == 1 || (word.size > 1 && word.data[0] != '0')) &&
           span_parse_u64(word, ret_number);
}

bool remote_uid_parse(struct span word, bool zero_allowed, struct remote_uid *ret_uid)
{
    struct span epoch = span_first(word, EPOCH_DIGITS), number = span_skip(word, EPOCH_DIGITS + 1);
    struct remote_uid uid = { 0, 0 };

    if (zero_allowed && span_equal(word, SPAN_LIT("0"))) {
        *ret_uid = uid;
        return true;
    }
    if (word.size < EPOCH_DIGITS + 2 || word.data[EPOCH_DIGITS] != '.' ||
        !remote_is_hex(epoch, EPOCH_DIGITS))
        return false;
    if (!parse_number(number, &uid.number) || uid.number < 1 || uid.number > NUMBER_MAX)
        return false;
    for (size_t i = 0; i < EPOCH_DIGITS; i++)
        uid.epoch = uid.epoch << 4 | (uint32_t)hex_value(epoch.data[i]);
    *ret_uid = uid;
    return true;
}

void remote_uid_put(struct text *text, struct remote_uid uid)
{
    if (uid.number == 0)
        text_puts(text, "0");
    else
        text_printf(text, "%08x.%llu", uid.epoch, (unsigned long long)uid.number);
}

bool remote_uid_equal(struct remote_uid a, struct remote_uid b)
{
    return a.epoch == b.epoch && a.number == b.number;
}

/* ---- frames ---- */

void remote_frame_put_head(struct text *text, const struct remote_frame *frame)
{
    text_puts(text, "M ");
    remote_uid_put(text, frame->uid);
    text_printf(text, " %llu %llu\r\n", (unsigned long long)frame->octets,
                (unsigned long long)frame->offset);
}

void remote_frame_put_tail(struct text *text, struct remote_uid uid, struct span digest)
{
    text_puts(text, "\r\nS ");
    remote_uid_put(text, uid);
    text_puts(text, " ");
    text_put(text, digest);
    text_puts(text, "\r\n");
}

/* Takes what precedes the next space, or the end, off *rest; one space between two words, no other.
 */
static struct span take_word(struct span *rest)
{
    size_t size = span_find(*rest, ' ');
    struct span word = span_first(*rest, size);

    *rest = span_skip(*rest, size + 1);
    return word;
}

bool remote_frame_read_head(struct span line, struct remote_frame *ret_frame)
{
    struct remote_frame frame;

    if (!span_equal(take_word(&line), SPAN_LIT("M")) ||
        !remote_uid_parse(take_word(&line), false, &frame.uid))
        return false;
    if (!parse_number(take_word(&line), &frame.octets) || !parse_number(line, &frame.offset))
        return false;
    if (frame.octets > INT64_MAX || frame.offset > frame.octets)
        return false;
    *ret_frame = frame;
    return true;
}

bool remote_frame_read_tail(struct span line, struct remote_uid uid, struct span *ret_digest)
{
    struct remote_uid told;

    if (!span_equal(take_word(&line), SPAN_LIT("S")) ||
        !remote_uid_parse(take_word(&line), false, &told))
        return false;
    if (!remote_uid_equal(told, uid) || !remote_is_hex(line, REMOTE_DIGEST_MAX))
        return false;
    *ret_digest = line;
    return true;
}

/* ---- the reader ---- */

void remote_reader_init(struct remote_reader *reader)
{
    *reader = (struct remote_reader){ .state = REMOTE_IN_LINES };
    line_init(&reader->line, LINE_STRICT, REMOTE_LINE_MAX);
}

void remote_reader_deinit(struct remote_reader *reader)
{
    line_reset(&reader->line);
}

static bool is_reply(struct span line)
{
    return line.size >= 2 && line.data[1] == ' ' &&
           (line.data[0] == '+' || line.data[0] == '-' || line.data[0] == '*');
}

static int read_octets(struct remote_reader *reader, struct span *in, struct span *ret)
{
    *ret = span_first(*in, reader->left < in->size ? (size_t)reader->left : in->size);
    *in = span_skip(*in, ret->size);
    reader->left -= ret->size;
    if (reader->left == 0)
        reader->state = REMOTE_BEFORE_TAIL;
    return REMOTE_READ_OCTETS;
}

/* A line of the dialogue or of a frame. 0: it is nothing to tell of. */
static int read_line(struct remote_reader *reader, struct span line, struct span *ret)
{
    switch (reader->state) {
    case REMOTE_IN_LINES:
        if (is_reply(line)) {
            *ret = line;
            return REMOTE_READ_REPLY;
        }
        if (!remote_frame_read_head(line, &reader->frame))
            return -EPROTO;
        reader->left = reader->frame.octets - reader->frame.offset;
        reader->state = reader->left > 0 ? REMOTE_IN_OCTETS : REMOTE_BEFORE_TAIL;
        return REMOTE_READ_FRAME;
    case REMOTE_BEFORE_TAIL:
        reader->state = REMOTE_IN_TAIL;
        return line.size == 0 ? 0 : -EPROTO;
    case REMOTE_IN_TAIL:
        reader->state = REMOTE_IN_LINES;
        return remote_frame_read_tail(line, reader->frame.uid, ret) ? REMOTE_READ_DIGEST : -EPROTO;
    case REMOTE_IN_OCTETS:
        break;
    }
    return -EPROTO;
}

int remote_reader_next(struct remote_reader *reader, struct span *in, struct span *ret)
{
    int r = 0;

    while (r == 0) {
        struct span line;

        if (reader->state == REMOTE_IN_OCTETS)
            return in->size > 0 ? read_octets(reader, in, ret) : REMOTE_READ_MORE;
        r = line_next(&reader->line, in, &line);
        if (r == LINE_MORE && !line_too_long(&reader->line)) /* its end may never come */
            return REMOTE_READ_MORE;
        if (r > 0)
            r = r == LINE_READY ? read_line(reader, line, ret) : -EPROTO;
    }
    return r;
}

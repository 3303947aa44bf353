/* The text that messages are cut from, and the comparison of what arrives with it.
 *
 * Happy path: one memcmp() for each piece that arrives. Once an octet is wrong, the end of a
 * message is looked for octet by octet, so that the dialogue can go on and tell. */
#include "tools/bench/message.h"

#define LINES      1021
#define TEXT       (LINES * MESSAGE_LINE)
#define END_SIZE   3 /* of the dot's line, behind the CRLF of the last line */
#define END_MARK   "\r\n.\r\n"
#define MARK_SIZE  5
#define AFTER_CRLF 2

static unsigned char text[TEXT + MESSAGE_PIECE];

void message_init(void)
{
    uint32_t random = 1;

    for (size_t i = 0; i < TEXT; i++) {
        random = random * 1664525u + 1013904223u; /* Numerical Recipes' generator */
        text[i] = (unsigned char)('A' + (random >> 16) % 26);
        if (i % MESSAGE_LINE == MESSAGE_LINE - 2)
            text[i] = '\r';
        else if (i % MESSAGE_LINE == MESSAGE_LINE - 1)
            text[i] = '\n';
    }
    memcpy(text + TEXT, text, TEXT);
    memcpy(text + 2 * TEXT, text, sizeof(text) - 2 * TEXT);
}

struct span message_piece(const struct message *message, uint64_t position)
{
    uint64_t left = position < message->octets ? message->octets - position : 0;
    size_t start = (size_t)((position + (uint64_t)message->phase * MESSAGE_LINE) % TEXT);

    return span_of(text + start, left < MESSAGE_PIECE ? (size_t)left : MESSAGE_PIECE);
}

void message_check_begin(struct message_check *check, const struct message *expected)
{
    *check = (struct message_check){ .expected = *expected };
}

/* How much of CRLF.CRLF the octets before `position` of a good message are. */
static uint8_t matched_before(uint64_t position)
{
    if (position == 0 || position % MESSAGE_LINE == 0)
        return AFTER_CRLF;
    return position % MESSAGE_LINE == MESSAGE_LINE - 1 ? 1 : 0;
}

static void note_wrong(struct message_check *check, struct span expected, struct span got)
{
    size_t i = 0;

    while (i < expected.size && i < got.size && expected.data[i] == got.data[i])
        i++;
    check->wrong = true;
    check->wrong_at = check->position + i;
    check->matched = matched_before(check->position);
}

/* Takes octets of the message off *in while they are what they should be. */
static void take_good(struct message_check *check, struct span *in)
{
    while (in->size > 0 && !check->wrong && check->position < check->expected.octets) {
        struct span expected = message_piece(&check->expected, check->position);
        struct span got = span_first(*in, expected.size);

        expected = span_first(expected, got.size);
        if (memcmp(expected.data, got.data, got.size) != 0) {
            note_wrong(check, expected, got);
            return;
        }
        check->position += got.size;
        *in = span_skip(*in, got.size);
    }
}

/* Takes the dot's line off *in while it is one. Returns true at its end. */
static bool take_end(struct message_check *check, struct span *in)
{
    static const unsigned char end[] = END_MARK;

    while (in->size > 0) {
        uint64_t at = check->position - check->expected.octets;

        if (in->data[0] != end[AFTER_CRLF + at]) {
            check->wrong = true;
            check->wrong_at = check->position;
            check->matched = (uint8_t)(AFTER_CRLF + at);
            return false;
        }
        check->position++;
        *in = span_skip(*in, 1);
        if (at + 1 == END_SIZE)
            return true;
    }
    return false;
}

static uint8_t matched_after(uint8_t matched, unsigned char octet)
{
    if (octet == (unsigned char)END_MARK[matched])
        return matched + 1;
    return octet == '\r' ? 1 : 0;
}

static bool find_end(struct message_check *check, struct span *in)
{
    while (in->size > 0 && check->matched < MARK_SIZE) {
        check->matched = matched_after(check->matched, in->data[0]);
        check->position++;
        *in = span_skip(*in, 1);
    }
    return check->matched == MARK_SIZE;
}

bool message_check_dotted(struct message_check *check, struct span *in)
{
    take_good(check, in);
    if (!check->wrong && in->size > 0 && take_end(check, in))
        return true;
    return check->wrong && find_end(check, in);
}

void message_check_counted(struct message_check *check, struct span octets)
{
    take_good(check, &octets);
    if (octets.size > 0 && !check->wrong) {
        check->wrong = true;
        check->wrong_at = check->position;
    }
    check->position += octets.size;
}

bool message_check_good(const struct message_check *check)
{
    return !check->wrong && check->position >= check->expected.octets;
}

/* The dialogue with a backend before relaying, and the one by which its capabilities are learned;
 * see greet.h.
 *
 * One reply at a time is collected; a table names, for each step, what is sent when the step begins
 * and what a reply means. Fails by -EPROTO for garbage and for replies over the limits, by
 * GREET_REFUSED for a server that says no. */
#include "proxy/greet.h"

#include <errno.h>
#include <stdlib.h>

#define REPLY_LINE_MAX   2048
#define BANNER_LINES_MAX 10
#define REPLY_ROOM_FIRST 512
#define RELAY_TEST_FROM  "MAIL FROM:<>\r\n"
#define RELAY_TEST_RCPT  "RCPT TO:<relay-test@example.invalid>\r\n"

enum greet_step {
    STEP_BANNER,
    STEP_HELLO,
    STEP_HELO,
    STEP_MAIL,
    STEP_RCPT,
    STEP_RSET,
    STEP_QUIT,
    STEP_USER,
    STEP_CAPA,
    STEP_DONE
};

void greet_init(struct greet *greet, const struct greet_plan *plan)
{
    *greet = (struct greet){ .plan = *plan, .step = STEP_BANNER };
}

void greet_deinit(struct greet *greet)
{
    free(greet->reply);
    capabilities_unref(greet->list);
    *greet = (struct greet){ .plan.protocol = greet->plan.protocol, .step = STEP_DONE };
}

static int collect(struct greet *greet, struct span part)
{
    size_t need = greet->reply_size + part.size;

    if (need > CAPABILITIES_BYTES_MAX)
        return -EPROTO;
    if (need > greet->reply_room) {
        size_t room = greet->reply_room ? greet->reply_room * 2 : REPLY_ROOM_FIRST;
        unsigned char *grown;

        while (room < need)
            room *= 2;
        grown = realloc(greet->reply, room);
        if (!grown)
            return -ENOMEM;
        greet->reply = grown;
        greet->reply_room = room;
    }
    memcpy(greet->reply + greet->reply_size, part.data, part.size);
    greet->reply_size = need;
    return 0;
}

static bool is_digit(unsigned char byte)
{
    return byte >= '0' && byte <= '9';
}

/* Does this line (with its line end) end the reply? 1 yes, 0 no, -EPROTO: it is no line of a reply.
 */
static int line_ends_reply(struct greet *greet, struct span line)
{
    if (greet->plan.protocol == PROTOCOL_POP3) {
        if (greet->in_list)
            return span_equal(line, SPAN_LIT(".\r\n")) || span_equal(line, SPAN_LIT(".\n"));
        if (span_starts_nocase(line, SPAN_LIT("+OK"))) {
            greet->in_list = greet->step == STEP_CAPA;
            return !greet->in_list;
        }
        return span_starts_nocase(line, SPAN_LIT("-ERR")) ? 1 : -EPROTO;
    }
    if (line.size < 4 || !is_digit(line.data[0]) || !is_digit(line.data[1]) ||
        !is_digit(line.data[2]))
        return -EPROTO;
    if (line.data[3] == '-')
        return 0;
    return line.data[3] == ' ' || line.data[3] == '\r' || line.data[3] == '\n' ? 1 : -EPROTO;
}

/* Collects one whole reply. 1: it is whole; 0: more is needed; -errno. */
static int take_reply(struct greet *greet, struct span *in)
{
    while (in->size > 0) {
        size_t lf = span_find(*in, '\n');
        struct span part = span_first(*in, lf + 1), line;
        int r = collect(greet, part);

        if (r < 0)
            return r;
        *in = span_skip(*in, part.size);
        line = span_of(greet->reply + greet->line_start, greet->reply_size - greet->line_start);
        if (line.size > REPLY_LINE_MAX)
            return -EPROTO;
        if (part.data[part.size - 1] != '\n')
            return 0;
        greet->line_start = greet->reply_size;
        if (++greet->lines >
            (greet->step == STEP_BANNER ? BANNER_LINES_MAX : CAPABILITIES_LINES_MAX))
            return -EPROTO;
        r = line_ends_reply(greet, line);
        if (r != 0)
            return r;
    }
    return 0;
}

static void forget_reply(struct greet *greet)
{
    free(greet->reply);
    greet->reply = NULL;
    greet->reply_size = greet->reply_room = greet->line_start = 0;
    greet->lines = 0;
    greet->in_list = false;
}

static bool positive(const struct greet *greet)
{
    unsigned char good = greet->plan.protocol == PROTOCOL_POP3 ? '+' : '2';

    return greet->reply_size > 0 && greet->reply[0] == good;
}

static int begin(struct greet *greet, enum greet_step step, const char *command, struct text *out)
{
    greet->step = (uint8_t)step;
    text_puts(out, command);
    return GREET_SEND;
}

static int say_goodbye(struct greet *greet, struct text *out)
{
    greet->told = true;
    return begin(greet, STEP_QUIT, "QUIT\r\n", out);
}

static int send_hello(struct greet *greet, struct text *out)
{
    if (greet->plan.hello.size == 0) {
        greet->step = STEP_DONE;
        return GREET_READY;
    }
    greet->step = greet->plan.protocol == PROTOCOL_POP3 ? STEP_USER : STEP_HELLO;
    text_put(out, greet->plan.hello);
    text_puts(out, "\r\n");
    return GREET_SEND;
}

static int after_banner(struct greet *greet, struct text *out)
{
    if (greet->plan.purpose == GREET_BANNER) {
        greet->step = STEP_DONE;
        return GREET_READY; /* the caller finds the banner in `reply` */
    }
    if (greet->plan.purpose == GREET_SESSION)
        return send_hello(greet, out);
    if (greet->plan.protocol == PROTOCOL_POP3)
        return begin(greet, STEP_CAPA, "CAPA\r\n", out);
    text_puts(out, "EHLO ");
    text_put(out, greet->plan.hello);
    return begin(greet, STEP_HELLO, "\r\n", out);
}

static int keep_list(struct greet *greet, bool learned)
{
    capabilities_unref(greet->list);
    greet->list = NULL;
    if (learned)
        return capabilities_parse(greet->plan.protocol, span_of(greet->reply, greet->reply_size),
                                  &greet->list);
    greet->list = capabilities_new_none(greet->plan.protocol);
    return greet->list ? 0 : -ENOMEM;
}

/* The reply to EHLO or HELO has come. */
static int after_hello(struct greet *greet, struct text *out)
{
    bool learning = greet->plan.purpose == GREET_LEARN;
    bool extended = greet->step == STEP_HELLO &&
                    (learning || span_starts_nocase(greet->plan.hello, SPAN_LIT("EHLO")));
    int r;

    if (extended && greet->reply[0] == '5') { /* a server older than EHLO: RFC 5321 section 3.2 */
        text_puts(out, "HELO ");
        text_put(out, learning ? greet->plan.hello : span_trim(span_skip(greet->plan.hello, 4)));
        return begin(greet, STEP_HELO, "\r\n", out);
    }
    if (!positive(greet)) {
        text_put(out, span_of(greet->reply, greet->reply_size));
        return GREET_REFUSED;
    }
    r = keep_list(greet, extended);
    if (r < 0)
        return r;
    if (greet->plan.purpose == GREET_LEARN)
        return begin(greet, STEP_MAIL, RELAY_TEST_FROM, out);
    greet->step = STEP_DONE;
    return GREET_READY;
}

/* One whole reply of the backend to the step that is under way. */
static int reply_came(struct greet *greet, struct text *out)
{
    int r;

    switch ((enum greet_step)greet->step) {
    case STEP_BANNER:
        if (positive(greet))
            return after_banner(greet, out);
        text_put(out, span_of(greet->reply, greet->reply_size));
        return GREET_REFUSED;
    case STEP_HELLO:
    case STEP_HELO:
        return after_hello(greet, out);
    case STEP_MAIL:
        return positive(greet) ? begin(greet, STEP_RCPT, RELAY_TEST_RCPT, out)
                               : say_goodbye(greet, out);
    case STEP_RCPT:
        greet->open_relay = positive(greet);
        return begin(greet, STEP_RSET, "RSET\r\n", out);
    case STEP_RSET:
        return say_goodbye(greet, out);
    case STEP_CAPA:
        r = keep_list(greet, positive(greet));
        return r < 0 ? r : say_goodbye(greet, out);
    case STEP_USER:
        if (!positive(greet)) {
            text_put(out, span_of(greet->reply, greet->reply_size));
            return GREET_REFUSED;
        }
        greet->step = STEP_DONE;
        return GREET_READY;
    case STEP_QUIT:
    case STEP_DONE:
        greet->step = STEP_DONE;
        return GREET_READY;
    }
    return -EPROTO;
}

int greet_feed(struct greet *greet, struct span *in, struct text *out)
{
    int r;

    if (greet->plan.purpose == GREET_REPLAY && greet->step == STEP_BANNER)
        return send_hello(greet, out);
    if (greet->step == STEP_DONE)
        return GREET_READY;
    r = take_reply(greet, in);
    if (r <= 0)
        return r < 0 ? r : GREET_MORE;
    r = reply_came(greet, out);
    if (r < 0 || (r == GREET_READY && greet->plan.purpose == GREET_BANNER))
        return r;
    forget_reply(greet);
    return r;
}

void greet_tls_done(struct greet *greet)
{
    capabilities_unref(greet->list);
    greet->list = NULL;
}

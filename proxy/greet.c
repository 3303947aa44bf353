/* The dialogue with a backend before relaying, and the one by which its capabilities are learned;
 * see greet.h.
 *
 * One reply at a time is collected. Happy path: banner; where that is configured EHLO and STARTTLS
 * (or STLS), then EHLO and XCLIENT; then what the purpose is: the client's own hello, or EHLO or
 * CAPA, relay test and QUIT. Fails by -EPROTO for garbage and for replies over the limits, by
 * -ENOTSUP where TLS or XCLIENT is configured and the server will not have it, and by GREET_REFUSED
 * for a server that says no. */
#include "proxy/greet.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/greet_xclient.h"

#define REPLY_LINE_MAX   2048
#define BANNER_LINES_MAX 10
#define REPLY_ROOM_FIRST 512
#define RELAY_TEST_FROM  "MAIL FROM:<>\r\n"
#define RELAY_TEST_RCPT  "RCPT TO:<relay-test@example.invalid>\r\n"

enum greet_step {
    STEP_BANNER,
    STEP_OWN_HELLO, /* our EHLO, before STARTTLS and before XCLIENT */
    STEP_STARTTLS,
    STEP_HANDSHAKE, /* the caller is at work */
    STEP_SECURE,    /* TLS is up; the next command is ours */
    STEP_XCLIENT,
    STEP_HELLO,
    STEP_HELO,
    STEP_MAIL,
    STEP_RCPT,
    STEP_RSET,
    STEP_QUIT,
    STEP_USER,
    STEP_CAPA,
    STEP_DONE,
    STEP_FAILED,
};

void greet_init(struct greet *greet, const struct greet_plan *plan)
{
    *greet = (struct greet){ .plan = *plan, .step = STEP_BANNER };
}

void greet_deinit(struct greet *greet)
{
    free(greet->reply);
    free(greet->banner);
    capabilities_unref(greet->list);
    *greet = (struct greet){ .plan.protocol = greet->plan.protocol, .step = STEP_FAILED };
}

static int fails(struct greet *greet, int error, const char *words)
{
    greet->fault = words;
    return error;
}

/* Collecting a reply */

static int collect(struct greet *greet, struct span part)
{
    size_t need = greet->reply_size + part.size;

    if (need > CAPABILITIES_BYTES_MAX)
        return fails(greet, -EPROTO, "sends a reply of more than 16 KiB");
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
            return fails(greet, -EPROTO, "sends a line of more than 2,048 octets");
        if (part.data[part.size - 1] != '\n')
            return 0;
        greet->last_line = greet->line_start;
        greet->line_start = greet->reply_size;
        if (++greet->lines >
            (greet->step == STEP_BANNER ? BANNER_LINES_MAX : CAPABILITIES_LINES_MAX))
            return fails(greet, -EPROTO, "sends a reply of too many lines");
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
    greet->reply_size = greet->reply_room = greet->line_start = greet->last_line = 0;
    greet->lines = 0;
    greet->in_list = false;
}

/* The line that says what a reply means: the last of SMTP (a server that begins its banner before
 * it has made up its mind may end "220-" by another code), the first of POP3. */
static struct span decisive_line(const struct greet *greet)
{
    size_t start = greet->plan.protocol == PROTOCOL_POP3 ? 0 : greet->last_line;

    return span_of(greet->reply + start, greet->reply_size - start);
}

static bool code_is(const struct greet *greet, const char *code)
{
    return span_starts_nocase(decisive_line(greet), span_of_text(code));
}

static bool positive(const struct greet *greet)
{
    return code_is(greet, greet->plan.protocol == PROTOCOL_POP3 ? "+" : "2");
}

/* Steps */

static int begin(struct greet *greet, enum greet_step step, const char *command, struct text *out)
{
    greet->step = (uint8_t)step;
    text_puts(out, command);
    return GREET_SEND;
}

static int done(struct greet *greet)
{
    greet->step = STEP_DONE;
    return GREET_READY;
}

/* The reply is the server's refusal; of one whose lines do not agree, the last line. */
static int refuse(struct greet *greet, struct text *out)
{
    struct span whole = span_of(greet->reply, greet->reply_size), line = decisive_line(greet);

    text_put(out, span_starts_nocase(whole, span_first(line, 3)) ? whole : line);
    return GREET_REFUSED;
}

static int say_goodbye(struct greet *greet, struct text *out)
{
    greet->told = true;
    return begin(greet, STEP_QUIT, "QUIT\r\n", out);
}

static int send_hello(struct greet *greet, struct text *out)
{
    if (greet->plan.hello.size == 0)
        return done(greet);
    text_put(out, greet->plan.hello);
    return begin(greet, greet->plan.protocol == PROTOCOL_POP3 ? STEP_USER : STEP_HELLO, "\r\n",
                 out);
}

static int send_ehlo(struct greet *greet, enum greet_step step, struct span name, struct text *out)
{
    text_puts(out, "EHLO ");
    text_put(out, name);
    return begin(greet, step, "\r\n", out);
}

static void forget_list(struct greet *greet)
{
    capabilities_unref(greet->list);
    greet->list = NULL;
}

static int keep_list(struct greet *greet, bool learned)
{
    forget_list(greet);
    if (learned)
        return capabilities_parse(greet->plan.protocol, span_of(greet->reply, greet->reply_size),
                                  &greet->list);
    greet->list = capabilities_new_none(greet->plan.protocol);
    return greet->list ? 0 : -ENOMEM;
}

/* The banner of an APOP server is shown to the client once TLS is up. */
static void keep_banner(struct greet *greet)
{
    greet->banner = greet->reply;
    greet->banner_size = greet->reply_size;
    greet->reply = NULL;
    forget_reply(greet);
}

static int show_banner(struct greet *greet)
{
    if (greet->banner) {
        forget_reply(greet);
        greet->reply = greet->banner;
        greet->reply_size = greet->reply_room = greet->banner_size;
        greet->banner = NULL;
    }
    return done(greet); /* the caller finds it in `reply` */
}

static bool wants_tls(const struct greet *greet)
{
    return greet->plan.starttls && !greet->secure;
}

static bool wants_xclient(const struct greet *greet)
{
    return greet->plan.xclient && greet->plan.protocol == PROTOCOL_SMTP && !greet->identified;
}

/* Between banner and purpose: TLS, then the client's identity. */
static int go_on(struct greet *greet, struct text *out)
{
    bool at_banner = greet->step == STEP_BANNER && greet->plan.purpose == GREET_BANNER;

    if (at_banner && (wants_tls(greet) || wants_xclient(greet)))
        keep_banner(greet);
    if (wants_tls(greet) && greet->plan.protocol == PROTOCOL_POP3)
        return begin(greet, STEP_STARTTLS, "STLS\r\n", out);
    if (wants_tls(greet) || wants_xclient(greet))
        return send_ehlo(greet, STEP_OWN_HELLO, greet->plan.hostname, out);
    if (greet->plan.purpose == GREET_BANNER)
        return show_banner(greet);
    if (greet->plan.purpose != GREET_LEARN)
        return send_hello(greet, out);
    if (greet->plan.protocol == PROTOCOL_POP3)
        return begin(greet, STEP_CAPA, "CAPA\r\n", out);
    return send_ehlo(greet, STEP_HELLO, greet->plan.hello, out);
}

static int send_xclient(struct greet *greet, struct text *out)
{
    const struct capability *item = capabilities_find(greet->list, SPAN_LIT("XCLIENT"));
    int r;

    if (!item)
        return fails(greet, -ENOTSUP,
                     "offers us no XCLIENT (Postfix: smtpd_authorized_xclient_hosts)");
    r = greet_xclient_write(&greet->plan, item->parameters, greet->xclient_part, out);
    if (r < 0)
        return fails(greet, r, "takes no address by XCLIENT");
    greet->identified = r == GREET_XCLIENT_LAST; /* once it says 220 */
    return begin(greet, STEP_XCLIENT, "", out);
}

/* The reply to our own EHLO has come. */
static int after_own_hello(struct greet *greet, struct text *out)
{
    bool tls = wants_tls(greet);
    int r;

    if (code_is(greet, "5"))
        return fails(greet, -ENOTSUP,
                     tls ? "refuses EHLO, so it has no STARTTLS"
                         : "refuses EHLO, so it has no XCLIENT");
    if (!positive(greet))
        return refuse(greet, out);
    r = keep_list(greet, true);
    if (r < 0)
        return r;
    if (!tls)
        return send_xclient(greet, out);
    if (!capabilities_find(greet->list, SPAN_LIT("STARTTLS")))
        return fails(greet, -ENOTSUP, "offers no STARTTLS");
    return begin(greet, STEP_STARTTLS, "STARTTLS\r\n", out);
}

/* RFC 3207 section 4: 220, and nothing else. */
static int after_starttls(struct greet *greet)
{
    bool pop3 = greet->plan.protocol == PROTOCOL_POP3;

    if (!code_is(greet, pop3 ? "+OK" : "220"))
        return fails(greet, -ENOTSUP, pop3 ? "refuses STLS" : "refuses STARTTLS");
    greet->step = STEP_HANDSHAKE;
    return GREET_TLS;
}

/* 501: a value is not to its liking. Postfix without IPv6 says so to each IPv6 client; then this
 * client is not served, as nobody is without identity, but the server is none the worse for others.
 */
static int refuse_untold(struct greet *greet, struct text *out)
{
    greet->fault = "does not take this client's address or name by XCLIENT (Postfix, where the "
                   "address is IPv6: inet_protocols)";
    text_puts(out, "421 4.3.2 The server cannot be told who you are, please try again later\r\n");
    return GREET_REFUSED;
}

/* XCLIENT is answered by a new greeting: 220, or what a server says in its place to a client that
 * it does not want (RFC 5321 section 3.1). All else is a server that does not want XCLIENT of us.
 */
static int after_xclient(struct greet *greet, struct text *out)
{
    if (code_is(greet, "501") && greet->plan.purpose != GREET_LEARN)
        return refuse_untold(greet, out);
    if (code_is(greet, "4") || code_is(greet, "554"))
        return refuse(greet, out);
    if (!code_is(greet, "220"))
        return fails(greet, -ENOTSUP, "refuses XCLIENT");
    if (!greet->identified) {
        greet->xclient_part++;
        return send_xclient(greet, out);
    }
    forget_list(greet);
    return go_on(greet, out);
}

/* The reply to EHLO or HELO has come. */
static int after_hello(struct greet *greet, struct text *out)
{
    bool learning = greet->plan.purpose == GREET_LEARN;
    bool extended = greet->step == STEP_HELLO &&
                    (learning || span_starts_nocase(greet->plan.hello, SPAN_LIT("EHLO")));
    int r;

    if (extended && code_is(greet, "5")) { /* a server older than EHLO: RFC 5321 section 3.2 */
        text_puts(out, "HELO ");
        text_put(out, learning ? greet->plan.hello : span_trim(span_skip(greet->plan.hello, 4)));
        return begin(greet, STEP_HELO, "\r\n", out);
    }
    if (!positive(greet))
        return refuse(greet, out);
    r = keep_list(greet, extended);
    if (r < 0)
        return r;
    return learning ? begin(greet, STEP_MAIL, RELAY_TEST_FROM, out) : done(greet);
}

/* Is the server itself going away, or too busy? (Said to QUIT, it is a goodbye as good as any.) */
static bool says_unavailable(const struct greet *greet)
{
    if (greet->plan.protocol == PROTOCOL_POP3)
        return greet->step == STEP_BANNER && !positive(greet);
    return greet->step != STEP_QUIT && code_is(greet, "421");
}

/* One whole reply of the backend to the step that is under way. */
static int reply_came(struct greet *greet, struct text *out)
{
    int r;

    greet->unavailable = says_unavailable(greet);
    if (greet->unavailable)
        return refuse(greet, out);
    switch ((enum greet_step)greet->step) {
    case STEP_BANNER:
        return positive(greet) ? go_on(greet, out) : refuse(greet, out);
    case STEP_OWN_HELLO:
        return after_own_hello(greet, out);
    case STEP_STARTTLS:
        return after_starttls(greet);
    case STEP_XCLIENT:
        return after_xclient(greet, out);
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
        return positive(greet) ? done(greet) : refuse(greet, out);
    case STEP_QUIT:
        return done(greet);
    case STEP_HANDSHAKE:
    case STEP_SECURE:
    case STEP_DONE:
    case STEP_FAILED:
        break; /* no reply is awaited */
    }
    return -EPROTO;
}

void greet_tls_done(struct greet *greet)
{
    if (greet->step != STEP_HANDSHAKE)
        return;
    forget_list(greet);
    greet->secure = true;
    greet->step = STEP_SECURE;
}

/* Goes on where no reply is needed first. 0: one is. */
static int feed_without_reply(struct greet *greet, struct text *out)
{
    switch ((enum greet_step)greet->step) {
    case STEP_BANNER:
        return greet->plan.purpose == GREET_REPLAY ? send_hello(greet, out) : 0;
    case STEP_HANDSHAKE:
        return GREET_TLS; /* nothing counts before it is done */
    case STEP_SECURE:
        return go_on(greet, out);
    case STEP_DONE:
        return GREET_READY;
    case STEP_FAILED:
        return -EPROTO;
    case STEP_OWN_HELLO:
    case STEP_STARTTLS:
    case STEP_XCLIENT:
    case STEP_HELLO:
    case STEP_HELO:
    case STEP_MAIL:
    case STEP_RCPT:
    case STEP_RSET:
    case STEP_QUIT:
    case STEP_USER:
    case STEP_CAPA:
        break;
    }
    return 0;
}

int greet_feed(struct greet *greet, struct span *in, struct text *out)
{
    int r = feed_without_reply(greet, out);

    if (r != 0)
        return r;
    r = take_reply(greet, in);
    if (r == 0)
        return GREET_MORE;
    if (r > 0)
        r = reply_came(greet, out);
    if (r < 0 || r == GREET_REFUSED)
        greet->step = STEP_FAILED; /* what it says from now on leads nowhere */
    if (r != GREET_READY || greet->plan.purpose != GREET_BANNER)
        forget_reply(greet);
    return r;
}

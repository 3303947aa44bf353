/* The dialogue before a backend is needed, from random octets: the first octet chooses protocol and
 * rule, the second what the server can do and how many errors are borne, the rest is what the
 * client says.
 *
 * Invariants: whole, byte by byte and in uneven pieces give the same replies and the same verdicts;
 * every reply is whole lines; a command that is forwarded holds no CR, LF or NUL, is not longer
 * than its limit, and is not forwarded before TLS where TLS is required for it; what is replayed
 * was said since TLS; STARTTLS and STLS are accepted once. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/negotiate.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct play {
    struct dialogue_rule rule;
    struct negotiate negotiate;
    struct capabilities *list;
    struct line line;
    uint64_t hash; /* of all that came out */
    unsigned tls_count;
    bool closed;
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void note(struct play *play, struct span bytes, unsigned char end)
{
    for (size_t i = 0; i < bytes.size; i++)
        play->hash = (play->hash ^ bytes.data[i]) * 1099511628211u; /* FNV-1a */
    play->hash = (play->hash ^ end) * 1099511628211u;
}

static struct capabilities *list_of(enum port_protocol protocol, unsigned choice)
{
    static const char *const replies[2][3] = {
        { "250-a\r\n250-PIPELINING\r\n250-AUTH PLAIN NTLM\r\n250 SIZE 9\r\n", "250 a\r\n",
          "250-a\r\n250-AUTH GSSAPI\r\n250 CHUNKING\r\n" },
        { "+OK\r\nUSER\r\nSASL PLAIN EXTERNAL\r\nLANG\r\nUTF8\r\n.\r\n", "+OK\r\n.\r\n",
          "+OK\r\nSASL NTLM\r\n.\r\n" },
    };
    struct capabilities *list = NULL;

    if (choice == 3)
        list = capabilities_new_none(protocol);
    else
        capabilities_parse(protocol, span_of_text(replies[protocol == PROTOCOL_POP3][choice]),
                           &list);
    check(list != NULL, "no list");
    return list;
}

static void set_up(struct play *play, uint8_t first, uint8_t second)
{
    bool pop3 = first & 1;

    *play = (struct play){ .hash = 14695981039346656037u };
    play->rule = (struct dialogue_rule){
        .protocol = pop3 ? PROTOCOL_POP3 : PROTOCOL_SMTP,
        .hostname = "mail.example",
        .require_tls = (enum require_tls)((first >> 1 & 3) % 3),
        .tls_available = !(first & 8),
        .implicit_tls = first & 16,
        .require_auth = first & 64,
        .apop = first & 128,
        .legacy_auth_line = second & 4,
        .max_errors = 1 + (second >> 3 & 15),
        .reads_login = second & 128,
        .port = 995,
        .starttls_port = 110,
    };
    play->list = list_of(play->rule.protocol, second & 3);
    negotiate_init(&play->negotiate, &play->rule, first & 32);
    line_init(&play->line, pop3 ? LINE_LENIENT : LINE_STRICT,
              negotiate_line_limit(&play->negotiate));
}

static void check_reply(struct span reply)
{
    if (reply.size == 0)
        return;
    check(reply.size >= 2 && reply.data[reply.size - 1] == '\n', "a reply has no end");
    while (reply.size > 0) {
        size_t lf = span_find(reply, '\n');

        check(lf > 0 && reply.data[lf - 1] == '\r', "a line of a reply has no CRLF");
        check(span_find(span_first(reply, lf - 1), '\r') == lf - 1, "a reply holds a CR");
        reply = span_skip(reply, lf + 1);
    }
}

static void check_forward(const struct play *play, struct span line)
{
    const struct negotiate *negotiate = &play->negotiate;
    bool login = negotiate->login || span_starts_nocase(line, SPAN_LIT("AUTH")) ||
                 span_starts_nocase(line, SPAN_LIT("PASS")) ||
                 span_starts_nocase(line, SPAN_LIT("APOP"));

    check(span_find(line, '\r') == line.size && span_find(line, '\n') == line.size &&
              span_find(line, '\0') == line.size,
          "a forwarded command holds a control");
    check(line.size + 2 <= (login ? AUTH_LINE_MAX : SMTP_PATH_LINE_MAX), "it is too long");
    if (negotiate->login) {
        check(play->rule.reads_login && login_ready(negotiate->login), "a login that is not read");
        check(negotiate_user(negotiate).size > 0, "a login of nobody");
    } else {
        check(!play->rule.reads_login || !span_starts_nocase(line, SPAN_LIT("AUTH ")),
              "a login was not read");
    }
    check(!negotiate->told_plain, "a port that speaks TLS first forwards in clear");
    if (negotiate->tls || play->rule.require_tls == REQUIRE_TLS_NO)
        return;
    check(!login, "a login was forwarded in clear");
    check(play->rule.require_tls != REQUIRE_TLS_YES || play->rule.protocol == PROTOCOL_POP3,
          "a command was forwarded in clear");
}

static void judge(struct play *play, int result, struct span line)
{
    static char room[DIALOGUE_REPLY_MAX];
    struct text reply = TEXT_OVER(room);
    struct negotiate *negotiate = &play->negotiate;
    int verdict = result == LINE_READY ? negotiate_line(negotiate, line, &reply)
                                       : negotiate_bad_line(negotiate, result, &reply);

    if (verdict == NEGOTIATE_LEARN) {
        check(!negotiate->learned && reply.size == 0, "what is learned is asked for again");
        negotiate->learned = play->list;
        verdict = negotiate_line(negotiate, line, &reply);
    }
    check(!reply.overflow, "a reply does not fit");
    check(verdict > 0 && verdict != NEGOTIATE_LEARN, "there is no verdict");
    check_reply(text_span(&reply));
    note(play, text_span(&reply), (unsigned char)verdict);
    note(play, span_of(negotiate->hello, negotiate->hello_size), negotiate->errors);
    if (verdict == NEGOTIATE_FORWARD) {
        check_forward(play, line);
        negotiate_forget_login(negotiate);
    }
    if (verdict == NEGOTIATE_TLS) {
        check(++play->tls_count == 1 && !negotiate->tls, "TLS was accepted twice");
        negotiate_tls_done(negotiate);
        check(!negotiate->hello && !negotiate->learned, "something from the clear is left");
    }
    play->closed = verdict == NEGOTIATE_CLOSE;
}

static uint64_t play_all(uint8_t first, uint8_t second, struct span input, size_t piece)
{
    struct play play;

    set_up(&play, first, second);
    while (input.size > 0 && !play.closed) {
        struct span in = span_first(input, piece), line;
        int result;

        input = span_skip(input, in.size);
        while (!play.closed && (play.line.limit = negotiate_line_limit(&play.negotiate),
                                result = line_next(&play.line, &in, &line)) != LINE_MORE) {
            check(result > 0, "no memory");
            judge(&play, result, line);
        }
    }
    line_reset(&play.line);
    negotiate_deinit(&play.negotiate);
    capabilities_unref(play.list);
    return play.hash;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct span input;
    uint64_t whole;

    if (size < 2)
        return 0;
    input = span_of(data + 2, size - 2);
    whole = play_all(data[0], data[1], input, SIZE_MAX);
    check(play_all(data[0], data[1], input, 1) == whole, "byte by byte is not the same");
    check(play_all(data[0], data[1], input, 7) == whole, "in pieces is not the same");
    return 0;
}

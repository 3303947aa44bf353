/* The dialogue with a server before a client is relayed to it, and the one that learns what it can
 * do: each row whole and one octet at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <errno.h>
#include <cmocka.h>

#include "proxy/greet.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TEST_FROM   "MAIL FROM:<>\r\n"
#define TEST_RCPT   "RCPT TO:<relay-test@example.invalid>\r\n"
#define TEST        TEST_FROM TEST_RCPT "RSET\r\n"
#define LINES_10                                                                                   \
    "220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n220-a\r\n"

static const struct greet_row {
    const char *name;
    enum port_protocol protocol;
    enum greet_purpose purpose;
    const char *hello, *server; /* all that the server says */
    int verdict;                /* the last */
    const char *sent;           /* to the server */
    const char *refusal;        /* NULL: none */
    size_t left;                /* octets of the server that nobody asked for */
    const char *offers;         /* a keyword of the list; NULL: there is no list */
    bool open_relay, told;
} rows[] = {
    { "nothing has come", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "", GREET_MORE, .sent = "" },
    { "half a banner", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220 b\r", GREET_MORE, .sent = "" },
    { "banner, EHLO", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220-b\r\n220 b\r\n250-b\r\n250 DSN\r\n", GREET_READY, .sent = "EHLO a\r\n",
      .offers = "DSN" },
    { "lines that end in LF alone", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\n250-b\n250 DSN\n", GREET_READY, .sent = "EHLO a\r\n", .offers = "DSN" },
    { "codes without text", PROTOCOL_SMTP, GREET_SESSION, "HELO a", "220\r\n250\r\n", GREET_READY,
      .sent = "HELO a\r\n", .offers = "" },
    { "HELO offers nothing", PROTOCOL_SMTP, GREET_SESSION, "HELO a",
      "220 b\r\n250-b\r\n250 DSN\r\n", GREET_READY, .sent = "HELO a\r\n", .offers = "" },
    { "no hello to replay", PROTOCOL_SMTP, GREET_SESSION, "", "220 b\r\n", GREET_READY,
      .sent = "" },
    { "it speaks on unasked", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220 b\r\n250 b\r\n250 x\r\n",
      GREET_READY, .sent = "EHLO a\r\n", .left = 7, .offers = "" },
    { "a banner that refuses", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "554-no\r\n554 no\r\n",
      GREET_REFUSED, .sent = "", .refusal = "554-no\r\n554 no\r\n" },
    { "a banner that is a 354", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "354 go on\r\n",
      GREET_REFUSED, .sent = "", .refusal = "354 go on\r\n" },
    { "EHLO is refused for now", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220 b\r\n421 busy\r\n",
      GREET_REFUSED, .sent = "EHLO a\r\n", .refusal = "421 busy\r\n" },
    { "a server older than EHLO", PROTOCOL_SMTP, GREET_SESSION, "EHLO a",
      "220 b\r\n500 what\r\n250 b\r\n", GREET_READY, .sent = "EHLO a\r\nHELO a\r\n", .offers = "" },
    { "no digits", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "hello\r\n", -EPROTO, .sent = "" },
    { "an empty line", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "\r\n", -EPROTO, .sent = "" },
    { "a fourth digit", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "2200 b\r\n", -EPROTO, .sent = "" },
    { "garbage inside a reply", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "220-b\r\nb\r\n", -EPROTO,
      .sent = "" },
    { "a banner of POP3", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", "+OK b\r\n", -EPROTO,
      .sent = "" },
    { "a banner of 10 lines and more", PROTOCOL_SMTP, GREET_SESSION, "EHLO a", LINES_10 "220 b\r\n",
      -EPROTO, .sent = "" },
    { "learning", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 DSN\r\n250 ok\r\n550 no\r\n250 ok\r\n221 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\n" TEST "QUIT\r\n", .offers = "DSN", .told = true },
    { "rule_26: it relays for a stranger", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250-b\r\n250 DSN\r\n250 ok\r\n250 ok\r\n250 ok\r\n221 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\n" TEST "QUIT\r\n", .offers = "DSN", .open_relay = true, .told = true },
    { "rule_26: it would relay later", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n250 ok\r\n451 later\r\n250 ok\r\n", GREET_MORE,
      .sent = "EHLO me\r\n" TEST "QUIT\r\n", .offers = "", .told = true },
    { "MAIL needs a login", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n530 login\r\n221 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\n" TEST_FROM "QUIT\r\n", .offers = "", .told = true },
    { "the list alone is not the relay test", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n250 b\r\n250 ok\r\n", GREET_MORE, .sent = "EHLO me\r\n" TEST_FROM TEST_RCPT,
      .offers = "" },
    { "learning HELO", PROTOCOL_SMTP, GREET_LEARN, "me",
      "220 b\r\n502 what\r\n250 b\r\n250 ok\r\n550 no\r\n250 ok\r\n221 bye\r\n", GREET_READY,
      .sent = "EHLO me\r\nHELO me\r\n" TEST "QUIT\r\n", .offers = "", .told = true },
    { "neither EHLO nor HELO", PROTOCOL_SMTP, GREET_LEARN, "me", "220 b\r\n502 x\r\n502 y\r\n",
      GREET_REFUSED, .sent = "EHLO me\r\nHELO me\r\n", .refusal = "502 y\r\n" },
    { "a banner of POP3 is one line", PROTOCOL_POP3, GREET_BANNER, "", "+OK <1@b>\r\n", GREET_READY,
      .sent = "" },
    { "USER is replayed", PROTOCOL_POP3, GREET_SESSION, "USER a", "+OK b\r\n+OK\r\n", GREET_READY,
      .sent = "USER a\r\n" },
    { "USER is replayed, the banner came before", PROTOCOL_POP3, GREET_REPLAY, "USER a", "+OK\r\n",
      GREET_READY, .sent = "USER a\r\n" },
    { "nothing to replay", PROTOCOL_POP3, GREET_REPLAY, "", "", GREET_READY, .sent = "" },
    { "USER is refused", PROTOCOL_POP3, GREET_SESSION, "USER a", "+OK b\r\n-ERR who\r\n",
      GREET_REFUSED, .sent = "USER a\r\n", .refusal = "-ERR who\r\n" },
    { "a banner of POP3 that refuses", PROTOCOL_POP3, GREET_SESSION, "USER a", "-ERR busy\r\n",
      GREET_REFUSED, .sent = "", .refusal = "-ERR busy\r\n" },
    { "a banner of SMTP", PROTOCOL_POP3, GREET_SESSION, "USER a", "220 b\r\n", -EPROTO,
      .sent = "" },
    { "learning CAPA", PROTOCOL_POP3, GREET_LEARN, "me", "+OK b\r\n+OK\r\nUIDL\r\n.\r\n+OK\r\n",
      GREET_READY, .sent = "CAPA\r\nQUIT\r\n", .offers = "UIDL", .told = true },
    { "learning CAPA, lines that end in LF alone", PROTOCOL_POP3, GREET_LEARN, "me",
      "+OK b\n+OK\nUIDL\n.\n+OK\n", GREET_READY, .sent = "CAPA\r\nQUIT\r\n", .offers = "UIDL",
      .told = true },
    { "no CAPA", PROTOCOL_POP3, GREET_LEARN, "me", "+OK b\r\n-ERR what\r\n+OK\r\n", GREET_READY,
      .sent = "CAPA\r\nQUIT\r\n", .offers = "", .told = true },
    { "half a list", PROTOCOL_POP3, GREET_LEARN, "me", "+OK b\r\n+OK\r\nUIDL\r\n.", GREET_MORE,
      .sent = "CAPA\r\n" },
};

struct story {
    int verdict;
    char sent[1024], refusal[1024];
    size_t left;
};

/* Gives `server` in pieces of `step` octets until a verdict is final. */
static void play(struct greet *greet, struct span server, size_t step, struct story *story)
{
    struct text sent = TEXT_OVER(story->sent), refusal = TEXT_OVER(story->refusal);

    do {
        struct span piece = span_first(server, step), in = piece;

        do {
            char room[1024];
            struct text out = TEXT_OVER(room);

            story->verdict = greet_feed(greet, &in, &out);
            text_put(story->verdict == GREET_REFUSED ? &refusal : &sent, text_span(&out));
        } while (story->verdict == GREET_SEND);
        server = span_skip(server, piece.size - in.size);
    } while (story->verdict == GREET_MORE && server.size > 0);
    story->left = server.size;
    text_str(&sent);
    text_str(&refusal);
}

static void check_row(const struct greet_row *row, size_t step)
{
    struct greet greet;
    struct story story = { 0 };
    struct span server = span_of_text(row->server);

    greet_init(&greet, &(struct greet_plan){ .protocol = row->protocol,
                                             .purpose = row->purpose,
                                             .hello = span_of_text(row->hello),
                                             .hostname = SPAN_LIT("us") });
    play(&greet, server, step ? step : server.size + 1, &story);
    if (story.verdict != row->verdict || strcmp(story.sent, row->sent) != 0 ||
        strcmp(story.refusal, row->refusal ? row->refusal : "") != 0 || story.left != row->left)
        fail_msg("%s, step %zu: verdict %d, sent \"%s\", refused \"%s\", left %zu", row->name, step,
                 story.verdict, story.sent, story.refusal, story.left);
    if ((greet.list != NULL) != (row->offers != NULL) ||
        (row->offers && row->offers[0] &&
         !capabilities_find(greet.list, span_of_text(row->offers))) ||
        (row->offers && !row->offers[0] && greet.list->count > 0))
        fail_msg("%s, step %zu: the list", row->name, step);
    if (greet.open_relay != row->open_relay || greet.told != row->told)
        fail_msg("%s, step %zu: relay test", row->name, step);
    if (row->purpose == GREET_BANNER && row->verdict == GREET_READY)
        assert_true(span_equal(span_of(greet.reply, greet.reply_size), server));
    greet_deinit(&greet);
}

static void rule_9_the_dialogue_goes_step_by_step_however_the_octets_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        check_row(&rows[i], 0);
        check_row(&rows[i], 1);
    }
}

/* What `greet` says to `count` times `line`, and then to `end`. */
static int verdict_of_many(const char *line, size_t count, const char *end)
{
    struct greet greet;
    struct story story = { 0 };
    int verdict;

    greet_init(&greet, &(struct greet_plan){ .protocol = PROTOCOL_SMTP,
                                             .purpose = GREET_SESSION,
                                             .hello = SPAN_LIT("EHLO a") });
    play(&greet, SPAN_LIT("220 b\r\n"), 100, &story);
    for (size_t i = 0; i < count && story.verdict == GREET_MORE; i++)
        play(&greet, span_of_text(line), 100, &story);
    if (story.verdict == GREET_MORE)
        play(&greet, span_of_text(end), 100, &story);
    verdict = story.verdict;
    greet_deinit(&greet);
    return verdict;
}

static void rule_24_a_reply_has_at_most_100_lines_and_a_line_2048_octets(void **state)
{
    (void)state;
    assert_int_equal(verdict_of_many("250-X\r\n", 99, "250 X\r\n"), GREET_READY);
    assert_int_equal(verdict_of_many("250-X\r\n", 100, "250 X\r\n"), -EPROTO);
    assert_int_equal(verdict_of_many("2", 2046, "\r\n"), -EPROTO); /* whole, and no reply */
    assert_int_equal(verdict_of_many("2", 2048, ""), GREET_MORE);
    assert_int_equal(verdict_of_many("2", 2049, ""), -EPROTO); /* not whole, and too long */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_9_the_dialogue_goes_step_by_step_however_the_octets_come),
        cmocka_unit_test(rule_24_a_reply_has_at_most_100_lines_and_a_line_2048_octets),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

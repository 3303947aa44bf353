/* What a server may say before a client is relayed to it; the first octet chooses protocol, purpose
 * and what is replayed, the second whether TLS and XCLIENT are asked for. What it says under TLS
 * begins behind octet 1.
 *
 * Invariants: one octet at a time gives what the whole gives; nothing goes to the server but the
 * commands of the dialogue, and no octet that the server said; the client's hello and the commands
 * of the relay test go under TLS and behind XCLIENT where those are asked for; nothing is ready
 * after a failure. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/greet.h"

#define SECURE 1

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct story {
    struct greet greet;
    char sent[2048], refusal[CAPABILITIES_BYTES_MAX + 1];
    struct text text, refused;
    size_t left;
    int verdict;
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

/* What was sent is lines of at most 512 octets that begin with what we say. */
static void check_commands(struct span sent)
{
    static const char *const commands[] = {
        "EHLO ",    "HELO ",    "USER a\r\n",       "STARTTLS\r\n",
        "STLS\r\n", "XCLIENT ", "MAIL FROM:<>\r\n", "RCPT TO:<relay-test@example.invalid>\r\n",
        "RSET\r\n", "QUIT\r\n", "CAPA\r\n",         "\x01"
    };

    while (sent.size > 0) {
        size_t end = sent.data[0] == SECURE ? 0 : span_find(sent, '\n'), i = 0;

        check(end < sent.size && end < 512, "half a command, or a long one");
        while (i < sizeof(commands) / sizeof(commands[0]) &&
               !span_starts_nocase(sent, span_of_text(commands[i])))
            i++;
        check(i < sizeof(commands) / sizeof(commands[0]), "a command that is not ours");
        sent = span_skip(sent, end + 1);
    }
}

/* TLS and identity come before all that counts. */
static void check_order(const struct greet *greet, struct span sent)
{
    static const char *const counting[] = { "EHLO a", "HELO a", "USER a", "MAIL", "CAPA", "QUIT" };
    bool smtp = greet->plan.protocol == PROTOCOL_SMTP;
    size_t tls = span_find(sent, SECURE), told = span_search(sent, SPAN_LIT(" ADDR="));

    if (greet->plan.purpose == GREET_REPLAY)
        return;
    for (size_t i = 0; i < sizeof(counting) / sizeof(counting[0]); i++) {
        size_t at = span_search(sent, span_of_text(counting[i]));

        if (at == sent.size)
            continue;
        check(!greet->plan.starttls || tls < at, "it goes on without TLS");
        check(!greet->plan.xclient || !smtp || told < at, "it goes on without identity");
    }
    check(told == sent.size || !greet->plan.starttls || tls < told, "identity goes in clear");
}

static void feed(struct story *story, struct span *in)
{
    do {
        static char room[CAPABILITIES_BYTES_MAX + 512];
        struct text out = TEXT_OVER(room);

        story->verdict = greet_feed(&story->greet, in, &out);
        check(!out.overflow, "more was written than a reply and a command");
        check(out.size == 0 || story->verdict == GREET_SEND || story->verdict == GREET_REFUSED,
              "something was written that is not to be sent");
        text_put(story->verdict == GREET_REFUSED ? &story->refused : &story->text, text_span(&out));
    } while (story->verdict == GREET_SEND);
}

static void begin(struct story *story, uint8_t choice, uint8_t wishes)
{
    static const char *const hellos[] = { "EHLO a", "HELO a", "USER a", "" };
    static struct sockaddr_in client;
    bool learn = (choice >> 1 & 3) == GREET_LEARN;

    client = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(0xc0000201) };
    story->text = TEXT_OVER(story->sent);
    story->refused = TEXT_OVER(story->refusal);
    greet_init(&story->greet, &(struct greet_plan){
                                  .protocol = choice & 1 ? PROTOCOL_POP3 : PROTOCOL_SMTP,
                                  .purpose = (enum greet_purpose)(choice >> 1 & 3),
                                  .hello = span_of_text(learn ? "a" : hellos[choice >> 3 & 3]),
                                  .hostname = SPAN_LIT("us"),
                                  .starttls = wishes & 1,
                                  .xclient = wishes & 2,
                                  .client = { (struct sockaddr *)&client, NULL, span_of(NULL, 0) },
                              });
}

/* TLS has begun: true where the dialogue may go on. */
static bool go_secure(struct story *story, struct span *server)
{
    struct span nothing = span_of(NULL, 0);

    text_puts(&story->text, "\x01");
    if (story->left > 0 || server->size == 0)
        return false;
    *server = span_skip(*server, 1);
    greet_tls_done(&story->greet);
    feed(story, &nothing);
    return story->verdict == GREET_MORE;
}

static void play(struct story *story, struct span server, size_t step)
{
    bool goes_on;

    do {
        struct span clear = span_first(server, span_find(server, SECURE));
        struct span piece = span_first(clear, step), in = piece;

        feed(story, &in);
        server = span_skip(server, piece.size - in.size);
        story->left = clear.size - (piece.size - in.size);
        goes_on =
            story->verdict == GREET_TLS ? go_secure(story, &server) : story->verdict == GREET_MORE;
    } while (goes_on && server.size > 0 && server.data[0] != SECURE);
    if (story->verdict != GREET_TLS)
        story->left = server.size;
    check(!story->text.overflow && !story->refused.overflow, "more was sent than the dialogue has");
}

static void end(struct story *story)
{
    struct span in = SPAN_LIT("220 b\r\n250 b\r\n+OK\r\n");
    char room[64];
    struct text out = TEXT_OVER(room);

    check_commands(text_span(&story->text));
    check_order(&story->greet, text_span(&story->text));
    check(story->verdict != GREET_READY || story->greet.plan.purpose == GREET_REPLAY ||
              !story->greet.plan.starttls || story->greet.secure,
          "it is ready without TLS");
    check(story->verdict == GREET_REFUSED || !story->greet.unavailable, "unavailable");
    if (story->verdict < 0 || story->verdict == GREET_REFUSED)
        check(greet_feed(&story->greet, &in, &out) == -EPROTO && out.size == 0,
              "it goes on after a failure");
    greet_deinit(&story->greet);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct story whole, slow;
    struct span server;

    if (size < 2)
        return 0;
    server = span_of(data + 2, size - 2);
    begin(&whole, data[0], data[1]);
    begin(&slow, data[0], data[1]);
    play(&whole, server, size);
    play(&slow, server, 1);
    check(whole.verdict == slow.verdict, "the verdict");
    check(span_equal(text_span(&whole.text), text_span(&slow.text)), "what was sent");
    check(span_equal(text_span(&whole.refused), text_span(&slow.refused)), "the refusal");
    check(whole.verdict < 0 || whole.left == slow.left, "what is left");
    check(whole.greet.open_relay == slow.greet.open_relay && whole.greet.told == slow.greet.told &&
              whole.greet.unavailable == slow.greet.unavailable &&
              whole.greet.fault == slow.greet.fault,
          "what was found");
    check(!whole.greet.list == !slow.greet.list &&
              (!whole.greet.list || capabilities_equal(whole.greet.list, slow.greet.list)),
          "the list");
    end(&whole);
    end(&slow);
    return 0;
}

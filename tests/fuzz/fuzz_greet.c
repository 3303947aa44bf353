/* What a server may say before a client is relayed to it; the first octet chooses protocol, purpose
 * and what is replayed.
 *
 * Invariants: one octet at a time gives what the whole gives; nothing goes to the server but the
 * commands of the dialogue, and no octet that the server said. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/greet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct story {
    struct greet greet;
    char sent[512], refusal[CAPABILITIES_BYTES_MAX + 1];
    size_t sent_size, refusal_size, left;
    int verdict;
};

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static void play(struct story *story, uint8_t choice, struct span server, size_t step)
{
    static const char *const hellos[] = { "EHLO a", "HELO a", "USER a", "" };
    struct text sent = TEXT_OVER(story->sent), refusal = TEXT_OVER(story->refusal);

    greet_init(&story->greet,
               &(struct greet_plan){ .protocol = choice & 1 ? PROTOCOL_POP3 : PROTOCOL_SMTP,
                                     .purpose = (enum greet_purpose)(choice >> 1 & 3),
                                     .hello = span_of_text(hellos[choice >> 3 & 3]) });
    do {
        struct span piece = span_first(server, step), in = piece;

        do {
            static char room[CAPABILITIES_BYTES_MAX + 512];
            struct text out = TEXT_OVER(room);

            story->verdict = greet_feed(&story->greet, &in, &out);
            check(!out.overflow, "more was written than a reply and a command");
            text_put(story->verdict == GREET_REFUSED ? &refusal : &sent, text_span(&out));
        } while (story->verdict == GREET_SEND);
        server = span_skip(server, piece.size - in.size);
    } while (story->verdict == GREET_MORE && server.size > 0);
    check(!sent.overflow && !refusal.overflow, "more was sent than the dialogue has");
    story->sent_size = text_span(&sent).size;
    story->refusal_size = text_span(&refusal).size;
    story->left = server.size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct story whole, slow;

    if (size < 1)
        return 0;
    play(&whole, data[0], span_of(data + 1, size - 1), size);
    play(&slow, data[0], span_of(data + 1, size - 1), 1);
    check(whole.verdict == slow.verdict, "the verdict");
    check(span_equal(span_of(whole.sent, whole.sent_size), span_of(slow.sent, slow.sent_size)),
          "what was sent");
    check(span_equal(span_of(whole.refusal, whole.refusal_size),
                     span_of(slow.refusal, slow.refusal_size)),
          "the refusal");
    check(whole.verdict < 0 || whole.left == slow.left, "what is left");
    check(whole.greet.open_relay == slow.greet.open_relay && whole.greet.told == slow.greet.told,
          "the relay test");
    check(!whole.greet.list == !slow.greet.list &&
              (!whole.greet.list || capabilities_equal(whole.greet.list, slow.greet.list)),
          "the list");
    greet_deinit(&whole.greet);
    greet_deinit(&slow.greet);
    return 0;
}

/* Any octets as a POP3 client: whole and one octet at a time the same is answered and deleted; an
 * UPDATE happens once, at the end of a session that logged in; every reply is a line that begins
 * with + or -, or stands in a list; a message is sent only after it was opened; no password comes
 * back. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "backends/pop3_session.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MESSAGES 3
#define PASSWORD "sesame"

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

struct side {
    struct maildrop_message messages[MESSAGES];
    unsigned logins, updates, deleted;
    bool open;
    FILE *replies;
    char *out;
    size_t out_size;
};

static int side_login(void *context, struct span name, struct span password,
                      struct maildrop_message **ret_messages, size_t *ret_count)
{
    struct side *side = context;

    REQUIRE(side->logins == 0 && name.size > 0);
    if (span_equal(name, SPAN_LIT("busy")))
        return POP3_LOGIN_IN_USE;
    if (!span_equal(name, SPAN_LIT("a")) || !span_equal(password, SPAN_LIT(PASSWORD)))
        return POP3_LOGIN_WRONG;
    side->logins++;
    *ret_messages = side->messages;
    *ret_count = MESSAGES;
    return POP3_LOGIN_DONE;
}

static int side_open_text(void *context, size_t index)
{
    struct side *side = context;

    REQUIRE(side->logins == 1 && !side->open && index < MESSAGES);
    REQUIRE(!side->messages[index].deleted);
    if (index == 2)
        return -2; /* -ENOENT */
    side->open = true;
    return 0;
}

static int side_send_text(void *context, bool limited, uint64_t lines)
{
    struct side *side = context;

    REQUIRE(side->open && (limited || lines == 0));
    side->open = false;
    return 0;
}

static int side_update(void *context)
{
    struct side *side = context;

    REQUIRE(side->logins == 1 && side->updates == 0);
    side->updates++;
    for (unsigned i = 0; i < MESSAGES; i++)
        side->deleted |= (unsigned)side->messages[i].deleted << i;
    return 0;
}

static int side_write(void *context, struct span octets)
{
    struct side *side = context;

    REQUIRE(side->updates == 0 || side->logins == 1);
    REQUIRE(octets.size >= 2 && octets.data[octets.size - 1] == '\n' &&
            octets.data[octets.size - 2] == '\r');
    REQUIRE(fwrite(octets.data, 1, octets.size, side->replies) == octets.size);
    return 0;
}

static const struct pop3_caller caller = { side_login, side_open_text, side_send_text, side_update,
                                           side_write };

static int converse(struct side *side, const uint8_t *data, size_t size, size_t step)
{
    struct pop3_session session;
    int r = POP3_MORE;

    *side = (struct side){ 0 };
    side->replies = open_memstream(&side->out, &side->out_size);
    REQUIRE(side->replies);
    for (unsigned i = 0; i < MESSAGES; i++)
        side->messages[i].uid[0] = (char)('a' + i);
    REQUIRE(pop3_session_init(&session, &caller, side, "host", true, 10) == 0);
    for (size_t at = 0; at < size && r == POP3_MORE; at += step)
        r = pop3_session_feed(&session, span_of(data + at, size - at < step ? size - at : step));
    REQUIRE(r == POP3_MORE || r == POP3_ENDED);
    REQUIRE(side->updates == 0 || r == POP3_ENDED);
    REQUIRE(session.errors <= 10 && (session.errors < 10 || r == POP3_ENDED));
    pop3_session_deinit(&session);
    REQUIRE(fclose(side->replies) == 0);
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct side whole, bytewise;
    int r;

    if (size > 65536)
        return 0;
    r = converse(&whole, data, size, size ? size : 1);
    REQUIRE(converse(&bytewise, data, size, 1) == r);
    REQUIRE(whole.updates == bytewise.updates && whole.deleted == bytewise.deleted);
    REQUIRE(
        span_equal(span_of(whole.out, whole.out_size), span_of(bytewise.out, bytewise.out_size)));
    REQUIRE(span_search(span_of(whole.out, whole.out_size), SPAN_LIT(PASSWORD)) == whole.out_size);
    free(whole.out);
    free(bytewise.out);
    return 0;
}

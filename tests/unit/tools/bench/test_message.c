/* The bench's messages: what is sent is what is expected, and every change on the way shows. Each
 * row is taken whole, and one octet at a time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "tools/bench/message.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define NONE        UINT64_MAX

/* A message as it crosses the wire, with its dot; `room` octets more. */
static unsigned char *wire_of(const struct message *message, size_t room, size_t *ret_size)
{
    unsigned char *wire = malloc((size_t)message->octets + 3 + room);
    size_t at = 0;

    assert_non_null(wire);
    for (struct span piece; (piece = message_piece(message, at)).size > 0; at += piece.size)
        memcpy(wire + at, piece.data, piece.size);
    memcpy(wire + at, ".\r\n", 3);
    *ret_size = at + 3;
    return wire;
}

/* Takes the wire in steps. Returns whether the end was found, with *ret_left octets behind it. */
static bool take(struct message_check *check, struct span wire, size_t step, size_t *ret_left)
{
    while (wire.size > 0) {
        struct span in = span_first(wire, step);
        size_t before = in.size;
        bool ended = message_check_dotted(check, &in);

        wire = span_skip(wire, before - in.size);
        *ret_left = wire.size;
        if (ended)
            return true;
        assert_int_equal(in.size, 0);
    }
    return false;
}

static const size_t steps[] = { SIZE_MAX, 1, 63, 65 };

static void a_message_is_good_whatever_its_size_phase_and_pieces(void **state)
{
    static const struct message rows[] = { { 64, 0 },      { 1024, 0 },
                                           { 1024, 999 },  { 65536, 1 },
                                           { 65344, 500 }, { 200000 / 64 * 64, 7 },
                                           { 1 << 20, 3 }, { 65344 * 3, 999 } };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t j = 0; j < COUNT(steps); j++) {
            struct message_check check;
            size_t size, left = 0;
            unsigned char *wire = wire_of(&rows[i], 0, &size);

            message_check_begin(&check, &rows[i]);
            assert_true(take(&check, span_of(wire, size), steps[j], &left));
            assert_true(message_check_good(&check));
            assert_int_equal(left, 0);
            free(wire);
        }
}

/* What happens on the way to a message of 65,536 octets in phase 5. */
static const struct fault_row {
    const char *name;
    size_t at, lost, doubled;
    uint32_t phase;  /* of the message that comes, where it is another */
    uint64_t octets; /* of the same */
    uint64_t wrong_at;
    unsigned char flip;
} faults[] = {
    { .name = "nothing", .wrong_at = NONE },
    { .name = "the first octet", .at = 0, .flip = 1, .wrong_at = 0 },
    { .name = "one in the middle", .at = 40000, .flip = 0x20, .wrong_at = 40000 },
    { .name = "a CR", .at = 126, .flip = 1, .wrong_at = 126 },
    { .name = "an octet is lost", .at = 130, .lost = 1, .wrong_at = 130 },
    { .name = "a line is lost", .at = 6400, .lost = 64, .wrong_at = 6400 },
    { .name = "1,024 octets are lost", .at = 1024, .lost = 1024, .wrong_at = 1024 },
    { .name = "the last line is lost", .at = 65472, .lost = 64, .wrong_at = 65472 },
    { .name = "a line comes twice", .at = 64, .doubled = 64, .wrong_at = 128 },
    { .name = "32 KiB come twice", .at = 0, .doubled = 32768, .wrong_at = 32768 },
    { .name = "the last line twice", .at = 65472, .doubled = 64, .wrong_at = 65536 },
    { .name = "another's message", .phase = 6, .octets = 65536, .wrong_at = 0 },
    { .name = "a shorter one", .phase = 5, .octets = 64000, .wrong_at = 64000 },
    { .name = "a longer one", .phase = 5, .octets = 66560, .wrong_at = 65536 },
};

static unsigned char *spoilt_wire(const struct fault_row *row, size_t *ret_size)
{
    struct message sent = { row->octets ? row->octets : 65536, row->octets ? row->phase : 5 };
    unsigned char *wire = wire_of(&sent, 65536, ret_size);
    unsigned char *at = wire + row->at;
    size_t rest = *ret_size - row->at;

    *at ^= row->flip;
    if (row->lost)
        memmove(at, at + row->lost, rest - row->lost);
    if (row->doubled)
        memmove(at + row->doubled, at, rest);
    *ret_size += row->doubled - row->lost;
    return wire;
}

static void every_change_on_the_way_shows_and_the_end_is_still_found(void **state)
{
    static const struct message expected = { 65536, 5 };

    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++)
        for (size_t j = 0; j < COUNT(steps); j++) {
            struct message_check check;
            size_t size, left = 0;
            unsigned char *wire = spoilt_wire(&faults[i], &size);

            message_check_begin(&check, &expected);
            if (!take(&check, span_of(wire, size), steps[j], &left) || left != 0)
                fail_msg("%s: the end is not found", faults[i].name);
            if (message_check_good(&check) != (faults[i].wrong_at == NONE))
                fail_msg("%s: good: %d", faults[i].name, message_check_good(&check));
            /* a lost octet may be the same as the next: then one later is the first that is wrong
             */
            if (check.wrong && check.wrong_at != faults[i].wrong_at)
                fail_msg("%s: wrong at %llu", faults[i].name, (unsigned long long)check.wrong_at);
            free(wire);
        }
}

static void what_follows_the_dot_is_left_alone(void **state)
{
    static const struct message expected = { 64, 0 };
    struct message_check check;
    size_t size, left = 0;
    unsigned char *wire = wire_of(&expected, 4, &size);

    (void)state;
    memcpy(wire + size, "NOOP", 4);
    message_check_begin(&check, &expected);
    assert_true(take(&check, span_of(wire, size + 4), SIZE_MAX, &left));
    assert_int_equal(left, 4);
    free(wire);
}

static void a_chunk_is_compared_as_well(void **state)
{
    static const struct message expected = { 1024, 9 };
    struct message_check check;
    struct span whole = message_piece(&expected, 0);
    unsigned char more[1088];

    (void)state;
    memcpy(more, whole.data, whole.size);
    memset(more + whole.size, 'x', sizeof(more) - whole.size);
    message_check_begin(&check, &expected);
    message_check_counted(&check, span_of(more, 1000));
    assert_false(message_check_good(&check)); /* not all of it */
    message_check_counted(&check, span_of(more + 1000, 24));
    assert_true(message_check_good(&check));
    message_check_counted(&check, span_of(more + 1024, 64));
    assert_false(message_check_good(&check)); /* more than it */
    message_check_begin(&check, &expected);
    more[1000] ^= 1;
    message_check_counted(&check, span_of(more, 1024));
    assert_false(message_check_good(&check));
    assert_int_equal(check.wrong_at, 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_message_is_good_whatever_its_size_phase_and_pieces),
        cmocka_unit_test(every_change_on_the_way_shows_and_the_end_is_still_found),
        cmocka_unit_test(what_follows_the_dot_is_left_alone),
        cmocka_unit_test(a_chunk_is_compared_as_well),
    };

    message_init();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

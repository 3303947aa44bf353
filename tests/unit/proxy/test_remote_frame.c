/* The wire format of Remote Mail: uids in one spelling only, lines around frames, and a reader to
 * whom it is all one how the stream was cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "proxy/base/remote_frame.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define DIGEST      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct uid_row {
    const char *word;
    bool zero_allowed, good;
    struct remote_uid uid;
} uid_rows[] = {
    { "01234567.1", false, true, { 0x01234567, 1 } },
    { "ffffffff.9223372036854775808", false, true, { 0xffffffff, 1ULL << 63 } },
    { "00000000.10", false, true, { 0, 10 } },
    { "0", true, true, { 0, 0 } },
    { "0", false, false, { 0, 0 } },
    { "", true, false, { 0, 0 } },
    { "00", true, false, { 0, 0 } },
    { "01234567.", false, false, { 0, 0 } },
    { "01234567.0", true, false, { 0, 0 } },
    { "01234567.01", false, false, { 0, 0 } },
    { "01234567.+1", false, false, { 0, 0 } },
    { "01234567.1x", false, false, { 0, 0 } },
    { "01234567.1 ", false, false, { 0, 0 } },
    { "01234567.9223372036854775809", false, false, { 0, 0 } },
    { "01234567.99999999999999999999", false, false, { 0, 0 } },
    { "0123456.1", false, false, { 0, 0 } },
    { "012345678.1", false, false, { 0, 0 } },
    { "0123456A.1", false, false, { 0, 0 } },
    { "0123456g.1", false, false, { 0, 0 } },
    { "../../../x", false, false, { 0, 0 } },
    { "01234567/1", false, false, { 0, 0 } },
};

static void a_uid_has_one_spelling(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(uid_rows); i++) {
        const struct uid_row *row = &uid_rows[i];
        struct remote_uid uid = { 1, 1 };
        char room[REMOTE_UID_MAX + 1];
        struct text text = TEXT_OVER(room);

        if (remote_uid_parse(span_of_text(row->word), row->zero_allowed, &uid) != row->good)
            fail_msg("%s", row->word);
        if (!row->good) {
            assert_true(remote_uid_equal(uid, (struct remote_uid){ 1, 1 }));
            continue;
        }
        assert_true(remote_uid_equal(uid, row->uid));
        remote_uid_put(&text, uid);
        assert_string_equal(text_str(&text), row->word);
    }
}

static const struct head_row {
    const char *line;
    bool good;
    uint64_t octets, offset;
} head_rows[] = {
    { "M 01234567.1 0 0", true, 0, 0 },
    { "M 01234567.1 9223372036854775807 9223372036854775807", true, INT64_MAX, INT64_MAX },
    { "M 01234567.1 5 3", true, 5, 3 },
    { "M 01234567.1 5 5", true, 5, 5 },
    { "M 01234567.1 5 6", false, 0, 0 },
    { "M 01234567.1 9223372036854775808 0", false, 0, 0 },
    { "M 01234567.1 5", false, 0, 0 },
    { "M 01234567.1 5 3 1", false, 0, 0 },
    { "M 01234567.1  5 3", false, 0, 0 },
    { "M 01234567.1 5 3 ", false, 0, 0 },
    { " M 01234567.1 5 3", false, 0, 0 },
    { "M 01234567.1 05 3", false, 0, 0 },
    { "M 01234567.1 -5 3", false, 0, 0 },
    { "M 0 5 3", false, 0, 0 },
    { "m 01234567.1 5 3", false, 0, 0 },
    { "M", false, 0, 0 },
    { "", false, 0, 0 },
};

static void a_head_is_read_as_it_was_written(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(head_rows); i++) {
        const struct head_row *row = &head_rows[i];
        struct remote_frame frame;
        char room[128];
        struct text text = TEXT_OVER(room);

        if (remote_frame_read_head(span_of_text(row->line), &frame) != row->good)
            fail_msg("%s", row->line);
        if (!row->good)
            continue;
        assert_int_equal(frame.octets, row->octets);
        assert_int_equal(frame.offset, row->offset);
        remote_frame_put_head(&text, &frame);
        assert_true(span_equal(span_without_line_end(text_span(&text)), span_of_text(row->line)));
    }
}

static const struct tail_row {
    const char *line;
    bool good;
} tail_rows[] = {
    { "S 01234567.1 " DIGEST, true },
    { "S 01234567.2 " DIGEST, false },
    { "S 01234567.1 " DIGEST "0", false },
    { "S 01234567.1 " DIGEST " ", false },
    { "S 01234567.1  " DIGEST, false },
    { "S 01234567.1 0123", false },
    { "S 01234567.1", false },
    { "M 01234567.1 " DIGEST, false },
    { "", false },
};

static void a_tail_is_of_its_frame(void **state)
{
    const struct remote_uid uid = { 0x01234567, 1 };
    struct span digest;
    char room[128];
    struct text text = TEXT_OVER(room);

    (void)state;
    for (size_t i = 0; i < COUNT(tail_rows); i++)
        if (remote_frame_read_tail(span_of_text(tail_rows[i].line), uid, &digest) !=
            tail_rows[i].good)
            fail_msg("%s", tail_rows[i].line);
    remote_frame_put_tail(&text, uid, SPAN_LIT(DIGEST));
    assert_string_equal(text_str(&text), "\r\nS 01234567.1 " DIGEST "\r\n");
}

static const struct stream_row {
    const char *name, *in, *events;
} stream_rows[] = {
    { "replies", "+ NOOP\r\n- [TEMP] x\r\n* 01234567.1 5\r\n",
      "<+ NOOP><- [TEMP] x><* 01234567.1 5>" },
    { "a frame", "M 01234567.1 5 0\r\nhello\r\nS 01234567.1 " DIGEST "\r\n+ PULL 1\r\n",
      "{5/0}hello=" DIGEST "<+ PULL 1>" },
    { "a message that looks like the protocol",
      "M 01234567.1 9 0\r\n\r\nS 0 x\r\n\r\nS 01234567.1 " DIGEST "\r\n",
      "{9/0}\r\nS 0 x\r\n=" DIGEST },
    { "a message inside", "M 01234567.1 5 3\r\nlo\r\nS 01234567.1 " DIGEST "\r\n",
      "{5/3}lo=" DIGEST },
    { "nothing left of it", "M 01234567.1 5 5\r\n\r\nS 01234567.1 " DIGEST "\r\n",
      "{5/5}=" DIGEST },
    { "a SYNC between two",
      "M 01234567.1 0 0\r\n\r\nS 01234567.1 " DIGEST "\r\n+ SYNC 1\r\nM 01234567.2 1 0\r\nx",
      "{0/0}=" DIGEST "<+ SYNC 1>{1/0}x" },
    { "another uid at the end", "M 01234567.1 1 0\r\nx\r\nS 01234567.2 " DIGEST "\r\n", "{1/0}x!" },
    { "longer than told", "M 01234567.1 1 0\r\nxy\r\nS 01234567.1 " DIGEST "\r\n", "{1/0}x!" },
    { "no line of ours", "HTTP/1.1 400 Bad Request\r\n", "!" },
    { "no space", "+OK\r\n", "!" },
    { "a bare LF", "+ NOOP\n", "!" },
    { "an empty line", "\r\n", "!" },
    { "a lying head", "M 01234567.1 1 2\r\n", "!" },
    { "a reply inside a frame", "M 01234567.1 0 0\r\n+ NOOP\r\n", "{0/0}!" },
};

/* What the reader tells, as a text, when it gets `step` octets at a time. */
static void read_in_steps(const char *in, size_t step, char *events, size_t room)
{
    struct text out = { events, 0, room - 1, false };
    struct remote_reader reader;
    size_t size = strlen(in);
    int r = REMOTE_READ_MORE;

    remote_reader_init(&reader);
    for (size_t at = 0; at < size && r >= 0; at += step) {
        struct span rest = span_of(in + at, size - at < step ? size - at : step), got;

        while (r >= 0 && (r = remote_reader_next(&reader, &rest, &got)) != REMOTE_READ_MORE) {
            if (r == REMOTE_READ_FRAME)
                text_printf(&out, "{%llu/%llu}", (unsigned long long)reader.frame.octets,
                            (unsigned long long)reader.frame.offset);
            else if (r < 0)
                text_puts(&out, r == -EPROTO ? "!" : "?");
            if (r == REMOTE_READ_REPLY)
                text_puts(&out, "<");
            if (r == REMOTE_READ_DIGEST)
                text_puts(&out, "=");
            if (r == REMOTE_READ_REPLY || r == REMOTE_READ_OCTETS || r == REMOTE_READ_DIGEST)
                text_put(&out, got);
            if (r == REMOTE_READ_REPLY)
                text_puts(&out, ">");
        }
    }
    remote_reader_deinit(&reader);
    text_str(&out);
}

static void a_stream_is_read_alike_however_it_is_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(stream_rows); i++)
        for (size_t step = 1; step <= 64; step = step < 8 ? step + 1 : step * 2) {
            char events[1024];

            read_in_steps(stream_rows[i].in, step, events, sizeof(events));
            if (strcmp(events, stream_rows[i].events) != 0)
                fail_msg("%s, %zu at a time: %s", stream_rows[i].name, step, events);
        }
}

static void a_line_is_at_most_512_octets(void **state)
{
    char line[600], events[1024];

    (void)state;
    memset(line, 'x', sizeof(line));
    memcpy(line, "+ ", 2);
    memcpy(line + 510, "\r\n", 3);
    read_in_steps(line, 600, events, sizeof(events));
    assert_int_equal(events[0], '<');
    memcpy(line + 510, "x\r\n", 4);
    read_in_steps(line, 600, events, sizeof(events));
    assert_string_equal(events, "!");
}

static void a_line_too_long_is_refused_before_its_end(void **state)
{
    char line[600], events[1024];

    (void)state;
    memset(line, 'x', sizeof(line));
    line[511] = '\0';
    read_in_steps(line, 1, events, sizeof(events));
    assert_string_equal(events, "");
    memset(line, 'x', 599);
    line[599] = '\0';
    read_in_steps(line, 1, events, sizeof(events));
    assert_string_equal(events, "!");
    read_in_steps(line, 600, events, sizeof(events));
    assert_string_equal(events, "!");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uid_has_one_spelling),
        cmocka_unit_test(a_head_is_read_as_it_was_written),
        cmocka_unit_test(a_tail_is_of_its_frame),
        cmocka_unit_test(a_stream_is_read_alike_however_it_is_cut),
        cmocka_unit_test(a_line_is_at_most_512_octets),
        cmocka_unit_test(a_line_too_long_is_refused_before_its_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

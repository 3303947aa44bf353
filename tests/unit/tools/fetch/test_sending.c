/* What becomes of a message in the outbox, by what the server says of it: sent, sent again from
 * elsewhere, put off, split, or given up with the reason. The outbox is a real one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "tests/lib/folder.h"
#include "tools/fetch/sending.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TEXT                                                                                       \
    "From: <anna@x.example>\nTo: <bert@x.example>, <carl@y.example>\nDate: today\n"                \
    "Message-ID: <1@x>\nSubject: x\n\nHello\n"

static struct report report;
static struct sending sending;

static void make(const char *name)
{
    char path[256];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    assert_int_equal(mkdir(path, 0700), 0);
}

static int setup(void **state)
{
    char path[128];

    if (folder_setup(state) < 0)
        return -1;
    make("o");
    make("o/new");
    make("o/cur");
    make("o/tmp");
    folder_write("o/new/1.a", TEXT, strlen(TEXT));
    report_begin(&report, true);
    snprintf(path, sizeof(path), "%s/o", folder);
    assert_int_equal(
        sending_open(&sending, &(struct outbox_options){ .folder = path, .account = "anna@host" },
                     &report),
        0);
    assert_int_equal(sending_scan(&sending), 0);
    sending.logged_in = true;
    return 0;
}

static int teardown(void **state)
{
    sending_close(&sending);
    report_free(&report);
    return folder_teardown(state);
}

static size_t count_in(const char *name)
{
    char last[256], path[128];

    snprintf(path, sizeof(path), "%s/%s", folder, name);
    return access(path, F_OK) == 0 ? folder_count(name, last) : 0;
}

/* Asks for the next upload, and reads it to its end. */
static struct dialogue_push push(void)
{
    struct dialogue_push next;
    unsigned char room[4096];
    uint64_t octets = 0;
    size_t size = 0;

    assert_int_equal(sending_next_push(&sending, &next), DIALOGUE_PUSH);
    do {
        assert_int_equal(sending_read(&sending, room, sizeof(room), &size), 0);
        octets += size;
    } while (size > 0);
    assert_int_equal(octets, next.octets - next.offset);
    return next;
}

static void assert_nothing_to_push(int want)
{
    struct dialogue_push next;

    assert_int_equal(sending_next_push(&sending, &next), want);
}

static int refuse(const char *code, const char *words)
{
    return sending_refused(&sending, 0, span_of_text(code), span_of_text(words));
}

static void test_nothing_is_sent_before_the_login(void **state)
{
    (void)state;
    sending.logged_in = false;
    assert_nothing_to_push(DIALOGUE_HOLD);
    sending.logged_in = true;
    push();
    assert_nothing_to_push(DIALOGUE_NONE);
    assert_false(sending_more(&sending));
    assert_int_equal(sending_pushed(&sending, 0), 0);
    assert_int_equal(count_in("o/new"), 0);
    assert_int_equal(report.sent.messages, 1);
    assert_int_equal(count_in("o/.Failed/new"), 0);
}

static void test_what_was_begun_is_asked_about(void **state)
{
    struct dialogue_push first = push(), again;
    char id[REMOTE_UPLOAD_MAX];
    struct span asked;
    size_t index;

    (void)state;
    memcpy(id, first.id.data, sizeof(id));
    assert_int_equal(sending_scan(&sending), 0);
    sending.logged_in = true;
    assert_nothing_to_push(DIALOGUE_HOLD);
    assert_true(sending_next_have(&sending, &index, &asked));
    assert_memory_equal(asked.data, id, sizeof(id));
    assert_false(sending_next_have(&sending, &index, &asked));
    assert_nothing_to_push(DIALOGUE_HOLD);
    assert_int_equal(sending_had(&sending, 0, false, 7), 0);
    again = push();
    assert_int_equal(again.offset, 7);
    assert_memory_equal(again.id.data, id, sizeof(id));
    assert_int_equal(sending_scan(&sending), 0);
    assert_true(sending_next_have(&sending, &index, &asked));
    assert_int_equal(sending_had(&sending, 0, true, 0), 0);
    assert_int_equal(count_in("o/new"), 0);
    assert_nothing_to_push(DIALOGUE_NONE);
}

/* What it says once; whether the message then waits, is given up, is pushed or asked about again.
 */
static const struct row {
    const char *code, *words;
    uint64_t limit;
    enum { WAITS, GIVEN_UP, PUSHED_AT, ASKED } then;
    uint64_t offset;
} rows[] = {
    { "TEMP", "later", 0, WAITS, 0 },
    { "STATE", "what", 0, WAITS, 0 },
    { "LIMIT", "too many unfinished uploads", 0, WAITS, 0 },
    { "LIMIT", "too many unfinished uploads", 1000000, WAITS, 0 },
    { "LIMIT", "message too big", 10, GIVEN_UP, 0 },
    { "PERM", "no such user here: <bert@x.example>", 0, GIVEN_UP, 0 },
    { "PERM", "this domain and others need messages of their own", 0, GIVEN_UP, 0 },
    { "SYNTAX", "write recipients as TO:<name@domain>", 0, GIVEN_UP, 0 },
    { "CODE", "of tomorrow", 0, GIVEN_UP, 0 },
    { "CONFLICT", "5", 0, PUSHED_AT, 5 },
    { "CONFLICT", "0", 0, PUSHED_AT, 0 },
    { "CONFLICT", "99999999", 0, ASKED, 0 },
    { "CONFLICT", "it was another message", 0, ASKED, 0 },
};

static void judge(const struct row *row)
{
    struct span id;
    size_t index;

    push();
    sending.limit_bytes = row->limit;
    assert_int_equal(refuse(row->code, row->words), 0);
    sending.limit_bytes = 0;
    assert_int_equal(count_in("o/new"), row->then != GIVEN_UP);
    assert_int_equal(count_in("o/.Failed/new"), row->then == GIVEN_UP);
    assert_int_equal(report.refused.count, row->then == GIVEN_UP);
    assert_int_equal(sending.later[0] != '\0', row->then == WAITS);
    assert_int_equal(sending_more(&sending), row->then == PUSHED_AT || row->then == ASKED);
    if (row->then == ASKED) {
        assert_true(sending_next_have(&sending, &index, &id));
        assert_int_equal(sending_had(&sending, 0, false, 0), 0);
    }
    if (row->then == WAITS || row->then == GIVEN_UP) {
        assert_nothing_to_push(DIALOGUE_NONE);
        return;
    }
    assert_int_equal(push().offset, row->offset);
    assert_int_equal(refuse(row->code, row->words), 0); /* once is enough */
    assert_int_equal(count_in("o/.Failed/new"), 1);
    assert_false(sending_more(&sending));
}

static void test_refusals(void **state)
{
    for (size_t i = 0; i < COUNT(rows); i++) {
        print_message("%s %s\n", rows[i].code, rows[i].words);
        judge(&rows[i]);
        teardown(state);
        setup(state);
    }
}

static void test_what_was_put_off_is_tried_after_a_while_and_not_before(void **state)
{
    (void)state;
    push();
    assert_int_equal(refuse("TEMP", "later"), 0);
    assert_int_equal(sending_scan(&sending), 0);
    sending.logged_in = true;
    assert_false(sending_any(&sending));
    assert_string_not_equal(sending.later, "");
    sending_retry(&sending);
    assert_int_equal(sending_scan(&sending), 0);
    assert_true(sending_any(&sending));
    assert_string_equal(sending.later, "");
}

static void test_recipients_that_need_messages_of_their_own(void **state)
{
    struct dialogue_push first, second;
    struct span id;
    size_t index;

    (void)state;
    push();
    assert_int_equal(
        refuse("PERM", "this domain and others need messages of their own: <carl@y.example>"), 0);
    assert_nothing_to_push(DIALOGUE_NONE);
    assert_true(sending_more(&sending));
    while (sending_next_have(&sending, &index, &id))
        assert_int_equal(sending_had(&sending, index, false, 0), 0);
    first = push();
    assert_true(
        span_equal(first.envelope, SPAN_LIT("FROM:<anna@x.example>\nTO:<bert@x.example>\n")));
    second = push();
    assert_true(
        span_equal(second.envelope, SPAN_LIT("FROM:<anna@x.example>\nTO:<carl@y.example>\n")));
    assert_int_equal(sending_pushed(&sending, first.index), 0);
    assert_int_equal(count_in("o/new"), 1);
    assert_int_equal(sending_pushed(&sending, second.index), 0);
    assert_int_equal(count_in("o/new"), 0);
}

static void test_a_split_that_has_no_room_is_made_later(void **state)
{
    struct rlimit limit, before;

    (void)state;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 10;
    push();
    assert_int_equal(refuse("PERM", "messages of their own: <carl@y.example>"), 0);
    setrlimit(RLIMIT_FSIZE, &limit);
    assert_false(sending_more(&sending));
    setrlimit(RLIMIT_FSIZE, &before);
    assert_string_equal(sending.later, "the outbox cannot be read or written now");
    assert_int_equal(count_in("o/new"), 1);
    assert_int_equal(report.refused.count, 0);
    assert_int_equal(sending_scan(&sending), 0);
    assert_true(sending_any(&sending));
    assert_int_equal(sending.count, 1); /* as it was, to be refused and split once more */
    assert_string_equal(sending.later, "");
}

static void test_a_split_that_cannot_be_is_given_up(void **state)
{
    (void)state;
    push();
    assert_int_equal(refuse("PERM", "messages of their own: <nobody@z.example>"), 0);
    assert_false(sending_more(&sending));
    assert_int_equal(count_in("o/.Failed/new"), 1);
}

static void test_what_is_larger_than_the_server_takes_is_not_begun(void **state)
{
    (void)state;
    sending.limit_bytes = 10;
    assert_nothing_to_push(DIALOGUE_NONE);
    assert_int_equal(count_in("o/.Failed/new"), 1);
    assert_int_equal(report.refused.count, 1);
}

static void test_a_message_that_has_gone_is_not_sent(void **state)
{
    char path[128];

    (void)state;
    snprintf(path, sizeof(path), "%s/o/new/1.a", folder);
    assert_int_equal(unlink(path), 0);
    assert_nothing_to_push(DIALOGUE_NONE);
    assert_false(sending_more(&sending));
}

static void test_others_may_have_the_outbox_meanwhile(void **state)
{
    struct sending other;
    char path[128];

    snprintf(path, sizeof(path), "%s/o", folder);
    assert_int_equal(
        sending_open(&other, &(struct outbox_options){ .folder = path, .account = "anna@host" },
                     &report),
        0);
    assert_int_equal(sending_scan(&other), 0);
    assert_false(sending_any(&other));
    assert_string_equal(other.later, "another run has the outbox");
    sending_rest(&sending);
    assert_false(sending_any(&sending));
    assert_true(sending_watch(&sending) >= 0);
    assert_int_equal(sending_scan(&other), 0);
    assert_true(sending_any(&other));
    sending_close(&other);
    assert_true(sending_more(&sending));
    (void)state;
}

static void test_no_outbox_at_all(void **state)
{
    struct sending none;

    (void)state;
    assert_int_equal(
        sending_open(&none, &(struct outbox_options){ .folder = NULL, .account = "anna@host" },
                     &report),
        0);
    assert_int_equal(sending_scan(&none), 0);
    assert_false(sending_more(&none));
    assert_int_equal(sending_watch(&none), -1);
    sending_rest(&none);
    sending_close(&none);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_nothing_is_sent_before_the_login),
        TEST(test_what_was_begun_is_asked_about),
        TEST(test_refusals),
        TEST(test_what_was_put_off_is_tried_after_a_while_and_not_before),
        TEST(test_recipients_that_need_messages_of_their_own),
        TEST(test_a_split_that_has_no_room_is_made_later),
        TEST(test_a_split_that_cannot_be_is_given_up),
        TEST(test_what_is_larger_than_the_server_takes_is_not_begun),
        TEST(test_a_message_that_has_gone_is_not_sent),
        TEST(test_others_may_have_the_outbox_meanwhile),
        TEST(test_no_outbox_at_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

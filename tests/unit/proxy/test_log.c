/* Lines of log: as a child sends them, and as the supervisor passes them on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/log.h"

#define COUNT(rows)   (sizeof(rows) / sizeof((rows)[0]))
#define NOTHING       span_of(NULL, 0)
#define BYTES(string) (string), sizeof(string) - 1

static struct {
    int calls;
    enum log_level level;
    char line[2 * LOG_LINE_MAX], fields[LOG_DATAGRAM_MAX];
} written;

static void writer(enum log_level level, struct span line, struct span fields)
{
    written.calls++;
    written.level = level;
    snprintf(written.line, sizeof(written.line), "%.*s", (int)line.size, (const char *)line.data);
    snprintf(written.fields, sizeof(written.fields), "%.*s", (int)fields.size,
             fields.size > 0 ? (const char *)fields.data : "");
}

static int child_log(int pair[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
    log_to_descriptor(pair[1], "worker 7");
    return pair[0];
}

static void end_child_log(int pair[2])
{
    log_to_terminal("test");
    close(pair[0]);
    close(pair[1]);
}

static void expect_datagram(int fd, const char *octets, size_t size)
{
    char room[LOG_DATAGRAM_MAX + 1];

    assert_int_equal(recv(fd, room, sizeof(room), MSG_DONTWAIT), size);
    assert_memory_equal(room, octets, size);
}

static void a_child_sends_level_name_text_and_fields(void **state)
{
    int pair[2], fd = child_log(pair);

    (void)state;
    log_line(LOG_LEVEL_ERROR, "%s: %d", "so much", 5);
    expect_datagram(fd, BYTES("0worker 7: so much: 5"));
    log_record(LOG_LEVEL_INFO, NULL, SPAN_LIT("GATEPOST_A=b\n"), "with a field");
    expect_datagram(fd, BYTES("3worker 7: with a field\0GATEPOST_A=b\n"));
    log_record(LOG_LEVEL_NOTICE, "dovecot", NOTHING, "another name");
    expect_datagram(fd, BYTES("2dovecot: another name"));
    log_line(LOG_LEVEL_DEBUG, "above the level");
    assert_int_equal(recv(fd, (char[1]){ 0 }, 1, MSG_DONTWAIT), -1);
    end_child_log(pair);
}

static void what_is_too_long_is_cut(void **state)
{
    int pair[2], fd = child_log(pair);
    char text[LOG_LINE_MAX + 100], room[LOG_DATAGRAM_MAX];

    (void)state;
    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = '\0';
    log_line(LOG_LEVEL_INFO, "%s", text);
    assert_int_equal(recv(fd, room, sizeof(room), MSG_DONTWAIT), 1 + LOG_LINE_MAX);
    assert_int_equal(room[LOG_LINE_MAX], 'x');
    end_child_log(pair);
}

static void lost_lines_are_counted_and_told_once(void **state)
{
    int pair[2], fd = child_log(pair);
    char room[LOG_DATAGRAM_MAX], told[96];
    unsigned long lost, before = log_lost_count();

    (void)state;
    while (log_lost_count() < before + 3)
        log_line(LOG_LEVEL_INFO, "one of many");
    lost = log_lost_count() - before;
    while (recv(fd, room, sizeof(room), MSG_DONTWAIT) > 0)
        ;
    log_line(LOG_LEVEL_INFO, "after");
    snprintf(told, sizeof(told), "1worker 7: %lu log lines were lost before this one", lost);
    expect_datagram(fd, told, strlen(told));
    expect_datagram(fd, BYTES("3worker 7: after"));
    log_line(LOG_LEVEL_INFO, "and on");
    expect_datagram(fd, BYTES("3worker 7: and on"));
    end_child_log(pair);
}

static const struct relay_row {
    const char *name, *datagram;
    size_t size;
    int level; /* -1: it is dropped */
    const char *line, *fields;
} relay_rows[] = {
    { "a line", BYTES("3worker 0: text"), LOG_LEVEL_INFO, "worker 0: text", "" },
    { "the highest level", BYTES("4worker 0: text"), LOG_LEVEL_DEBUG, "worker 0: text", "" },
    { "fields", BYTES("0w: t\0GATEPOST_A=1\nGATEPOST_B=2\n"), LOG_LEVEL_ERROR, "w: t",
      "GATEPOST_A=1\nGATEPOST_B=2\n" },
    { "an empty line", BYTES("1"), LOG_LEVEL_WARNING, "", "" },
    { "a NUL and nothing behind it", BYTES("1w: t\0"), LOG_LEVEL_WARNING, "w: t", "" },
    { "no level", BYTES("worker 0: text"), -1, "", "" },
    { "a level that there is none of", BYTES("5worker 0: text"), -1, "", "" },
    { "a level below them", BYTES("/worker 0: text"), -1, "", "" },
    { "nothing", BYTES(""), -1, "", "" },
};

static void a_datagram_of_a_child_is_passed_on_or_dropped(void **state)
{
    (void)state;
    log_to_writer(writer, "gatepost");
    for (size_t i = 0; i < COUNT(relay_rows); i++) {
        const struct relay_row *row = &relay_rows[i];

        memset(&written, 0, sizeof(written));
        log_relay(row->datagram, row->size);
        if (written.calls != (row->level >= 0) || strcmp(written.line, row->line) != 0 ||
            strcmp(written.fields, row->fields) != 0 ||
            (row->level >= 0 && (int)written.level != row->level))
            fail_msg("%s: %d calls, level %d, line \"%s\", fields \"%s\"", row->name, written.calls,
                     written.level, written.line, written.fields);
    }
    log_to_terminal("test");
}

static void no_control_character_reaches_a_reader(void **state)
{
    char room[64];
    struct text text = TEXT_OVER(room);

    (void)state;
    log_put_clean(&text, SPAN_LIT("a\nb\rc\033[1m\177 \303\274\\x"));
    assert_string_equal(text_str(&text), "a\\x0ab\\x0dc\\x1b[1m\\x7f \303\274\\x");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_sends_level_name_text_and_fields),
        cmocka_unit_test(what_is_too_long_is_cut),
        cmocka_unit_test(lost_lines_are_counted_and_told_once),
        cmocka_unit_test(a_datagram_of_a_child_is_passed_on_or_dropped),
        cmocka_unit_test(no_control_character_reaches_a_reader),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

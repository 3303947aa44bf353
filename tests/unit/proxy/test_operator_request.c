/* Requests of gatepostctl: what they mean, and the words for those that mean nothing. Above all, a
 * mistake never makes a request choose more than was meant. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "proxy/operator_request.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define TEN         "xxxxxxxxxx"
#define FIFTY       TEN TEN TEN TEN TEN

static const struct good_row {
    const char *line;
    struct operator_request wanted;
    bool looks;
} good[] = {
    { "{\"command\":\"status\"}", { OPERATOR_STATUS, .worker = -1, .level = -1 }, true },
    { " { \"command\" : \"stats\" } ", { OPERATOR_STATS, .worker = -1, .level = -1 }, true },
    { "{\"command\":\"backends\"}", { OPERATOR_BACKENDS, .worker = -1, .level = -1 }, true },
    { "{\"command\":\"who\"}", { OPERATOR_WHO, .worker = -1, .level = -1 }, true },
    { "{\"user\":\"\\u00e4\\\"\",\"command\":\"who\"}",
      { OPERATOR_WHO, { .user = "\xc3\xa4\"" }, -1, -1 },
      true },
    { "{\"command\":\"who\",\"port\":\"110\",\"from\":\"192.0.2.0/24\",\"id\":\"7\"}",
      { OPERATOR_WHO, { "7", "", "110", "192.0.2.0/24" }, -1, -1 },
      true },
    { "{\"command\":\"kick\",\"id\":\"7\"}", { OPERATOR_KICK, { .id = "7" }, -1, -1 }, false },
    { "{\"command\":\"kick\",\"from\":\"2001:db8::1\"}",
      { OPERATOR_KICK, { .from = "2001:db8::1" }, -1, -1 },
      false },
    { "{\"command\":\"reload\"}", { OPERATOR_RELOAD, .worker = -1, .level = -1 }, false },
    { "{\"command\":\"upgrade\"}", { OPERATOR_UPGRADE, .worker = -1, .level = -1 }, false },
    { "{\"command\":\"drain\"}", { OPERATOR_DRAIN, .worker = -1, .level = -1 }, false },
    { "{\"command\":\"drain\",\"worker\":0}", { OPERATOR_DRAIN, .worker = 0, .level = -1 }, false },
    { "{\"command\":\"drain\",\"worker\":63}",
      { OPERATOR_DRAIN, .worker = 63, .level = -1 },
      false },
    { "{\"command\":\"log\"}", { OPERATOR_LOG, .worker = -1, .level = -1 }, true },
    { "{\"command\":\"log\",\"level\":\"error\"}",
      { OPERATOR_LOG, .worker = -1, .level = 0 },
      false },
    { "{\"command\":\"log\",\"level\":\"debug\"}",
      { OPERATOR_LOG, .worker = -1, .level = 4 },
      false },
};

static const struct bad_row {
    const char *line, *words;
} bad[] = {
    { "", "the request is no JSON object" },
    { "who", "the request is no JSON object" },
    { "[]", "the request is no JSON object" },
    { "\"who\"", "the request is no JSON object" },
    { "{", "the request is no JSON object" },
    { "{}{}", "the request is no JSON object" },
    { "{}", "the request has no command" },
    { "{\"command\":null}", "the request has no command" },
    { "{\"command\":{}}", "the request has no command" },
    { "{\"Command\":\"who\"}", "the request has no command" },
    { "{\"command\":\"\"}", "there is no such command" },
    { "{\"command\":\"Who\"}", "there is no such command" },
    { "{\"command\":\"who \"}", "there is no such command" },
    { "{\"command\":\"who\",\"command\":\"kick\"}", "the request is no JSON object" },
    { "{\"command\":\"who\",\"users\":\"a\"}", "who takes no \"users\"" },
    { "{\"command\":\"who\",\"\":\"a\"}", "who takes no \"\"" },
    { "{\"command\":\"status\",\"user\":\"a\"}", "status takes no \"user\"" },
    { "{\"command\":\"reload\",\"worker\":1}", "reload takes no \"worker\"" },
    { "{\"command\":\"upgrade\",\"worker\":1}", "upgrade takes no \"worker\"" },
    { "{\"command\":\"who\",\"level\":\"info\"}", "who takes no \"level\"" },
    { "{\"command\":\"who\",\"\\u001b[1m\":1}", "who takes no \"\\x1b[1m\"" },
    { "{\"command\":\"who\",\"user\":\"\"}", "user must be a text of 1 to 255 octets" },
    { "{\"command\":\"who\",\"user\":1}", "user must be a text of 1 to 255 octets" },
    { "{\"command\":\"who\",\"user\":[\"a\"]}", "user must be a text of 1 to 255 octets" },
    { "{\"command\":\"who\",\"id\":\"" TEN TEN TEN "xx\"}", "id must be a text of 1 to 31 octets" },
    { "{\"command\":\"who\",\"port\":\"" FIFTY TEN "xxxx\"}",
      "port must be a text of 1 to 63 octets" },
    { "{\"command\":\"who\",\"from\":\"localhost\"}",
      "from must be an address or a network, such as 192.0.2.7 or 192.0.2.0/24" },
    { "{\"command\":\"kick\",\"from\":\"192.0.2.0/33\"}",
      "from must be an address or a network, such as 192.0.2.7 or 192.0.2.0/24" },
    { "{\"command\":\"kick\"}", "whose session? kick takes an id, a user, an address or a port" },
    { "{\"command\":\"kick\",\"usr\":\"a\"}", "kick takes no \"usr\"" },
    { "{\"command\":\"kick\",\"id\":\"7\",\"user\":\"\"}",
      "user must be a text of 1 to 255 octets" },
    { "{\"command\":\"drain\",\"worker\":\"0\"}", "worker must be a number from 0 to 63" },
    { "{\"command\":\"drain\",\"worker\":-1}", "worker must be a number from 0 to 63" },
    { "{\"command\":\"drain\",\"worker\":64}", "worker must be a number from 0 to 63" },
    { "{\"command\":\"drain\",\"worker\":0.5}", "worker must be a number from 0 to 63" },
    { "{\"command\":\"drain\",\"worker\":null}", "worker must be a number from 0 to 63" },
    { "{\"command\":\"log\",\"level\":\"loud\"}",
      "level must be error, warning, notice, info or debug" },
    { "{\"command\":\"log\",\"level\":4}", "level must be error, warning, notice, info or debug" },
    { "{\"command\":\"log\",\"level\":null}",
      "level must be error, warning, notice, info or debug" },
};

static void a_request_means_what_it_says(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        const struct operator_request *wanted = &good[i].wanted;
        struct operator_request got;
        char room[160];
        struct text words = TEXT_OVER(room);

        if (operator_request_read(span_of_text(good[i].line), &got, &words) != 0)
            fail_msg("%s: %s", good[i].line, text_str(&words));
        if (got.command != wanted->command || got.worker != wanted->worker ||
            got.level != wanted->level || strcmp(got.selection.id, wanted->selection.id) != 0 ||
            strcmp(got.selection.user, wanted->selection.user) != 0 ||
            strcmp(got.selection.port, wanted->selection.port) != 0 ||
            strcmp(got.selection.from, wanted->selection.from) != 0 ||
            operator_only_looks(&got) != good[i].looks)
            fail_msg("%s is taken for something else", good[i].line);
    }
}

static void what_is_none_is_refused_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct operator_request request = { .worker = 77 };
        char room[160];
        struct text words = TEXT_OVER(room);

        assert_int_equal(operator_request_read(span_of_text(bad[i].line), &request, &words),
                         -EINVAL);
        if (strcmp(text_str(&words), bad[i].words) != 0 || request.worker != 77)
            fail_msg("%s\nwanted %s\ngot    %s", bad[i].line, bad[i].words, text_str(&words));
    }
}

static void nesting_without_end_is_refused(void **state)
{
    static char line[OPERATOR_REQUEST_MAX];
    struct operator_request request;
    char room[160];
    struct text words = TEXT_OVER(room);

    (void)state;
    memset(line, '[', sizeof(line));
    assert_int_equal(operator_request_read(span_of(line, sizeof(line)), &request, &words), -EINVAL);
    for (size_t i = 0; i + 5 <= sizeof(line); i += 5)
        memcpy(line + i, "{\"\":{", 5);
    assert_int_equal(operator_request_read(span_of(line, sizeof(line)), &request, &words), -EINVAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_means_what_it_says),
        cmocka_unit_test(what_is_none_is_refused_in_words),
        cmocka_unit_test(nesting_without_end_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

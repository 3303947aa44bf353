/* A failed login: the line, exactly as programs read it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "proxy/base/log_failure.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

#define SESSION                                                                                    \
    {                                                                                              \
        "6b09434a00000007", "192.0.2.7:51425", "pop3", 110                                         \
    }
#define SESSION_FIELDS                                                                             \
    "GATEPOST_SESSION=6b09434a00000007\nGATEPOST_CLIENT=192.0.2.7:51425\n"                         \
    "GATEPOST_LISTEN=pop3\nGATEPOST_PORT=110\n"
/* As a constant, which SPAN_LIT() is not. */
#define WORD(text)                                                                                 \
    {                                                                                              \
        (const unsigned char *)("" text), sizeof(text) - 1                                         \
    }

static const struct failure_row {
    struct log_failure failure;
    const char *line;
} failure_rows[] = {
    { { .session = SESSION,
        .pop3 = true,
        .user = WORD("anna"),
        .method = "PLAIN",
        .address = "198.51.100.1:110",
        .tls = true,
        .ms = 2999 },
      "pop3-login: Aborted login (auth failed, 1 attempts in 2 secs): user=<anna>, method=PLAIN, "
      "rip=192.0.2.7, lip=198.51.100.1, TLS, session=<6b09434a00000007>" },
    { { .session = { "1", "[2001:db8::7]:51425", "smtp", 25 },
        .method = "",
        .address = "[2001:db8::1]:25" },
      "submission-login: Aborted login (auth failed, 1 attempts in 0 secs): user=<>, "
      "rip=2001:db8::7, lip=2001:db8::1, session=<1>" },
    { { .session = SESSION, .why = LOG_LOGIN_IN_CLEAR, .pop3 = true, .method = "", .address = "" },
      "pop3-login: Aborted login (tried to use disallowed plaintext auth): user=<>, "
      "rip=192.0.2.7, session=<6b09434a00000007>" },
};

static void a_failed_login_is_told_in_dovecots_words(void **state)
{
    char line_room[2048], fields_room[2048];

    (void)state;
    for (size_t i = 0; i < COUNT(failure_rows); i++) {
        struct text line = TEXT_OVER(line_room), fields = TEXT_OVER(fields_room);

        log_put_failure(&failure_rows[i].failure, &line, &fields);
        assert_string_equal(text_str(&line), failure_rows[i].line);
        if (i == 0)
            assert_string_equal(text_str(&fields), SESSION_FIELDS "GATEPOST_USER=anna\n"
                                                                  "GATEPOST_METHOD=PLAIN\n");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failed_login_is_told_in_dovecots_words),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

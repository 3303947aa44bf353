/* The documented lines: exactly as programs read them, with what a peer may put into them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <cmocka.h>

#include "proxy/log_words.h"

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

#define NAMELESS                                                                                   \
    .tls_version = "", .cipher = "", .sni = "", .backend = "", .server = "", .through = ""

static const struct end_row {
    struct log_end end;
    const char *line, *fields;
} end_rows[] = {
    { { .session = SESSION,
        .how = "plain",
        NAMELESS,
        .result = "ended",
        .cause = "",
        .out = 30,
        .ms = 261 },
      "session 6b09434a00000007: client 192.0.2.7:51425, port pop3 110, plain, in=0 out=30 ms=261: "
      "ended",
      SESSION_FIELDS
      "GATEPOST_BEGAN=plain\nGATEPOST_IN=0\nGATEPOST_OUT=30\nGATEPOST_MS=261\nGATEPOST_RESULT="
      "ended\n" },
    { { .session = SESSION,
        .how = "STLS",
        .tls_version = "TLSv1.3",
        .cipher = "TLS_AES_128_GCM_SHA256",
        .sni = "mail.example.org",
        .resumed = true,
        .user = WORD("anna@example.org"),
        .logins_failed = 2,
        .backend = "pop3",
        .server = "[2001:db8::1]:110",
        .through = "127.0.0.1:4711",
        .in = 245,
        .out = 5120,
        .ms = 812,
        .result = "ended",
        .cause = "" },
      "session 6b09434a00000007: client 192.0.2.7:51425, port pop3 110, STLS, tls=TLSv1.3 "
      "cipher=TLS_AES_128_GCM_SHA256 resumed=yes sni=mail.example.org user=anna@example.org "
      "logins_failed=2 backend=pop3 server=[2001:db8::1]:110 through=127.0.0.1:4711 in=245 "
      "out=5120 ms=812: ended",
      SESSION_FIELDS
      "GATEPOST_BEGAN=STLS\nGATEPOST_TLS=TLSv1.3\nGATEPOST_CIPHER=TLS_AES_128_GCM_SHA256\n"
      "GATEPOST_RESUMED=yes\nGATEPOST_SNI=mail.example.org\nGATEPOST_USER=anna@example.org\n"
      "GATEPOST_LOGINS_FAILED=2\nGATEPOST_BACKEND=pop3\nGATEPOST_SERVER=[2001:db8::1]:110\n"
      "GATEPOST_THROUGH=127.0.0.1:4711\nGATEPOST_IN=245\nGATEPOST_OUT=5120\nGATEPOST_MS=812\n"
      "GATEPOST_RESULT=ended\n" },
    { { .session = SESSION,
        .how = "TLS first",
        NAMELESS,
        .result = "TLS handshake failed",
        .cause = "client offered at most TLS 1.0, min_version is 1.2" },
      "session 6b09434a00000007: client 192.0.2.7:51425, port pop3 110, TLS first, in=0 out=0 "
      "ms=0: TLS handshake failed: client offered at most TLS 1.0, min_version is 1.2",
      NULL },
};

static void a_session_that_has_ended_is_one_line_in_a_stable_order(void **state)
{
    char line_room[2048], fields_room[2048];

    (void)state;
    for (size_t i = 0; i < COUNT(end_rows); i++) {
        struct text line = TEXT_OVER(line_room), fields = TEXT_OVER(fields_room);

        log_put_end(&end_rows[i].end, &line, &fields);
        assert_string_equal(text_str(&line), end_rows[i].line);
        if (end_rows[i].fields)
            assert_string_equal(text_str(&fields), end_rows[i].fields);
    }
}

/* What a user may call himself, and what is made of it. */
static const struct name_row {
    struct span name;
    const char *shown;
} names[] = {
    { WORD("anna"), "anna" },
    { WORD("anna+x@example.org"), "anna+x@example.org" },
    { WORD("x>, rip=1.2.3.4"), "x\\x3e\\x2c\\x20rip\\x3d1.2.3.4" },
    { WORD("x in=1 out=1 ms=1: ended"), "x\\x20in\\x3d1\\x20out\\x3d1\\x20ms\\x3d1:\\x20ended" },
    { WORD("x\nsession 1: client"), "x\\x0asession\\x201:\\x20client" },
    { WORD("x\r\n\0y"), "x\\x0d\\x0a\\x00y" },
    { WORD("\"'"), "\\x22\\x27" },
    { WORD("DOMAIN\\user"), "DOMAIN\\x5cuser" },
    { WORD("j\303\266rg"), "j\\xc3\\xb6rg" },
    { WORD("\033[31m\177"), "\\x1b[31m\\x7f" },
    { WORD("%s%n"), "%s%n" },
};

static void no_name_can_forge_a_field_or_a_line(void **state)
{
    char line_room[2048], fields_room[2048], wanted[512];

    (void)state;
    for (size_t i = 0; i < COUNT(names); i++) {
        struct text line = TEXT_OVER(line_room), fields = TEXT_OVER(fields_room);
        struct log_end end = {
            .session = SESSION, .how = "plain", NAMELESS, .result = "ended", .cause = ""
        };
        struct log_failure failure = { .session = SESSION, .method = "PLAIN", .address = "" };

        end.user = failure.user = names[i].name;
        log_put_end(&end, &line, &fields);
        snprintf(wanted, sizeof(wanted), ", plain, user=%s in=0 ", names[i].shown);
        assert_non_null(strstr(text_str(&line), wanted));
        snprintf(wanted, sizeof(wanted), "\nGATEPOST_USER=%s\nGATEPOST_IN", names[i].shown);
        assert_non_null(strstr(text_str(&fields), wanted));
        line.size = fields.size = 0;
        log_put_failure(&failure, &line, &fields);
        snprintf(wanted, sizeof(wanted), "): user=<%s>, method=PLAIN, rip=192.0.2.7, session=<",
                 names[i].shown);
        assert_non_null(strstr(text_str(&line), wanted));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_that_has_ended_is_one_line_in_a_stable_order),
        cmocka_unit_test(no_name_can_forge_a_field_or_a_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

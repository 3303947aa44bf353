/* Lists of what a server can do: tables of replies that parse or do not, of what is written from
 * them, and of pairs that are compared. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/capabilities.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

/* Parses a copy of exact size, so that the address sanitizer sees its end. */
static int parse(enum port_protocol protocol, struct span reply, struct capabilities **ret_list)
{
    unsigned char *copy = malloc(reply.size ? reply.size : 1);
    int r;

    assert_non_null(copy);
    memcpy(copy, reply.data, reply.size);
    r = capabilities_parse(protocol, span_of(copy, reply.size), ret_list);
    memset(copy, 'x', reply.size); /* the list must not point here */
    free(copy);
    return r;
}

static struct capabilities *list_of(enum port_protocol protocol, const char *reply)
{
    struct capabilities *list = NULL;

    if (!reply)
        list = capabilities_new_none(protocol);
    else
        assert_int_equal(parse(protocol, span_of_text(reply), &list), 0);
    assert_non_null(list);
    return list;
}

static const struct refused_row {
    const char *name;
    enum port_protocol protocol;
    const char *reply;
    size_t size; /* 0: strlen(reply) */
} refused_rows[] = {
    { "nothing", PROTOCOL_SMTP, "", 0 },
    { "another code", PROTOCOL_SMTP, "500 what\r\n", 0 },
    { "another code in the middle", PROTOCOL_SMTP, "250-a\r\n550-SIZE\r\n250 DSN\r\n", 0 },
    { "no last line", PROTOCOL_SMTP, "250-a\r\n250-SIZE\r\n", 0 },
    { "a last line without its end", PROTOCOL_SMTP, "250-a\r\n250 SIZE", 0 },
    { "something behind the last line", PROTOCOL_SMTP, "250 a\r\n250 b\r\n", 0 },
    { "a sign that is none", PROTOCOL_SMTP, "250+a\r\n", 0 },
    { "a code of four digits", PROTOCOL_SMTP, "2500 a\r\n", 0 },
    { "an empty line", PROTOCOL_SMTP, "250-a\r\n\r\n250 b\r\n", 0 },
    { "a NUL", PROTOCOL_SMTP, "250-a\r\n250 D\0N\r\n", 16 },
    { "a bare CR", PROTOCOL_SMTP, "250-a\r\n250 D\rN\r\n", 0 },
    { "CAPA for SMTP", PROTOCOL_SMTP, "+OK\r\nTOP\r\n.\r\n", 0 },
    { "nothing", PROTOCOL_POP3, "", 0 },
    { "-ERR", PROTOCOL_POP3, "-ERR no\r\n", 0 },
    { "+OKAY", PROTOCOL_POP3, "+OKAY\r\n.\r\n", 0 },
    { "no dot", PROTOCOL_POP3, "+OK\r\nTOP\r\n", 0 },
    { "a dot without its line end", PROTOCOL_POP3, "+OK\r\nTOP\r\n.", 0 },
    { "something behind the dot", PROTOCOL_POP3, "+OK\r\n.\r\n+OK\r\n", 0 },
    { "a bare CR", PROTOCOL_POP3, "+OK\r\nTO\rP\r\n.\r\n", 0 },
    { "EHLO for POP3", PROTOCOL_POP3, "250 a\r\n", 0 },
};

static void rule_24_replies_of_another_form_are_refused(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused_rows); i++) {
        const struct refused_row *row = &refused_rows[i];
        struct span reply = span_of(row->reply, row->size ? row->size : strlen(row->reply));
        struct capabilities *list = NULL;

        if (parse(row->protocol, reply, &list) != -EPROTO || list)
            fail_msg("%s was not refused", row->name);
    }
}

/* "250-a" or "+OK", `lines` lines of `width` octets with their ends, and what ends the reply. */
static int parse_big(enum port_protocol protocol, unsigned lines, unsigned width)
{
    static char room[3 * CAPABILITIES_BYTES_MAX];
    struct text reply = TEXT_OVER(room);
    struct capabilities *list = NULL;
    bool pop3 = protocol == PROTOCOL_POP3;
    int r;

    text_puts(&reply, pop3 ? "+OK\r\n" : "250-a\r\n");
    for (unsigned i = 0; i < lines; i++) {
        text_puts(&reply, pop3 ? "" : "250-");
        for (unsigned k = pop3 ? 2 : 6; k < width; k++)
            text_puts(&reply, "X");
        text_puts(&reply, "\r\n");
    }
    text_puts(&reply, pop3 ? ".\r\n" : "250 b\r\n");
    r = parse(protocol, text_span(&reply), &list);
    if (r == 0)
        assert_int_equal(list->count, lines + !pop3);
    capabilities_unref(list);
    return r;
}

static void rule_24_lists_have_limits(void **state)
{
    (void)state;
    assert_int_equal(parse_big(PROTOCOL_SMTP, 98, 10), 0); /* 100 lines in all */
    assert_int_equal(parse_big(PROTOCOL_SMTP, 99, 10), -EPROTO);
    assert_int_equal(parse_big(PROTOCOL_POP3, 98, 10), 0);
    assert_int_equal(parse_big(PROTOCOL_POP3, 99, 10), -EPROTO);
    assert_int_equal(parse_big(PROTOCOL_SMTP, 2, 2048), 0);
    assert_int_equal(parse_big(PROTOCOL_SMTP, 2, 2049), -EPROTO);
    assert_int_equal(parse_big(PROTOCOL_POP3, 2, 2049), -EPROTO);
    assert_int_equal(parse_big(PROTOCOL_SMTP, 7, 2048), 0);
    assert_int_equal(parse_big(PROTOCOL_SMTP, 8, 2048),
                     -EPROTO); /* 16 KiB and the two other lines */
}

static void the_longest_list_fits_into_a_reply(void **state)
{
    static char reply_room[CAPABILITIES_BYTES_MAX], room[DIALOGUE_REPLY_MAX];
    struct dialogue_rule rule = { .protocol = PROTOCOL_SMTP,
                                  .hostname = "mail.example",
                                  .tls_available = true,
                                  .legacy_auth_line = true };
    struct text reply = TEXT_OVER(reply_room), out = TEXT_OVER(room);
    static const char *const keywords[] = { "AUTH", "SIZE", "8BITMIME", "DSN",
                                            "HELP", "ETRN", "LIMITS",   "VRFY" };
    struct capabilities *list;

    (void)state;
    text_puts(&reply, "250-a\r\n");
    for (size_t i = 0; i < 8; i++) {
        text_printf(&reply, "250-%s", keywords[i]);
        while (reply.size < 2030 * (i + 1))
            text_puts(&reply, " AAAAAAA");
        text_puts(&reply, "\r\n");
    }
    text_puts(&reply, "250 DELIVERBY\r\n");
    text_str(&reply);
    assert_false(reply.overflow);
    list = list_of(PROTOCOL_SMTP, reply_room);
    capabilities_write(list, &rule, false, &out);
    assert_false(out.overflow);
    assert_true(out.size > reply.size); /* so it was the whole */
    capabilities_unref(list);
}

static const struct write_row {
    const char *name;
    enum port_protocol protocol;
    const char *reply; /* NULL: the server knows no EHLO or CAPA */
    const char *written;
    enum require_tls require_tls;
    bool tls, no_tls, legacy_auth_line;
    uint64_t size_limit;
} write_rows[] = {
    { "rule 9: only what is understood, in the server's order, in its one spelling", PROTOCOL_SMTP,
      "250-old hello\r\n250-XCLIENT NAME\r\n250-Pipelining\r\n250-X-FOO\r\n250-STARTTLS\r\n"
      "250-XFORWARD\r\n250-8bitmime\r\n250 dsn\r\n",
      "250-mail.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 DSN\r\n", .tls = true },
    { "rule 9: all that is understood", PROTOCOL_SMTP,
      "250-a\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-PIPELINING\r\n"
      "250-CHUNKING\r\n250-BINARYMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-HELP\r\n250-VRFY\r\n"
      "250-EXPN\r\n250-ETRN\r\n250-DELIVERBY 10\r\n250-MT-PRIORITY MIXER\r\n250 LIMITS "
      "RCPTMAX=9\r\n",
      "250-mail.example\r\n250-SIZE\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-"
      "PIPELINING\r\n"
      "250-CHUNKING\r\n250-BINARYMIME\r\n250-ENHANCEDSTATUSCODES\r\n250-HELP\r\n250-VRFY\r\n"
      "250-EXPN\r\n250-ETRN\r\n250-DELIVERBY 10\r\n250-MT-PRIORITY MIXER\r\n250 LIMITS "
      "RCPTMAX=9\r\n",
      .tls = true },
    { "rule 9: STARTTLS behind line 1", PROTOCOL_SMTP, "250-a\r\n250 DSN\r\n",
      "250-mail.example\r\n250-STARTTLS\r\n250 DSN\r\n", .tls = false },
    { "rule 9: no STARTTLS where there is none", PROTOCOL_SMTP,
      "250-a\r\n250-STARTTLS\r\n250 DSN\r\n", "250-mail.example\r\n250 DSN\r\n", .no_tls = true },
    { "rule 9: a reply of one line", PROTOCOL_SMTP, "250 a\r\n",
      "250-mail.example\r\n250 STARTTLS\r\n", .tls = false },
    { "rule 9: a reply of one line, under TLS", PROTOCOL_SMTP, "250 a\r\n", "250 mail.example\r\n",
      .tls = true },
    { "rule 9: a reply of nothing but the code", PROTOCOL_SMTP, "250\r\n", "250 mail.example\r\n",
      .tls = true },
    { "rule 9: lines that end in LF alone", PROTOCOL_SMTP, "250-a\n250 DSN\n",
      "250-mail.example\r\n250 DSN\r\n", .tls = true },
    { "rule 9: an empty last line", PROTOCOL_SMTP, "250-a\r\n250-DSN\r\n250\r\n",
      "250-mail.example\r\n250 DSN\r\n", .tls = true },
    { "rule 9: a keyword twice is told once", PROTOCOL_SMTP,
      "250-a\r\n250-DSN\r\n250-SIZE 5\r\n250-SIZE 7\r\n250 DSN\r\n",
      "250-mail.example\r\n250-DSN\r\n250 SIZE 5\r\n", .tls = true },
    { "rule 9: part of a keyword is none", PROTOCOL_SMTP,
      "250-a\r\n250-DSNS\r\n250-AUTHX PLAIN\r\n250 DS\r\n", "250 mail.example\r\n", .tls = true },
    { "rule 9: a server without EHLO", PROTOCOL_SMTP, NULL, "250-mail.example\r\n250 STARTTLS\r\n",
      .tls = false },
    { "rule 12: AUTH is hidden until TLS where that is required", PROTOCOL_SMTP,
      "250-a\r\n250-AUTH PLAIN\r\n250 DSN\r\n", "250-mail.example\r\n250-STARTTLS\r\n250 DSN\r\n",
      .require_tls = REQUIRE_TLS_YES },
    { "rule 12: the same where it is required to log in", PROTOCOL_SMTP,
      "250-a\r\n250 AUTH PLAIN\r\n", "250-mail.example\r\n250 STARTTLS\r\n",
      .require_tls = REQUIRE_TLS_AUTH, .legacy_auth_line = true },
    { "rule 12: AUTH is shown under TLS", PROTOCOL_SMTP, "250-a\r\n250 AUTH PLAIN\r\n",
      "250-mail.example\r\n250 AUTH PLAIN\r\n", .require_tls = REQUIRE_TLS_YES, .tls = true },
    { "rule 13: mechanisms that cannot work are stripped", PROTOCOL_SMTP,
      "250-a\r\n250 AUTH GSSAPI plain GSS-SPNEGO NTLM  DIGEST-MD5 SCRAM-SHA-256-PLUS external "
      "SCRAM-SHA-256 X-plus\r\n",
      "250-mail.example\r\n250 AUTH plain SCRAM-SHA-256\r\n", .tls = true },
    { "rule 13: where none is left there is no AUTH", PROTOCOL_SMTP,
      "250-a\r\n250-AUTH NTLM\r\n250 DSN\r\n", "250-mail.example\r\n250 DSN\r\n", .tls = true,
      .legacy_auth_line = true },
    { "rule 13: AUTH without a mechanism is no AUTH", PROTOCOL_SMTP, "250-a\r\n250 AUTH\r\n",
      "250 mail.example\r\n", .tls = true },
    { "rule 13: a mechanism that is too long or not printable is none", PROTOCOL_SMTP,
      "250-a\r\n250 AUTH ABCDEFGHIJKLMNOPQRSTU A\x01 \xff LOGIN\r\n",
      "250-mail.example\r\n250 AUTH LOGIN\r\n", .tls = true },
    { "rule 13: the old line of AUTH", PROTOCOL_SMTP, "250-a\r\n250 AUTH PLAIN NTLM LOGIN\r\n",
      "250-mail.example\r\n250-AUTH PLAIN LOGIN\r\n250 AUTH=PLAIN LOGIN\r\n", .tls = true,
      .legacy_auth_line = true },
    { "rule 13: a server that knows only the old line", PROTOCOL_SMTP,
      "250-a\r\n250 AUTH=LOGIN CRAM-MD5\r\n", "250-mail.example\r\n250 AUTH LOGIN CRAM-MD5\r\n",
      .tls = true },
    { "rule 13: a server that says both lines", PROTOCOL_SMTP,
      "250-a\r\n250-AUTH=LOGIN\r\n250 AUTH PLAIN\r\n", "250-mail.example\r\n250 AUTH PLAIN\r\n",
      .tls = true },
    { "rule 17: SIZE is lowered", PROTOCOL_SMTP, "250-a\r\n250 SIZE 1000\r\n",
      "250-mail.example\r\n250 SIZE 999\r\n", .tls = true, .size_limit = 999 },
    { "rule 17: SIZE is never raised", PROTOCOL_SMTP, "250-a\r\n250 SIZE 1000\r\n",
      "250-mail.example\r\n250 SIZE 1000\r\n", .tls = true, .size_limit = 1001 },
    { "rule 17: SIZE without a limit is lowered too", PROTOCOL_SMTP, "250-a\r\n250 SIZE 0\r\n",
      "250-mail.example\r\n250 SIZE 999\r\n", .tls = true, .size_limit = 999 },
    { "rule 17: SIZE without a limit", PROTOCOL_SMTP, "250-a\r\n250-SIZE 0\r\n250 DSN\r\n",
      "250-mail.example\r\n250-SIZE 0\r\n250 DSN\r\n", .tls = true },
    { "rule 17: no SIZE is made up", PROTOCOL_SMTP, "250-a\r\n250 DSN\r\n",
      "250-mail.example\r\n250 DSN\r\n", .tls = true, .size_limit = 999 },
    { "rule 20: only what is understood", PROTOCOL_POP3,
      "+OK yes\r\nTOP\r\nX-FOO\r\nSTLS\r\nuidl\r\nSASL PLAIN EXTERNAL\r\nEXPIRE 60\r\nLOGIN-DELAY "
      "5\r\nUSER\r\nPIPELINING\r\nIMPLEMENTATION old\r\nLANG\r\nUTF8 USER\r\n.\r\n",
      "+OK Capability list follows\r\nTOP\r\nUIDL\r\nSASL PLAIN\r\nEXPIRE 60\r\nLOGIN-DELAY "
      "5\r\nUSER\r\nPIPELINING\r\nIMPLEMENTATION old\r\nLANG\r\nUTF8 "
      "USER\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n",
      .tls = true },
    { "rule 20: our own keywords are told once", PROTOCOL_POP3,
      "+OK\r\nAUTH-RESP-CODE\r\nRESP-CODES\r\nTOP\r\n.\r\n",
      "+OK Capability list follows\r\nTOP\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n", .tls = true },
    { "rule 20: STLS while TLS is off", PROTOCOL_POP3, "+OK\r\n.\r\n",
      "+OK Capability list follows\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nSTLS\r\n.\r\n",
      .tls = false },
    { "rule 20: a line with a dot in front", PROTOCOL_POP3, "+OK\r\n..X\r\n.TOP\r\n\r\n.\r\n",
      "+OK Capability list follows\r\nTOP\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n", .tls = true },
    { "rule 20: with TLS required no login is shown", PROTOCOL_POP3,
      "+OK\r\nUSER\r\nSASL PLAIN LOGIN\r\nUIDL\r\n.\r\n",
      "+OK Capability list follows\r\nUIDL\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nSTLS\r\n.\r\n",
      .require_tls = REQUIRE_TLS_AUTH },
    { "rule 20: a server without CAPA", PROTOCOL_POP3, NULL,
      "+OK Capability list follows\r\nUSER\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\n.\r\n", .tls = true },
    { "rule 20: the same with TLS required", PROTOCOL_POP3, NULL,
      "+OK Capability list follows\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nSTLS\r\n.\r\n",
      .require_tls = REQUIRE_TLS_YES },
};

static void p2_a_client_is_offered_what_the_server_has_and_the_proxy_understands(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(write_rows); i++) {
        const struct write_row *row = &write_rows[i];
        struct dialogue_rule rule = { .protocol = row->protocol,
                                      .hostname = "mail.example",
                                      .tls_available = !row->no_tls,
                                      .require_tls = row->require_tls,
                                      .legacy_auth_line = row->legacy_auth_line,
                                      .size_limit = row->size_limit };
        struct capabilities *list = list_of(row->protocol, row->reply);
        char room[2048];
        struct text out = TEXT_OVER(room);

        text_puts(&out, "before ");
        capabilities_write(list, &rule, row->tls, &out);
        if (strncmp(text_str(&out), "before ", 7) != 0 || strcmp(room + 7, row->written) != 0)
            fail_msg("%s:\n%s", row->name, room);
        capabilities_unref(list);
    }
}

static void a_reply_without_room_is_marked(void **state)
{
    struct dialogue_rule rule = { .protocol = PROTOCOL_SMTP, .hostname = "mail.example" };
    struct capabilities *list = list_of(PROTOCOL_SMTP, "250-a\r\n250-DSN\r\n250 SIZE 1\r\n");

    (void)state;
    for (size_t size = 0; size < 39; size++) {
        char *room = malloc(size ? size : 1);
        struct text out = { room, 0, size, false };

        assert_non_null(room);
        capabilities_write(list, &rule, true, &out);
        assert_true(out.overflow);
        free(room);
    }
    capabilities_unref(list);
}

static const struct cover_row {
    const char *name;
    enum port_protocol protocol;
    const char *now, *offered;
    const char *missing; /* NULL: covered */
} cover_rows[] = {
    { "the same", PROTOCOL_SMTP, "250-a\r\n250 DSN\r\n", "250-b\r\n250 dsn\r\n", NULL },
    { "more than before", PROTOCOL_SMTP, "250-a\r\n250-DSN\r\n250 HELP\r\n", "250-a\r\n250 DSN\r\n",
      NULL },
    { "PIPELINING is gone", PROTOCOL_SMTP, "250 a\r\n", "250-a\r\n250 PIPELINING\r\n", NULL },
    { "SIZE is lower", PROTOCOL_SMTP, "250-a\r\n250 SIZE 1\r\n", "250-a\r\n250 SIZE 9\r\n", NULL },
    { "SIZE is gone", PROTOCOL_SMTP, "250 a\r\n", "250-a\r\n250 SIZE 9\r\n", "SIZE" },
    { "what no client saw is gone", PROTOCOL_SMTP, "250 a\r\n",
      "250-a\r\n250-XCLIENT\r\n250 STARTTLS\r\n", NULL },
    { "CHUNKING is gone", PROTOCOL_SMTP, "250-a\r\n250 DSN\r\n",
      "250-a\r\n250-DSN\r\n250 CHUNKING\r\n", "CHUNKING" },
    { "the first that is gone is named", PROTOCOL_SMTP, "250 a\r\n",
      "250-a\r\n250-PIPELINING\r\n250-VRFY\r\n250 DSN\r\n", "VRFY" },
    { "mechanisms in another order", PROTOCOL_SMTP, "250-a\r\n250 AUTH LOGIN PLAIN\r\n",
      "250-a\r\n250 AUTH PLAIN login\r\n", NULL },
    { "a mechanism is gone", PROTOCOL_SMTP, "250-a\r\n250 AUTH LOGIN\r\n",
      "250-a\r\n250 AUTH LOGIN PLAIN\r\n", "PLAIN" },
    { "a mechanism that no client saw is gone", PROTOCOL_SMTP, "250-a\r\n250 AUTH LOGIN\r\n",
      "250-a\r\n250 AUTH LOGIN NTLM\r\n", NULL },
    { "AUTH is gone", PROTOCOL_SMTP, "250 a\r\n", "250-a\r\n250 AUTH LOGIN\r\n", "LOGIN" },
    { "the server knows no EHLO any more", PROTOCOL_SMTP, NULL, "250-a\r\n250 DSN\r\n", "DSN" },
    { "the server learned EHLO", PROTOCOL_SMTP, "250-a\r\n250 DSN\r\n", NULL, NULL },
    { "UIDL is gone", PROTOCOL_POP3, "+OK\r\nTOP\r\n.\r\n", "+OK\r\nTOP\r\nUIDL\r\n.\r\n", "UIDL" },
    { "what the proxy says itself is gone", PROTOCOL_POP3, "+OK\r\n.\r\n",
      "+OK\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\nIMPLEMENTATION x\r\n.\r\n", NULL },
    { "USER is gone", PROTOCOL_POP3, "+OK\r\nUIDL\r\n.\r\n", "+OK\r\nUSER\r\n.\r\n", "USER" },
    { "CAPA is new, and has no USER", PROTOCOL_POP3, "+OK\r\nUIDL\r\n.\r\n", NULL, "USER" },
    { "CAPA is new, and has USER", PROTOCOL_POP3, "+OK\r\nUSER\r\n.\r\n", NULL, NULL },
    { "there was no CAPA, and is none", PROTOCOL_POP3, NULL, NULL, NULL },
    { "a SASL mechanism is gone", PROTOCOL_POP3, "+OK\r\nSASL LOGIN\r\n.\r\n",
      "+OK\r\nSASL PLAIN\r\n.\r\n", "PLAIN" },
};

static void rule_9_a_server_that_lost_what_was_offered_is_noticed(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(cover_rows); i++) {
        const struct cover_row *row = &cover_rows[i];
        struct capabilities *now = list_of(row->protocol, row->now);
        struct capabilities *offered = list_of(row->protocol, row->offered);
        struct span missing = SPAN_LIT("untouched");
        bool covered = capabilities_cover(now, offered, &missing);

        if (covered != !row->missing ||
            !span_equal(missing, span_of_text(row->missing ? row->missing : "untouched")))
            fail_msg("%s: %d, %.*s", row->name, covered, (int)missing.size,
                     (const char *)missing.data);
        capabilities_unref(now);
        capabilities_unref(offered);
    }
}

static const struct intersect_row {
    const char *name;
    enum port_protocol protocol;
    const char *a, *b, *both;
} intersect_rows[] = {
    { "keywords of both", PROTOCOL_SMTP, "250-a\r\n250-DSN\r\n250-HELP\r\n250 VRFY\r\n",
      "250-b\r\n250-vrfy\r\n250-ETRN\r\n250 DSN\r\n", "250-a\r\n250-DSN\r\n250 VRFY\r\n" },
    { "nothing in common", PROTOCOL_SMTP, "250-a\r\n250 DSN\r\n", "250-b\r\n250 HELP\r\n",
      "250 a\r\n" },
    { "the lower SIZE is the second", PROTOCOL_SMTP, "250-a\r\n250 SIZE 9\r\n",
      "250-b\r\n250 SIZE 7\r\n", "250-a\r\n250 SIZE 7\r\n" },
    { "the lower SIZE is the first", PROTOCOL_SMTP, "250-a\r\n250 SIZE 7\r\n",
      "250-b\r\n250 SIZE 9\r\n", "250-a\r\n250 SIZE 7\r\n" },
    { "a SIZE of 0 is no limit", PROTOCOL_SMTP, "250-a\r\n250 SIZE 0\r\n",
      "250-b\r\n250 SIZE 9\r\n", "250-a\r\n250 SIZE 9\r\n" },
    { "a long SIZE behind a short one", PROTOCOL_SMTP, "250-a\r\n250 SIZE\r\n",
      "250-b\r\n250 SIZE 18446744073709551614\r\n", "250-a\r\n250 SIZE 18446744073709551614\r\n" },
    { "mechanisms of both", PROTOCOL_SMTP, "250-a\r\n250-AUTH PLAIN LOGIN CRAM-MD5\r\n250 DSN\r\n",
      "250-b\r\n250-DSN\r\n250 AUTH CRAM-MD5 PLAIN\r\n",
      "250-a\r\n250-AUTH PLAIN CRAM-MD5\r\n250 DSN\r\n" },
    { "no mechanism in common", PROTOCOL_SMTP, "250-a\r\n250-AUTH PLAIN\r\n250 DSN\r\n",
      "250-b\r\n250-AUTH LOGIN\r\n250 DSN\r\n", "250-a\r\n250 DSN\r\n" },
    { "one without EHLO", PROTOCOL_SMTP, "250-a\r\n250 DSN\r\n", NULL, NULL },
    { "both without EHLO", PROTOCOL_SMTP, NULL, NULL, NULL },
    { "the second without EHLO, the first with login", PROTOCOL_SMTP, "250-a\r\n250 AUTH PLAIN\r\n",
      NULL, NULL },
    { "PIPELINING of one alone", PROTOCOL_SMTP, "250-a\r\n250-PIPELINING\r\n250 DSN\r\n",
      "250-b\r\n250 DSN\r\n", "250-a\r\n250 DSN\r\n" },
    { "PIPELINING of both", PROTOCOL_SMTP, "250-a\r\n250-PIPELINING\r\n250 DSN\r\n",
      "250-b\r\n250-DSN\r\n250 pipelining\r\n", "250-a\r\n250-PIPELINING\r\n250 DSN\r\n" },
    { "CHUNKING of one alone", PROTOCOL_SMTP, "250-a\r\n250 DSN\r\n",
      "250-b\r\n250-CHUNKING\r\n250 DSN\r\n", "250-a\r\n250 DSN\r\n" },
    { "SIZE of one alone", PROTOCOL_SMTP, "250-a\r\n250 SIZE 9\r\n", "250 b\r\n", "250 a\r\n" },
    { "no SIZE has a limit", PROTOCOL_SMTP, "250-a\r\n250 SIZE 0\r\n", "250-b\r\n250 SIZE\r\n",
      "250-a\r\n250 SIZE 0\r\n" },
    { "a SIZE that is no number is no limit", PROTOCOL_SMTP, "250-a\r\n250 SIZE many\r\n",
      "250-b\r\n250 SIZE 9\r\n", "250-a\r\n250 SIZE 9\r\n" },
    { "a number beyond 64 bits is no limit", PROTOCOL_SMTP, "250-a\r\n250 SIZE 9\r\n",
      "250-b\r\n250 SIZE 18446744073709551616\r\n", "250-a\r\n250 SIZE 9\r\n" },
    { "AUTH of one alone", PROTOCOL_SMTP, "250-a\r\n250-AUTH PLAIN\r\n250 DSN\r\n",
      "250-b\r\n250 DSN\r\n", "250-a\r\n250 DSN\r\n" },
    { "AUTH without a mechanism", PROTOCOL_SMTP, "250-a\r\n250 AUTH PLAIN\r\n",
      "250-b\r\n250 AUTH\r\n", "250 a\r\n" },
    { "the old line of AUTH and the new", PROTOCOL_SMTP, "250-a\r\n250 AUTH=LOGIN PLAIN\r\n",
      "250-b\r\n250 AUTH PLAIN\r\n", "250-a\r\n250 AUTH PLAIN\r\n" },
    { "only mechanisms that do not pass in common", PROTOCOL_SMTP, "250-a\r\n250 AUTH NTLM\r\n",
      "250-b\r\n250 AUTH NTLM\r\n", "250 a\r\n" },
    { "a keyword twice", PROTOCOL_SMTP, "250-a\r\n250-SIZE 9\r\n250 SIZE 5\r\n",
      "250-b\r\n250 SIZE 7\r\n", "250-a\r\n250 SIZE 7\r\n" },
    { "parameters of both", PROTOCOL_SMTP, "250-a\r\n250 LIMITS RCPTMAX=9\r\n",
      "250-b\r\n250 LIMITS rcptmax=9\r\n", "250-a\r\n250 LIMITS RCPTMAX=9\r\n" },
    { "parameters that differ", PROTOCOL_SMTP, "250-a\r\n250 LIMITS RCPTMAX=99\r\n",
      "250-b\r\n250 LIMITS RCPTMAX=9\r\n", "250 a\r\n" },
    { "parameters of the first alone", PROTOCOL_SMTP, "250-a\r\n250 MT-PRIORITY MIXER\r\n",
      "250-b\r\n250 MT-PRIORITY\r\n", "250-a\r\n250 MT-PRIORITY\r\n" },
    { "parameters of the second alone", PROTOCOL_POP3, "+OK\r\nUTF8\r\n.\r\n",
      "+OK\r\nUTF8 USER\r\n.\r\n", "+OK\r\nUTF8\r\n.\r\n" },
    { "the other without CAPA", PROTOCOL_POP3, NULL, "+OK\r\nTOP\r\nUSER\r\n.\r\n", NULL },
    { "one without CAPA", PROTOCOL_POP3, "+OK\r\nUSER\r\nUIDL\r\n.\r\n", NULL, NULL },
    { "both without CAPA", PROTOCOL_POP3, NULL, NULL, NULL },
    { "one without CAPA, the other without USER", PROTOCOL_POP3, NULL,
      "+OK\r\nSASL PLAIN\r\nUIDL\r\n.\r\n", "+OK\r\n.\r\n" },
    { "USER of one alone", PROTOCOL_POP3, "+OK\r\nUSER\r\nUIDL\r\n.\r\n", "+OK\r\nUIDL\r\n.\r\n",
      "+OK\r\nUIDL\r\n.\r\n" },
    { "POP3", PROTOCOL_POP3, "+OK\r\nSASL PLAIN LOGIN\r\nUIDL\r\n.\r\n",
      "+OK\r\nUIDL\r\nSASL LOGIN\r\nTOP\r\n.\r\n", "+OK\r\nSASL LOGIN\r\nUIDL\r\n.\r\n" },
};

static void two_lists_have_in_common_what_both_have(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(intersect_rows); i++) {
        const struct intersect_row *row = &intersect_rows[i];
        struct capabilities *a = list_of(row->protocol, row->a);
        struct capabilities *b = list_of(row->protocol, row->b);
        struct capabilities *wanted = list_of(row->protocol, row->both);
        struct capabilities *both = capabilities_intersect(a, b);
        struct span missing;

        assert_non_null(both);
        if (!capabilities_cover(a, both, &missing) || !capabilities_cover(b, both, &missing))
            fail_msg("%s: a server cannot do %.*s", row->name, (int)missing.size,
                     (const char *)missing.data);
        capabilities_unref(a); /* `both` must not point into them */
        capabilities_unref(b);
        if (!capabilities_equal(both, wanted))
            fail_msg("%s", row->name);
        capabilities_unref(both);
        capabilities_unref(wanted);
    }
}

#define EHLO_ALL                                                                                   \
    "250-a\r\n250-CHUNKING\r\n250-AUTH PLAIN\r\n250-AUTH=LOGIN\r\n250-8bitmime\r\n250-DSN\r\n"     \
    "250 chunking\r\n"
#define CAPA_ALL "+OK\r\nUSER\r\nSASL PLAIN\r\nUIDL\r\n.\r\n"

static const struct without_row {
    const char *name;
    enum port_protocol protocol;
    const char *list;
    const char *hide[3];
    const char *left;
} without_rows[] = {
    { "nothing is hidden", PROTOCOL_SMTP, EHLO_ALL, { NULL }, EHLO_ALL },
    { "what the server has not", PROTOCOL_SMTP, EHLO_ALL, { "ETRN", "SIZE" }, EHLO_ALL },
    { "part of a keyword", PROTOCOL_SMTP, EHLO_ALL, { "8BIT", "DSNS", "" }, EHLO_ALL },
    { "a mechanism is no keyword", PROTOCOL_SMTP, EHLO_ALL, { "PLAIN", "LOGIN" }, EHLO_ALL },
    { "in another letter case, and both of two",
      PROTOCOL_SMTP,
      EHLO_ALL,
      { "Chunking" },
      "250-a\r\n250-AUTH PLAIN\r\n250-AUTH=LOGIN\r\n250-8BITMIME\r\n250 DSN\r\n" },
    { "two keywords",
      PROTOCOL_SMTP,
      EHLO_ALL,
      { "8BITMIME", "chunking" },
      "250-a\r\n250-AUTH PLAIN\r\n250-AUTH=LOGIN\r\n250 DSN\r\n" },
    { "login",
      PROTOCOL_SMTP,
      EHLO_ALL,
      { "auth" },
      "250-a\r\n250-CHUNKING\r\n250-8BITMIME\r\n250-DSN\r\n250 CHUNKING\r\n" },
    { "login by its name in POP3",
      PROTOCOL_SMTP,
      "250-a\r\n250 AUTH=PLAIN\r\n",
      { "SASL" },
      "250 a\r\n" },
    { "login by its name in SMTP",
      PROTOCOL_POP3,
      CAPA_ALL,
      { "AUTH" },
      "+OK\r\nUSER\r\nUIDL\r\n.\r\n" },
    { "SASL", PROTOCOL_POP3, CAPA_ALL, { "sasl" }, "+OK\r\nUSER\r\nUIDL\r\n.\r\n" },
    { "USER", PROTOCOL_POP3, CAPA_ALL, { "USER" }, "+OK\r\nSASL PLAIN\r\nUIDL\r\n.\r\n" },
    { "all", PROTOCOL_POP3, CAPA_ALL, { "UIDL", "SASL", "USER" }, "+OK\r\n.\r\n" },
    { "of a server without EHLO", PROTOCOL_SMTP, NULL, { "AUTH", "USER" }, NULL },
    { "of a server without CAPA", PROTOCOL_POP3, NULL, { "SASL", "TOP" }, NULL },
    { "USER of a server without CAPA", PROTOCOL_POP3, NULL, { "user" }, "+OK\r\n.\r\n" },
};

static void what_is_hidden_goes_and_nothing_comes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(without_rows); i++) {
        const struct without_row *row = &without_rows[i];
        struct settings_list hide = { (char **)(uintptr_t)row->hide, 0 };
        struct capabilities *list = list_of(row->protocol, row->list);
        struct capabilities *wanted = list_of(row->protocol, row->left), *left;
        struct span missing;

        while (hide.count < COUNT(row->hide) && row->hide[hide.count])
            hide.count++;
        left = capabilities_without(list, &hide);
        assert_non_null(left);
        if (!capabilities_cover(list, left, &missing))
            fail_msg("%s: %.*s came", row->name, (int)missing.size, (const char *)missing.data);
        capabilities_unref(list); /* `left` must not point into it */
        if (!capabilities_equal(left, wanted))
            fail_msg("%s", row->name);
        capabilities_unref(left);
        capabilities_unref(wanted);
    }
}

static const struct before_row {
    const char *name;
    enum port_protocol protocol;
    const char *list;
    const char *left;
} before_rows[] = {
    { "mechanisms that can be read stay, as the server writes them", PROTOCOL_SMTP,
      "250-a\r\n250-SIZE 5\r\n250 AUTH CRAM-MD5 login XOAUTH2 PLAIN\r\n",
      "250-a\r\n250-SIZE 5\r\n250 AUTH login PLAIN\r\n" },
    { "where none can be read there is no login", PROTOCOL_SMTP,
      "250-a\r\n250-AUTH CRAM-MD5 SCRAM-SHA-256\r\n250 DSN\r\n", "250-a\r\n250 DSN\r\n" },
    { "keywords of SMTP that POP3 would lose stay", PROTOCOL_SMTP,
      "250-a\r\n250-LANG\r\n250 UTF8\r\n", "250-a\r\n250-LANG\r\n250 UTF8\r\n" },
    { "what is said to a server before a login goes", PROTOCOL_POP3,
      "+OK\r\nUSER\r\nlang\r\nUTF8 USER\r\nTOP\r\nSASL PLAIN CRAM-MD5\r\n.\r\n",
      "+OK\r\nUSER\r\nTOP\r\nSASL PLAIN\r\n.\r\n" },
    { "a server without EHLO", PROTOCOL_SMTP, NULL, NULL },
    { "a server without CAPA still knows USER", PROTOCOL_POP3, NULL, NULL },
};

static void rule_13_before_routing_only_what_every_login_keeps_is_offered(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(before_rows); i++) {
        const struct before_row *row = &before_rows[i];
        struct capabilities *list = list_of(row->protocol, row->list);
        struct capabilities *wanted = list_of(row->protocol, row->left);
        struct capabilities *left = capabilities_before_routing(list);

        assert_non_null(left);
        capabilities_unref(list); /* `left` must not point into it */
        if (!capabilities_equal(left, wanted))
            fail_msg("%s", row->name);
        capabilities_unref(left);
        capabilities_unref(wanted);
    }
}

static void lists_that_differ_are_not_equal(void **state)
{
    static const char *const lists[] = {
        NULL,
        "250 a\r\n",
        "250-a\r\n250 DSN\r\n",
        "250-a\r\n250 HELP\r\n",
        "250-a\r\n250 DSN x\r\n",
        "250-a\r\n250-DSN\r\n250 HELP\r\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(lists); i++)
        for (size_t k = 0; k < COUNT(lists); k++) {
            struct capabilities *a = list_of(PROTOCOL_SMTP, lists[i]);
            struct capabilities *b = list_of(PROTOCOL_SMTP, lists[k]);

            assert_int_equal(capabilities_equal(a, b), i == k);
            capabilities_unref(a);
            capabilities_unref(b);
        }
}

static void a_list_lives_until_its_last_reference_is_gone(void **state)
{
    struct capabilities *list = list_of(PROTOCOL_SMTP, "250-a\r\n250 DSN x\r\n");
    const struct capability *item;

    (void)state;
    assert_ptr_equal(capabilities_ref(list), list);
    capabilities_unref(list);
    item = capabilities_find(list, SPAN_LIT("dsn"));
    assert_non_null(item);
    assert_true(span_equal(item->parameters, SPAN_LIT("x")));
    assert_null(capabilities_find(list, SPAN_LIT("DS")));
    capabilities_unref(list);
    capabilities_unref(NULL);
    assert_null(capabilities_ref(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rule_13_before_routing_only_what_every_login_keeps_is_offered),
        cmocka_unit_test(rule_24_replies_of_another_form_are_refused),
        cmocka_unit_test(rule_24_lists_have_limits),
        cmocka_unit_test(the_longest_list_fits_into_a_reply),
        cmocka_unit_test(p2_a_client_is_offered_what_the_server_has_and_the_proxy_understands),
        cmocka_unit_test(a_reply_without_room_is_marked),
        cmocka_unit_test(rule_9_a_server_that_lost_what_was_offered_is_noticed),
        cmocka_unit_test(two_lists_have_in_common_what_both_have),
        cmocka_unit_test(what_is_hidden_goes_and_nothing_comes),
        cmocka_unit_test(lists_that_differ_are_not_equal),
        cmocka_unit_test(a_list_lives_until_its_last_reference_is_gone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Return-Path and Received, field for field. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>

#include "backends/smtp_trace.h"

#define NOON 1700049600 /* Wed, 15 Nov 2023 12:00:00 +0000 */
#define END  ";\r\n\tWed, 15 Nov 2023 12:00:00 +0000\r\n"

struct row {
    const char *name;
    const char *helo, *user, *from, *address, *version, *cipher;
    bool helo_only, tls, utf8, relayed, two;
    const char *wanted;
};

static void set_client(struct sockaddr_storage *client, const char *address)
{
    struct sockaddr_in *in = (struct sockaddr_in *)client;
    struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)client;

    if (!address)
        return;
    client->ss_family = strchr(address, ':') ? AF_INET6 : AF_INET;
    inet_pton(client->ss_family, address,
              client->ss_family == AF_INET6 ? (void *)&in6->sin6_addr : (void *)&in->sin_addr);
}

static void write_trace(const struct row *row, char *into, size_t room)
{
    char *recipients[] = { (char *)"anna@example.org", (char *)"bert@example.org" };
    struct smtp_facts facts = { .hostname = "mail.example.org", .tls = row->tls };
    struct smtp_session session = { .facts = &facts, .esmtp = !row->helo_only };
    struct proxy_v2 client = { .tls = row->tls };
    struct text text = { into, 0, room, false };

    strcpy(session.helo, row->helo ? row->helo : "c.example");
    strcpy(session.user, row->user ? row->user : "");
    session.mail = (struct smtp_transaction){ .id = "id.1",
                                              .recipients = recipients,
                                              .recipient_count = row->two ? 2 : 1,
                                              .utf8 = row->utf8,
                                              .relayed = row->relayed };
    strcpy(session.mail.from, row->from ? row->from : "b@c.d");
    set_client(&client.client, row->address);
    strcpy(client.tls_version, row->version ? row->version : "");
    strcpy(client.tls_cipher, row->cipher ? row->cipher : "");
    smtp_trace_put(&text, &session, &client, NOON);
    assert_false(text.overflow);
    text_str(&text);
}

static void the_fields_tell_what_is_known(void **state)
{
    static const struct row rows[] = {
        { .name = "plain",
          .address = "192.0.2.7",
          .wanted = "Return-Path: <b@c.d>\r\nReceived: from c.example ([192.0.2.7])\r\n"
                    "\tby mail.example.org with ESMTP id id.1\r\n\tfor <anna@example.org>" END },
        { .name = "TLS and login, IPv6",
          .address = "2001:db8::1",
          .user = "anna@example.org",
          .tls = true,
          .version = "TLSv1.3",
          .cipher = "TLS_AES_128_GCM_SHA256",
          .wanted =
              "Return-Path: <b@c.d>\r\nReceived: from c.example ([IPv6:2001:db8::1])\r\n"
              "\tby mail.example.org with ESMTPSA (TLSv1.3 TLS_AES_128_GCM_SHA256) id id.1\r\n"
              "\tfor <anna@example.org>" END },
        { .name = "no Return-Path toward the relay",
          .relayed = true,
          .user = "anna@example.org",
          .wanted = "Received: from c.example\r\n\tby mail.example.org with ESMTPA id id.1\r\n"
                    "\tfor <anna@example.org>" END },
        { .name = "two recipients are not told to each other",
          .two = true,
          .wanted = "Return-Path: <b@c.d>\r\nReceived: from c.example\r\n"
                    "\tby mail.example.org with ESMTP id id.1" END },
        { .name = "null sender, TLS without facts, SMTPUTF8",
          .from = "",
          .tls = true,
          .utf8 = true,
          .wanted =
              "Return-Path: <>\r\nReceived: from c.example\r\n"
              "\tby mail.example.org with UTF8SMTPS id id.1\r\n\tfor <anna@example.org>" END },
        { .name = "HELO under TLS",
          .helo_only = true,
          .tls = true,
          .version = "TLSv1.2",
          .wanted = "Return-Path: <b@c.d>\r\nReceived: from c.example\r\n"
                    "\tby mail.example.org with SMTP (TLSv1.2) id id.1\r\n"
                    "\tfor <anna@example.org>" END },
        { .name = "a name that tries to be more",
          .helo = "x)(;\x1b\"<\xc3\xbc[1.2]",
          .wanted = "Return-Path: <b@c.d>\r\nReceived: from x??????"
                    "??[1.2]\r\n"
                    "\tby mail.example.org with ESMTP id id.1\r\n\tfor <anna@example.org>" END },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char trace[SMTP_TRACE_MAX];

        write_trace(&rows[i], trace, sizeof(trace));
        if (strcmp(trace, rows[i].wanted) != 0)
            fail_msg("%s:\n%s\nwanted:\n%s", rows[i].name, trace, rows[i].wanted);
    }
}

static void the_longest_texts_fit(void **state)
{
    char helo[SMTP_HELO_MAX + 1], from[SMTP_ADDRESS_MAX + 1], trace[SMTP_TRACE_MAX];
    struct row row = { .helo = helo, .from = from };

    (void)state;
    memset(helo, 'h', SMTP_HELO_MAX);
    memset(from, 'f', SMTP_ADDRESS_MAX);
    helo[SMTP_HELO_MAX] = from[SMTP_ADDRESS_MAX] = '\0';
    write_trace(&row, trace, sizeof(trace));
    assert_non_null(strstr(trace, "for <anna@example.org>;"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_fields_tell_what_is_known),
        cmocka_unit_test(the_longest_texts_fit),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

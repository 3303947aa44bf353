/* Replies of a server to EHLO or CAPA from random octets: the first octet chooses protocol and
 * rule.
 *
 * Invariants: what is written from a list fits, is itself a list that parses, and holds nothing
 * that the server did not say but our own keywords; a list covers itself, and what two lists have
 * in common is covered by both. */
#include <stdio.h>
#include <stdlib.h>

#include "proxy/capabilities.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "%s\n", what);
    abort();
}

static bool is_our_own(struct span keyword)
{
    return span_equal(keyword, SPAN_LIT("STARTTLS")) || span_equal(keyword, SPAN_LIT("STLS")) ||
           span_equal(keyword, SPAN_LIT("RESP-CODES")) ||
           span_equal(keyword, SPAN_LIT("AUTH-RESP-CODE")) ||
           span_equal(keyword, SPAN_LIT("AUTH="));
}

static void check_written(const struct capabilities *list, uint8_t choice)
{
    static char room[DIALOGUE_REPLY_MAX];
    struct text out = TEXT_OVER(room);
    struct dialogue_rule rule = {
        .protocol = list->protocol,
        .hostname = "mail.example",
        .tls_available = choice & 2,
        .require_tls = (enum require_tls)((choice >> 2 & 3) % 3),
        .legacy_auth_line = choice & 16,
        .size_limit = choice & 32 ? 1000 : 0,
    };
    struct capabilities *written = NULL;
    struct span missing;

    capabilities_write(list, &rule, choice & 64, &out);
    check(!out.overflow, "a list does not fit");
    check(capabilities_parse(list->protocol, text_span(&out), &written) == 0,
          "what is written does not parse");
    for (size_t i = 0; i < written->count; i++)
        check(is_our_own(written->items[i].keyword) ||
                  capabilities_find(list, written->items[i].keyword),
              "a keyword was made up");
    check(capabilities_cover(list, written, &missing), "the server cannot do what is written");
    capabilities_unref(written);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const others[] = {
        "250-b\r\n250-AUTH LOGIN PLAIN\r\n250-SIZE 500\r\n250-DSN\r\n250 CHUNKING\r\n",
        "+OK\r\nTOP\r\nSASL PLAIN\r\nUSER\r\n.\r\n",
    };
    struct capabilities *list = NULL, *other = NULL, *common;
    enum port_protocol protocol;
    struct span missing;

    if (size < 1)
        return 0;
    protocol = data[0] & 1 ? PROTOCOL_POP3 : PROTOCOL_SMTP;
    if (capabilities_parse(protocol, span_of(data + 1, size - 1), &list) < 0)
        return 0;
    check(capabilities_parse(protocol, span_of_text(others[protocol == PROTOCOL_POP3]), &other) ==
              0,
          "the other list");
    check_written(list, data[0]);
    check(capabilities_cover(list, list, &missing), "a list does not cover itself");
    check(capabilities_equal(list, list), "a list is not equal to itself");
    common = capabilities_intersect(list, other);
    check(common != NULL, "no memory");
    check(capabilities_cover(list, common, &missing) && capabilities_cover(other, common, &missing),
          "what is common is not covered");
    capabilities_unref(common);
    capabilities_unref(other);
    capabilities_unref(list);
    return 0;
}

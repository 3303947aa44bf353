/* Replies of a server to EHLO or CAPA from random octets: the first octet chooses protocol and
 * rule.
 *
 * Invariants: what is written from a list fits, is itself a list that parses, and holds nothing
 * that the server did not say but our own keywords; a list covers itself; what two lists have in
 * common is covered by both, and the order of two makes no difference to what that is; what is left
 * of a list holds nothing that is hidden, and nothing new. */
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

static void check_common(const struct capabilities *a, const struct capabilities *b)
{
    struct capabilities *common = capabilities_intersect(a, b);
    struct capabilities *turned = capabilities_intersect(b, a);
    struct span missing;

    check(common != NULL && turned != NULL, "no memory");
    check(capabilities_cover(a, common, &missing) && capabilities_cover(b, common, &missing),
          "what is common is not covered");
    check(capabilities_cover(turned, common, &missing) &&
              capabilities_cover(common, turned, &missing),
          "the order of two lists makes a difference");
    capabilities_unref(common);
    capabilities_unref(turned);
}

static void check_hidden(const struct capabilities *list)
{
    char *names[] = { (char[]){ "auth" }, (char[]){ "CHUNKING" }, (char[]){ "uidl" } };
    struct settings_list hide = { names, sizeof(names) / sizeof(names[0]) };
    struct capabilities *left = capabilities_without(list, &hide);
    struct span missing, rest;

    check(left != NULL, "no memory");
    check(capabilities_cover(list, left, &missing), "hiding adds");
    rest = capabilities_mechanisms(left);
    check(!capabilities_next_mechanism(&rest, &missing), "login is not hidden");
    check(!capabilities_find(left, SPAN_LIT("chunking")) &&
              !capabilities_find(left, SPAN_LIT("UIDL")),
          "a keyword is not hidden");
    for (size_t i = 0, k = 0; i < left->count; i++) {
        while (k < list->count && !span_equal(list->items[k].keyword, left->items[i].keyword))
            k++;
        check(k++ < list->count, "what is left is not part of the list in its order");
    }
    capabilities_unref(left);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const others[] = {
        "250-b\r\n250-AUTH LOGIN PLAIN\r\n250-SIZE 500\r\n250-DSN\r\n250 CHUNKING\r\n",
        "+OK\r\nTOP\r\nSASL PLAIN\r\nUSER\r\n.\r\n",
    };
    struct capabilities *list = NULL, *other = NULL, *none;
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
    none = capabilities_new_none(protocol);
    check(none != NULL, "no memory");
    check_common(list, other);
    check_common(list, none);
    check_hidden(list);
    capabilities_unref(none);
    capabilities_unref(other);
    capabilities_unref(list);
    return 0;
}

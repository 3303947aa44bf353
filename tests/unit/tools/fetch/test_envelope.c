/* Who sends a message and who gets it: every header whole and octet by octet. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "tools/fetch/envelope.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))

#define AB "FROM:<a@b>\n"

static const struct row {
    const char *name;
    const char *header;
    const char *lines; /* "! words" where it is refused */
    const char *sender;
} rows[] = {
    { "the usual", "From: A <a@b>\nTo: c@d\nCc: e@f\nBcc: g@h\n\nTo: no@body\n",
      AB "TO:<c@d>\nTO:<e@f>\nTO:<g@h>\n", NULL },
    { "CRLF", "From: a@b\r\nTo: c@d\r\n\r\n", AB "TO:<c@d>\n", NULL },
    { "CR", "From: a@b\rTo: c@d\r\rTo: e@f\r", AB "TO:<c@d>\n", NULL },
    { "CRCRLF", "From: a@b\r\r\nTo: c@d\r\r\n\r\r\nTo: e@f\r\r\n", AB "TO:<c@d>\n", NULL },
    { "no body", "From: a@b\nTo: c@d\n", AB "TO:<c@d>\n", NULL },
    { "no end", "From: a@b\nTo: c@d", AB "TO:<c@d>\n", NULL },
    { "CR at the end of all", "From: a@b\nTo: c@d\r", AB "TO:<c@d>\n", NULL },
    { "case of names, blanks behind them", "FROM : a@b\ntO\t:c@d\n\n", AB "TO:<c@d>\n", NULL },
    { "order of fields", "Bcc: g@h\nCc: e@f\nTo: c@d\nFrom: a@b\n\n",
      AB "TO:<g@h>\nTO:<e@f>\nTO:<c@d>\n", NULL },
    { "several fields of a name", "From: a@b\nTo: c@d\nX: 1\nTo: e@f\n\n",
      AB "TO:<c@d>\nTO:<e@f>\n", NULL },
    { "folding", "From: A\n\t<a@b>\nTo: \"C,\n D\" <c@d>,\n  e@f,\n \n g@h\n\n",
      AB "TO:<c@d>\nTO:<e@f>\nTO:<g@h>\n", NULL },
    { "a Bcc alone", "From: a@b\nBcc: c@d\n\n", AB "TO:<c@d>\n", NULL },
    { "an empty Bcc", "From: a@b\nTo: c@d\nBcc:\n\n", AB "TO:<c@d>\n", NULL },
    { "a group", "From: a@b\nTo: undisclosed:;\nBcc: All: c@d, e@f;\n\n", AB "TO:<c@d>\nTO:<e@f>\n",
      NULL },
    { "each once", "From: a@b\nTo: c@d, C@d, c@D\nCc: <c@d>, \"c\"@d\n\n",
      AB "TO:<c@d>\nTO:<C@d>\n", NULL },
    { "to oneself", "From: a@b\nTo: a@b\n\n", AB "TO:<a@b>\n", NULL },
    { "a quoted local part", "From: a@b\nTo: \"c d\"@e\n\n", AB "TO:<\"c d\"@e>\n", NULL },
    { "a name of 8 bits", "From: \xc3\x84 <a@b>\nSubject: \xff\nTo: c@d\n\n", AB "TO:<c@d>\n",
      NULL },
    { "long names of others",
      "X-A-name-that-is-longer-than-all-that-are-known: x\nFrom: a@b\nTo: c@d\n\n", AB "TO:<c@d>\n",
      NULL },
    { "names that begin alike", "From: a@b\nTo: c@d\nToo: e@f\nT: g@h\nX-To: i@j\nBcc2: k@l\n\n",
      AB "TO:<c@d>\n", NULL },
    { "nothing else is read", "From: a@b\nTo: c@d\nReply-To: <>;;(\nErrors-To: x\n\n",
      AB "TO:<c@d>\n", NULL },

    { "Sender", "From: x@y, a@b\nSender: a@b\nTo: c@d\n\n", AB "TO:<c@d>\n", NULL },
    { "the first of From", "From: a@b, x@y\nTo: c@d\n\n", AB "TO:<c@d>\n", NULL },
    { "Return-Path", "Return-Path: <a@b>\nFrom: x@y\nSender: x@y\nTo: c@d\n\n", AB "TO:<c@d>\n",
      NULL },
    { "an empty Return-Path", "Return-Path: <>\nFrom: x@y\nTo: c@d\n\n", "FROM:<>\nTO:<c@d>\n",
      NULL },
    { "a sender that is given", "Return-Path: <>\nFrom: x@y\nTo: c@d\n\n", AB "TO:<c@d>\n", "a@b" },
    { "the empty one", "From: x@y\nTo: c@d\n\n", "FROM:<>\nTO:<c@d>\n", "" },
    { "it is all that counts", "From: :-)\nTo: c@d\n\n", AB "TO:<c@d>\n", "a@b" },
    { "even where there is none", "To: c@d\n\n", AB "TO:<c@d>\n", "a@b" },

    { "resent",
      "Resent-From: a@b\nResent-To: c@d\nResent-Cc: e@f\nResent-Bcc: g@h\nFrom: x@y\nTo: "
      "no@body\n\n",
      AB "TO:<c@d>\nTO:<e@f>\nTO:<g@h>\n", NULL },
    { "resent, at the end", "From: x@y\nTo: no@body\nResent-From: a@b\nResent-To: c@d\n\n",
      AB "TO:<c@d>\n", NULL },
    { "resent twice",
      "Resent-To: c@d\nResent-From: a@b\nResent-From: x@y\nResent-To: no@body\nTo: no@body\n\n",
      AB "TO:<c@d>\n", NULL },
    { "a Cc of the older block",
      "Resent-Date: 1\nResent-To: c@d\nResent-From: a@b\nResent-Date: 2\nResent-Cc: no@body\n\n",
      AB "TO:<c@d>\n", NULL },
    { "resent after a journey",
      "Resent-To: c@d\nResent-From: a@b\nReceived: x\nResent-Cc: no@body\nTo: no@body\n\n",
      AB "TO:<c@d>\n", NULL },
    { "resent, with Return-Path", "Return-Path: <x@y>\nResent-From: a@b\nResent-To: c@d\n\n",
      AB "TO:<c@d>\n", NULL },
    { "Resent-Sender", "Resent-From: x@y\nResent-Sender: a@b\nResent-To: c@d\n\n", AB "TO:<c@d>\n",
      NULL },
    { "what was To does not matter", "Resent-From: a@b\nResent-To: c@d\nTo: ((\n\n",
      AB "TO:<c@d>\n", NULL },
    { "resent to nobody", "Resent-From: a@b\nTo: no@body\n\n",
      "! no recipient in Resent-To, Resent-Cc or Resent-Bcc", NULL },
    { "a date of resending alone", "From: x@y\nTo: no@body\nResent-Date: x\n\n", "! no Resent-From",
      NULL },
    { "resent by nobody", "From: x@y\nResent-To: c@d\n\n", "! no Resent-From", NULL },

    { "nothing", "", "! there is no header", NULL },
    { "a body alone", "\nFrom: a@b\nTo: c@d\n", "! there is no header", NULL },
    { "CRs alone", "\r\r\r", "! there is no header", NULL },
    { "no From", "To: c@d\n\n", "! no From", NULL },
    { "an empty From", "From:\nTo: c@d\n\n", "! From: no address", NULL },
    { "an empty address", "From: <>\nTo: c@d\n\n", "! From: an empty address: <>", NULL },
    { "an empty Sender", "From: a@b\nSender: <>\nTo: c@d\n\n", "! Sender: an empty address: <>",
      NULL },
    { "no recipient", "From: a@b\nSubject: x\n\n", "! no recipient in To, Cc or Bcc", NULL },
    { "recipients in the body", "From: a@b\n\nTo: c@d\n", "! no recipient in To, Cc or Bcc", NULL },
    { "an empty group", "From: a@b\nTo: x:;\n\n", "! no recipient in To, Cc or Bcc", NULL },
    { "one bad recipient", "From: a@b\nTo: c@d\nCc: e@f, bert, g@h\n\n",
      "! Cc: an address without a domain: bert, g@h", NULL },
    { "not ASCII", "From: a@b\nTo: J <j\xc3\xb6@d>\n\n", "! To: not ASCII: J <j\\xc3\\xb6@d>",
      NULL },
    { "a domain that is not", "From: a@b\nTo: j@d\xc3\xb6.example\n\n",
      "! To: not ASCII (a domain can be written as xn--...): j@d\\xc3\\xb6.example", NULL },
    { "a route", "From: a@b\nTo: <@r:c@d>\n\n", "! To: a route in an address: <@r:c@d>", NULL },
    { "words of any length",
      "From: a@b\nTo: (c@d-2345678901234567890123456789012345678901234567890123456789\n\n",
      "! To: no address: (c@d-2345678901234567890123456789012345678901234567890123456...", NULL },
    { "a given sender that is none", "From: a@b\nTo: c@d\n\n",
      "! the sender that was given: an address without a domain: anna", "anna" },
    { "a sender with a line end", "From: a@b\nTo: c@d\n\n",
      "! the sender that was given: no domain name: a@>\\x0aTO:<x@y", "a@>\nTO:<x@y" },

    { "a line of mbox", "From a@b Mon Jan  1\nFrom: a@b\nTo: c@d\n\n",
      "! line 1 of the header is no field: Froma", NULL },
    { "a line without a colon", "From: a@b\nTo: c@d\nHello\n\n",
      "! line 3 of the header is no field: Hello", NULL },
    { "no colon at the end of all", "From: a@b\nTo: c@d\nHello",
      "! line 3 of the header is no field: Hello", NULL },
    { "a blank first", " From: a@b\nTo: c@d\n\n", "! line 1 of the header begins with a blank",
      NULL },
    { "no name", "From: a@b\n: x\n\n", "! line 2 of the header has no name", NULL },
    { "a name of 8 bits", "From: a@b\nT\xc3: c@d\n\n", "! line 2 of the header is no field: T\\xc3",
      NULL },
    { "a control character", "From: a@b\nT\x01: c@d\n\n",
      "! line 2 of the header is no field: T\\x01", NULL },
    { "a blank in a name", "From: a@b\nTo you: c@d\n\n", "! line 2 of the header is no field: Toy",
      NULL },
};

/* Feeds it in pieces of `step`, each an allocation of its own. */
static struct envelope *read_pieces(struct span in, size_t step, const char *sender,
                                    int *ret_result)
{
    struct envelope *envelope;
    int r = ENVELOPE_MORE;

    assert_int_equal(envelope_new(sender, &envelope), 0);
    while (in.size > 0) {
        struct span part = span_first(in, step);
        unsigned char *room = malloc(part.size);

        assert_non_null(room);
        memcpy(room, part.data, part.size);
        r = envelope_feed(envelope, span_of(room, part.size));
        free(room);
        in = span_skip(in, part.size);
    }
    *ret_result = envelope_end(envelope);
    if (r != ENVELOPE_MORE)
        assert_int_equal(*ret_result, r); /* the end changes nothing then */
    return envelope;
}

static void check_row(const struct row *row, size_t step)
{
    int result;
    struct envelope *envelope = read_pieces(span_of_text(row->header), step, row->sender, &result);
    bool refused = row->lines[0] == '!';
    const char *got = refused ? envelope_words(envelope) : envelope_lines(envelope);

    if (result != (refused ? ENVELOPE_REFUSED : ENVELOPE_READY))
        fail_msg("%s, in pieces of %zu: result %d %s", row->name, step, result,
                 envelope_words(envelope));
    if (strcmp(got, row->lines + (refused ? 2 : 0)) != 0)
        fail_msg("%s, in pieces of %zu: %s", row->name, step, got);
    envelope_free(envelope);
}

static void test_every_row_whole_and_in_pieces(void **state)
{
    static const size_t steps[] = { SIZE_MAX, 1, 2, 3, 7 };

    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++)
        for (size_t j = 0; j < COUNT(steps); j++)
            check_row(&rows[i], steps[j]);
}

static void test_what_is_missing_is_known(void **state)
{
    static const struct {
        const char *header;
        bool date, message_id;
    } known[] = {
        { "From: a@b\nTo: c@d\n\nDate: x\nMessage-ID: y\n", false, false },
        { "From: a@b\nTo: c@d\nDATE: x\n\n", true, false },
        { "From: a@b\nTo: c@d\nMessage-Id : y\n\n", false, true },
        { "From: a@b\nTo: c@d\nResent-Date: x\nDates: x\n Date: y\n\n", false, false },
    };

    (void)state;
    for (size_t i = 0; i < COUNT(known); i++) {
        int result;
        struct envelope *envelope =
            read_pieces(span_of_text(known[i].header), SIZE_MAX, "a@b", &result);

        if (i < 3)
            assert_int_equal(result, ENVELOPE_READY);
        assert_int_equal(envelope_has_date(envelope), known[i].date);
        assert_int_equal(envelope_has_message_id(envelope), known[i].message_id);
        envelope_free(envelope);
    }
}

/* "From: a@b\nTo: ", `count` addresses, and the end. Freed by the caller. */
static char *many(unsigned count)
{
    size_t room = 64 + (size_t)count * 16, size;
    char *header = malloc(room);

    assert_non_null(header);
    size = (size_t)snprintf(header, room, "From: a@b\nTo: ");
    for (unsigned i = 0; i < count; i++)
        size += (size_t)snprintf(header + size, room - size, "u%u@b,", i);
    snprintf(header + size, room - size, "\n\n");
    return header;
}

static void expect_of(const char *header, int want, const char *words)
{
    int result;
    struct envelope *envelope = read_pieces(span_of_text(header), SIZE_MAX, NULL, &result);

    assert_int_equal(result, want);
    if (words)
        assert_string_equal(envelope_words(envelope), words);
    envelope_free(envelope);
}

static void test_a_hundred_recipients_and_one_more(void **state)
{
    char *header = many(ENVELOPE_RECIPIENTS_MAX);

    (void)state;
    expect_of(header, ENVELOPE_READY, NULL);
    free(header);
    header = many(ENVELOPE_RECIPIENTS_MAX + 1);
    expect_of(header, ENVELOPE_REFUSED, "To: more than 100 recipients");
    free(header);
}

static void test_a_hundred_of_the_longest(void **state)
{
    size_t room = 100 * 256 + 64, size;
    char *header = malloc(room);
    int result;
    struct envelope *envelope;

    (void)state;
    assert_non_null(header);
    size = (size_t)snprintf(header, room, "From: a@b\nTo: ");
    for (unsigned i = 0; i < 100; i++)
        size += (size_t)snprintf(header + size, room - size, "%0252u@b,", i);
    envelope = read_pieces(span_of(header, size), SIZE_MAX, NULL, &result);
    assert_int_equal(result, ENVELOPE_READY);
    assert_int_equal(strlen(envelope_lines(envelope)), 11 + 100 * (254 + 6));
    envelope_free(envelope);
    free(header);
}

/* `front`, then `octet` up to `size`, then `tail`. */
static void expect_long(const char *front, char octet, size_t size, const char *tail, int want,
                        const char *words)
{
    size_t front_size = strlen(front);
    char *header = malloc(size + strlen(tail) + 1);

    assert_non_null(header);
    memset(header, octet, size);
    memcpy(header, front, front_size);
    strcpy(header + size, tail);
    expect_of(header, want, words);
    free(header);
}

static void test_limits_of_the_header(void **state)
{
    const char *tail = "\nTo: c@d\n\n";
    size_t longest = ENVELOPE_HEADER_MAX - strlen(tail);

    (void)state;
    expect_long("From: a@b\nSubject: ", 'x', longest, tail, ENVELOPE_READY, NULL);
    expect_long("From: a@b\nSubject: ", 'x', longest + 1, tail, ENVELOPE_REFUSED,
                "the header is longer than 1 MiB");
    expect_long("From: a@b\nTo: ", ',', ENVELOPE_FIELDS_MAX, "c@d\n\n", ENVELOPE_READY, NULL);
    expect_long("From: a@b\nTo: ", ',', ENVELOPE_FIELDS_MAX + 16, "c@d\n\n", ENVELOPE_REFUSED,
                "To: too many addresses");
}

static void test_too_many_fields(void **state)
{
    char header[300 * 8 + 64] = "From: a@b\n";

    (void)state;
    for (unsigned i = 0; i < 255; i++)
        strcat(header, "To:c@d\n");
    expect_of(header, ENVELOPE_READY, NULL);
    strcat(header, "To:c@d\n");
    expect_of(header, ENVELOPE_REFUSED, "To: too many fields with addresses");
}

static void test_a_nul(void **state)
{
    int result;
    struct envelope *envelope =
        read_pieces(SPAN_LIT("From: a@b\nSubject: x\0y\nTo: c@d\n\n"), SIZE_MAX, NULL, &result);

    (void)state;
    assert_int_equal(result, ENVELOPE_REFUSED);
    assert_string_equal(envelope_words(envelope), "line 2 of the header has a NUL: Subject");
    envelope_free(envelope);
    envelope = read_pieces(SPAN_LIT("From: a@b\nTo: c@d\n\nx\0y\n"), 1, NULL, &result);
    assert_int_equal(result, ENVELOPE_READY);
    envelope_free(envelope);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_row_whole_and_in_pieces),
        cmocka_unit_test(test_what_is_missing_is_known),
        cmocka_unit_test(test_a_hundred_recipients_and_one_more),
        cmocka_unit_test(test_a_hundred_of_the_longest),
        cmocka_unit_test(test_limits_of_the_header),
        cmocka_unit_test(test_too_many_fields),
        cmocka_unit_test(test_a_nul),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

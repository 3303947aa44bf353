/* JSON as it is written: members and brackets, and texts of peers, which must stay inside their
 * quotes, show nothing that a terminal obeys, and be text for whoever reads them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/json_check.h"
#include "proxy/json_out.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const unsigned char *)(text), sizeof(text) - 1                                            \
    } /* for a table */

struct page {
    struct json_out json;
    char *text;
    size_t size;
};

static void open_page(struct page *page)
{
    page->json = (struct json_out){ .out = open_memstream(&page->text, &page->size) };
    assert_non_null(page->json.out);
}

static void expect_page(struct page *page, const char *wanted)
{
    assert_int_equal(fclose(page->json.out), 0);
    if (strcmp(page->text, wanted) != 0)
        fail_msg("wanted %s\ngot    %s", wanted, page->text);
    free(page->text);
}

static void members_are_separated_by_commas_at_every_level(void **state)
{
    struct page page;

    (void)state;
    open_page(&page);
    json_out_open(&page.json, NULL, '{');
    json_out_text(&page.json, "a", "x");
    json_out_open(&page.json, "b", '[');
    json_out_open(&page.json, NULL, '{');
    json_out_close(&page.json, '}');
    json_out_number(&page.json, NULL, 1);
    json_out_number(&page.json, NULL, UINT64_MAX);
    json_out_close(&page.json, ']');
    json_out_boolean(&page.json, "c", true);
    json_out_boolean(&page.json, "d", false);
    json_out_open(&page.json, "e", '[');
    json_out_close(&page.json, ']');
    json_out_raw(&page.json, "f", SPAN_LIT("{\"g\":1}"));
    json_out_close(&page.json, '}');
    expect_page(&page, "{\"a\":\"x\",\"b\":[{},1,18446744073709551615],\"c\":true,\"d\":false,"
                       "\"e\":[],\"f\":{\"g\":1}}");
}

static const struct text_row {
    const char *name;
    struct span in;
    const char *out;
} text_rows[] = {
    { "nothing", { (const unsigned char *)"", 0 }, "" },
    { "ASCII", LITERAL("anna@example.org"), "anna@example.org" },
    { "a quote and a backslash", LITERAL("\"\\"), "\\u0022\\u005c" },
    { "a slash needs nothing", LITERAL("</a>"), "</a>" },
    { "NUL", LITERAL("a\0b"), "a\\u0000b" },
    { "controls", LITERAL("\t\r\n\x1b\x07"), "\\u0009\\u000d\\u000a\\u001b\\u0007" },
    { "DEL", LITERAL("\x7f"), "\\u007f" },
    { "controls of the second kind", LITERAL("\xc2\x80\xc2\x9f"), "\\u0080\\u009f" },
    { "what stands behind them", LITERAL("\xc2\xa0"), "\xc2\xa0" },
    { "letters of Latin, Greek, Japanese", LITERAL("\xc3\xa4\xce\xb1\xe4\xbe\x8b"),
      "\xc3\xa4\xce\xb1\xe4\xbe\x8b" },
    { "a character of four octets", LITERAL("\xf0\x9f\x93\xa7"), "\xf0\x9f\x93\xa7" },
    { "right to left", LITERAL("\xe2\x80\xae\xe2\x81\xa6"), "\\u202e\\u2066" },
    { "marks of direction and of lines", LITERAL("\xe2\x80\x8f\xe2\x80\xa8"), "\\u200f\\u2028" },
    { "their neighbours", LITERAL("\xe2\x80\x90\xe2\x80\xaf\xe2\x81\xaa"),
      "\xe2\x80\x90\xe2\x80\xaf\xe2\x81\xaa" },
    { "octets that are none", LITERAL("\xff\xc3(\x80"), "\\\\xff\\\\xc3(\\\\x80" },
    { "an over-long form", LITERAL("\xc0\xaf"), "\\\\xc0\\\\xaf" },
    { "a surrogate", LITERAL("\xed\xa0\x80"), "\\\\xed\\\\xa0\\\\x80" },
    { "a character that is cut off", LITERAL("x\xe4\xbe"), "x\\\\xe4\\\\xbe" },
};

static void a_text_stays_inside_its_quotes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(text_rows); i++) {
        char wanted[256];
        struct page page;

        snprintf(wanted, sizeof(wanted), "[\"%s\"]", text_rows[i].out);
        open_page(&page);
        json_out_open(&page.json, NULL, '[');
        json_out_span(&page.json, NULL, text_rows[i].in);
        json_out_close(&page.json, ']');
        expect_page(&page, wanted);
    }
}

static void every_octet_and_pair_of_octets_makes_sound_json(void **state)
{
    (void)state;
    for (unsigned pair = 0; pair < 65536; pair++) {
        unsigned char octets[] = { (unsigned char)(pair >> 8), (unsigned char)pair };
        struct page page;

        if (memchr(octets, '\0', sizeof(octets)))
            continue; /* \u0000 is JSON, but json_check does not take it */
        open_page(&page);
        json_out_open(&page.json, NULL, '{');
        json_out_span(&page.json, "a", span_of(octets, sizeof(octets)));
        json_out_close(&page.json, '}');
        fclose(page.json.out);
        if (!json_check_object(span_of(page.text, page.size)))
            fail_msg("%02x %02x: %s", octets[0], octets[1], page.text);
        free(page.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members_are_separated_by_commas_at_every_level),
        cmocka_unit_test(a_text_stays_inside_its_quotes),
        cmocka_unit_test(every_octet_and_pair_of_octets_makes_sound_json),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* What is one JSON object, and what would break out of its place in an answer. Each good text is
 * also cut at every octet, and stood behind and before another: none of that is one object. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <cmocka.h>

#include "proxy/json_check.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define LITERAL(text)                                                                              \
    {                                                                                              \
        (const unsigned char *)(text), sizeof(text) - 1                                            \
    } /* for a table */
#define DEEP_8     "[[[[[[[["
#define DEEP_8_END "]]]]]]]]"

static const struct span good[] = {
    LITERAL("{}"),
    LITERAL(" \t\r\n{ } \n"),
    LITERAL("{\"a\":1}"),
    LITERAL("{\"a\":1,\"a\":2}"), /* whoever reads it decides */
    LITERAL("{ \"a\" : [ 1 , -2 , 0 , true , false , null , \"x\" , { } , [ ] ] }"),
    LITERAL("{\"a\":123456789012345678}"),
    LITERAL("{\"a\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e4\\uFFFF\"}"),
    LITERAL("{\"a\":\"}],\"}"),
    LITERAL("{\"\xc3\xa4\":\"\xf0\x9f\x93\xa7\x7f\"}"),
    LITERAL("{\"a\":" DEEP_8 "[[[[[[[" DEEP_8_END "]]]]]]]}"), /* 16 levels */
};

static const struct span bad[] = {
    LITERAL(""),
    LITERAL(" "),
    LITERAL("1"),
    LITERAL("[]"),
    LITERAL("\"a\""),
    LITERAL("null"),
    LITERAL("{"),
    LITERAL("}"),
    LITERAL("{]"),
    LITERAL("{}}"),
    LITERAL("{}{}"),
    LITERAL("{},"),
    LITERAL("{}\0"),
    LITERAL("{\"a\"}"),
    LITERAL("{\"a\":}"),
    LITERAL("{\"a\":1,}"),
    LITERAL("{,\"a\":1}"),
    LITERAL("{\"a\":1 \"b\":2}"),
    LITERAL("{a:1}"),
    LITERAL("{'a':1}"),
    LITERAL("{1:1}"),
    LITERAL("{\"a\":[1,]}"),
    LITERAL("{\"a\":[1}"),
    LITERAL("{\"a\":1]"),
    LITERAL("{\"a\":[1}]}"),
    LITERAL("{\"a\":tru}"),
    LITERAL("{\"a\":True}"),
    LITERAL("{\"a\":truex}"),
    LITERAL("{\"a\":-}"),
    LITERAL("{\"a\":01}"),
    LITERAL("{\"a\":+1}"),
    LITERAL("{\"a\":1.5}"), /* we write none */
    LITERAL("{\"a\":1e9}"),
    LITERAL("{\"a\":0x1}"),
    LITERAL("{\"a\":NaN}"),
    LITERAL("{\"a\":1234567890123456789}"),
    LITERAL("{\"a\":\"\n\"}"),
    LITERAL("{\"a\":\"\0\"}"),
    LITERAL("{\"a\":\"\\u0000\"}"),
    LITERAL("{\"a\":\"\\ud800\"}"),
    LITERAL("{\"a\":\"\\u00g0\"}"),
    LITERAL("{\"a\":\"\\u00\"}"),
    LITERAL("{\"a\":\"\\x41\"}"),
    LITERAL("{\"a\":\"\\\"}"),
    LITERAL("{\"a\":\"\xff\"}"),
    LITERAL("{\"a\":\"\xc3\"}"),
    LITERAL("{\"a\":\"\xc0\xaf\"}"),
    LITERAL("{\"a\":1}/**/"),
    LITERAL("\xef\xbb\xbf{}"),
    LITERAL("{\"a\":" DEEP_8 "[[[[[[[[" DEEP_8_END "]]]]]]]]}"), /* 17 levels */
    LITERAL("{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["),
};

static void one_object_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++)
        if (!json_check_object(good[i]))
            fail_msg("%.*s", (int)good[i].size, (const char *)good[i].data);
}

static void all_else_is_not(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(bad); i++)
        if (json_check_object(bad[i]))
            fail_msg("row %zu: %.*s", i, (int)bad[i].size, (const char *)bad[i].data);
}

static void an_object_that_is_cut_is_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        size_t end = good[i].size;

        while (good[i].data[end - 1] != '}')
            end--; /* white space behind it may go */
        for (size_t cut = 0; cut < end; cut++)
            if (json_check_object(span_first(good[i], cut)))
                fail_msg("the first %zu of %s", cut, (const char *)good[i].data);
    }
}

static void two_objects_are_none(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(good); i++) {
        char both[512];

        snprintf(both, sizeof(both), "%s%s", (const char *)good[i].data,
                 (const char *)good[(i + 1) % COUNT(good)].data);
        if (json_check_object(span_of_text(both)))
            fail_msg("%s", both);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_object_is_taken),
        cmocka_unit_test(all_else_is_not),
        cmocka_unit_test(an_object_that_is_cut_is_none),
        cmocka_unit_test(two_objects_are_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Any octets as a worker's part of an answer: what is taken for one object stays inside its place,
 * whatever stands around it. */
#include <stdint.h>
#include <stdlib.h>

#include "proxy/json_check.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(condition)                                                                         \
    do {                                                                                           \
        if (!(condition))                                                                          \
            abort();                                                                               \
    } while (0)

static bool is_space(uint8_t octet)
{
    return octet == ' ' || octet == '\t' || octet == '\r' || octet == '\n';
}

/* Brackets and quotes of a text that was taken, counted by other means. */
static void walk(const uint8_t *data, size_t size)
{
    size_t depth = 0, objects = 0;
    bool quoted = false;

    for (size_t i = 0; i < size; i++) {
        if (quoted) {
            REQUIRE(data[i] >= 0x20);
            quoted = data[i] != '"';
            i += data[i] == '\\'; /* what it escapes ends nothing */
            continue;
        }
        quoted = data[i] == '"';
        if (data[i] == '{' || data[i] == '[')
            objects += depth++ == 0;
        if (data[i] == '}' || data[i] == ']')
            REQUIRE(depth-- > 0);
        REQUIRE(depth > 0 || is_space(data[i]) || data[i] == '}');
    }
    REQUIRE(depth == 0 && objects == 1 && !quoted);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (!json_check_object(span_of(data, size)))
        return 0;
    walk(data, size);
    while (size > 0 && is_space(data[size - 1]))
        size--;
    REQUIRE(json_check_object(span_of(data, size)));
    REQUIRE(!json_check_object(span_of(data, size - 1)));
    return 0;
}

/* JSON, member by member. Fails only as the stream fails, which keeps that in mind itself. */
#include "proxy/json_out.h"

#include <inttypes.h>

#include "conf/utf8.h"

static uint32_t code_point(const unsigned char *octets, size_t size)
{
    static const unsigned char masks[] = { 0, 0x7f, 0x1f, 0x0f, 0x07 };
    uint32_t code = octets[0] & masks[size];

    for (size_t i = 1; i < size; i++)
        code = code << 6 | (octets[i] & 0x3f);
    return code;
}

/* Not only what JSON demands: also what a terminal obeys, and what would show a name as another
 * one. */
static bool is_escaped(uint32_t code)
{
    return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == '"' || code == '\\' ||
           code == 0x200e || code == 0x200f || (code >= 0x2028 && code <= 0x202e) ||
           (code >= 0x2066 && code <= 0x2069);
}

/* Writes the first character, and returns its size. */
static size_t put_character(FILE *out, struct span text)
{
    size_t size = utf8_size((const char *)text.data, text.size);
    uint32_t code;

    if (size == 0) {
        fprintf(out, "\\\\x%02x", text.data[0]);
        return 1;
    }
    code = code_point(text.data, size);
    if (is_escaped(code))
        fprintf(out, "\\u%04x", (unsigned)code);
    else
        fwrite_unlocked(text.data, 1, size, out);
    return size;
}

static bool is_plain(unsigned char octet)
{
    return octet >= 0x20 && octet < 0x7f && octet != '"' && octet != '\\';
}

static void put_string(FILE *out, struct span text)
{
    putc_unlocked('"', out);
    while (text.size > 0) {
        size_t plain = 0;

        while (plain < text.size && is_plain(text.data[plain]))
            plain++;
        fwrite_unlocked(text.data, 1, plain, out);
        text = span_skip(text, plain);
        if (text.size > 0)
            text = span_skip(text, put_character(out, text));
    }
    putc_unlocked('"', out);
}

static void put_key(struct json_out *json, const char *key)
{
    if (json->more)
        putc_unlocked(',', json->out);
    json->more = true;
    if (key)
        fprintf(json->out, "\"%s\":", key);
}

void json_out_open(struct json_out *json, const char *key, char bracket)
{
    put_key(json, key);
    putc_unlocked(bracket, json->out);
    json->more = false;
}

void json_out_close(struct json_out *json, char bracket)
{
    putc_unlocked(bracket, json->out);
    json->more = true;
}

void json_out_span(struct json_out *json, const char *key, struct span text)
{
    put_key(json, key);
    put_string(json->out, text);
}

void json_out_text(struct json_out *json, const char *key, const char *text)
{
    json_out_span(json, key, span_of_text(text));
}

void json_out_number(struct json_out *json, const char *key, uint64_t number)
{
    put_key(json, key);
    fprintf(json->out, "%" PRIu64, number);
}

void json_out_boolean(struct json_out *json, const char *key, bool value)
{
    put_key(json, key);
    fputs(value ? "true" : "false", json->out);
}

void json_out_raw(struct json_out *json, const char *key, struct span value)
{
    put_key(json, key);
    fwrite(value.data, 1, value.size, json->out);
}

/* Writes JSON (RFC 8259) as it goes, for answers that may hold ten thousand sessions: nothing is
 * built in memory first.
 *
 * PURE. Texts come from peers: octets that are no UTF-8 come out as the four characters \xHH, and
 * control characters of either kind, and those that change the direction of writing, as \uHHHH.
 * Whether all could be written is what the stream says (ferror). */
#ifndef GATEPOST_PROXY_JSON_OUT_H
#define GATEPOST_PROXY_JSON_OUT_H

#include <stdio.h>

#include "proxy/base/span.h"

struct json_out {
    FILE *out; /* borrowed */
    bool more; /* a member stands before the next one */
};

/* `key` names the member of the object that is open; NULL: an array is, or nothing. Keys are ours
 * and need no escape. */
void json_out_open(struct json_out *json, const char *key, char bracket); /* '{' or '[' */
void json_out_close(struct json_out *json, char bracket);                 /* '}' or ']' */
void json_out_span(struct json_out *json, const char *key, struct span text);
void json_out_text(struct json_out *json, const char *key, const char *text);
void json_out_number(struct json_out *json, const char *key, uint64_t number);
void json_out_boolean(struct json_out *json, const char *key, bool value);

/* A member whose value is JSON already. */
void json_out_raw(struct json_out *json, const char *key, struct span value);

#endif

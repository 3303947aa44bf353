/* Is a text one JSON object, and nothing before or behind it?
 *
 * PURE. What a worker says is put into an answer as it stands: a worker that was broken into must
 * not be able to write outside its own part. The text is only looked at, once and in order; nothing
 * is built. RFC 8259; strings must be UTF-8, control characters escaped. A number has at most
 * JSON_CHECK_DIGITS digits, nesting at most JSON_CHECK_DEPTH levels. */
#ifndef GATEPOST_PROXY_JSON_CHECK_H
#define GATEPOST_PROXY_JSON_CHECK_H

#include "proxy/base/span.h"

#define JSON_CHECK_DEPTH 16
#define JSON_CHECK_DIGITS                                                                          \
    18 /* fits in 64 bits with a sign; fractions are no part of what we say                        \
        */

/* Keys may come twice in one object: whoever reads it decides. */
bool json_check_object(struct span text);

#endif

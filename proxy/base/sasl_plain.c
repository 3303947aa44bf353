/* Splits at the two NULs. Fails where there are fewer or more, and where nobody is named. */
#include "proxy/base/sasl_plain.h"

bool sasl_plain_parse(struct span message, struct sasl_plain *ret_plain)
{
    size_t first = span_find(message, '\0');
    struct span rest = span_skip(message, first + 1);
    size_t second = span_find(rest, '\0');
    struct sasl_plain plain = { span_first(message, first), span_first(rest, second),
                                span_skip(rest, second + 1) };

    if (first == message.size || second == rest.size || plain.authcid.size == 0 ||
        span_find(plain.password, '\0') < plain.password.size)
        return false;
    *ret_plain = plain;
    return true;
}

bool sasl_plain_for_another(const struct sasl_plain *plain)
{
    return plain->authzid.size > 0 && !span_equal_nocase(plain->authzid, plain->authcid);
}

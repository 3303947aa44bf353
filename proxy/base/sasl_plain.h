/* The message of the SASL mechanism PLAIN, decoded: [authzid] NUL authcid NUL passwd (RFC 4616,
 * section 2).
 *
 * PURE. */
#ifndef GATEPOST_BASE_SASL_PLAIN_H
#define GATEPOST_BASE_SASL_PLAIN_H

#include "proxy/base/span.h"

struct sasl_plain {
    struct span authzid; /* whom to act for; empty: for oneself */
    struct span authcid; /* who logs in; not empty */
    struct span password;
};

/* The spans point into `message`. An empty password is one: a server may judge it. False: it is no
 * such message. */
bool sasl_plain_parse(struct span message, struct sasl_plain *ret_plain);

/* Does somebody want to act for another user? Names of users have no case. */
bool sasl_plain_for_another(const struct sasl_plain *plain);

#endif

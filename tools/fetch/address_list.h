/* Addresses out of a list of mailboxes and groups, as To, Cc and From hold it (RFC 5322 section
 * 3.4, with the obsolete forms of 4.4 but the route).
 *
 * PURE. `value` is the field's value, unfolded or not. Display names may hold octets that are no
 * ASCII, addresses may not. */
#ifndef GATEPOST_TOOLS_FETCH_ADDRESS_LIST_H
#define GATEPOST_TOOLS_FETCH_ADDRESS_LIST_H

#include "proxy/base/span.h"

#define ADDRESS_MAX 254 /* octets (RFC 5321 section 4.5.3.1.3) */

struct address_list {
    struct span rest;
    bool in_group;
    bool expected;    /* a comma, a semicolon or the end must come: an address just ended */
    const char *why;  /* after ADDRESS_BAD: static words */
    struct span what; /* and what is wrong, from there on, not escaped */
};

enum address_result { ADDRESS_FOUND = 1, ADDRESS_END, ADDRESS_BAD };

struct address {
    char text[ADDRESS_MAX + 1]; /* "local@domain", quoted only where it must be; no blanks or
                                   control characters but in quotes */
};

static inline void address_list_init(struct address_list *list, struct span value)
{
    *list = (struct address_list){ .rest = value };
}

/* Takes the next address off the list. An address_result; it stays ADDRESS_END or ADDRESS_BAD. */
int address_list_next(struct address_list *list, struct address *ret_address);

#endif

/* What the files of capabilities.h share: the table of keywords, and how a list is made.
 *
 * PURE; included by capabilities*.c alone. */
#ifndef GATEPOST_PROXY_CAPABILITIES_PARTS_H
#define GATEPOST_PROXY_CAPABILITIES_PARTS_H

#include "proxy/capabilities.h"

#define OLD_AUTH "AUTH=" /* how servers from before RFC 2554 begin the line of AUTH */

/* What a missing keyword means to a client that was told of it. */
enum worth {
    WORTH_KEEPING, /* the client may use it */
    WORTH_NOTHING, /* the proxy makes up for it, or nobody acts upon it */
};

struct capability_keyword {
    const char *name;
    enum worth worth;
};

struct capabilities_making {
    struct capabilities *list;
    unsigned char *text; /* where the next text goes: behind the items, in the same block */
};

static inline bool capability_is(struct span word, const char *name)
{
    return span_equal_nocase(word, span_of_text(name));
}

/* The keyword's row, or NULL where the proxy does not understand it. */
const struct capability_keyword *capabilities_understood(const struct capabilities *list,
                                                         struct span keyword);

/* Are the parameters of this keyword SASL mechanisms? */
bool capabilities_names_mechanisms(const struct capabilities *list, struct span keyword);

/* Is this the first item of its keyword? A server may repeat itself; a client is told once. */
bool capabilities_first_of_its_kind(const struct capabilities *list, const struct capability *item);

/* The limit that the parameters of SIZE name; UINT64_MAX: none. RFC 1870 section 4: no number, or
 * 0, is no fixed limit. */
uint64_t capabilities_size(struct span parameters);

/* A list with one reference and room for so many items and octets of text. 0 or -ENOMEM. */
int capabilities_make(enum port_protocol protocol, size_t items_max, size_t text_max,
                      struct capabilities_making *ret_making);

/* Copies `text` into the list's block; what is returned lives as long as the list. */
struct span capabilities_keep_text(struct capabilities_making *making, struct span text);

void capabilities_add(struct capabilities_making *making, struct span keyword,
                      struct span parameters);

#endif

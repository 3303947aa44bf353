/* What a server can do, as it said in reply to EHLO (RFC 5321 section 4.1.1.1) or CAPA (RFC 2449),
 * and what of that is offered to a client.
 *
 * PURE. A list is immutable once made, and counted by reference inside one event loop. What a
 * client is offered is always a part of what the server said: only keywords that the proxy
 * understands pass. */
#ifndef GATEPOST_PROXY_CAPABILITIES_H
#define GATEPOST_PROXY_CAPABILITIES_H

#include "proxy/dialogue.h"

#define CAPABILITIES_LINES_MAX 100   /* lines of one EHLO or CAPA reply */
#define CAPABILITIES_BYTES_MAX 16384 /* octets of one such reply */

struct capability {
    struct span keyword;
    struct span parameters; /* without the leading space; empty where there are none */
};

struct capabilities {
    unsigned references;
    enum port_protocol protocol;
    bool none; /* the server knows no EHLO (HELO only) or no CAPA */
    size_t count;
    struct capability *items; /* in the server's order; texts belong to this block */
};

/* Parses one whole reply to EHLO or CAPA as the server sent it, with all its line ends
 * ("250-a\r\n250 b\r\n", or
 * "+OK\r\nTOP\r\n.\r\n"). Returns 0 and a list with one reference, -EPROTO where it is no positive
 * reply of that form or is over the limits, -ENOMEM. */
int capabilities_parse(enum port_protocol protocol, struct span reply,
                       struct capabilities **ret_list);

/* The list of a server that knows no EHLO or CAPA. NULL: no memory. */
struct capabilities *capabilities_new_none(enum port_protocol protocol);

struct capabilities *capabilities_ref(struct capabilities *list); /* NULL is fine */
void capabilities_unref(struct capabilities *list);               /* NULL is fine */

const struct capability *capabilities_find(const struct capabilities *list, struct span keyword);

/* Takes the next SASL mechanism off `rest` (the parameters of AUTH or SASL) that works through a
 * proxy. False: none is left. */
bool capabilities_next_mechanism(struct span *rest, struct span *ret_mechanism);

/* Does this mechanism work through a proxy that ends TLS? Not those that bind to the channel, to
 * the server's name, or to the connection itself (EXTERNAL would log in as the proxy). */
bool capabilities_mechanism_passes(struct span mechanism);

/* The mechanisms that the server offers, to be taken by capabilities_next_mechanism(). */
struct span capabilities_mechanisms(const struct capabilities *list);

/* Writes the whole reply to EHLO, or to CAPA, that a client gets: `list` cut to what the proxy
 * understands, and STARTTLS or STLS when `tls` is off and rule->tls_available. RFC 5321 4.1.1.1,
 * RFC 3207 4, RFC 2449 5, RFC 2595 4. With TLS required, login is hidden until TLS. `tls`: the
 * client speaks TLS now. */
void capabilities_write(const struct capabilities *list, const struct dialogue_rule *rule, bool tls,
                        struct text *into);

/* Why clients are not shown this item of the list: words for people; static. NULL: they are. */
const char *capabilities_why_hidden(const struct capabilities *list, const struct capability *item);

/* Can a server that says `now` do all that a client was told from `offered`? PIPELINING (the proxy
 * bridges it) and a lower SIZE (the server enforces it) do not count. False: *ret_missing is the
 * first keyword (or SASL mechanism) that is gone. */
bool capabilities_cover(const struct capabilities *now, const struct capabilities *offered,
                        struct span *ret_missing);

/* Those of `a` that `b` has too: the mechanisms of both, the lower SIZE; of other parameters those
 * that are the same, or none. A list of `none` and another have nothing in common, but USER of
 * POP3. NULL: no memory. */
struct capabilities *capabilities_intersect(const struct capabilities *a,
                                            const struct capabilities *b);

/* `list` without the keywords that `hide` names, letter case being no matter. AUTH and SASL both
 * name the line of mechanisms. Never adds. NULL: no memory. */
struct capabilities *capabilities_without(const struct capabilities *list,
                                          const struct settings_list *hide);

/* Those of `list` that hold where the proxy reads the login and chooses the server by it: of the
 * mechanisms only those that login_reads() takes, and nothing that is said to one server before the
 * login and would be lost with it (LANG, UTF8). NULL: no memory. */
struct capabilities *capabilities_before_routing(const struct capabilities *list);

bool capabilities_equal(const struct capabilities *a, const struct capabilities *b);

#endif

/* The forms of texts that settings hold: names, addresses, sockets. PURE. Private to conf/. */
#ifndef GATEPOST_CONF_SETTINGS_FORM_H
#define GATEPOST_CONF_SETTINGS_FORM_H

#include <stdbool.h>

/* Room for the path in a sockaddr_un, less its NUL. */
#define FORM_SOCKET_PATH_MAX 107

/* Labels of letters, digits and hyphens, separated by dots, at most 253 octets. One label is
 * enough. */
bool form_is_domain(const char *text);

/* A domain, or `*.` and a domain, as in certificates. */
bool form_is_server_name(const char *text);

/* An IPv4 or IPv6 address, without brackets, port or zone. */
bool form_is_address(const char *text);

/* Would a socket bound to `a` get in the way of one bound to `b`, on the same port? Both must be
 * addresses. */
bool form_addresses_overlap(const char *a, const char *b);

/* "unix:/path": what is wrong with it in words that follow "it", or NULL. */
const char *form_socket_fault(const char *text);

/* "host:port" or "[IPv6 address]:port". */
bool form_is_host_port(const char *text);

#endif

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

/* Where a log may go: stderr, journald, syslog, journald:/path or syslog:/path. */
bool form_is_log(const char *text);

/* What is wrong with a path, or a name in runtime_dir, of a socket that we bind; NULL: nothing. */
const char *form_own_socket_fault(const char *text, const char *runtime_dir);

/* "host:port" or "[IPv6 address]:port". */
bool form_is_host_port(const char *text);

/* "unix:/path", "host:port" or "[IPv6 address]:port": what is wrong with it in words that follow
 * "it", or NULL. */
const char *form_backend_fault(const char *text);

/* Do both, which need not have the form, say the same socket? 192.0.2.1:25 and 192.0.2.1:025 do. */
bool form_same_backend(const char *a, const char *b);

/* Is it a socket's path or an IP address, and no name that may have several addresses? */
bool form_names_one_address(const char *text);

/* Does it lead to a socket of this machine that is bound to that address and port? Nothing is said
 * of names but `localhost`, nor of an address that the machine has besides the loopback. */
bool form_leads_to(const char *text, const char *bound, unsigned bound_port);

/* An IPv4 or IPv6 address, or one with the length of a prefix: 192.0.2.0/24. */
bool form_is_network(const char *text);

/* A network of all addresses of its family? */
bool form_network_is_whole(const char *text);

/* Does all of the network lie in one that the public Internet does not route: private (RFC 1918,
 * RFC 4193), loopback or link-local? Must be a network. */
bool form_network_is_private(const char *text);

/* Does the network have bits set behind its prefix, as 192.0.2.1/24 has? Then the one without them
 * is written to ret_network. */
#define FORM_NETWORK_SIZE 64
bool form_network_has_host(const char *text, char ret_network[FORM_NETWORK_SIZE]);

/* "user:cdb:/path": what is wrong with it in words that follow "it", or NULL. */
const char *form_route_fault(const char *text);

/* The keyword of a capability: letters, digits and hyphens (RFC 5321, section 4.1.1.1; RFC 2449).
 */
bool form_is_capability(const char *text);

#endif

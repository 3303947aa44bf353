/* Judges forms. Nothing here can fail; a text has the form or it has not. */
#include "conf/settings_form.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DOMAIN_MAX 253 /* RFC 1035, section 2.3.4, without the root's dot */
#define LABEL_MAX  63

static bool is_label(const char *text, size_t size)
{
    if (size == 0 || size > LABEL_MAX || text[0] == '-' || text[size - 1] == '-')
        return false;
    for (size_t i = 0; i < size; i++)
        if (!isalnum((unsigned char)text[i]) && text[i] != '-')
            return false;
    return true;
}

bool form_is_domain(const char *text)
{
    size_t size = strlen(text), label;

    if (size == 0 || size > DOMAIN_MAX)
        return false;
    for (;; text += label + 1) {
        label = strcspn(text, ".");
        if (!is_label(text, label))
            return false;
        if (!text[label])
            return true;
    }
}

bool form_is_server_name(const char *text)
{
    return form_is_domain(strncmp(text, "*.", 2) == 0 ? text + 2 : text);
}

/* An address in network order; the family, or 0 where `text` is none. */
static int parse_address(const char *text, unsigned char address[16])
{
    memset(address, 0, 16);
    if (inet_pton(AF_INET, text, address) == 1)
        return AF_INET;
    return inet_pton(AF_INET6, text, address) == 1 ? AF_INET6 : 0;
}

bool form_is_address(const char *text)
{
    unsigned char address[16];

    return parse_address(text, address) != 0;
}

/* An all-zero address is every address of its family. IPv6 sockets never take IPv4 (IPV6_V6ONLY).
 */
bool form_addresses_overlap(const char *a, const char *b)
{
    static const unsigned char every[16];
    unsigned char one[16], other[16];

    if (parse_address(a, one) != parse_address(b, other))
        return false;
    return memcmp(one, other, 16) == 0 || memcmp(one, every, 16) == 0 ||
           memcmp(other, every, 16) == 0;
}

const char *form_socket_fault(const char *text)
{
    const char *path = text + strlen("unix:");

    if (strncmp(text, "unix:", 5) != 0)
        return "does not begin with unix:";
    if (*path != '/')
        return "needs an absolute path behind unix:";
    if (!path[1] || path[strlen(path) - 1] == '/')
        return "names a folder, not a socket";
    return strlen(path) > FORM_SOCKET_PATH_MAX ? "has a path of more than 107 octets" : NULL;
}

bool form_is_log(const char *text)
{
    static const char *const sockets[] = { "journald", "syslog" };

    for (size_t i = 0; i < sizeof(sockets) / sizeof(*sockets); i++) {
        size_t size = strlen(sockets[i]);
        const char *path = text + size + 1;

        if (strncmp(text, sockets[i], size) != 0)
            continue;
        return !text[size] || (text[size] == ':' && *path == '/' && path[1] &&
                               strlen(path) <= FORM_SOCKET_PATH_MAX);
    }
    return strcmp(text, "stderr") == 0;
}

const char *form_own_socket_fault(const char *text, const char *runtime_dir)
{
    bool is_path = *text == '/';
    size_t size = strlen(text) + (is_path ? 0 : strlen(runtime_dir) + 1);

    if (!is_path && (strchr(text, '/') || strcmp(text, ".") == 0 || strcmp(text, "..") == 0))
        return "is neither an absolute path nor a name in runtime_dir";
    if (text[strlen(text) - 1] == '/')
        return "names a folder, not a socket";
    return size > FORM_SOCKET_PATH_MAX ? "has a path of more than 107 octets" : NULL;
}

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    long port;

    if (digits == 0 || digits > 5 || text[digits])
        return false;
    port = strtol(text, NULL, 10);
    return port > 0 && port < 65536;
}

#define HOST_SIZE (DOMAIN_MAX + sizeof("[]"))

/* Takes the host off "host:port"; NULL where there is no colon or too much before it. Returns the
 * port, which may be anything. */
static const char *split_host(const char *text, char host[HOST_SIZE])
{
    const char *colon = strrchr(text, ':');
    size_t size = colon ? (size_t)(colon - text) : HOST_SIZE;

    if (size >= HOST_SIZE)
        return NULL;
    memcpy(host, text, size);
    host[size] = '\0';
    return colon + 1;
}

/* Resolvers take 127.1 or 300 for an address of some kind: a name does not end in a number
 * (RFC 1123, section 2.1). */
static bool is_name_or_address4(const char *host)
{
    const char *dot = strrchr(host, '.'), *last = dot ? dot + 1 : host;

    if (last[strspn(last, "0123456789")] == '\0')
        return !strchr(host, ':') && form_is_address(host);
    return form_is_domain(host);
}

/* "[2001:db8::1]", which loses its brackets. */
static bool is_bracketed6(char *host)
{
    size_t size = strlen(host);

    if (size < 2 || host[0] != '[' || host[size - 1] != ']')
        return false;
    host[size - 1] = '\0';
    memmove(host, host + 1, size - 1);
    return strchr(host, ':') && form_is_address(host);
}

bool form_is_host_port(const char *text)
{
    char host[HOST_SIZE];
    const char *port = split_host(text, host);

    return port && is_port(port) && (is_name_or_address4(host) || is_bracketed6(host));
}

const char *form_backend_fault(const char *text)
{
    char host[HOST_SIZE];
    const char *port = split_host(text, host);

    if (strncmp(text, "unix:", 5) == 0)
        return form_socket_fault(text);
    if (form_is_host_port(text))
        return NULL;
    if (strcasecmp(text, "embedded") == 0)
        return "has to be in small letters";
    if (*text == '/')
        return "is a path: write unix: before it";
    if (strchr(text, ':') && form_is_address(text))
        return "is an IPv6 address: write it in brackets, with a port: [2001:db8::1]:25";
    if (*text == '[' ? text[strlen(text) - 1] == ']' : !port && is_name_or_address4(text))
        return "has no port: write host:25 or host:110";
    if (port && !is_port(port) && (is_name_or_address4(host) || is_bracketed6(host)))
        return "has no port from 1 to 65535";
    return "is no address of a server";
}

/* The two are compared as addresses where they are such, else as names, in which case does not
 * count. */
bool form_same_backend(const char *a, const char *b)
{
    unsigned char one[16], other[16];
    char a_host[HOST_SIZE], b_host[HOST_SIZE];
    const char *a_port = split_host(a, a_host), *b_port = split_host(b, b_host);
    int family;

    if (strncmp(a, "unix:", 5) == 0 || !form_is_host_port(a) || !form_is_host_port(b))
        return strcmp(a, b) == 0;
    if (strtol(a_port, NULL, 10) != strtol(b_port, NULL, 10))
        return false;
    is_bracketed6(a_host);
    is_bracketed6(b_host);
    family = parse_address(a_host, one);
    if (family)
        return family == parse_address(b_host, other) && memcmp(one, other, 16) == 0;
    return strcasecmp(a_host, b_host) == 0;
}

/* The host may be `localhost`, and a socket bound to all addresses of a family serves its
 * loopback. */
bool form_leads_to(const char *text, const char *bound, unsigned bound_port)
{
    static const unsigned char every[16], loopback6[16] = { [15] = 1 };
    unsigned char to[16], at[16];
    char host[HOST_SIZE];
    const char *port = split_host(text, host);
    int family, bound_family = parse_address(bound, at);
    bool loopback, all = memcmp(at, every, 16) == 0;

    if (!form_is_host_port(text) || strtol(port, NULL, 10) != (long)bound_port)
        return false;
    is_bracketed6(host);
    if (strcasecmp(host, "localhost") == 0)
        return all || (bound_family == AF_INET ? at[0] == 127 : memcmp(at, loopback6, 16) == 0);
    family = parse_address(host, to);
    loopback = family == AF_INET ? to[0] == 127 : memcmp(to, loopback6, 16) == 0;
    return family == bound_family && (memcmp(to, at, 16) == 0 || (all && loopback));
}

bool form_names_one_address(const char *text)
{
    char host[HOST_SIZE];

    if (!form_is_host_port(text))
        return true;
    split_host(text, host);
    return is_bracketed6(host) || form_is_address(host);
}

/* The length of the prefix, also of an address without one; -1 where `text` is no network. */
static int parse_network(const char *text, int *ret_family, unsigned char address[16])
{
    size_t size = strcspn(text, "/");
    const char *prefix = text + size;
    char host[INET6_ADDRSTRLEN];
    int most, length;

    if (size >= sizeof(host))
        return -1;
    memcpy(host, text, size);
    host[size] = '\0';
    *ret_family = parse_address(host, address);
    most = *ret_family == AF_INET ? 32 : 128;
    if (*ret_family == 0 || !*prefix)
        return *ret_family == 0 ? -1 : most;
    prefix++;
    size = strspn(prefix, "0123456789");
    if (size == 0 || size > 3 || prefix[size] || (size > 1 && *prefix == '0'))
        return -1;
    length = (int)strtol(prefix, NULL, 10);
    return length <= most ? length : -1;
}

bool form_is_network(const char *text)
{
    unsigned char address[16];
    int family;

    return parse_network(text, &family, address) >= 0;
}

static bool begins_alike(const unsigned char *a, const unsigned char *b, int bits)
{
    int octets = bits / 8, rest = 0xff << (8 - bits % 8) & 0xff;

    return memcmp(a, b, (size_t)octets) == 0 &&
           (bits % 8 == 0 || ((a[octets] ^ b[octets]) & rest) == 0);
}

bool form_network_is_whole(const char *text)
{
    unsigned char address[16];
    int family;

    return parse_network(text, &family, address) == 0;
}

/* IPv4 as ::ffff:0:0/96 (RFC 4291, section 2.5.5.2) is meant as IPv4. */
bool form_network_is_private(const char *text)
{
    static const char *const networks[] = {
        "10.0.0.0/8",  "172.16.0.0/12",  "192.168.0.0/16", /* RFC 1918 */
        "127.0.0.0/8", "169.254.0.0/16",                   /* loopback; RFC 3927 */
        "fc00::/7",                                        /* RFC 4193 */
        "::1/128",     "fe80::/10",                        /* loopback; link-local */
    };
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };
    unsigned char address[16], outer[16];
    int family, outer_family, length = parse_network(text, &family, address);

    if (family == AF_INET6 && length >= 96 && memcmp(address, mapped, sizeof(mapped)) == 0) {
        memmove(address, address + 12, 4);
        family = AF_INET;
        length -= 96;
    }
    for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++) {
        int outer_length = parse_network(networks[i], &outer_family, outer);

        if (family == outer_family && length >= outer_length &&
            begins_alike(address, outer, outer_length))
            return true;
    }
    return false;
}

bool form_network_has_host(const char *text, char ret_network[FORM_NETWORK_SIZE])
{
    unsigned char address[16], cut[16];
    int family, length = parse_network(text, &family, address);
    char words[INET6_ADDRSTRLEN];

    for (int i = 0; i < 16; i++) {
        int bits = length - 8 * i;

        cut[i] = bits >= 8 ? address[i] : bits <= 0 ? 0 : address[i] & (0xff << (8 - bits));
    }
    if (memcmp(address, cut, 16) == 0)
        return false;
    inet_ntop(family, cut, words, sizeof(words));
    snprintf(ret_network, FORM_NETWORK_SIZE, "%s/%d", words, length);
    return true;
}

const char *form_route_fault(const char *text)
{
    const char *path = text + strlen("user:cdb:");

    if (strncmp(text, "user:cdb:", 9) != 0)
        return "does not begin with user:cdb:";
    if (*path != '/')
        return "needs an absolute path behind user:cdb:";
    return !path[1] || path[strlen(path) - 1] == '/' ? "names a folder, not a file" : NULL;
}

bool form_is_capability(const char *text)
{
    size_t size = strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-");

    return size > 0 && !text[size] && *text != '-';
}

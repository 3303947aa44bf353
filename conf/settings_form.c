/* Judges forms. Nothing here can fail; a text has the form or it has not. */
#include "conf/settings_form.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

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

static bool is_port(const char *text)
{
    size_t digits = strspn(text, "0123456789");
    long port;

    if (digits == 0 || digits > 5 || text[digits])
        return false;
    port = strtol(text, NULL, 10);
    return port > 0 && port < 65536;
}

bool form_is_host_port(const char *text)
{
    const char *colon = strrchr(text, ':');
    char host[DOMAIN_MAX + 1];
    size_t size;

    if (!colon || !is_port(colon + 1))
        return false;
    size = (size_t)(colon - text);
    if (size == 0 || size >= sizeof(host))
        return false;
    memcpy(host, text, size);
    host[size] = '\0';
    if (host[0] != '[')
        return form_is_domain(host); /* an IPv4 address looks like one */
    if (host[size - 1] != ']')
        return false;
    host[size - 1] = '\0';
    return strchr(host, ':') && form_is_address(host + 1);
}

/* The PROXY protocol, version 1 (haproxy.org, proxy-protocol.txt section 2.1).
 *
 * A line of words with one space between them: PROXY, the family, both addresses, both ports.
 * Reading fails with -EPROTO at the first octet that shows that this is no such line; writing fails
 * for want of room only. */
#include "proxy/base/proxy_v1.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

/* The host as text, and the port. False: of another family. */
static bool write_address(const struct sockaddr_storage *address, char host[INET6_ADDRSTRLEN],
                          unsigned *ret_port)
{
    const struct sockaddr_in *inet = (const void *)address;
    const struct sockaddr_in6 *inet6 = (const void *)address;

    if (address->ss_family == AF_INET) {
        *ret_port = ntohs(inet->sin_port);
        return inet_ntop(AF_INET, &inet->sin_addr, host, INET6_ADDRSTRLEN) != NULL;
    }
    if (address->ss_family == AF_INET6) {
        *ret_port = ntohs(inet6->sin6_port);
        return inet_ntop(AF_INET6, &inet6->sin6_addr, host, INET6_ADDRSTRLEN) != NULL;
    }
    return false;
}

long proxy_v1_write(const struct sockaddr_storage *client, const struct sockaddr_storage *server,
                    unsigned char *into, size_t room)
{
    char line[PROXY_V1_LINE_MAX + 1], from[INET6_ADDRSTRLEN], to[INET6_ADDRSTRLEN];
    unsigned from_port, to_port;
    int size;

    if (client->ss_family == server->ss_family && write_address(client, from, &from_port) &&
        write_address(server, to, &to_port))
        size = snprintf(line, sizeof(line), "PROXY TCP%c %s %s %u %u\r\n",
                        client->ss_family == AF_INET ? '4' : '6', from, to, from_port, to_port);
    else
        size = snprintf(line, sizeof(line), "PROXY UNKNOWN\r\n");
    if ((size_t)size > room)
        return -ENOSPC;
    memcpy(into, line, (size_t)size);
    return size;
}

/* Takes the octets up to the next space off *rest, and that one space. */
static struct span take(struct span *rest)
{
    struct span word = span_first(*rest, span_find(*rest, ' '));

    *rest = span_skip(*rest, word.size + 1);
    return word;
}

static bool read_host(struct span word, int family, struct sockaddr_storage *address)
{
    struct sockaddr_in *inet = (void *)address;
    struct sockaddr_in6 *inet6 = (void *)address;
    char host[INET6_ADDRSTRLEN] = "";

    if (word.size == 0 || word.size >= sizeof(host) || span_find(word, '\0') < word.size)
        return false;
    memcpy(host, word.data, word.size);
    address->ss_family = (sa_family_t)family;
    return inet_pton(family, host,
                     family == AF_INET ? (void *)&inet->sin_addr : (void *)&inet6->sin6_addr) == 1;
}

static bool read_port(struct span word, struct sockaddr_storage *address)
{
    uint64_t port;

    if (!span_parse_u64(word, &port) || port > UINT16_MAX || (word.size > 1 && word.data[0] == '0'))
        return false;
    if (address->ss_family == AF_INET)
        ((struct sockaddr_in *)address)->sin_port = htons((uint16_t)port);
    else
        ((struct sockaddr_in6 *)address)->sin6_port = htons((uint16_t)port);
    return true;
}

/* `rest` is what stands behind the word of the family. */
static bool read_addresses(struct span rest, int family, struct sockaddr_storage *client,
                           struct sockaddr_storage *server)
{
    /* Ports end at the line's end: a space behind the last one leaves nothing and is no digit. */
    return read_host(take(&rest), family, client) && read_host(take(&rest), family, server) &&
           read_port(take(&rest), client) && read_port(rest, server);
}

/* Can `bytes` be the beginning of a line? */
static bool plausible(struct span bytes)
{
    static const char *const beginnings[] = { "PROXY TCP4 ", "PROXY TCP6 ", "PROXY UNKNOWN" };

    for (size_t i = 0; i < sizeof(beginnings) / sizeof(beginnings[0]); i++) {
        struct span beginning = span_of_text(beginnings[i]);
        size_t compared = bytes.size < beginning.size ? bytes.size : beginning.size;

        if (span_equal(span_first(bytes, compared), span_first(beginning, compared)))
            return true;
    }
    return false;
}

/* The line without its CRLF. PROXY_V1_MORE: its end has not come. -EPROTO: it has none in time, or
 * a CR or LF stands alone. */
static int find_line(struct span bytes, struct span *ret_line)
{
    struct span seen = span_first(bytes, PROXY_V1_LINE_MAX);
    size_t cr = span_find(seen, '\r');

    if (span_find(seen, '\n') < cr)
        return -EPROTO;
    if (cr + 1 >= PROXY_V1_LINE_MAX)
        return -EPROTO;
    if (cr + 1 >= seen.size)
        return PROXY_V1_MORE;
    if (seen.data[cr + 1] != '\n')
        return -EPROTO;
    *ret_line = span_first(seen, cr);
    return PROXY_V1_READY;
}

int proxy_v1_read(struct span bytes, struct sockaddr_storage *ret_client,
                  struct sockaddr_storage *ret_server, size_t *ret_size)
{
    struct sockaddr_storage client = { 0 }, server = { 0 };
    struct span line, rest, family;
    int r;

    if (!plausible(bytes))
        return -EPROTO;
    r = find_line(bytes, &line);
    if (r != PROXY_V1_READY)
        return r;
    rest = line;
    take(&rest);
    family = take(&rest);
    if (span_equal(family, SPAN_LIT("TCP4")) || span_equal(family, SPAN_LIT("TCP6"))) {
        if (!read_addresses(rest, family.data[3] == '4' ? AF_INET : AF_INET6, &client, &server))
            return -EPROTO;
    } else if (!span_equal(family, SPAN_LIT("UNKNOWN"))) {
        return -EPROTO;
    }
    *ret_client = client;
    *ret_server = server;
    *ret_size = line.size + 2;
    return PROXY_V1_READY;
}

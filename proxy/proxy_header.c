/* Reads the PROXY header of an incoming connection. Happy path: the first octet tells the version,
 * the reader of that version does the rest. Fails where that reader fails. */
#include "proxy/proxy_header.h"

#include <errno.h>
#include <netinet/in.h>

static bool is_mapped(const struct sockaddr_storage *address)
{
    const struct sockaddr_in6 *inet6 = (const void *)address;

    return address->ss_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&inet6->sin6_addr);
}

static void unmap(struct sockaddr_storage *address)
{
    const struct sockaddr_in6 *inet6 = (const void *)address;
    struct sockaddr_in inet = { .sin_family = AF_INET, .sin_port = inet6->sin6_port };

    memcpy(&inet.sin_addr, &inet6->sin6_addr.s6_addr[12], 4);
    memset(address, 0, sizeof(*address));
    memcpy(address, &inet, sizeof(inet));
}

/* PROXY_HEADER_MORE, or PROXY_HEADER_ORIGIN once the header is whole, or -EPROTO. */
static int read_text(struct span bytes, struct origin *origin, size_t *ret_size)
{
    int r = proxy_v1_read(bytes, &origin->client, &origin->server, ret_size);

    if (r < 0)
        return r;
    return r == PROXY_V1_MORE ? PROXY_HEADER_MORE : PROXY_HEADER_ORIGIN;
}

static int read_binary(struct span bytes, struct origin *origin, size_t *ret_size)
{
    struct proxy_v2 facts;
    int r = proxy_v2_read(bytes, &facts, ret_size);

    if (r < 0)
        return r;
    if (r == PROXY_V2_MORE)
        return PROXY_HEADER_MORE;
    origin->client = facts.client;
    origin->server = facts.server;
    return PROXY_HEADER_ORIGIN;
}

int proxy_header_read(struct span bytes, struct origin *ret_origin, size_t *ret_size)
{
    struct origin origin = { 0 };
    int r;

    if (bytes.size == 0)
        return PROXY_HEADER_MORE;
    r = bytes.data[0] == 'P' ? read_text(bytes, &origin, ret_size)
                             : read_binary(bytes, &origin, ret_size);
    if (r != PROXY_HEADER_ORIGIN)
        return r;
    if (origin.client.ss_family == AF_UNSPEC)
        return PROXY_HEADER_NO_ORIGIN;
    if (is_mapped(&origin.client) && is_mapped(&origin.server)) {
        unmap(&origin.client);
        unmap(&origin.server);
    }
    *ret_origin = origin;
    return PROXY_HEADER_ORIGIN;
}

/* Writes the PROXY header for a client, and for our own learning dialogue.
 *
 * Happy path: the addresses are those of the client's socket, or those that a trusted balancer
 * named. Fails where the socket has no peer any more. */
#include "proxy/identity.h"

#include <arpa/inet.h>
#include <stdio.h>

#include "proxy/tls.h"

static void put_tls(const struct stream *client, struct proxy_v2 *facts)
{
    struct tls_facts tls;

    tls_facts(client, &tls);
    facts->tls = true;
    snprintf(facts->tls_version, sizeof(facts->tls_version), "%s", tls.version);
    snprintf(facts->tls_cipher, sizeof(facts->tls_cipher), "%s", tls.cipher);
    snprintf(facts->authority, sizeof(facts->authority), "%s", tls.sni);
    snprintf(facts->alpn, sizeof(facts->alpn), "%s", tls.alpn);
}

static void put_learning_tls(struct proxy_v2 *facts)
{
    facts->tls = true;
    snprintf(facts->tls_version, sizeof(facts->tls_version), "TLSv1.3");
    snprintf(facts->tls_cipher, sizeof(facts->tls_cipher), "TLS_AES_128_GCM_SHA256");
}

static long write_header(enum identity kind, const struct proxy_v2 *facts, unsigned char *into,
                         size_t room)
{
    switch (kind) {
    case IDENTITY_PROXY_V1:
        return proxy_v1_write(&facts->client, &facts->server, into, room);
    case IDENTITY_PROXY_V2:
        return proxy_v2_write(facts, into, room);
    case IDENTITY_NONE:
    case IDENTITY_XCLIENT:
        break;
    }
    return 0;
}

long identity_write(enum identity kind, const struct stream *client, const struct origin *origin,
                    const char *unique_id, unsigned char *into, size_t room)
{
    struct proxy_v2 facts = { 0 };
    int r;

    if (kind == IDENTITY_NONE || kind == IDENTITY_XCLIENT)
        return 0;
    r = identity_addresses(client, origin, &facts.client, &facts.server);
    if (r < 0)
        return r; /* never a header without an address: the server would trust it as a local one */
    snprintf(facts.unique_id, sizeof(facts.unique_id), "%s", unique_id);
    if (client->tls)
        put_tls(client, &facts);
    return write_header(kind, &facts, into, room);
}

long identity_write_learning(enum identity kind, bool tls, unsigned char *into, size_t room)
{
    struct proxy_v2 facts = { .unique_id = "learning" };

    identity_learning_addresses(&facts.client, &facts.server);
    if (tls)
        put_learning_tls(&facts);
    return write_header(kind, &facts, into, room);
}

int identity_addresses(const struct stream *client, const struct origin *origin,
                       struct sockaddr_storage *ret_client,
                       struct sockaddr_storage *ret_destination)
{
    struct sockaddr_storage peer = { 0 }, own = { 0 };
    int peer_size = sizeof(peer), own_size = sizeof(own), r;

    if (origin) {
        *ret_client = origin->client;
        *ret_destination = origin->server;
        return 0;
    }
    r = uv_tcp_getpeername(&client->uv.tcp, (struct sockaddr *)&peer, &peer_size);
    if (r == 0)
        r = uv_tcp_getsockname(&client->uv.tcp, (struct sockaddr *)&own, &own_size);
    if (r < 0)
        return r;
    *ret_client = peer;
    *ret_destination = own;
    return 0;
}

static void set_inet(struct sockaddr_storage *address, const char *host, unsigned port)
{
    struct sockaddr_in inet = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

    inet_pton(AF_INET, host, &inet.sin_addr);
    memset(address, 0, sizeof(*address));
    memcpy(address, &inet, sizeof(inet));
}

void identity_learning_addresses(struct sockaddr_storage *ret_client,
                                 struct sockaddr_storage *ret_destination)
{
    set_inet(ret_client, "192.0.2.1", 1024);
    set_inet(ret_destination, "192.0.2.2", 25);
}

/* Writes the PROXY v2 header for a client, and for our own learning dialogue. */
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

long identity_header(const struct stream *client, const char *unique_id, unsigned char *into,
                     size_t room)
{
    struct proxy_v2 facts = { 0 };
    int length = sizeof(facts.client), r;

    r = uv_tcp_getpeername(&client->uv.tcp, (struct sockaddr *)&facts.client, &length);
    if (r < 0)
        return r; /* never a header without an address: the server would trust it as a local one */
    length = sizeof(facts.server);
    r = uv_tcp_getsockname(&client->uv.tcp, (struct sockaddr *)&facts.server, &length);
    if (r < 0)
        return r;
    snprintf(facts.unique_id, sizeof(facts.unique_id), "%s", unique_id);
    if (client->tls)
        put_tls(client, &facts);
    return proxy_v2_write(&facts, into, room);
}

long identity_learning_header(bool tls, unsigned char *into, size_t room)
{
    struct proxy_v2 facts = { .tls = tls };
    struct sockaddr_in *client = (struct sockaddr_in *)&facts.client;
    struct sockaddr_in *server = (struct sockaddr_in *)&facts.server;

    client->sin_family = server->sin_family = AF_INET;
    inet_pton(AF_INET, "192.0.2.1", &client->sin_addr);
    inet_pton(AF_INET, "192.0.2.2", &server->sin_addr);
    client->sin_port = htons(1024);
    server->sin_port = htons(25);
    if (tls) {
        snprintf(facts.tls_version, sizeof(facts.tls_version), "TLSv1.3");
        snprintf(facts.tls_cipher, sizeof(facts.tls_cipher), "TLS_AES_128_GCM_SHA256");
    }
    snprintf(facts.unique_id, sizeof(facts.unique_id), "learning");
    return proxy_v2_write(&facts, into, room);
}

/* The PROXY protocol, version 2 (haproxy.org, proxy-protocol.txt section 2.2).
 *
 * A header is 12 octets of signature, one of version and command, one of family and transport, two
 * of length (big endian), the addresses, and TLVs (type, two octets of length, value). Reading
 * fails with -EPROTO at the first octet that no header can have; writing fails for want of room
 * only. */
#include "proxy/base/proxy_v2.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>

static const unsigned char signature[12] = { 0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d,
                                             0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a };

enum {
    FIXED_SIZE = 16, /* octets before the addresses */
    COMMAND_LOCAL = 0x20,
    COMMAND_PROXY = 0x21,
    FAMILY_INET = 1, /* upper half of the octet of family and transport */
    FAMILY_INET6 = 2,
    FAMILY_UNIX = 3,
    TRANSPORT_STREAM = 1, /* its lower half */
    TRANSPORT_LAST = 2,
    INET_SIZE = 12, /* octets of both addresses and ports */
    INET6_SIZE = 36,
    UNIX_SIZE = 216,
    TLV_ALPN = 0x01,
    TLV_AUTHORITY = 0x02,
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_COMMON_NAME = 0x22,
    TLV_SSL_CIPHER = 0x23,
    SSL_FIXED_SIZE =
        5, /* the octet of flags and four of the verification's result, before the inner TLVs */
    SSL_FLAG_TLS = 0x01,
    SSL_FLAG_CERTIFICATE = 0x02,
};

/* ---- writing ---- */

struct writer {
    unsigned char *into;
    size_t size, room;
    bool overflow;
};

static void put(struct writer *writer, const void *bytes, size_t size)
{
    if (writer->overflow || size > writer->room - writer->size) {
        writer->overflow = true;
        return;
    }
    memcpy(writer->into + writer->size, bytes, size);
    writer->size += size;
}

static void put_octet(struct writer *writer, unsigned octet)
{
    unsigned char byte = (unsigned char)octet;

    put(writer, &byte, 1);
}

/* Writes the length of what stands behind the two octets at `at`. */
static void set_length(struct writer *writer, size_t at)
{
    size_t length = writer->size - at - 2;

    if (writer->overflow)
        return;
    writer->into[at] = (unsigned char)(length >> 8);
    writer->into[at + 1] = (unsigned char)length;
}

static void put_text_tlv(struct writer *writer, unsigned type, const char *text)
{
    size_t size = strlen(text), length_at = writer->size + 1;

    if (size == 0)
        return;
    put_octet(writer, type);
    put(writer, "\0", 2);
    put(writer, text, size);
    set_length(writer, length_at);
}

static void put_tls(struct writer *writer, const struct proxy_v2 *facts)
{
    static const unsigned char unverified[4] = { 0, 0, 0, 1 }, verified[4] = { 0 };
    bool certificate = facts->tls_client_name[0] != '\0';
    size_t length_at = writer->size + 1;

    put_octet(writer, TLV_SSL);
    put(writer, "\0", 2);
    put_octet(writer, SSL_FLAG_TLS | (certificate ? SSL_FLAG_CERTIFICATE : 0));
    put(writer, certificate ? verified : unverified, 4);
    put_text_tlv(writer, TLV_SSL_VERSION, facts->tls_version);
    put_text_tlv(writer, TLV_SSL_COMMON_NAME, facts->tls_client_name);
    put_text_tlv(writer, TLV_SSL_CIPHER, facts->tls_cipher);
    set_length(writer, length_at);
}

static void put_addresses(struct writer *writer, const struct proxy_v2 *facts)
{
    const struct sockaddr_in *client4 = (const void *)&facts->client;
    const struct sockaddr_in *server4 = (const void *)&facts->server;
    const struct sockaddr_in6 *client6 = (const void *)&facts->client;
    const struct sockaddr_in6 *server6 = (const void *)&facts->server;
    size_t length_at = writer->size + 1;
    int family = facts->local || facts->client.ss_family != facts->server.ss_family
                     ? AF_UNSPEC
                     : facts->client.ss_family;

    if (family == AF_INET) {
        put_octet(writer, FAMILY_INET << 4 | TRANSPORT_STREAM);
        put(writer, "\0", 2);
        put(writer, &client4->sin_addr, 4);
        put(writer, &server4->sin_addr, 4);
        put(writer, &client4->sin_port, 2);
        put(writer, &server4->sin_port, 2);
    } else if (family == AF_INET6) {
        put_octet(writer, FAMILY_INET6 << 4 | TRANSPORT_STREAM);
        put(writer, "\0", 2);
        put(writer, &client6->sin6_addr, 16);
        put(writer, &server6->sin6_addr, 16);
        put(writer, &client6->sin6_port, 2);
        put(writer, &server6->sin6_port, 2);
    } else {
        put_octet(writer, 0);
        put(writer, "\0", 2);
    }
    set_length(writer, length_at);
}

long proxy_v2_write(const struct proxy_v2 *facts, unsigned char *into, size_t room)
{
    struct writer writer = { into, 0, room, false };

    put(&writer, signature, sizeof(signature));
    put_octet(&writer, facts->local ? COMMAND_LOCAL : COMMAND_PROXY);
    put_addresses(&writer, facts);
    put_text_tlv(&writer, TLV_ALPN, facts->alpn);
    put_text_tlv(&writer, TLV_AUTHORITY, facts->authority);
    put_text_tlv(&writer, TLV_UNIQUE_ID, facts->unique_id);
    if (facts->tls)
        put_tls(&writer, facts);
    set_length(&writer, sizeof(signature) + 2);
    return writer.overflow ? -ENOSPC : (long)writer.size;
}

/* ---- reading ---- */

/* Keeps a text up to its first NUL, cut to the room. */
static void keep_text(struct span value, char *into, size_t room)
{
    struct span kept = span_first(span_first(value, span_find(value, '\0')), room - 1);

    memset(into, 0, room);
    if (kept.size > 0)
        memcpy(into, kept.data, kept.size);
}

/* Takes one TLV off *rest. */
static int take_tlv(struct span *rest, unsigned *ret_type, struct span *ret_value)
{
    size_t size;

    if (rest->size < 3)
        return -EPROTO;
    size = (size_t)rest->data[1] << 8 | rest->data[2];
    if (size > rest->size - 3)
        return -EPROTO;
    *ret_type = rest->data[0];
    *ret_value = span_of(rest->data + 3, size);
    *rest = span_skip(*rest, 3 + size);
    return 0;
}

static int read_tls(struct span value, struct proxy_v2 *facts)
{
    struct span rest = span_skip(value, SSL_FIXED_SIZE);
    struct proxy_v2 inner = *facts;

    if (value.size < SSL_FIXED_SIZE)
        return -EPROTO;
    while (rest.size > 0) {
        unsigned type;
        struct span text;
        int r = take_tlv(&rest, &type, &text);

        if (r < 0)
            return r;
        if (type == TLV_SSL_VERSION)
            keep_text(text, inner.tls_version, sizeof(inner.tls_version));
        else if (type == TLV_SSL_COMMON_NAME)
            keep_text(text, inner.tls_client_name, sizeof(inner.tls_client_name));
        else if (type == TLV_SSL_CIPHER)
            keep_text(text, inner.tls_cipher, sizeof(inner.tls_cipher));
    }
    if (!(value.data[0] & SSL_FLAG_TLS))
        return 0; /* the client speaks no TLS: what is said of it means nothing */
    inner.tls = true;
    *facts = inner;
    return 0;
}

static int read_tlvs(struct span rest, struct proxy_v2 *facts)
{
    while (rest.size > 0) {
        unsigned type;
        struct span value;
        int r = take_tlv(&rest, &type, &value);

        if (r < 0)
            return r;
        if (type == TLV_ALPN)
            keep_text(value, facts->alpn, sizeof(facts->alpn));
        else if (type == TLV_AUTHORITY)
            keep_text(value, facts->authority, sizeof(facts->authority));
        else if (type == TLV_UNIQUE_ID)
            keep_text(value, facts->unique_id, sizeof(facts->unique_id));
        else if (type == TLV_SSL && (r = read_tls(value, facts)) < 0)
            return r;
    }
    return 0;
}

static void read_inet(const unsigned char *from, struct proxy_v2 *facts)
{
    struct sockaddr_in client = { .sin_family = AF_INET }, server = { .sin_family = AF_INET };

    memcpy(&client.sin_addr, from, 4);
    memcpy(&server.sin_addr, from + 4, 4);
    memcpy(&client.sin_port, from + 8, 2);
    memcpy(&server.sin_port, from + 10, 2);
    memcpy(&facts->client, &client, sizeof(client));
    memcpy(&facts->server, &server, sizeof(server));
}

static void read_inet6(const unsigned char *from, struct proxy_v2 *facts)
{
    struct sockaddr_in6 client = { .sin6_family = AF_INET6 }, server = { .sin6_family = AF_INET6 };

    memcpy(&client.sin6_addr, from, 16);
    memcpy(&server.sin6_addr, from + 16, 16);
    memcpy(&client.sin6_port, from + 32, 2);
    memcpy(&server.sin6_port, from + 34, 2);
    memcpy(&facts->client, &client, sizeof(client));
    memcpy(&facts->server, &server, sizeof(server));
}

/* Reads the addresses off *rest. Those of a LOCAL header and of a UNIX socket tell nothing. */
static int read_addresses(unsigned family, struct span *rest, struct proxy_v2 *facts)
{
    static const unsigned char sizes[] = { 0, INET_SIZE, INET6_SIZE, UNIX_SIZE };

    if (family > FAMILY_UNIX || rest->size < sizes[family])
        return -EPROTO;
    if (family == FAMILY_INET && !facts->local)
        read_inet(rest->data, facts);
    else if (family == FAMILY_INET6 && !facts->local)
        read_inet6(rest->data, facts);
    *rest = span_skip(*rest, sizes[family]);
    return 0;
}

/* Can `bytes` be the beginning of a header? */
static bool plausible(struct span bytes)
{
    size_t compared = bytes.size < sizeof(signature) ? bytes.size : sizeof(signature);

    if (compared > 0 && memcmp(bytes.data, signature, compared) != 0)
        return false;
    if (bytes.size > 12 && bytes.data[12] != COMMAND_LOCAL && bytes.data[12] != COMMAND_PROXY)
        return false;
    if (bytes.size > 13 &&
        (bytes.data[13] >> 4 > FAMILY_UNIX || (bytes.data[13] & 15) > TRANSPORT_LAST))
        return false;
    return true;
}

int proxy_v2_read(struct span bytes, struct proxy_v2 *ret_facts, size_t *ret_size)
{
    struct proxy_v2 facts = { 0 };
    struct span rest;
    size_t size;
    int r;

    if (!plausible(bytes))
        return -EPROTO;
    if (bytes.size < FIXED_SIZE)
        return PROXY_V2_MORE;
    size = FIXED_SIZE + ((size_t)bytes.data[14] << 8 | bytes.data[15]);
    if (size > PROXY_V2_HEADER_MAX)
        return -EPROTO;
    if (bytes.size < size)
        return PROXY_V2_MORE;
    rest = span_skip(span_first(bytes, size), FIXED_SIZE);
    facts.local = bytes.data[12] == COMMAND_LOCAL;
    r = read_addresses(bytes.data[13] >> 4, &rest, &facts);
    if (r == 0)
        r = read_tlvs(rest, &facts);
    if (r < 0)
        return r;
    *ret_facts = facts;
    *ret_size = size;
    return PROXY_V2_READY;
}

const char *proxy_v2_address_text(const struct sockaddr_storage *address, char *into, size_t room)
{
    const struct sockaddr_in *inet = (const void *)address;
    const struct sockaddr_in6 *inet6 = (const void *)address;
    char host[INET6_ADDRSTRLEN];

    if (address->ss_family == AF_INET && inet_ntop(AF_INET, &inet->sin_addr, host, sizeof(host)))
        snprintf(into, room, "%s:%u", host, ntohs(inet->sin_port));
    else if (address->ss_family == AF_INET6 &&
             inet_ntop(AF_INET6, &inet6->sin6_addr, host, sizeof(host)))
        snprintf(into, room, "[%s]:%u", host, ntohs(inet6->sin6_port));
    else
        snprintf(into, room, "unknown");
    return into;
}

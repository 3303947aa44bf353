/* Addresses from the settings, and in words.
 *
 * Happy path: an item is taken apart and its first slot filled. Only a socket's path that is too
 * long can fail; a host name gives an empty slot, which the supervisor's answers fill. */
#include "proxy/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>

#include "proxy/base/paths.h"

size_t address_slot_count(const struct settings_backend *backend)
{
    return backend->address.count * ADDRESS_PER_ITEM;
}

size_t address_first_slot(const struct settings *settings, const struct settings_backend *backend)
{
    size_t slots = 0;

    for (const struct settings_backend *other = settings->backends; other != backend; other++)
        slots += address_slot_count(other);
    return slots;
}

bool address_host_port(const char *item, char host[256], char port[8])
{
    const char *colon = strrchr(item, ':');
    size_t size = colon ? (size_t)(colon - item) : 0;

    if (size > 0 && item[0] == '[') {
        if (size < 3 || item[size - 1] != ']')
            return false;
        item++;
        size -= 2;
    }
    if (size == 0 || size >= 256 || item[0] == '/' || strncmp(item, "unix:", 5) == 0 ||
        strlen(colon + 1) < 1 || strlen(colon + 1) >= 8)
        return false;
    memcpy(host, item, size);
    host[size] = '\0';
    strcpy(port, colon + 1);
    return true;
}

/* False: it is a name. */
static bool set_numeric(const char *host, const char *port, struct address *address)
{
    uint16_t number = htons((uint16_t)strtoul(port, NULL, 10));

    if (inet_pton(AF_INET, host, &address->to.in.sin_addr) == 1) {
        address->to.in.sin_family = AF_INET;
        address->to.in.sin_port = number;
        return true;
    }
    if (inet_pton(AF_INET6, host, &address->to.in6.sin6_addr) == 1) {
        address->to.in6.sin6_family = AF_INET6;
        address->to.in6.sin6_port = number;
        return true;
    }
    return false;
}

static int set_path(const char *path, struct address *address)
{
    if (strlen(path) >= sizeof(address->to.un.sun_path))
        return -ENAMETOOLONG;
    address->to.un.sun_family = AF_UNIX;
    strcpy(address->to.un.sun_path, path);
    return 0;
}

static int set_embedded(const struct settings *settings, const struct settings_backend *backend,
                        struct address *address)
{
    address->to.un.sun_family = AF_UNIX;
    return embedded_socket_path(settings->gatepost.runtime_dir, backend->name,
                                address->to.un.sun_path, sizeof(address->to.un.sun_path));
}

int address_of_slot(const struct settings *settings, const struct settings_backend *backend,
                    size_t number, struct address *ret_address)
{
    struct address address = { 0 };
    char host[256], port[8];
    const char *item;
    int r = 0;

    if (number % ADDRESS_PER_ITEM == 0 && number < address_slot_count(backend)) {
        item = backend->address.items[number / ADDRESS_PER_ITEM];
        if (settings_backend_embedded(backend))
            r = set_embedded(settings, backend, &address);
        else if (strncmp(item, "unix:", 5) == 0)
            r = set_path(item + 5, &address);
        else if (!address_host_port(item, host, port) || !set_numeric(host, port, &address))
            address = (struct address){ 0 };
    }
    if (r == 0)
        *ret_address = address;
    return r;
}

void address_text(const struct address *address, char into[ADDRESS_TEXT_MAX])
{
    char host[INET6_ADDRSTRLEN] = "";

    switch (address->to.any.sa_family) {
    case AF_UNIX:
        snprintf(into, ADDRESS_TEXT_MAX, "unix:%.*s", (int)sizeof(address->to.un.sun_path),
                 address->to.un.sun_path);
        return;
    case AF_INET:
        inet_ntop(AF_INET, &address->to.in.sin_addr, host, sizeof(host));
        snprintf(into, ADDRESS_TEXT_MAX, "%s:%u", host, ntohs(address->to.in.sin_port));
        return;
    case AF_INET6:
        inet_ntop(AF_INET6, &address->to.in6.sin6_addr, host, sizeof(host));
        snprintf(into, ADDRESS_TEXT_MAX, "[%s]:%u", host, ntohs(address->to.in6.sin6_port));
        return;
    default:
        snprintf(into, ADDRESS_TEXT_MAX, "none");
    }
}

bool address_equal(const struct address *a, const struct address *b)
{
    const struct sockaddr_in6 *a6 = &a->to.in6, *b6 = &b->to.in6;

    if (a->to.any.sa_family != b->to.any.sa_family)
        return false;
    switch (a->to.any.sa_family) {
    case AF_UNIX:
        return strncmp(a->to.un.sun_path, b->to.un.sun_path, sizeof(a->to.un.sun_path)) == 0;
    case AF_INET:
        return a->to.in.sin_addr.s_addr == b->to.in.sin_addr.s_addr &&
               a->to.in.sin_port == b->to.in.sin_port;
    case AF_INET6:
        return memcmp(&a6->sin6_addr, &b6->sin6_addr, sizeof(a6->sin6_addr)) == 0 &&
               a6->sin6_port == b6->sin6_port && a6->sin6_scope_id == b6->sin6_scope_id;
    default:
        return true; /* both empty */
    }
}

struct address address_of_ip(const struct address_ip *ip)
{
    struct address address = { 0 };

    if (ip->to.any.sa_family == AF_INET)
        address.to.in = ip->to.in;
    else if (ip->to.any.sa_family == AF_INET6)
        address.to.in6 = ip->to.in6;
    return address;
}

static bool ip_equal(const struct address_ip *a, const struct address_ip *b)
{
    struct address one = address_of_ip(a), other = address_of_ip(b);

    return address_equal(&one, &other);
}

static bool is_among(const struct address_ip *ip, const struct address_ip *others, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (ip_equal(ip, &others[i]))
            return true;
    return false;
}

unsigned address_assign(const struct address_ip *answers, size_t count,
                        struct address_ip slots[ADDRESS_PER_ITEM])
{
    static const struct address_ip empty;
    struct address_ip before[ADDRESS_PER_ITEM];
    unsigned changed = 0;

    memcpy(before, slots, sizeof(before));
    for (size_t i = 0; i < ADDRESS_PER_ITEM; i++)
        if (!is_among(&slots[i], answers, count))
            slots[i] = empty;
    for (size_t i = 0, room = 0; i < count; i++) {
        if (ip_equal(&answers[i], &empty) || is_among(&answers[i], slots, ADDRESS_PER_ITEM))
            continue;
        while (room < ADDRESS_PER_ITEM && !ip_equal(&slots[room], &empty))
            room++;
        if (room < ADDRESS_PER_ITEM)
            slots[room] = answers[i];
    }
    for (size_t i = 0; i < ADDRESS_PER_ITEM; i++)
        changed |= ip_equal(&slots[i], &before[i]) ? 0 : 1u << i;
    return changed;
}

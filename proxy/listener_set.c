/* Binding: public TCP ports on each address. The embedded workers' UNIX sockets are bound by
 * listener_set_embedded.c.
 *
 * All are tried, so that one run names every port that is in use; then either all are open or none.
 * A missing address family is a log line. What the set before has as well is the same socket, by
 * another descriptor: each set closes its own. */
#include "proxy/listener_set_private.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/port_owner.h"

#define LISTENERS_MAX  (CHILD_FDS_MAX - 3) /* beside log, bundle and shared memory */
#define PUBLIC_BACKLOG 4096

static int parse_address(const char *text, unsigned port, struct sockaddr_storage *ret_address,
                         socklen_t *ret_size)
{
    struct addrinfo hints = { .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE,
                              .ai_socktype = SOCK_STREAM };
    struct addrinfo *found;
    char service[16];

    snprintf(service, sizeof(service), "%u", port);
    if (getaddrinfo(text, service, &hints, &found) != 0)
        return -EINVAL;
    memcpy(ret_address, found->ai_addr, found->ai_addrlen);
    *ret_size = found->ai_addrlen;
    freeaddrinfo(found);
    return 0;
}

/* `shared`: with SO_REUSEPORT, for the moment. */
static int bind_public(const struct sockaddr_storage *address, socklen_t size, int shared)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, r;

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &shared, sizeof(shared)) < 0 ||
        (address->ss_family == AF_INET6 &&
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0) ||
        bind(fd, (const struct sockaddr *)address, size) < 0 || listen(fd, PUBLIC_BACKLOG) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    return fd;
}

static bool is_any(const struct sockaddr_storage *address)
{
    if (address->ss_family == AF_INET6)
        return IN6_IS_ADDR_UNSPECIFIED(&((const struct sockaddr_in6 *)address)->sin6_addr);
    return ((const struct sockaddr_in *)address)->sin_addr.s_addr == INADDR_ANY;
}

/* Is it the machine that has no such family? "::1" and "::" are no use of a particular address. */
static bool family_missing(const struct sockaddr_storage *address, int error)
{
    bool loopback6 = address->ss_family == AF_INET6 &&
                     IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)address)->sin6_addr);

    return error == -EAFNOSUPPORT || (error == -EADDRNOTAVAIL && (is_any(address) || loopback6));
}

static const char *rule_text(const struct settings_listen *rule)
{
    if (protocol_is_relayed(rule->protocol))
        return rule->protocol == PROTOCOL_REMOTE ? "remote" : "opaque";
    switch (rule->tls) {
    case TLS_RULE_IMPLICIT:
        return "TLS first";
    case TLS_RULE_OFF:
        return "no TLS";
    case TLS_RULE_STARTTLS:
        break;
    }
    return rule->protocol == PROTOCOL_SMTP ? "STARTTLS" : "STLS";
}

void listener_set_tell_error(const struct opening *opening, const char *format, ...)
{
    char room[LOG_LINE_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(room, sizeof(room), format, arguments);
    va_end(arguments);
    log_line(LOG_LEVEL_ERROR, "%s", room);
    if (opening->start->words)
        text_printf(opening->start->words, "%s\n", room);
}

static void tell_failure(const struct opening *opening, const struct settings_listen *rule,
                         const char *address, unsigned port, int error)
{
    char room[128];
    struct text owner = TEXT_OVER(room);

    switch (error) {
    case -EADDRINUSE:
        port_owner_describe(port, &owner);
        listener_set_tell_error(opening, "port %u (%s, %s) is in use by %s", port, rule->name,
                                address, text_str(&owner));
        return;
    case -EACCES:
        listener_set_tell_error(opening,
                                "port %u (%s): ports below 1024 need root or CAP_NET_BIND_SERVICE; "
                                "for a trial set [gatepost] port_offset = 20000",
                                port, rule->name);
        return;
    case -EADDRNOTAVAIL:
        listener_set_tell_error(opening, "port %u (%s): this machine has no address %s", port,
                                rule->name, address);
        return;
    default:
        listener_set_tell_error(opening, "port %u (%s, %s): %s", port, rule->name, address,
                                err_text(error));
    }
}

/* The socket that the set before has at this address, or -1. */
static int find_public(const struct listener_set *before, const char *address)
{
    for (size_t i = 0; before && i < before->public_count; i++)
        if (strcmp(before->publics[i].address, address) == 0)
            return before->publics[i].fd;
    return -1;
}

/* Sets SO_REUSEPORT of those sockets of the set before that are in the way of `address`: the same
 * port on all addresses, where it is a single one now, or the other way round. */
static size_t share_port(const struct listener_set *before, const struct sockaddr_storage *address,
                         unsigned port, int on)
{
    size_t count = 0;

    for (size_t i = 0; before && i < before->public_count; i++) {
        struct sockaddr_storage other;
        socklen_t size = sizeof(other);
        int fd = before->publics[i].fd;

        if (before->publics[i].port != port ||
            getsockname(fd, (struct sockaddr *)&other, &size) < 0 ||
            other.ss_family != address->ss_family || is_any(&other) == is_any(address))
            continue;
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on));
        count++;
    }
    return count;
}

/* A bind that changes from all addresses to single ones, or back, is possible without a moment in
 * which nobody listens. */
static int bind_beside(const struct listener_set *before, const struct sockaddr_storage *address,
                       socklen_t size, unsigned port)
{
    int off = 0, fd = -EADDRINUSE;

    if (share_port(before, address, port, 1) > 0)
        fd = bind_public(address, size, 1);
    share_port(before, address, port, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &off, sizeof(off));
    return fd;
}

static int take_or_bind(const struct listener_set_start *start, const char *name,
                        const struct sockaddr_storage *address, socklen_t size, unsigned port)
{
    int fd = start->activation ? activation_take(start->activation, address, PUBLIC_BACKLOG)
                               : -ENOENT,
        r;

    if (fd != -ENOENT)
        return fd;
    fd = find_public(start->before, name);
    if (fd >= 0) {
        fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
        return fd < 0 ? -errno : fd;
    }
    r = bind_public(address, size, 0);
    return r == -EADDRINUSE ? bind_beside(start->before, address, size, port) : r;
}

/* Opens one address of one port. 0 also where the family is missing. */
static int open_address(const struct opening *opening, const struct settings_listen *rule,
                        const char *text, unsigned port)
{
    struct listener_set *set = opening->set;
    struct public_listener *listener = &set->publics[set->public_count];
    struct sockaddr_storage address;
    socklen_t size;
    int r = parse_address(text, port, &address, &size);

    *listener = (struct public_listener){ .rule = rule, .port = port };
    snprintf(listener->address, sizeof(listener->address), strchr(text, ':') ? "[%s]:%u" : "%s:%u",
             text, port);
    if (r == 0)
        r = take_or_bind(opening->start, listener->address, &address, size, port);
    if (r < 0 && r != -EINVAL && family_missing(&address, r)) {
        log_line(LOG_LEVEL_NOTICE, "port %u (%s) is not open on %s: this machine has no %s", port,
                 rule->name, text, address.ss_family == AF_INET6 ? "IPv6" : "IPv4");
        return 0;
    }
    if (r < 0) {
        tell_failure(opening, rule, text, port, r);
        return r;
    }
    listener->fd = r;
    set->public_count++;
    return 0;
}

static const struct settings_list *addresses_of(const struct settings *settings,
                                                const struct settings_listen *rule)
{
    return rule->bind.count > 0 ? &rule->bind : &settings->gatepost.bind;
}

static int open_port(const struct opening *opening, const struct settings_listen *rule)
{
    const struct settings *settings = opening->start->settings;
    struct listener_set *set = opening->set;
    const struct settings_list *addresses = addresses_of(settings, rule);
    size_t before = set->public_count;
    int r = 0;

    for (size_t i = 0; i < addresses->count; i++) {
        int error =
            open_address(opening, rule, addresses->items[i], settings_listen_port(settings, rule));

        if (error < 0)
            r = error;
    }
    if (r == 0 && set->public_count == before) {
        listener_set_tell_error(opening, "port %u (%s) could be opened on no address",
                                settings_listen_port(settings, rule), rule->name);
        r = -EADDRNOTAVAIL;
    }
    if (r == 0)
        set->port_count++;
    return r;
}

/* Was the port of that name closed for the same reason? */
static bool was_closed(const struct settings *before, const struct settings_listen *rule)
{
    for (size_t i = 0; before && i < before->listen_count; i++)
        if (strcmp(before->listens[i].name, rule->name) == 0)
            return !settings_listen_open(before, &before->listens[i]) &&
                   before->listens[i].enabled == rule->enabled;
    return false;
}

void listener_set_tell_closed(const struct settings *settings, const struct settings *before)
{
    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct settings_listen *rule = &settings->listens[i];
        unsigned port = settings_listen_port(settings, rule);

        if (settings_listen_open(settings, rule) || was_closed(before, rule))
            continue;
        if (!rule->enabled)
            log_line(LOG_LEVEL_INFO, "port %u (%s) is not opened: enabled = no", port, rule->name);
        else
            log_line(LOG_LEVEL_NOTICE, "port %u (%s) is not opened: [backend %s] has no address",
                     port, rule->name, rule->backend);
    }
}

static int open_publics(const struct opening *opening)
{
    const struct settings *settings = opening->start->settings;
    struct listener_set *set = opening->set;
    size_t room = 0;
    int r = 0;

    for (size_t i = 0; i < settings->listen_count; i++)
        room += addresses_of(settings, &settings->listens[i])->count;
    set->publics = calloc(room + 1, sizeof(*set->publics));
    if (!set->publics)
        return -ENOMEM;
    for (size_t i = 0; i < settings->listen_count; i++) {
        int error = 0;

        if (settings_listen_open(settings, &settings->listens[i]))
            error = open_port(opening, &settings->listens[i]);
        if (error < 0 && r != -EADDRINUSE)
            r = error;
    }
    return r;
}

void listener_set_tell_open(const struct listener_set *set, const struct listener_set *before)
{
    for (size_t i = 0; i < set->public_count; i++)
        if (find_public(before, set->publics[i].address) < 0)
            log_line(LOG_LEVEL_INFO, "listening on %s (%s, %s)", set->publics[i].address,
                     set->publics[i].rule->name, rule_text(set->publics[i].rule));
}

int listener_set_open(const struct listener_set_start *start, struct listener_set *ret_set)
{
    struct listener_set set = { .settings = start->settings };
    struct opening opening = { &set, start };
    int r, error;

    listener_set_tell_closed(start->settings, start->before ? start->before->settings : NULL);
    r = open_publics(&opening);
    error = listener_set_open_embedded(&opening);
    if (r == 0)
        r = error;
    if (r == 0 && set.public_count > LISTENERS_MAX) {
        listener_set_tell_error(&opening, "%zu addresses to listen on: %d are possible",
                                set.public_count, LISTENERS_MAX);
        r = -E2BIG;
    }
    if (r < 0) {
        listener_set_deinit(&set);
        return r;
    }
    *ret_set = set;
    return 0;
}

void listener_set_close_public(struct listener_set *set)
{
    for (size_t i = 0; i < set->public_count; i++)
        close(set->publics[i].fd);
    set->public_count = 0;
}

void listener_set_deinit(struct listener_set *set)
{
    listener_set_close_public(set);
    for (size_t i = 0; i < set->embedded_count; i++)
        listener_set_close_embedded(&set->embedded[i]);
    free(set->publics);
    free(set->embedded);
    *set = (struct listener_set){ 0 };
}

/* Binding: public TCP ports on each address, and the embedded workers' UNIX sockets.
 *
 * All are tried, so that one run names every port that is in use; then either all are open or none.
 * A missing address family is a log line. A UNIX socket's file that is left from before is replaced
 * when nobody listens on it. */
#include "proxy/listener_set.h"

#include <errno.h>
#include <net/if.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/paths.h"
#include "proxy/port_owner.h"

#define PUBLIC_BACKLOG   4096
#define EMBEDDED_BACKLOG 4096

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

static int bind_public(const struct sockaddr_storage *address, socklen_t size)
{
    int fd = socket(address->ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), on = 1, r;

    if (fd < 0)
        return -errno;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0 ||
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
    if (rule->protocol == PROTOCOL_OPAQUE)
        return "opaque";
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

static void tell_failure(const struct settings_listen *rule, const char *address, unsigned port,
                         int error)
{
    char room[128];
    struct text owner = TEXT_OVER(room);

    switch (error) {
    case -EADDRINUSE:
        port_owner_describe(port, &owner);
        log_line(LOG_LEVEL_ERROR, "port %u (%s, %s) is in use by %s", port, rule->name, address,
                 text_str(&owner));
        return;
    case -EACCES:
        log_line(LOG_LEVEL_ERROR,
                 "port %u (%s): ports below 1024 need root or CAP_NET_BIND_SERVICE; "
                 "for a trial set [gatepost] port_offset = 20000",
                 port, rule->name);
        return;
    case -EADDRNOTAVAIL:
        log_line(LOG_LEVEL_ERROR, "port %u (%s): this machine has no address %s", port, rule->name,
                 address);
        return;
    default:
        log_line(LOG_LEVEL_ERROR, "port %u (%s, %s): %s", port, rule->name, address,
                 err_text(error));
    }
}

/* Opens one address of one port. 0 also where the family is missing. */
static int open_address(struct listener_set *set, const struct settings_listen *rule,
                        const char *text, unsigned port)
{
    struct public_listener *listener = &set->publics[set->public_count];
    struct sockaddr_storage address;
    socklen_t size;
    int r = parse_address(text, port, &address, &size);

    if (r == 0)
        r = bind_public(&address, size);
    if (r < 0 && r != -EINVAL && family_missing(&address, r)) {
        log_line(LOG_LEVEL_NOTICE, "port %u (%s) is not open on %s: this machine has no %s", port,
                 rule->name, text, address.ss_family == AF_INET6 ? "IPv6" : "IPv4");
        return 0;
    }
    if (r < 0) {
        tell_failure(rule, text, port, r);
        return r;
    }
    *listener = (struct public_listener){ .rule = rule, .fd = r };
    snprintf(listener->address, sizeof(listener->address), strchr(text, ':') ? "[%s]:%u" : "%s:%u",
             text, port);
    set->public_count++;
    return 0;
}

static const struct settings_list *addresses_of(const struct settings *settings,
                                                const struct settings_listen *rule)
{
    return rule->bind.count > 0 ? &rule->bind : &settings->gatepost.bind;
}

static int open_port(const struct settings *settings, const struct settings_listen *rule,
                     struct listener_set *set)
{
    const struct settings_list *addresses = addresses_of(settings, rule);
    size_t before = set->public_count;
    int r = 0;

    for (size_t i = 0; i < addresses->count; i++) {
        int error =
            open_address(set, rule, addresses->items[i], settings_listen_port(settings, rule));

        if (error < 0)
            r = error;
    }
    if (r == 0 && set->public_count == before) {
        log_line(LOG_LEVEL_ERROR, "port %u (%s) could be opened on no address",
                 settings_listen_port(settings, rule), rule->name);
        r = -EADDRNOTAVAIL;
    }
    if (r == 0)
        set->port_count++;
    return r;
}

void listener_set_tell_closed(const struct settings *settings)
{
    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct settings_listen *rule = &settings->listens[i];
        unsigned port = settings_listen_port(settings, rule);

        if (settings_listen_open(settings, rule))
            continue;
        if (!rule->enabled)
            log_line(LOG_LEVEL_INFO, "port %u (%s) is not opened: enabled = no", port, rule->name);
        else
            log_line(LOG_LEVEL_NOTICE, "port %u (%s) is not opened: [backend %s] has no address",
                     port, rule->name, rule->backend);
    }
}

static int open_publics(const struct settings *settings, struct listener_set *set)
{
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
            error = open_port(settings, &settings->listens[i], set);
        if (error < 0 && r != -EADDRINUSE)
            r = error;
    }
    return r;
}

/* Does somebody accept on this socket? A file that nobody does is left from a process that was
 * killed. */
static bool is_served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool served;

    if (fd < 0)
        return true;
    served = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0 ||
             errno != ECONNREFUSED; /* EAGAIN: its queue is full, somebody listens */
    close(fd);
    return served;
}

static int clear_stale(const struct sockaddr_un *address)
{
    struct stat status;

    if (lstat(address->sun_path, &status) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (!S_ISSOCK(status.st_mode))
        return -EEXIST;
    if (is_served(address))
        return -EADDRINUSE;
    return unlink(address->sun_path) < 0 ? -errno : 0;
}

/* Mode and owner are set before listen(): nobody else can get in between. */
static int bind_embedded(const struct sockaddr_un *address, const struct privileges *privileges)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), r;

    if (fd < 0)
        return -errno;
    if (bind(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
        r = -errno;
        close(fd);
        return r;
    }
    if ((privileges->drop &&
         lchown(address->sun_path, privileges->proxy.uid, privileges->proxy.gid) < 0) ||
        chmod(address->sun_path, 0600) < 0 || listen(fd, EMBEDDED_BACKLOG) < 0) {
        r = -errno;
        unlink(address->sun_path);
        close(fd);
        return r;
    }
    return fd;
}

static int open_embedded(const struct settings *settings, const struct settings_backend *backend,
                         enum port_protocol protocol, const struct privileges *privileges,
                         struct embedded_listener *ret_listener)
{
    struct embedded_listener listener = { .backend = backend, .protocol = protocol };
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct stat status;
    int r = embedded_socket_path(settings->gatepost.runtime_dir, backend->name, listener.path,
                                 sizeof(listener.path));

    if (r < 0)
        return r;
    memcpy(address.sun_path, listener.path, sizeof(listener.path));
    r = clear_stale(&address);
    if (r == 0)
        r = bind_embedded(&address, privileges);
    if (r < 0)
        return r;
    listener.fd = r;
    if (lstat(listener.path, &status) == 0) {
        listener.device = status.st_dev;
        listener.inode = status.st_ino;
    }
    *ret_listener = listener;
    return 0;
}

static void tell_embedded_failure(const struct settings *settings,
                                  const struct settings_backend *backend, int error)
{
    const char *why = error == -EEXIST       ? "it is there and no socket"
                      : error == -EADDRINUSE ? "another process listens on it"
                                             : err_text(error);

    log_line(LOG_LEVEL_ERROR, "socket %s/%s.sock of [backend %s]: %s",
             settings->gatepost.runtime_dir, backend->name, backend->name, why);
}

static int open_all_embedded(const struct settings *settings, const struct privileges *privileges,
                             struct listener_set *set)
{
    int r = 0;

    set->embedded = calloc(settings->backend_count + 1, sizeof(*set->embedded));
    if (!set->embedded)
        return -ENOMEM;
    for (size_t i = 0; i < settings->backend_count; i++) {
        const struct settings_backend *backend = &settings->backends[i];
        enum port_protocol protocol;
        int error;

        if (!settings_backend_embedded(backend) ||
            !settings_backend_protocol(settings, backend, &protocol))
            continue;
        error = open_embedded(settings, backend, protocol, privileges,
                              &set->embedded[set->embedded_count]);
        if (error == 0)
            set->embedded_count++;
        else
            tell_embedded_failure(settings, backend, r = error);
    }
    return r;
}

int listener_set_open(const struct settings *settings, const struct privileges *privileges,
                      struct listener_set *ret_set)
{
    struct listener_set set = { 0 };
    int r, error;

    listener_set_tell_closed(settings);
    r = open_publics(settings, &set);
    error = open_all_embedded(settings, privileges, &set);
    if (r == 0)
        r = error;
    if (r == 0 && set.public_count + set.embedded_count + 3 > CHILD_FDS_MAX) {
        log_line(LOG_LEVEL_ERROR, "%zu addresses to listen on: %d are possible", set.public_count,
                 CHILD_FDS_MAX - 3);
        r = -E2BIG;
    }
    if (r < 0) {
        listener_set_deinit(&set);
        return r;
    }
    for (size_t i = 0; i < set.public_count; i++)
        log_line(LOG_LEVEL_INFO, "listening on %s (%s, %s)", set.publics[i].address,
                 set.publics[i].rule->name, rule_text(set.publics[i].rule));
    *ret_set = set;
    return 0;
}

void listener_set_close_public(struct listener_set *set)
{
    for (size_t i = 0; i < set->public_count; i++)
        close(set->publics[i].fd);
    set->public_count = 0;
}

/* Another gatepost may have put its own in the place. */
static void remove_socket(const struct embedded_listener *listener)
{
    struct stat status;

    if (lstat(listener->path, &status) == 0 && status.st_dev == listener->device &&
        status.st_ino == listener->inode)
        unlink(listener->path);
}

void listener_set_deinit(struct listener_set *set)
{
    listener_set_close_public(set);
    for (size_t i = 0; i < set->embedded_count; i++) {
        remove_socket(&set->embedded[i]);
        close(set->embedded[i].fd);
    }
    free(set->publics);
    free(set->embedded);
    *set = (struct listener_set){ 0 };
}

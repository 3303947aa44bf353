/* Descriptors from 3 on, matched to listeners by what they are bound to.
 *
 * Happy path: LISTEN_PID is our own pid; each descriptor is a TCP socket that listens, of one
 * address family; activation_take() hands out a copy. Whatever else was passed is told in words,
 * all of it in one run. */
#include "proxy/activation.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define FIRST_FD   3
#define FDS_MAX    1000 /* more is no count */
#define NAME_SHOWN 32   /* octets of a name, of which each may take four in the log */

struct description {
    char room[256];
};

static unsigned port_of(const struct sockaddr_storage *address)
{
    return ntohs(address->ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)address)->sin6_port
                                                : ((const struct sockaddr_in *)address)->sin_port);
}

static bool is_tcp_family(const struct sockaddr_storage *address)
{
    return address->ss_family == AF_INET || address->ss_family == AF_INET6;
}

static void put_address(const struct sockaddr_storage *address, struct text *into)
{
    char host[INET6_ADDRSTRLEN] = "?";
    bool six = address->ss_family == AF_INET6;

    inet_ntop(address->ss_family,
              six ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                  : (const void *)&((const struct sockaddr_in *)address)->sin_addr,
              host, sizeof(host));
    text_printf(into, six ? "[%s]:%u" : "%s:%u", host, port_of(address));
}

/* "socket 0.0.0.0:2525 of gatepost.socket (descriptor 4)" */
static const char *describe(const struct activation_socket *socket, struct description *into)
{
    struct text text = TEXT_OVER(into->room);

    text_puts(&text, "socket ");
    if (is_tcp_family(&socket->address)) {
        put_address(&socket->address, &text);
        text_puts(&text, " ");
    }
    if (socket->name[0])
        text_printf(&text, "of %s ", socket->name);
    text_printf(&text, "(descriptor %d)", socket->fd);
    return text_str(&text);
}

/* -- what may be a listener -- */

static int integer_option(int fd, int level, int name)
{
    int value = 0;
    socklen_t size = sizeof(value);

    return getsockopt(fd, level, name, &value, &size) < 0 ? -1 : value;
}

/* A socket for both families would give a listener clients of an address that is not its own. */
static bool is_dual(const struct activation_socket *socket)
{
    const struct sockaddr_in6 *six = (const struct sockaddr_in6 *)&socket->address;

    return IN6_IS_ADDR_UNSPECIFIED(&six->sin6_addr) &&
           integer_option(socket->fd, IPPROTO_IPV6, IPV6_V6ONLY) != 1;
}

/* What is wrong with it, or NULL. `own`: of the gatepost before. */
static const char *fault_of(struct activation_socket *socket, bool own)
{
    socklen_t size = sizeof(socket->address);

    if (fcntl(socket->fd, F_GETFD) < 0)
        return "is not open";
    if (getsockname(socket->fd, (struct sockaddr *)&socket->address, &size) < 0)
        return "is no socket";
    if (!(is_tcp_family(&socket->address) || (own && socket->address.ss_family == AF_UNIX)) ||
        integer_option(socket->fd, SOL_SOCKET, SO_TYPE) != SOCK_STREAM)
        return "is of no TCP port: only ports can be passed";
    if (integer_option(socket->fd, SOL_SOCKET, SO_ACCEPTCONN) != 1)
        return "does not listen: a connection cannot be passed, set Accept=no";
    if (socket->address.ss_family == AF_INET6 && is_dual(socket))
        return "is for IPv4 too: set BindIPv6Only=ipv6-only, and a ListenStream of its own for "
               "IPv4";
    return NULL;
}

static int prepare(struct activation_socket *socket, bool own)
{
    struct description description;
    const char *fault = fault_of(socket, own);
    int flags;

    if (fault) {
        log_line(LOG_LEVEL_ERROR, "%s passed what is of no use: %s %s",
                 own ? "the gatepost before" : "the service manager",
                 describe(socket, &description), fault);
        return -EINVAL;
    }
    flags = fcntl(socket->fd, F_GETFL);
    if (flags < 0 || fcntl(socket->fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
        fcntl(socket->fd, F_SETFD, FD_CLOEXEC) < 0)
        return -errno;
    return 0;
}

/* -- the environment -- */

/* 0 where it was meant for another process, or is not there; negative where it is no count. */
static long passed_count(void)
{
    const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");
    char *end;
    long count;

    if (!pid || !fds || strtol(pid, &end, 10) != (long)getpid() || *end)
        return 0;
    count = strtol(fds, &end, 10);
    if (end != fds && !*end && count >= 0 && count <= FDS_MAX)
        return count;
    log_line(LOG_LEVEL_ERROR, "LISTEN_FDS is no count of descriptors");
    return -EINVAL;
}

/* Takes the next of the names, which colons separate. */
static void take_name(const char **names, struct activation_socket *socket)
{
    struct text text = TEXT_OVER(socket->name);
    size_t length;

    if (!*names)
        return;
    length = strcspn(*names, ":");
    text_put_escaped(&text, span_of(*names, length), NAME_SHOWN);
    text_str(&text);
    *names = (*names)[length] ? *names + length + 1 : NULL;
}

static int take_all(struct activation *activation, size_t count)
{
    const char *names = getenv("LISTEN_FDNAMES");
    int r = 0;

    activation->sockets = calloc(count, sizeof(*activation->sockets));
    if (!activation->sockets)
        return -ENOMEM;
    for (size_t i = 0; i < count; i++) {
        struct activation_socket *socket = &activation->sockets[activation->count++];
        int error;

        socket->fd = FIRST_FD + (int)i;
        take_name(&names, socket);
        error = prepare(socket, i >= activation->from_manager);
        if (error < 0)
            r = error;
    }
    return r;
}

int activation_init(struct activation *ret_activation)
{
    return activation_init_upgrade(FDS_MAX, ret_activation);
}

int activation_init_upgrade(size_t from_manager, struct activation *ret_activation)
{
    struct activation activation = { .from_manager = from_manager };
    long count = passed_count();
    int r = count < 0 ? (int)count : 0;

    if (count > 0)
        r = take_all(&activation, (size_t)count);
    if (activation.from_manager > activation.count)
        activation.from_manager = activation.count;
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    unsetenv("LISTEN_FDNAMES");
    if (r < 0)
        activation_deinit(&activation);
    else
        *ret_activation = activation;
    return r;
}

void activation_deinit(struct activation *activation)
{
    for (size_t i = 0; i < activation->count; i++)
        close(activation->sockets[i].fd);
    free(activation->sockets);
    *activation = (struct activation){ 0 };
}

void activation_forget_own(struct activation *activation)
{
    for (size_t i = activation->from_manager; i < activation->count; i++)
        close(activation->sockets[i].fd);
    activation->count = activation->from_manager;
}

/* -- matching -- */

static bool same_address(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
    const struct sockaddr_in6 *a6 = (const struct sockaddr_in6 *)a;
    const struct sockaddr_in6 *b6 = (const struct sockaddr_in6 *)b;

    if (a->ss_family != b->ss_family || port_of(a) != port_of(b))
        return false;
    if (a->ss_family == AF_INET)
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    return IN6_ARE_ADDR_EQUAL(&a6->sin6_addr, &b6->sin6_addr) &&
           a6->sin6_scope_id == b6->sin6_scope_id;
}

int activation_take(struct activation *activation, const struct sockaddr_storage *address,
                    int backlog)
{
    for (size_t i = 0; i < activation->count; i++) {
        struct activation_socket *socket = &activation->sockets[i];
        int fd;

        if (!same_address(&socket->address, address))
            continue;
        socket->taken = true;
        fd = fcntl(socket->fd, F_DUPFD_CLOEXEC, FIRST_FD);
        if (fd < 0 || listen(fd, backlog) == 0)
            return fd < 0 ? -errno : fd;
        close(fd);
        return -errno;
    }
    return -ENOENT;
}

int activation_take_path(struct activation *activation, const char *path, const char *kind)
{
    for (size_t i = 0; i < activation->count; i++) {
        struct activation_socket *socket = &activation->sockets[i];
        const struct sockaddr_un *address = (const struct sockaddr_un *)&socket->address;
        int fd;

        if (socket->address.ss_family != AF_UNIX || strcmp(address->sun_path, path) != 0)
            continue;
        if (strcmp(socket->name, kind) != 0)
            return -EPROTOTYPE;
        socket->taken = true;
        fd = fcntl(socket->fd, F_DUPFD_CLOEXEC, FIRST_FD);
        return fd < 0 ? -errno : fd;
    }
    return -ENOENT;
}

/* The section whose port this is, open or not; NULL where it is nobody's. */
static const struct settings_listen *listen_of(const struct settings *settings, unsigned port)
{
    for (size_t i = 0; i < settings->listen_count; i++)
        if (settings_listen_port(settings, &settings->listens[i]) == port)
            return &settings->listens[i];
    return NULL;
}

static void say(struct text *words, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* In the log, and to whoever asked for a reload. */
static void say(struct text *words, const char *format, ...)
{
    char room[512];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(room, sizeof(room), format, arguments);
    va_end(arguments);
    log_line(LOG_LEVEL_ERROR, "%s", room);
    if (words)
        text_printf(words, "%s\n", room);
}

static void tell_stray(const struct activation_socket *socket, const struct settings *settings,
                       struct text *words)
{
    struct description description;
    const struct settings_listen *rule = listen_of(settings, port_of(&socket->address));
    const char *what = describe(socket, &description);

    if (!rule)
        say(words, "%s fits no listener: no [listen] section has this port", what);
    else if (!rule->enabled)
        say(words, "%s fits no listener: [listen %s] has enabled = no", what, rule->name);
    else if (!settings_listen_open(settings, rule))
        say(words, "%s fits no listener: [backend %s], which is behind [listen %s], has no address",
            what, rule->backend, rule->name);
    else
        say(words,
            "%s fits no listener: `bind` of [listen %s] does not have this address, or it was "
            "passed twice",
            what, rule->name);
}

void activation_offer(struct activation *activation)
{
    for (size_t i = 0; i < activation->count; i++)
        activation->sockets[i].taken = false;
}

int activation_check(const struct activation *activation, const struct settings *settings,
                     struct text *words)
{
    int r = 0;

    for (size_t i = 0; i < activation->from_manager; i++)
        if (!activation->sockets[i].taken) {
            tell_stray(&activation->sockets[i], settings, words);
            r = -EINVAL;
        }
    if (r < 0)
        say(words,
            "what the service manager has bound and nobody serves would keep clients waiting: take "
            "it out of the socket unit (systemctl edit), or change the settings");
    return r;
}

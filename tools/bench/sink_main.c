/* bench-sink: a canned POP3 and SMTP server for the bench, on TCP ports and UNIX sockets.
 *
 * Happy path: listeners are opened, and one epoll loop serves all connections, as fast as it can,
 * so that the proxy in front is what is measured. A connection is read only while nothing waits to
 * be sent. What it says and checks is in sink_session.c. */
#include <argp.h>
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "tools/bench/sink_session.h"

#define EVENTS_MOST  256
#define ACCEPTS_MOST 64 /* in one turn */
#define BACKLOG      4096

struct connection {
    int fd;
    bool listening;
    bool blocked; /* waits for room to send, and reads nothing */
    enum sink_protocol protocol;
    struct sink_session session;
};

static unsigned char read_room[262144];
static struct sink_ports ports;
static int epoll;

/* ---- listeners ---- */

static void give_up(const char *subject)
{
    fprintf(stderr, "bench-sink: %s: %s\n", subject, err_text(-errno));
    exit(EXIT_FAILURE);
}

static int socket_of_path(const char *path)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    if (snprintf(address.sun_path, sizeof(address.sun_path), "%s", path) >=
        (int)sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        give_up(path);
    }
    unlink(path);
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        chmod(path, 0777) != 0)
        give_up(path);
    return fd;
}

static int socket_of_port(const char *word)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)strtoul(word, NULL, 10));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (fd < 0 || bind(fd, (const struct sockaddr *)&address, sizeof(address)) != 0)
        give_up(word);
    return fd;
}

static void add_listener(const char *where, enum sink_protocol protocol)
{
    struct connection *listener = calloc(1, sizeof(*listener));
    struct epoll_event event = { .events = EPOLLIN, .data = { .ptr = listener } };

    if (!listener)
        give_up(where);
    listener->listening = true;
    listener->protocol = protocol;
    listener->fd = strchr(where, '/') ? socket_of_path(where) : socket_of_port(where);
    if (listen(listener->fd, BACKLOG) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, listener->fd, &event) != 0)
        give_up(where);
}

/* ---- connections ---- */

static void drop(struct connection *connection)
{
    sink_session_deinit(&connection->session);
    close(connection->fd);
    free(connection);
}

static void set_blocked(struct connection *connection, bool blocked)
{
    struct epoll_event event = { .events = blocked ? EPOLLOUT : EPOLLIN,
                                 .data = { .ptr = connection } };

    if (connection->blocked == blocked)
        return;
    connection->blocked = blocked;
    epoll_ctl(epoll, EPOLL_CTL_MOD, connection->fd, &event);
}

/* Sends a reply, its message and the dot together, as servers do. Returns 0 when all is gone or the
 * peer takes no more, or -errno. */
static int send_waiting(struct connection *connection)
{
    for (;;) {
        struct span pieces[SINK_PIECES];
        struct iovec vectors[SINK_PIECES];
        struct msghdr message = { .msg_iov = vectors };
        ssize_t size;

        message.msg_iovlen = sink_session_pieces(&connection->session, pieces);
        if (message.msg_iovlen == 0)
            break;
        for (size_t i = 0; i < message.msg_iovlen; i++)
            vectors[i] = (struct iovec){ (void *)(uintptr_t)pieces[i].data, pieces[i].size };
        size = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
        if (size < 0 && errno != EAGAIN)
            return -errno;
        if (size < 0) {
            set_blocked(connection, true);
            return 0;
        }
        sink_session_advance(&connection->session, (size_t)size);
    }
    set_blocked(connection, false);
    return connection->session.closing ? -ESHUTDOWN : 0;
}

static void begin(int fd, enum sink_protocol protocol)
{
    struct connection *connection = calloc(1, sizeof(*connection));
    struct epoll_event event = { .events = EPOLLIN, .data = { .ptr = connection } };
    int one = 1;

    if (!connection || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) != 0) {
        free(connection);
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    connection->fd = fd;
    sink_session_init(&connection->session, protocol, &ports);
    if (send_waiting(connection) < 0)
        drop(connection);
}

static void take_connections(const struct connection *listener)
{
    for (int i = 0; i < ACCEPTS_MOST; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return;
        begin(fd, listener->protocol);
    }
}

/* 0, or negative where the connection is to be closed. */
static int take_octets(struct connection *connection)
{
    ssize_t size = recv(connection->fd, read_room, sizeof(read_room), 0);

    if (size == 0)
        return -ECONNRESET;
    if (size < 0)
        return errno == EAGAIN ? 0 : -errno;
    return sink_session_take(&connection->session, span_of(read_room, (size_t)size));
}

static void serve(struct connection *connection)
{
    int status = 0;

    if (!connection->blocked)
        status = take_octets(connection);
    if (status == 0)
        status = send_waiting(connection);
    if (status < 0)
        drop(connection);
}

/* ---- the program ---- */

enum { KEY_POP3 = 1000, KEY_SMTP, KEY_AUTH, KEY_AUTH_POP3, KEY_AUTH_SMTP };

static const struct argp_option option_table[] = {
    { "pop3", KEY_POP3, "WHERE", 0, "serve POP3: a port of 127.0.0.1, or a path", 0 },
    { "smtp", KEY_SMTP, "WHERE", 0, "serve SMTP", 0 },
    { "nginx-auth", KEY_AUTH, "WHERE", 0, "tell nginx where mailboxes are", 0 },
    { "nginx-pop3", KEY_AUTH_POP3, "PORT", 0, "and this is where POP3 is", 0 },
    { "nginx-smtp", KEY_AUTH_SMTP, "PORT", 0, "and SMTP", 0 },
    { NULL, 0, NULL, 0, NULL, 0 }
};

static error_t take_option(int key, char *word, struct argp_state *state)
{
    (void)state;
    switch (key) {
    case KEY_POP3:
        add_listener(word, SINK_POP3);
        return 0;
    case KEY_SMTP:
        add_listener(word, SINK_SMTP);
        return 0;
    case KEY_AUTH:
        add_listener(word, SINK_NGINX_AUTH);
        return 0;
    case KEY_AUTH_POP3:
        ports.pop3 = (unsigned)strtoul(word, NULL, 10);
        return 0;
    case KEY_AUTH_SMTP:
        ports.smtp = (unsigned)strtoul(word, NULL, 10);
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void turn(void)
{
    struct epoll_event events[EVENTS_MOST];
    int count = epoll_wait(epoll, events, EVENTS_MOST, -1);

    if (count < 0 && errno != EINTR)
        give_up("epoll");
    for (int i = 0; i < count; i++) {
        struct connection *connection = events[i].data.ptr;

        if (connection->listening)
            take_connections(connection);
        else
            serve(connection);
    }
}

int main(int argc, char **argv)
{
    static const struct argp parser = { option_table, take_option,
                                        NULL,         "Serves canned mail on every place named.",
                                        NULL,         NULL,
                                        NULL };

    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    message_init();
    epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        give_up("epoll");
    argp_parse(&parser, argc, argv, 0, NULL, NULL);
    for (;;)
        turn();
}

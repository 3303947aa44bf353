/* A blocking connection with a timeout on each wait, buffered both ways.
 *
 * Happy path: what came with the PROXY header is read first, then the socket; output is sent when
 * much has gathered, or before a read that would have to wait. Fails with -ETIMEDOUT, or with the
 * -errno of the socket; a failed write makes every later one fail. */
#include "backends/connection.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <time.h>

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* Waits until `events` or an error. 0, -ETIMEDOUT or -errno. */
static int wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd poller = { .fd = fd, .events = events };
    long long deadline = now_ms() + timeout_ms;

    for (;;) {
        long long left = deadline - now_ms();
        int count = poll(&poller, 1, left > 0 ? (int)left : 0);

        if (count > 0)
            return 0;
        if (count == 0)
            return -ETIMEDOUT;
        if (errno != EINTR)
            return -errno;
    }
}

static long read_socket(struct connection *connection, void *room, size_t size, int timeout_ms)
{
    size_t wanted = size < connection->read_size ? size : connection->read_size;

    for (;;) {
        ssize_t count = recv(connection->fd, room, wanted, MSG_DONTWAIT);
        int r;

        if (count >= 0)
            return count;
        if (errno != EAGAIN && errno != EINTR)
            return -errno;
        r = wait_for(connection->fd, POLLIN, timeout_ms);
        if (r < 0)
            return r;
    }
}

int connection_read_header(struct connection *connection, int timeout_ms,
                           struct proxy_v2 *ret_client)
{
    long long deadline = now_ms() + timeout_ms;
    size_t size = 0;
    int r;

    while ((r = proxy_v2_read(span_of(connection->in, connection->in_end), ret_client, &size)) ==
           PROXY_V2_MORE) {
        long long left = deadline - now_ms();
        long count = left <= 0
                         ? -ETIMEDOUT
                         : read_socket(connection, connection->in + connection->in_end,
                                       sizeof(connection->in) - connection->in_end, (int)left);

        if (count <= 0)
            return count < 0 ? (int)count : -ECONNRESET;
        connection->in_end += (size_t)count;
    }
    connection->in_start = size;
    return r < 0 ? r : 0;
}

/* What was read together with the header. It may hold a password. */
static long take_held(struct connection *connection, void *room, size_t size)
{
    size_t count = connection->in_end - connection->in_start;

    if (count > size)
        count = size;
    if (count > connection->read_size)
        count = connection->read_size;
    memcpy(room, connection->in + connection->in_start, count);
    explicit_bzero(connection->in + connection->in_start, count);
    connection->in_start += count;
    return (long)count;
}

bool connection_input_waiting(struct connection *connection)
{
    unsigned char octet;

    return connection->in_start < connection->in_end ||
           recv(connection->fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

long connection_read(struct connection *connection, void *room, size_t size)
{
    int r;

    if (connection->in_start < connection->in_end)
        return take_held(connection, room, size);
    if (!connection_input_waiting(connection)) {
        r = connection_flush(connection);
        if (r < 0)
            return r;
    }
    return read_socket(connection, room, size, connection->read_timeout_ms);
}

static int send_octets(struct connection *connection, struct span octets)
{
    while (octets.size > 0) {
        ssize_t sent = send(connection->fd, octets.data, octets.size, MSG_DONTWAIT | MSG_NOSIGNAL);
        int r = 0;

        if (sent >= 0)
            octets = span_skip(octets, (size_t)sent);
        else if (errno == EAGAIN)
            r = wait_for(connection->fd, POLLOUT, connection->write_timeout_ms);
        else if (errno != EINTR)
            r = -errno;
        if (r < 0)
            return r;
    }
    return 0;
}

int connection_flush(struct connection *connection)
{
    if (connection->error == 0)
        connection->error = send_octets(connection, span_of(connection->out, connection->out_size));
    connection->out_size = 0;
    return connection->error;
}

int connection_write(struct connection *connection, struct span octets)
{
    while (octets.size > 0) {
        struct span part = span_first(octets, sizeof(connection->out) - connection->out_size);

        memcpy(connection->out + connection->out_size, part.data, part.size);
        connection->out_size += part.size;
        octets = span_skip(octets, part.size);
        if (connection->out_size == sizeof(connection->out) && connection_flush(connection) < 0)
            break;
    }
    return connection->error;
}

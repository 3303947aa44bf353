/* Output that waits in one buffer while input is read.
 *
 * Happy path: poll() for both directions, a non-blocking send of what waits, a non-blocking read.
 * Fails with the -errno of the socket, or -ETIMEDOUT when the client takes nothing for
 * write_timeout. */
#include "backends/remote_link.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

bool remote_link_has_room(const struct remote_link *link)
{
    return link->end - link->start + REMOTE_LINK_ROOM <= sizeof(link->out);
}

int remote_link_send(struct remote_link *link)
{
    while (link->start < link->end) {
        ssize_t sent = send(link->connection->fd, link->out + link->start, link->end - link->start,
                            MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent < 0 && errno == EAGAIN)
            return 0;
        if (sent < 0 && errno != EINTR)
            return -errno;
        link->start += sent > 0 ? (size_t)sent : 0;
    }
    link->start = link->end = 0;
    return 0;
}

static int wait_writable(const struct remote_link *link)
{
    struct pollfd poller = { .fd = link->connection->fd, .events = POLLOUT };
    int count = poll(&poller, 1, link->connection->write_timeout_ms);

    if (count < 0)
        return errno == EINTR ? 0 : -errno;
    return count > 0 ? 0 : -ETIMEDOUT;
}

int remote_link_flush(struct remote_link *link)
{
    int r = remote_link_send(link);

    while (r == 0 && link->start < link->end) {
        r = wait_writable(link);
        if (r == 0)
            r = remote_link_send(link);
    }
    return r;
}

static void move_to_front(struct remote_link *link)
{
    memmove(link->out, link->out + link->start, link->end - link->start);
    link->end -= link->start;
    link->start = 0;
}

int remote_link_write(struct remote_link *link, struct span octets)
{
    while (octets.size > 0) {
        struct span part;
        int r;

        if (link->end == sizeof(link->out) && link->start > 0)
            move_to_front(link);
        part = span_first(octets, sizeof(link->out) - link->end);
        if (part.size == 0) {
            r = wait_writable(link);
            if (r == 0)
                r = remote_link_send(link);
            if (r < 0)
                return r;
            continue;
        }
        memcpy(link->out + link->end, part.data, part.size);
        link->end += part.size;
        octets = span_skip(octets, part.size);
    }
    return 0;
}

long remote_link_read(struct remote_link *link, void *room, size_t size)
{
    struct connection *connection = link->connection;
    ssize_t count;

    if (connection->in_start < connection->in_end)
        return connection_read(connection, room, size); /* came with the PROXY header */
    if (size > connection->read_size)
        size = connection->read_size;
    count = recv(connection->fd, room, size, MSG_DONTWAIT);
    return count < 0 ? (errno == EINTR ? -EAGAIN : -errno) : count;
}

static int wait_timeout(const struct remote_link *link, int timeout_ms)
{
    return timeout_ms > 0 && link->start < link->end ? link->connection->write_timeout_ms
                                                     : timeout_ms;
}

int remote_link_wait(struct remote_link *link, bool reading, int timeout_ms)
{
    const struct connection *connection = link->connection;
    struct pollfd pollers[2] = { { .fd = connection->fd },
                                 { .fd = link->watched, .events = POLLIN } };
    int count, r;

    if (reading && connection->in_start < connection->in_end)
        return REMOTE_LINK_READABLE;
    pollers[0].events = (short)((reading ? POLLIN : 0) | (link->start < link->end ? POLLOUT : 0));
    count = poll(pollers, 2, wait_timeout(link, timeout_ms));
    if (count < 0)
        return errno == EINTR ? REMOTE_LINK_WRITTEN : -errno;
    if (count == 0)
        return timeout_ms > 0 && link->start < link->end ? -ETIMEDOUT : REMOTE_LINK_TIMEOUT;
    if (pollers[0].revents & POLLOUT) {
        r = remote_link_send(link);
        if (r < 0)
            return r;
    }
    if (reading && pollers[0].revents & (POLLIN | POLLHUP | POLLERR))
        return REMOTE_LINK_READABLE;
    if (pollers[0].revents & (POLLHUP | POLLERR) && !(pollers[0].revents & POLLOUT))
        return -ECONNRESET;
    return pollers[1].revents ? REMOTE_LINK_WATCHED : REMOTE_LINK_WRITTEN;
}

/* One stream over a real socket, with a real OpenSSL client in the same thread; for test_stream.c
 * and test_tls.c.
 *
 * The client's TLS works over memory BIOs, so that a test decides how its octets are cut and what
 * the wire carried. Nothing sleeps: run_until() polls both ends' descriptors, and gives up after 20
 * seconds. */
#ifndef GATEPOST_TESTS_STREAM_WORLD_H
#define GATEPOST_TESTS_STREAM_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>

#include "proxy/stream.h"
#include "proxy/tls.h"
#include "tests/lib/tls_fixture.h"

#define GIVE_UP_S 20

struct bytes {
    unsigned char *data;
    size_t size, room;
};

/* What one test works with: the stream under test, its event record, and the client. */
struct world {
    uv_loop_t uv;
    struct stream_loop loop;
    struct stream stream;
    struct tls_fixture fixture;
    struct tls_context *context;
    /* events */
    struct bytes got;
    size_t data_events, largest;
    int ends, end, end_error, drained, tls_events, tls_status, closed;
    char failure[256];
    void (*on_data)(struct world *world, struct span octets);
    void (*on_tls)(struct world *world);
    void (*on_end)(struct world *world);
    void (*on_drained)(struct world *world);
    /* the client */
    int fd;
    SSL_CTX *client_ctx;
    SSL *client;
    size_t piece;         /* octets of one send; 0: all */
    bool client_reads;    /* else the socket is left alone */
    struct bytes to_send; /* for the wire */
    struct bytes wire;    /* what came from the wire, as it came */
    struct bytes heard;   /* plain octets, or decrypted ones */
    bool client_fin, client_reset, client_broke;
    size_t progress; /* changes when the client did something */
};

static struct pem_pair pair;
static struct ticket_keys keys;

static inline void bytes_add(struct bytes *bytes, const void *data, size_t size)
{
    if (bytes->size + size > bytes->room) {
        bytes->room = 2 * (bytes->size + size);
        bytes->data = realloc(bytes->data, bytes->room);
        assert_non_null(bytes->data);
    }
    if (size > 0)
        memcpy(bytes->data + bytes->size, data, size);
    bytes->size += size;
}

/* --- the stream's owner --- */

static inline void on_data(struct stream *stream, struct span octets)
{
    struct world *world = stream->owner;

    assert_true(octets.size > 0);
    world->data_events++;
    if (octets.size > world->largest)
        world->largest = octets.size;
    bytes_add(&world->got, octets.data, octets.size);
    if (world->on_data)
        world->on_data(world, octets);
}

static inline void on_end(struct stream *stream, enum stream_end end, int error)
{
    struct world *world = stream->owner;

    world->ends++;
    world->end = end;
    world->end_error = error;
    if (end == STREAM_END_TLS_ERROR)
        snprintf(world->failure, sizeof(world->failure), "%s", tls_failure(stream));
    if (world->on_end)
        world->on_end(world);
}

static inline void on_drained(struct stream *stream)
{
    struct world *world = stream->owner;

    assert_int_equal(stream_waiting(stream), 0);
    world->drained++;
    if (world->on_drained)
        world->on_drained(world);
}

static inline void on_tls(struct stream *stream, int status)
{
    struct world *world = stream->owner;

    world->tls_events++;
    world->tls_status = status;
    if (status < 0)
        snprintf(world->failure, sizeof(world->failure), "%s", tls_failure(stream));
    if (world->on_tls)
        world->on_tls(world);
}

static inline void on_closed(struct stream *stream)
{
    struct world *world = stream->owner;

    world->closed++;
}

static const struct stream_events events = { on_data, on_end, on_drained, on_tls };

/* --- life --- */

static inline void connect_pair(struct world *world)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t size = sizeof(address);
    int listener = socket(AF_INET, SOCK_STREAM, 0), accepted, one = 1;

    assert_int_equal(bind(listener, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    world->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(world->fd, (struct sockaddr *)&address, size), 0);
    accepted = accept(listener, NULL, NULL);
    close(listener);
    setsockopt(world->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    fcntl(world->fd, F_SETFL, O_NONBLOCK);
    fcntl(accepted, F_SETFL, O_NONBLOCK);
    assert_int_equal(stream_init_tcp(&world->stream, &world->loop, &events, world), 0);
    assert_int_equal(uv_tcp_open(&world->stream.uv.tcp, accepted), 0);
}

static inline void make_context(struct world *world, enum port_protocol protocol)
{
    struct tls_section section = { "default", &pair, { NULL }, TLS_VERSION_1_2, NULL };

    fixture_init(&world->fixture, &section, 1);
    assert_int_equal(
        fixture_context(&world->fixture, protocol, TLS_PROFILE_DEFAULT, &keys, &world->context), 0);
}

static inline void world_init(struct world *world, size_t read_size)
{
    memset(world, 0, sizeof(*world));
    world->client_reads = true;
    assert_int_equal(uv_loop_init(&world->uv), 0);
    assert_int_equal(stream_loop_init(&world->loop, &world->uv, read_size), 0);
    connect_pair(world);
    make_context(world, PROTOCOL_SMTP);
    world->client_ctx = SSL_CTX_new(TLS_client_method());
}

static inline void client_starts_tls(struct world *world)
{
    BIO *in = BIO_new(BIO_s_mem());

    BIO_set_mem_eof_return(in, -1);
    world->client = SSL_new(world->client_ctx);
    SSL_set_bio(world->client, in, BIO_new(BIO_s_mem()));
    SSL_set_connect_state(world->client);
}

/* Both ends begin at once, as on a TLS-first port. */
static inline void start_tls(struct world *world)
{
    client_starts_tls(world);
    assert_int_equal(stream_start_tls(&world->stream, world->context, span_of(NULL, 0)), 0);
}

/* --- the client --- */

static inline void client_receive(struct world *world)
{
    unsigned char room[65536];
    ssize_t size = world->client_reads && !world->client_fin && !world->client_reset
                       ? recv(world->fd, room, sizeof(room), 0)
                       : -2;

    if (size > 0) {
        bytes_add(&world->wire, room, (size_t)size);
        if (world->client)
            BIO_write(SSL_get_rbio(world->client), room, (int)size);
        else
            bytes_add(&world->heard, room, (size_t)size);
    } else if (size == 0) {
        world->client_fin = true;
    } else if (size == -1 && errno != EAGAIN) {
        world->client_reset = true;
    }
    world->progress += size >= 0;
}

/* Lets the client's OpenSSL work through what came, and collects what it wants to send. */
static inline void client_turn_tls(struct world *world)
{
    unsigned char room[16384];
    int result;

    if (!world->client)
        return;
    ERR_clear_error();
    result = SSL_is_init_finished(world->client) ? 1 : SSL_do_handshake(world->client);
    while (result > 0 && (result = SSL_read(world->client, room, sizeof(room))) > 0) {
        bytes_add(&world->heard, room, (size_t)result);
        world->progress++;
    }
    if (SSL_get_error(world->client, result) == SSL_ERROR_SSL)
        world->client_broke = true;
    while ((result = BIO_read(SSL_get_wbio(world->client), room, sizeof(room))) > 0)
        bytes_add(&world->to_send, room, (size_t)result);
}

static inline void client_send(struct world *world)
{
    size_t size =
        world->piece > 0 && world->piece < world->to_send.size ? world->piece : world->to_send.size;
    ssize_t sent = size > 0 ? send(world->fd, world->to_send.data, size, MSG_NOSIGNAL) : 0;

    if (sent <= 0)
        return;
    world->to_send.size -= (size_t)sent;
    memmove(world->to_send.data, world->to_send.data + sent, world->to_send.size);
    world->progress++;
}

static inline time_t now_s(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

/* Waits for either end, at most 100 ms: the loop may have timers. */
static inline void wait_for_anything(struct world *world)
{
    struct pollfd fds[2] = { { uv_backend_fd(&world->uv), POLLIN, 0 },
                             { world->client_reads ? world->fd : -1, POLLIN, 0 } };

    if (world->to_send.size > 0)
        fds[1] = (struct pollfd){ world->fd, POLLOUT, 0 };
    if (world->client_fin || world->client_reset)
        fds[1].fd = -1;
    poll(fds, 2, uv_backend_timeout(&world->uv) == 0 ? 0 : 100);
}

/* One turn of both ends. */
static inline void turn(struct world *world)
{
    size_t before = world->progress;

    client_turn_tls(world);
    client_send(world);
    uv_run(&world->uv, UV_RUN_NOWAIT);
    client_receive(world);
    client_turn_tls(world);
    if (world->progress == before)
        wait_for_anything(world);
}

/* Turns both ends until `condition` holds. */
#define run_until(world, condition)                                                                \
    do {                                                                                           \
        time_t give_up = now_s() + GIVE_UP_S;                                                      \
        while (!(condition)) {                                                                     \
            turn(world);                                                                           \
            if (now_s() >= give_up)                                                                \
                fail_msg("in vain: %s", #condition);                                               \
        }                                                                                          \
    } while (0)

/* A number of turns in which something would happen that must not. */
static inline void run_on(struct world *world)
{
    for (int i = 0; i < 20; i++) {
        client_turn_tls(world);
        client_send(world);
        uv_run(&world->uv, UV_RUN_NOWAIT);
        client_receive(world);
    }
}

static inline void client_says(struct world *world, const void *octets, size_t size)
{
    if (world->client)
        assert_int_equal(SSL_write(world->client, octets, (int)size), (int)size);
    else
        bytes_add(&world->to_send, octets, size);
}

static inline void client_says_text(struct world *world, const char *text)
{
    client_says(world, text, strlen(text));
}

/* After FIN, a RST would show as an error of the socket; a client that is slower than ours would
 * lose the last words to it. */
static inline void assert_no_reset(struct world *world)
{
    int error = 0;
    socklen_t size = sizeof(error);

    run_on(world);
    assert_false(world->client_reset);
    assert_int_equal(getsockopt(world->fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
    assert_int_equal(error, 0);
}

static inline void close_client(struct world *world, bool reset)
{
    struct linger now = { 1, 0 };

    if (reset)
        setsockopt(world->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    close(world->fd);
    world->fd = -1;
    world->client_fin = true;
}

static inline void world_deinit(struct world *world)
{
    if (!world->stream.closing)
        stream_close(&world->stream, false, on_closed);
    if (world->fd >= 0)
        close_client(world, false);
    while (world->closed == 0)
        uv_run(&world->uv, UV_RUN_ONCE);
    assert_int_equal(world->closed, 1);
    assert_int_equal(world->loop.chunks.used_count, 0);
    stream_loop_deinit(&world->loop);
    uv_run(&world->uv, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->uv), 0);
    SSL_free(world->client);
    SSL_CTX_free(world->client_ctx);
    tls_context_free(world->context);
    fixture_deinit(&world->fixture);
    free(world->got.data);
    free(world->to_send.data);
    free(world->wire.data);
    free(world->heard.data);
}

/* Octets of a pattern that shows any loss or change of order. */
static inline void fill(unsigned char *into, size_t size, size_t from)
{
    for (size_t i = 0; i < size; i++)
        into[i] = (unsigned char)((from + i) * 2654435761U >> 13);
}

static inline void assert_pattern(const struct bytes *bytes, size_t size)
{
    unsigned char *expected = malloc(size);

    fill(expected, size, 0);
    assert_int_equal(bytes->size, size);
    assert_memory_equal(bytes->data, expected, size);
    free(expected);
}

static inline void assert_text(const struct bytes *bytes, const char *text)
{
    assert_int_equal(bytes->size, strlen(text));
    if (bytes->size > 0)
        assert_memory_equal(bytes->data, text, bytes->size);
}

static inline void client_says_pattern(struct world *world, size_t size)
{
    unsigned char *octets = malloc(size);

    fill(octets, size, 0);
    client_says(world, octets, size);
    free(octets);
}

/* The stream's side says `size` octets of the pattern, as fast as the kernel takes them. */
static inline void stream_says_pattern(struct world *world, size_t size)
{
    unsigned char part[30000];

    for (size_t sent = 0; sent < size;) {
        size_t count = size - sent < sizeof(part) ? size - sent : sizeof(part);
        int drained = world->drained, status;

        fill(part, count, sent);
        status = stream_write(&world->stream, span_of(part, count));
        assert_true(status > 0);
        sent += count;
        if (stream_flush(&world->stream) == STREAM_BLOCKED)
            run_until(world, world->drained > drained);
    }
}

static inline void pause_in_data(struct world *world, struct span octets)
{
    (void)octets;
    stream_pause(&world->stream);
}

static inline void close_now(struct world *world)
{
    stream_close(&world->stream, false, on_closed);
}

/* At the head of main(). */
static inline void prepare(void)
{
    signal(SIGPIPE, SIG_IGN);
    for (uint64_t i = 0; i < 3; i++)
        keys.keys[i].epoch = i + 1;
    make_pair(&pair, "DNS:localhost", 30, false);
}

#endif

/* A stream's life, its way in, and its events. The way out is in stream_out.c, TLS in tls.c.
 *
 * Happy path: uv_read -> on_read -> `data` (plain), or on_read -> tls_feed -> advance: records are
 * read until loop->plain is full or OpenSSL is dry, then one `data`. Every event is bracketed by
 * stream_event_begin/end; the end derives anew whether the socket is polled, and sends what was
 * written meanwhile. Paused in the middle: the ciphertext that was read but not used is copied (at
 * most one read), and the socket is polled only after it. Going on happens in the loop's idle phase
 * (`due`), unless the call came from the stream's own event, which goes on by itself. Failures: FIN
 * and errors of the socket become `end`, or `tls` while the handshake lasts; a TLS error sends its
 * alert and FIN first. */
#include "proxy/stream_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/stats.h"
#include "proxy/tls_engine.h"

#define CHUNKS_KEEP      64 /* 1 MiB a worker */
#define LINGER_PERIOD_MS 250

/* Steps of handshakes, of some 0.2 ms each, in one turn of the loop; guessed. */
#define HANDSHAKES_A_TURN 32

/* The loop's uv handles live longer than struct stream_loop: until uv has closed them. */
struct stream_driver {
    uv_idle_t wake;
    uv_timer_t linger;
    unsigned open;
};

static void close_handle(struct stream *stream, bool reset);

/* --- the loop --- */

static void on_wake(uv_idle_t *wake);

static void on_driver_closed(uv_handle_t *handle)
{
    struct stream_driver *driver = handle->data;

    if (--driver->open == 0)
        free(driver);
}

static struct stream_driver *driver_new(struct stream_loop *loop)
{
    struct stream_driver *driver = calloc(1, sizeof(*driver));

    if (!driver)
        return NULL;
    uv_idle_init(loop->uv, &driver->wake); /* neither can fail */
    uv_timer_init(loop->uv, &driver->linger);
    driver->open = 2;
    driver->wake.data = driver->linger.data = loop;
    return driver;
}

int stream_loop_init(struct stream_loop *loop, uv_loop_t *uv, size_t read_size)
{
    static struct stats unread;

    *loop = (struct stream_loop){ .uv = uv, .read_size = read_size, .stats = &unread };
    if (read_size == 0 || read_size > STREAM_READ_MAX)
        loop->read_size = STREAM_READ_MAX;
    TAILQ_INIT(&loop->due);
    TAILQ_INIT(&loop->lingering);
    chunk_pool_init(&loop->chunks, CHUNKS_KEEP);
    loop->in = malloc(loop->read_size);
    loop->plain = malloc(loop->read_size);
    loop->out = malloc(STREAM_OUT_MAX);
    if (loop->in && loop->plain && loop->out)
        loop->driver = driver_new(loop);
    if (loop->driver)
        return 0;
    stream_loop_deinit(loop);
    return -ENOMEM;
}

void stream_loop_deinit(struct stream_loop *loop)
{
    struct stream_driver *driver = loop->driver;

    if (driver) {
        driver->wake.data = driver->linger.data = driver;
        uv_close((uv_handle_t *)&driver->wake, on_driver_closed);
        uv_close((uv_handle_t *)&driver->linger, on_driver_closed);
    }
    stream_free_requests(loop);
    chunk_pool_deinit(&loop->chunks);
    free(loop->in);
    free(loop->plain);
    free(loop->out);
    *loop = (struct stream_loop){ 0 };
}

void stream_wake_loop(struct stream_loop *loop)
{
    uv_idle_start(&loop->driver->wake, on_wake);
}

static void unlink_due(struct stream *stream)
{
    if (!stream->due)
        return;
    TAILQ_REMOVE(&stream->loop->due, stream, link);
    stream->due = false;
}

static void schedule(struct stream *stream)
{
    if (stream->due || stream->closing)
        return;
    TAILQ_INSERT_TAIL(&stream->loop->due, stream, link);
    stream->due = true;
    stream_wake_loop(stream->loop);
}

/* --- polling and events --- */

static bool wants_octets(const struct stream *stream)
{
    bool held = stream->due || (stream->tls && !tls_dry(stream->tls));

    return stream->reading && !stream->ended && !stream->closing && !held;
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct stream *stream = handle->data;
    struct stream_loop *loop = stream->loop;
    size_t size = loop->read_size;

    (void)suggested;
    if (!stream->is_lingering && !wants_octets(stream))
        size = 0; /* on_read is told UV_ENOBUFS; the octets stay in the kernel */
    else if (!stream->tls && !stream->closing && stream->read_limit > 0 &&
             stream->read_limit < size)
        size = stream->read_limit;
    *buffer = uv_buf_init((char *)loop->in, (unsigned)size);
}

static void on_read(uv_stream_t *uv, ssize_t count, const uv_buf_t *buffer);

/* Derives from the stream's state whether its socket is to be polled. A pause is lazy: libuv goes
 * on polling until octets come that nobody wants (on_read). Most pauses are over before, and cost
 * no system call; one that is not costs what it would have cost at once. 0 or -errno. */
static int settle_polling(struct stream *stream)
{
    int status;

    if (stream->polling || !wants_octets(stream))
        return 0;
    status = uv_read_start(&stream->uv.stream, on_alloc, on_read);
    stream->polling = status == 0;
    return status;
}

void stream_event_begin(struct stream *stream)
{
    stream->in_event = true;
    stream->loop->event_depth++;
}

static void advance(struct stream *stream);
static void end(struct stream *stream, enum stream_end how, int error);

void stream_event_end(struct stream *stream)
{
    int status;

    advance(stream);
    status = settle_polling(stream);
    if (status < 0)
        end(stream, STREAM_END_RESET, status);
    stream->in_event = false;
    stream_loop_flush(stream->loop);
    stream->loop->event_depth--;
}

static void end(struct stream *stream, enum stream_end how, int error)
{
    if (stream->ended || stream->closing)
        return;
    stream->ended = true;
    stream->events->end(stream, how, error);
}

static void end_handshake(struct stream *stream, int status)
{
    if (status < 0)
        stream->ended = true;
    stream->events->tls(stream, status);
}

void stream_tell_later(struct stream *stream)
{
    if (stream->ended || stream->closing)
        return;
    /* While it reads, reading tells: what the peer said before it went away comes first. */
    if (!stream->reading || stream->write_error == -ENOMEM)
        schedule(stream);
}

static void take_turn(struct stream *stream)
{
    unlink_due(stream);
    stream_event_begin(stream);
    if (stream->write_error < 0 && (!stream->reading || stream->write_error == -ENOMEM))
        end(stream, STREAM_END_RESET, stream->write_error);
    stream_event_end(stream);
}

static void on_wake(uv_idle_t *wake)
{
    struct stream_loop *loop = wake->data;
    struct stream *stream;
    size_t count = 0;

    TAILQ_FOREACH(stream, &loop->due, link)
    count++; /* those that come meanwhile have the next turn */
    loop->handshakes = 0;
    while (count-- > 0 && !TAILQ_EMPTY(&loop->due))
        take_turn(TAILQ_FIRST(&loop->due));
    stream_loop_flush(loop);
    if (TAILQ_EMPTY(&loop->due))
        uv_idle_stop(wake);
}

/* --- the way in --- */

static void deliver(struct stream *stream, unsigned char *octets, size_t size)
{
    bool secret = stream->secret;

    stream->octets_in += size;
    stream->events->data(stream, span_of(octets, size));
    if (secret || stream->secret)
        explicit_bzero(octets, size);
}

/* The alert has been put out: it must reach the client before FIN, and FIN needs nothing of the
 * owner. */
static void send_last_words(struct stream *stream)
{
    stream->shut_wanted = true;
    stream_loop_flush(stream->loop);
    stream_send_fin(stream);
}

static void advance_handshake(struct stream *stream)
{
    int status = tls_handshake(stream->tls);

    if (status == TLS_STEP_DRY)
        return;
    if (status < 0)
        send_last_words(stream);
    end_handshake(stream, status < 0 ? status : 0);
}

/* Is there room for one more step of a handshake in this turn of the loop? When many clients begin
 * TLS at once, those that are served already are not to wait for all of them. */
static bool may_shake_hands(struct stream_loop *loop)
{
    uint64_t now = uv_now(loop->uv); /* stands still during a turn */

    if (loop->handshakes_ms != now) {
        loop->handshakes_ms = now;
        loop->handshakes = 0;
    }
    if (loop->handshakes == HANDSHAKES_A_TURN)
        return false;
    loop->handshakes++;
    return true;
}

static void advance_reading(struct stream *stream)
{
    struct stream_loop *loop = stream->loop;
    size_t room = loop->read_size, size;
    int status;

    if (stream->read_limit > 0 && stream->read_limit < room)
        room = stream->read_limit;
    status = tls_read(stream->tls, loop->plain, room, &size);
    if (status == TLS_STEP_DONE) {
        deliver(stream, loop->plain, size);
    } else if (status == TLS_STEP_CLOSED) {
        stream->peer_done = true;
        end(stream, STREAM_END_CLEAN, 0);
    } else if (status < 0) {
        send_last_words(stream);
        end(stream, STREAM_END_TLS_ERROR, status);
    }
}

/* Lets TLS work through what it holds, until it is dry, paused, over, or has to wait for its turn.
 */
static void advance(struct stream *stream)
{
    while (stream->tls && stream->reading && !stream->ended && !stream->due &&
           !tls_dry(stream->tls)) {
        if (tls_established(stream->tls))
            advance_reading(stream);
        else if (may_shake_hands(stream->loop))
            advance_handshake(stream);
        else
            schedule(stream);
    }
    if (stream->tls && !stream->ended && tls_keep(stream->tls) < 0)
        end(stream, STREAM_END_RESET, -ENOMEM);
}

static void read_failed(struct stream *stream, int error)
{
    stream->peer_done = true;
    if (error == UV_EOF && stream->write_error < 0)
        error = stream->write_error; /* writing took the RST from the socket */
    if (stream->tls && !tls_established(stream->tls)) {
        bool fin = error == UV_EOF;

        tls_note_broken(stream->tls, fin);
        end_handshake(stream, fin ? -ECONNRESET : error);
    } else if (error == UV_EOF) {
        end(stream, stream->tls ? STREAM_END_TRUNCATED : STREAM_END_CLEAN, 0);
    } else {
        end(stream, STREAM_END_RESET, error);
    }
}

static void linger_read(struct stream *stream, ssize_t count)
{
    if (count < 0 || (uint32_t)count >= stream->read_limit)
        close_handle(stream, false);
    else
        stream->read_limit -= (uint32_t)count;
}

static void on_read(uv_stream_t *uv, ssize_t count, const uv_buf_t *buffer)
{
    struct stream *stream = uv->data;

    /* Behind a short read libuv makes an EOF of POLLHUP without asking on_alloc. Where nobody wants
     * it now, the kernel tells it again, or the reset that it was, when reading goes on. */
    if (count == UV_ENOBUFS ||
        (count == UV_EOF && !buffer->base && !stream->is_lingering && !wants_octets(stream))) {
        uv_read_stop(uv);
        stream->polling = false;
        return;
    }
    stats_count(&stream->loop->stats->reads);
    if (stream->is_lingering) {
        linger_read(stream, count);
        return;
    }
    if (count == 0 || stream->ended || stream->closing)
        return;
    stream_event_begin(stream);
    stream->emptied = count > 0 && (size_t)count < buffer->len;
    if (count < 0)
        read_failed(stream, (int)count);
    else if (!stream->tls)
        deliver(stream, (unsigned char *)buffer->base, (size_t)count);
    else if (tls_feed(stream->tls, span_of(buffer->base, (size_t)count)) < 0)
        end(stream, STREAM_END_RESET, -ENOMEM);
    stream->emptied = false;
    stream_event_end(stream);
}

int stream_read(struct stream *stream, uint32_t limit)
{
    if (stream->closing || stream->ended)
        return 0;
    stream->reading = true;
    stream->read_limit = limit;
    if (stream->in_event)
        return 0; /* its end goes on */
    if (stream->tls && !tls_dry(stream->tls))
        schedule(stream);
    return settle_polling(stream);
}

void stream_pause(struct stream *stream)
{
    stream->reading = false;
    if (!stream->in_event)
        settle_polling(stream);
}

bool stream_pending(struct stream *stream)
{
    unsigned char octet;
    int fd;

    if (stream->tls && tls_pending(stream->tls))
        return true;
    if (uv_fileno(&stream->uv.handle, &fd) < 0)
        return false;
    return recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

int stream_start_tls(struct stream *stream, struct tls_context *context, struct span first)
{
    struct tls *tls;

    if (stream->tls || stream->ended || stream->closing)
        return -EINVAL;
    tls = tls_new(stream, context);
    if (!tls)
        return -ENOMEM;
    if (tls_feed(tls, first) < 0 || tls_keep(tls) < 0) { /* `first` is only borrowed: copied */
        tls_free(tls);
        return -ENOMEM;
    }
    stream->tls = tls;
    return stream_read(stream, stream->read_limit);
}

int stream_start_tls_client(struct stream *stream, struct tls_client *client, const char *name)
{
    int status;

    if (stream->tls || stream->ended || stream->closing)
        return -EINVAL;
    status = tls_new_client(stream, client, name, &stream->tls);
    return status < 0 ? status : stream_read(stream, stream->read_limit);
}

/* --- life --- */

static int init(struct stream *stream, struct stream_loop *loop, const struct stream_events *events,
                void *owner, bool tcp)
{
    int status;

    *stream = (struct stream){ .loop = loop, .events = events, .owner = owner, .tcp = tcp };
    status = uv_tcp_init(loop->uv, &stream->uv.tcp);
    stream->uv.handle.data = stream;
    return status;
}

int stream_init_tcp(struct stream *stream, struct stream_loop *loop,
                    const struct stream_events *events, void *owner)
{
    return init(stream, loop, events, owner, true);
}

int stream_init_unix(struct stream *stream, struct stream_loop *loop,
                     const struct stream_events *events, void *owner)
{
    return init(stream, loop, events, owner, false);
}

/* uv_pipe_connect() would have the poll tell what is known at once: five calls more. */
int stream_connect_unix(struct stream *stream, const struct sockaddr_un *to)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), status;

    if (fd < 0)
        return -errno;
    if (connect(fd, (const struct sockaddr *)to, sizeof(*to)) < 0)
        status = -errno;
    else
        status = uv_tcp_open(&stream->uv.tcp, fd);
    if (status < 0)
        close(fd);
    return status;
}

static void on_closed(uv_handle_t *handle)
{
    struct stream *stream = handle->data;

    stream_drop_waiting(stream);
    stream->closed(stream);
}

static void close_handle(struct stream *stream, bool reset)
{
    struct stream_loop *loop = stream->loop;

    if (stream->is_lingering) {
        TAILQ_REMOVE(&loop->lingering, stream, link);
        stream->is_lingering = false;
        if (TAILQ_EMPTY(&loop->lingering))
            uv_timer_stop(&loop->driver->linger);
    }
    if (reset && stream->tcp && uv_tcp_close_reset(&stream->uv.tcp, on_closed) == 0)
        return;
    uv_close(&stream->uv.handle, on_closed);
}

void stream_loop_hurry(struct stream_loop *loop)
{
    while (!TAILQ_EMPTY(&loop->lingering))
        close_handle(TAILQ_FIRST(&loop->lingering), false);
}

static void on_linger_tick(uv_timer_t *timer)
{
    struct stream_loop *loop = timer->data;
    struct stream *stream = TAILQ_FIRST(&loop->lingering), *next;

    for (; stream; stream = next) {
        next = TAILQ_NEXT(stream, link);
        if (uv_now(loop->uv) >= stream->linger_until)
            close_handle(stream, false);
    }
}

/* Can the peer lose what was sent, if the socket is closed now? */
static bool must_linger(const struct stream *stream)
{
    bool sent = stream->octets_out > 0 || stream->shut_sent;

    return stream->tcp && sent && !stream->peer_done && stream->write_error == 0 &&
           stream->waiting.size == 0;
}

bool stream_take_leave(struct stream *stream)
{
    if (stream->tls || !stream->emptied || stream_flush(stream) != STREAM_SENT)
        return false;
    stream->peer_done = true;
    return true;
}

/* True when the stream will be closed by on_read or by on_linger_tick. */
static bool linger(struct stream *stream)
{
    struct stream_loop *loop = stream->loop;

    stream->shut_wanted = true;
    stream_send_fin(stream);
    if (!stream->polling && uv_read_start(&stream->uv.stream, on_alloc, on_read) < 0)
        return false;
    if (TAILQ_EMPTY(&loop->lingering))
        uv_timer_start(&loop->driver->linger, on_linger_tick, LINGER_PERIOD_MS, LINGER_PERIOD_MS);
    TAILQ_INSERT_TAIL(&loop->lingering, stream, link);
    stream->is_lingering = true;
    stream->linger_until = uv_now(loop->uv) + STREAM_LINGER_MS;
    stream->read_limit = STREAM_LINGER_OCTETS;
    return true;
}

void stream_close(struct stream *stream, bool reset, void (*closed)(struct stream *stream))
{
    if (stream->closing)
        return;
    if (reset)
        stream_drop_gathered(stream);
    else
        stream_flush(stream);
    stream->ended = stream->closing = true;
    unlink_due(stream); /* behind the flush: one that fails wants to be told of later */
    stream->closed = closed;
    tls_free(stream->tls);
    stream->tls = NULL;
    if (reset || !must_linger(stream) || !linger(stream))
        close_handle(stream, reset);
}

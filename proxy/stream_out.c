/* The way out of a stream: octets are gathered in the loop's buffer, sent at the end of the event,
 * and wait in chunks where the kernel refuses them.
 *
 * Happy path: stream_write -> (TLS: records) -> loop->out -> one uv_try_write. Octets of one stream
 * at a time are gathered: when another one writes, the former's go out first. A large plain write
 * is not copied: it goes out behind what was gathered, in one call. Failures: the kernel is full:
 * the rest is copied to `waiting`, one uv_write is in flight until all has gone, then `drained`. A
 * write error: told by the return value of the call in which it happened, else see stream.h. No
 * memory for a chunk: the same, as -ENOMEM. */
#include "proxy/stream_private.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "proxy/stats.h"
#include "proxy/tls_engine.h"

#define DIRECT_MIN 4096 /* from here on an extra copy costs more than a second iovec; guessed */
#define PUSH_MIN                                                                                   \
    16384 /* octets gathered that are sent at once, so that the writer hears whether the peer      \
             keeps up */
#define VECTORS_MAX   16
#define REQUESTS_KEEP 64

struct stream_request {
    uv_write_t uv;
    struct stream_request *next;
    size_t size; /* octets at the front of `waiting` that libuv has */
};

static void take_request(struct stream *stream)
{
    struct stream_loop *loop = stream->loop;
    struct stream_request *request = loop->requests;

    if (request) {
        loop->requests = request->next;
        loop->request_count--;
    } else {
        request = malloc(sizeof(*request));
    }
    stream->writing = request;
}

static void give_back_request(struct stream *stream)
{
    struct stream_loop *loop = stream->loop;
    struct stream_request *request = stream->writing;

    stream->writing = NULL;
    if (loop->request_count >= REQUESTS_KEEP) {
        free(request);
        return;
    }
    request->next = loop->requests;
    loop->requests = request;
    loop->request_count++;
}

void stream_free_requests(struct stream_loop *loop)
{
    while (loop->requests) {
        struct stream_request *request = loop->requests;

        loop->requests = request->next;
        free(request);
    }
    loop->request_count = 0;
}

void stream_drop_waiting(struct stream *stream)
{
    chunk_queue_clear(&stream->waiting, &stream->loop->chunks, stream->secret_waits);
    stream->secret_waits = false;
}

/* Remembers the first error; nothing can be sent any more. */
static int fail_writing(struct stream *stream, int error)
{
    if (stream->write_error == 0)
        stream->write_error = error;
    if (!stream->writing)
        stream_drop_waiting(stream);
    return error;
}

static void consume_waiting(struct stream *stream, size_t count)
{
    struct chunk_queue *waiting = &stream->waiting;

    while (stream->secret_waits && count > 0) {
        struct span front = span_first(chunk_queue_front(waiting), count);

        explicit_bzero((void *)(uintptr_t)front.data, front.size);
        chunk_queue_consume(waiting, &stream->loop->chunks, front.size);
        count -= front.size;
    }
    chunk_queue_consume(waiting, &stream->loop->chunks, count);
}

static int write_waiting(struct stream *stream);

static void on_written(uv_write_t *uv, int status)
{
    struct stream *stream = uv->data;
    size_t size = stream->writing->size;

    give_back_request(stream);
    if (stream->closing)
        return; /* the chunks go when the handle is closed */
    stream_event_begin(stream);
    if (status == 0) {
        consume_waiting(stream, size);
        status = write_waiting(stream);
    }
    if (status < 0) {
        fail_writing(stream, status);
        stream_tell_later(stream);
    } else if (stream->waiting.size == 0) {
        stream->secret_waits = stream->blocked = false;
        if (stream->tls)
            tls_drained(stream->tls);
        stream_send_fin(stream);
        if (stream->write_error == 0)
            stream->events->drained(stream);
    }
    stream_event_end(stream);
}

/* Gives what waits to libuv, if it has nothing of this stream yet. 0 or -errno. */
static int write_waiting(struct stream *stream)
{
    uv_buf_t vectors[VECTORS_MAX];
    unsigned count = 0;
    int status;

    if (stream->writing || stream->waiting.size == 0)
        return 0;
    take_request(stream);
    if (!stream->writing)
        return -ENOMEM;
    stream->writing->size = 0;
    for (struct chunk *chunk = stream->waiting.first; chunk && count < VECTORS_MAX;
         chunk = chunk->next) {
        vectors[count] = uv_buf_init((char *)chunk->data + chunk->start, chunk->end - chunk->start);
        stream->writing->size += vectors[count++].len;
    }
    stream->writing->uv.data = stream;
    stats_count(&stream->loop->stats->writes);
    status = uv_write(&stream->writing->uv, &stream->uv.stream, vectors, count, on_written);
    if (status < 0)
        give_back_request(stream);
    return status;
}

static int keep_rest(struct stream *stream, struct span rest)
{
    if (rest.size == 0)
        return 0;
    stream->secret_waits |= stream->secret;
    stats_add(&stream->loop->stats->octets_copied, rest.size);
    return chunk_queue_append(&stream->waiting, &stream->loop->chunks, rest);
}

/* What is left of both after `sent` octets. 0 or -ENOMEM. */
static int keep_rests(struct stream *stream, struct span gathered, struct span octets, size_t sent)
{
    size_t of_octets = sent > gathered.size ? sent - gathered.size : 0;
    int status = keep_rest(stream, span_skip(gathered, sent));

    return status < 0 ? status : keep_rest(stream, span_skip(octets, of_octets));
}

/* Takes the octets that were gathered for this stream out of the loop's keeping; they stay in
 * loop->out. */
static struct span take_gathered(struct stream *stream)
{
    struct stream_loop *loop = stream->loop;
    struct span gathered = span_of(loop->out, 0);

    if (loop->out_owner != stream)
        return gathered;
    gathered.size = loop->out_size;
    loop->out_owner = NULL;
    loop->out_size = 0;
    return gathered;
}

static int try_write(struct stream *stream, struct span gathered, struct span octets)
{
    uv_buf_t vectors[2];
    unsigned count = 0;
    int sent;

    if (stream->waiting.size > 0)
        return 0;
    if (gathered.size > 0)
        vectors[count++] = uv_buf_init((char *)(uintptr_t)gathered.data, (unsigned)gathered.size);
    if (octets.size > 0)
        vectors[count++] = uv_buf_init((char *)(uintptr_t)octets.data, (unsigned)octets.size);
    stats_count(&stream->loop->stats->writes);
    sent = uv_try_write(&stream->uv.stream, vectors, count);
    return sent == UV_EAGAIN ? 0 : sent;
}

/* Sends what was gathered, then `octets`. A stream_write_result or -errno. */
static int push(struct stream *stream, struct span octets)
{
    struct span gathered = take_gathered(stream);
    int status = stream->write_error;

    if (status == 0 && gathered.size + octets.size > 0) {
        status = try_write(stream, gathered, octets);
        if (status >= 0)
            status = keep_rests(stream, gathered, octets, (size_t)status);
    }
    if (stream->secret)
        explicit_bzero(stream->loop->out, gathered.size);
    if (status == 0)
        status = write_waiting(stream);
    if (status < 0)
        return fail_writing(stream, status);
    stream->blocked = stream->waiting.size > 0;
    return stream->blocked ? STREAM_BLOCKED : STREAM_SENT;
}

/* Sends what some stream's event left in loop->out; nobody waits for the answer. */
void stream_loop_flush(struct stream_loop *loop)
{
    struct stream *stream = loop->out_owner;

    if (stream && push(stream, span_of(NULL, 0)) < 0)
        stream_tell_later(stream);
}

void stream_drop_gathered(struct stream *stream)
{
    struct span gathered = take_gathered(stream);

    if (stream->secret)
        explicit_bzero(stream->loop->out, gathered.size);
}

int stream_put(struct stream *stream, struct span octets)
{
    struct stream_loop *loop = stream->loop;
    size_t part;
    int status;

    if (stream->write_error < 0)
        return stream->write_error;
    if (stream->waiting.size > 0)
        return keep_rest(stream, octets); /* behind the rest, which is in flight */
    if (loop->out_owner != stream) {
        stream_loop_flush(loop);
        loop->out_owner = stream;
        loop->out_size = 0;
    }
    part = STREAM_OUT_MAX - loop->out_size;
    if (octets.size >= part) { /* does not happen within one read; keeps the order all the same */
        status = push(stream, octets);
        return status < 0 ? status : 0;
    }
    stats_add(&loop->stats->octets_copied, octets.size);
    memcpy(loop->out + loop->out_size, octets.data, octets.size);
    loop->out_size += octets.size;
    if (loop->event_depth == 0)
        stream_wake_loop(loop); /* the owner may forget to flush */
    return 0;
}

static int write_plain(struct stream *stream, struct span octets)
{
    if (octets.size >= DIRECT_MIN && stream->waiting.size == 0)
        return push(stream, octets);
    return stream_put(stream, octets);
}

/* The caller is told at once, and hears of the end as well. */
static int write_died(struct stream *stream, int error)
{
    stream_tell_later(stream);
    return error;
}

int stream_write(struct stream *stream, struct span octets)
{
    int status = stream->write_error;

    if (stream->closing || stream->shut_wanted)
        status = -EPIPE;
    if (status == 0 && octets.size > 0)
        status = stream->tls ? tls_write(stream->tls, octets) : write_plain(stream, octets);
    if (status >= 0 && stream->loop->out_owner == stream && stream->loop->out_size >= PUSH_MIN)
        status = push(stream, span_of(NULL, 0));
    if (status < 0)
        return write_died(stream, status);
    stream->octets_out += octets.size;
    stream->blocked = stream->waiting.size > 0;
    return stream->blocked ? STREAM_BLOCKED : STREAM_SENT;
}

int stream_flush(struct stream *stream)
{
    int status = push(stream, span_of(NULL, 0));

    return status < 0 ? write_died(stream, status) : status;
}

/* Once all has gone. Straight to the kernel: uv_shutdown() would want a request and a turn of the
 * loop. */
void stream_send_fin(struct stream *stream)
{
    int fd;

    if (!stream->shut_wanted || stream->shut_sent || stream->waiting.size > 0)
        return;
    stream->shut_sent = true;
    if (uv_fileno(&stream->uv.handle, &fd) == 0)
        shutdown(fd, SHUT_WR); /* fails where the peer has gone already */
}

int stream_shutdown(struct stream *stream)
{
    int status;

    if (stream->closing || stream->shut_wanted)
        return 0;
    if (stream->tls)
        tls_shutdown(stream->tls);
    stream->shut_wanted = true;
    status = push(stream, span_of(NULL, 0));
    if (status < 0)
        return write_died(stream, status);
    stream_send_fin(stream);
    return 0;
}

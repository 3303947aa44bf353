/* One connection's octets: a uv handle (TCP or UNIX socket), plain or TLS, with reading, writing and pausing.
 *
 * I/O only: no knowledge of any mail protocol. All streams of a loop share the buffers of one struct stream_loop: an idle stream
 * owns none. What the kernel refuses is copied to chunks (proxy/base/chunk.h) and flushed later.
 *
 * way in:   uv_read -> loop->in -> (TLS: BIO lends it to OpenSSL in place -> SSL_read until dry -> loop->plain) -> events->data
 * way out:  stream_write -> (TLS: SSL_write, records appended to loop->out) -> one uv_try_write at the end of the event (stream_flush)
 *
 * Events are called from the loop only, never from inside a call below, and after `data` returned the stream looks whether it was
 * paused or closed meanwhile. */
#ifndef GATEPOST_PROXY_STREAM_H
#define GATEPOST_PROXY_STREAM_H

#include <uv.h>

#include "proxy/base/chunk.h"

#define STREAM_READ_MAX 65536 /* octets of one read at most; measured: fewer calls a MiB than 16 KiB, no gain above */
#define STREAM_OUT_MAX  (STREAM_READ_MAX + 8192) /* a whole read as TLS records of 16 KiB, with their overhead */

struct stream;
struct tls; /* proxy/tls.h */
struct tls_context;

/* What the streams of one event loop share. */
struct stream_loop {
    uv_loop_t *uv;
    struct chunk_pool chunks;
    size_t read_size; /* octets of one read: [limits] read_size */
    unsigned char *in, *plain, *out;
    size_t out_size;         /* octets gathered in `out` ... */
    struct stream *out_owner; /* ... for this stream; NULL: none */
};

enum stream_end {
    STREAM_END_CLEAN = 1, /* FIN in plain, or close_notify under TLS (a FIN behind it is no news) */
    STREAM_END_TRUNCATED, /* FIN under TLS without close_notify */
    STREAM_END_RESET,     /* RST or another error of the socket */
    STREAM_END_TLS_ERROR, /* a TLS error after the handshake; the alert has been sent */
};

struct stream_events {
    /* Plain octets arrived. `octets` is borrowed from the loop's buffer, is writable memory (the callee may wipe it), and must be used up
     * or copied before return. Not called while paused. */
    void (*data)(struct stream *stream, struct span octets);
    /* No more octets will come. Called once; `error` is 0 or -errno. Writing may still work after CLEAN. */
    void (*end)(struct stream *stream, enum stream_end end, int error);
    /* Everything that was written has been taken by the kernel, after stream_write returned STREAM_BLOCKED. */
    void (*drained)(struct stream *stream);
    /* The handshake has ended: status 0, or -EPROTO (failed; the alert was sent; the cause is in tls_failure()), or the socket's error. */
    void (*tls)(struct stream *stream, int status);
};

struct stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct stream_loop *loop;
    const struct stream_events *events;
    void *owner;
    struct tls *tls;          /* NULL: plain */
    struct chunk_queue waiting; /* octets for the wire that the kernel refused */
    uv_write_t *writing;      /* the write request in flight, NULL when none; from a pool */
    void (*closed)(struct stream *stream);
    uint32_t read_limit;      /* octets of the next read at most; 0: loop->read_size */
    bool reading, blocked, ended, closing, secret;
    uint64_t octets_in, octets_out; /* plain octets */
};

enum stream_write_result {
    STREAM_SENT = 1, /* taken; at the end of the event the kernel has it, as far as it takes it */
    STREAM_BLOCKED,  /* taken, but octets wait: stop reading the source; `drained` will be called */
};

int stream_loop_init(struct stream_loop *loop, uv_loop_t *uv, size_t read_size);
void stream_loop_deinit(struct stream_loop *loop);

/* Initialises a stream with a handle of its own (uv_tcp_init / uv_pipe_init); accept or connect then go by uv calls on stream->uv.
 * stream_close() must be called to end it, also after a failure of those. */
int stream_init_tcp(struct stream *stream, struct stream_loop *loop, const struct stream_events *events, void *owner);
int stream_init_pipe(struct stream *stream, struct stream_loop *loop, const struct stream_events *events, void *owner);

/* Starts, or goes on, reading. Octets that TLS holds decrypted are delivered first, from the loop (never from inside this call).
 * A limit below loop->read_size keeps the rest in the kernel (or in OpenSSL). stream_pause() stops it: no `data`, no `end` until
 * resumed; libuv then reports not even a reset, so a timer must watch. */
int stream_read(struct stream *stream, uint32_t limit);
void stream_pause(struct stream *stream);

/* Are octets of the peer waiting behind what was delivered: in OpenSSL, or in the kernel (MSG_PEEK)? For rule "surplus behind STARTTLS". */
bool stream_pending(struct stream *stream);

/* Writes; the octets are used up or copied when it returns. A stream_write_result, or -errno (the stream is dead; no further event
 * but those of close). stream_flush() sends what gathered in loop->out; the stream calls it itself at the end of each of its own events, the
 * owner must call it after writing from elsewhere (timers, another stream's events: both streams of a pair). */
int stream_write(struct stream *stream, struct span octets);
int stream_flush(struct stream *stream);

/* Octets written that the kernel has not taken yet. */
static inline size_t stream_waiting(const struct stream *stream)
{
    return stream->waiting.size;
}

/* Begins a TLS handshake as server. `first` are octets that were read already (a ClientHello's beginning), or empty. Everything
 * that was written before is sent in clear first. Ends in events->tls. 0 or -errno. Reading is switched on. */
int stream_start_tls(struct stream *stream, struct tls_context *context, struct span first);

/* Sends close_notify (TLS) and FIN once all is written. The stream still wants stream_close(). */
int stream_shutdown(struct stream *stream);

/* Ends the stream: what waits is dropped, the handle closed, TLS freed. `closed` is called from the loop when the memory may go. With
 * `reset`, the peer sees RST (TCP) instead of FIN. */
void stream_close(struct stream *stream, bool reset, void (*closed)(struct stream *stream));

#endif

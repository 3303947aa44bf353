/* One connection's octets: a uv handle (of a TCP or UNIX socket), plain or TLS, with reading,
 * writing and pausing.
 *
 * I/O only: no knowledge of any mail protocol. All streams of a loop share the buffers of one
 * struct stream_loop: an idle stream owns none. What the kernel refuses is copied to chunks
 * (proxy/base/chunk.h) and flushed later.
 *
 * way in:   uv_read -> loop->in -> (TLS: BIO lends it to OpenSSL in place -> SSL_read until dry ->
 * loop->plain) -> events->data way out:  stream_write -> (TLS: SSL_write, records appended to
 * loop->out) -> one uv_try_write at the end of the event (stream_flush)
 *
 * Events are called from the loop only, never from inside a call below, and after `data` returned
 * the stream looks whether it was paused or closed meanwhile.
 *
 * A write error that no call could return (the kernel refuses at the end of an event) is told by
 * reading: what the peer said before it went away is delivered, then `end` is STREAM_END_RESET.
 * While reading is paused, the `end` comes at once. */
#ifndef GATEPOST_PROXY_STREAM_H
#define GATEPOST_PROXY_STREAM_H

#include "proxy/base/chunk.h"

#include <uv.h>

#include <sys/queue.h>

#define STREAM_READ_MAX                                                                            \
    65536 /* octets of one read at most; measured: fewer calls a MiB than 16 KiB, no gain above */
#define STREAM_LINGER_MS     1000 /* guessed: a few round trips */
#define STREAM_LINGER_OCTETS 65536
#define STREAM_OUT_MAX                                                                             \
    (STREAM_READ_MAX + 8192) /* a whole read as TLS records of 16 KiB, with their overhead */

struct sockaddr_un;
struct stream;
struct stream_driver;  /* the uv handles of a stream_loop */
struct stream_request; /* a write that libuv is busy with */
struct stats;
struct tls;        /* proxy/tls.h */
struct tls_client; /* proxy/tls_client.h */
struct tls_context;

TAILQ_HEAD(stream_list, stream);

/* What the streams of one event loop share. */
struct stream_loop {
    uv_loop_t *uv;
    struct stats *stats; /* where reads, writes and copies are counted; nobody's at first */
    struct chunk_pool chunks;
    size_t read_size; /* octets of one read: [limits] read_size */
    unsigned char *in, *plain, *out;
    size_t out_size;          /* octets gathered in `out` ... */
    struct stream *out_owner; /* ... for this stream; NULL: none */
    struct stream_driver *driver;
    struct stream_list due,
        lingering; /* to be gone on with from the loop; closing and waiting for the peer's FIN */
    struct stream_request *requests; /* for reuse */
    unsigned request_count;
    uint64_t handshakes_ms; /* uv_now() of the turn in which there were so many ... */
    unsigned handshakes;    /* ... steps of handshakes */
    unsigned event_depth;   /* above 0: some event is running, and its end will flush `out` */
};

enum stream_end {
    STREAM_END_CLEAN = 1, /* FIN in plain, or close_notify under TLS (a FIN behind it is no news) */
    STREAM_END_TRUNCATED, /* FIN under TLS without close_notify */
    STREAM_END_RESET,     /* RST or another error of the socket */
    STREAM_END_TLS_ERROR, /* a TLS error after the handshake; the alert has been sent */
};

struct stream_events {
    /* Plain octets arrived. `octets` is borrowed from the loop's buffer, is writable memory (the
     * callee may wipe it), and must be used up or copied before return. Not called while paused. */
    void (*data)(struct stream *stream, struct span octets);
    /* No more octets will come. Called once; `error` is 0 or -errno. Writing may still work after
     * CLEAN. */
    void (*end)(struct stream *stream, enum stream_end end, int error);
    /* Everything that was written has been taken by the kernel, after octets had to wait:
     * stream_write or stream_flush returned STREAM_BLOCKED, or stream_waiting() was above 0 after
     * an event. */
    void (*drained)(struct stream *stream);
    /* The handshake has ended: status 0, or -EPROTO (failed; the alert was sent; the cause is in
     * tls_failure()), or the socket's error. */
    void (*tls)(struct stream *stream, int status);
};

struct stream {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp; /* libuv asks of what it reads and writes only that it is a stream socket */
    } uv;
    struct stream_loop *loop;
    const struct stream_events *events;
    void *owner;
    struct tls *tls;                /* NULL: plain */
    struct chunk_queue waiting;     /* octets for the wire that the kernel refused */
    struct stream_request *writing; /* the write request in flight, NULL when none; from a pool */
    void (*closed)(struct stream *stream);
    TAILQ_ENTRY(stream) link;       /* in loop->due or loop->lingering */
    uint64_t octets_in, octets_out; /* plain octets */
    uint64_t linger_until;          /* uv_now() */
    uint32_t read_limit;            /* octets of the next read at most; 0: loop->read_size */
    int write_error;                /* -errno of the write that failed; 0: none */
    /* The owner may look at all of these and set `secret`: while true, the parts of the shared
     * buffers that this stream used are wiped at the end of its events, and chunks when they are
     * done. */
    bool reading, blocked, ended, closing, secret;
    bool tcp, polling, in_event, due, is_lingering, peer_done, shut_wanted, shut_sent, secret_waits,
        emptied; /* the read that is being delivered took all that the kernel had */
};

enum stream_write_result {
    STREAM_SENT = 1, /* taken; at the end of the event the kernel has it, as far as it takes it */
    STREAM_BLOCKED,  /* taken, but octets wait: stop reading the source; `drained` will be called */
};

/* 0 or -errno. stream_loop_deinit() wants every stream closed; the uv loop must run once more
 * before uv_loop_close(), but the memory of `loop` may go at once. */
int stream_loop_init(struct stream_loop *loop, uv_loop_t *uv, size_t read_size);
/* The end of the process: streams that linger after stream_close() are closed by the next run. */
void stream_loop_hurry(struct stream_loop *loop);
void stream_loop_deinit(struct stream_loop *loop);

/* Initialises a stream with a handle of its own; accept, open or connect then go by uv calls on
 * stream->uv.tcp. stream_close() must be called to end it, also after a failure of those. */
int stream_init_tcp(struct stream *stream, struct stream_loop *loop,
                    const struct stream_events *events, void *owner);
int stream_init_unix(struct stream *stream, struct stream_loop *loop,
                     const struct stream_events *events, void *owner);

/* Connects the latter, which is done at once. 0, or -errno; -EAGAIN: the server's backlog is full.
 */
int stream_connect_unix(struct stream *stream, const struct sockaddr_un *to);

/* Starts, or goes on, reading. Octets that TLS holds decrypted are delivered first, from the loop
 * (never from inside this call). A limit below loop->read_size keeps the rest in the kernel (or in
 * OpenSSL). stream_pause() stops it: no `data`, no `end` until resumed; libuv then reports not even
 * a reset, so a timer must watch. */
int stream_read(struct stream *stream, uint32_t limit);
void stream_pause(struct stream *stream);

/* Are octets of the peer waiting behind what was delivered: in OpenSSL, or in the kernel
 * (MSG_PEEK)? For rule "surplus behind STARTTLS". */
bool stream_pending(struct stream *stream);

/* Writes; the octets are used up or copied when it returns. A stream_write_result, or -errno:
 * nothing can be written any more; what the peer said before it went away is still read, and then
 * `end` comes, unless the stream is closed first. stream_flush() sends what gathered in loop->out
 * and returns the same. At the end of every event what gathered for any stream is sent,
 * so a pair of streams needs no call; an owner that writes from elsewhere (timers) calls it, or the
 * loop's next turn does. */
int stream_write(struct stream *stream, struct span octets);
int stream_flush(struct stream *stream);

/* Octets written that the kernel has not taken yet. */
static inline size_t stream_waiting(const struct stream *stream)
{
    return stream->waiting.size;
}

/* Begins a TLS handshake as server. `first` are octets that were read already (a ClientHello's
 * beginning), or empty. Everything that was written before is sent in clear first. Ends in
 * events->tls. 0 or -errno. Reading is switched on. */
int stream_start_tls(struct stream *stream, struct tls_context *context, struct span first);

/* The same as client, on a connected stream. `name` is the host of the address, "" for a UNIX
 * socket: the server is asked for it, and its certificate must have it, unless [backend] sni says
 * otherwise. The owner has refused what came in clear behind the server's consent before this call.
 * 0 or -errno; -EINVAL also where there is no name that could be checked. */
int stream_start_tls_client(struct stream *stream, struct tls_client *client, const char *name);

/* Sends close_notify (TLS) and FIN once all is written. The stream still wants stream_close(). */
int stream_shutdown(struct stream *stream);

/* The peer has taken leave, and by its protocol says nothing more. True: everything has gone out
 * and nothing of it is unread, so stream_close() says FIN and does not linger. False under TLS,
 * whose close_notify comes still, and outside of a `data` event. */
bool stream_take_leave(struct stream *stream);

/* Ends the stream: what waits is dropped, the handle closed, TLS freed. `closed` is called from the
 * loop when the memory may go; no other event comes. With `reset`, the peer sees RST (TCP) instead
 * of FIN.
 *
 * Without `reset`, what the kernel took must reach the peer. TCP answers octets that arrive for a
 * closed socket, or that nobody read, with RST, and that may take our last words (an alert, a 554)
 * from the peer before it read them. So unless the peer has ended its side, FIN is sent, input is
 * read and dropped until its FIN, STREAM_LINGER_MS or STREAM_LINGER_OCTETS, and then the socket is
 * closed. A UNIX socket loses nothing. */
void stream_close(struct stream *stream, bool reset, void (*closed)(struct stream *stream));

#endif

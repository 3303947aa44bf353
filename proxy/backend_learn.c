/* The dialogue by which one address is learned, tested and checked.
 *
 * Happy path: connect, (PROXY header for 192.0.2.1,) banner, (TLS, XCLIENT,) EHLO or CAPA, relay
 * test, QUIT, goodbye, close; backend_learned() keeps what was heard. Of an opaque server only the
 * connection and its TLS are tried. It fails by a refused connection, silence beyond
 * connect_timeout, a refusal or garbage: backend_learn_failed(). A full backlog is no failure:
 * tried again until connect_timeout. */
#include <errno.h>
#include <stdlib.h>

#include "proxy/backend.h"
#include "proxy/base/log.h"
#include "proxy/greet.h"
#include "proxy/identity.h"
#include "proxy/tls.h"

#define BUSY_RETRY_MS 50 /* guessed */

struct learn {
    struct backend_address *address; /* goes with backend->addresses */
    struct backend *backend;
    bool tls;
    bool stream_open, stream_closing, ended;
    bool admitted;                /* holds one of the address's max_connections */
    struct backend_waiter waiter; /* for it */
    int status;                   /* of the connect call, to be told from the loop; 0: none */
    uint32_t generation;
    uint64_t began_ms, deadline_ms;
    struct stream stream;
    uv_connect_t connect;
    uv_timer_t timer;
    unsigned handles; /* still open: the stream's and the timer */
    struct sockaddr_storage client, destination;
    struct greet greet;
};

static void handle_gone(struct learn *learn)
{
    if (--learn->handles > 0)
        return;
    greet_deinit(&learn->greet);
    backend_release(learn->backend);
    free(learn);
}

static void give_place(struct learn *learn)
{
    if (learn->admitted)
        backend_give(learn->address);
    learn->admitted = false;
}

static void stream_gone(struct stream *stream)
{
    struct learn *learn = stream->owner;

    learn->stream_closing = false;
    give_place(learn);
    handle_gone(learn);
}

static void timer_gone(uv_handle_t *timer)
{
    handle_gone(timer->data);
}

static void close_stream(struct learn *learn)
{
    if (!learn->stream_open)
        return;
    learn->stream_open = false;
    learn->stream_closing = true;
    stream_close(&learn->stream, false, stream_gone);
}

/* Ends the dialogue; the struct goes when both handles are closed. */
static void stop(struct learn *learn)
{
    if (learn->ended)
        return;
    learn->ended = true;
    learn->address->known[learn->tls].learning = NULL;
    backend_stop_waiting(&learn->waiter);
    close_stream(learn);
    uv_close((uv_handle_t *)&learn->timer, timer_gone);
}

void backend_learn_stop(struct backend_address *address, bool tls)
{
    if (address->known[tls].learning)
        stop(address->known[tls].learning);
}

static void failed(struct learn *learn, int error, const char *words)
{
    if (learn->ended)
        return;
    stop(learn);
    backend_learn_failed(learn->address, learn->tls, learn->began_ms, error, words);
}

static void done(struct learn *learn)
{
    struct backend_lesson lesson = { learn->greet.list, learn->generation,
                                     learn->greet.open_relay };

    stop(learn);
    backend_learned(learn->address, learn->tls, &lesson);
}

/* A server that is full for now, or does not want the stranger that we say we are, is not known any
 * less for that where there is no other: its sessions hear its own words. */
static bool known_all_the_same(const struct learn *learn)
{
    struct backend *backend = learn->backend;
    bool known = backend_offer(backend, learn->tls) != NULL;

    if (!learn->greet.unavailable)
        known = known || backend_offer(backend, !learn->tls) != NULL;
    return known && backend->settings->address.count == 1;
}

/* The server's own words, for the log. */
static void refused(struct learn *learn, struct span answer)
{
    char room[256];
    struct text words = TEXT_OVER(room);

    text_puts(&words, "refuses us: ");
    text_put_escaped(&words, span_without_line_end(answer), 200);
    failed(learn, known_all_the_same(learn) ? -EAGAIN : 0, text_str(&words));
}

static int start_tls(struct learn *learn)
{
    return stream_start_tls_client(&learn->stream, learn->address->backend->tls,
                                   backend_server_name(learn->address));
}

static void on_timer(uv_timer_t *timer);

/* The time of connect_timeout is for each answer: a server may be slow to refuse the relay test. */
static void await_answer(struct learn *learn)
{
    uv_timer_start(&learn->timer, on_timer, learn->address->backend->settings->connect_timeout_ms,
                   0);
}

/* Lets the dialogue go on with what the server sent. */
static void feed(struct learn *learn, struct span octets)
{
    char room[1024];
    struct text out = TEXT_OVER(room);
    int verdict;

    for (;;) {
        verdict = greet_feed(&learn->greet, &octets, &out);
        if (verdict != GREET_SEND)
            break;
        if (out.overflow || stream_write(&learn->stream, text_span(&out)) < 0) {
            failed(learn, -EPIPE, "cannot be written to");
            return;
        }
        out.size = 0;
        await_answer(learn);
    }
    switch (verdict) {
    case GREET_MORE:
        return;
    case GREET_TLS:
        if (octets.size > 0)
            failed(learn, 0, "sends more than its reply to STARTTLS or STLS");
        else if (start_tls(learn) < 0)
            failed(learn, -ENOMEM, "cannot be reached by TLS");
        return;
    case GREET_READY:
        if (learn->greet.list) {
            done(learn);
            return;
        }
        failed(learn, 0, "does not say what it can do");
        return;
    case GREET_REFUSED:
        refused(learn, text_span(&out));
        return;
    default:
        failed(learn, learn->greet.fault ? 0 : verdict,
               learn->greet.fault ? learn->greet.fault : "sends what is no reply");
    }
}

static void on_data(struct stream *stream, struct span octets)
{
    struct learn *learn = stream->owner;

    if (!learn->ended)
        feed(learn, octets);
}

static void on_end(struct stream *stream, enum stream_end end, int error)
{
    struct learn *learn = stream->owner;

    (void)end;
    if (learn->ended)
        return;
    if (learn->greet.told) { /* it closed instead of saying goodbye */
        done(learn);
        return;
    }
    failed(learn, error ? error : -ECONNRESET,
           "closes the connection while we learn what it can do");
}

static void on_drained(struct stream *stream)
{
    (void)stream;
}

/* TLS is up, or has failed. */
static void on_tls(struct stream *stream, int status)
{
    struct learn *learn = stream->owner;
    char room[640];
    struct text words = TEXT_OVER(room);

    if (learn->ended)
        return;
    if (status < 0) {
        text_puts(&words, tls_failure(stream)); /* which goes with the stream */
        failed(learn, 0, text_str(&words));
        return;
    }
    if (protocol_is_relayed(learn->address->backend->protocol)) {
        done(learn);
        return;
    }
    if (learn->address->backend->settings->tls == BACKEND_TLS_STARTTLS) {
        greet_tls_done(&learn->greet);
        feed(learn, span_of(NULL, 0));
    }
}

static const struct stream_events events = { on_data, on_end, on_drained, on_tls };

/* Connected: who we are, and then the server speaks. */
static int begin(struct learn *learn)
{
    const struct backend *backend = learn->address->backend;
    unsigned char header[IDENTITY_ROOM];
    long size =
        identity_write_learning(backend->settings->identity, learn->tls, header, sizeof(header));
    bool told;

    if (size < 0)
        return (int)size;
    told = size == 0 || (stream_write(&learn->stream, span_of(header, (size_t)size)) >= 0 &&
                         stream_flush(&learn->stream) >= 0);
    if (backend->settings->tls == BACKEND_TLS_IMPLICIT)
        return told ? start_tls(learn) : -EPIPE;
    /* A server that could not be told has left already; why may be read all the same. */
    return stream_read(&learn->stream, 0);
}

static void on_connected(uv_connect_t *request, int status)
{
    struct learn *learn = request->data;

    if (learn->ended || !learn->stream_open)
        return;
    if (status == -EAGAIN) { /* the backlog is full: busy, not down */
        close_stream(learn);
        uv_timer_start(&learn->timer, on_timer, BUSY_RETRY_MS, 0);
        return;
    }
    if (status < 0) {
        failed(learn, status, "cannot be reached");
        return;
    }
    if (protocol_is_relayed(learn->address->backend->protocol) && !learn->address->backend->tls) {
        done(learn);
        return;
    }
    if (begin(learn) < 0)
        failed(learn, -EPIPE, "cannot be written to");
}

/* One of max_connections is ours. */
static void admitted(struct learn *learn)
{
    struct backend_address *address = learn->address;
    int r = backend_stream_init(address, &learn->stream, &events, learn);

    learn->admitted = true;
    if (r == 0) {
        learn->handles++;
        learn->stream_open = true;
        r = backend_connect(address, &learn->stream, &learn->connect, on_connected);
    } else {
        give_place(learn);
    }
    if (r != 0) { /* told from the loop, as what comes later */
        learn->status = r;
        uv_timer_start(&learn->timer, on_timer, 0, 0);
    }
}

static void on_room(struct backend_waiter *waiter, int status)
{
    struct learn *learn = (struct learn *)((char *)waiter - offsetof(struct learn, waiter));

    if (status < 0)
        failed(learn, status, "is out of service");
    else
        admitted(learn);
}

static void start_timer(struct learn *learn)
{
    uint64_t now = uv_now(learn->backend->loop->uv);

    uv_timer_start(&learn->timer, on_timer, learn->deadline_ms > now ? learn->deadline_ms - now : 0,
                   0);
}

/* Sessions may have all places: busy, not down. */
static void try_connect(struct learn *learn)
{
    start_timer(learn);
    if (backend_take(learn->address, &learn->waiter) == 0)
        admitted(learn);
}

static void on_timer(uv_timer_t *timer)
{
    struct learn *learn = timer->data;

    int status = learn->status;

    learn->status = 0;
    if (status == BACKEND_CONNECTED || status == -EAGAIN) {
        start_timer(learn);
        on_connected(&learn->connect, status < 0 ? status : 0);
        return;
    }
    if (status < 0) {
        failed(learn, status, "cannot be reached");
        return;
    }
    if (learn->stream_open && learn->greet.told) { /* all but the goodbye has come */
        done(learn);
        return;
    }
    if (learn->stream_open || uv_now(timer->loop) >= learn->deadline_ms) {
        failed(learn, learn->stream_open ? -ETIMEDOUT : -EAGAIN, "does not answer");
        return;
    }
    if (learn->stream_closing)
        uv_timer_start(timer, on_timer, 1, 0);
    else
        try_connect(learn);
}

static void plan(struct learn *learn)
{
    const struct backend *backend = learn->address->backend;
    struct span hostname = span_of_text(backend->all->gatepost.hostname);
    struct greet_plan plan = { .protocol = backend->protocol,
                               .purpose = GREET_LEARN,
                               .hello = hostname,
                               .hostname = hostname,
                               .starttls = backend->settings->tls == BACKEND_TLS_STARTTLS,
                               .xclient = backend->settings->identity == IDENTITY_XCLIENT };

    identity_learning_addresses(&learn->client, &learn->destination);
    plan.client.address = (struct sockaddr *)&learn->client;
    plan.client.destination = (struct sockaddr *)&learn->destination;
    greet_init(&learn->greet, &plan);
}

int backend_learn_start(struct backend_address *address, bool tls)
{
    struct backend *backend = address->backend;
    struct learn *learn;

    if (address->known[tls].learning)
        return 0;
    learn = calloc(1, sizeof(*learn));
    if (!learn)
        return -ENOMEM;
    learn->address = address;
    learn->backend = backend;
    backend->users++;
    learn->tls = tls;
    learn->generation = atomic_load(&address->health->generation);
    learn->began_ms = uv_now(backend->loop->uv);
    learn->deadline_ms = learn->began_ms + backend->settings->connect_timeout_ms;
    learn->connect.data = learn->timer.data = learn;
    learn->waiter.done = on_room;
    learn->handles = 1;
    uv_timer_init(backend->loop->uv, &learn->timer);
    plan(learn);
    address->known[tls].learning = learn;
    try_connect(learn);
    return 0;
}

/* A server behind the proxy: its address, what was learned of it, and the learning dialogue.
 *
 * Happy path of learning: connect, (PROXY header for 192.0.2.1,) banner, EHLO or CAPA, relay test,
 * QUIT, goodbye, close; the list is kept and everybody who waits is told. It fails by a refused
 * connection, silence beyond connect_timeout, or garbage; then the next session that needs the
 * server tries again. */
#include "proxy/backend.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/base/paths.h"
#include "proxy/greet.h"
#include "proxy/identity.h"

struct learn {
    struct backend *backend; /* NULL: the backend is gone, only the stream is left to close */
    bool tls;
    struct stream stream;
    uv_connect_t connect;
    uv_timer_t timer;
    unsigned handles; /* still open: the stream's and the timer */
    struct greet greet;
    bool ended;
};

int backend_init(struct backend *backend, struct stream_loop *loop, const struct settings *all,
                 const struct settings_backend *settings, enum port_protocol protocol)
{
    bool embedded = settings_backend_embedded(settings);

    *backend = (struct backend){ .loop = loop,
                                 .settings = settings,
                                 .hostname = all->gatepost.hostname,
                                 .protocol = protocol,
                                 .proxy_v2 = embedded || settings->identity == IDENTITY_PROXY_V2 };
    if (embedded)
        return embedded_socket_path(all->gatepost.runtime_dir, settings->name, backend->path,
                                    sizeof(backend->path));
    if ((size_t)snprintf(backend->path, sizeof(backend->path), "%s",
                         settings->address.items[0] + strlen("unix:")) >= sizeof(backend->path))
        return -ENAMETOOLONG;
    return 0;
}

static void add_waiter(struct backend *backend, bool tls, struct backend_waiter *waiter)
{
    struct backend_waiter **head = &backend->known[tls].waiters;

    waiter->next = *head;
    waiter->link = head;
    if (*head)
        (*head)->link = &waiter->next;
    *head = waiter;
}

void backend_stop_waiting(struct backend_waiter *waiter)
{
    if (!waiter->link)
        return;
    *waiter->link = waiter->next;
    if (waiter->next)
        waiter->next->link = waiter->link;
    waiter->link = NULL;
}

static void tell_waiters(struct backend *backend, bool tls, int status)
{
    struct backend_waiter *waiter;

    while ((waiter = backend->known[tls].waiters)) {
        backend_stop_waiting(waiter);
        waiter->done(waiter, status);
    }
}

static void forget(struct backend *backend)
{
    for (int tls = 0; tls < 2; tls++) {
        capabilities_unref(backend->known[tls].list);
        backend->known[tls].list = NULL;
    }
}

void backend_failed(struct backend *backend, int error, const char *words)
{
    forget(backend);
    if (!backend->down)
        log_line(LOG_LEVEL_WARNING, "backend %s (%s): %s: %s", backend->settings->name,
                 backend->path, words, err_text(error));
    backend->down = true;
}

void backend_answered(struct backend *backend)
{
    if (backend->down)
        log_line(LOG_LEVEL_NOTICE, "backend %s (%s) answers again", backend->settings->name,
                 backend->path);
    backend->down = false;
}

void backend_replace_list(struct backend *backend, bool tls, struct capabilities *list)
{
    capabilities_ref(list);
    capabilities_unref(backend->known[tls].list);
    backend->known[tls].list = list;
    backend->known[tls].learned_ms = uv_now(backend->loop->uv);
}

static void handle_gone(struct learn *learn)
{
    if (--learn->handles > 0)
        return;
    greet_deinit(&learn->greet);
    free(learn);
}

static void stream_gone(struct stream *stream)
{
    handle_gone(stream->owner);
}

static void timer_gone(uv_handle_t *timer)
{
    handle_gone(timer->data);
}

/* Ends the dialogue; the struct goes when both handles are closed. */
static void learn_stop(struct learn *learn)
{
    learn->ended = true;
    uv_close((uv_handle_t *)&learn->timer, timer_gone);
    stream_close(&learn->stream, false, stream_gone);
}

static void learn_failed(struct learn *learn, int error, const char *words)
{
    struct backend *backend = learn->backend;
    bool tls = learn->tls;

    if (learn->ended)
        return;
    backend->known[tls].learning = NULL;
    learn_stop(learn);
    backend_failed(backend, error, words);
    tell_waiters(backend, tls, error);
}

static void note_relay_test(struct backend *backend, bool tls, bool open_relay)
{
    bool before = backend_open_relay(backend);

    backend->known[tls].open_relay = open_relay;
    if (open_relay && !before)
        log_line(LOG_LEVEL_ERROR,
                 "backend %s (%s) relays mail of strangers for anybody who comes through us: %s. "
                 "Postfix: set "
                 "-o mynetworks= on that service, or let it learn the client's address (identity = "
                 "proxy-v2)",
                 backend->settings->name, backend->path,
                 backend->settings->trusts_us ? "trusts_us = yes keeps it open"
                                              : "it gets no mail");
    if (before && !backend_open_relay(backend))
        log_line(LOG_LEVEL_NOTICE, "backend %s (%s) passes the relay test now",
                 backend->settings->name, backend->path);
}

static void learn_done(struct learn *learn)
{
    struct backend *backend = learn->backend;
    bool tls = learn->tls;

    note_relay_test(backend, tls, learn->greet.open_relay);
    backend_replace_list(backend, tls, learn->greet.list);
    backend->known[tls].learning = NULL;
    learn_stop(learn);
    backend_answered(backend);
    tell_waiters(backend, tls, 0);
}

/* Lets the dialogue go on with what the server sent. */
static void learn_feed(struct learn *learn, struct span octets)
{
    char room[1024];
    struct text out = TEXT_OVER(room);
    int verdict;

    do {
        verdict = greet_feed(&learn->greet, &octets, &out);
        if (verdict == GREET_SEND && stream_write(&learn->stream, text_span(&out)) < 0)
            verdict = -EPIPE;
        out.size = 0;
    } while (verdict == GREET_SEND);
    if (verdict == GREET_READY && learn->greet.list) {
        learn_done(learn);
        return;
    }
    if (verdict == GREET_READY || verdict == GREET_REFUSED) {
        learn_failed(learn, -ECONNREFUSED, "refuses us in words");
        return;
    }
    if (verdict < 0)
        learn_failed(learn, verdict, "sends what is no reply");
}

static void learn_data(struct stream *stream, struct span octets)
{
    struct learn *learn = stream->owner;

    if (!learn->ended)
        learn_feed(learn, octets);
}

static void learn_end(struct stream *stream, enum stream_end end, int error)
{
    struct learn *learn = stream->owner;

    (void)end;
    if (learn->ended)
        return;
    if (learn->greet.told) { /* it closed instead of saying goodbye */
        learn_done(learn);
        return;
    }
    learn_failed(learn, error ? error : -ECONNRESET,
                 "closes the connection while we learn what it can do");
}

static void learn_drained(struct stream *stream)
{
    (void)stream;
}

static const struct stream_events learn_events = { .data = learn_data,
                                                   .end = learn_end,
                                                   .drained = learn_drained };

static void learn_timeout(uv_timer_t *timer)
{
    learn_failed(timer->data, -ETIMEDOUT, "does not answer");
}

static void learn_connected(uv_connect_t *request, int status)
{
    struct learn *learn = request->data;
    unsigned char header[PROXY_V2_HEADER_MAX];
    long size;

    if (learn->ended)
        return;
    if (status < 0) {
        learn_failed(learn, status, "cannot be reached");
        return;
    }
    if (learn->backend->proxy_v2) {
        size = identity_learning_header(learn->tls, header, sizeof(header));
        if (size < 0 || stream_write(&learn->stream, span_of(header, (size_t)size)) < 0 ||
            stream_flush(&learn->stream) < 0) {
            learn_failed(learn, -EPIPE, "cannot be written to");
            return;
        }
    }
    if (stream_read(&learn->stream, 0) < 0)
        learn_failed(learn, -EPIPE, "cannot be read from");
}

static int learn_start(struct backend *backend, bool tls)
{
    struct learn *learn = calloc(1, sizeof(*learn));
    int r;

    if (!learn)
        return -ENOMEM;
    r = stream_init_pipe(&learn->stream, backend->loop, &learn_events, learn);
    if (r < 0) {
        free(learn);
        return r;
    }
    learn->backend = backend;
    learn->tls = tls;
    learn->handles = 2;
    learn->connect.data = learn->timer.data = learn;
    greet_init(&learn->greet, &(struct greet_plan){ .protocol = backend->protocol,
                                                    .purpose = GREET_LEARN,
                                                    .hello = span_of_text(backend->hostname),
                                                    .hostname = span_of_text(backend->hostname) });
    uv_timer_init(backend->loop->uv, &learn->timer);
    uv_timer_start(&learn->timer, learn_timeout, backend->settings->connect_timeout_ms, 0);
    backend->known[tls].learning = learn;
    uv_pipe_connect(&learn->connect, &learn->stream.uv.pipe, backend->path, learn_connected);
    return 0;
}

int backend_learn(struct backend *backend, bool tls, struct backend_waiter *waiter)
{
    bool known = backend->known[tls].list != NULL;
    bool old =
        known && uv_now(backend->loop->uv) - backend->known[tls].learned_ms > BACKEND_RELEARN_MS;

    if ((!known || old) && !backend->known[tls].learning) {
        int r = learn_start(backend, tls);

        if (r < 0 && !known)
            return r;
    }
    if (known)
        return BACKEND_KNOWN;
    if (waiter)
        add_waiter(backend, tls, waiter);
    return BACKEND_LEARNING;
}

void backend_deinit(struct backend *backend)
{
    for (int tls = 0; tls < 2; tls++)
        if (backend->known[tls].learning)
            learn_stop(backend->known[tls].learning);
    forget(backend);
}

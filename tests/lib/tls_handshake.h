/* Real handshakes in memory: the server half is a stream's TLS of the context under test, the
 * client is an SSL over memory BIOs. */
#ifndef GATEPOST_TESTS_TLS_HANDSHAKE_H
#define GATEPOST_TESTS_TLS_HANDSHAKE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <openssl/err.h>

#include "proxy/stats.h"
#include "proxy/stream.h"
#include "proxy/tls.h"
#include "proxy/tls_engine.h"
#include "tests/lib/tls_fixture.h"

/* One server side, by the real tls_new(): a stream whose wire is loop->out and tls_feed(). No
 * socket is involved. */
struct server {
    struct stream_loop loop;
    struct stream stream;
};

static inline void server_init(struct server *server, struct tls_context *context)
{
    static struct stats unread;

    memset(server, 0, sizeof(*server));
    server->loop.stats = &unread;
    server->loop.out = malloc(STREAM_OUT_MAX);
    server->loop.event_depth = 1; /* nobody flushes: the test takes the octets */
    server->stream.loop = &server->loop;
    server->stream.tls = tls_new(&server->stream, context);
    assert_non_null(server->stream.tls);
}

static inline void server_deinit(struct server *server)
{
    tls_free(server->stream.tls);
    chunk_pool_deinit(&server->loop.chunks);
    free(server->loop.out);
}

static inline SSL *client_new(SSL_CTX *ssl_ctx, const char *sni, SSL_SESSION *session)
{
    SSL *client = SSL_new(ssl_ctx);
    BIO *in = BIO_new(BIO_s_mem());

    BIO_set_mem_eof_return(in, -1);
    SSL_set_bio(client, in, BIO_new(BIO_s_mem()));
    SSL_set_connect_state(client);
    if (sni)
        SSL_set_tlsext_host_name(client, sni);
    if (session)
        SSL_set_session(client, session);
    return client;
}

/* Runs both sides until neither goes on. The server's last result. */
static inline int shake_hands(struct server *server, SSL *client)
{
    int status = TLS_STEP_DRY;

    for (int round = 0; round < 6; round++) {
        unsigned char room[20000], ignored[1];
        int size;

        if (SSL_do_handshake(client) == 1)
            SSL_read(client, ignored, sizeof(ignored)); /* takes the ticket */
        size = BIO_read(SSL_get_wbio(client), room, sizeof(room));
        if (size > 0 && status == TLS_STEP_DRY) {
            assert_int_equal(tls_feed(server->stream.tls, span_of(room, (size_t)size)), 0);
            status = tls_handshake(server->stream.tls);
        }
        BIO_write(SSL_get_rbio(client), server->loop.out, (int)server->loop.out_size);
        server->loop.out_size = 0;
    }
    ERR_clear_error();
    return status;
}

#endif

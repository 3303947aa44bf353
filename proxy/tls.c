/* OpenSSL as the engine of one stream, as server or as client: a BIO over lent memory, a handshake,
 * reading and writing. Words for failures are in tls_words.c.
 *
 * Happy path: tls_feed lends ciphertext, tls_handshake and tls_read let OpenSSL take it through the
 * BIO, records go out by stream_put. Failures: all of OpenSSL's errors become -EPROTO here, with
 * words in `failure`. Where OpenSSL sent no alert because what came was no TLS, one is put out in
 * its place, so that the peer hears something. Floods of what carries no application data
 * (KeyUpdate, renegotiation, and control records caused by a peer that does not read) end the
 * stream. */
#include "proxy/tls.h"

#include <errno.h>
#include <stdlib.h>

#include <openssl/err.h>
#include <openssl/ssl.h>

#include "proxy/stats.h"
#include "proxy/stream.h"
#include "proxy/tls_client.h"
#include "proxy/tls_context.h"
#include "proxy/tls_hooks.h"
#include "proxy/tls_private.h"

#define FLOOD_MESSAGES                                                                             \
    32 /* post-handshake messages without application data between; guessed, as OpenSSL's 32 empty \
          records */
#define FLOOD_OCTETS 4096 /* control records waiting for a peer that does not read; guessed */

/* --- the BIO --- */

static void count_copy(const struct tls *tls, size_t octets)
{
    stats_add(&tls->stream->loop->stats->octets_copied, octets);
}

bool tls_flooded(const struct tls *tls)
{
    return tls->messages > FLOOD_MESSAGES || tls->control_waiting > FLOOD_OCTETS;
}

static int bio_read(BIO *bio, char *into, int room)
{
    struct tls *tls = BIO_get_data(bio);
    bool held = tls->held.size > 0;
    struct span source = span_first(held ? chunk_queue_front(&tls->held) : tls->lent, (size_t)room);

    BIO_clear_retry_flags(bio);
    if (tls_flooded(tls))
        return -1;
    if (source.size == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    count_copy(tls, source.size);
    memcpy(into, source.data, source.size);
    if (tls->is_client && !tls->established)
        tls_note_first(tls, source);
    if (held)
        chunk_queue_consume(&tls->held, &tls->stream->loop->chunks, source.size);
    else
        tls->lent = span_skip(tls->lent, source.size);
    return (int)source.size;
}

static int bio_write(BIO *bio, const char *octets, int size)
{
    struct tls *tls = BIO_get_data(bio);

    BIO_clear_retry_flags(bio);
    tls->put_any = true;
    if (tls->reading && stream_waiting(tls->stream) > 0)
        tls->control_waiting += (uint32_t)size;
    return stream_put(tls->stream, span_of(octets, (size_t)size)) < 0 ? -1 : size;
}

static long bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio, (void)number, (void)pointer;
    return command == BIO_CTRL_FLUSH; /* the stream flushes at the end of its event */
}

/* One method table for the process. NULL: no memory. */
static BIO_METHOD *bio_method(void)
{
    static BIO_METHOD *method;

    if (method)
        return method;
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gatepost stream");
    if (!method)
        return NULL;
    BIO_meth_set_read(method, bio_read);
    BIO_meth_set_write(method, bio_write);
    BIO_meth_set_ctrl(method, bio_ctrl);
    return method;
}

static BIO *bio_new(struct tls *tls)
{
    BIO_METHOD *method = bio_method();
    BIO *bio = method ? BIO_new(method) : NULL;

    if (!bio)
        return NULL;
    BIO_set_data(bio, tls);
    BIO_set_init(bio, 1);
    return bio;
}

/* --- life --- */

/* Takes `ssl` over where it succeeds. NULL: no memory. */
static struct tls *make(struct stream *stream, SSL *ssl)
{
    struct tls *tls = calloc(1, sizeof(*tls));
    BIO *bio = tls ? bio_new(tls) : NULL;

    if (!bio) {
        free(tls);
        ERR_clear_error();
        return NULL;
    }
    tls->ssl = ssl;
    tls->stream = stream;
    SSL_set_app_data(ssl, tls);
    SSL_set_bio(ssl, bio, bio);
    return tls;
}

struct tls *tls_new(struct stream *stream, struct tls_context *context)
{
    SSL *ssl = tls_context_connect(context);
    struct tls *tls = ssl ? make(stream, ssl) : NULL;

    if (tls) {
        tls->context = context;
        tls->dry = true;
        SSL_set_accept_state(ssl);
    } else if (ssl) {
        SSL_free(ssl);
        tls_context_free(context);
    }
    return tls;
}

int tls_new_client(struct stream *stream, struct tls_client *client, const char *name,
                   struct tls **ret_tls)
{
    struct tls *tls;
    SSL *ssl;
    int status = tls_client_connect(client, name, &ssl);

    if (status < 0)
        return status;
    tls = make(stream, ssl);
    if (!tls) {
        SSL_free(ssl);
        tls_client_free(client);
        return -ENOMEM;
    }
    tls->client = client;
    tls->is_client = true; /* and not dry: it speaks first */
    SSL_set_connect_state(ssl);
    *ret_tls = tls;
    return 0;
}

void tls_free(struct tls *tls)
{
    if (!tls)
        return;
    chunk_queue_clear(&tls->held, &tls->stream->loop->chunks, false);
    SSL_free(tls->ssl);
    if (tls->is_client)
        tls_client_free(tls->client);
    else
        tls_context_free(tls->context);
    free(tls->failure);
    free(tls);
}

int tls_feed(struct tls *tls, struct span input)
{
    if (input.size == 0)
        return 0;
    tls->dry = false;
    tls->lent = input;
    return tls->held.size > 0 ? tls_keep(tls) : 0;
}

int tls_keep(struct tls *tls)
{
    struct span rest = tls->lent;

    tls->lent = span_of(NULL, 0);
    count_copy(tls, rest.size);
    return rest.size > 0 ? chunk_queue_append(&tls->held, &tls->stream->loop->chunks, rest) : 0;
}

bool tls_dry(const struct tls *tls)
{
    return tls->dry;
}

bool tls_pending(const struct tls *tls)
{
    return tls->lent.size > 0 || tls->held.size > 0 || SSL_has_pending(tls->ssl);
}

bool tls_established(const struct tls *tls)
{
    return tls->established;
}

void tls_drained(struct tls *tls)
{
    tls->control_waiting = 0;
}

/* --- failures --- */

/* OpenSSL sends none where the first record is none. Only before anything else was sent, so that it
 * is in clear. */
static void put_missing_alert(struct tls *tls, int reason)
{
    unsigned char alert[] = { SSL3_RT_ALERT, 3, 1, 0, 2, SSL3_AL_FATAL, SSL_AD_UNEXPECTED_MESSAGE };

    if (tls->alert_put || tls->put_any)
        return;
    if (reason == SSL_R_WRONG_VERSION_NUMBER || reason == SSL_R_UNSUPPORTED_PROTOCOL)
        alert[6] = SSL_AD_PROTOCOL_VERSION;
    stream_put(tls->stream, span_of(alert, sizeof(alert)));
}

/* Translates OpenSSL's error of the last call. -EPROTO. */
static int fail(struct tls *tls)
{
    unsigned long error = ERR_peek_last_error();
    char room[512];
    struct text words = TEXT_OVER(room);

    tls_put_error_words(tls, error, &words);
    tls_note_failure(tls, text_str(&words));
    if (!tls->established)
        put_missing_alert(tls, ERR_GET_REASON(error));
    ERR_clear_error();
    return -EPROTO;
}

/* --- turning the engine --- */

static bool nothing_left(const struct tls *tls)
{
    return tls->lent.size == 0 && tls->held.size == 0 && !SSL_has_pending(tls->ssl);
}

/* An error that somebody else left in the queue would be taken for this call's. */
static void forget_errors(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

int tls_handshake(struct tls *tls)
{
    int result;

    forget_errors();
    result = SSL_do_handshake(tls->ssl);
    if (result == 1) {
        tls->established = true;
        tls->dry = nothing_left(tls);
        return TLS_STEP_DONE;
    }
    if (SSL_get_error(tls->ssl, result) != SSL_ERROR_WANT_READ)
        return fail(tls);
    tls->dry = true;
    return TLS_STEP_DRY;
}

/* What a read without octets means. */
static int read_outcome(struct tls *tls)
{
    switch (SSL_get_error(tls->ssl, 0)) {
    case SSL_ERROR_WANT_READ:
        tls->dry = true;
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_STEP_CLOSED;
    default: /* all else is an error */
        return fail(tls);
    }
}

/* While a password may come, OpenSSL wipes its copies too. */
static void follow_secret(struct tls *tls)
{
    if (tls->cleansing == tls->stream->secret)
        return;
    tls->cleansing = tls->stream->secret;
    if (tls->cleansing)
        SSL_set_options(tls->ssl, SSL_OP_CLEANSE_PLAINTEXT);
    else
        SSL_clear_options(tls->ssl, SSL_OP_CLEANSE_PLAINTEXT);
}

int tls_read(struct tls *tls, unsigned char *into, size_t room, size_t *ret_size)
{
    size_t size = 0, part;

    follow_secret(tls);
    forget_errors();
    tls->reading = true;
    while (size < room && !tls->dry && tls->outcome == 0) {
        if (SSL_read_ex(tls->ssl, into + size, room - size, &part)) {
            size += part;
            tls->messages = 0;
            tls->dry = nothing_left(tls);
        } else {
            tls->outcome = read_outcome(tls);
        }
    }
    tls->reading = false;
    if (size > 0) {
        *ret_size = size;
        return TLS_STEP_DONE;
    }
    return tls->outcome != 0 ? tls->outcome : TLS_STEP_DRY;
}

int tls_write(struct tls *tls, struct span octets)
{
    size_t written;

    if (!tls->established)
        return -EPROTO;
    if (SSL_get_shutdown(tls->ssl) & SSL_SENT_SHUTDOWN)
        return -EPIPE;
    forget_errors();
    if (SSL_write_ex(tls->ssl, octets.data, octets.size, &written))
        return 0;
    return fail(tls);
}

void tls_shutdown(struct tls *tls)
{
    if (!tls->established || tls->outcome < 0)
        return;
    forget_errors();
    if (SSL_shutdown(tls->ssl) < 0)
        ERR_clear_error();
}

/* --- facts --- */

void tls_facts(const struct stream *stream, struct tls_facts *ret_facts)
{
    const SSL *ssl = stream->tls ? stream->tls->ssl : NULL;
    const unsigned char *alpn = NULL;
    const char *sni;
    unsigned alpn_size = 0;

    *ret_facts = (struct tls_facts){ "", "", "", "", false };
    if (!ssl)
        return;
    sni = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    SSL_get0_alpn_selected(ssl, &alpn, &alpn_size);
    ret_facts->version = SSL_get_version(ssl);
    ret_facts->cipher = SSL_get_cipher_name(ssl);
    ret_facts->sni = sni ? sni : "";
    if (alpn_size > 0 && !stream->tls->is_client)
        ret_facts->alpn = tls_context_alpn(stream->tls->context);
    ret_facts->resumed = SSL_session_reused(ssl) != 0;
}

/* --- called by OpenSSL --- */

void tls_on_message(int written, int version, int type, const void *octets, size_t size, SSL *ssl,
                    void *unused)
{
    struct tls *tls = SSL_get_app_data(ssl);

    (void)version, (void)octets, (void)size, (void)unused;
    if (type == SSL3_RT_ALERT && written)
        tls->alert_put = true;
    if (type == SSL3_RT_HANDSHAKE && !written && tls->established && tls->messages < UINT8_MAX)
        tls->messages++;
}

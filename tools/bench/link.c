/* Sockets and OpenSSL's client side, for the load generator.
 *
 * A close without close_notify counts as an end like any other: several proxies never send one. */
#include "tools/bench/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define STALLED_BYTES    65536  /* of the kernel's, for one who stops reading */
#define READ_AHEAD_BYTES 131072 /* of a fast reader, so that it is the proxy that is measured */

static int keep_ticket(SSL *tls, SSL_SESSION *ticket)
{
    struct link *link = SSL_get_app_data(tls);

    SSL_SESSION_free(link->ticket);
    link->ticket = ticket;
    return 1;
}

static bool set_ciphers(SSL_CTX *context, const struct load_options *options)
{
    if (!options->ciphers)
        return true;
    if (options->tls_minor == 3)
        return SSL_CTX_set_ciphersuites(context, options->ciphers) == 1;
    return SSL_CTX_set_cipher_list(context, options->ciphers) == 1;
}

SSL_CTX *link_context_new(const struct load_options *options)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    int version = options->tls_minor == 2 ? TLS1_2_VERSION : TLS1_3_VERSION;

    if (!context || !set_ciphers(context, options)) {
        fprintf(stderr, "bench-load: TLS: %s\n", link_words());
        SSL_CTX_free(context);
        return NULL;
    }
    SSL_CTX_set_min_proto_version(context, version);
    SSL_CTX_set_max_proto_version(context, version);
    SSL_CTX_set_verify(context, SSL_VERIFY_NONE, NULL); /* its certificate was made a moment ago */
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                  SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_read_ahead(context, 1);
    if (options->mode == LOAD_RETR)
        SSL_CTX_set_default_read_buffer_len(context, READ_AHEAD_BYTES);
    if (options->resume) {
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(context, keep_ticket);
    }
    return context;
}

/* The port is chosen at connect(), so that sessions to the same target may share what they do not
 * need alone. */
static int bind_source(int fd, unsigned source)
{
    struct sockaddr_in address = { .sin_family = AF_INET };
    int one = 1;

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK + 1 + source);
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
    return bind(fd, (const struct sockaddr *)&address, sizeof(address)) == 0 ? 0 : -errno;
}

int link_open(struct link *link, const struct load_options *options, unsigned source)
{
    const struct sockaddr *target = (const struct sockaddr *)&options->target;
    int one = 1, little = STALLED_BYTES, status;

    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (link->fd < 0)
        return -errno;
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
    if (options->mode == LOAD_IDLE && options->stage == LOAD_STALLED)
        setsockopt(link->fd, SOL_SOCKET, SO_RCVBUF, &little, sizeof(little));
    status = bind_source(link->fd, source);
    if (status == 0 && connect(link->fd, target, sizeof(options->target)) != 0 &&
        errno != EINPROGRESS)
        status = -errno;
    return status;
}

int link_connected(const struct link *link)
{
    int error = 0;
    socklen_t size = sizeof(error);

    if (getsockopt(link->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        return -errno;
    return -error;
}

static int tls_new(struct link *link, SSL_CTX *context)
{
    link->tls = SSL_new(context);
    if (!link->tls || SSL_set_fd(link->tls, link->fd) != 1)
        return -ENOMEM;
    SSL_set_app_data(link->tls, link);
    SSL_set_connect_state(link->tls);
    if (link->ticket)
        SSL_set_session(link->tls, link->ticket);
    return 0;
}

int link_handshake(struct link *link, SSL_CTX *context)
{
    int result;

    if (!link->tls && tls_new(link, context) < 0)
        return -ENOMEM;
    result = SSL_do_handshake(link->tls);
    if (result == 1)
        return 0;
    result = SSL_get_error(link->tls, result);
    return result == SSL_ERROR_WANT_READ || result == SSL_ERROR_WANT_WRITE ? LINK_WAIT : -EPROTO;
}

bool link_resumed(const struct link *link)
{
    return SSL_session_reused(link->tls);
}

static ssize_t tls_outcome(struct link *link, int result)
{
    int saved = errno;

    switch (SSL_get_error(link->tls, result)) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return 0;
    case SSL_ERROR_ZERO_RETURN:
        return LINK_ENDED;
    case SSL_ERROR_SYSCALL:
        return saved ? -saved : LINK_ENDED;
    default:
        if (ERR_GET_REASON(ERR_peek_error()) != SSL_R_UNEXPECTED_EOF_WHILE_READING)
            return -EPROTO;
        ERR_clear_error();
        return LINK_ENDED;
    }
}

ssize_t link_read(struct link *link, void *into, size_t room)
{
    ssize_t size;

    if (link->tls) {
        int result = SSL_read(link->tls, into, (int)room);

        return result > 0 ? result : tls_outcome(link, result);
    }
    size = recv(link->fd, into, room, 0);
    if (size == 0)
        return LINK_ENDED;
    if (size < 0)
        return errno == EAGAIN ? 0 : -errno;
    return size;
}

ssize_t link_write(struct link *link, struct span octets)
{
    ssize_t size;

    if (link->tls) {
        int result = SSL_write(link->tls, octets.data, (int)octets.size);

        return result > 0 ? result : tls_outcome(link, result);
    }
    size = send(link->fd, octets.data, octets.size, MSG_NOSIGNAL);
    if (size < 0)
        return errno == EAGAIN ? 0 : -errno;
    return size;
}

const char *link_words(void)
{
    const char *words = ERR_reason_error_string(ERR_peek_error());

    ERR_clear_error();
    return words ? words : "closed";
}

void link_close(struct link *link)
{
    if (link->tls && SSL_is_init_finished(link->tls))
        SSL_shutdown(link->tls);
    SSL_free(link->tls);
    link->tls = NULL;
    if (link->fd >= 0)
        close(link->fd);
    link->fd = -1;
    ERR_clear_error();
}

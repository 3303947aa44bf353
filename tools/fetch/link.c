/* The link to the server.
 *
 * Happy path: the host's addresses are tried in the order in which the resolver gives them, each
 * for a while; the first that answers is used; TLS; then reads and writes that never block. Fails
 * with words for a person: what was tried, and what came of it. */
#include "tools/fetch/link.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include "proxy/base/err.h"

#define CONNECT_MS      15000 /* for one address; guessed */
#define HANDSHAKE_MS    60000 /* on a link with some seconds of delay; guessed */
#define USER_TIMEOUT_MS 90000 /* octets that nobody acknowledges: the link is dead */
#define KEEPALIVE_S     60
#define ALPN            "\x0dremote-mail/1"

struct link {
    int fd;
    SSL_CTX *context;
    SSL *ssl; /* NULL: plain */
    bool reading_wants_write, writing_wants_read;
};

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* ---- TCP ---- */

/* 0, -ETIMEDOUT, -EINTR or -errno. */
static int wait_for(int fd, short events, long long until_ms)
{
    struct pollfd poll_fd = { .fd = fd, .events = events };
    long long left = until_ms - now_ms();
    int r = poll(&poll_fd, 1, left > 0 ? (int)left : 0);

    if (r < 0)
        return -errno;
    return r == 0 ? -ETIMEDOUT : 0;
}

static void set_number(int fd, int level, int option, int value)
{
    (void)setsockopt(fd, level, option, &value, sizeof(value));
}

/* What cannot be set makes a dead link be noticed later, and nothing else. */
static void set_options(int fd)
{
    set_number(fd, IPPROTO_TCP, TCP_NODELAY, 1);
    set_number(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
    set_number(fd, IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_S);
    set_number(fd, IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_S / 2);
    set_number(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, USER_TIMEOUT_MS);
}

/* The descriptor of a connection, or -errno. */
static int connect_to(const struct addrinfo *address)
{
    int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r = 0;
    socklen_t size = sizeof(r);

    if (fd < 0)
        return -errno;
    set_options(fd);
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0)
        r = -errno;
    if (r == -EINPROGRESS)
        r = wait_for(fd, POLLOUT, now_ms() + CONNECT_MS);
    if (r == 0 && getsockopt(fd, SOL_SOCKET, SO_ERROR, &r, &size) < 0)
        r = errno;
    if (r == 0)
        return fd;
    close(fd);
    return r > 0 ? -r : r;
}

/* "192.0.2.7: connection refused" */
static void put_failure(struct text *words, const struct addrinfo *address, int error)
{
    char name[NI_MAXHOST] = "?";

    getnameinfo(address->ai_addr, address->ai_addrlen, name, sizeof(name), NULL, 0, NI_NUMERICHOST);
    text_printf(words, "%s%s: %s", words->size > 0 ? ", " : "", name, err_text(error));
}

/* The first address that answers: its descriptor, or -errno of the last. */
static int connect_to_any(const struct addrinfo *addresses, struct text *words)
{
    int fd = -EADDRNOTAVAIL;

    for (const struct addrinfo *one = addresses; one; one = one->ai_next) {
        fd = connect_to(one);
        if (fd >= 0 || fd == -EINTR)
            return fd;
        put_failure(words, one, fd);
    }
    return fd;
}

/* 0 with *ret_fd, a link_opened, or -EINTR. */
static int connect_by_name(const struct link_options *options, int *ret_fd, struct text *words)
{
    const struct addrinfo hints = { .ai_family = AF_UNSPEC,
                                    .ai_socktype = SOCK_STREAM,
                                    .ai_flags = AI_ADDRCONFIG };
    struct addrinfo *addresses = NULL;
    int r = getaddrinfo(options->host, options->port, &hints, &addresses), fd;

    if (r == EAI_ADDRFAMILY || r == EAI_NODATA) { /* ::1 where there is no IPv6 but that */
        const struct addrinfo any = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM };

        r = getaddrinfo(options->host, options->port, &any, &addresses);
    }
    if (r != 0) {
        text_printf(words, "%s", r == EAI_SYSTEM ? err_text(errno) : gai_strerror(r));
        return r == EAI_NONAME || r == EAI_NODATA || r == EAI_SERVICE ? LINK_UNKNOWN : LINK_SILENT;
    }
    fd = connect_to_any(addresses, words);
    freeaddrinfo(addresses);
    if (fd < 0)
        return fd == -EINTR ? -EINTR : fd == -ECONNRESET ? LINK_CUT : LINK_SILENT;
    words->size = 0;
    *ret_fd = fd;
    return 0;
}

/* ---- TLS ---- */

struct explanation {
    long code;
    const char *words;
};

#define NO_TLS                                                                                     \
    "it does not begin with TLS on this port; another port is given as HOST:PORT, and --plain "    \
    "does without TLS where the link is safe already"
#define OLD_TLS "it speaks no TLS 1.2 or later"

static const struct explanation reasons[] = {
    { SSL_R_WRONG_VERSION_NUMBER, NO_TLS },
    { SSL_R_PACKET_LENGTH_TOO_LONG, NO_TLS },
    { SSL_R_UNSUPPORTED_PROTOCOL, OLD_TLS },
    { SSL_R_TLSV1_ALERT_PROTOCOL_VERSION, OLD_TLS },
    { SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE, "it has no cipher that is used here" },
    { SSL_R_TLSV1_ALERT_NO_APPLICATION_PROTOCOL,
      "what it speaks on this port is not Remote Mail; another port is given as HOST:PORT" },
    { 0, NULL },
};

#define UNKNOWN_AUTHORITY                                                                          \
    "its certificate is of an authority that is not trusted here; --ca names others"

static const struct explanation verdicts[] = {
    { X509_V_ERR_CERT_HAS_EXPIRED, "its certificate has expired" },
    { X509_V_ERR_CERT_NOT_YET_VALID,
      "its certificate is not valid yet, or the clock of this machine is wrong" },
    { X509_V_ERR_HOSTNAME_MISMATCH, "its certificate is for other names than this one" },
    { X509_V_ERR_IP_ADDRESS_MISMATCH,
      "its certificate is for names, or other addresses; use the name of the host" },
    { X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, UNKNOWN_AUTHORITY },
    { X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE, UNKNOWN_AUTHORITY },
    { X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN, UNKNOWN_AUTHORITY },
    { X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT,
      "it has signed its certificate itself; --fingerprint trusts this one" },
    { 0, NULL },
};

/* NULL: there are no words of ours. */
static const char *explain_code(const struct explanation *list, long code)
{
    while (list->words && list->code != code)
        list++;
    return list->words;
}

/* The reason of the last error, without file and function. */
static void put_tls_error(struct text *words)
{
    unsigned long error = ERR_peek_last_error();
    const char *ours = explain_code(reasons, ERR_GET_REASON(error)),
               *theirs = error ? ERR_reason_error_string(error) : NULL;

    if (ours && ERR_GET_LIB(error) == ERR_LIB_SSL)
        text_puts(words, ours);
    else
        text_puts(words, theirs ? theirs : "the server has closed");
    ERR_clear_error();
}

static int load_authorities(SSL_CTX *context, const struct link_options *options,
                            struct text *words)
{
    if (!options->ca)
        return SSL_CTX_set_default_verify_paths(context) == 1 ? 0 : LINK_BAD_CA;
    if (SSL_CTX_load_verify_file(context, options->ca) == 1)
        return 0;
    text_printf(words, "%s: ", options->ca);
    put_tls_error(words);
    return LINK_BAD_CA;
}

static int make_context(struct link *link, const struct link_options *options, struct text *words)
{
    link->context = SSL_CTX_new(TLS_client_method());
    if (!link->context || SSL_CTX_set_min_proto_version(link->context, TLS1_2_VERSION) != 1)
        return -ENOMEM;
    SSL_CTX_set_mode(link->context, SSL_MODE_ENABLE_PARTIAL_WRITE |
                                        SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                                        SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_options(link->context, SSL_OP_NO_RENEGOTIATION);
    if (options->fingerprint) { /* check_fingerprint() is the judge */
        SSL_CTX_set_verify(link->context, SSL_VERIFY_NONE, NULL);
        return 0;
    }
    SSL_CTX_set_verify(link->context, SSL_VERIFY_PEER, NULL);
    return load_authorities(link->context, options, words);
}

/* Whose certificate it must be: a name, which is also asked for, or an address. */
static bool set_host(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *param = SSL_get0_param(ssl);
    unsigned char address[16];

    X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return X509_VERIFY_PARAM_set1_ip_asc(param, host) == 1;
    return X509_VERIFY_PARAM_set1_host(param, host, 0) == 1 &&
           SSL_set_tlsext_host_name(ssl, host) == 1;
}

static void put_fingerprint(const X509 *certificate, char *into)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    struct text text = { into, 0, LINK_FINGERPRINT + 1, false };

    if (X509_digest(certificate, EVP_sha256(), digest, &size) == 1)
        for (unsigned i = 0; i < size; i++)
            text_printf(&text, "%02x", digest[i]);
    text_str(&text);
}

/* What the handshake has failed of. */
static int explain(struct link *link, struct text *words)
{
    long verdict = SSL_get_verify_result(link->ssl);
    const char *ours = explain_code(verdicts, verdict);

    if (verdict == X509_V_OK) {
        put_tls_error(words);
        return LINK_UNTRUSTED;
    }
    ERR_clear_error();
    if (ours)
        text_puts(words, ours);
    else
        text_printf(words, "its certificate is refused: %s",
                    X509_verify_cert_error_string(verdict));
    return LINK_UNTRUSTED;
}

static int check_fingerprint(struct link *link, const struct link_options *options,
                             struct text *words)
{
    X509 *certificate = SSL_get1_peer_certificate(link->ssl);
    char got[LINK_FINGERPRINT + 1] = "";

    if (certificate)
        put_fingerprint(certificate, got);
    X509_free(certificate);
    if (strcmp(got, options->fingerprint) == 0)
        return 0;
    text_printf(words, "its certificate has another fingerprint, %s", got);
    return LINK_UNTRUSTED;
}

/* Has the link ended, rather than TLS? Nothing else has a reason of its own then. */
static bool is_cut(int want)
{
    return want == SSL_ERROR_SYSCALL || want == SSL_ERROR_ZERO_RETURN ||
           ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
}

/* 0 once it is done; a link_opened, -ETIMEDOUT, -EINTR or -errno. */
static int shake_hands(struct link *link, struct text *words)
{
    long long until = now_ms() + HANDSHAKE_MS;
    int r = 0;

    while (r == 0) {
        int result = SSL_connect(link->ssl), want;

        if (result == 1)
            return 0;
        want = SSL_get_error(link->ssl, result);
        if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
            return is_cut(want) ? LINK_CUT : explain(link, words);
        r = wait_for(link->fd, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, until);
    }
    return r;
}

static int start_tls(struct link *link, const struct link_options *options, struct text *words)
{
    int r = make_context(link, options, words);

    if (r != 0)
        return r;
    link->ssl = SSL_new(link->context);
    if (!link->ssl || SSL_set_fd(link->ssl, link->fd) != 1 || !set_host(link->ssl, options->host) ||
        SSL_set_alpn_protos(link->ssl, (const unsigned char *)ALPN, sizeof(ALPN) - 1) != 0)
        return -ENOMEM;
    r = shake_hands(link, words);
    if (r == LINK_CUT)
        text_puts(words, "the link was cut during the handshake of TLS");
    if (r == -ETIMEDOUT) {
        text_puts(words, "it does not finish the handshake of TLS");
        return LINK_SILENT;
    }
    return r == 0 && options->fingerprint ? check_fingerprint(link, options, words) : r;
}

/* ---- the link ---- */

int link_open(const struct link_options *options, struct link **ret_link, struct text *words)
{
    struct link *link = calloc(1, sizeof(*link));
    int r;

    if (!link)
        return -ENOMEM;
    link->fd = -1;
    r = connect_by_name(options, &link->fd, words);
    if (r == 0 && !options->plain)
        r = start_tls(link, options, words);
    if (r != 0) {
        link_close(link);
        return r;
    }
    *ret_link = link;
    return 0;
}

void link_close(struct link *link)
{
    if (!link)
        return;
    if (link->ssl && SSL_is_init_finished(link->ssl))
        SSL_shutdown(link->ssl); /* our half; nobody waits for the other */
    ERR_clear_error();
    SSL_free(link->ssl);
    SSL_CTX_free(link->context);
    if (link->fd >= 0)
        close(link->fd);
    free(link);
}

/* What a call that returned `result` means: 0, -EAGAIN, or -errno. */
static int translate(struct link *link, int result, bool *ret_other_way, int other_way)
{
    int system_error = errno, want = SSL_get_error(link->ssl, result);

    ERR_clear_error();
    switch (want) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        *ret_other_way = want == other_way;
        return -EAGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    case SSL_ERROR_SYSCALL:
        return system_error ? -system_error : -ECONNRESET;
    default:
        return -ECONNRESET;
    }
}

long link_read(struct link *link, unsigned char *into, size_t room)
{
    size_t size;
    ssize_t got;

    if (!link->ssl) {
        got = recv(link->fd, into, room, 0);
        return got < 0 ? -errno : got;
    }
    link->reading_wants_write = false;
    errno = 0;
    if (SSL_read_ex(link->ssl, into, room, &size) == 1)
        return (long)size;
    return translate(link, 0, &link->reading_wants_write, SSL_ERROR_WANT_WRITE);
}

long link_write(struct link *link, struct span octets)
{
    size_t size;
    ssize_t sent;
    int r;

    if (!link->ssl) {
        sent = send(link->fd, octets.data, octets.size, MSG_NOSIGNAL);
        return sent < 0 ? -errno : sent;
    }
    link->writing_wants_read = false;
    errno = 0;
    if (SSL_write_ex(link->ssl, octets.data, octets.size, &size) == 1)
        return (long)size;
    r = translate(link, 0, &link->writing_wants_read, SSL_ERROR_WANT_READ);
    return r == 0 ? -EPIPE : r;
}

int link_wait(struct link *link, bool writing, int other, int timeout_ms)
{
    bool for_room = (writing && !link->writing_wants_read) || link->reading_wants_write;
    struct pollfd fds[2] = {
        { .fd = link->fd, .events = for_room ? POLLIN | POLLOUT : POLLIN },
        { .fd = other, .events = POLLIN },
    };
    int r = poll(fds, other >= 0 ? 2 : 1, timeout_ms);

    if (r < 0)
        return -errno;
    return (fds[0].revents ? LINK_READY : 0) | (other >= 0 && fds[1].revents ? LINK_OTHER : 0);
}

void link_put_kind(const struct link *link, struct text *text)
{
    if (link->ssl)
        text_printf(text, "%s, %s", SSL_get_version(link->ssl), SSL_get_cipher_name(link->ssl));
    else
        text_puts(text, "no TLS");
}

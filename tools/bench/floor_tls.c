/* OpenSSL alone, over memory: what no proxy that uses it can go below.
 *
 * Both halves of a handshake run here in turn; the clock of the process is read around each. The
 * cost is the median of all: what else the machine does shows in few of them. */
#include <errno.h>
#include <openssl/ssl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "tools/bench/floor.h"

#define RUNS_MOST    100000
#define FLIGHTS      6
#define RECORD_BYTES 16384
#define BATCH        16 /* records sealed before they are opened */
#define MIB          1048576.0

struct pair {
    SSL_CTX *server_context, *client_context;
    SSL *server, *client;
};

static SSL_SESSION *ticket;

static int keep_ticket(SSL *client, SSL_SESSION *session)
{
    (void)client;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

static double cpu_s(void)
{
    return floor_clock(CLOCK_PROCESS_CPUTIME_ID);
}

/* Two ends of one connection, not shaken hands yet. */
static void pair_begin(struct pair *pair, bool resume)
{
    BIO *up = BIO_new(BIO_s_mem()), *down = BIO_new(BIO_s_mem());

    BIO_up_ref(up);
    BIO_up_ref(down);
    pair->server = SSL_new(pair->server_context);
    SSL_set_accept_state(pair->server);
    SSL_set_bio(pair->server, up, down);
    pair->client = SSL_new(pair->client_context);
    SSL_set_connect_state(pair->client);
    if (resume && ticket)
        SSL_set_session(pair->client, ticket);
    SSL_set_bio(pair->client, down, up);
}

static void pair_end(struct pair *pair)
{
    /* as if it had been closed properly: otherwise its session could not be resumed */
    SSL_set_shutdown(pair->client, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(pair->client);
    SSL_free(pair->server);
}

/* Seconds of the server's half. */
static double shake_hands(struct pair *pair)
{
    double server_s = 0;
    char nothing[64];

    for (int i = 0; i < FLIGHTS && !SSL_is_init_finished(pair->server); i++) {
        double before;

        SSL_do_handshake(pair->client);
        before = cpu_s();
        SSL_do_handshake(pair->server);
        server_s += cpu_s() - before;
    }
    SSL_do_handshake(pair->client);
    SSL_read(pair->client, nothing, sizeof(nothing)); /* takes the tickets in */
    return server_s;
}

static int by_value(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return left < right ? -1 : left > right;
}

static void measure_handshakes(struct pair *pair, const char *what, bool resume, double seconds)
{
    static double runs[RUNS_MOST];
    double end = floor_clock(CLOCK_MONOTONIC) + seconds;
    size_t count = 0;

    do {
        double before = cpu_s();

        pair_begin(pair, resume);
        runs[count] = cpu_s() - before; /* a little too much: the client's SSL_new() is in it */
        runs[count] += shake_hands(pair);
        count++;
        pair_end(pair);
    } while (count < RUNS_MOST && (floor_clock(CLOCK_MONOTONIC) < end || count < 10));
    qsort(runs, count, sizeof(*runs), by_value);
    floor_print(what, runs[count / 2] * 1e6, "µs");
}

static void measure_records(struct pair *pair, const char *suite, double seconds)
{
    static char octets[RECORD_BYTES];
    double end = floor_clock(CLOCK_MONOTONIC) + seconds, seal_s = 0, open_s = 0;
    size_t records = 0;
    char what[64];

    pair_begin(pair, false);
    SSL_set_ciphersuites(pair->client, suite);
    shake_hands(pair);
    do {
        double before = cpu_s();

        for (int i = 0; i < BATCH; i++)
            SSL_write(pair->server, octets, RECORD_BYTES);
        seal_s += cpu_s() - before;
        before = cpu_s();
        for (int i = 0; i < BATCH; i++)
            SSL_read(pair->client, octets, RECORD_BYTES);
        open_s += cpu_s() - before;
        records += BATCH;
    } while (floor_clock(CLOCK_MONOTONIC) < end);
    pair_end(pair);
    snprintf(what, sizeof(what), "sealing, %s", suite);
    floor_print(what, seal_s * 1e6 / ((double)records * RECORD_BYTES / MIB), "µs a MiB");
    snprintf(what, sizeof(what), "opening, %s", suite);
    floor_print(what, open_s * 1e6 / ((double)records * RECORD_BYTES / MIB), "µs a MiB");
}

static void set_version(struct pair *pair, int version)
{
    SSL_CTX_set_min_proto_version(pair->client_context, version);
    SSL_CTX_set_max_proto_version(pair->client_context, version);
}

static void measure_all(struct pair *pair, double seconds)
{
    set_version(pair, TLS1_3_VERSION);
    measure_handshakes(pair, "server's half of a TLS 1.3 handshake, two tickets", false, seconds);
    SSL_CTX_set_num_tickets(pair->server_context, 1);
    measure_handshakes(pair, "the same with one ticket", false, seconds);
    SSL_CTX_set_ciphersuites(pair->client_context, "TLS_AES_128_GCM_SHA256");
    measure_handshakes(pair, "the same with AES-128 and SHA-256", false, seconds);
    measure_handshakes(pair, "the same resumed", true, seconds);
    SSL_CTX_set_ciphersuites(pair->client_context, TLS_DEFAULT_CIPHERSUITES);
    measure_records(pair, "TLS_AES_128_GCM_SHA256", seconds);
    measure_records(pair, "TLS_AES_256_GCM_SHA384", seconds);
    measure_records(pair, "TLS_CHACHA20_POLY1305_SHA256", seconds);
    set_version(pair, TLS1_2_VERSION);
    measure_handshakes(pair, "server's half of a TLS 1.2 handshake", false, seconds);
    measure_handshakes(pair, "the same resumed, TLS 1.2", true, seconds);
}

int floor_tls(const char *certificate, const char *key, double seconds)
{
    struct pair pair = { .server_context = SSL_CTX_new(TLS_server_method()),
                         .client_context = SSL_CTX_new(TLS_client_method()) };
    int status = -EINVAL;

    if (SSL_CTX_use_certificate_chain_file(pair.server_context, certificate) == 1 &&
        SSL_CTX_use_PrivateKey_file(pair.server_context, key, SSL_FILETYPE_PEM) == 1) {
        SSL_CTX_set_session_cache_mode(pair.server_context, SSL_SESS_CACHE_OFF);
        SSL_CTX_set_session_cache_mode(pair.client_context,
                                       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
        SSL_CTX_sess_set_new_cb(pair.client_context, keep_ticket);
        measure_all(&pair, seconds);
        status = 0;
    }
    SSL_SESSION_free(ticket);
    SSL_CTX_free(pair.client_context);
    SSL_CTX_free(pair.server_context);
    return status;
}

/* Contexts: what is refused when one is built, which certificate SNI chooses, which versions and
 * ciphers are served, and tickets across contexts. Handshakes are real, in memory: the server half
 * is an SSL of the context under test over memory BIOs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include <openssl/err.h>

#include "proxy/base/log.h"
#include "proxy/stream.h"
#include "proxy/tls.h"
#include "proxy/tls_engine.h"
#include "tests/lib/tls_fixture.h"

static struct pem_pair first, second, wild, old, weak;
static struct ticket_keys keys;

/* One server side, by the real tls_new(): a stream whose wire is loop->out and tls_feed(). No
 * socket is involved. */
struct server {
    struct stream_loop loop;
    struct stream stream;
};

static void server_init(struct server *server, struct tls_context *context)
{
    memset(server, 0, sizeof(*server));
    server->loop.out = malloc(STREAM_OUT_MAX);
    server->loop.event_depth = 1; /* nobody flushes: the test takes the octets */
    server->stream.loop = &server->loop;
    server->stream.tls = tls_new(&server->stream, context);
    assert_non_null(server->stream.tls);
}

static void server_deinit(struct server *server)
{
    tls_free(server->stream.tls);
    chunk_pool_deinit(&server->loop.chunks);
    free(server->loop.out);
}

static SSL *client_new(SSL_CTX *ssl_ctx, const char *sni, SSL_SESSION *session)
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
static int shake_hands(struct server *server, SSL *client)
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

/* --- building --- */

static void what_cannot_be_used_is_refused_in_words(void **state)
{
    static const struct {
        const char *name;
        const struct pem_pair *certificate, *key;
        int status;
        const char *words;
    } rows[] = {
        { "a good pair", &first, &first, 0, NULL },
        { "a key of another certificate", &first, &second, -EKEYREJECTED,
          "the private key does not belong to the certificate" },
        { "an expired certificate", &old, &old, -EINVAL, "the certificate has expired on 20" },
        { "an expired certificate and another's key", &old, &first, -EKEYREJECTED,
          "the private key does not belong to the certificate (key values mismatch); the "
          "certificate has expired on 20" },
        { "a weak key", &weak, &weak, -EINVAL,
          "the certificate cannot be used (ee key too small)" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char room[256];
        struct text words = TEXT_OVER(room);
        int status = tls_context_check(span_of_text(rows[i].certificate->certificate),
                                       span_of_text(rows[i].key->key), &words);

        print_message("  %s\n", rows[i].name);
        assert_int_equal(status, rows[i].status);
        if (rows[i].words)
            assert_memory_equal(text_str(&words), rows[i].words, strlen(rows[i].words));
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void text_that_is_no_pem_is_refused(void **state)
{
    static const char *const broken_certificates[] = {
        "", "hello", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    };
    char room[256], chain[8192];
    struct text words;

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        words = TEXT_OVER(room);
        assert_int_equal(tls_context_check(span_of_text(broken_certificates[i]),
                                           span_of_text(first.key), &words),
                         -EINVAL);
        assert_non_null(strstr(text_str(&words), "the certificate does not parse"));
        words = TEXT_OVER(room);
        assert_int_equal(tls_context_check(span_of_text(first.certificate),
                                           span_of_text(broken_certificates[i]), &words),
                         -EKEYREJECTED);
        assert_non_null(strstr(text_str(&words), "the private key does not parse"));
    }
    words = TEXT_OVER(room);
    snprintf(chain, sizeof(chain), "%s%s", first.certificate, broken_certificates[2]);
    assert_int_equal(tls_context_check(span_of_text(chain), span_of_text(first.key), &words),
                     -EINVAL);
    assert_non_null(strstr(text_str(&words), "chain"));
    snprintf(chain, sizeof(chain), "%s%s", first.certificate, second.certificate);
    words = TEXT_OVER(room);
    assert_int_equal(tls_context_check(span_of_text(chain), span_of_text(first.key), &words), 0);
}

static void swapped_files_are_told(void **state)
{
    char room[256];
    struct text words = TEXT_OVER(room);

    (void)state;
    assert_int_equal(
        tls_context_check(span_of_text(first.key), span_of_text(first.certificate), &words),
        -EINVAL);
    assert_non_null(
        strstr(text_str(&words), "the certificate does not parse: here is a private key"));
    words = TEXT_OVER(room);
    assert_int_equal(
        tls_context_check(span_of_text(first.certificate), span_of_text(first.certificate), &words),
        -EKEYREJECTED);
    assert_non_null(
        strstr(text_str(&words), "the private key does not parse: here is a certificate"));
}

static void an_encrypted_key_is_refused_without_asking(void **state)
{
    BIO *in = BIO_new_mem_buf(first.key, -1), *out = BIO_new(BIO_s_mem());
    EVP_PKEY *key = PEM_read_bio_PrivateKey(in, NULL, NULL, NULL);
    char room[256], locked[4096];
    struct text words = TEXT_OVER(room);

    (void)state;
    PEM_write_bio_PKCS8PrivateKey(out, key, EVP_aes_128_cbc(), "hush", 4, NULL, NULL);
    pem_of_bio(out, locked, sizeof(locked));
    assert_int_equal(
        tls_context_check(span_of_text(first.certificate), span_of_text(locked), &words),
        -EKEYREJECTED);
    assert_non_null(strstr(text_str(&words), "wants a pass phrase"));
    EVP_PKEY_free(key);
    BIO_free(in);
}

static int build(const struct tls_section *sections, size_t count, struct tls_context **ret_context)
{
    struct tls_fixture fixture;
    int status;

    fixture_init(&fixture, sections, count);
    status = tls_context_new(&fixture.settings, &fixture.bundle, PROTOCOL_SMTP, &keys, ret_context);
    fixture_deinit(&fixture);
    return status;
}

static void no_section_with_a_certificate_means_no_tls(void **state)
{
    struct tls_section section = { "default", NULL, { NULL }, TLS_VERSION_1_2 };
    struct tls_context *context = NULL;

    (void)state;
    assert_int_equal(build(&section, 0, &context), -ENOENT);
    assert_int_equal(build(&section, 1, &context), -ENOENT);
    assert_null(context);
}

static void one_bad_section_spoils_the_context(void **state)
{
    struct tls_section sections[] = {
        { "default", &first, { NULL }, TLS_VERSION_1_2 },
        { "other", &weak, { NULL }, TLS_VERSION_1_2 },
    };
    struct tls_context *context = NULL;

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    assert_int_equal(build(sections, 2, &context), -EINVAL);
    assert_null(context);
}

/* --- SNI --- */

static void sni_chooses_the_certificate(void **state)
{
    struct tls_section sections[] = {
        { "default", &first, { NULL }, TLS_VERSION_1_2 },
        { "second", &second, { "shop.example.net", "*.example.net" }, TLS_VERSION_1_2 },
        { "wild",
          &wild,
          { NULL },
          TLS_VERSION_1_2 }, /* DNS:*.example.com, DNS:example.com, DNS:mail.example.net */
    };
    static const struct {
        const char *sni;
        const struct pem_pair *chosen;
    } rows[] = {
        { NULL, &first },
        { "first.example.org", &first },
        { "unknown.example.edu", &first },
        { "shop.example.net", &second },
        { "SHOP.Example.NET", &second },
        { "other.example.net", &second },
        { "mail.example.net", &wild },    /* the exact name wins over the earlier wildcard */
        { "second.example.org", &first }, /* in the certificate, but `names` replaces it */
        { "a.example.com", &wild },
        { "example.com", &wild },
        { "a.b.example.com", &first }, /* one label only */
        { ".example.com", &first },
        { "com", &first },
        { "xexample.com", &first },
    };
    struct tls_context *context;
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());

    (void)state;
    assert_int_equal(build(sections, 3, &context), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        SSL *client = client_new(client_ctx, rows[i].sni, NULL);
        BIO *pem = BIO_new(BIO_s_mem());
        struct tls_facts facts;
        struct server server;
        char got[4096];

        server_init(&server, context);
        assert_int_equal(shake_hands(&server, client), TLS_STEP_DONE);
        PEM_write_bio_X509(pem, SSL_get0_peer_certificate(client));
        pem_of_bio(pem, got, sizeof(got));
        assert_string_equal(got, rows[i].chosen->certificate);
        tls_facts(&server.stream, &facts);
        assert_string_equal(facts.sni, rows[i].sni ? rows[i].sni : "");
        server_deinit(&server);
        SSL_free(client);
    }
    SSL_CTX_free(client_ctx);
    tls_context_free(context);
}

static void each_section_has_its_own_min_version(void **state)
{
    struct tls_section sections[] = {
        { "default", &first, { NULL }, TLS_VERSION_1_2 },
        { "modern", &second, { NULL }, TLS_VERSION_1_3 },
        { "plain", &wild, { NULL }, TLS_VERSION_1_2 },
    };
    static const struct {
        const char *sni;
        int max_version, status;
    } rows[] = {
        { "first.example.org", TLS1_2_VERSION, TLS_STEP_DONE },
        { "second.example.org", TLS1_2_VERSION, -EPROTO },
        { "second.example.org", TLS1_3_VERSION, TLS_STEP_DONE },
        { "a.example.com", TLS1_2_VERSION, TLS_STEP_DONE },
        { "first.example.org", TLS1_1_VERSION, -EPROTO },
        { "a.example.com", TLS1_1_VERSION, -EPROTO },
    };
    struct tls_context *context;

    (void)state;
    assert_int_equal(build(sections, 3, &context), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
        SSL *client;
        struct server server;

        SSL_CTX_set_security_level(client_ctx, 0);
        SSL_CTX_set_min_proto_version(client_ctx, TLS1_VERSION);
        SSL_CTX_set_max_proto_version(client_ctx, rows[i].max_version);
        client = client_new(client_ctx, rows[i].sni, NULL);
        server_init(&server, context);
        assert_int_equal(shake_hands(&server, client), rows[i].status);
        server_deinit(&server);
        SSL_free(client);
        SSL_CTX_free(client_ctx);
    }
    tls_context_free(context);
}

/* --- rules --- */

static void only_aead_with_forward_secrecy_is_served_in_the_servers_order(void **state)
{
    static const struct {
        const char *offer; /* TLS 1.2 */
        const char *agreed;
    } rows[] = {
        { "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-"
          "SHA256",
          "ECDHE-ECDSA-AES128-GCM-SHA256" },
        { "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384",
          "ECDHE-ECDSA-AES256-GCM-SHA384" },
        { "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305" },
        { "ECDHE-ECDSA-AES128-SHA256:ECDHE-ECDSA-AES128-SHA:ECDHE-ECDSA-AES256-SHA384", NULL },
        { "AES128-GCM-SHA256:AES128-SHA", NULL },
        { "DHE-RSA-AES128-GCM-SHA256", NULL },
        { "ECDHE-ECDSA-AES128-CCM", NULL },
        { "aNULL:eNULL:@SECLEVEL=0", NULL },
    };
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2 };
    struct tls_context *context;

    (void)state;
    assert_int_equal(build(&section, 1, &context), 0);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
        struct tls_facts facts;
        struct server server;
        SSL *client;

        SSL_CTX_set_max_proto_version(client_ctx, TLS1_2_VERSION);
        assert_int_equal(SSL_CTX_set_cipher_list(client_ctx, rows[i].offer), 1);
        client = client_new(client_ctx, NULL, NULL);
        server_init(&server, context);
        assert_int_equal(shake_hands(&server, client), rows[i].agreed ? TLS_STEP_DONE : -EPROTO);
        tls_facts(&server.stream, &facts);
        if (rows[i].agreed)
            assert_string_equal(facts.cipher, rows[i].agreed);
        server_deinit(&server);
        SSL_free(client);
        SSL_CTX_free(client_ctx);
    }
    tls_context_free(context);
}

/* --- tickets --- */

static SSL_SESSION *kept; /* the last session that a client was given a ticket for */
static int tickets_given;

static int on_session(SSL *client, SSL_SESSION *session)
{
    (void)client;
    SSL_SESSION_free(kept);
    kept = session;
    tickets_given++;
    return 1;
}

/* Connects once with what is kept (or without). Was the session resumed? */
static bool connect_once(struct tls_context *context, int version, bool with_session)
{
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_SESSION *session = with_session ? kept : NULL;
    struct tls_facts facts;
    struct server server;
    SSL *client;

    if (session)
        SSL_SESSION_up_ref(session);
    SSL_CTX_set_max_proto_version(client_ctx, version);
    SSL_CTX_set_session_cache_mode(client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(client_ctx, on_session);
    tickets_given = 0;
    client = client_new(client_ctx, "first.example.org", session);
    server_init(&server, context);
    assert_int_equal(shake_hands(&server, client), TLS_STEP_DONE);
    tls_facts(&server.stream, &facts);
    assert_int_equal(facts.resumed, SSL_session_reused(client));
    if (version == TLS1_2_VERSION) { /* OpenSSL's client tells of no renewed ticket in TLS 1.2 */
        SSL_SESSION_free(kept);
        kept = SSL_get1_session(client);
    }
    SSL_shutdown(client); /* else its session is not resumable */
    server_deinit(&server);
    SSL_free(client);
    SSL_SESSION_free(session);
    SSL_CTX_free(client_ctx);
    return facts.resumed;
}

static void step_keys(int64_t epochs)
{
    tickets_advance(&keys, ((int64_t)keys.keys[1].epoch + epochs) * TICKET_EPOCH_SECONDS);
}

/* The second context stands for another worker, another node, or the same one after a restart. */
static void a_ticket_is_good_in_every_context_with_the_same_keys(void **state)
{
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2 };
    static const int versions[] = { TLS1_2_VERSION, TLS1_3_VERSION };
    struct tls_context *one, *two;

    (void)state;
    assert_int_equal(build(&section, 1, &one), 0);
    assert_int_equal(build(&section, 1, &two), 0);
    for (size_t i = 0; i < 2; i++) {
        assert_false(connect_once(one, versions[i], false));
        assert_int_equal(tickets_given, 1);
        assert_true(connect_once(two, versions[i], true));
        step_keys(1);
        assert_true(connect_once(one, versions[i], true));
        /* The first ticket's key goes, but it was renewed under the previous one. */
        step_keys(1);
        assert_true(connect_once(two, versions[i], true));
        step_keys(2); /* the ticket's key is gone */
        assert_false(connect_once(two, versions[i], true));
    }
    tls_context_free(one);
    tls_context_free(two);
}

static void a_ticket_of_a_node_that_is_an_epoch_ahead_is_good(void **state)
{
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2 };
    struct ticket_keys behind = keys;
    struct tls_context *context;

    (void)state;
    assert_int_equal(build(&section, 1, &context), 0);
    step_keys(1);
    assert_false(connect_once(context, TLS1_3_VERSION, false));
    keys = behind;
    assert_true(connect_once(context, TLS1_3_VERSION, true));
    tls_context_free(context);
}

static void a_ticket_of_other_keys_or_another_protocol_is_not_taken(void **state)
{
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2 };
    struct ticket_keys ours = keys;
    struct tls_context *context, *pop3;
    struct tls_fixture fixture;

    (void)state;
    assert_int_equal(build(&section, 1, &context), 0);
    fixture_init(&fixture, &section, 1);
    assert_int_equal(
        tls_context_new(&fixture.settings, &fixture.bundle, PROTOCOL_POP3, &keys, &pop3), 0);
    assert_false(connect_once(context, TLS1_3_VERSION, false));
    keys.keys[0].secret[0] ^= 1;
    keys.keys[1].secret[0] ^= 1;
    keys.keys[2].secret[0] ^= 1;
    assert_false(connect_once(context, TLS1_3_VERSION, true));
    keys = ours;
    assert_false(connect_once(context, TLS1_3_VERSION, false));
    assert_false(connect_once(pop3, TLS1_3_VERSION, true));
    fixture_deinit(&fixture);
    tls_context_free(context);
    tls_context_free(pop3);
}

static void a_context_lives_as_long_as_its_connections(void **state)
{
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2 };
    SSL_CTX *client_ctx = SSL_CTX_new(TLS_client_method());
    SSL *client = client_new(client_ctx, "first.example.org", NULL);
    struct tls_context *context;
    struct server server;

    (void)state;
    assert_int_equal(build(&section, 1, &context), 0);
    server_init(&server, context);
    tls_context_free(context); /* a reload */
    assert_int_equal(shake_hands(&server, client), TLS_STEP_DONE);
    server_deinit(&server);
    SSL_free(client);
    SSL_CTX_free(client_ctx);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_used_is_refused_in_words),
        cmocka_unit_test(text_that_is_no_pem_is_refused),
        cmocka_unit_test(swapped_files_are_told),
        cmocka_unit_test(an_encrypted_key_is_refused_without_asking),
        cmocka_unit_test(no_section_with_a_certificate_means_no_tls),
        cmocka_unit_test(one_bad_section_spoils_the_context),
        cmocka_unit_test(sni_chooses_the_certificate),
        cmocka_unit_test(each_section_has_its_own_min_version),
        cmocka_unit_test(only_aead_with_forward_secrecy_is_served_in_the_servers_order),
        cmocka_unit_test(a_ticket_is_good_in_every_context_with_the_same_keys),
        cmocka_unit_test(a_ticket_of_a_node_that_is_an_epoch_ahead_is_good),
        cmocka_unit_test(a_ticket_of_other_keys_or_another_protocol_is_not_taken),
        cmocka_unit_test(a_context_lives_as_long_as_its_connections),
    };
    int failed;

    make_pair(&first, "DNS:first.example.org", 30, false);
    make_pair(&second, "DNS:second.example.org", 30, false);
    make_pair(&wild, "DNS:*.example.com,DNS:example.com,DNS:mail.example.net,IP:192.0.2.1", 30,
              false);
    make_pair(&old, "DNS:old.example.org", -1, false);
    make_pair(&weak, "DNS:weak.example.org", 30, true);
    memset(keys.keys[2].secret, 7, TICKET_KEY_BYTES);
    keys.keys[1].epoch = 10;
    keys.keys[2].epoch = 11;
    step_keys(3);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    SSL_SESSION_free(kept);
    return failed;
}

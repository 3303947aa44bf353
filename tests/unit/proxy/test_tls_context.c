/* Contexts: which certificate SNI chooses, which versions and ciphers the default profile serves,
 * and tickets across contexts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>

#include "proxy/base/log.h"
#include "tests/lib/tls_handshake.h"

static struct pem_pair first, second, wild, weak;
static struct ticket_keys keys;

/* --- building --- */

static int build(const struct tls_section *sections, size_t count, struct tls_context **ret_context)
{
    struct tls_fixture fixture;
    int status;

    fixture_init(&fixture, sections, count);
    status = fixture_context(&fixture, PROTOCOL_SMTP, TLS_PROFILE_DEFAULT, &keys, ret_context);
    fixture_deinit(&fixture);
    return status;
}

static void no_section_with_a_certificate_means_no_tls(void **state)
{
    struct tls_section section = { "default", NULL, { NULL }, TLS_VERSION_1_2, NULL };
    struct tls_context *context = NULL;

    (void)state;
    assert_int_equal(build(&section, 0, &context), -ENOENT);
    assert_int_equal(build(&section, 1, &context), -ENOENT);
    assert_null(context);
}

static void one_bad_section_spoils_the_context(void **state)
{
    struct tls_section sections[] = {
        { "default", &first, { NULL }, TLS_VERSION_1_2, NULL },
        { "other", &weak, { NULL }, TLS_VERSION_1_2, NULL },
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
        { "default", &first, { NULL }, TLS_VERSION_1_2, NULL },
        { "second", &second, { "shop.example.net", "*.example.net" }, TLS_VERSION_1_2, NULL },
        { "wild",
          &wild,
          { NULL },
          TLS_VERSION_1_2,
          NULL }, /* DNS:*.example.com, DNS:example.com, DNS:mail.example.net */
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
        { "default", &first, { NULL }, TLS_VERSION_1_2, NULL },
        { "modern", &second, { NULL }, TLS_VERSION_1_3, NULL },
        { "plain", &wild, { NULL }, TLS_VERSION_1_2, NULL },
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
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2, NULL };
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
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2, NULL };
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
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2, NULL };
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
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2, NULL };
    struct ticket_keys ours = keys;
    struct tls_context *context, *pop3;
    struct tls_fixture fixture;

    (void)state;
    assert_int_equal(build(&section, 1, &context), 0);
    fixture_init(&fixture, &section, 1);
    assert_int_equal(fixture_context(&fixture, PROTOCOL_POP3, TLS_PROFILE_DEFAULT, &keys, &pop3),
                     0);
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
    struct tls_section section = { "default", &first, { NULL }, TLS_VERSION_1_2, NULL };
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
    make_pair(&weak, "DNS:weak.example.org", 30, true);
    memset(keys.keys[2].secret, 7, TICKET_KEY_BYTES);
    keys.keys[1].epoch = 10;
    keys.keys[2].epoch = 11;
    step_keys(3);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    SSL_SESSION_free(kept);
    return failed;
}

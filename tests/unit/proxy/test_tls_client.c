/* TLS as a client: which certificates are taken, what is said of the others, servers that speak no
 * TLS or an old one, ends, and octets in both directions. The server is a real OpenSSL server over
 * a real socket (tests/lib/stream_world.h, whose "client" is the peer: here, the server). */
#include "tests/lib/stream_world.h"

#include <sys/socket.h>

#include "proxy/base/log.h"
#include "proxy/tls_client.h"
#include "tests/lib/tls_authority.h"

enum who {
    ROOT,
    OTHER_ROOT,
    OLD_ROOT,
    INTERMEDIATE,
    OLD_INTERMEDIATE,
    GOOD,
    OLD,
    FUTURE,
    MANY_NAMES,
    WILDCARD,
    PARTIAL_WILDCARD,
    COMMON_NAME,
    ADDRESS,
    OF_CLIENT,
    HOSTILE,
    STRANGER,
    OF_OLD_ROOT,
    BEHIND_INTERMEDIATE,
    BEHIND_OLD_INTERMEDIATE,
    ALONE,
    WEAK,
    WHO_COUNT
};

static struct identity_card cards[WHO_COUNT];
static char root_pem[4096]; /* ROOT */

static const struct {
    struct card_wish wish;
    int issuer; /* -1: itself */
} wishes[WHO_COUNT] = {
    [ROOT] = { { "the root", NULL, NULL, true, false, -9, 9 }, -1 },
    [OTHER_ROOT] = { { "another root", NULL, NULL, true, false, -9, 9 }, -1 },
    [OLD_ROOT] = { { "the old root", NULL, NULL, true, false, -9, -2 }, -1 },
    [INTERMEDIATE] = { { "the intermediate", NULL, NULL, true, false, -9, 9 }, ROOT },
    [OLD_INTERMEDIATE] = { { "the old one", NULL, NULL, true, false, -9, -2 }, ROOT },
    [GOOD] = { { "good", "DNS:mail.example", NULL, false, false, -9, 9 }, ROOT },
    [OLD] = { { "old", "DNS:mail.example", NULL, false, false, -9, -2 }, ROOT },
    [FUTURE] = { { "future", "DNS:mail.example", NULL, false, false, 5, 9 }, ROOT },
    [MANY_NAMES] = { { "many",
                       "DNS:a.example,DNS:b.example,IP:192.0.2.1,DNS:d.example,DNS:e.example", NULL,
                       false, false, -9, 9 },
                     ROOT },
    [WILDCARD] = { { "wild", "DNS:*.mail.example", NULL, false, false, -9, 9 }, ROOT },
    [PARTIAL_WILDCARD] = { { "partly wild", "DNS:a*.mail.example", NULL, false, false, -9, 9 },
                           ROOT },
    [COMMON_NAME] = { { "mail.example", NULL, NULL, false, false, -9, 9 }, ROOT },
    [ADDRESS] = { { "address", "IP:192.0.2.1,IP:2001:db8::1", NULL, false, false, -9, 9 }, ROOT },
    [OF_CLIENT] = { { "client", "DNS:mail.example", "clientAuth", false, false, -9, 9 }, ROOT },
    [HOSTILE] = { { "a\nFORGED LOG LINE", NULL, NULL, false, false, -9, 9 }, ROOT },
    [STRANGER] = { { "stranger", "DNS:mail.example", NULL, false, false, -9, 9 }, OTHER_ROOT },
    [OF_OLD_ROOT] = { { "of old", "DNS:mail.example", NULL, false, false, -9, 9 }, OLD_ROOT },
    [BEHIND_INTERMEDIATE] = { { "behind", "DNS:mail.example", NULL, false, false, -9, 9 },
                              INTERMEDIATE },
    [BEHIND_OLD_INTERMEDIATE] = { { "behind old", "DNS:mail.example", NULL, false, false, -9, 9 },
                                  OLD_INTERMEDIATE },
    [ALONE] = { { "alone", "DNS:mail.example", NULL, false, false, -9, 9 }, -1 },
    [WEAK] = { { "weak", "DNS:mail.example", NULL, false, true, -9, 9 }, ROOT },
};

static void make_cards(void)
{
    for (int i = 0; i < WHO_COUNT; i++)
        cards[i] =
            make_card(&wishes[i].wish, wishes[i].issuer < 0 ? NULL : &cards[wishes[i].issuer]);
    put_certificates(root_pem, sizeof(root_pem), (const struct identity_card *[]){ &cards[ROOT] },
                     1);
}

/* --- both ends --- */

/* Its texts are borrowed. */
static struct settings_backend backend_with(const char *sni, bool verify)
{
    return (struct settings_backend){ .name = (char *)(uintptr_t) "smtp",
                                      .tls = BACKEND_TLS_IMPLICIT,
                                      .verify = verify,
                                      .ca = (char *)(uintptr_t) "",
                                      .sni = (char *)(uintptr_t)sni };
}

static struct tls_client *client_with(const char *ca_pem, const char *sni, bool verify)
{
    struct settings_backend backend = backend_with(sni, verify);
    struct tls_client *client;

    assert_int_equal(tls_client_new(&backend, span_of_text(ca_pem), &client), 0);
    return client;
}

static int alert_heard; /* by the server; 0: none */

static void on_info(const SSL *ssl, int where, int value)
{
    (void)ssl;
    if (where == SSL_CB_READ_ALERT && value >> 8 == SSL3_AL_FATAL)
        alert_heard = value & 0xff;
}

/* The peer serves TLS with this certificate, and sends `link` along where it is not ROOT. */
static void server_answers_tls(struct world *world, enum who who, enum who link)
{
    client_starts_tls(world);
    SSL_set_accept_state(world->client);
    SSL_set_security_level(world->client, 0);
    assert_int_equal(SSL_use_certificate(world->client, cards[who].certificate), 1);
    assert_int_equal(SSL_use_PrivateKey(world->client, cards[who].key), 1);
    if (link != ROOT)
        assert_int_equal(SSL_add1_chain_cert(world->client, cards[link].certificate), 1);
}

static void world_with_server(struct world *world, size_t read_size)
{
    world_init(world, read_size);
    SSL_CTX_free(world->client_ctx);
    world->client_ctx = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_info_callback(world->client_ctx, on_info);
    alert_heard = 0;
}

/* The same over a UNIX socket. */
static void unix_world_with_server(struct world *world)
{
    int ends[2];

    memset(world, 0, sizeof(*world));
    world->client_reads = true;
    assert_int_equal(uv_loop_init(&world->uv), 0);
    assert_int_equal(stream_loop_init(&world->loop, &world->uv, 65536), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends), 0);
    world->fd = ends[0];
    assert_int_equal(stream_init_unix(&world->stream, &world->loop, &events, world), 0);
    assert_int_equal(uv_tcp_open(&world->stream.uv.tcp, ends[1]), 0);
    world->client_ctx = SSL_CTX_new(TLS_server_method());
}

static bool server_ready(const struct world *world)
{
    return SSL_is_init_finished(world->client);
}

/* --- certificates --- */

static const struct row {
    const char *what;
    enum who who, link;
    const char *name, *sni;
    bool verify;
    const char *words; /* NULL: it is taken */
    const char *asked; /* the server name that the server sees; NULL: none */
    int alert;
} rows[] = {
    { "a good one", GOOD, ROOT, "mail.example", "", true, NULL, "mail.example", 0 },
    { "a good one, in capitals", GOOD, ROOT, "MAIL.Example", "", true, NULL, "MAIL.Example", 0 },
    { "a name with a dot at its end", GOOD, ROOT, "mail.example.", "", true, NULL, "mail.example",
      0 },
    { "the name of sni, not of the address", GOOD, ROOT, "10.1.2.3", "mail.example", true, NULL,
      "mail.example", 0 },
    { "sni for a UNIX socket", GOOD, ROOT, "", "mail.example", true, NULL, "mail.example", 0 },
    { "one behind an intermediate", BEHIND_INTERMEDIATE, INTERMEDIATE, "mail.example", "", true,
      NULL, "mail.example", 0 },
    { "a wildcard", WILDCARD, ROOT, "a.mail.example", "", true, NULL, "a.mail.example", 0 },
    { "the common name where there is no other", COMMON_NAME, ROOT, "mail.example", "", true, NULL,
      "mail.example", 0 },
    { "an address, never sent as a name", ADDRESS, ROOT, "192.0.2.1", "", true, NULL, NULL, 0 },
    { "an IPv6 address", ADDRESS, ROOT, "2001:db8:0::1", "", true, NULL, NULL, 0 },
    { "a stranger's, unchecked", STRANGER, ROOT, "mail.example", "", false, NULL, "mail.example",
      0 },
    { "an old one, unchecked", OLD, ROOT, "elsewhere.example", "", false, NULL, "elsewhere.example",
      0 },
    { "one of itself, unchecked, of a UNIX socket", ALONE, ROOT, "", "", false, NULL, NULL, 0 },
    { "one of itself, unchecked, by address", ALONE, ROOT, "192.0.2.7", "", false, NULL, NULL, 0 },
    { "an old one", OLD, ROOT, "mail.example", "", true, "certificate has expired", "mail.example",
      SSL_AD_CERTIFICATE_EXPIRED },
    { "one of the future", FUTURE, ROOT, "mail.example", "", true, "certificate is not valid yet",
      "mail.example", SSL_AD_BAD_CERTIFICATE },
    { "another name", GOOD, ROOT, "pop.example", "", true,
      "certificate is for mail.example, not for pop.example", "pop.example",
      SSL_AD_BAD_CERTIFICATE },
    { "a name below it", GOOD, ROOT, "a.mail.example", "", true,
      "certificate is for mail.example, not for a.mail.example", "a.mail.example",
      SSL_AD_BAD_CERTIFICATE },
    { "the right address, but another sni", GOOD, ROOT, "mail.example", "pop.example", true,
      "certificate is for mail.example, not for pop.example", "pop.example",
      SSL_AD_BAD_CERTIFICATE },
    { "many other names", MANY_NAMES, ROOT, "c.example", "", true,
      "certificate is for a.example, b.example, 192.0.2.1 and 2 more, not for c.example",
      "c.example", SSL_AD_BAD_CERTIFICATE },
    { "a wildcard for two labels", WILDCARD, ROOT, "b.a.mail.example", "", true,
      "certificate is for *.mail.example, not for b.a.mail.example", "b.a.mail.example",
      SSL_AD_BAD_CERTIFICATE },
    { "a wildcard for no label", WILDCARD, ROOT, "mail.example", "", true,
      "certificate is for *.mail.example, not for mail.example", "mail.example",
      SSL_AD_BAD_CERTIFICATE },
    { "a part of a label as wildcard", PARTIAL_WILDCARD, ROOT, "ab.mail.example", "", true,
      "certificate is for a*.mail.example, not for ab.mail.example", "ab.mail.example",
      SSL_AD_BAD_CERTIFICATE },
    { "a common name beside other names", GOOD, ROOT, "good", "", true,
      "certificate is for mail.example, not for good", "good", SSL_AD_BAD_CERTIFICATE },
    { "another address", ADDRESS, ROOT, "192.0.2.2", "", true,
      "certificate is for 192.0.2.1, 2001:db8::1, not for 192.0.2.2", NULL,
      SSL_AD_BAD_CERTIFICATE },
    { "a name, asked by address", GOOD, ROOT, "192.0.2.1", "", true,
      "certificate is for mail.example, not for 192.0.2.1", NULL, SSL_AD_BAD_CERTIFICATE },
    { "an address, asked by name", ADDRESS, ROOT, "mail.example", "", true,
      "certificate is for 192.0.2.1, 2001:db8::1, not for mail.example", "mail.example",
      SSL_AD_BAD_CERTIFICATE },
    { "a name that would forge a log line", HOSTILE, ROOT, "mail.example", "", true,
      "certificate is for a\\x0aFORGED LOG LINE, not for mail.example", "mail.example",
      SSL_AD_BAD_CERTIFICATE },
    { "a stranger's", STRANGER, ROOT, "mail.example", "", true,
      "certificate is signed by nobody in ca, but by \"another root\"", "mail.example",
      SSL_AD_UNKNOWN_CA },
    { "a stranger's, and its root along", STRANGER, OTHER_ROOT, "mail.example", "", true,
      "certificate is signed by nobody in ca, but by \"another root\"", "mail.example",
      SSL_AD_UNKNOWN_CA },
    { "one of itself", ALONE, ROOT, "mail.example", "", true,
      "certificate is signed by nobody in ca, but by itself", "mail.example", SSL_AD_UNKNOWN_CA },
    { "an intermediate left out", BEHIND_INTERMEDIATE, ROOT, "mail.example", "", true,
      "certificate is signed by nobody in ca, but by \"the intermediate\"", "mail.example",
      SSL_AD_UNKNOWN_CA },
    { "an old intermediate", BEHIND_OLD_INTERMEDIATE, OLD_INTERMEDIATE, "mail.example", "", true,
      "certificate of its authority \"the old one\" has expired", "mail.example",
      SSL_AD_CERTIFICATE_EXPIRED },
    { "one that signs as if it were an authority", STRANGER, GOOD, "mail.example", "", true,
      "certificate is signed by nobody in ca, but by \"another root\"", "mail.example",
      SSL_AD_UNKNOWN_CA },
    { "a client's", OF_CLIENT, ROOT, "mail.example", "", true,
      "certificate is refused: unsuitable certificate purpose", "mail.example",
      SSL_AD_UNSUPPORTED_CERTIFICATE },
    { "a weak key", WEAK, ROOT, "mail.example", "", true,
      "certificate is refused: EE certificate key too weak", "mail.example",
      SSL_AD_BAD_CERTIFICATE },
};

static void assert_taken(struct world *world, const struct row *row)
{
    const char *asked;
    struct tls_facts facts;

    run_until(world, world->tls_events);
    assert_string_equal(world->failure, "");
    run_until(world, server_ready(world));
    assert_int_equal(world->tls_status, 0);
    tls_facts(&world->stream, &facts);
    assert_string_equal(facts.sni, row->asked ? row->asked : "");
    assert_string_equal(facts.alpn, "");
    assert_false(facts.resumed);
    asked = SSL_get_servername(world->client, TLSEXT_NAMETYPE_host_name);
    if (row->asked)
        assert_string_equal(asked, row->asked);
    else
        assert_null(asked);
    client_says_text(world, "220 mail.example\r\n");
    run_until(world, world->got.size == 18);
    assert_int_equal(stream_write(&world->stream, SPAN_LIT("EHLO a\r\n")), STREAM_SENT);
    run_until(world, world->heard.size == 8);
    assert_int_equal(alert_heard, 0);
}

static void assert_refused(struct world *world, const struct row *row)
{
    run_until(world, world->tls_events && alert_heard);
    assert_int_equal(world->tls_status, -EPROTO);
    assert_string_equal(world->failure, row->words);
    assert_int_equal(alert_heard, row->alert);
    run_on(world);
    assert_int_equal(world->tls_events, 1);
    assert_int_equal(world->ends, 0);
    assert_int_equal(world->got.size, 0);
    assert_int_equal(world->heard.size, 0); /* no octet went to the wrong server */
}

static void check_row(const struct row *row, int version, size_t piece, size_t read_size)
{
    struct tls_client *client = client_with(row->verify ? root_pem : "", row->sni, row->verify);
    struct world world;

    world_with_server(&world, read_size);
    world.piece = piece;
    SSL_CTX_set_max_proto_version(world.client_ctx, version);
    server_answers_tls(&world, row->who, row->link);
    assert_int_equal(stream_start_tls_client(&world.stream, client, row->name), 0);
    tls_client_free(client); /* the connection keeps it */
    if (row->words)
        assert_refused(&world, row);
    else
        assert_taken(&world, row);
    assert_int_equal(ERR_peek_error(), 0);
    world_deinit(&world);
}

static void certificates_are_taken_or_refused_in_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        print_message("  %s\n", rows[i].what);
        check_row(&rows[i], TLS1_3_VERSION, 0, 65536);
        check_row(&rows[i], TLS1_2_VERSION, 0, 65536);
    }
}

static void the_same_one_octet_at_a_time(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        print_message("  %s\n", rows[i].what);
        check_row(&rows[i], i % 2 ? TLS1_3_VERSION : TLS1_2_VERSION, 1, i % 3 ? 65536 : 1);
    }
}

/* An operator may name the very certificate, or the intermediate. */
static void any_certificate_in_ca_is_trusted(void **state)
{
    static const struct {
        enum who ca, who;
    } pairs[] = { { ALONE, ALONE }, { INTERMEDIATE, BEHIND_INTERMEDIATE }, { GOOD, GOOD } };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        char pem[8192];
        const struct identity_card *both[] = { &cards[OTHER_ROOT], &cards[pairs[i].ca] };
        struct tls_client *client;
        struct world world;

        put_certificates(pem, sizeof(pem), both, 2);
        client = client_with(pem, "", true);
        world_with_server(&world, 65536);
        server_answers_tls(&world, pairs[i].who, ROOT);
        assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
        run_until(&world, world.tls_events && server_ready(&world));
        assert_string_equal(world.failure, "");
        world_deinit(&world);
        tls_client_free(client);
    }
}

static void an_authority_that_has_expired_signs_nothing(void **state)
{
    const struct identity_card *old_root = &cards[OLD_ROOT];
    struct tls_client *client;
    struct world world;
    char pem[4096];

    (void)state;
    put_certificates(pem, sizeof(pem), &old_root, 1);
    client = client_with(pem, "", true);
    world_with_server(&world, 65536);
    server_answers_tls(&world, OF_OLD_ROOT, ROOT);
    assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
    run_until(&world, world.tls_events);
    assert_string_equal(world.failure, "certificate of its authority \"the old root\" has expired");
    world_deinit(&world);
    tls_client_free(client);
}

/* --- starting --- */

static void nothing_starts_where_no_name_can_be_checked(void **state)
{
    struct tls_client *client = client_with(root_pem, "", true);
    struct world world;
    char long_name[300];

    (void)state;
    memset(long_name, 'a', sizeof(long_name));
    long_name[299] = '\0';
    world_with_server(&world, 65536);
    assert_int_equal(stream_start_tls_client(&world.stream, client, ""), -EINVAL);
    assert_int_equal(stream_start_tls_client(&world.stream, client, "."), -EINVAL);
    assert_int_equal(stream_start_tls_client(&world.stream, client, long_name), -EINVAL);
    assert_int_equal(world.tls_events, 0);
    stream_write(&world.stream, SPAN_LIT("plain"));
    run_until(&world, world.heard.size == 5);
    assert_text(&world.heard, "plain"); /* and no ClientHello */
    world_deinit(&world);
    tls_client_free(client);
}

static void tls_starts_once(void **state)
{
    struct tls_client *client = client_with("", "", false);
    struct world world;

    (void)state;
    world_with_server(&world, 65536);
    server_answers_tls(&world, GOOD, ROOT);
    assert_int_equal(stream_start_tls_client(&world.stream, client, ""), 0);
    assert_int_equal(stream_start_tls_client(&world.stream, client, ""), -EINVAL);
    assert_int_equal(stream_start_tls(&world.stream, world.context, span_of(NULL, 0)), -EINVAL);
    run_until(&world, world.tls_events && server_ready(&world));
    assert_int_equal(stream_start_tls_client(&world.stream, client, ""), -EINVAL);
    world_deinit(&world);
    tls_client_free(client);
}

static struct tls_client *upgrade_client;

static void upgrade(struct world *world, struct span octets)
{
    (void)octets;
    world->on_data = NULL;
    assert_int_equal(stream_start_tls_client(&world->stream, upgrade_client, "mail.example"), 0);
    assert_int_equal(world->tls_events, 0); /* never from inside the call */
}

static void what_was_written_before_goes_in_clear(void **state)
{
    struct world world;

    (void)state;
    upgrade_client = client_with(root_pem, "", true);
    for (int over_unix = 0; over_unix < 2; over_unix++) {
        if (over_unix)
            unix_world_with_server(&world);
        else
            world_with_server(&world, 65536);
        world.on_data = upgrade;
        stream_read(&world.stream, 0);
        stream_write(&world.stream, SPAN_LIT("STARTTLS\r\n"));
        run_until(&world, world.heard.size == 10);
        assert_text(&world.heard, "STARTTLS\r\n");
        server_answers_tls(&world, GOOD, ROOT);
        bytes_add(&world.to_send, "220 go\r\n", 8);
        run_until(&world, world.tls_events && server_ready(&world));
        assert_string_equal(world.failure, "");
        assert_text(&world.got, "220 go\r\n");
        world.heard.size = 0;
        stream_write(&world.stream, SPAN_LIT("EHLO a\r\n"));
        run_until(&world, world.heard.size == 8);
        world_deinit(&world);
    }
    tls_client_free(upgrade_client);
}

static void writing_before_the_handshake_is_over_is_an_error(void **state)
{
    struct tls_client *client = client_with(root_pem, "", true);
    struct world world;

    (void)state;
    world_with_server(&world, 65536);
    assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
    assert_true(stream_write(&world.stream, SPAN_LIT("PASS secret\r\n")) < 0);
    run_on(&world);
    assert_true(world.heard.size > 100);
    assert_int_equal(world.heard.data[0], SSL3_RT_HANDSHAKE);
    for (size_t i = 0; i + 6 <= world.heard.size; i++)
        assert_memory_not_equal(world.heard.data + i, "secret", 6);
    world_deinit(&world);
    tls_client_free(client);
}

/* --- servers that speak something else --- */

#define TEXT(text) text, sizeof(text) - 1

/* A whole ServerHello that chooses TLS 1.0. */
static const char server_hello_1_0[] = "\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01"
                                       "0123456789abcdef0123456789abcdef\x00\x00\x2f\x00";

static void a_server_without_tls_is_quoted(void **state)
{
    static const struct {
        const char *what, *octets;
        size_t size;
        bool fin;
        int status;
        const char *words, *bytewise; /* NULL: the same */
    } table[] = {
        { "an SMTP banner", TEXT("220 mail.example ESMTP\r\n250 more\r\n"), false, -EPROTO,
          "the server speaks no TLS (it sent \"220 mail.example ESMTP\")",
          "the server speaks no TLS (it sent \"220 m\")" },
        { "a POP3 refusal", TEXT("-ERR\r\n"), false, -EPROTO,
          "the server speaks no TLS (it sent \"-ERR\")", NULL },
        { "octets that a terminal would obey", TEXT("\x1b[2Jx\r\n"), false, -EPROTO,
          "the server speaks no TLS (it sent \"\\x1b[2Jx\")", NULL },
        { "two octets and FIN", TEXT("no"), true, -ECONNRESET,
          "the server speaks no TLS (it sent \"no\")", NULL },
        { "FIN at once", TEXT(""), true, -ECONNRESET,
          "the server closed the connection in the handshake", NULL },
        { "half a record and FIN", TEXT("\x16\x03\x03\x00\x7a\x02"), true, -ECONNRESET,
          "the server closed the connection in the handshake", NULL },
        { "an alert", TEXT("\x15\x03\x03\x00\x02\x02\x28"), false, -EPROTO,
          "the server sent the alert \"handshake failure\"", NULL },
        { "the alert of an old server", TEXT("\x15\x03\x01\x00\x02\x02\x46"), false, -EPROTO,
          "the server sent the alert \"protocol version\": TLSv1.2 is the oldest that it is asked "
          "for",
          NULL },
        { "a ServerHello of TLS 1.0", server_hello_1_0, sizeof(server_hello_1_0) - 1, false,
          -EPROTO, "the server speaks TLS older than TLSv1.2 only", NULL },
        { "a record that is too long", TEXT("\x16\x03\x03\xff\xff\x02"), false, -EPROTO,
          "packet length too long", NULL },
        { "a record of application data", TEXT("\x17\x03\x03\x00\x02\x01\x02"), false, -EPROTO,
          "unexpected message", NULL },
        { "a ClientHello of its own", TEXT("\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00"), false,
          -EPROTO, "unexpected message", NULL },
    };
    struct tls_client *client = client_with(root_pem, "", true);

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(table) / sizeof(table[0]); i++) {
        size_t row = i / 2;
        bool bytewise = i % 2;
        const char *words =
            bytewise && table[row].bytewise ? table[row].bytewise : table[row].words;
        struct world world;

        print_message("  %s%s\n", table[row].what, bytewise ? ", one octet at a time" : "");
        world_with_server(&world, 65536);
        world.piece = bytewise;
        assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
        run_until(&world, world.heard.size > 100); /* the ClientHello */
        bytes_add(&world.to_send, table[row].octets, table[row].size);
        if (table[row].fin) {
            run_until(&world, world.to_send.size == 0);
            shutdown(world.fd, SHUT_WR);
        }
        run_until(&world, world.tls_events);
        assert_int_equal(world.tls_status, table[row].status);
        assert_string_equal(world.failure, words);
        assert_int_equal(world.got.size, 0);
        assert_int_equal(ERR_peek_error(), 0);
        world_deinit(&world);
    }
    tls_client_free(client);
}

static void reset_in_the_handshake_is_a_broken_connection(void **state)
{
    struct tls_client *client = client_with(root_pem, "", true);
    struct world world;

    (void)state;
    world_with_server(&world, 65536);
    assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
    run_until(&world, world.heard.size > 100);
    close_client(&world, true);
    run_until(&world, world.tls_events);
    assert_int_equal(world.tls_status, -ECONNRESET);
    assert_string_equal(world.failure, "the connection broke in the handshake");
    world_deinit(&world);
    tls_client_free(client);
}

static void serve_tls_1_1(SSL_CTX *server)
{
    SSL_CTX_set_min_proto_version(server, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(server, TLS1_1_VERSION);
}

static void serve_null(SSL_CTX *server)
{
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(server, "NULL:@SECLEVEL=0");
}

static void serve_anonymous(SSL_CTX *server)
{
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(server, "aNULL:@SECLEVEL=0");
}

static void ask_for_certificate(SSL_CTX *server)
{
    SSL_CTX_set_max_proto_version(server, TLS1_2_VERSION);
    SSL_CTX_set_verify(server, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
}

static void a_server_with_the_wrong_rules_is_told_in_words(void **state)
{
    static const struct {
        const char *what;
        void (*serve)(SSL_CTX *server);
        const char *words;
    } table[] = {
        { "TLS 1.1 at most", serve_tls_1_1,
          "the server sent the alert \"protocol version\": TLSv1.2 is the oldest that it is asked "
          "for" },
        { "no encryption", serve_null, "the server sent the alert \"handshake failure\"" },
        { "no certificate", serve_anonymous, "the server sent the alert \"handshake failure\"" },
        { "a certificate of ours is wanted", ask_for_certificate,
          "the server sent the alert \"handshake failure\"" },
    };

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(table) / sizeof(table[0]); i++) {
        bool verify = i % 2;
        struct tls_client *client = client_with(verify ? root_pem : "", "", verify);
        struct world world;

        print_message("  %s\n", table[i / 2].what);
        world_with_server(&world, 65536);
        table[i / 2].serve(world.client_ctx);
        server_answers_tls(&world, GOOD, ROOT);
        assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
        run_until(&world, world.tls_events);
        assert_int_equal(world.tls_status, -EPROTO);
        assert_string_equal(world.failure, table[i / 2].words);
        world_deinit(&world);
        tls_client_free(client);
    }
}

/* Those that cannot be changed: RSA key exchange and CBC. */
static void an_old_cipher_of_tls_1_2_is_taken_where_there_is_no_better(void **state)
{
    static const struct {
        const char *list, *chosen;
        enum who who;
    } table[] = {
        { "AES128-SHA", "AES128-SHA", WEAK },
        { "ECDHE-ECDSA-AES256-SHA", "ECDHE-ECDSA-AES256-SHA", GOOD },
        { "ECDHE-ECDSA-AES256-SHA:ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384",
          GOOD },
    };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct tls_client *client = client_with("", "", false);
        struct tls_facts facts;
        struct world world;

        world_with_server(&world, 65536);
        SSL_CTX_set_max_proto_version(world.client_ctx, TLS1_2_VERSION);
        SSL_CTX_set_cipher_list(world.client_ctx, table[i].list);
        server_answers_tls(&world, table[i].who, ROOT);
        assert_int_equal(stream_start_tls_client(&world.stream, client, ""), 0);
        run_until(&world, world.tls_events && server_ready(&world));
        assert_string_equal(world.failure, "");
        tls_facts(&world.stream, &facts);
        assert_string_equal(facts.cipher, table[i].chosen);
        assert_string_equal(facts.version, "TLSv1.2");
        world_deinit(&world);
        tls_client_free(client);
    }
}

/* --- octets and ends --- */

static void octets_pass_in_both_directions(void **state)
{
    static const struct {
        const char *what;
        size_t read_size, piece;
        uint32_t limit;
        int version;
        size_t size;
        bool over_unix;
    } ways[] = {
        { "TLS 1.3, whole", 65536, 0, 0, TLS1_3_VERSION, 300000, false },
        { "TLS 1.2, whole", 65536, 0, 0, TLS1_2_VERSION, 300000, false },
        { "TLS 1.3, a UNIX socket", 65536, 0, 0, TLS1_3_VERSION, 300000, true },
        { "TLS 1.3, one octet at a time", 65536, 1, 0, TLS1_3_VERSION, 3000, false },
        { "TLS 1.2, one octet at a time", 65536, 1, 0, TLS1_2_VERSION, 3000, false },
        { "TLS 1.3, read_size 1", 1, 0, 0, TLS1_3_VERSION, 20000, false },
        { "TLS 1.3, a limit of 100", 65536, 0, 100, TLS1_3_VERSION, 100000, false },
    };
    struct tls_client *client = client_with(root_pem, "", true);

    (void)state;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        struct tls_facts facts;
        struct world world;

        print_message("  %s\n", ways[i].what);
        if (ways[i].over_unix)
            unix_world_with_server(&world);
        else
            world_with_server(&world, ways[i].read_size);
        world.piece = ways[i].piece;
        SSL_CTX_set_max_proto_version(world.client_ctx, ways[i].version);
        server_answers_tls(&world, GOOD, ROOT);
        assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
        stream_read(&world.stream, ways[i].limit);
        run_until(&world, world.tls_events && server_ready(&world));
        tls_facts(&world.stream, &facts);
        assert_string_equal(facts.version,
                            ways[i].version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
        client_says_pattern(&world, ways[i].size);
        run_until(&world, world.got.size == ways[i].size);
        assert_pattern(&world.got, ways[i].size);
        assert_true(world.largest <= (ways[i].limit ? ways[i].limit : ways[i].read_size));
        stream_says_pattern(&world, ways[i].size);
        run_until(&world, world.heard.size == ways[i].size);
        assert_pattern(&world.heard, ways[i].size);
        assert_int_equal(world.tls_events, 1);
        world_deinit(&world);
    }
    tls_client_free(client);
}

static void the_end_of_a_server_is_told_apart(void **state)
{
    static const struct {
        const char *what;
        bool notify, reset;
        int end;
    } table[] = {
        { "close_notify and FIN", true, false, STREAM_END_CLEAN },
        { "FIN without close_notify", false, false, STREAM_END_TRUNCATED },
        { "RST", false, true, STREAM_END_RESET },
    };
    struct tls_client *client = client_with(root_pem, "", true);

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct world world;

        print_message("  %s\n", table[i].what);
        world_with_server(&world, 65536);
        server_answers_tls(&world, GOOD, ROOT);
        assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
        run_until(&world, world.tls_events && server_ready(&world));
        client_says_text(&world, "+OK half a mess");
        run_until(&world, world.got.size == 15);
        if (table[i].notify)
            SSL_shutdown(world.client);
        run_until(&world, table[i].notify ? world.ends > 0 : world.to_send.size == 0);
        close_client(&world, table[i].reset);
        run_until(&world, world.ends);
        assert_int_equal(world.end, table[i].end);
        assert_int_equal(world.ends, 1);
        world_deinit(&world);
    }
    tls_client_free(client);
}

static void our_end_is_a_close_notify_and_a_fin(void **state)
{
    struct tls_client *client = client_with(root_pem, "", true);
    struct world world;

    (void)state;
    world_with_server(&world, 65536);
    server_answers_tls(&world, GOOD, ROOT);
    assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
    run_until(&world, world.tls_events && server_ready(&world));
    stream_write(&world.stream, SPAN_LIT("QUIT\r\n"));
    assert_int_equal(stream_shutdown(&world.stream), 0);
    run_until(&world, world.client_fin && world.heard.size == 6);
    assert_int_equal(SSL_get_shutdown(world.client), SSL_RECEIVED_SHUTDOWN);
    world_deinit(&world);
    tls_client_free(client);
}

static void a_flood_of_key_updates_ends_the_stream(void **state)
{
    struct tls_client *client = client_with(root_pem, "", true);
    struct world world;

    (void)state;
    world_with_server(&world, 65536);
    server_answers_tls(&world, GOOD, ROOT);
    assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
    run_until(&world, world.tls_events && server_ready(&world));
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(SSL_key_update(world.client, SSL_KEY_UPDATE_NOT_REQUESTED), 1);
        assert_int_equal(SSL_do_handshake(world.client), 1);
    }
    run_until(&world, world.ends);
    assert_int_equal(world.end, STREAM_END_TLS_ERROR);
    assert_string_equal(world.failure,
                        "the server floods the connection with TLS control messages");
    world_deinit(&world);
    tls_client_free(client);
}

static void renegotiation_is_refused(void **state)
{
    struct tls_client *client = client_with(root_pem, "", true);
    struct world world;

    (void)state;
    world_with_server(&world, 65536);
    SSL_CTX_set_max_proto_version(world.client_ctx, TLS1_2_VERSION);
    server_answers_tls(&world, GOOD, ROOT);
    assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
    run_until(&world, world.tls_events && server_ready(&world));
    assert_int_equal(SSL_renegotiate(world.client), 1);
    SSL_do_handshake(world.client);
    run_until(&world, world.client_broke); /* our no_renegotiation */
    assert_int_equal(world.ends, 0);
    assert_int_equal(world.tls_events, 1);
    world_deinit(&world);
    tls_client_free(client);
}

static void a_changed_record_ends_the_stream(void **state)
{
    struct tls_client *client = client_with(root_pem, "", true);
    struct world world;

    (void)state;
    world_with_server(&world, 65536);
    server_answers_tls(&world, GOOD, ROOT);
    assert_int_equal(stream_start_tls_client(&world.stream, client, "mail.example"), 0);
    run_until(&world, world.tls_events && server_ready(&world) && world.to_send.size == 0);
    client_says_text(&world, "good");
    run_until(&world, world.got.size == 4);
    client_says_text(&world, "bad");
    client_turn_tls(&world);
    world.to_send.data[world.to_send.size - 1] ^= 1;
    run_until(&world, world.ends);
    assert_int_equal(world.end, STREAM_END_TLS_ERROR);
    assert_text(&world.got, "good");
    run_until(&world, alert_heard);
    assert_int_equal(alert_heard, SSL_AD_BAD_RECORD_MAC);
    world_deinit(&world);
    tls_client_free(client);
}

/* --- authorities --- */

static void text_without_certificates_makes_no_client(void **state)
{
    const char *const broken[] = { "", "hello",
                                   "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                                   pair.key };
    struct settings_backend checked = backend_with("", true), unchecked = backend_with("", false);
    struct tls_client *client = NULL;
    char spoiled[8192];

    (void)state;
    log_set_level(LOG_LEVEL_ERROR);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(tls_client_new(&checked, span_of_text(broken[i]), &client), -EINVAL);
        assert_null(client);
        assert_int_equal(ERR_peek_error(), 0);
    }
    snprintf(spoiled, sizeof(spoiled), "%s%s", root_pem, broken[2]);
    assert_int_equal(tls_client_new(&checked, span_of_text(spoiled), &client), -EINVAL);
    assert_int_equal(tls_client_new(&checked, span_of(NULL, 0), &client), -EINVAL);
    assert_int_equal(tls_client_new(&unchecked, span_of(NULL, 0), &client), 0);
    tls_client_free(client);
    tls_client_free(NULL);
}

static void a_file_of_authorities_is_checked_in_words(void **state)
{
    static const struct {
        const char *what;
        enum who who[3];
        size_t count;
        const char *behind; /* further text */
        int status;
        const char *words;
    } table[] = {
        { "one", { ROOT }, 1, "", 0, "" },
        { "two", { ROOT, OTHER_ROOT }, 2, "", 0, "" },
        { "comments between", { ROOT }, 1, "# this was the root\n", 0, "" },
        { "one has expired",
          { ROOT, OLD_ROOT },
          2,
          "",
          TLS_CLIENT_CA_EXPIRED,
          "the certificate of \"the old root\" has expired" },
        { "two of three have",
          { OLD_INTERMEDIATE, ROOT, OLD_ROOT },
          3,
          "",
          TLS_CLIENT_CA_EXPIRED,
          "the certificate of \"the old root\" has expired, and 1 more" },
        { "all have expired",
          { OLD_ROOT },
          1,
          "",
          -EINVAL,
          "the certificate of \"the old root\" has expired" },
        { "none", { ROOT }, 0, "", -EINVAL, "there is no certificate in it" },
        { "other text", { ROOT }, 0, "hello", -EINVAL, "there is no certificate in it" },
        { "the second is spoiled",
          { ROOT },
          1,
          "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
          -EINVAL,
          "the certificate behind the first 1 does not parse" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        const struct identity_card *wanted[3];
        char pem[16384], room[256];
        struct text words = TEXT_OVER(room);

        print_message("  %s\n", table[i].what);
        for (size_t j = 0; j < table[i].count; j++)
            wanted[j] = &cards[table[i].who[j]];
        put_certificates(pem, sizeof(pem), wanted, table[i].count);
        strcat(pem, table[i].behind);
        assert_int_equal(tls_client_check_ca(span_of_text(pem), &words), table[i].status);
        if (table[i].words[0])
            assert_memory_equal(text_str(&words), table[i].words, strlen(table[i].words));
        else
            assert_string_equal(text_str(&words), "");
        assert_int_equal(ERR_peek_error(), 0);
    }
}

static void each_backend_finds_its_authorities_in_the_bundle(void **state)
{
    static const char entries[] = "ca 6\nsystem\nca/smtp 4\nsmtp\n";
    struct bundle bundle = { (unsigned char *)(uintptr_t)entries, sizeof(entries) - 1 };
    struct settings_backend backend = backend_with("", true);
    struct span pem;

    (void)state;
    assert_true(tls_client_wants_ca(&backend));
    pem = tls_client_ca(&bundle, &backend);
    assert_true(span_equal(pem, SPAN_LIT("system")));
    backend.ca = (char *)(uintptr_t) "/etc/gatepost/ca.pem";
    pem = tls_client_ca(&bundle, &backend);
    assert_true(span_equal(pem, SPAN_LIT("smtp")));
    backend.name = (char *)(uintptr_t) "pop3";
    assert_int_equal(tls_client_ca(&bundle, &backend).size, 0);
    backend.verify = false;
    assert_false(tls_client_wants_ca(&backend));
    backend.verify = true;
    backend.tls = BACKEND_TLS_OFF;
    assert_false(tls_client_wants_ca(&backend));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(certificates_are_taken_or_refused_in_words),
        cmocka_unit_test(the_same_one_octet_at_a_time),
        cmocka_unit_test(any_certificate_in_ca_is_trusted),
        cmocka_unit_test(an_authority_that_has_expired_signs_nothing),
        cmocka_unit_test(nothing_starts_where_no_name_can_be_checked),
        cmocka_unit_test(tls_starts_once),
        cmocka_unit_test(what_was_written_before_goes_in_clear),
        cmocka_unit_test(writing_before_the_handshake_is_over_is_an_error),
        cmocka_unit_test(a_server_without_tls_is_quoted),
        cmocka_unit_test(reset_in_the_handshake_is_a_broken_connection),
        cmocka_unit_test(a_server_with_the_wrong_rules_is_told_in_words),
        cmocka_unit_test(an_old_cipher_of_tls_1_2_is_taken_where_there_is_no_better),
        cmocka_unit_test(octets_pass_in_both_directions),
        cmocka_unit_test(the_end_of_a_server_is_told_apart),
        cmocka_unit_test(our_end_is_a_close_notify_and_a_fin),
        cmocka_unit_test(a_flood_of_key_updates_ends_the_stream),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(a_changed_record_ends_the_stream),
        cmocka_unit_test(text_without_certificates_makes_no_client),
        cmocka_unit_test(a_file_of_authorities_is_checked_in_words),
        cmocka_unit_test(each_backend_finds_its_authorities_in_the_bundle),
    };
    int failed;

    prepare();
    make_cards();
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    for (int i = 0; i < WHO_COUNT; i++)
        free_card(&cards[i]);
    return failed;
}

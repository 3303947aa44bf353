/* TLS on a stream: handshakes whole and in pieces, their failures, pausing, ends, floods. */
#include "tests/lib/stream_world.h"

/* --- TLS --- */

static const struct way {
    const char *name;
    size_t read_size, piece;
    uint32_t limit;
    int version;
    size_t size;
} ways[] = {
    { "TLS 1.3, whole", 65536, 0, 0, TLS1_3_VERSION, 300000 },
    { "TLS 1.2, whole", 65536, 0, 0, TLS1_2_VERSION, 300000 },
    { "TLS 1.3, the client sends one octet at a time", 65536, 1, 0, TLS1_3_VERSION, 3000 },
    { "TLS 1.2, the client sends one octet at a time", 65536, 1, 0, TLS1_2_VERSION, 3000 },
    { "TLS 1.3, read_size 1", 1, 0, 0, TLS1_3_VERSION, 20000 },
    { "TLS 1.2, read_size 1", 1, 0, 0, TLS1_2_VERSION, 20000 },
    { "TLS 1.3, read_size 1 and one octet at a time", 1, 1, 0, TLS1_3_VERSION, 1000 },
    { "TLS 1.3, a limit of 100", 65536, 0, 100, TLS1_3_VERSION, 100000 },
    { "TLS 1.3, records cut anywhere", 65536, 4097, 0, TLS1_3_VERSION, 300000 },
};

static void tls_octets_pass_in_both_directions(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
        const struct way *way = &ways[i];
        struct tls_facts facts;
        struct world world;

        print_message("  %s\n", way->name);
        world_init(&world, way->read_size);
        world.piece = way->piece;
        SSL_CTX_set_max_proto_version(world.client_ctx, way->version);
        start_tls(&world);
        stream_read(&world.stream, way->limit);
        run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
        assert_int_equal(world.tls_status, 0);
        tls_facts(&world.stream, &facts);
        assert_string_equal(facts.version, way->version == TLS1_3_VERSION ? "TLSv1.3" : "TLSv1.2");
        assert_string_equal(facts.cipher, way->version == TLS1_3_VERSION
                                              ? "TLS_AES_128_GCM_SHA256"
                                              : "ECDHE-ECDSA-AES128-GCM-SHA256");
        client_says_pattern(&world, way->size);
        run_until(&world, world.got.size == way->size);
        assert_pattern(&world.got, way->size);
        assert_true(world.largest <= (way->limit ? way->limit : way->read_size));
        stream_says_pattern(&world, way->size);
        run_until(&world, world.heard.size == way->size);
        assert_pattern(&world.heard, way->size);
        SSL_shutdown(world.client);
        run_until(&world, world.ends);
        assert_int_equal(world.end, STREAM_END_CLEAN);
        assert_int_equal(stream_shutdown(&world.stream), 0);
        run_until(&world, world.client_fin);
        assert_int_equal(SSL_get_shutdown(world.client), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
        assert_int_equal(world.tls_events, 1);
        world_deinit(&world);
    }
}

static void several_records_of_one_read_are_one_event(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    for (int i = 0; i < 50; i++)
        client_says_text(&world, "NOOP\r\n");
    run_until(&world, world.got.size == 300);
    assert_int_equal(world.data_events, 1);
    world_deinit(&world);
}

static void the_first_command_in_the_segment_of_finished_is_heard(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, SSL_is_init_finished(world.client));
    assert_int_equal(world.tls_events,
                     0); /* Finished is still in to_send, and the command joins it */
    client_says_text(&world, "EHLO a\r\n");
    run_until(&world, world.got.size == 8);
    assert_int_equal(world.tls_events, 1);
    world_deinit(&world);
}

/* Answers STARTTLS and begins TLS with what stood behind it in the same read, as a TLS-first
 * detection does with the first octets. */
static void upgrade(struct world *world, struct span octets)
{
    world->on_data = NULL;
    stream_write(&world->stream, SPAN_LIT("220 go\r\n"));
    assert_int_equal(stream_start_tls(&world->stream, world->context, span_skip(octets, 10)), 0);
}

static void an_upgrade_takes_the_first_octets_along(void **state)
{
    (void)state;
    for (int with_first = 0; with_first < 2; with_first++) {
        struct world world;

        world_init(&world, 65536);
        world.on_data = upgrade;
        stream_read(&world.stream, 0);
        client_says_text(&world, "STARTTLS\r\n");
        if (!with_first)
            run_until(&world, world.heard.size == 8);
        client_starts_tls(&world);
        client_turn_tls(&world); /* the ClientHello, in the same segment where with_first */
        if (with_first) {
            SSL *client = world.client;

            world.client = NULL;
            run_until(&world, world.heard.size >= 8);
            world.client = client;
            BIO_write(SSL_get_rbio(client), world.heard.data + 8, (int)(world.heard.size - 8));
        }
        assert_memory_equal(world.heard.data, "220 go\r\n", 8);
        world.heard.size = 0;
        run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
        assert_int_equal(world.tls_status, 0);
        stream_write(&world.stream, SPAN_LIT("hello"));
        run_until(&world, world.heard.size == 5);
        world_deinit(&world);
    }
}

static void first_octets_from_outside_an_event_start_tls_too(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    client_starts_tls(&world);
    client_turn_tls(&world);
    assert_true(world.to_send.size > 100);
    assert_int_equal(
        stream_start_tls(&world.stream, world.context, span_of(world.to_send.data, 50)), 0);
    assert_int_equal(world.tls_events, 0);
    world.to_send.size -= 50;
    memmove(world.to_send.data, world.to_send.data + 50, world.to_send.size);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    assert_int_equal(world.tls_status, 0);
    world_deinit(&world);
}

static void pausing_in_mid_stream_keeps_order_and_bounds(void **state)
{
    static const uint32_t limits[] = { 0, 100, 5000 };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct world world;
        size_t resumes = 0;

        world_init(&world, 65536);
        start_tls(&world);
        run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
        stream_read(&world.stream, limits[i]);
        world.on_data = pause_in_data;
        client_says_pattern(&world, 200000);
        while (world.got.size < 200000) {
            size_t events_before = world.data_events;

            run_until(&world, world.data_events > events_before);
            run_on(&world);
            assert_int_equal(world.data_events, events_before + 1); /* nothing more while paused */
            assert_true(world.loop.chunks.used_count <= 5);         /* one read at most */
            stream_read(&world.stream, limits[i]);
            assert_int_equal(world.data_events, events_before + 1); /* never from inside the call */
            resumes++;
        }
        assert_pattern(&world.got, 200000);
        assert_true(resumes >= 4);
        world_deinit(&world);
    }
}

static void a_close_notify_behind_data_waits_for_the_resume(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    world.on_data = pause_in_data;
    client_says_text(&world, "QUIT\r\n");
    SSL_shutdown(world.client);
    run_until(&world, world.got.size == 6);
    run_on(&world);
    assert_int_equal(world.ends, 0);
    stream_read(&world.stream, 0);
    run_until(&world, world.ends);
    assert_int_equal(world.end, STREAM_END_CLEAN);
    world_deinit(&world);
}

static void pause_and_resume_in_data(struct world *world, struct span octets)
{
    (void)octets;
    stream_pause(&world->stream);
    stream_read(&world->stream, 7);
}

static void pausing_and_resuming_inside_the_event_goes_on(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    world.on_data = pause_and_resume_in_data;
    client_says_pattern(&world, 50000);
    run_until(&world, world.got.size == 50000);
    assert_pattern(&world.got, 50000);
    world_deinit(&world);
}

static void tls_octets_that_were_not_delivered_are_pending(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    assert_false(stream_pending(&world.stream));
    stream_read(&world.stream, 3);
    world.on_data = pause_in_data;
    client_says_text(&world, "onetwo");
    run_until(&world, world.got.size == 3);
    assert_true(stream_pending(&world.stream));
    stream_read(&world.stream, 3);
    run_until(&world, world.got.size == 6);
    assert_false(stream_pending(&world.stream));
    world_deinit(&world);
}

enum cut { CUT_FIN, CUT_RESET };

static void a_connection_without_close_notify_is_told_apart(void **state)
{
    static const struct {
        const char *name;
        enum cut cut;
        bool in_handshake;
        int end, status;
        const char *words;
    } rows[] = {
        { "FIN after data", CUT_FIN, false, STREAM_END_TRUNCATED, 0, "" },
        { "RST after data", CUT_RESET, false, STREAM_END_RESET, 0, "" },
        { "FIN in the handshake", CUT_FIN, true, 0, -ECONNRESET,
          "the client closed the connection in the handshake" },
        { "RST in the handshake", CUT_RESET, true, 0, -ECONNRESET,
          "the connection broke in the handshake" },
    };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct world world;

        print_message("  %s\n", rows[i].name);
        world_init(&world, 65536);
        start_tls(&world);
        if (rows[i].in_handshake) {
            bytes_add(&world.to_send, "\x16\x03\x01\x02\x00\x01", 6);
            SSL_free(world.client);
            world.client = NULL;
            run_on(&world);
        } else {
            run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
            client_says_text(&world, "half a mess");
            run_until(&world, world.got.size == 11);
        }
        close_client(&world, rows[i].cut == CUT_RESET);
        run_until(&world, world.ends || world.tls_status < 0);
        assert_int_equal(world.end, rows[i].end);
        assert_int_equal(world.tls_status, rows[i].status);
        assert_string_equal(world.failure, rows[i].words);
        run_on(&world);
        assert_int_equal(world.tls_events, 1);
        assert_int_equal(world.ends, !rows[i].in_handshake);
        world_deinit(&world);
    }
}

/* What stands behind the refused octets, unread in the kernel, must not destroy the alert by a RST.
 */
static void a_refused_handshake_sends_its_alert_before_fin(void **state)
{
    static const struct {
        const char *name, *octets;
        size_t size;
        int alert; /* description */
        const char *words;
    } rows[] = {
        { "an HTTP request", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27, SSL_AD_UNEXPECTED_MESSAGE,
          "http request" },
        { "garbage", "\xde\xad\xbe\xef\xde\xad\xbe\xef\xde\xad\xbe\xef", 12,
          SSL_AD_PROTOCOL_VERSION, "wrong version number" },
        { "an oversized record", "\x16\x03\x01\xff\xff\x01\x00\x00\x00\x00\x00\x00", 12,
          SSL_AD_RECORD_OVERFLOW, "packet length too long" },
        { "a record of application data", "\x17\x03\x03\x00\x02\x01\x02", 7,
          SSL_AD_UNEXPECTED_MESSAGE, "" },
        { "an alert of the client", "\x15\x03\x01\x00\x02\x02\x30", 7, SSL_AD_UNEXPECTED_MESSAGE,
          "unexpected message" },
        { "a Finished first", "\x16\x03\x03\x00\x04\x14\x00\x00\x00", 9, SSL_AD_UNEXPECTED_MESSAGE,
          "unexpected message" },
        { "a malformed ClientHello", "\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00", 10,
          SSL_AD_DECODE_ERROR, "length too short" },
    };
    static unsigned char more[30000];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world world;

        print_message("  %s\n", rows[i].name);
        world_init(&world, 16);
        assert_int_equal(stream_start_tls(&world.stream, world.context, span_of(NULL, 0)), 0);
        world.on_tls = close_now;
        bytes_add(&world.to_send, rows[i].octets, rows[i].size);
        bytes_add(&world.to_send, more, sizeof(more));
        run_until(&world, world.client_fin || world.client_reset);
        assert_no_reset(&world);
        assert_int_equal(world.tls_status, -EPROTO);
        assert_int_equal(world.heard.size, 7);
        assert_int_equal(world.heard.data[0], SSL3_RT_ALERT);
        assert_int_equal(world.heard.data[5], SSL3_AL_FATAL);
        assert_int_equal(world.heard.data[6], rows[i].alert);
        if (!strstr(world.failure, rows[i].words))
            assert_string_equal(world.failure, rows[i].words);
        world_deinit(&world);
    }
}

static void offer_tls_1_0(SSL_CTX *client)
{
    SSL_CTX_set_security_level(client, 0);
    SSL_CTX_set_min_proto_version(client, TLS1_VERSION);
    SSL_CTX_set_max_proto_version(client, TLS1_VERSION);
}

static void offer_cbc(SSL_CTX *client)
{
    SSL_CTX_set_max_proto_version(client, TLS1_2_VERSION);
    SSL_CTX_set_cipher_list(client, "AES128-SHA:ECDHE-ECDSA-AES128-SHA");
}

static void offer_p521(SSL_CTX *client)
{
    SSL_CTX_set1_groups_list(client, "P-521");
}

static void offer_h2(SSL_CTX *client)
{
    SSL_CTX_set_alpn_protos(client, (const unsigned char *)"\x02h2\x04pop3", 8);
}

static void offer_smtp(SSL_CTX *client)
{
    SSL_CTX_set_alpn_protos(client, (const unsigned char *)"\x02h2\x04smtp", 8);
}

static void distrust(SSL_CTX *client)
{
    SSL_CTX_set_verify(client, SSL_VERIFY_PEER, NULL);
}

static void a_client_with_the_wrong_offer_is_refused_in_words(void **state)
{
    static const struct {
        const char *name;
        void (*offer)(SSL_CTX *client);
        int alert; /* that the client gets; 0: it sends one */
        const char *words;
    } rows[] = {
        { "TLS 1.0", offer_tls_1_0, SSL_AD_PROTOCOL_VERSION,
          "client offered at most TLS 1.0, min_version is 1.2 (tls_profile = legacy serves it from "
          "private networks)" },
        { "CBC only", offer_cbc, SSL_AD_HANDSHAKE_FAILURE,
          "no cipher in common: client offered at most TLS 1.2 with AES128-SHA, "
          "ECDHE-ECDSA-AES128-SHA (tls_profile = compatible serves it)" },
        { "P-521 only", offer_p521, SSL_AD_HANDSHAKE_FAILURE,
          "no key exchange group in common: X25519:P-256:P-384 are served" },
        { "ALPN without smtp", offer_h2, SSL_AD_NO_APPLICATION_PROTOCOL,
          "the client's ALPN list lacks \"smtp\"" },
        { "a client that distrusts us", distrust, 0,
          "the client sent the alert \"unknown CA\" (it does not trust the certificate's issuer: "
          "is "
          "the whole chain in the file?)" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world world;

        print_message("  %s\n", rows[i].name);
        world_init(&world, 65536);
        rows[i].offer(world.client_ctx);
        start_tls(&world);
        run_until(&world, world.tls_events);
        assert_int_equal(world.tls_status, -EPROTO);
        assert_string_equal(world.failure, rows[i].words);
        stream_close(&world.stream, false, on_closed);
        run_until(&world, world.client_fin || world.client_reset);
        assert_no_reset(&world);
        if (rows[i].alert > 0)
            assert_int_equal(world.wire.data[6], rows[i].alert);
        world_deinit(&world);
    }
}

static void an_alpn_list_with_our_protocol_is_agreed(void **state)
{
    static const enum port_protocol protocols[] = { PROTOCOL_SMTP, PROTOCOL_OPAQUE };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct tls_facts facts;
        struct world world;

        world_init(&world, 65536);
        tls_context_free(world.context);
        fixture_deinit(&world.fixture);
        make_context(&world, protocols[i]);
        offer_smtp(world.client_ctx);
        start_tls(&world);
        run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
        assert_int_equal(world.tls_status, 0);
        tls_facts(&world.stream, &facts);
        assert_string_equal(facts.alpn, protocols[i] == PROTOCOL_SMTP ? "smtp" : "");
        world_deinit(&world);
    }
}

/* --- floods and faults after the handshake --- */

static void update_keys(struct world *world, int request)
{
    assert_int_equal(SSL_key_update(world->client, request), 1);
    assert_int_equal(SSL_do_handshake(world->client), 1);
}

static void key_updates_between_data_are_served(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    for (int i = 0; i < 200; i++) {
        update_keys(&world, SSL_KEY_UPDATE_NOT_REQUESTED);
        client_says_text(&world, "NOOP\r\n");
    }
    update_keys(&world, SSL_KEY_UPDATE_REQUESTED);
    client_says_text(&world, "NOOP\r\n");
    run_until(&world, world.got.size == 201 * 6);
    stream_write(&world.stream, SPAN_LIT("+OK\r\n"));
    run_until(&world, world.heard.size == 5);
    world_deinit(&world);
}

static void a_flood_of_key_updates_ends_the_stream(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    for (int i = 0; i < 1000; i++)
        update_keys(&world, SSL_KEY_UPDATE_NOT_REQUESTED);
    client_says_text(&world, "NOOP\r\n");
    run_until(&world, world.ends);
    assert_int_equal(world.end, STREAM_END_TLS_ERROR);
    assert_int_equal(world.got.size, 0);
    assert_non_null(strstr(world.failure, "floods"));
    world_deinit(&world);
}

/* Each KeyUpdate with data between is allowed, but its answers may not pile up. */
static void requested_key_updates_of_a_client_that_never_reads_are_bounded(void **state)
{
    struct world world;
    static unsigned char part[65536];

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    world.client_reads = false;
    while (stream_write(&world.stream, span_of(part, sizeof(part))) == STREAM_SENT)
        ;
    for (int i = 0; i < 20000 && !world.ends; i++) {
        update_keys(&world, SSL_KEY_UPDATE_REQUESTED);
        client_says_text(&world, "x");
        run_on(&world);
    }
    assert_int_equal(world.end, STREAM_END_TLS_ERROR);
    assert_true(stream_waiting(&world.stream) < 3 * STREAM_OUT_MAX);
    world_deinit(&world);
}

static void renegotiation_is_refused(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    SSL_CTX_set_max_proto_version(world.client_ctx, TLS1_2_VERSION);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    assert_int_equal(SSL_renegotiate(world.client), 1);
    SSL_do_handshake(world.client);
    run_until(&world, world.client_broke);
    assert_int_equal(world.ends, 0);
    assert_int_equal(world.tls_events, 1);
    assert_int_equal(world.got.size, 0);
    world_deinit(&world);
}

static void a_changed_record_ends_the_stream_with_an_alert(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    start_tls(&world);
    run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
    client_says_text(&world, "good");
    run_until(&world, world.got.size == 4);
    client_says_text(&world, "bad");
    client_turn_tls(&world);
    world.to_send.data[world.to_send.size - 1] ^= 1;
    run_until(&world, world.ends);
    assert_int_equal(world.end, STREAM_END_TLS_ERROR);
    assert_text(&world.got, "good");
    assert_non_null(strstr(world.failure, "bad record mac"));
    run_until(&world, world.client_broke); /* the alert, which TLS 1.3 encrypts */
    assert_false(SSL_get_shutdown(world.client) == 0);
    world_deinit(&world);
}

/* --- many at once --- */

#define CROWD 200

struct guest {
    struct stream stream;
    int fd;
};

/* A stream that has got a ClientHello of its own, and TLS is to begin. */
static void invite(struct world *world, struct guest *guest)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    guest->fd = fds[0];
    assert_int_equal(stream_init_unix(&guest->stream, &world->loop, &events, world), 0);
    assert_int_equal(uv_tcp_open(&guest->stream.uv.tcp, fds[1]), 0);
    assert_int_equal(stream_start_tls(&guest->stream, world->context, span_of(NULL, 0)), 0);
    client_starts_tls(world);
    client_turn_tls(world);
    assert_int_equal(send(guest->fd, world->to_send.data, world->to_send.size, 0),
                     world->to_send.size);
    world->to_send.size = 0;
    SSL_free(world->client);
    world->client = NULL;
}

static size_t count_answered(const struct guest *crowd)
{
    unsigned char octet;
    size_t count = 0;

    for (size_t i = 0; i < CROWD; i++)
        count += recv(crowd[i].fd, &octet, 1, MSG_PEEK) == 1;
    return count;
}

/* Those that are served already get their turn between; and nobody is forgotten. */
static void handshakes_of_many_are_spread_over_turns_of_the_loop(void **state)
{
    static struct guest crowd[CROWD];
    struct world world;

    (void)state;
    world_init(&world, 65536);
    for (size_t i = 0; i < CROWD; i++)
        invite(&world, &crowd[i]);
    assert_int_equal(stream_read(&world.stream, 0), 0);
    client_says_text(&world, "NOOP\r\n");
    run_until(&world, world.got.size == 6);
    assert_in_range(count_answered(crowd), 1, CROWD / 2);
    run_until(&world, count_answered(crowd) == CROWD);
    for (size_t i = 0; i < CROWD; i++) {
        stream_close(&crowd[i].stream, true, on_closed);
        close(crowd[i].fd);
    }
    run_until(&world, world.closed == CROWD);
    world.closed = 0;
    world_deinit(&world);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(tls_octets_pass_in_both_directions),
        cmocka_unit_test(several_records_of_one_read_are_one_event),
        cmocka_unit_test(the_first_command_in_the_segment_of_finished_is_heard),
        cmocka_unit_test(an_upgrade_takes_the_first_octets_along),
        cmocka_unit_test(first_octets_from_outside_an_event_start_tls_too),
        cmocka_unit_test(pausing_in_mid_stream_keeps_order_and_bounds),
        cmocka_unit_test(a_close_notify_behind_data_waits_for_the_resume),
        cmocka_unit_test(pausing_and_resuming_inside_the_event_goes_on),
        cmocka_unit_test(tls_octets_that_were_not_delivered_are_pending),
        cmocka_unit_test(a_connection_without_close_notify_is_told_apart),
        cmocka_unit_test(a_refused_handshake_sends_its_alert_before_fin),
        cmocka_unit_test(a_client_with_the_wrong_offer_is_refused_in_words),
        cmocka_unit_test(an_alpn_list_with_our_protocol_is_agreed),
        cmocka_unit_test(key_updates_between_data_are_served),
        cmocka_unit_test(a_flood_of_key_updates_ends_the_stream),
        cmocka_unit_test(requested_key_updates_of_a_client_that_never_reads_are_bounded),
        cmocka_unit_test(renegotiation_is_refused),
        cmocka_unit_test(a_changed_record_ends_the_stream_with_an_alert),
        cmocka_unit_test(handshakes_of_many_are_spread_over_turns_of_the_loop),
    };

    prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

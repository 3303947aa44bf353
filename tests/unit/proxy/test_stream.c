/* Streams: reading, writing, pausing, closing, plain and where TLS makes no difference. */
#include "tests/lib/stream_world.h"

/* --- plain --- */

static void plain_octets_pass_in_both_directions(void **state)
{
    static const size_t read_sizes[] = { 1, 7, 65536 };

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct world world;

        world_init(&world, read_sizes[i]);
        assert_int_equal(stream_read(&world.stream, 0), 0);
        client_says_pattern(&world, 100000);
        run_until(&world, world.got.size == 100000);
        assert_pattern(&world.got, 100000);
        assert_true(world.largest <= read_sizes[i]);
        stream_says_pattern(&world, 3000000);
        run_until(&world, world.heard.size == 3000000);
        assert_pattern(&world.heard, 3000000);
        shutdown(world.fd, SHUT_WR);
        run_until(&world, world.ends);
        assert_int_equal(world.end, STREAM_END_CLEAN);
        assert_int_equal(world.end_error, 0);
        assert_true(stream_write(&world.stream, SPAN_LIT("still\n")) > 0); /* half closed */
        assert_int_equal(stream_shutdown(&world.stream), 0);
        run_until(&world, world.client_fin);
        assert_int_equal(world.heard.size, 3000006);
        assert_int_equal(stream_write(&world.stream, SPAN_LIT("x")), -EPIPE);
        assert_int_equal(world.stream.octets_in, 100000);
        assert_int_equal(world.stream.octets_out, 3000006);
        world_deinit(&world);
    }
}

static void a_limit_keeps_the_rest_in_the_kernel(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    world.on_data = pause_in_data;
    stream_read(&world.stream, 5);
    client_says_text(&world, "12345rest");
    run_until(&world, world.got.size > 0);
    assert_text(&world.got, "12345");
    assert_true(stream_pending(&world.stream));
    run_on(&world);
    assert_text(&world.got, "12345");
    world.on_data = NULL;
    stream_read(&world.stream, 0);
    run_until(&world, world.got.size == 9);
    assert_false(stream_pending(&world.stream));
    world_deinit(&world);
}

static void small_writes_of_one_event_go_out_together(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    for (int i = 0; i < 100; i++)
        assert_int_equal(stream_write(&world.stream, SPAN_LIT("abc")), STREAM_SENT);
    assert_int_equal(world.loop.out_size, 300); /* none has been sent */
    run_until(&world, world.heard.size == 300); /* sent by the loop's next turn, without a flush */
    assert_int_equal(world.loop.out_size, 0);
    world_deinit(&world);
}

static void a_reset_of_the_peer_is_told(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    stream_read(&world.stream, 0);
    client_says_text(&world, "DELE 1\r\n");
    run_until(&world, world.got.size == 8);
    close_client(&world, true);
    run_until(&world, world.ends);
    assert_int_equal(world.end, STREAM_END_RESET);
    assert_int_equal(world.end_error, -ECONNRESET);
    world_deinit(&world);
}

/* The write takes the RST from the socket, and the read that follows sees only FIN. */
static void a_reset_that_a_write_saw_is_no_clean_end(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    stream_read(&world.stream, 0);
    close_client(&world, true);
    assert_int_equal(stream_write(&world.stream, SPAN_LIT("+OK\r\n")), STREAM_SENT);
    run_until(&world, world.ends);
    assert_int_equal(world.end, STREAM_END_RESET);
    assert_true(world.end_error < 0);
    assert_true(stream_write(&world.stream, SPAN_LIT("x")) < 0);
    run_on(&world);
    assert_int_equal(world.ends, 1);
    world_deinit(&world);
}

/* The owner frees the memory when it is closed: nobody may come back to it. */
static void a_close_whose_flush_fails_leaves_nothing_to_be_told(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    close_client(&world, true);
    assert_int_equal(stream_write(&world.stream, SPAN_LIT("221 bye\r\n")), STREAM_SENT);
    stream_close(&world.stream, false, on_closed);
    assert_int_equal(world.stream.write_error != 0, true);
    assert_false(world.stream.due);
    run_on(&world);
    assert_int_equal(world.ends, 0);
    world_deinit(&world);
}

static void a_reset_while_paused_and_blocked_ends_the_stream(void **state)
{
    struct world world;
    static unsigned char zeros[60000];
    int status;

    (void)state;
    world_init(&world, 65536);
    world.client_reads = false;
    do {
        status = stream_write(&world.stream, span_of(zeros, sizeof(zeros)));
    } while (status == STREAM_SENT);
    assert_int_equal(status, STREAM_BLOCKED);
    close_client(&world, true);
    run_until(&world, world.ends);
    assert_int_equal(world.end, STREAM_END_RESET);
    assert_int_equal(world.drained, 0);
    world_deinit(&world);
}

static void hear_a_peer_that_closed(size_t written, bool fails_at_once)
{
    static unsigned char zeros[60000];
    struct world world;
    struct stream pipe;
    int fds[2], status;

    world_init(&world, 65536);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
    stream_init_unix(&pipe, &world.loop, &events, &world);
    assert_int_equal(uv_tcp_open(&pipe.uv.tcp, fds[0]), 0);
    assert_int_equal(write(fds[1], "421 busy\r\n", 10), 10);
    close(fds[1]);
    stream_read(&pipe, 0);
    status = stream_write(&pipe, span_of(zeros, written));
    assert_true(fails_at_once ? status < 0 : status == STREAM_SENT);
    run_until(&world, world.ends);
    assert_text(&world.got, "421 busy\r\n");
    assert_int_equal(world.end, STREAM_END_RESET);
    assert_true(stream_write(&pipe, SPAN_LIT("x")) < 0);
    stream_close(&pipe, false, on_closed);
    run_until(&world, world.closed);
    assert_int_equal(world.ends, 1);
    world.closed = 0;
    world_deinit(&world);
}

/* A large write is tried at once, a small one at the end of the event. */
static void what_a_peer_said_before_it_closed_is_heard_though_writing_failed(void **state)
{
    (void)state;
    hear_a_peer_that_closed(8, false);
    hear_a_peer_that_closed(60000, true);
}

static void a_peer_that_never_reads_costs_bounded_memory_and_loses_nothing(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        struct world world;
        static unsigned char part[65536];
        size_t said = 0;
        int status;

        world_init(&world, 65536);
        if (tls) {
            start_tls(&world);
            run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
        }
        world.client_reads = false;
        do {
            fill(part, sizeof(part), said);
            status = stream_write(&world.stream, span_of(part, sizeof(part)));
            assert_true(status > 0);
            said += sizeof(part);
        } while (status == STREAM_SENT && said < 25 * 1024 * 1024);
        assert_int_equal(status, STREAM_BLOCKED);
        assert_true(stream_waiting(&world.stream) > 0);
        assert_true(stream_waiting(&world.stream) < 2 * STREAM_OUT_MAX);
        run_on(&world);
        assert_int_equal(world.drained, 0);
        world.client_reads = true;
        run_until(&world, world.drained == 1);
        run_until(&world, world.heard.size == said);
        assert_pattern(&world.heard, said);
        assert_int_equal(world.loop.chunks.used_count, 0);
        world_deinit(&world);
    }
}

static void closing_with_octets_waiting_drops_them(void **state)
{
    struct world world;
    static unsigned char zeros[60000];

    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        world_init(&world, 65536);
        world.client_reads = false;
        while (stream_write(&world.stream, span_of(zeros, sizeof(zeros))) == STREAM_SENT)
            ;
        stream_close(&world.stream, reset, on_closed);
        run_until(&world, world.closed);
        assert_int_equal(world.drained, 0);
        world_deinit(&world);
    }
}

/* --- closing --- */

static void the_last_words_reach_a_client_that_goes_on_sending(void **state)
{
    struct world world;
    static unsigned char more[30000];

    (void)state;
    world_init(&world, 65536);
    client_says(&world, more, sizeof(more)); /* will lie unread in the kernel */
    run_on(&world);
    stream_write(&world.stream, SPAN_LIT("554 5.5.1 no\r\n"));
    stream_close(&world.stream, false, on_closed);
    client_says(&world, more, sizeof(more)); /* arrives when nobody listens any more */
    run_until(&world, world.client_fin || world.client_reset);
    assert_no_reset(&world);
    assert_text(&world.heard, "554 5.5.1 no\r\n");
    assert_int_equal(world.closed, 0);
    close_client(&world, false);
    run_until(&world, world.closed);
    assert_int_equal(world.ends + world.data_events, 0);
    world_deinit(&world);
}

static void lingering_ends_by_the_clock_and_by_octets(void **state)
{
    static unsigned char more[STREAM_LINGER_OCTETS + 1000];

    (void)state;
    for (int by_octets = 0; by_octets < 2; by_octets++) {
        struct world world;

        world_init(&world, 65536);
        stream_write(&world.stream, SPAN_LIT("bye\r\n"));
        stream_close(&world.stream, false, on_closed);
        run_until(&world, world.client_fin);
        if (by_octets)
            client_says(&world, more, sizeof(more));
        run_until(&world, world.closed);
        world_deinit(&world);
    }
}

static void a_reset_close_is_seen_as_a_reset(void **state)
{
    struct world world;

    (void)state;
    world_init(&world, 65536);
    stream_write(&world.stream, SPAN_LIT("never sent"));
    stream_close(&world.stream, true, on_closed);
    run_until(&world, world.client_reset);
    assert_int_equal(world.heard.size, 0);
    run_until(&world, world.closed);
    world_deinit(&world);
}

static void close_in_data(struct world *world, struct span octets)
{
    (void)octets;
    stream_close(&world->stream, false, on_closed);
}

static void closing_inside_any_event_is_safe(void **state)
{
    (void)state;
    for (int at = 0; at < 4; at++) {
        struct world world;

        world_init(&world, 65536);
        world.on_data = at == 0 ? close_in_data : NULL;
        world.on_tls = at == 1 ? close_now : NULL;
        world.on_end = at >= 2 ? close_now : NULL;
        start_tls(&world);
        if (at < 3)
            run_until(&world, SSL_is_init_finished(world.client));
        if (at == 0)
            client_says_pattern(&world, 40000);
        if (at == 2)
            SSL_shutdown(world.client);
        if (at == 3) { /* in the handshake: told by `tls` */
            world.on_tls = close_now;
            shutdown(world.fd, SHUT_WR);
        }
        run_until(&world, world.stream.closing);
        assert_int_equal(world.data_events, at == 0);
        close_client(&world, false);
        run_until(&world, world.closed);
        world_deinit(&world);
    }
}

/* --- secrets --- */

static void keep_secret(struct world *world, struct span octets)
{
    (void)octets;
    world->stream.secret = true;
    stream_write(&world->stream, SPAN_LIT("PASS hush\r\n"));
}

static bool holds(const unsigned char *where, size_t size, const char *what)
{
    return span_search(span_of(where, size), span_of_text(what)) < size;
}

static void secrets_do_not_stay_in_the_shared_buffers(void **state)
{
    (void)state;
    for (int tls = 0; tls < 2; tls++) {
        struct world world;

        world_init(&world, 65536);
        memset(world.loop.in, 0, 65536);
        memset(world.loop.plain, 0, 65536);
        memset(world.loop.out, 0, STREAM_OUT_MAX);
        if (tls) {
            start_tls(&world);
            run_until(&world, world.tls_events && SSL_is_init_finished(world.client));
        }
        world.on_data = keep_secret;
        stream_read(&world.stream, 0);
        client_says_text(&world, "PASS hush\r\n");
        run_until(&world, world.got.size == 11 && world.heard.size == 11);
        assert_false(holds(world.loop.in, 65536, "hush"));
        assert_false(holds(world.loop.plain, 65536, "hush"));
        assert_false(holds(world.loop.out, STREAM_OUT_MAX, "hush"));
        world_deinit(&world);
    }
}

static void without_the_mark_octets_stay(void **state)
{
    struct world world;

    (void)state; /* proves that the test above can fail */
    world_init(&world, 65536);
    stream_read(&world.stream, 0);
    client_says_text(&world, "PASS hush\r\n");
    run_until(&world, world.got.size == 11);
    assert_true(holds(world.loop.in, 65536, "hush"));
    world_deinit(&world);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_octets_pass_in_both_directions),
        cmocka_unit_test(a_limit_keeps_the_rest_in_the_kernel),
        cmocka_unit_test(small_writes_of_one_event_go_out_together),
        cmocka_unit_test(a_reset_of_the_peer_is_told),
        cmocka_unit_test(a_reset_that_a_write_saw_is_no_clean_end),
        cmocka_unit_test(a_close_whose_flush_fails_leaves_nothing_to_be_told),
        cmocka_unit_test(a_reset_while_paused_and_blocked_ends_the_stream),
        cmocka_unit_test(what_a_peer_said_before_it_closed_is_heard_though_writing_failed),
        cmocka_unit_test(a_peer_that_never_reads_costs_bounded_memory_and_loses_nothing),
        cmocka_unit_test(closing_with_octets_waiting_drops_them),
        cmocka_unit_test(the_last_words_reach_a_client_that_goes_on_sending),
        cmocka_unit_test(lingering_ends_by_the_clock_and_by_octets),
        cmocka_unit_test(a_reset_close_is_seen_as_a_reset),
        cmocka_unit_test(closing_inside_any_event_is_safe),
        cmocka_unit_test(secrets_do_not_stay_in_the_shared_buffers),
        cmocka_unit_test(without_the_mark_octets_stay),
    };

    prepare();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

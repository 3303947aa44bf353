/* The blocking connection over a socket pair: the PROXY header, buffers, pipelining, peers that do
 * not read or are gone. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "backends/connection.h"
#include "backends/users.h"
#include "backends/worker_password.h"
#include "tests/lib/folder.h"

#define SOON_MS  20    /* a wait that is to run out */
#define NEVER_MS 60000 /* one that is not */
#define DIALOGUE "USER anna\r\nPASS secret\r\n"

static struct connection ours;
static int peer;

static int setup(void **state)
{
    int pair[2];

    (void)state;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) < 0)
        return -1;
    memset(&ours, 0, sizeof(ours));
    ours.fd = pair[0];
    ours.read_timeout_ms = ours.write_timeout_ms = NEVER_MS;
    ours.read_size = 65536;
    peer = pair[1];
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    close(ours.fd);
    if (peer >= 0)
        close(peer);
    return 0;
}

static void peer_close(void)
{
    close(peer);
    peer = -1;
}

static void peer_sends(const void *octets, size_t size)
{
    assert_int_equal(send(peer, octets, size, 0), size);
}

/* What has come to the peer by now. */
static void assert_peer_has(const char *text)
{
    char room[256];
    ssize_t size = recv(peer, room, sizeof(room) - 1, MSG_DONTWAIT);

    if (size < 0)
        assert_int_equal(errno, EAGAIN);
    room[size > 0 ? size : 0] = '\0';
    assert_string_equal(room, text);
}

static size_t make_header(unsigned char room[PROXY_V2_HEADER_MAX])
{
    struct proxy_v2 facts = { .tls = true, .tls_version = "TLSv1.3", .unique_id = "a1" };
    long size = proxy_v2_write(&facts, room, PROXY_V2_HEADER_MAX);

    assert_true(size > 0);
    return (size_t)size;
}

static void send_header_and(const char *dialogue)
{
    unsigned char room[PROXY_V2_HEADER_MAX + 256];
    size_t size = make_header(room);

    memcpy(room + size, dialogue, strlen(dialogue));
    peer_sends(room, size + strlen(dialogue));
}

/* Reads until `size` octets are there. */
static void assert_reads(const char *text, size_t most_at_once)
{
    char room[256];
    size_t size = 0;

    while (size < strlen(text)) {
        long count = connection_read(&ours, room + size, sizeof(room) - size);

        assert_in_range(count, 1, most_at_once);
        size += (size_t)count;
    }
    assert_int_equal(size, strlen(text));
    assert_memory_equal(room, text, size);
}

static void the_dialogue_follows_the_header(void **state)
{
    struct proxy_v2 client;

    (void)state;
    send_header_and(DIALOGUE);
    assert_int_equal(connection_read_header(&ours, NEVER_MS, &client), 0);
    assert_true(client.tls);
    assert_string_equal(client.unique_id, "a1");
    assert_reads(DIALOGUE, sizeof(DIALOGUE));
    peer_sends("NOOP\r\n", 6);
    assert_reads("NOOP\r\n", 6);
}

static void read_size_bounds_every_read(void **state)
{
    struct proxy_v2 client;

    (void)state;
    ours.read_size = 1;
    send_header_and(DIALOGUE);
    assert_int_equal(connection_read_header(&ours, NEVER_MS, &client), 0);
    assert_string_equal(client.tls_version, "TLSv1.3");
    assert_reads(DIALOGUE, 1);
    ours.read_size = 65536;
    peer_sends("NOOP\r\n", 6);
    ours.read_size = 3;
    assert_reads("NOOP\r\n", 3);
}

static void nothing_of_what_was_read_stays(void **state)
{
    struct proxy_v2 client;

    (void)state;
    send_header_and(DIALOGUE);
    assert_int_equal(connection_read_header(&ours, NEVER_MS, &client), 0);
    assert_reads(DIALOGUE, sizeof(DIALOGUE));
    assert_null(memmem(ours.in, sizeof(ours.in), "secret", 6));
}

static void a_connection_without_a_header_is_refused(void **state)
{
    struct proxy_v2 client;

    (void)state;
    peer_sends("EHLO x\r\n", 8);
    assert_int_equal(connection_read_header(&ours, NEVER_MS, &client), -EPROTO);
}

static void half_a_header_is_waited_for_and_no_longer(void **state)
{
    unsigned char room[PROXY_V2_HEADER_MAX];
    size_t size = make_header(room);
    struct proxy_v2 client;

    (void)state;
    assert_int_equal(connection_read_header(&ours, SOON_MS, &client), -ETIMEDOUT);
    peer_sends(room, size - 1);
    assert_int_equal(connection_read_header(&ours, SOON_MS, &client), -ETIMEDOUT);
    peer_sends(room + size - 1, 1);
    assert_int_equal(connection_read_header(&ours, NEVER_MS, &client), 0);
}

static void the_end_within_a_header_is_an_end(void **state)
{
    unsigned char room[PROXY_V2_HEADER_MAX];
    struct proxy_v2 client;

    (void)state;
    make_header(room);
    peer_sends(room, 20);
    peer_close();
    assert_int_equal(connection_read_header(&ours, NEVER_MS, &client), -ECONNRESET);
}

static void a_read_ends_with_the_peer_or_the_time(void **state)
{
    char octet;

    (void)state;
    ours.read_timeout_ms = SOON_MS;
    assert_int_equal(connection_read(&ours, &octet, 1), -ETIMEDOUT);
    ours.read_timeout_ms = NEVER_MS;
    peer_close();
    assert_int_equal(connection_read(&ours, &octet, 1), 0);
}

static void output_is_sent_when_the_client_waits(void **state)
{
    char room[6];

    (void)state;
    peer_sends("NOOP\r\nNOOP\r\n", 12);
    assert_int_equal(connection_read(&ours, room, 6), 6);
    assert_int_equal(connection_write(&ours, SPAN_LIT("+OK 1\r\n")), 0);
    assert_peer_has("");
    assert_true(connection_input_waiting(&ours));
    assert_int_equal(connection_read(&ours, room, 6), 6);
    assert_int_equal(connection_write(&ours, SPAN_LIT("+OK 2\r\n")), 0);
    assert_peer_has("");
    assert_false(connection_input_waiting(&ours));
    ours.read_timeout_ms = SOON_MS;
    assert_int_equal(connection_read(&ours, room, 6), -ETIMEDOUT);
    assert_peer_has("+OK 1\r\n+OK 2\r\n");
}

static void what_came_with_the_header_is_input_that_waits(void **state)
{
    struct proxy_v2 client;
    char room[4];

    (void)state;
    send_header_and("NOOP");
    assert_int_equal(connection_read_header(&ours, NEVER_MS, &client), 0);
    assert_true(connection_input_waiting(&ours));
    assert_int_equal(connection_write(&ours, SPAN_LIT("+OK\r\n")), 0);
    assert_int_equal(connection_read(&ours, room, 4), 4);
    assert_peer_has("");
    assert_int_equal(connection_flush(&ours), 0);
    assert_peer_has("+OK\r\n");
}

static void a_peer_that_is_gone_is_no_signal(void **state)
{
    (void)state;
    peer_close();
    assert_int_equal(connection_write(&ours, SPAN_LIT("+OK\r\n")), 0); /* only gathered */
    assert_int_equal(connection_flush(&ours), -EPIPE);
    assert_int_equal(connection_write(&ours, SPAN_LIT("+OK\r\n")), -EPIPE);
    assert_int_equal(connection_flush(&ours), -EPIPE);
    assert_false(connection_input_waiting(&ours));
}

static void a_peer_that_reads_nothing_ends_the_writing(void **state)
{
    static unsigned char much[1 << 20];

    (void)state;
    ours.write_timeout_ms = SOON_MS;
    assert_int_equal(connection_write(&ours, span_of(much, sizeof(much))), -ETIMEDOUT);
    assert_int_equal(connection_write(&ours, SPAN_LIT("x")), -ETIMEDOUT);
}

static void much_output_arrives_whole(void **state)
{
    enum { SIZE = 3000001 };
    unsigned char *much = malloc(SIZE);
    int status;
    pid_t reader;

    (void)state;
    assert_non_null(much);
    for (size_t i = 0; i < SIZE; i++)
        much[i] = (unsigned char)(i % 251);
    reader = fork();
    if (reader == 0) {
        unsigned char room[5000];
        size_t at = 0;
        ssize_t count;

        close(ours.fd);
        while ((count = recv(peer, room, sizeof(room), 0)) > 0) {
            if (at + (size_t)count > SIZE || memcmp(room, much + at, (size_t)count) != 0)
                _exit(1);
            at += (size_t)count;
        }
        _exit(at == SIZE ? 0 : 2);
    }
    peer_close();
    for (size_t at = 0, step = 1; at < SIZE; at += step, step = step * 3 % 40009)
        assert_int_equal(
            connection_write(&ours, span_of(much + at, SIZE - at < step ? SIZE - at : step)), 0);
    assert_int_equal(connection_flush(&ours), 0);
    shutdown(ours.fd, SHUT_WR);
    assert_int_equal(waitpid(reader, &status, 0), reader);
    assert_int_equal(status, 0);
    free(much);
}

/* A failure is answered late, but not to a client that has gone: its process must not stay. */
static void passwords_are_checked_for_a_session(void **state)
{
    struct settings settings = { 0 };
    struct worker_session session = { .settings = &settings, .connection = &ours };

    assert_int_equal(folder_setup(state), 0);
    settings.mailstore.path = folder;
    assert_int_equal(users_add(folder, "anna@x", SPAN_LIT("secret")), USERS_OK);
    assert_int_equal(worker_password_init(), 0);
    assert_int_equal(worker_check_password(&session, "anna@x", SPAN_LIT("secret")), USERS_OK);
    peer_close();
    for (int i = 0; i < 10; i++) /* with the delays this would take a minute */
        assert_int_equal(worker_check_password(&session, "anna@x", SPAN_LIT("x")), USERS_WRONG);
    assert_int_equal(worker_check_password(&session, "bert@x", SPAN_LIT("x")), USERS_UNKNOWN);
    assert_int_equal(worker_check_password(&session, "anna@x", SPAN_LIT("secret")), USERS_OK);
    assert_int_equal(folder_teardown(state), 0);
    settings.mailstore.path = folder;
    assert_int_equal(worker_check_password(&session, "anna@x", SPAN_LIT("secret")), -ENOENT);
}

#define ON_PAIR(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_PAIR(the_dialogue_follows_the_header),
        ON_PAIR(read_size_bounds_every_read),
        ON_PAIR(nothing_of_what_was_read_stays),
        ON_PAIR(a_connection_without_a_header_is_refused),
        ON_PAIR(half_a_header_is_waited_for_and_no_longer),
        ON_PAIR(the_end_within_a_header_is_an_end),
        ON_PAIR(a_read_ends_with_the_peer_or_the_time),
        ON_PAIR(output_is_sent_when_the_client_waits),
        ON_PAIR(what_came_with_the_header_is_input_that_waits),
        ON_PAIR(a_peer_that_is_gone_is_no_signal),
        ON_PAIR(a_peer_that_reads_nothing_ends_the_writing),
        ON_PAIR(much_output_arrives_whole),
        ON_PAIR(passwords_are_checked_for_a_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* A message on its way down over real files: line ends, offsets, digests, files that change between
 * the two readings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <unistd.h>

#include "backends/remote_message.h"
#include "tests/lib/folder.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define NEW         "x/anna/Maildir/new/"
#define LARGE       (3 * REMOTE_MESSAGE_BYTES + 5) /* more than one piece, and not a whole number */

static struct maildrop maildrop;
static struct remote_message message;

static int setup(void **state)
{
    return folder_setup(state) < 0 || maildir_create(folder, "anna@x") < 0 ||
                   remote_message_init(&message) < 0
               ? -1
               : 0;
}

static int teardown(void **state)
{
    remote_message_deinit(&message);
    return folder_teardown(state);
}

static void view(const char *name, const void *text, size_t size)
{
    char path[256];

    snprintf(path, sizeof(path), NEW "%s", name);
    folder_write(path, text, size);
    assert_int_equal(maildrop_view(folder, "anna@x", &maildrop), 0);
    assert_int_equal(maildrop.count, 1);
}

/* All pieces from `offset` on, and the digest. The last result. */
static int read_all(uint64_t offset, FILE *out, char *digest)
{
    static unsigned char room[REMOTE_MESSAGE_ROOM];
    int r = remote_message_open(&message, &maildrop, 0, offset);

    while (r == 0 || r == REMOTE_MESSAGE_MORE) {
        struct span octets = { NULL, 0 };

        r = remote_message_read(&message, room, &octets, digest);
        if (r > 0)
            fwrite(octets.data, 1, octets.size, out);
    }
    return r;
}

static void digest_of(const void *octets, size_t size, char *digits)
{
    struct digest *digest = digest_new();

    assert_non_null(digest);
    assert_int_equal(digest_add(digest, span_of(octets, size)), 0);
    assert_int_equal(digest_end(digest, digits), 0);
    digest_free(digest);
}

static void assert_read(uint64_t offset, const char *wire, size_t size)
{
    char *got, digest[DIGEST_DIGITS], expected[DIGEST_DIGITS];
    size_t got_size;
    FILE *out = open_memstream(&got, &got_size);

    assert_int_equal(read_all(offset, out, digest), REMOTE_MESSAGE_LAST);
    fclose(out);
    assert_int_equal(message.octets, size);
    assert_int_equal(got_size, size - offset);
    assert_memory_equal(got, wire + offset, got_size);
    digest_of(wire, size, expected);
    assert_memory_equal(digest, expected, DIGEST_DIGITS);
    assert_null(message.text);
    free(got);
}

static const struct row {
    const char *text, *wire;
} rows[] = {
    { "", "" },
    { "a", "a\r\n" }, /* as POP3 gives it */
    { "a\n", "a\r\n" },
    { "a\r\n", "a\r\n" },
    { "a\nb", "a\r\nb\r\n" },
    { "\n\n", "\r\n\r\n" },
    { "a\rb\n", "a\rb\r\n" },
    { ".\n..\n", ".\r\n..\r\n" }, /* no dot is doubled */
};

static void a_message_has_the_digest_of_all_its_octets_wherever_it_is_begun(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t size = strlen(rows[i].wire);

        view("1.M1.h", rows[i].text, strlen(rows[i].text));
        for (uint64_t offset = 0; offset <= size; offset++)
            assert_read(offset, rows[i].wire, size);
        assert_int_equal(remote_message_open(&message, &maildrop, 0, size + 1), -ERANGE);
        assert_int_equal(remote_message_open(&message, &maildrop, 0, UINT64_MAX), -ERANGE);
        maildrop_close(&maildrop);
    }
}

static void a_size_in_the_name_that_lies_is_not_believed(void **state)
{
    (void)state;
    view("1.M1.h,S=2,W=700", "a\n", 2);
    assert_int_equal(maildrop.messages[0].octets, 700);
    assert_read(0, "a\r\n", 3);
    assert_read(3, "a\r\n", 3);
    assert_int_equal(remote_message_open(&message, &maildrop, 0, 4), -ERANGE);
    maildrop_close(&maildrop);
}

static void a_large_message_comes_in_pieces(void **state)
{
    static const uint64_t offsets[] = { 0,
                                        1,
                                        REMOTE_MESSAGE_BYTES - 1,
                                        REMOTE_MESSAGE_BYTES,
                                        REMOTE_MESSAGE_BYTES + 1,
                                        2 * REMOTE_MESSAGE_BYTES,
                                        LARGE - 1,
                                        LARGE };
    static char text[LARGE];

    (void)state;
    for (size_t i = 0; i < LARGE - 2; i++)
        text[i] = (char)('a' + i % 23);
    memcpy(text + LARGE - 2, "\r\n", 2);
    view("1.M1.h", text, LARGE);
    for (size_t i = 0; i < COUNT(offsets); i++)
        assert_read(offsets[i], text, LARGE);
    maildrop_close(&maildrop);
}

static const struct change {
    const char *what;
    long size; /* that the file has from the second reading on; -1: it is gone */
    int result;
} changes[] = {
    { "it has grown", 5 * REMOTE_MESSAGE_BYTES, -EIO },
    { "it has become shorter", REMOTE_MESSAGE_BYTES, -EIO },
    { "it is empty now", 0, -EIO },
    { "it is removed, and still open", -1, REMOTE_MESSAGE_LAST },
};

static void a_file_that_changes_while_it_is_read_makes_no_whole_message(void **state)
{
    static unsigned char room[REMOTE_MESSAGE_ROOM];
    static char text[4 * REMOTE_MESSAGE_BYTES];
    char path[256], digest[DIGEST_DIGITS];

    (void)state;
    snprintf(path, sizeof(path), "%s/" NEW "1.M1.h", folder);
    memset(text, 'x', sizeof(text));
    for (size_t i = 0; i < COUNT(changes); i++) {
        struct span octets;
        int r = REMOTE_MESSAGE_MORE;

        view("1.M1.h", text, sizeof(text));
        assert_int_equal(remote_message_open(&message, &maildrop, 0, 0), 0);
        assert_int_equal(changes[i].size < 0 ? unlink(path) : truncate(path, changes[i].size), 0);
        while (r == REMOTE_MESSAGE_MORE)
            r = remote_message_read(&message, room, &octets, digest);
        if (r != changes[i].result)
            fail_msg("%s: %d", changes[i].what, r);
        maildrop_close(&maildrop);
    }
}

static void a_message_that_is_gone_is_told(void **state)
{
    char path[256];

    (void)state;
    view("1.M1.h", "a\n", 2);
    snprintf(path, sizeof(path), "%s/" NEW "1.M1.h", folder);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(remote_message_open(&message, &maildrop, 0, 0), -ENOENT);
    assert_null(message.text);
    maildrop_close(&maildrop);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_message_has_the_digest_of_all_its_octets_wherever_it_is_begun),
        TEST(a_size_in_the_name_that_lies_is_not_believed),
        TEST(a_large_message_comes_in_pieces),
        TEST(a_file_that_changes_while_it_is_read_makes_no_whole_message),
        TEST(a_message_that_is_gone_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Queues of pooled chunks: steps of appending and consuming in a table, played with a pattern that
 * shows each byte's place. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "proxy/base/chunk.h"

#define COUNT(rows) (sizeof(rows) / sizeof((rows)[0]))
#define FULL        CHUNK_BYTES

/* A pattern whose period is no divisor of a chunk. */
static unsigned char pattern(size_t place)
{
    return (unsigned char)(place % 251);
}

struct played {
    struct chunk_pool pool;
    struct chunk_queue queue;
    size_t in, out; /* bytes appended and consumed since the beginning */
};

static void append(struct played *played, size_t count)
{
    unsigned char *bytes = malloc(count ? count : 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++)
        bytes[i] = pattern(played->in + i);
    assert_int_equal(chunk_queue_append(&played->queue, &played->pool, span_of(bytes, count)), 0);
    played->in += count;
    free(bytes);
}

/* Consumes at once; what stood in front must have been the pattern. */
static void consume(struct played *played, size_t count)
{
    struct span front = chunk_queue_front(&played->queue);

    for (size_t i = 0; i < front.size && i < count; i++)
        if (front.data[i] != pattern(played->out + i))
            fail_msg("byte %zu is wrong", played->out + i);
    chunk_queue_consume(&played->queue, &played->pool, count);
    played->out += count;
}

/* A positive step appends, a negative one consumes; 0 ends. */
static const struct row {
    const char *name;
    long steps[8];
    size_t chunks; /* that the queue holds at the end */
} rows[] = {
    { "nothing", { 0 }, 0 },
    { "one byte", { 1 }, 1 },
    { "one byte in and out", { 1, -1 }, 0 },
    { "a full chunk", { FULL }, 1 },
    { "a full chunk and one byte", { FULL, 1 }, 2 },
    { "a full chunk and one byte at once", { FULL + 1 }, 2 },
    { "three chunks and a bit at once", { 3 * FULL + 7 }, 4 },
    { "an append over the border of two chunks", { FULL - 3, 10 }, 2 },
    { "consuming up to the border", { FULL + 5, -FULL }, 1 },
    { "consuming over the border", { FULL + 5, -FULL - 2 }, 1 },
    { "consuming over two borders", { 2 * FULL + 5, -2 * FULL - 2 }, 1 },
    { "drained, and used again", { FULL + 5, -FULL - 5, 3 }, 1 },
    { "room in front is not used again", { FULL, -FULL + 1, 1 }, 2 },
    { "in and out by turns", { 10, -5, 10, -10, FULL, -FULL, 1, -6 }, 0 },
};

static void bytes_come_out_as_they_went_in(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        const struct row *row = &rows[i];
        struct played played = { 0 };

        chunk_pool_init(&played.pool, 2);
        for (size_t k = 0; k < COUNT(row->steps) && row->steps[k] != 0; k++) {
            if (row->steps[k] > 0)
                append(&played, (size_t)row->steps[k]);
            else
                consume(&played, (size_t)-row->steps[k]);
            assert_int_equal(played.queue.size, played.in - played.out);
        }
        if (played.pool.used_count != row->chunks)
            fail_msg("%s: %zu chunks", row->name, played.pool.used_count);
        while (played.queue.size > 0)
            consume(&played, chunk_queue_front(&played.queue).size);
        assert_int_equal(played.in, played.out);
        assert_int_equal(played.pool.used_count, 0); /* p8: an empty queue owns nothing */
        assert_null(played.queue.first);
        assert_null(played.queue.last);
        assert_int_equal(chunk_queue_front(&played.queue).size, 0);
        chunk_pool_deinit(&played.pool);
    }
}

static void byte_by_byte_gives_the_same(void **state)
{
    struct played played = { 0 };

    (void)state;
    chunk_pool_init(&played.pool, 2);
    for (size_t i = 0; i < 2 * FULL + 3; i++)
        append(&played, 1);
    assert_int_equal(played.pool.used_count, 3);
    for (size_t i = 0; i < 2 * FULL + 3; i++)
        consume(&played, 1);
    assert_int_equal(played.pool.used_count, 0);
    chunk_pool_deinit(&played.pool);
}

static void an_append_of_nothing_takes_no_chunk(void **state)
{
    struct played played = { 0 };

    (void)state;
    chunk_pool_init(&played.pool, 2);
    append(&played, 0);
    assert_int_equal(played.pool.used_count, 0);
    append(&played, FULL);
    append(&played, 0);
    assert_int_equal(played.pool.used_count, 1);
    consume(&played, FULL);
    chunk_pool_deinit(&played.pool);
}

static void p8_a_pool_keeps_no_more_than_it_may(void **state)
{
    struct played played = { 0 };

    (void)state;
    chunk_pool_init(&played.pool, 2);
    append(&played, 5 * FULL);
    assert_int_equal(played.pool.used_count, 5);
    assert_int_equal(played.pool.free_count, 0);
    chunk_queue_clear(&played.queue, &played.pool, false);
    assert_int_equal(played.pool.used_count, 0);
    assert_int_equal(played.pool.free_count, 2);
    assert_int_equal(played.queue.size, 0);
    played.in = 0;
    append(&played, 1);
    assert_int_equal(played.pool.free_count, 1); /* taken from those that were kept */
    consume(&played, 1);
    assert_int_equal(played.pool.free_count, 2);
    chunk_pool_deinit(&played.pool);
    assert_null(played.pool.free);
}

static void p7_what_is_secret_is_wiped_also_where_it_was_consumed(void **state)
{
    struct chunk_pool pool;
    struct chunk_queue queue = { 0 };

    (void)state;
    chunk_pool_init(&pool, 2);
    assert_int_equal(chunk_queue_append(&queue, &pool, SPAN_LIT("PASS secret\r\nQUIT\r\n")), 0);
    chunk_queue_consume(&queue, &pool, 13);
    chunk_queue_clear(&queue, &pool, true);
    assert_non_null(pool.free);
    for (size_t i = 0; i < 19; i++)
        assert_int_equal(pool.free->data[i], 0);
    chunk_pool_deinit(&pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_come_out_as_they_went_in),
        cmocka_unit_test(byte_by_byte_gives_the_same),
        cmocka_unit_test(an_append_of_nothing_takes_no_chunk),
        cmocka_unit_test(p8_a_pool_keeps_no_more_than_it_may),
        cmocka_unit_test(p7_what_is_secret_is_wiped_also_where_it_was_consumed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

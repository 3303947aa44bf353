/* Memory that is taken is counted, whichever thread takes it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <openssl/crypto.h>
#include <cmocka.h>

#include "proxy/allocations.h"

#define THREADS 4
#define ROUNDS  100000

static pthread_barrier_t all_there;

static void *take_and_give_back(void *unused)
{
    (void)unused;
    pthread_barrier_wait(&all_there);
    for (int i = 0; i < ROUNDS; i++) {
        void *volatile ours = malloc(16);

        free(ours);
        OPENSSL_free(OPENSSL_malloc(16));
    }
    return NULL;
}

static void none_is_lost_where_threads_take_memory_at_once(void **state)
{
    static struct stats stats;
    pthread_t threads[THREADS];

    (void)state;
    allocations_count_in(&stats);
    assert_int_equal(pthread_barrier_init(&all_there, NULL, THREADS), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give_back, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    pthread_barrier_destroy(&all_there);
    assert_int_equal(stats.allocations, THREADS * ROUNDS);
    assert_int_equal(stats.allocations_openssl, THREADS * ROUNDS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(none_is_lost_where_threads_take_memory_at_once),
    };

    allocations_begin();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

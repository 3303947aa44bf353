/* Counts what the worker's own code, libuv and OpenSSL allocate. Cannot fail: a hook that is not
 * taken leaves its count at zero, which the test sees. */
#include "proxy/allocations.h"

#ifdef GATEPOST_COUNTS_ALLOCATIONS

#include <openssl/crypto.h>
#include <stdlib.h>
#include <uv.h>

static struct stats nobodys;
static struct stats *counts = &nobodys;

/* Not stats_count(), which is for counters of one thread: libuv's pool takes memory, too. */
static void count(_Atomic uint64_t *counter)
{
    atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

/* --- our own calls: ld(1), --wrap --- */

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);

void *__wrap_malloc(size_t size)
{
    count(&counts->allocations);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t number, size_t size)
{
    count(&counts->allocations);
    return __real_calloc(number, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    count(&counts->allocations);
    return __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
    count(&counts->allocations);
    return __real_strdup(text);
}

/* --- OpenSSL's --- */

static void *openssl_malloc(size_t size, const char *file, int line)
{
    (void)file, (void)line;
    count(&counts->allocations_openssl);
    return __real_malloc(size);
}

static void *openssl_realloc(void *memory, size_t size, const char *file, int line)
{
    (void)file, (void)line;
    count(&counts->allocations_openssl);
    return __real_realloc(memory, size);
}

static void openssl_free(void *memory, const char *file, int line)
{
    (void)file, (void)line;
    free(memory);
}

void allocations_begin(void)
{
    CRYPTO_set_mem_functions(openssl_malloc, openssl_realloc, openssl_free);
    uv_replace_allocator(malloc, realloc, calloc, free);
}

void allocations_count_in(struct stats *stats)
{
    counts = stats;
}

#endif

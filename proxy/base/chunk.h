/* Pooled pieces of memory for bytes that must wait, and queues of them.
 *
 * A chunk_pool belongs to one event loop and is not locked. A queue keeps bytes in order; it takes
 * a chunk when it needs one and gives it back as soon as it is drained, so an empty queue owns
 * nothing. Freed chunks are kept for reuse up to `keep` of them. Chunks that may hold a password
 * are wiped on request (chunk_queue_clear). */
#ifndef GATEPOST_BASE_CHUNK_H
#define GATEPOST_BASE_CHUNK_H

#include "proxy/base/span.h"

#define CHUNK_BYTES 16320 /* payload of one chunk: with its header, below 16 KiB */

struct chunk {
    struct chunk *next;
    uint32_t start, end; /* the bytes in use: data[start .. end) */
    unsigned char data[CHUNK_BYTES];
};

struct chunk_pool {
    struct chunk *free;
    size_t free_count;
    size_t used_count; /* chunks that queues hold now */
    size_t keep;
};

struct chunk_queue {
    struct chunk *first, *last;
    size_t size; /* bytes waiting */
};

void chunk_pool_init(struct chunk_pool *pool, size_t keep);
void chunk_pool_deinit(struct chunk_pool *pool);

/* Appends a copy of `bytes`: 0 or -ENOMEM (then nothing was appended). */
int chunk_queue_append(struct chunk_queue *queue, struct chunk_pool *pool, struct span bytes);

/* The first waiting bytes that stand together; empty when the queue is empty. */
struct span chunk_queue_front(const struct chunk_queue *queue);

/* Drops the first `count` bytes, count <= queue->size. */
void chunk_queue_consume(struct chunk_queue *queue, struct chunk_pool *pool, size_t count);

/* Drops everything. With `secret`, wipes it first. */
void chunk_queue_clear(struct chunk_queue *queue, struct chunk_pool *pool, bool secret);

#endif

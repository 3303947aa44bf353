/* A pool of chunks and queues over it. Fails only for want of memory. */
#include "proxy/base/chunk.h"

#include <errno.h>
#include <stdlib.h>

void chunk_pool_init(struct chunk_pool *pool, size_t keep)
{
    *pool = (struct chunk_pool){ .keep = keep };
}

void chunk_pool_deinit(struct chunk_pool *pool)
{
    while (pool->free) {
        struct chunk *chunk = pool->free;

        pool->free = chunk->next;
        free(chunk);
    }
    pool->free_count = 0;
}

static struct chunk *take(struct chunk_pool *pool)
{
    struct chunk *chunk = pool->free;

    if (chunk) {
        pool->free = chunk->next;
        pool->free_count--;
    } else {
        chunk = malloc(sizeof(*chunk));
        if (!chunk)
            return NULL;
    }
    pool->used_count++;
    chunk->next = NULL;
    chunk->start = chunk->end = 0;
    return chunk;
}

static void give_back(struct chunk_pool *pool, struct chunk *chunk)
{
    pool->used_count--;
    if (pool->free_count >= pool->keep) {
        free(chunk);
        return;
    }
    chunk->next = pool->free;
    pool->free = chunk;
    pool->free_count++;
}

/* Makes sure that `need` more bytes fit, by chaining new chunks behind the last one. */
static int reserve(struct chunk_queue *queue, struct chunk_pool *pool, size_t need,
                   struct chunk **ret_new)
{
    size_t room = queue->last ? CHUNK_BYTES - queue->last->end : 0;
    struct chunk *head = NULL, **tail = &head;

    while (room < need) {
        struct chunk *chunk = take(pool);

        if (!chunk)
            goto give_back_new;
        *tail = chunk;
        tail = &chunk->next;
        room += CHUNK_BYTES;
    }
    *ret_new = head;
    return 0;

give_back_new:
    while (head) {
        struct chunk *chunk = head;

        head = chunk->next;
        give_back(pool, chunk);
    }
    return -ENOMEM;
}

int chunk_queue_append(struct chunk_queue *queue, struct chunk_pool *pool, struct span bytes)
{
    struct chunk *chunk = queue->last, *added;

    if (reserve(queue, pool, bytes.size, &added) < 0)
        return -ENOMEM;
    if (chunk)
        chunk->next = added;
    else
        queue->first = chunk = added;
    queue->size += bytes.size;
    while (bytes.size > 0) {
        size_t part = CHUNK_BYTES - chunk->end;

        if (part > bytes.size)
            part = bytes.size;
        memcpy(chunk->data + chunk->end, bytes.data, part);
        chunk->end += (uint32_t)part;
        bytes = span_skip(bytes, part);
        queue->last = chunk;
        if (bytes.size > 0)
            chunk = chunk->next;
    }
    return 0;
}

struct span chunk_queue_front(const struct chunk_queue *queue)
{
    const struct chunk *chunk = queue->first;

    return chunk ? span_of(chunk->data + chunk->start, chunk->end - chunk->start)
                 : span_of(NULL, 0);
}

void chunk_queue_consume(struct chunk_queue *queue, struct chunk_pool *pool, size_t count)
{
    queue->size -= count;
    while (queue->first) {
        struct chunk *chunk = queue->first;
        size_t have = chunk->end - chunk->start;

        if (count < have) {
            chunk->start += (uint32_t)count;
            return;
        }
        count -= have;
        queue->first = chunk->next;
        if (!queue->first)
            queue->last = NULL;
        give_back(pool, chunk);
    }
}

void chunk_queue_clear(struct chunk_queue *queue, struct chunk_pool *pool, bool secret)
{
    for (struct chunk *chunk = queue->first; secret && chunk; chunk = chunk->next)
        explicit_bzero(chunk->data, chunk->end); /* what was consumed lies there still */
    chunk_queue_consume(queue, pool, queue->size);
}

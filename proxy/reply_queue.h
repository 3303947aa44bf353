/* The replies that a server still owes, in their order: what kind of command each answers (RFC 2920
 * section 3.2).
 *
 * PURE. Kinds are the inspectors' own small numbers. */
#ifndef GATEPOST_PROXY_REPLY_QUEUE_H
#define GATEPOST_PROXY_REPLY_QUEUE_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#define REPLY_QUEUE_MAX 128 /* then the client has to wait; a power of two */

struct reply_queue {
    uint8_t kinds[REPLY_QUEUE_MAX];
    uint8_t first;
    uint8_t count;
};

static inline bool reply_queue_full(const struct reply_queue *queue)
{
    return queue->count == REPLY_QUEUE_MAX;
}

static inline void reply_queue_push(struct reply_queue *queue, uint8_t kind)
{
    assert(!reply_queue_full(queue));
    queue->kinds[(queue->first + queue->count) % REPLY_QUEUE_MAX] = kind;
    queue->count++;
}

/* The kind of the reply that comes next; the queue is not empty. */
static inline uint8_t reply_queue_first(const struct reply_queue *queue)
{
    assert(queue->count > 0);
    return queue->kinds[queue->first];
}

/* The kind of the reply that comes last; the queue is not empty. */
static inline uint8_t reply_queue_last(const struct reply_queue *queue)
{
    assert(queue->count > 0);
    return queue->kinds[(queue->first + queue->count - 1) % REPLY_QUEUE_MAX];
}

static inline void reply_queue_pop(struct reply_queue *queue)
{
    assert(queue->count > 0);
    queue->first = (uint8_t)((queue->first + 1) % REPLY_QUEUE_MAX);
    queue->count--;
}

#endif

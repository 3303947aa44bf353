/* What both inspectors need besides the rules of their protocol: a piece of their own, and a list
 * that is being collected.
 *
 * PURE. */
#ifndef GATEPOST_PROXY_INSPECT_PARTS_H
#define GATEPOST_PROXY_INSPECT_PARTS_H

#include "proxy/inspect.h"

/* A piece that stands nowhere in the caller's buffer: a line that came in parts, a list that was
 * written anew. */
struct own_piece {
    unsigned char *data; /* NULL: none */
    size_t size;
};

/* Wipes and frees it. */
void own_release(struct own_piece *own);

/* `first` and `second` together; what was there is released. 0 or -ENOMEM. */
int own_join(struct own_piece *own, struct span first, struct span second);

static inline struct span own_span(const struct own_piece *own)
{
    return span_of(own->data, own->size);
}

/* A whole reply to EHLO or CAPA. */
struct reply_collect {
    unsigned lines;
    size_t size;
    unsigned char data[CAPABILITIES_BYTES_MAX];
};

/* Adds one line, without its line end; makes *collect where it is NULL. 0, -EPROTO where the reply
 * is longer than any we take, or -ENOMEM. */
int reply_collect_add(struct reply_collect **collect, struct span line);

static inline struct span reply_collect_span(const struct reply_collect *collect)
{
    return span_of(collect->data, collect->size);
}

/* Writes what a client is offered of `list` into `own`. 0, -ENOMEM or -ENOSPC. */
int own_write_capabilities(struct own_piece *own, const struct capabilities *list,
                           const struct dialogue_rule *rule, bool tls);

/* Adds `raw` to `batch` where both stand together in one buffer. */
static inline bool batch_add(struct span *batch, struct span raw)
{
    if (!raw.data || (batch->size > 0 && raw.data != batch->data + batch->size))
        return false;
    if (batch->size == 0)
        batch->data = raw.data;
    batch->size += raw.size;
    return true;
}

/* What has been gathered goes first: INSPECT_FORWARD; where there is nothing, `verdict`. */
static inline int batch_settle(const struct span *batch, struct span *ret_piece, int verdict)
{
    if (batch->size == 0)
        return verdict;
    *ret_piece = *batch;
    return INSPECT_FORWARD;
}

#endif

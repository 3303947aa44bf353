/* Pieces and lists of an inspector's own. Fail only for want of memory, or because a peer's list is
 * too long. */
#include "proxy/inspect_parts.h"

#include <errno.h>
#include <stdlib.h>

void own_release(struct own_piece *own)
{
    if (!own->data)
        return;
    explicit_bzero(own->data, own->size); /* it may have been a password */
    free(own->data);
    *own = (struct own_piece){ NULL, 0 };
}

int own_join(struct own_piece *own, struct span first, struct span second)
{
    size_t size = first.size + second.size;
    unsigned char *data = malloc(size ? size : 1);

    if (!data)
        return -ENOMEM;
    if (first.size > 0)
        memcpy(data, first.data, first.size);
    if (second.size > 0)
        memcpy(data + first.size, second.data, second.size);
    own_release(own);
    *own = (struct own_piece){ data, size };
    return 0;
}

int reply_collect_add(struct reply_collect **collect, struct span line)
{
    struct reply_collect *to = *collect;

    if (!to) {
        to = malloc(sizeof(*to));
        if (!to)
            return -ENOMEM;
        to->lines = 0;
        to->size = 0;
        *collect = to;
    }
    if (to->lines == CAPABILITIES_LINES_MAX || line.size + 2 > sizeof(to->data) - to->size)
        return -EPROTO;
    if (line.size > 0)
        memcpy(to->data + to->size, line.data, line.size);
    memcpy(to->data + to->size + line.size, "\r\n", 2);
    to->size += line.size + 2;
    to->lines++;
    return 0;
}

int own_write_capabilities(struct own_piece *own, const struct capabilities *list,
                           const struct dialogue_rule *rule, bool tls)
{
    struct text text = { malloc(DIALOGUE_REPLY_MAX), 0, DIALOGUE_REPLY_MAX, false };

    if (!text.data)
        return -ENOMEM;
    capabilities_write(list, rule, tls, &text);
    own_release(own);
    *own = (struct own_piece){ (unsigned char *)text.data, text.size };
    return text.overflow ? -ENOSPC : 0; /* the room is for the longest list */
}

/* A list of stored messages. Happy path: appended to at its end, removed from at its beginning.
 * What had to be fetched again comes between those that are there. */
#include "tools/fetch/stored.h"

#include <errno.h>
#include <stdlib.h>

void stored_free(struct stored_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        free(list->items[i].name);
    free(list->items);
    *list = (struct stored_list){ .items = NULL };
}

static bool is_before(struct remote_uid uid, struct remote_uid other)
{
    return uid.epoch == other.epoch && uid.number < other.number;
}

/* What is looked for was put in a moment ago, as a rule, or is later than all: only what an earlier
 * epoch left can make a search long. */
struct stored *stored_find(struct stored_list *list, struct remote_uid uid)
{
    for (size_t i = list->count; i > 0 && !is_before(list->items[i - 1].uid, uid); i--)
        if (remote_uid_equal(list->items[i - 1].uid, uid))
            return &list->items[i - 1];
    return NULL;
}

struct stored *stored_find_same(struct stored_list *list, struct remote_uid uid, struct span digest)
{
    struct stored *item = stored_find(list, uid);

    return item && item->stage == STORED_DONE &&
                   memcmp(item->digest, digest.data, REMOTE_DIGEST_MAX) == 0
               ? item
               : NULL;
}

struct stored *stored_find_alike(struct stored_list *list, uint32_t epoch, struct span digest)
{
    for (size_t i = 0; i < list->count; i++) {
        struct stored *item = &list->items[i];

        if (item->uid.epoch != epoch && item->stage == STORED_DONE &&
            memcmp(item->digest, digest.data, REMOTE_DIGEST_MAX) == 0)
            return item;
    }
    return NULL;
}

static struct stored *insert(struct stored_list *list, struct remote_uid uid)
{
    size_t at = list->count;

    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 64;
        struct stored *grown = realloc(list->items, room * sizeof(*grown));

        if (!grown)
            return NULL;
        list->items = grown;
        list->room = room;
    }
    while (at > 0 && is_before(uid, list->items[at - 1].uid))
        at--;
    memmove(&list->items[at + 1], &list->items[at], (list->count - at) * sizeof(*list->items));
    list->count++;
    list->items[at] = (struct stored){ .uid = uid };
    if (at < list->untold)
        list->untold = at;
    return &list->items[at];
}

int stored_put(struct stored_list *list, struct remote_uid uid, struct span digest,
               enum stored_stage stage, struct span name)
{
    struct stored *item = stored_find(list, uid);

    if (!item)
        item = insert(list, uid);
    if (!item)
        return -ENOMEM;
    free(item->name);
    item->name = name.size > 0 ? strndup((const char *)name.data, name.size) : NULL;
    item->stage = stage;
    memcpy(item->digest, digest.data, REMOTE_DIGEST_MAX);
    return name.size > 0 && !item->name ? -ENOMEM : 0;
}

static void remove_at(struct stored_list *list, size_t index)
{
    free(list->items[index].name);
    list->untold = 0;
    list->count--;
    memmove(&list->items[index], &list->items[index + 1],
            (list->count - index) * sizeof(list->items[0]));
}

void stored_remove(struct stored_list *list, struct remote_uid uid)
{
    struct stored *item = stored_find(list, uid);

    if (item)
        remove_at(list, (size_t)(item - list->items));
}

void stored_rename(struct stored_list *list, struct remote_uid from, struct remote_uid to)
{
    struct stored *item = stored_find(list, from), moved;
    size_t index;

    if (!item)
        return;
    moved = *item;
    index = (size_t)(item - list->items);
    moved.uid = to;
    moved.told = false;
    memmove(item, item + 1, (list->count - index - 1) * sizeof(*item));
    list->items[list->count - 1] = moved;
    list->untold = 0;
}

struct stored *stored_tell(struct stored_list *list, uint32_t epoch)
{
    for (; list->untold < list->count; list->untold++) {
        struct stored *item = &list->items[list->untold];

        if (item->told || item->uid.epoch != epoch || item->stage != STORED_DONE)
            continue;
        item->told = true;
        return item;
    }
    return NULL;
}

void stored_untell(struct stored_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        list->items[i].told = false;
    list->untold = 0;
}

static void remove_where(struct stored_list *list, struct remote_uid uid, bool other_epochs)
{
    size_t kept = 0;

    for (size_t i = 0; i < list->count; i++) {
        const struct stored *item = &list->items[i];
        bool gone = other_epochs ? item->uid.epoch != uid.epoch
                                 : item->uid.epoch == uid.epoch && item->uid.number <= uid.number;

        if (gone)
            free(item->name);
        else
            list->items[kept++] = *item;
    }
    list->count = kept;
    list->untold = 0;
}

void stored_remove_up_to(struct stored_list *list, struct remote_uid uid)
{
    remove_where(list, uid, false);
}

void stored_remove_other_epochs(struct stored_list *list, uint32_t epoch)
{
    remove_where(list, (struct remote_uid){ epoch, 0 }, true);
}

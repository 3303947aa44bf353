/* Lists of what servers can do, compared and combined: does one cover another, what have two in
 * common, what is left of one without what the operator hides.
 *
 * A list that is made here never holds what a list that it was made from does not. Fails for want
 * of memory. */
#include "proxy/capabilities.h"

#include "proxy/capabilities_parts.h"

static bool has_mechanism(struct span mechanisms, struct span wanted)
{
    struct span mechanism;

    while (capabilities_next_mechanism(&mechanisms, &mechanism))
        if (span_equal_nocase(mechanism, wanted))
            return true;
    return false;
}

static bool cover_mechanisms(const struct capabilities *now, struct span offered,
                             struct span *ret_missing)
{
    struct span have = capabilities_mechanisms(now), mechanism;

    while (capabilities_next_mechanism(&offered, &mechanism))
        if (!has_mechanism(have, mechanism)) {
            *ret_missing = mechanism;
            return false;
        }
    return true;
}

/* A server without CAPA is older than the capability USER, and knows the command (RFC 1939 section
 * 7). */
static bool knows_user(const struct capabilities *list)
{
    return list->none || capabilities_find(list, SPAN_LIT("USER"));
}

bool capabilities_cover(const struct capabilities *now, const struct capabilities *offered,
                        struct span *ret_missing)
{
    if (offered->protocol == PROTOCOL_POP3 && offered->none && !knows_user(now)) {
        *ret_missing = SPAN_LIT("USER");
        return false;
    }
    for (size_t i = 0; i < offered->count; i++) {
        const struct capability *item = &offered->items[i];
        const struct capability_keyword *row = capabilities_understood(offered, item->keyword);

        if (!row || row->worth == WORTH_NOTHING || !capabilities_first_of_its_kind(offered, item))
            continue;
        if (capabilities_names_mechanisms(offered, item->keyword)) {
            if (!cover_mechanisms(now, item->parameters, ret_missing))
                return false;
        } else if (!capabilities_find(now, item->keyword)) {
            *ret_missing = item->keyword;
            return false;
        }
    }
    return true;
}

static void add_common_mechanisms(struct capabilities_making *making, const struct capability *a,
                                  struct span b)
{
    struct span rest = a->parameters, mechanism;
    struct capability *item = NULL;

    while (capabilities_next_mechanism(&rest, &mechanism)) {
        if (!has_mechanism(b, mechanism))
            continue;
        if (!item) {
            capabilities_add(making, a->keyword, mechanism);
            item = &making->list->items[making->list->count - 1];
            continue;
        }
        capabilities_keep_text(making, SPAN_LIT(" "));
        item->parameters.size += 1 + capabilities_keep_text(making, mechanism).size;
    }
}

static size_t text_size(const struct capabilities *list)
{
    size_t size = 0;

    for (size_t i = 0; i < list->count; i++)
        size += list->items[i].keyword.size + list->items[i].parameters.size;
    return size;
}

/* What both promise by a keyword that both have. Where they differ beyond what we can compare, the
 * plain keyword is the lesser promise; two that say different things leave none. */
static void add_common(struct capabilities_making *making, const struct capability *a,
                       struct span b)
{
    if (capabilities_names_mechanisms(making->list, a->keyword))
        add_common_mechanisms(making, a, b);
    else if (capability_is(a->keyword, "SIZE"))
        capabilities_add(making, a->keyword,
                         capabilities_size(b) < capabilities_size(a->parameters) ? b
                                                                                 : a->parameters);
    else if (span_equal_nocase(a->parameters, b))
        capabilities_add(making, a->keyword, a->parameters);
    else if (a->parameters.size == 0 || b.size == 0)
        capabilities_add(making, a->keyword, span_of(NULL, 0));
}

static struct capabilities *new_empty(enum port_protocol protocol)
{
    struct capabilities_making making;

    return capabilities_make(protocol, 0, 0, &making) < 0 ? NULL : making.list;
}

/* One of both at least knows no EHLO or CAPA. A client of POP3 may still be told of USER, if the
 * other has it. */
static struct capabilities *intersect_none(const struct capabilities *a,
                                           const struct capabilities *b)
{
    if (a->protocol == PROTOCOL_POP3 && !(knows_user(a) && knows_user(b)))
        return new_empty(a->protocol);
    return capabilities_new_none(a->protocol);
}

struct capabilities *capabilities_intersect(const struct capabilities *a,
                                            const struct capabilities *b)
{
    struct capabilities_making making;

    if (a->none || b->none)
        return intersect_none(a, b);
    if (capabilities_make(a->protocol, a->count, text_size(a) + text_size(b), &making) < 0)
        return NULL;
    for (size_t i = 0; i < a->count; i++) {
        const struct capability *item = &a->items[i];
        const struct capability *other = capabilities_find(b, item->keyword);

        if (other && capabilities_first_of_its_kind(a, item))
            add_common(&making, item, other->parameters);
    }
    return making.list;
}

/* Hiding */

static bool hides(const struct settings_list *hide, const char *name)
{
    for (size_t i = 0; i < hide->count; i++)
        if (capability_is(span_of_text(hide->items[i]), name))
            return true;
    return false;
}

static bool is_hidden(const struct capabilities *list, struct span keyword,
                      const struct settings_list *hide)
{
    if (capabilities_names_mechanisms(list, keyword) || capability_is(keyword, OLD_AUTH))
        return hides(hide, "AUTH") || hides(hide, "SASL");
    for (size_t i = 0; i < hide->count; i++)
        if (capability_is(keyword, hide->items[i]))
            return true;
    return false;
}

struct capabilities *capabilities_without(const struct capabilities *list,
                                          const struct settings_list *hide)
{
    struct capabilities_making making;

    if (list->none)
        return list->protocol == PROTOCOL_POP3 && hides(hide, "USER")
                   ? new_empty(list->protocol)
                   : capabilities_new_none(list->protocol);
    if (capabilities_make(list->protocol, list->count, text_size(list), &making) < 0)
        return NULL;
    for (size_t i = 0; i < list->count; i++)
        if (!is_hidden(list, list->items[i].keyword, hide))
            capabilities_add(&making, list->items[i].keyword, list->items[i].parameters);
    return making.list;
}

struct capabilities *capabilities_before_routing(const struct capabilities *list)
{
    bool pop3 = list->protocol == PROTOCOL_POP3;
    struct capabilities_making making;

    if (list->none)
        return capabilities_new_none(list->protocol);
    if (capabilities_make(list->protocol, list->count, text_size(list), &making) < 0)
        return NULL;
    for (size_t i = 0; i < list->count; i++) {
        const struct capability *item = &list->items[i];

        if (capabilities_names_mechanisms(list, item->keyword))
            add_common_mechanisms(&making, item, SPAN_LIT("PLAIN LOGIN"));
        else if (!pop3 ||
                 (!capability_is(item->keyword, "LANG") && !capability_is(item->keyword, "UTF8")))
            capabilities_add(&making, item->keyword, item->parameters);
    }
    return making.list;
}

bool capabilities_equal(const struct capabilities *a, const struct capabilities *b)
{
    if (a->protocol != b->protocol || a->none != b->none || a->count != b->count)
        return false;
    for (size_t i = 0; i < a->count; i++)
        if (!span_equal_nocase(a->items[i].keyword, b->items[i].keyword) ||
            !span_equal(a->items[i].parameters, b->items[i].parameters))
            return false;
    return true;
}

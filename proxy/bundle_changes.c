/* The words of a reload.
 *
 * Happy path: listeners are compared as lines, certificates and CAs as entries, settings as
 * sections of the INI text. What there is no room for is left out with "...". */
#include "proxy/bundle_changes.h"

#define WORDS_MAX 60 /* of one list; guessed: a log line shall be readable */

/* A list that is being written: "NAME a, b". */
struct list {
    struct text *into;
    const char *name;
    unsigned count;
};

static void list_add(struct list *list, const char *mark, struct span word)
{
    struct text *into = list->into;

    if (list->count++ >= WORDS_MAX)
        return;
    if (list->count == 1)
        text_printf(into, "%s%s%s", into->size > 0 ? "; " : "", list->name, *list->name ? " " : "");
    else
        text_puts(into, ", ");
    text_puts(into, mark);
    text_put(into, list->count == WORDS_MAX ? SPAN_LIT("...") : word);
}

/* -- listeners -- */

static bool has_listener(const struct bundle *bundle, struct span wanted)
{
    struct span entry;

    for (size_t i = 0; bundle_find(bundle, "listener", i, &entry); i++)
        if (span_equal(entry, wanted))
            return true;
    return false;
}

static void compare_listeners(const struct bundle *before, const struct bundle *now,
                              struct text *into)
{
    struct list list = { into, "listeners", 0 };
    struct span entry;

    for (size_t i = 0; bundle_find(now, "listener", i, &entry); i++)
        if (!has_listener(before, entry))
            list_add(&list, "+", entry);
    for (size_t i = 0; bundle_find(before, "listener", i, &entry); i++)
        if (!has_listener(now, entry))
            list_add(&list, "-", entry);
}

/* -- certificates, keys, CAs: entries with a name that begins alike -- */

/* The part of the name that people know: NAME of "tls/NAME/key", of "ca/NAME". */
static struct span known_name(struct span name)
{
    struct span rest = span_skip(name, span_find(name, '/') + 1);

    return span_first(rest, span_find(rest, '/'));
}

static bool begins(struct span name, const char *start)
{
    struct span wanted = span_of_text(start);

    return span_equal(span_first(name, wanted.size), wanted);
}

/* Has the other bundle the same octets under that name? */
static bool has_entry(const struct bundle *bundle, size_t number, struct span name,
                      struct span content)
{
    struct span other_name, other;
    size_t same = 0, offset = 0;

    while (bundle_next(bundle, &offset, &other_name, &other))
        if (span_equal(other_name, name) && same++ == number)
            return span_equal(other, content);
    return false;
}

/* Which one is the entry that ends at `end` of those with the same name? */
static size_t number_of(const struct bundle *bundle, size_t end, struct span name)
{
    struct span other_name, other;
    size_t number = 0, offset = 0;

    while (bundle_next(bundle, &offset, &other_name, &other) && offset < end)
        number += span_equal(other_name, name);
    return number;
}

static void list_entries(const struct bundle *bundle, const struct bundle *other, const char *start,
                         struct list *list, struct span *last)
{
    struct span name, content;
    size_t offset = 0;

    while (bundle_next(bundle, &offset, &name, &content)) {
        struct span known = known_name(name);

        if (!begins(name, start) ||
            has_entry(other, number_of(bundle, offset, name), name, content))
            continue;
        if (known.size == 0) /* "ca" alone: the system's */
            known = SPAN_LIT("of the system");
        if (!span_equal(known, *last)) /* its key has changed as well */
            list_add(list, "", known);
        *last = known;
    }
}

static void compare_entries(const struct bundle *before, const struct bundle *now,
                            const char *start, const char *words, struct text *into)
{
    struct list list = { into, words, 0 };
    struct span last = SPAN_LIT("");

    list_entries(now, before, start, &list, &last);
    if (list.count == 0)
        list_entries(before, now, start, &list, &last);
}

/* -- settings -- */

/* Takes the next section off *rest: its "[head]" and its lines. False: there is none. */
static bool take_section(struct span *rest, struct span *ret_head, struct span *ret_lines)
{
    size_t start = span_find(*rest, '['), end;
    struct span section = span_skip(*rest, start);

    if (section.size == 0)
        return false;
    end = span_search(section, SPAN_LIT("\n\n"));
    *ret_head = span_first(section, span_find(section, '\n'));
    *ret_lines = span_skip(span_first(section, end), ret_head->size);
    *rest = span_skip(section, end);
    return true;
}

static bool has_section(struct span text, struct span head, struct span lines)
{
    struct span other_head, other_lines;

    while (take_section(&text, &other_head, &other_lines))
        if (span_equal(other_head, head))
            return span_equal(other_lines, lines);
    return false;
}

static bool has_head(struct span text, struct span head)
{
    struct span other_head, other_lines;

    while (take_section(&text, &other_head, &other_lines))
        if (span_equal(other_head, head))
            return true;
    return false;
}

static void compare_settings(const struct bundle *before, const struct bundle *now,
                             struct text *into)
{
    struct list list = { into, "", 0 };
    struct span old, new, rest, head, lines;

    if (!bundle_find(before, "settings", 0, &old) || !bundle_find(now, "settings", 0, &new))
        return;
    for (rest = new; take_section(&rest, &head, &lines);)
        if (!has_section(old, head, lines))
            list_add(&list, has_head(old, head) ? "" : "+", head);
    for (rest = old; take_section(&rest, &head, &lines);)
        if (!has_head(new, head))
            list_add(&list, "-", head);
}

void bundle_changes(const struct bundle *before, const struct bundle *now, struct text *into)
{
    compare_listeners(before, now, into);
    compare_entries(before, now, "tls/", "certificates", into);
    compare_entries(before, now, "ca", "authorities", into);
    compare_settings(before, now, into);
}

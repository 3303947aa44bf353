/* Lists of what a server can do: how they are made, from its replies or from another list, and what
 * is looked up in one.
 *
 * Happy path: a reply is checked line by line and copied into one block, texts behind the items.
 * Every keyword of the server is kept; what the proxy does not understand is left out where a list
 * is written (capabilities_write.c) or compared (capabilities_compare.c). Fails by -EPROTO for a
 * reply of another form or over the limits, and for want of memory. */
#include "proxy/capabilities.h"

#include <errno.h>
#include <stdlib.h>

#include "proxy/capabilities_parts.h"

#define REPLY_LINE_MAX 2048 /* octets of one line of a server's reply, with its line end */
#define MECHANISM_MAX  20   /* RFC 4422 section 3.1 */

static const struct capability_keyword smtp_keywords[] = {
    { "SIZE", WORTH_KEEPING },        { "8BITMIME", WORTH_KEEPING },
    { "SMTPUTF8", WORTH_KEEPING },    { "DSN", WORTH_KEEPING },
    { "PIPELINING", WORTH_NOTHING },  { "CHUNKING", WORTH_KEEPING },
    { "BINARYMIME", WORTH_KEEPING },  { "ENHANCEDSTATUSCODES", WORTH_KEEPING },
    { "AUTH", WORTH_KEEPING },        { "HELP", WORTH_KEEPING },
    { "VRFY", WORTH_KEEPING },        { "EXPN", WORTH_KEEPING },
    { "ETRN", WORTH_KEEPING },        { "DELIVERBY", WORTH_KEEPING },
    { "MT-PRIORITY", WORTH_KEEPING }, { "LIMITS", WORTH_KEEPING },
    { NULL, WORTH_NOTHING },
};

static const struct capability_keyword pop3_keywords[] = {
    { "TOP", WORTH_KEEPING },         { "UIDL", WORTH_KEEPING },
    { "USER", WORTH_KEEPING },        { "SASL", WORTH_KEEPING },
    { "RESP-CODES", WORTH_NOTHING },  { "AUTH-RESP-CODE", WORTH_NOTHING }, /* the proxy's own */
    { "LOGIN-DELAY", WORTH_KEEPING }, { "PIPELINING", WORTH_NOTHING },
    { "EXPIRE", WORTH_KEEPING },      { "IMPLEMENTATION", WORTH_NOTHING },
    { "LANG", WORTH_KEEPING },        { "UTF8", WORTH_KEEPING },
    { NULL, WORTH_NOTHING },
};

const struct capability_keyword *capabilities_understood(const struct capabilities *list,
                                                         struct span keyword)
{
    const struct capability_keyword *row =
        list->protocol == PROTOCOL_POP3 ? pop3_keywords : smtp_keywords;

    while (row->name && !capability_is(keyword, row->name))
        row++;
    return row->name ? row : NULL;
}

bool capabilities_names_mechanisms(const struct capabilities *list, struct span keyword)
{
    return capability_is(keyword, list->protocol == PROTOCOL_POP3 ? "SASL" : "AUTH");
}

bool capabilities_first_of_its_kind(const struct capabilities *list, const struct capability *item)
{
    return capabilities_find(list, item->keyword) == item;
}

uint64_t capabilities_size(struct span parameters)
{
    uint64_t bytes;

    return span_parse_u64(span_take_word(&parameters), &bytes) && bytes > 0 ? bytes : UINT64_MAX;
}

/* Making a list */

int capabilities_make(enum port_protocol protocol, size_t items_max, size_t text_max,
                      struct capabilities_making *ret_making)
{
    size_t items_size = items_max * sizeof(struct capability);
    struct capabilities *list = malloc(sizeof(*list) + items_size + text_max);

    if (!list)
        return -ENOMEM;
    *list = (struct capabilities){ .references = 1, .protocol = protocol };
    list->items = (struct capability *)(list + 1);
    *ret_making = (struct capabilities_making){ .list = list,
                                                .text = (unsigned char *)(list + 1) + items_size };
    return 0;
}

struct span capabilities_keep_text(struct capabilities_making *making, struct span text)
{
    struct span kept = span_of(making->text, text.size);

    if (text.size > 0)
        memcpy(making->text, text.data, text.size);
    making->text += text.size;
    return kept;
}

void capabilities_add(struct capabilities_making *making, struct span keyword,
                      struct span parameters)
{
    struct capability *item = &making->list->items[making->list->count++];

    item->keyword = capabilities_keep_text(making, keyword);
    item->parameters = capabilities_keep_text(making, parameters);
}

struct capabilities *capabilities_new_none(enum port_protocol protocol)
{
    struct capabilities_making making;

    if (capabilities_make(protocol, 0, 0, &making) < 0)
        return NULL;
    making.list->none = true;
    return making.list;
}

struct capabilities *capabilities_ref(struct capabilities *list)
{
    if (list)
        list->references++;
    return list;
}

void capabilities_unref(struct capabilities *list)
{
    if (list && --list->references == 0)
        free(list);
}

/* Parsing */

/* Takes one line off *rest, without its line end. A lone LF ends it too: old servers do that. */
static int take_line(struct span *rest, struct span *ret_line)
{
    size_t lf = span_find(*rest, '\n');
    struct span line = span_first(*rest, lf);

    if (lf == rest->size || lf + 1 > REPLY_LINE_MAX)
        return -EPROTO;
    *rest = span_skip(*rest, lf + 1);
    if (line.size > 0 && line.data[line.size - 1] == '\r')
        line.size--;
    if (span_find(line, '\r') < line.size || span_find(line, '\0') < line.size)
        return -EPROTO;
    *ret_line = line;
    return 0;
}

/* Adds "KEYWORD PARAMETERS". */
static void add_line(struct capabilities_making *making, struct span line)
{
    struct span keyword = SPAN_LIT(OLD_AUTH);

    if (making->list->protocol == PROTOCOL_SMTP && span_starts_nocase(line, keyword))
        line = span_skip(line, keyword.size);
    else
        keyword = span_take_word(&line);
    if (keyword.size > 0)
        capabilities_add(making, keyword, span_trim(line));
}

/* The old line of AUTH counts where there is no new one. */
static void accept_old_auth(struct capabilities *list)
{
    if (capabilities_find(list, SPAN_LIT("AUTH")))
        return;
    for (size_t i = 0; i < list->count; i++)
        if (capability_is(list->items[i].keyword, OLD_AUTH))
            list->items[i].keyword.size = strlen("AUTH");
}

static int parse_smtp(struct capabilities_making *making, struct span reply)
{
    struct span line;
    bool last;

    for (unsigned count = 0; count < CAPABILITIES_LINES_MAX; count++) {
        if (take_line(&reply, &line) < 0 || !span_starts_nocase(line, SPAN_LIT("250")))
            return -EPROTO;
        last = line.size == 3 || line.data[3] == ' ';
        if (!last && line.data[3] != '-')
            return -EPROTO;
        if (count > 0) /* the first line is the server's name */
            add_line(making, span_skip(line, 4));
        if (last)
            break;
        if (count + 1 == CAPABILITIES_LINES_MAX)
            return -EPROTO;
    }
    accept_old_auth(making->list);
    return reply.size == 0 ? 0 : -EPROTO;
}

static int parse_pop3(struct capabilities_making *making, struct span reply)
{
    struct span line, word;

    if (take_line(&reply, &line) < 0)
        return -EPROTO;
    word = span_take_word(&line);
    if (!capability_is(word, "+OK"))
        return -EPROTO;
    for (unsigned count = 1; count < CAPABILITIES_LINES_MAX; count++) {
        if (take_line(&reply, &line) < 0)
            return -EPROTO;
        if (span_equal(line, SPAN_LIT(".")))
            return reply.size == 0 ? 0 : -EPROTO;
        if (line.size > 0 && line.data[0] == '.')
            line = span_skip(line, 1);
        add_line(making, line);
    }
    return -EPROTO;
}

int capabilities_parse(enum port_protocol protocol, struct span reply,
                       struct capabilities **ret_list)
{
    struct capabilities_making making;
    int r;

    if (reply.size > CAPABILITIES_BYTES_MAX)
        return -EPROTO;
    r = capabilities_make(protocol, CAPABILITIES_LINES_MAX, reply.size, &making);
    if (r < 0)
        return r;
    r = protocol == PROTOCOL_POP3 ? parse_pop3(&making, reply) : parse_smtp(&making, reply);
    if (r < 0) {
        capabilities_unref(making.list);
        return r;
    }
    *ret_list = making.list;
    return 0;
}

/* Looking */

const struct capability *capabilities_find(const struct capabilities *list, struct span keyword)
{
    for (size_t i = 0; i < list->count; i++)
        if (span_equal_nocase(list->items[i].keyword, keyword))
            return &list->items[i];
    return NULL;
}

bool capabilities_mechanism_passes(struct span mechanism)
{
    /* RFC 4752, 5801, 4422: bound to a name, a channel or a credential that the proxy ends. NTLM
     * counts on the connection. */
    static const char *const stripped[] = { "GSSAPI", "GSS-SPNEGO", "NTLM", "DIGEST-MD5",
                                            "EXTERNAL" };

    if (mechanism.size == 0 || mechanism.size > MECHANISM_MAX)
        return false;
    for (size_t i = 0; i < mechanism.size; i++)
        if (mechanism.data[i] <= ' ' || mechanism.data[i] >= 0x7f)
            return false;
    for (size_t i = 0; i < sizeof(stripped) / sizeof(stripped[0]); i++)
        if (capability_is(mechanism, stripped[i]))
            return false;
    return mechanism.size < 5 || !capability_is(span_skip(mechanism, mechanism.size - 5), "-PLUS");
}

bool capabilities_next_mechanism(struct span *rest, struct span *ret_mechanism)
{
    while (rest->size > 0) {
        struct span word = span_take_word(rest);

        if (capabilities_mechanism_passes(word)) {
            *ret_mechanism = word;
            return true;
        }
    }
    return false;
}

struct span capabilities_mechanisms(const struct capabilities *list)
{
    bool pop3 = list->protocol == PROTOCOL_POP3;
    const struct capability *item = capabilities_find(list, span_of_text(pop3 ? "SASL" : "AUTH"));

    return item ? item->parameters : span_of(NULL, 0);
}

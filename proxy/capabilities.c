/* Lists of what a server can do: parsing, comparing, and writing the part that a client is offered.
 *
 * Happy path: a reply is checked line by line and copied into one block, texts behind the items.
 * Every keyword of the server is kept; what the proxy does not understand is left out where a list
 * is written or compared. Fails by -EPROTO for a reply of another form or over the limits, and for
 * want of memory. */
#include "proxy/capabilities.h"

#include <errno.h>
#include <stdlib.h>

#define REPLY_LINE_MAX 2048 /* octets of one line of a server's reply, with its line end */
#define MECHANISM_MAX  20   /* RFC 4422 section 3.1 */

/* What a missing keyword means to a client that was told of it. */
enum worth {
    WORTH_KEEPING, /* the client may use it */
    WORTH_NOTHING, /* the proxy makes up for it, or nobody acts upon it */
};

struct keyword {
    const char *name;
    enum worth worth;
};

static const struct keyword smtp_keywords[] = {
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

static const struct keyword pop3_keywords[] = {
    { "TOP", WORTH_KEEPING },         { "UIDL", WORTH_KEEPING },
    { "USER", WORTH_KEEPING },        { "SASL", WORTH_KEEPING },
    { "RESP-CODES", WORTH_NOTHING },  { "AUTH-RESP-CODE", WORTH_NOTHING }, /* the proxy's own */
    { "LOGIN-DELAY", WORTH_KEEPING }, { "PIPELINING", WORTH_NOTHING },
    { "EXPIRE", WORTH_KEEPING },      { "IMPLEMENTATION", WORTH_NOTHING },
    { "LANG", WORTH_KEEPING },        { "UTF8", WORTH_KEEPING },
    { NULL, WORTH_NOTHING },
};

static bool is(struct span word, const char *name)
{
    return span_equal_nocase(word, span_of_text(name));
}

/* The keyword's row, or NULL where the proxy does not understand it. */
static const struct keyword *understood(const struct capabilities *list, struct span name)
{
    const struct keyword *row = list->protocol == PROTOCOL_POP3 ? pop3_keywords : smtp_keywords;

    while (row->name && !is(name, row->name))
        row++;
    return row->name ? row : NULL;
}

static bool names_mechanisms(const struct capabilities *list, struct span keyword)
{
    return is(keyword, list->protocol == PROTOCOL_POP3 ? "SASL" : "AUTH");
}

/* Is this the first item of its keyword? A server may repeat itself; a client is told once. */
static bool first_of_its_kind(const struct capabilities *list, const struct capability *item)
{
    return capabilities_find(list, item->keyword) == item;
}

/* Making a list */

struct making {
    struct capabilities *list;
    unsigned char *text; /* where the next text goes: behind the items, in the same block */
};

static int make(enum port_protocol protocol, size_t items_max, size_t text_max,
                struct making *ret_making)
{
    size_t items_size = items_max * sizeof(struct capability);
    struct capabilities *list = malloc(sizeof(*list) + items_size + text_max);

    if (!list)
        return -ENOMEM;
    *list = (struct capabilities){ .references = 1, .protocol = protocol };
    list->items = (struct capability *)(list + 1);
    *ret_making = (struct making){ .list = list, .text = (unsigned char *)(list + 1) + items_size };
    return 0;
}

static struct span keep_text(struct making *making, struct span text)
{
    struct span kept = span_of(making->text, text.size);

    if (text.size > 0)
        memcpy(making->text, text.data, text.size);
    making->text += text.size;
    return kept;
}

static void add(struct making *making, struct span keyword, struct span parameters)
{
    struct capability *item = &making->list->items[making->list->count++];

    item->keyword = keep_text(making, keyword);
    item->parameters = keep_text(making, parameters);
}

struct capabilities *capabilities_new_none(enum port_protocol protocol)
{
    struct making making;

    if (make(protocol, 0, 0, &making) < 0)
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

#define OLD_AUTH "AUTH=" /* how servers from before RFC 2554 begin the line of AUTH */

/* Adds "KEYWORD PARAMETERS". */
static void add_line(struct making *making, struct span line)
{
    struct span keyword = SPAN_LIT(OLD_AUTH);

    if (making->list->protocol == PROTOCOL_SMTP && span_starts_nocase(line, keyword))
        line = span_skip(line, keyword.size);
    else
        keyword = span_take_word(&line);
    if (keyword.size > 0)
        add(making, keyword, span_trim(line));
}

/* The old line of AUTH counts where there is no new one. */
static void accept_old_auth(struct capabilities *list)
{
    if (capabilities_find(list, SPAN_LIT("AUTH")))
        return;
    for (size_t i = 0; i < list->count; i++)
        if (is(list->items[i].keyword, OLD_AUTH))
            list->items[i].keyword.size = strlen("AUTH");
}

static int parse_smtp(struct making *making, struct span reply)
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

static int parse_pop3(struct making *making, struct span reply)
{
    struct span line, word;

    if (take_line(&reply, &line) < 0)
        return -EPROTO;
    word = span_take_word(&line);
    if (!is(word, "+OK"))
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
    struct making making;
    int r;

    if (reply.size > CAPABILITIES_BYTES_MAX)
        return -EPROTO;
    r = make(protocol, CAPABILITIES_LINES_MAX, reply.size, &making);
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

/* Looking and comparing */

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
        if (is(mechanism, stripped[i]))
            return false;
    return mechanism.size < 5 || !is(span_skip(mechanism, mechanism.size - 5), "-PLUS");
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

bool capabilities_cover(const struct capabilities *now, const struct capabilities *offered,
                        struct span *ret_missing)
{
    for (size_t i = 0; i < offered->count; i++) {
        const struct capability *item = &offered->items[i];
        const struct keyword *row = understood(offered, item->keyword);

        if (!row || row->worth == WORTH_NOTHING || !first_of_its_kind(offered, item))
            continue;
        if (names_mechanisms(offered, item->keyword)) {
            if (!cover_mechanisms(now, item->parameters, ret_missing))
                return false;
        } else if (!capabilities_find(now, item->keyword)) {
            *ret_missing = item->keyword;
            return false;
        }
    }
    return true;
}

/* RFC 1870 section 4: no number, or 0, is no fixed limit. */
static uint64_t size_of(struct span parameters)
{
    uint64_t bytes;

    return span_parse_u64(span_take_word(&parameters), &bytes) && bytes > 0 ? bytes : UINT64_MAX;
}

static void add_common_mechanisms(struct making *making, const struct capability *a, struct span b)
{
    struct span rest = a->parameters, mechanism;
    struct capability *item = NULL;

    while (capabilities_next_mechanism(&rest, &mechanism)) {
        if (!has_mechanism(b, mechanism))
            continue;
        if (!item) {
            add(making, a->keyword, mechanism);
            item = &making->list->items[making->list->count - 1];
            continue;
        }
        keep_text(making, SPAN_LIT(" "));
        item->parameters.size += 1 + keep_text(making, mechanism).size;
    }
}

static size_t text_size(const struct capabilities *list)
{
    size_t size = 0;

    for (size_t i = 0; i < list->count; i++)
        size += list->items[i].keyword.size + list->items[i].parameters.size;
    return size;
}

struct capabilities *capabilities_intersect(const struct capabilities *a,
                                            const struct capabilities *b)
{
    struct making making;

    if (a->none || b->none)
        return capabilities_new_none(a->protocol);
    if (make(a->protocol, a->count, text_size(a) + text_size(b), &making) < 0)
        return NULL;
    for (size_t i = 0; i < a->count; i++) {
        const struct capability *item = &a->items[i];
        const struct capability *other = capabilities_find(b, item->keyword);

        if (!other || !first_of_its_kind(a, item))
            continue;
        if (names_mechanisms(a, item->keyword))
            add_common_mechanisms(&making, item, other->parameters);
        else if (is(item->keyword, "SIZE") &&
                 size_of(other->parameters) < size_of(item->parameters))
            add(&making, item->keyword, other->parameters);
        else
            add(&making, item->keyword, item->parameters);
    }
    return making.list;
}

struct capabilities *capabilities_before_routing(const struct capabilities *list)
{
    bool pop3 = list->protocol == PROTOCOL_POP3;
    struct making making;

    if (make(list->protocol, list->count, text_size(list), &making) < 0)
        return NULL;
    making.list->none = list->none;
    for (size_t i = 0; i < list->count; i++) {
        const struct capability *item = &list->items[i];

        if (names_mechanisms(list, item->keyword))
            add_common_mechanisms(&making, item, SPAN_LIT("PLAIN LOGIN"));
        else if (!pop3 || (!is(item->keyword, "LANG") && !is(item->keyword, "UTF8")))
            add(&making, item->keyword, item->parameters);
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

/* Writing */

/* Starts one line of the reply: of EHLO ("250-"), or of CAPA. The line end goes before the next
 * line, or at the end, so that the last line of EHLO can get its space. */
struct writing {
    struct text *into;
    bool smtp;
    size_t dash; /* where the sign behind the last "250" stands */
};

static void begin_line(struct writing *writing)
{
    text_puts(writing->into, "\r\n");
    if (!writing->smtp)
        return;
    writing->dash = writing->into->size + 3;
    text_puts(writing->into, "250-");
}

static void write_plain_line(struct writing *writing, const char *line)
{
    begin_line(writing);
    text_puts(writing->into, line);
}

/* A line of mechanisms; nothing where none works. */
static void write_mechanisms(struct writing *writing, const char *keyword, struct span mechanisms)
{
    const char *start = keyword;
    struct span mechanism;

    while (capabilities_next_mechanism(&mechanisms, &mechanism)) {
        if (start == keyword)
            begin_line(writing);
        text_puts(writing->into, start);
        text_put(writing->into, mechanism);
        start = " ";
    }
}

static void write_size(struct writing *writing, struct span parameters, uint64_t limit)
{
    uint64_t bytes = size_of(parameters);

    if (limit > 0 && limit < bytes)
        bytes = limit;
    write_plain_line(writing, "SIZE");
    if (bytes < UINT64_MAX)
        text_printf(writing->into, " %llu", (unsigned long long)bytes);
    else if (parameters.size > 0)
        text_puts(writing->into, " 0");
}

static void write_item(struct writing *writing, const struct capability *item, const char *name,
                       const struct dialogue_rule *rule)
{
    if (writing->smtp && is(item->keyword, "SIZE")) {
        write_size(writing, item->parameters, rule->size_limit);
        return;
    }
    write_plain_line(writing, name);
    if (item->parameters.size == 0)
        return;
    text_puts(writing->into, " ");
    text_put(writing->into, item->parameters);
}

/* May a client log in now? Where not, nothing is offered that only serves for it. */
static bool login_hidden(const struct dialogue_rule *rule, bool tls)
{
    return rule->require_tls != REQUIRE_TLS_NO && !tls;
}

static void write_items(struct writing *writing, const struct capabilities *list,
                        const struct dialogue_rule *rule, bool tls)
{
    for (size_t i = 0; i < list->count; i++) {
        const struct capability *item = &list->items[i];
        const struct keyword *row = understood(list, item->keyword);

        if (!row || !first_of_its_kind(list, item))
            continue;
        if (names_mechanisms(list, item->keyword)) {
            if (login_hidden(rule, tls))
                continue;
            write_mechanisms(writing, writing->smtp ? "AUTH " : "SASL ", item->parameters);
            if (writing->smtp && rule->legacy_auth_line)
                write_mechanisms(writing, OLD_AUTH, item->parameters);
            continue;
        }
        if (is(item->keyword, "RESP-CODES") || is(item->keyword, "AUTH-RESP-CODE"))
            continue; /* written once, as our own */
        if (!writing->smtp && is(item->keyword, "USER") && login_hidden(rule, tls))
            continue;
        write_item(writing, item, row->name, rule);
    }
}

static void write_ehlo(const struct capabilities *list, const struct dialogue_rule *rule, bool tls,
                       struct text *into)
{
    struct writing writing = { .into = into, .smtp = true, .dash = into->size + 3 };

    text_printf(into, "250-%s", rule->hostname);
    if (!tls && rule->tls_available)
        write_plain_line(&writing, "STARTTLS");
    write_items(&writing, list, rule, tls);
    text_puts(into, "\r\n");
    if (!into->overflow)
        into->data[writing.dash] = ' ';
}

static void write_capa(const struct capabilities *list, const struct dialogue_rule *rule, bool tls,
                       struct text *into)
{
    struct writing writing = { .into = into };

    text_puts(into, "+OK Capability list follows");
    /* A server without CAPA is older than the capability USER, and knows the command (RFC 1939
     * section 7). */
    if (list->none && !login_hidden(rule, tls))
        write_plain_line(&writing, "USER");
    write_items(&writing, list, rule, tls);
    write_plain_line(&writing, "RESP-CODES");
    write_plain_line(&writing, "AUTH-RESP-CODE");
    if (!tls && rule->tls_available)
        write_plain_line(&writing, "STLS");
    text_puts(into, "\r\n.\r\n");
}

void capabilities_write(const struct capabilities *list, const struct dialogue_rule *rule, bool tls,
                        struct text *into)
{
    if (rule->protocol == PROTOCOL_POP3)
        write_capa(list, rule, tls, into);
    else
        write_ehlo(list, rule, tls, into);
}

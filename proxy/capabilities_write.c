/* Writes the reply to EHLO or CAPA that a client gets: of what the server can do, the part that the
 * proxy understands, and what is the proxy's own.
 *
 * Does not fail; a reply without room sets `overflow`. */
#include "proxy/capabilities.h"

#include "proxy/capabilities_parts.h"

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
    uint64_t bytes = capabilities_size(parameters);

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
    if (writing->smtp && capability_is(item->keyword, "SIZE")) {
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
        const struct capability_keyword *row = capabilities_understood(list, item->keyword);

        if (!row || !capabilities_first_of_its_kind(list, item))
            continue;
        if (capabilities_names_mechanisms(list, item->keyword)) {
            if (login_hidden(rule, tls))
                continue;
            write_mechanisms(writing, writing->smtp ? "AUTH " : "SASL ", item->parameters);
            if (writing->smtp && rule->legacy_auth_line)
                write_mechanisms(writing, OLD_AUTH, item->parameters);
            continue;
        }
        if (capability_is(item->keyword, "RESP-CODES") ||
            capability_is(item->keyword, "AUTH-RESP-CODE"))
            continue; /* written once, as our own */
        if (!writing->smtp && capability_is(item->keyword, "USER") && login_hidden(rule, tls))
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

const char *capabilities_why_hidden(const struct capabilities *list, const struct capability *item)
{
    if (capability_is(item->keyword, "STARTTLS") || capability_is(item->keyword, "STLS"))
        return "TLS with clients is made here";
    if (capability_is(item->keyword, "XCLIENT") || capability_is(item->keyword, "XFORWARD"))
        return "for proxies alone";
    if (capability_is(item->keyword, OLD_AUTH))
        return "the old form of AUTH";
    if (!capabilities_understood(list, item->keyword))
        return "not known to work through a proxy";
    if (!capabilities_first_of_its_kind(list, item))
        return "said twice";
    return NULL;
}

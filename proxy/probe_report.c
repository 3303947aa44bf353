/* The report of the probe: a paragraph for each [backend], a part of it for each address, and the
 * sum of it in the last line.
 *
 * What is said to be offered is taken from the reply that clients get; what is hidden from the list
 * that the server gave. Words of a server are escaped. Nothing here fails. */
#include "proxy/probe_report.h"

#include <stdarg.h>
#include <stdlib.h>

#include "proxy/snapshot.h"

#define WIDTH  79 /* columns */
#define INDENT 16 /* of what stands behind a label */

struct report {
    FILE *out;
    const struct snapshot *snapshot;
    unsigned addresses, bad;
};

/* -- lines that are wrapped, behind a label -- */

struct paragraph {
    FILE *out;
    size_t column;
    bool fresh; /* nothing stands in this line behind the label */
};

static struct paragraph begin(FILE *out, const char *label)
{
    fprintf(out, "    %-*s", INDENT - 4, label);
    return (struct paragraph){ .out = out, .column = INDENT, .fresh = true };
}

static void put_word(struct paragraph *paragraph, const char *word)
{
    size_t size = strlen(word);

    if (!paragraph->fresh && paragraph->column + 1 + size > WIDTH) {
        fprintf(paragraph->out, "\n%*s", INDENT, "");
        paragraph->column = INDENT;
        paragraph->fresh = true;
    }
    fprintf(paragraph->out, "%s%s", paragraph->fresh ? "" : " ", word);
    paragraph->column += size + !paragraph->fresh;
    paragraph->fresh = false;
}

/* Right behind a word. */
static void put_mark(struct paragraph *paragraph, const char *mark)
{
    fprintf(paragraph->out, "%s", mark);
    paragraph->column += strlen(mark);
}

/* Wrapped at its spaces. */
static void put_words(struct paragraph *paragraph, const char *words)
{
    struct span rest = span_of_text(words);

    while (rest.size > 0) {
        struct span word = span_take_word(&rest);
        char room[1024];
        struct text text = TEXT_OVER(room);

        text_put(&text, word);
        put_word(paragraph, text_str(&text));
    }
}

static void end_line(const struct paragraph *paragraph)
{
    fprintf(paragraph->out, "\n");
}

static void put_line(FILE *out, const char *label, const char *words)
{
    struct paragraph paragraph = begin(out, label);

    put_words(&paragraph, words);
    end_line(&paragraph);
}

/* -- what clients are offered -- */

/* A rule that hides nothing and adds nothing: what single ports do is told by put_notes(). */
static const struct dialogue_rule *plain_rule(enum port_protocol protocol)
{
    static const struct dialogue_rule rules[] = {
        { .protocol = PROTOCOL_SMTP, .hostname = "-", .require_tls = REQUIRE_TLS_NO },
        { .protocol = PROTOCOL_POP3, .hostname = "-", .require_tls = REQUIRE_TLS_NO },
    };

    return &rules[protocol == PROTOCOL_POP3];
}

/* One line of the reply, without its line end, and without "250-". */
static struct span take_item(struct span *rest, enum port_protocol protocol)
{
    size_t end = span_find(*rest, '\r');
    struct span line = span_first(*rest, end);

    *rest = span_skip(*rest, end + 2);
    return protocol == PROTOCOL_SMTP ? span_skip(line, 4) : line;
}

/* `list` is without what `hide` names. `single`: it is that of one server. */
static void put_offered(FILE *out, const struct capabilities *list, bool single)
{
    struct paragraph paragraph = begin(out, "offered");
    char *room = malloc(DIALOGUE_REPLY_MAX), escaped[512];
    struct text reply = { room, 0, room ? DIALOGUE_REPLY_MAX : 0, false };
    struct span rest;
    bool any = false;

    capabilities_write(list, plain_rule(list->protocol), true, &reply);
    rest = text_span(&reply);
    take_item(&rest, list->protocol); /* the host name, or +OK */
    while (rest.size > 0) {
        struct span item = take_item(&rest, list->protocol);
        struct text word = TEXT_OVER(escaped);

        if (span_equal(item, SPAN_LIT(".")))
            break;
        text_put_escaped(&word, item, 120);
        if (rest.size > (list->protocol == PROTOCOL_POP3 ? strlen(".\r\n") : 0))
            text_puts(&word, ",");
        put_word(&paragraph, text_str(&word));
        any = true;
    }
    if (!any)
        put_words(&paragraph, "nothing");
    if (list->none && single)
        put_words(&paragraph, list->protocol == PROTOCOL_SMTP ? "(the server knows HELO, no EHLO)"
                                                              : "(the server knows no CAPA)");
    end_line(&paragraph);
    free(room);
}

/* -- what is hidden from them -- */

#define BY_SETTINGS  "hide = in the settings"
#define BY_MECHANISM "logins that pass no proxy"

static bool is_login(const struct capability *item)
{
    return span_equal_nocase(item->keyword, SPAN_LIT("AUTH")) ||
           span_equal_nocase(item->keyword, SPAN_LIT("SASL"));
}

static const char *why_hidden(const struct capabilities *all, const struct capabilities *shown,
                              const struct capability *item)
{
    const char *why = capabilities_why_hidden(all, item);

    return why || capabilities_find(shown, item->keyword) ? why : BY_SETTINGS;
}

/* A row of the hidden ones begins with the label, where it is the first. */
struct hidden {
    FILE *out;
    struct paragraph paragraph;
    bool any; /* rows */
    bool row; /* words in this row */
};

static void put_hidden(struct hidden *hidden, const char *separator, struct span word)
{
    char room[512];
    struct text text = TEXT_OVER(room);

    if (!hidden->row)
        hidden->paragraph = begin(hidden->out, hidden->any ? "" : "hidden");
    else
        put_mark(&hidden->paragraph, separator);
    text_put_escaped(&text, word, 120);
    put_word(&hidden->paragraph, text_str(&text));
    hidden->any = hidden->row = true;
}

static void end_row(struct hidden *hidden, const char *why)
{
    if (!hidden->row)
        return;
    put_mark(&hidden->paragraph, ":");
    put_words(&hidden->paragraph, why);
    end_line(&hidden->paragraph);
    hidden->row = false;
}

static bool is_first_reason(const struct capabilities *all, const struct capabilities *shown,
                            size_t index, const char *why)
{
    for (size_t i = 0; i < index; i++)
        if (why_hidden(all, shown, &all->items[i]) == why)
            return false;
    return true;
}

static void put_mechanisms(struct hidden *hidden, const struct capability *item)
{
    struct span rest = item->parameters;

    while (rest.size > 0) {
        struct span word = span_take_word(&rest);

        if (word.size == 0 || capabilities_mechanism_passes(word))
            continue;
        if (!hidden->row)
            put_hidden(hidden, "", item->keyword);
        put_hidden(hidden, "", word);
    }
    end_row(hidden, BY_MECHANISM);
}

static void put_all_hidden(FILE *out, const struct capabilities *all,
                           const struct capabilities *shown)
{
    struct hidden hidden = { .out = out };

    for (size_t i = 0; i < all->count; i++) {
        const char *why = why_hidden(all, shown, &all->items[i]);

        if (!why && is_login(&all->items[i]))
            put_mechanisms(&hidden, &all->items[i]);
        if (!why || !is_first_reason(all, shown, i, why))
            continue;
        for (size_t j = i; j < all->count; j++)
            if (why_hidden(all, shown, &all->items[j]) == why)
                put_hidden(&hidden, ",", all->items[j].keyword);
        end_row(&hidden, why);
    }
}

/* -- one address -- */

static void put_list(FILE *out, const struct backend *backend, struct capabilities *list,
                     bool single)
{
    struct capabilities *shown = list ? capabilities_without(list, &backend->settings->hide) : NULL;

    if (!shown)
        return;
    put_offered(out, shown, single);
    if (single)
        put_all_hidden(out, list, shown);
    capabilities_unref(shown);
}

static void put_lists(FILE *out, const struct backend *backend, struct capabilities *clear,
                      struct capabilities *secure, bool single)
{
    if (clear && secure && capabilities_equal(clear, secure)) {
        put_list(out, backend, clear, single);
        return;
    }
    fprintf(out, "    to clients without TLS\n");
    put_list(out, backend, clear, single);
    fprintf(out, "    to clients under TLS\n");
    put_list(out, backend, secure, single);
}

static void put_relay_test(struct report *report, const struct backend_address *address)
{
    const struct backend *backend = address->backend;
    bool meant = backend->settings->trusts_us;

    if (backend->protocol != PROTOCOL_SMTP)
        return;
    if (!address->known[0].open_relay && !address->known[1].open_relay) {
        put_line(report->out, "relay test", "passed: it takes no stranger's mail for elsewhere");
        return;
    }
    put_line(report->out, "relay test",
             meant ? "FAILED: it relays for anybody who comes through here, and trusts_us = yes "
                     "keeps the gate open"
                   : "FAILED: it relays for anybody who comes through here, so it gets no mail");
    put_line(report->out, "to cure it", BACKEND_SHUT_CURE);
    if (!meant)
        put_line(report->out, "", "(trusts_us = yes would open the gate as it is)");
    report->bad += !meant;
}

static void put_address(struct report *report, const struct backend_address *address)
{
    char where[ADDRESS_TEXT_MAX];
    struct backend *backend = address->backend;
    bool named = *address->host;

    address_text(&address->to, where);
    named = named && !strstr(where, address->host);
    fprintf(report->out, "  %s%s%s%s\n", where, named ? " (" : "", named ? address->host : "",
            named ? ")" : "");
    report->addresses++;
    if (!health_in_service(address->health)) {
        put_line(report->out, "FAILED", address->fault ? address->fault : "does not answer");
        report->bad++;
        return;
    }
    if (protocol_is_relayed(backend->protocol)) {
        put_line(report->out, "answers", "and is passed on as it is");
        return;
    }
    put_lists(report->out, backend, address->known[0].list, address->known[1].list, true);
    put_relay_test(report, address);
}

/* -- one backend -- */

static void put_head(FILE *out, const struct settings_backend *settings,
                     enum port_protocol protocol)
{
    static const char *const protocols[] = { "smtp", "pop3", "remote", "opaque" };
    static const char *const identities[] = { "none", "proxy-v1", "proxy-v2", "xclient" };
    static const char *const tls[] = { "off", "starttls", "implicit" };

    fprintf(out, "\nbackend %s: %s, tls = %s%s, identity = %s\n", settings->name,
            protocols[protocol], tls[settings->tls],
            settings->tls == BACKEND_TLS_OFF ? ""
            : settings->verify               ? " (certificate checked)"
                                             : " (certificate NOT checked)",
            identities[settings->identity]);
}

/* What all addresses can do is less than what each can. */
static void put_common(FILE *out, struct backend *backend)
{
    struct capabilities *clear = capabilities_ref(backend_offer(backend, false));
    struct capabilities *secure = capabilities_ref(backend_offer(backend, true));
    bool same = true;

    for (size_t i = 0; i < backend->count; i++)
        for (int tls = 0; tls < 2; tls++) {
            struct capabilities *list = backend->addresses[i].known[tls].list;
            struct capabilities *common = tls ? secure : clear;

            if (list && common && health_in_service(backend->addresses[i].health) &&
                !capabilities_equal(list, common))
                same = false;
        }
    if (!same) {
        fprintf(out, "  what all of these can do\n");
        put_lists(out, backend, clear, secure, false);
    }
    capabilities_unref(clear);
    capabilities_unref(secure);
}

/* Ports that show less than the server offers. */
static void put_notes(const struct report *report, const struct settings_backend *backend)
{
    const struct settings *settings = report->snapshot->settings;

    for (size_t i = 0; i < settings->listen_count; i++) {
        const struct settings_listen *listen = &settings->listens[i];
        const struct dialogue_rule *rule = &report->snapshot->rules[i];

        if (!settings_listen_open(settings, listen) || protocol_is_relayed(rule->protocol) ||
            !settings_listen_reaches(settings, listen, backend))
            continue;
        if (rule->require_tls != REQUIRE_TLS_NO)
            fprintf(report->out,
                    "  on port %s logins are hidden until TLS is on (require_tls = %s)\n",
                    listen->name, rule->require_tls == REQUIRE_TLS_YES ? "yes" : "auth");
        if (rule->reads_login)
            fprintf(report->out,
                    "  on port %s only logins are offered by which the server can be chosen\n",
                    listen->name);
    }
}

static void put_no_address(struct report *report, const char *fault)
{
    char room[256];
    struct text words = TEXT_OVER(room);

    text_printf(&words, "the name stands for no address: %s", fault);
    put_line(report->out, "FAILED", text_str(&words));
    report->addresses++;
    report->bad++;
}

static void put_backend(struct report *report, struct probe_backend *asked)
{
    struct backend *backend = &asked->backend;

    put_head(report->out, backend->settings, backend->protocol);
    for (size_t item = 0; item < backend->settings->address.count; item++) {
        if (asked->lookups[item].fault) {
            fprintf(report->out, "  %s\n", backend->settings->address.items[item]);
            put_no_address(report, asked->lookups[item].fault);
        }
        for (size_t i = 0; i < ADDRESS_PER_ITEM; i++) {
            const struct backend_address *address =
                &backend->addresses[item * ADDRESS_PER_ITEM + i];

            if (address->to.to.any.sa_family != AF_UNSPEC)
                put_address(report, address);
        }
    }
    if (!protocol_is_relayed(backend->protocol))
        put_common(report->out, backend);
    put_notes(report, backend->settings);
}

bool probe_report(FILE *out, const struct snapshot *snapshot, struct probe_backend *backends)
{
    struct report report = { .out = out, .snapshot = snapshot };

    for (size_t i = 0; i < snapshot->settings->backend_count; i++) {
        if (backends[i].asked)
            put_backend(&report, &backends[i]);
        else if (backends[i].reached)
            fprintf(out, "\nbackend %s: embedded, started by gatepost itself\n",
                    snapshot->settings->backends[i].name);
    }
    if (report.addresses > 0 && report.bad == 0)
        fprintf(out, "\nall addresses can be used\n");
    else if (report.bad > 0)
        fprintf(out, "\n%u of %u addresses cannot be used\n", report.bad, report.addresses);
    return report.bad == 0;
}

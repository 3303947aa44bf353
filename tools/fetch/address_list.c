/* Reads addresses from left to right, one token of look-ahead at a time.
 *
 * Happy path: words are skipped up to the token that tells what they were: "@" (they were the local
 * part, and are read again as one), "<" (a display name), ":" (a group's name). Anything that is
 * not certain to be an address is ADDRESS_BAD: there is no guessing. */
#include "tools/fetch/address_list.h"

#include "proxy/base/text.h"

enum token_kind { TOKEN_END, TOKEN_ATOM, TOKEN_QUOTED, TOKEN_LITERAL, TOKEN_SPECIAL, TOKEN_BAD };

struct token {
    enum token_kind kind;
    unsigned char special; /* one of < > : ; @ , . */
    struct span octets;    /* an atom; or a quoted string or literal with its ends */
};

static bool is_special(const struct token *token, unsigned char special)
{
    return token->kind == TOKEN_SPECIAL && token->special == special;
}

static bool is_alnum(unsigned char octet)
{
    return (octet >= '0' && octet <= '9') || (octet >= 'a' && octet <= 'z') ||
           (octet >= 'A' && octet <= 'Z');
}

static bool is_atext(unsigned char octet)
{
    return is_alnum(octet) || (octet && strchr("!#$%&'*+-/=?^_`{|}~", octet));
}

static bool is_blank(unsigned char octet)
{
    return octet == ' ' || octet == '\t' || octet == '\r' || octet == '\n';
}

/* Size of the comment that `text` begins with, comments in it included; 0: it does not end. */
static size_t comment_size(struct span text)
{
    size_t depth = 0;

    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] == '\\')
            i++;
        else if (text.data[i] == '(')
            depth++;
        else if (text.data[i] == ')' && --depth == 0)
            return i + 1;
    }
    return 0;
}

/* Size of what `text` begins with, up to its `end`, a backslash taking the next octet with it; 0:
 * it does not end, or holds a control character. */
static size_t enclosed_size(struct span text, unsigned char end)
{
    for (size_t i = 1; i < text.size; i++) {
        if (text.data[i] == end)
            return i + 1;
        if (text.data[i] == '\\')
            i++;
        if (i < text.size && !is_blank(text.data[i]) &&
            (text.data[i] < 0x20 || text.data[i] == 0x7f))
            return 0;
    }
    return 0;
}

/* False: a comment that does not end. */
static bool skip_blanks(struct span *rest)
{
    while (rest->size > 0) {
        size_t size = is_blank(rest->data[0]) ? 1
                      : rest->data[0] == '('  ? comment_size(*rest)
                                              : SIZE_MAX;

        if (size == SIZE_MAX || size == 0)
            return size != 0;
        *rest = span_skip(*rest, size);
    }
    return true;
}

static struct token take(struct span *rest, enum token_kind kind, size_t size)
{
    struct token token = { .kind = size > 0 ? kind : TOKEN_BAD, .octets = span_first(*rest, size) };

    if (kind == TOKEN_SPECIAL)
        token.special = rest->data[0];
    *rest = span_skip(*rest, size);
    return token;
}

static struct token next_token(struct span *rest)
{
    size_t size = 0;

    if (!skip_blanks(rest))
        return (struct token){ .kind = TOKEN_BAD };
    if (rest->size == 0)
        return (struct token){ .kind = TOKEN_END };
    if (rest->data[0] == '"')
        return take(rest, TOKEN_QUOTED, enclosed_size(*rest, '"'));
    if (rest->data[0] == '[')
        return take(rest, TOKEN_LITERAL, enclosed_size(*rest, ']'));
    if (rest->data[0] && strchr("<>:;@,.", rest->data[0]))
        return take(rest, TOKEN_SPECIAL, 1);
    while (size < rest->size && (is_atext(rest->data[size]) || rest->data[size] >= 0x80))
        size++;
    return take(rest, TOKEN_ATOM, size);
}

static struct token peek_token(struct span rest)
{
    return next_token(&rest);
}

static int bad(struct address_list *list, const char *why, struct span what)
{
    list->why = why;
    list->what = what;
    list->rest = span_of(NULL, 0);
    return ADDRESS_BAD;
}

/* ---- one address ---- */

/* The text of a quoted string, without its quotes and backslashes, blanks as they are. NULL, or
 * static words. */
static const char *put_quoted(struct text *local, struct span quoted)
{
    for (size_t i = 1; i + 1 < quoted.size; i++) {
        unsigned char octet = quoted.data[i];

        if (octet == '\r' || octet == '\n')
            continue; /* of a folded line */
        if (octet == '\\')
            octet = quoted.data[++i];
        if (octet >= 0x80)
            return "not ASCII";
        if (octet < 0x20 || octet == 0x7f)
            return "a control character in an address";
        text_put(local, span_of(&octet, 1));
    }
    return NULL;
}

static const char *put_atom(struct text *into, struct span atom, bool domain)
{
    for (size_t i = 0; i < atom.size; i++) {
        if (atom.data[i] >= 0x80)
            return domain ? "not ASCII (a domain can be written as xn--...)" : "not ASCII";
        if (domain && !is_alnum(atom.data[i]) && atom.data[i] != '-' && atom.data[i] != '_')
            return "no domain name";
    }
    text_put(into, atom);
    return NULL;
}

/* Words and dots up to the "@", which is taken too. NULL or words. Dots may stand anywhere between
 * atoms: addresses like "a..b." are handed out by some. */
static const char *read_local(struct span *rest, struct text *local)
{
    bool word_before = false;

    for (;;) {
        struct token token = next_token(rest);
        bool dot = is_special(&token, '.');
        const char *why = NULL;

        if (local->overflow)
            return "an address that is too long";
        if (is_special(&token, '@'))
            return local->size > 0 ? NULL : "nothing before the @";
        if (!dot && token.kind != TOKEN_ATOM && token.kind != TOKEN_QUOTED)
            return "no address";
        if (!dot && word_before)
            return "a blank in an address";
        word_before = !dot;
        if (token.kind == TOKEN_QUOTED)
            why = put_quoted(local, token.octets);
        else if (dot)
            text_puts(local, ".");
        else
            why = put_atom(local, token.octets, false);
        if (why)
            return why;
    }
}

static const char *put_literal(struct text *into, struct span literal)
{
    for (size_t i = 1; i + 1 < literal.size; i++)
        if (!is_alnum(literal.data[i]) && literal.data[i] != '.' && literal.data[i] != ':' &&
            literal.data[i] != '-')
            return "no domain name";
    text_put(into, literal);
    return literal.size > 2 ? NULL : "no domain name";
}

/* NULL or words. */
static const char *read_domain(struct span *rest, struct text *domain)
{
    struct token token = next_token(rest);
    const char *why;

    if (token.kind == TOKEN_LITERAL)
        return put_literal(domain, token.octets);
    for (;;) {
        struct token dot;

        if (token.kind != TOKEN_ATOM)
            return "no domain name";
        why = put_atom(domain, token.octets, true);
        dot = peek_token(*rest);
        if (why || !is_special(&dot, '.'))
            return why;
        next_token(rest);
        text_puts(domain, ".");
        token = next_token(rest);
    }
}

/* As the server takes it: quoted only where it must be (RFC 5321 section 4.1.2). */
static void put_local(struct text *into, struct span local)
{
    bool plain = true;

    for (size_t i = 0; i < local.size; i++)
        plain = plain && (is_atext(local.data[i]) || local.data[i] == '.');
    if (plain) {
        text_put(into, local);
        return;
    }
    text_puts(into, "\"");
    for (size_t i = 0; i < local.size; i++) {
        if (local.data[i] == '"' || local.data[i] == '\\')
            text_puts(into, "\\");
        text_put(into, span_of(&local.data[i], 1));
    }
    text_puts(into, "\"");
}

/* local@domain off *rest. NULL or words. */
static const char *read_address(struct span *rest, struct address *ret_address)
{
    char local_room[ADDRESS_MAX + 1], domain_room[ADDRESS_MAX + 1];
    struct text local = TEXT_OVER(local_room), domain = TEXT_OVER(domain_room);
    struct text whole = TEXT_OVER(ret_address->text);
    const char *why = read_local(rest, &local);

    if (!why)
        why = read_domain(rest, &domain);
    if (why)
        return why;
    put_local(&whole, text_span(&local));
    text_puts(&whole, "@");
    text_put(&whole, text_span(&domain));
    if (local.overflow || domain.overflow || whole.overflow || whole.size > ADDRESS_MAX)
        return "an address that is too long";
    text_str(&whole);
    return NULL;
}

/* ---- the list ---- */

/* What stands behind "<": an address and ">". */
static const char *read_angle(struct span *rest, struct address *ret_address)
{
    struct token token = peek_token(*rest);
    const char *why;

    if (is_special(&token, '@') || is_special(&token, ','))
        return "a route in an address";
    if (is_special(&token, '>'))
        return "an empty address";
    why = read_address(rest, ret_address);
    if (why)
        return why;
    token = next_token(rest);
    return is_special(&token, '>') ? NULL : "no > behind an address";
}

/* Skips words, and returns the token that ends them. */
static struct token skip_words(struct span *rest, size_t *ret_words)
{
    struct token token;

    *ret_words = 0;
    while ((token = next_token(rest)).kind == TOKEN_ATOM || token.kind == TOKEN_QUOTED ||
           is_special(&token, '.'))
        (*ret_words)++;
    return token;
}

/* Separators, and the ends of groups, off the list. NULL or words. */
static const char *skip_separators(struct address_list *list)
{
    for (;;) {
        struct token token = peek_token(list->rest);
        bool comma = is_special(&token, ','), semicolon = is_special(&token, ';');

        if (semicolon && !list->in_group)
            return "a list is separated by commas";
        if (!comma && !semicolon)
            return list->expected && token.kind != TOKEN_END ? "no comma behind an address" : NULL;
        next_token(&list->rest);
        list->expected = semicolon;
        list->in_group = list->in_group && !semicolon;
    }
}

static const char *read_item(struct address_list *list, struct address *ret_address,
                             bool *ret_group)
{
    struct span rest = list->rest;
    size_t words;
    struct token token = skip_words(&rest, &words);

    *ret_group = is_special(&token, ':');
    if (is_special(&token, '@'))
        return read_address(&list->rest, ret_address);
    list->rest = rest;
    if (is_special(&token, '<'))
        return read_angle(&list->rest, ret_address);
    if (*ret_group)
        return list->in_group || words == 0 ? "a group in a group" : NULL;
    if (token.kind == TOKEN_BAD || is_special(&token, '>') || token.kind == TOKEN_LITERAL)
        return "no address";
    return words == 1 ? "an address without a domain" : "no address";
}

int address_list_next(struct address_list *list, struct address *ret_address)
{
    struct address address;
    const char *why;
    bool group;

    if (list->why)
        return ADDRESS_BAD;
    do {
        struct token token;
        struct span start;

        why = skip_separators(list);
        start = list->rest;
        token = peek_token(start);
        if (!why && token.kind == TOKEN_END)
            return list->in_group ? bad(list, "a group that does not end", start) : ADDRESS_END;
        if (!why)
            why = read_item(list, &address, &group);
        if (why)
            return bad(list, why, start);
        list->in_group |= group;
        list->expected = !group;
    } while (group);
    *ret_address = address;
    return ADDRESS_FOUND;
}

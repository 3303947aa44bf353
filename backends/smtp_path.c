/* Reads a path and its parameters: <local@domain>, <"quoted local"@domain>, <@route:local@domain>,
 * <>.
 *
 * Happy path: the bytes between the brackets are split at the "@" that ends the local part, both
 * sides are checked, and the address is copied without needless quotes. What is not certain is
 * SMTP_PATH_SYNTAX. */
#include "backends/smtp_path.h"

static bool is_alnum(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') ||
           (byte >= 'A' && byte <= 'Z');
}

/* RFC 5322 section 3.2.3 atext, the dot, and what RFC 6531 adds. */
static bool is_local_byte(unsigned char byte)
{
    return is_alnum(byte) || byte >= 0x80 || (byte && strchr("!#$%&'*+-/=?^_`{|}~.", byte));
}

static bool is_quoted_byte(unsigned char byte)
{
    return byte >= 0x20 && byte != 0x7f;
}

/* Size of the quoted string that `text` begins with, or 0. */
static size_t quoted_size(struct span text)
{
    size_t i = 1;

    while (i < text.size && is_quoted_byte(text.data[i])) {
        if (text.data[i] == '"')
            return i + 1;
        i += text.data[i] == '\\' && i + 1 < text.size && is_quoted_byte(text.data[i + 1]) ? 2 : 1;
    }
    return 0;
}

/* Size of the local part that `text` begins with, or 0. */
static size_t local_size(struct span text)
{
    size_t i = 0;

    if (text.size > 0 && text.data[0] == '"')
        return quoted_size(text);
    while (i < text.size && is_local_byte(text.data[i]))
        i++;
    return i;
}

static bool is_domain_literal(struct span domain)
{
    if (domain.size < 3 || domain.data[domain.size - 1] != ']')
        return false;
    for (size_t i = 1; i < domain.size - 1; i++)
        if (!is_alnum(domain.data[i]) && domain.data[i] != '.' && domain.data[i] != ':' &&
            domain.data[i] != '-')
            return false;
    return true;
}

static bool is_domain(struct span domain)
{
    unsigned char before = '.';

    if (domain.size > 0 && domain.data[0] == '[')
        return is_domain_literal(domain);
    for (size_t i = 0; i < domain.size; i++) {
        unsigned char byte = domain.data[i];

        if (byte == '.' ? before == '.'
                        : !is_alnum(byte) && byte < 0x80 && byte != '-' && byte != '_')
            return false;
        before = byte;
    }
    return before != '.';
}

/* How many bytes may follow the first byte of a UTF-8 character, and the range of the second (RFC
 * 3629 section 4). */
static unsigned utf8_tail(unsigned char first, unsigned char *ret_low, unsigned char *ret_high)
{
    *ret_low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    *ret_high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (first >= 0xc2 && first <= 0xdf)
        return 1;
    if (first >= 0xe0 && first <= 0xef)
        return 2;
    return first >= 0xf0 && first <= 0xf4 ? 3 : 0;
}

static bool is_utf8(struct span text)
{
    for (size_t i = 0; i < text.size; i++) {
        unsigned char low, high;
        unsigned tail;

        if (text.data[i] < 0x80)
            continue;
        tail = utf8_tail(text.data[i], &low, &high);
        if (tail == 0 || tail >= text.size - i)
            return false;
        for (; tail > 0; tail--, low = 0x80, high = 0xbf)
            if (text.data[++i] < low || text.data[i] > high)
                return false;
    }
    return true;
}

/* "anna" in quotes is anna (RFC 5321 section 4.1.2): the quotes must not make another recipient of
 * it. */
static struct span without_needless_quotes(struct span local)
{
    struct span inside;

    if (local.data[0] != '"' || local.size < 3)
        return local;
    inside = span_of(local.data + 1, local.size - 2);
    for (size_t i = 0; i < inside.size; i++)
        if (!is_local_byte(inside.data[i]) ||
            (inside.data[i] == '.' &&
             (i == 0 || i + 1 == inside.size || inside.data[i - 1] == '.')))
            return local;
    return inside;
}

/* `mailbox` is what stands between the brackets. */
static int read_mailbox(struct span mailbox, struct smtp_path *path)
{
    size_t size = local_size(mailbox);
    struct span local = span_first(mailbox, size), domain = span_skip(mailbox, size);

    if (size == 0 || mailbox.size > SMTP_ADDRESS_MAX || !is_utf8(mailbox))
        return SMTP_PATH_SYNTAX;
    if (domain.size > 0 && (domain.data[0] != '@' || !is_domain(span_skip(domain, 1))))
        return SMTP_PATH_SYNTAX;
    path->ascii = true;
    for (size_t i = 0; i < mailbox.size; i++)
        path->ascii = path->ascii && mailbox.data[i] < 0x80;
    local = without_needless_quotes(local);
    memcpy(path->address, local.data, local.size);
    if (domain.size > 0)
        memcpy(path->address + local.size, domain.data, domain.size);
    path->address[local.size + domain.size] = '\0';
    return domain.size > 0 ? SMTP_PATH_OK : SMTP_PATH_NO_DOMAIN;
}

/* Index of the ">" that is not inside quotes, or text.size. */
static size_t closing_bracket(struct span text)
{
    size_t i = 0;

    while (i < text.size && text.data[i] != '>') {
        size_t quoted = text.data[i] == '"' ? quoted_size(span_skip(text, i)) : 0;

        i += quoted ? quoted : 1;
    }
    return i;
}

/* "@a,@b:" in front of the mailbox is read over (RFC 5321 section 4.1.1.3). False where it is no
 * route. */
static bool skip_route(struct span *inside)
{
    size_t colon;

    if (inside->size == 0 || inside->data[0] != '@')
        return true;
    colon = span_find(*inside, ':');
    if (colon == inside->size || colon + 1 == inside->size)
        return false;
    for (size_t i = 0; i < colon; i++)
        if (!is_alnum(inside->data[i]) && !(inside->data[i] && strchr("@,.-_", inside->data[i])))
            return false;
    *inside = span_skip(*inside, colon + 1);
    return true;
}

int smtp_path_take(struct span *rest, struct smtp_path *ret_path)
{
    struct span text = span_trim(*rest), inside, behind;
    struct smtp_path path;
    int result = SMTP_PATH_NULL;

    if (text.size == 0 || text.data[0] != '<')
        return SMTP_PATH_SYNTAX;
    text = span_skip(text, 1);
    inside = span_first(text, closing_bracket(text));
    if (inside.size == text.size)
        return SMTP_PATH_SYNTAX;
    behind = span_skip(text, inside.size + 1);
    if (behind.size > 0 && behind.data[0] != ' ' && behind.data[0] != '\t')
        return SMTP_PATH_SYNTAX;
    path = (struct smtp_path){ .ascii = true };
    if (!skip_route(&inside))
        return SMTP_PATH_SYNTAX;
    if (inside.size > 0)
        result = read_mailbox(inside, &path);
    if (result == SMTP_PATH_SYNTAX)
        return result;
    *ret_path = path;
    *rest = span_trim(behind);
    return result;
}

bool smtp_path_parameter(struct span *rest, struct smtp_parameter *ret_parameter)
{
    struct span left = *rest, word = span_take_word(&left);
    size_t equals = span_find(word, '=');
    struct span keyword = span_first(word, equals), value = span_skip(word, equals + 1);

    for (size_t i = 0; i < keyword.size; i++)
        if (!is_alnum(keyword.data[i]) && (i == 0 || keyword.data[i] != '-'))
            return false;
    for (size_t i = 0; i < value.size; i++)
        if (value.data[i] < 0x21 || value.data[i] == '=' || value.data[i] == 0x7f)
            return false;
    if (keyword.size == 0)
        return false;
    *ret_parameter = (struct smtp_parameter){ keyword, value, equals < word.size };
    *rest = left;
    return true;
}

static bool is_upper_hex(unsigned char byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'F');
}

bool smtp_path_is_xtext(struct span value)
{
    for (size_t i = 0; i < value.size; i++) {
        if (value.data[i] < 0x21 || value.data[i] > 0x7e || value.data[i] == '=')
            return false;
        if (value.data[i] != '+')
            continue;
        if (value.size - i < 3 || !is_upper_hex(value.data[i + 1]) ||
            !is_upper_hex(value.data[i + 2]))
            return false;
        i += 2;
    }
    return true;
}

const char *smtp_path_domain(const char *address)
{
    const char *at = strrchr(address, '@');

    return at ? at + 1 : "";
}

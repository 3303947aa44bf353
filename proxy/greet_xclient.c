/* Writes XCLIENT commands; see greet_xclient.h.
 *
 * Happy path: a table names the attributes in their order, each that the server lists gets its
 * value as xtext (RFC 3461 section 4), and all fit into one command. Where a long name needs two,
 * the address comes last: behind it the server may no longer take us for somebody who may say
 * XCLIENT, and attributes of an earlier command that belong to the session are void. Fails where
 * the server takes no address. */
#include "proxy/greet_xclient.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#define COMMAND_MAX 512 /* RFC 5321 section 4.5.3.1.4 */
#define VALUE_MAX   255 /* RFC 5321 section 4.5.3.1.2: a domain; Postfix takes no longer one */
#define UNAVAILABLE "[UNAVAILABLE]"

/* RFC 3461 section 4: all but "!" to "~" without "+" and "=" is "+" and two upper case digits. */
static void put_xtext(struct text *into, struct span value)
{
    for (size_t i = 0; i < value.size; i++) {
        unsigned char byte = value.data[i];

        if (byte > ' ' && byte < 0x7f && byte != '+' && byte != '=')
            text_put(into, span_of(&byte, 1));
        else
            text_printf(into, "+%02X", byte);
    }
}

/* Can this stand for a host: a name, or an address in brackets? A server may refuse XCLIENT for
 * another HELO, and with it the client that has just said it; it will hear it in EHLO or HELO. */
static bool is_host(struct span name)
{
    static const char others[] = "-_.:[]";

    for (size_t i = 0; i < name.size; i++) {
        unsigned char byte = name.data[i], lower = byte | 0x20;
        bool alphanumeric = (byte >= '0' && byte <= '9') || (lower >= 'a' && lower <= 'z');

        if (!alphanumeric && (byte == '\0' || !strchr(others, byte)))
            return false;
    }
    return name.size > 0 && name.data[0] != '.' && span_search(name, SPAN_LIT("..")) == name.size;
}

static void put_helo(const struct greet_plan *plan, struct text *value)
{
    struct span rest = plan->hello, name = span_take_word(&rest);

    if (plan->purpose != GREET_LEARN)
        name = span_take_word(&rest); /* behind EHLO or HELO */
    if (is_host(name))
        text_put(value, name);
}

static void put_proto(const struct greet_plan *plan, struct text *value)
{
    bool extended =
        plan->purpose == GREET_LEARN || span_starts_nocase(plan->hello, SPAN_LIT("EHLO"));

    text_puts(value, extended ? "ESMTP" : "SMTP");
}

/* The name of the client's host is nowhere asked for; what the server has found for our own address
 * must not stay. */
static void put_nothing(const struct greet_plan *plan, struct text *value)
{
    (void)plan;
    (void)value;
}

static void put_login(const struct greet_plan *plan, struct text *value)
{
    put_xtext(value, plan->client.login);
}

/* The octets of an address, in network order, of 4 or 16; an IPv4 address that is mapped into IPv6
 * is one of IPv4. Empty: no address. */
static struct span octets_of(const struct sockaddr *address, uint16_t *ret_port)
{
    static const unsigned char mapped[12] = { [10] = 0xff, [11] = 0xff };

    if (address && address->sa_family == AF_INET) {
        const struct sockaddr_in *inet = (const struct sockaddr_in *)(const void *)address;

        *ret_port = ntohs(inet->sin_port);
        return span_of(&inet->sin_addr, 4);
    }
    if (address && address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *inet6 = (const struct sockaddr_in6 *)(const void *)address;
        struct span octets = span_of(&inet6->sin6_addr, 16);

        *ret_port = ntohs(inet6->sin6_port);
        return memcmp(octets.data, mapped, sizeof(mapped)) == 0 ? span_skip(octets, sizeof(mapped))
                                                                : octets;
    }
    return span_of(NULL, 0);
}

static void put_address(const struct sockaddr *address, struct text *value)
{
    char printed[INET6_ADDRSTRLEN];
    uint16_t port;
    struct span octets = octets_of(address, &port);
    bool inet6 = octets.size == 16;

    if (octets.size == 0 ||
        !inet_ntop(inet6 ? AF_INET6 : AF_INET, octets.data, printed, sizeof(printed)))
        return;
    text_puts(value, inet6 ? "IPV6:" : "");
    text_puts(value, printed);
}

static void put_port(const struct sockaddr *address, struct text *value)
{
    uint16_t port;

    if (octets_of(address, &port).size > 0)
        text_printf(value, "%u", port);
}

static void put_addr(const struct greet_plan *plan, struct text *value)
{
    put_address(plan->client.address, value);
}

static void put_client_port(const struct greet_plan *plan, struct text *value)
{
    put_port(plan->client.address, value);
}

static void put_destaddr(const struct greet_plan *plan, struct text *value)
{
    put_address(plan->client.destination, value);
}

static void put_destport(const struct greet_plan *plan, struct text *value)
{
    put_port(plan->client.destination, value);
}

/* A value that stays empty, or would be too long, is told as [UNAVAILABLE]. The longest of the
 * second part together are 459 octets. */
static const struct attribute {
    const char *name;
    unsigned part; /* of a pair of commands */
    void (*put)(const struct greet_plan *plan, struct text *value);
} attributes[] = {
    { "HELO", 0, put_helo },         { "PROTO", 0, put_proto },
    { "DESTADDR", 1, put_destaddr }, { "DESTPORT", 1, put_destport },
    { "LOGIN", 1, put_login },       { "REVERSE_NAME", 1, put_nothing },
    { "NAME", 1, put_nothing },      { "PORT", 1, put_client_port },
    { "ADDR", 1, put_addr },
};

static bool lists(struct span listed, const char *name)
{
    while (listed.size > 0)
        if (span_equal_nocase(span_take_word(&listed), span_of_text(name)))
            return true;
    return false;
}

static void put_attribute(const struct attribute *attribute, const struct greet_plan *plan,
                          struct text *command)
{
    char room[VALUE_MAX];
    struct text value = TEXT_OVER(room);

    attribute->put(plan, &value);
    text_puts(command, " ");
    text_puts(command, attribute->name);
    text_puts(command, "=");
    if (value.overflow || value.size == 0)
        text_puts(command, UNAVAILABLE);
    else
        text_put(command, text_span(&value));
}

/* The command of one part, or of both. False: it is too long. */
static bool put_command(const struct greet_plan *plan, struct span listed, bool both, unsigned part,
                        struct text *out)
{
    char room[COMMAND_MAX];
    struct text command = TEXT_OVER(room);

    text_puts(&command, "XCLIENT");
    for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++)
        if ((both || attributes[i].part == part) && lists(listed, attributes[i].name))
            put_attribute(&attributes[i], plan, &command);
    text_puts(&command, "\r\n");
    if (command.overflow)
        return false;
    text_put(out, text_span(&command));
    return true;
}

int greet_xclient_write(const struct greet_plan *plan, struct span listed, unsigned part,
                        struct text *out)
{
    if (!lists(listed, "ADDR"))
        return -ENOTSUP;
    if (part == 0 && put_command(plan, listed, true, 0, out))
        return GREET_XCLIENT_LAST;
    put_command(plan, listed, false, part, out);
    return part == 0 ? GREET_XCLIENT_MORE : GREET_XCLIENT_LAST;
}

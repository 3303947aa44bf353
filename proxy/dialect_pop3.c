/* POP3 before a backend is needed, in the AUTHORIZATION state: RFC 1939, 2449, 2595, 5034, 6856.
 *
 * Happy path: CAPA is answered from what was learned of the server, STLS is accepted, USER is
 * answered here and kept, and PASS, APOP and AUTH are forwarded. All else is answered here. */
#include <errno.h>

#include "proxy/dialect.h"

static int capa(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    static const struct capabilities nothing = { .protocol = PROTOCOL_POP3, .none = true };
    struct dialogue_rule shown = *negotiate->rule;
    const struct capabilities *list = negotiate->learned;

    (void)call;
    if (negotiate
            ->told_plain) { /* only what leads to TLS works, and the server need not be asked */
        shown.require_tls = REQUIRE_TLS_YES;
        list = &nothing;
    }
    if (!list)
        return NEGOTIATE_LEARN;
    negotiate->offered = !negotiate->told_plain;
    capabilities_write(list, &shown, negotiate->tls, reply);
    return NEGOTIATE_ANSWER;
}

static int stls(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)call;
    if (!negotiate->rule->tls_available)
        return dialect_refuse(negotiate, "-ERR TLS is not available on this port", reply);
    dialect_answer("+OK Begin TLS negotiation", reply);
    return NEGOTIATE_TLS;
}

static int stls_again(struct negotiate *negotiate, const struct dialect_call *call,
                      struct text *reply)
{
    (void)call;
    return dialect_refuse(negotiate, "-ERR TLS is on already", reply);
}

static int user(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    if (dialect_keep_hello(negotiate, call->line) < 0)
        return -ENOMEM;
    return dialect_answer("+OK", reply);
}

static int pass(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)call;
    if (!negotiate->hello)
        return dialect_refuse(negotiate, "-ERR Send USER first", reply);
    return NEGOTIATE_FORWARD;
}

static int apop(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)call;
    if (!negotiate->rule->apop)
        return dialect_refuse(negotiate, "-ERR There is no APOP here", reply);
    return NEGOTIATE_FORWARD;
}

/* AUTH alone asks for the mechanisms, one on a line: older than RFC 5034, and still asked. */
static int list_mechanisms(struct negotiate *negotiate, struct text *reply)
{
    struct span rest, mechanism;

    if (!negotiate->learned)
        return NEGOTIATE_LEARN;
    rest = capabilities_mechanisms(negotiate->learned);
    if (!capabilities_next_mechanism(&rest, &mechanism))
        return dialect_refuse(negotiate, "-ERR There is no AUTH here", reply);
    negotiate->offered = true;
    dialect_answer("+OK", reply);
    do {
        text_put(reply, mechanism);
        text_puts(reply, "\r\n");
    } while (capabilities_next_mechanism(&rest, &mechanism));
    return dialect_answer(".", reply);
}

static int auth(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    struct span rest = call->argument, wanted = span_take_word(&rest), offered, mechanism;

    if (wanted.size == 0)
        return list_mechanisms(negotiate, reply);
    if (!negotiate->learned)
        return NEGOTIATE_LEARN;
    offered = capabilities_mechanisms(negotiate->learned);
    /* A server that says nothing of SASL may know it all the same; it judges, but for what cannot
     * work here. */
    if (offered.size == 0 && dialect_mechanism_passes(negotiate, wanted))
        return dialect_login(negotiate, call->line, reply);
    while (capabilities_next_mechanism(&offered, &mechanism))
        if (span_equal_nocase(mechanism, wanted) && dialect_mechanism_passes(negotiate, wanted))
            return dialect_login(negotiate, call->line, reply);
    return dialect_refuse(negotiate, "-ERR This mechanism is not offered", reply);
}

static int forward_if_offered(struct negotiate *negotiate, const char *keyword)
{
    if (!negotiate->learned)
        return NEGOTIATE_LEARN;
    return capabilities_find(negotiate->learned, span_of_text(keyword)) ? NEGOTIATE_FORWARD : 0;
}

static int lang(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    int verdict = forward_if_offered(negotiate, "LANG");

    (void)call;
    return verdict ? verdict : dialect_refuse(negotiate, "-ERR There is no LANG here", reply);
}

static int utf8(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    int verdict = forward_if_offered(negotiate, "UTF8");

    (void)call;
    return verdict ? verdict : dialect_refuse(negotiate, "-ERR There is no UTF8 here", reply);
}

static int noop(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)negotiate, (void)call;
    return dialect_answer("+OK", reply);
}

static int quit(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)negotiate, (void)call;
    dialect_answer("+OK Bye", reply);
    return NEGOTIATE_CLOSE;
}

static int login_first(struct negotiate *negotiate, const struct dialect_call *call,
                       struct text *reply)
{
    (void)call;
    return dialect_refuse(negotiate, "-ERR Log in first", reply);
}

/* RFC 3206 section 3: [AUTH] makes programs show these words to their user. */
static int refuse_clear(struct negotiate *negotiate, const struct dialect_command *command,
                        struct text *reply)
{
    const struct dialogue_rule *rule = negotiate->rule;

    if (!command)
        return dialect_refuse(negotiate, dialect_pop3.words->unknown, reply);
    text_puts(reply, "-ERR [AUTH] Turn on TLS");
    if (rule->implicit_port > 0)
        text_printf(reply, ": use port %u", rule->implicit_port);
    if (rule->starttls_port > 0)
        text_printf(reply, "%sSTLS on port %u", rule->implicit_port > 0 ? ", or " : ": use ",
                    rule->starttls_port);
    return dialect_refuse_written(negotiate, reply);
}

/* What the rule requires TLS for is the login; before it, nothing else tells anything worth hiding.
 */
#define ALWAYS DIALECT_BEFORE_TLS
#define TO_TLS (DIALECT_BEFORE_TLS | DIALECT_TO_TLS)
#define LOGIN  DIALECT_LOGIN

/* clang-format off */
static const struct dialect_command commands[] = {
    /* verb   in clear     under TLS    argument         flags   longest line */
    { "CAPA", capa,        capa,        ARGUMENT_NONE,   TO_TLS, POP3_LINE_MAX },
    { "STLS", stls,        stls_again,  ARGUMENT_NONE,   TO_TLS, POP3_LINE_MAX },
    { "USER", user,        user,        ARGUMENT_NEEDED, LOGIN,  POP3_LINE_MAX },
    { "PASS", pass,        pass,        ARGUMENT_NEEDED, LOGIN,  POP3_LINE_MAX },
    { "APOP", apop,        apop,        ARGUMENT_NEEDED, LOGIN,  POP3_LINE_MAX },
    { "AUTH", auth,        auth,        ARGUMENT_ANY,    LOGIN,  POP3_LINE_MAX },
    { "LANG", lang,        lang,        ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { "UTF8", utf8,        utf8,        ARGUMENT_NONE,   ALWAYS, POP3_LINE_MAX },
    { "NOOP", noop,        noop,        ARGUMENT_ANY,    TO_TLS, POP3_LINE_MAX },
    { "QUIT", quit,        quit,        ARGUMENT_ANY,    TO_TLS, POP3_LINE_MAX },
    { "STAT", login_first, login_first, ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { "LIST", login_first, login_first, ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { "RETR", login_first, login_first, ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { "DELE", login_first, login_first, ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { "RSET", login_first, login_first, ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { "TOP",  login_first, login_first, ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { "UIDL", login_first, login_first, ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { "LAST", login_first, login_first, ARGUMENT_ANY,    ALWAYS, POP3_LINE_MAX },
    { .verb = NULL },
};
/* clang-format on */

static const struct dialect_words words = {
    .unknown = "-ERR Unknown command",
    .syntax = "-ERR Syntax error",
    .too_long = "-ERR line too long",
    .spoiled = "-ERR Syntax error",
    .argument_needed = "-ERR An argument is missing",
    .argument_surplus = "-ERR No argument is allowed",
    .hello_first = "-ERR Send USER first",
    .too_many_errors = "-ERR Too many errors",
};

const struct dialect dialect_pop3 = {
    .commands = commands,
    .words = &words,
    .line_max = POP3_LINE_MAX,
    .line_max_any = POP3_LINE_MAX,
    .tls_verb = "STLS",
    .told_plain = "-ERR [AUTH] ",
    .refuse_clear = refuse_clear,
};

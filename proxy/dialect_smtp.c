/* SMTP before a backend is needed: RFC 5321, 3207, 4954, 6409.
 *
 * Happy path: EHLO is answered from what was learned of the server, STARTTLS is accepted, and MAIL,
 * AUTH, VRFY, EXPN and ETRN are forwarded. All else is answered here. */
#include <errno.h>

#include "proxy/dialect.h"

static int ehlo(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    /* Where only TLS is to be had, a plain client is offered only that, and the server need not be
     * asked. */
    static const struct capabilities nothing = { .protocol = PROTOCOL_SMTP, .none = true };
    const struct capabilities *list = negotiate->told_plain ? &nothing : negotiate->learned;

    if (!list)
        return NEGOTIATE_LEARN;
    if (dialect_keep_hello(negotiate, call->line) < 0)
        return -ENOMEM;
    negotiate->extended = true;
    negotiate->offered = !negotiate->told_plain;
    capabilities_write(list, negotiate->rule, negotiate->tls, reply);
    return NEGOTIATE_ANSWER;
}

static int helo(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    if (dialect_keep_hello(negotiate, call->line) < 0)
        return -ENOMEM;
    text_puts(reply, "250 ");
    return dialect_answer(negotiate->rule->hostname, reply);
}

static int starttls(struct negotiate *negotiate, const struct dialect_call *call,
                    struct text *reply)
{
    (void)call;
    if (!negotiate->rule->tls_available)
        return dialect_refuse(negotiate, "502 5.5.1 TLS is not available on this port", reply);
    if (!negotiate->extended)
        return dialect_refuse(negotiate, "503 5.5.1 Send EHLO first", reply);
    dialect_answer("220 2.0.0 Ready to start TLS", reply);
    return NEGOTIATE_TLS;
}

static int starttls_again(struct negotiate *negotiate, const struct dialect_call *call,
                          struct text *reply)
{
    (void)call;
    return dialect_refuse(negotiate, "503 5.5.1 TLS is on already", reply);
}

/* Is there a mechanism in the list that the client was shown? */
static bool login_offered(const struct negotiate *negotiate)
{
    struct span mechanisms, mechanism;

    if (!negotiate->learned)
        return false;
    mechanisms = capabilities_mechanisms(negotiate->learned);
    return capabilities_next_mechanism(&mechanisms, &mechanism);
}

static int mail(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)call;
    if (!negotiate->rule->require_auth)
        return NEGOTIATE_FORWARD;
    if (negotiate->learned && !login_offered(negotiate))
        return dialect_answer("454 4.7.0 The server cannot check a login now", reply);
    return dialect_refuse(negotiate, "530 5.7.0 Authentication required", reply);
}

static int auth(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    struct span rest = call->argument, wanted = span_take_word(&rest), offered, mechanism;

    if (!negotiate->extended)
        return dialect_refuse(negotiate, "503 5.5.1 Send EHLO first", reply);
    if (!login_offered(negotiate) && negotiate->rule->require_auth)
        return dialect_answer("454 4.7.0 The server cannot check a login now", reply);
    if (!login_offered(negotiate))
        return dialect_refuse(negotiate, "502 5.5.1 There is no login here", reply);
    offered = capabilities_mechanisms(negotiate->learned);
    while (capabilities_next_mechanism(&offered, &mechanism))
        if (span_equal_nocase(mechanism, wanted) && dialect_mechanism_passes(negotiate, wanted))
            return dialect_login(negotiate, call->line, reply);
    return dialect_refuse(negotiate, "504 5.5.4 This mechanism is not offered", reply);
}

static int forward(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)negotiate, (void)call, (void)reply;
    return NEGOTIATE_FORWARD;
}

static int mail_first(struct negotiate *negotiate, const struct dialect_call *call,
                      struct text *reply)
{
    (void)call;
    return dialect_refuse(negotiate, "503 5.5.1 Send MAIL first", reply);
}

static int bdat(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    struct span rest = call->argument;
    uint64_t octets;

    if (!span_parse_u64(span_take_word(&rest), &octets))
        return dialect_refuse(negotiate, "501 5.5.4 BDAT needs a number of octets", reply);
    return mail_first(negotiate, call, reply);
}

static int noop(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)negotiate, (void)call;
    return dialect_answer("250 2.0.0 OK", reply);
}

static int help(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)negotiate, (void)call;
    return dialect_answer("214 2.0.0 EHLO HELO STARTTLS AUTH MAIL RCPT DATA RSET NOOP HELP QUIT",
                          reply);
}

static int quit(struct negotiate *negotiate, const struct dialect_call *call, struct text *reply)
{
    (void)negotiate, (void)call;
    dialect_answer("221 2.0.0 Bye", reply);
    return NEGOTIATE_CLOSE;
}

/* Only the proxy itself says who the client is. */
static int not_yours(struct negotiate *negotiate, const struct dialect_call *call,
                     struct text *reply)
{
    (void)call;
    return dialect_refuse(negotiate, "550 5.7.0 Not allowed", reply);
}

static int refuse_clear(struct negotiate *negotiate, const struct dialect_command *command,
                        struct text *reply)
{
    (void)command;
    if (negotiate->rule->require_tls == REQUIRE_TLS_AUTH)
        return dialect_refuse(
            negotiate, "538 5.7.11 Encryption is required to log in: use STARTTLS first", reply);
    return dialect_refuse(negotiate, "530 5.7.0 Must issue a STARTTLS command first", reply);
}

#define TO_TLS (DIALECT_BEFORE_TLS | DIALECT_TO_TLS)
#define LOGIN  (DIALECT_LOGIN | DIALECT_AFTER_HELLO)
#define HELLO  DIALECT_AFTER_HELLO

/* clang-format off */
static const struct dialect_command commands[] = {
    /* verb       in clear    under TLS       argument         flags               longest line */
    { "EHLO",     ehlo,       ehlo,           ARGUMENT_NEEDED, TO_TLS,             SMTP_LINE_MAX },
    { "HELO",     helo,       helo,           ARGUMENT_NEEDED, TO_TLS,             SMTP_LINE_MAX },
    { "STARTTLS", starttls,   starttls_again, ARGUMENT_NONE,   TO_TLS,             SMTP_LINE_MAX },
    { "MAIL",     mail,       mail,           ARGUMENT_ANY,    HELLO,              SMTP_PATH_LINE_MAX },
    { "AUTH",     auth,       auth,           ARGUMENT_NEEDED, LOGIN,              AUTH_LINE_MAX },
    { "RCPT",     mail_first, mail_first,     ARGUMENT_ANY,    HELLO,              SMTP_PATH_LINE_MAX },
    { "DATA",     mail_first, mail_first,     ARGUMENT_NONE,   HELLO,              SMTP_LINE_MAX },
    { "BDAT",     bdat,       bdat,           ARGUMENT_ANY,    DIALECT_OCTETS,     SMTP_LINE_MAX },
    { "RSET",     noop,       noop,           ARGUMENT_NONE,   0,                  SMTP_LINE_MAX },
    { "NOOP",     noop,       noop,           ARGUMENT_ANY,    TO_TLS,             SMTP_LINE_MAX },
    { "HELP",     help,       help,           ARGUMENT_ANY,    DIALECT_BEFORE_TLS, SMTP_LINE_MAX },
    { "VRFY",     forward,    forward,        ARGUMENT_ANY,    HELLO,              SMTP_LINE_MAX },
    { "EXPN",     forward,    forward,        ARGUMENT_ANY,    HELLO,              SMTP_LINE_MAX },
    { "ETRN",     forward,    forward,        ARGUMENT_ANY,    HELLO,              SMTP_LINE_MAX },
    { "QUIT",     quit,       quit,           ARGUMENT_ANY,    TO_TLS,             SMTP_LINE_MAX },
    { "XCLIENT",  not_yours,  not_yours,      ARGUMENT_ANY,    0,                  SMTP_LINE_MAX },
    { "XFORWARD", not_yours,  not_yours,      ARGUMENT_ANY,    0,                  SMTP_LINE_MAX },
    { .verb = NULL },
};
/* clang-format on */

static const struct dialect_words words = {
    .unknown = "500 5.5.1 Unknown command",
    .syntax = "500 5.5.2 Syntax error",
    .too_long = "500 5.5.2 Line too long",
    .spoiled = "500 5.5.2 A line must end in CRLF and hold no other CR, LF or NUL",
    .argument_needed = "501 5.5.4 An argument is missing",
    .argument_surplus = "501 5.5.4 No argument is allowed",
    .hello_first = "503 5.5.1 Send EHLO first",
    .too_many_errors = "421 4.7.0 Too many errors",
};

const struct dialect dialect_smtp = {
    .commands = commands,
    .words = &words,
    .line_max = SMTP_LINE_MAX,
    .line_max_any = AUTH_LINE_MAX,
    .tls_verb = "STARTTLS",
    .told_plain = "530 5.7.0 ",
    .refuse_clear = refuse_clear,
};

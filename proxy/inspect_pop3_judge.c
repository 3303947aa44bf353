/* Judges command lines of a relayed POP3 client.
 *
 * Happy path: the verb is found in the table, what holds for every command is checked (form,
 * length, TLS to log in), and the verb's own check, where it has one, lets it pass. Cannot fail. */
#include "proxy/inspect_pop3_internal.h"

struct verb {
    const char *name;
    uint8_t reply; /* enum pop3_reply */
    bool sync;     /* it changes the state of the session */
    bool login; /* it shows a password, or begins to: refused without TLS where TLS is required */
    bool names_user;
    bool front; /* before a login it is answered without a server where logins are handed back */
    void (*check)(const struct inspect_pop3 *inspect, struct pop3_decision *decision);
};

static void refuse(struct pop3_decision *decision, const char *words)
{
    decision->verdict = INSPECT_ANSWER;
    decision->words = words;
    decision->counted = true;
}

/* RFC 2595 section 4. */
static void check_stls(const struct inspect_pop3 *inspect, struct pop3_decision *decision)
{
    if (inspect->tls)
        refuse(decision, "-ERR TLS is on already\r\n");
    else if (decision->argument.size > 0)
        refuse(decision, "-ERR No argument is allowed\r\n");
    else if (!inspect->rule->tls_available)
        refuse(decision, "-ERR TLS is not available on this port\r\n");
    else if (inspect->logged_in)
        refuse(decision, "-ERR STLS is not allowed after the login\r\n");
    else
        *decision = (struct pop3_decision){ .verdict = INSPECT_TLS,
                                            .words = "+OK Begin TLS negotiation\r\n" };
}

/* RFC 5034 section 4. */
static void check_auth(const struct inspect_pop3 *inspect, struct pop3_decision *decision)
{
    struct span rest = decision->argument, mechanism = span_take_word(&rest);

    (void)inspect;
    if (mechanism.size == 0) {
        decision->reply = POP3_REPLY_MECHANISMS;
        decision->sync = false;
    } else if (!capabilities_mechanism_passes(mechanism)) {
        refuse(decision, "-ERR This mechanism is not offered\r\n");
    }
}

static void check_apop(const struct inspect_pop3 *inspect, struct pop3_decision *decision)
{
    if (!inspect->rule->apop)
        refuse(decision, "-ERR There is no APOP here\r\n");
}

/* With a number, or with a language, the reply is one line. */
static void check_list(const struct inspect_pop3 *inspect, struct pop3_decision *decision)
{
    (void)inspect;
    if (decision->argument.size > 0)
        decision->reply = POP3_REPLY_LINE;
}

/* A browser that was led to a mail port (ALPACA): what follows is no mail. */
static void check_http(const struct inspect_pop3 *inspect, struct pop3_decision *decision)
{
    (void)inspect;
    decision->verdict = INSPECT_CLOSE;
    decision->violation = "the client spoke HTTP";
}

/* clang-format off */
static const struct verb verbs[] = {
    /* name       answered as       sync   login  names user  front  check */
    { "RETR",    POP3_REPLY_RETR,  false, false, false,      false, NULL },
    { "DELE",    POP3_REPLY_LINE,  false, false, false,      false, NULL },
    { "LIST",    POP3_REPLY_BODY,  false, false, false,      false, check_list },
    { "UIDL",    POP3_REPLY_BODY,  false, false, false,      false, check_list },
    { "TOP",     POP3_REPLY_BODY,  false, false, false,      false, NULL },
    { "STAT",    POP3_REPLY_LINE,  false, false, false,      false, NULL },
    { "NOOP",    POP3_REPLY_LINE,  false, false, false,      false, NULL },
    { "RSET",    POP3_REPLY_LINE,  false, false, false,      false, NULL },
    { "LAST",    POP3_REPLY_LINE,  false, false, false,      false, NULL }, /* RFC 1460 */
    { "QUIT",    POP3_REPLY_QUIT,  true,  false, false,      false, NULL },
    { "USER",    POP3_REPLY_LINE,  false, true,  true,       true,  NULL },
    { "PASS",    POP3_REPLY_LOGIN, true,  true,  false,      true,  NULL },
    { "APOP",    POP3_REPLY_LOGIN, true,  true,  true,       true,  check_apop },
    { "AUTH",    POP3_REPLY_AUTH,  true,  true,  false,      true,  check_auth },
    { "CAPA",    POP3_REPLY_CAPA,  false, false, false,      true,  NULL },
    { "STLS",    POP3_REPLY_LINE,  true,  false, false,      false, check_stls },
    { "LANG",    POP3_REPLY_BODY,  false, false, false,      true,  check_list },
    { "UTF8",    POP3_REPLY_LINE,  false, false, false,      true,  NULL },
    { "GET",     POP3_REPLY_LINE,  true,  false, false,      false, check_http },
    { "POST",    POP3_REPLY_LINE,  true,  false, false,      false, check_http },
    { "PUT",     POP3_REPLY_LINE,  true,  false, false,      false, check_http },
    { "HEAD",    POP3_REPLY_LINE,  true,  false, false,      false, check_http },
    { "OPTIONS", POP3_REPLY_LINE,  true,  false, false,      false, check_http },
    { "CONNECT", POP3_REPLY_LINE,  true,  false, false,      false, check_http },
};
/* clang-format on */

static const struct verb *find_verb(struct span name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (span_equal_nocase(name, span_of_text(verbs[i].name)))
            return &verbs[i];
    return NULL;
}

/* No command begins with a blank or holds these; a server may read another command in such a line.
 */
static bool is_malformed(struct span line)
{
    return line.size == 0 || line.data[0] == ' ' || line.data[0] == '\t' ||
           span_find(line, '\0') < line.size || span_find(line, '\r') < line.size;
}

struct pop3_decision pop3_judge(const struct inspect_pop3 *inspect, struct span line)
{
    struct span rest = line, name = span_take_word(&rest);
    const struct verb *verb = find_verb(name);
    bool required = inspect->rule->require_tls != REQUIRE_TLS_NO && !inspect->tls;
    struct pop3_decision decision = {
        .verdict = INSPECT_FORWARD,
        .line = line,
        .argument = span_trim(rest),
    };

    if (is_malformed(line)) {
        refuse(&decision, "-ERR Syntax error\r\n");
        return decision;
    }
    if (!verb) {
        refuse(&decision, "-ERR Unknown command\r\n");
        return decision;
    }
    if (verb->login && required) {
        refuse(&decision, NULL);
        decision.wants_tls = true;
        return decision;
    }
    if (verb->front && inspect->hands_back && !inspect->logged_in) {
        decision.verdict = INSPECT_HAND_BACK;
        return decision;
    }
    decision.reply = verb->reply;
    decision.sync = verb->sync;
    decision.names_user = verb->names_user;
    /* "LIST " may be LIST of all or of nothing, as a server likes; but a password may be blank. */
    if (decision.argument.size == 0 && verb->reply != POP3_REPLY_LOGIN)
        decision.line = name;
    if (verb->check)
        verb->check(inspect, &decision);
    return decision;
}

void pop3_put_wants_tls(const struct dialogue_rule *rule, struct text *into)
{
    text_puts(into, "-ERR [AUTH] Turn on TLS");
    if (rule->implicit_port > 0)
        text_printf(into, ": use port %u", rule->implicit_port);
    if (rule->starttls_port > 0)
        text_printf(into, "%sSTLS on port %u", rule->implicit_port > 0 ? ", or " : ": use ",
                    rule->starttls_port);
    text_puts(into, "\r\n");
}

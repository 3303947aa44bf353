/* Judging what a client says before a backend is needed; see negotiate.h.
 *
 * Happy path: a line is looked up in its dialect's table, what holds for every command is checked
 * in one fixed order (a verb of HTTP, a port that speaks TLS first, required TLS, known verb,
 * length, argument, hello), and the command's action for clear or TLS answers. A refusal is
 * counted, and too many end the session. Fails only for want of memory. */
#include "proxy/negotiate.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "proxy/dialect.h"

static const struct dialect *dialect_of(const struct dialogue_rule *rule)
{
    return rule->protocol == PROTOCOL_POP3 ? &dialect_pop3 : &dialect_smtp;
}

static void forget_hello(struct negotiate *negotiate)
{
    free(negotiate->hello);
    negotiate->hello = NULL;
    negotiate->hello_size = 0;
    negotiate->extended = false;
}

void negotiate_init(struct negotiate *negotiate, const struct dialogue_rule *rule, bool tls)
{
    *negotiate = (struct negotiate){
        .rule = rule,
        .tls = tls,
        .told_plain = rule->implicit_tls && !tls,
    };
}

void negotiate_forget_login(struct negotiate *negotiate)
{
    login_free(negotiate->login);
    negotiate->login = NULL;
}

void negotiate_deinit(struct negotiate *negotiate)
{
    forget_hello(negotiate);
    negotiate_forget_login(negotiate);
}

void negotiate_tls_done(struct negotiate *negotiate)
{
    uint8_t errors = negotiate->errors;

    assert(!negotiate->tls && !negotiate->login);
    forget_hello(negotiate);
    negotiate_init(negotiate, negotiate->rule, true);
    negotiate->errors = errors;
    assert(!negotiate->hello && !negotiate->learned && !negotiate->offered);
}

int dialect_answer(const char *line, struct text *reply)
{
    text_puts(reply, line);
    text_puts(reply, "\r\n");
    return NEGOTIATE_ANSWER;
}

int dialect_refuse_written(struct negotiate *negotiate, struct text *reply)
{
    text_puts(reply, "\r\n");
    if (negotiate->errors < UINT8_MAX)
        negotiate->errors++;
    if (negotiate->errors < negotiate->rule->max_errors)
        return NEGOTIATE_ANSWER;
    dialect_answer(dialect_of(negotiate->rule)->words->too_many_errors, reply);
    return NEGOTIATE_CLOSE;
}

int dialect_refuse(struct negotiate *negotiate, const char *line, struct text *reply)
{
    text_puts(reply, line);
    return dialect_refuse_written(negotiate, reply);
}

int dialect_keep_hello(struct negotiate *negotiate, struct span line)
{
    unsigned char *copy = malloc(line.size > 0 ? line.size : 1);

    if (!copy)
        return -ENOMEM;
    if (line.size > 0)
        memcpy(copy, line.data, line.size);
    forget_hello(negotiate);
    negotiate->hello = copy;
    negotiate->hello_size = line.size;
    return 0;
}

/* "This port speaks TLS first: ...", with the ports of this configuration. */
static void put_what_to_set(const struct dialogue_rule *rule, struct text *into)
{
    text_puts(into, "This port speaks TLS first: set your mail program to SSL/TLS");
    if (rule->port > 0)
        text_printf(into, " for port %u", rule->port);
    if (rule->starttls_port > 0)
        text_printf(into, ", or use %s on port %u", dialect_of(rule)->tls_verb,
                    rule->starttls_port);
}

void negotiate_greeting(const struct negotiate *negotiate, struct text *reply)
{
    const struct dialogue_rule *rule = negotiate->rule;
    bool pop3 = rule->protocol == PROTOCOL_POP3;

    /* Nothing in the greeting of POP3 may look like the time stamp of APOP, "<...>" (RFC 1939
     * section 7). */
    text_printf(reply, pop3 ? "+OK %s " : "220 %s ESMTP ", rule->hostname);
    if (negotiate->told_plain)
        put_what_to_set(rule, reply);
    else
        text_puts(reply, "Gatepost ready");
    text_puts(reply, "\r\n");
}

/* The verbs of a browser that was led to a mail port (ALPACA): what follows is no mail. */
static bool is_http_verb(struct span verb)
{
    static const char *const verbs[] = { "GET", "POST", "PUT", "HEAD", "OPTIONS", "CONNECT" };

    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (span_equal_nocase(verb, span_of_text(verbs[i])))
            return true;
    return false;
}

static const struct dialect_command *find_command(const struct dialect *dialect, struct span verb)
{
    for (const struct dialect_command *row = dialect->commands; row->verb; row++)
        if (span_equal_nocase(verb, span_of_text(row->verb)))
            return row;
    return NULL;
}

/* No command holds these, in any protocol; a line of POP3 may still bring them here. */
static bool holds_controls(struct span line)
{
    return span_find(line, '\0') < line.size || span_find(line, '\r') < line.size ||
           span_find(line, '\n') < line.size;
}

static bool starts_blank(struct span line)
{
    return line.size == 0 || line.data[0] == ' ' || line.data[0] == '\t';
}

/* Is this command refused without TLS? `command` is NULL for an unknown verb. */
static bool needs_tls(const struct negotiate *negotiate, const struct dialect_command *command)
{
    enum require_tls required = negotiate->rule->require_tls;
    bool login = command && (command->flags & DIALECT_LOGIN);

    if (negotiate->tls || required == REQUIRE_TLS_NO)
        return false;
    if (login)
        return true;
    return required == REQUIRE_TLS_YES && !(command && (command->flags & DIALECT_BEFORE_TLS));
}

static void note_clear(struct negotiate *negotiate, const struct dialect_command *command)
{
    negotiate->refused_in_clear = true;
    if (command && (command->flags & DIALECT_LOGIN))
        negotiate->login_in_clear = true;
}

/* Words about the form of the line; NULL where it is well formed. */
static const char *fault_of(const struct negotiate *negotiate, const struct dialect *dialect,
                            const struct dialect_command *command, const struct dialect_call *call)
{
    const struct dialect_words *words = dialect->words;

    if (call->line.size + 2 > (command ? command->line_max : dialect->line_max))
        return words->too_long;
    if (!command)
        return words->unknown;
    if (command->argument == ARGUMENT_NONE && call->argument.size > 0)
        return words->argument_surplus;
    if (command->argument == ARGUMENT_NEEDED && call->argument.size == 0)
        return words->argument_needed;
    if ((command->flags & DIALECT_AFTER_HELLO) && !negotiate->hello)
        return words->hello_first;
    return NULL;
}

static int judge(struct negotiate *negotiate, const struct dialect_command *command,
                 const struct dialect_call *call, struct text *reply)
{
    const struct dialect *dialect = dialect_of(negotiate->rule);
    const char *fault;

    if (holds_controls(call->line) || starts_blank(call->line))
        return dialect_refuse(negotiate, dialect->words->syntax, reply);
    if (negotiate->told_plain && !(command && (command->flags & DIALECT_TO_TLS))) {
        note_clear(negotiate, command);
        text_puts(reply, dialect->told_plain);
        put_what_to_set(negotiate->rule, reply);
        return dialect_refuse_written(negotiate, reply);
    }
    if (needs_tls(negotiate, command)) {
        note_clear(negotiate, command);
        return dialect->refuse_clear(negotiate, command, reply);
    }
    fault = fault_of(negotiate, dialect, command, call);
    if (fault)
        return dialect_refuse(negotiate, fault, reply);
    return (negotiate->tls ? command->under_tls : command->in_clear)(negotiate, call, reply);
}

/* One line of a login that the proxy reads. */
static int read_login(struct negotiate *negotiate, struct span line, struct text *reply)
{
    int r = login_line(negotiate->login, line, reply);

    switch (r) {
    case LOGIN_READY:
        return NEGOTIATE_FORWARD;
    case LOGIN_MORE:
        text_puts(reply, "\r\n");
        return NEGOTIATE_ANSWER;
    case LOGIN_CANCELLED:
        negotiate_forget_login(negotiate);
        text_puts(reply, "\r\n");
        return NEGOTIATE_ANSWER;
    case LOGIN_BAD:
        negotiate_forget_login(negotiate);
        return dialect_refuse_written(negotiate, reply);
    default:
        return r;
    }
}

bool dialect_mechanism_passes(const struct negotiate *negotiate, struct span mechanism)
{
    return capabilities_mechanism_passes(mechanism) &&
           (!negotiate->rule->reads_login || login_reads(mechanism));
}

int dialect_login(struct negotiate *negotiate, struct span line, struct text *reply)
{
    if (!negotiate->rule->reads_login)
        return NEGOTIATE_FORWARD;
    negotiate->login = login_new(negotiate->rule->protocol);
    return negotiate->login ? read_login(negotiate, line, reply) : -ENOMEM;
}

static int command_line(struct negotiate *negotiate, struct span line, struct text *reply)
{
    struct dialect_call call = { .line = line };
    struct span rest = line, verb = span_take_word(&rest);
    const struct dialect_command *command = find_command(dialect_of(negotiate->rule), verb);
    uint64_t octets;
    int verdict;

    if (is_http_verb(verb))
        return NEGOTIATE_CLOSE;
    call.argument = span_trim(rest);
    verdict = judge(negotiate, command, &call, reply);
    /* A refused BDAT is followed by message octets, which must never be taken for commands (RFC
     * 3030 section 2). No client of good faith sends one here but behind a MAIL that was refused.
     */
    if (verdict == NEGOTIATE_ANSWER && command && (command->flags & DIALECT_OCTETS) &&
        !(span_parse_u64(span_take_word(&call.argument), &octets) && octets == 0))
        return NEGOTIATE_CLOSE;
    return verdict;
}

int negotiate_line(struct negotiate *negotiate, struct span line, struct text *reply)
{
    if (!negotiate->login)
        return command_line(negotiate, line, reply);
    if (login_ready(negotiate->login))
        return NEGOTIATE_FORWARD;
    return read_login(negotiate, line, reply);
}

int negotiate_bad_line(struct negotiate *negotiate, int line_result, struct text *reply)
{
    const struct dialect_words *words = dialect_of(negotiate->rule)->words;

    negotiate_forget_login(negotiate); /* such a line is no answer */
    return dialect_refuse(negotiate,
                          line_result == LINE_TOO_LONG ? words->too_long : words->spoiled, reply);
}

uint32_t negotiate_line_limit(const struct negotiate *negotiate)
{
    return negotiate->login ? AUTH_LINE_MAX : dialect_of(negotiate->rule)->line_max_any;
}

struct span negotiate_user(const struct negotiate *negotiate)
{
    struct span hello = span_of(negotiate->hello, negotiate->hello_size);

    if (negotiate->login)
        return login_user(negotiate->login);
    if (negotiate->rule->protocol != PROTOCOL_POP3)
        return span_of(NULL, 0);
    span_take_word(&hello); /* USER */
    return span_trim(hello);
}

void negotiate_event(const struct dialogue_rule *rule, enum negotiate_event event,
                     struct text *reply)
{
    static const struct {
        const char *smtp, *pop3;
    } words[] = {
        [NEGOTIATE_SURPLUS] = { "554 5.5.1 Nothing may follow STARTTLS before TLS",
                                "-ERR Nothing may follow STLS before TLS" },
        [NEGOTIATE_TLS_TEMPORARY] = { "454 4.7.0 TLS is not available now, please try again later",
                                      "-ERR [SYS/TEMP] TLS is not available now" },
        [NEGOTIATE_NO_BACKEND] = { "421 4.4.1 The mail server does not answer, please try again "
                                   "later",
                                   "-ERR [SYS/TEMP] The mail server does not answer" },
        [NEGOTIATE_SERVER_CHANGED] = { "421 4.3.2 Server changed, please connect again",
                                       "-ERR [SYS/TEMP] Server changed, please connect again" },
        [NEGOTIATE_OPEN_RELAY] = { "554 5.7.1 This gate is not open: its server relays for anybody",
                                   "-ERR [SYS/PERM] This gate is not open" },
        [NEGOTIATE_NO_ROUTE] = { "454 4.7.0 This login cannot be checked now, please try again "
                                 "later",
                                 "-ERR [SYS/TEMP] This login cannot be checked now" },
        [NEGOTIATE_TOO_MANY_LOGINS] = { "421 4.7.0 Too many failed logins",
                                        "-ERR Too many failed logins" },
        [NEGOTIATE_SHUTDOWN] = { "421 4.3.2 Shutting down, please connect again",
                                 "-ERR [SYS/TEMP] Shutting down, please connect again" },
        [NEGOTIATE_KICKED] = { "421 4.3.2 This session was ended by the operator",
                               "-ERR [SYS/TEMP] This session was ended by the operator" },
        [NEGOTIATE_TOO_MANY] = { "421 4.3.2 Too many sessions, please try again later",
                                 "-ERR [SYS/TEMP] Too many sessions, please try again later" },
        [NEGOTIATE_TIMEOUT] = { "421 4.4.2 Timeout", NULL },
        [NEGOTIATE_EARLY_TALKER] = { "554 5.5.1 Talking before the greeting is not allowed here",
                                     "-ERR Talking before the greeting is not allowed here" },
        [NEGOTIATE_BACKEND_LOST] = { "421 4.4.2 The mail server closed the connection",
                                     "-ERR [SYS/TEMP] The mail server closed the connection" },
        [NEGOTIATE_BACKEND_GARBAGE] = { "421 4.4.2 The mail server answered what cannot be "
                                        "understood",
                                        "-ERR [SYS/TEMP] The mail server answered what cannot be "
                                        "understood" },
    };
    const char *line = rule->protocol == PROTOCOL_POP3 ? words[event].pop3 : words[event].smtp;

    if (line && !protocol_is_relayed(rule->protocol))
        dialect_answer(line, reply);
}

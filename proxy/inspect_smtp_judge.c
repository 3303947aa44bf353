/* Judges command lines of a relayed SMTP client.
 *
 * Happy path: the verb is found in the table, what holds for every command is checked (required
 * TLS, length), and the verb's own check, where it has one, lets it pass. Cannot fail. */
#include "proxy/inspect_smtp_internal.h"

struct verb {
    const char *name;
    uint8_t reply;     /* enum smtp_reply */
    bool sync;         /* RFC 2920 section 3.1, and what changes the state of the session */
    bool before_tls;   /* works where TLS is required for everything */
    uint16_t line_max; /* octets, with the line end */
    void (*check)(const struct inspect_smtp *inspect, struct smtp_decision *decision);
};

static void answer(struct smtp_decision *decision, const char *words)
{
    decision->verdict = INSPECT_ANSWER;
    decision->words = words;
}

static void refuse(struct smtp_decision *decision, const char *words)
{
    answer(decision, words);
    decision->counted = true;
}

static void end(struct smtp_decision *decision, const char *words, const char *violation)
{
    decision->verdict = INSPECT_CLOSE;
    decision->words = words;
    decision->violation = violation;
}

/* RFC 3207 section 4. */
static void check_starttls(const struct inspect_smtp *inspect, struct smtp_decision *decision)
{
    if (inspect->tls)
        refuse(decision, "503 5.5.1 TLS is on already\r\n");
    else if (decision->argument.size > 0)
        refuse(decision, "501 5.5.4 No argument is allowed\r\n");
    else if (!inspect->rule->tls_available)
        refuse(decision, "502 5.5.1 TLS is not available on this port\r\n");
    else if (!inspect->said_hello)
        refuse(decision, "503 5.5.1 Send EHLO first\r\n");
    else if (inspect->in_transaction)
        refuse(decision, "503 5.5.1 STARTTLS is not allowed inside a transaction\r\n");
    else
        *decision = (struct smtp_decision){ .verdict = INSPECT_TLS,
                                            .words = "220 2.0.0 Ready to start TLS\r\n" };
}

/* EHLO and HELO: what they are answered depends on who will log in. */
static void check_hello(const struct inspect_smtp *inspect, struct smtp_decision *decision)
{
    if (inspect->hands_back && !inspect->authenticated)
        decision->verdict = INSPECT_HAND_BACK;
}

/* RFC 4954 section 4. */
static void check_auth(const struct inspect_smtp *inspect, struct smtp_decision *decision)
{
    struct span rest = decision->argument, mechanism = span_take_word(&rest);
    bool ours = inspect->hands_back && !inspect->authenticated;

    if (ours && inspect->in_transaction) {
        refuse(decision, "503 5.5.1 AUTH is not allowed inside a transaction\r\n");
        return;
    }
    if (ours) {
        decision->verdict = INSPECT_HAND_BACK;
        return;
    }
    decision->login_in_clear = inspect->rule->require_tls == REQUIRE_TLS_AUTH && !inspect->tls;
    if (decision->login_in_clear)
        refuse(decision, "538 5.7.11 Encryption is required to log in: use STARTTLS first\r\n");
    else if (mechanism.size == 0)
        refuse(decision, "501 5.5.4 An argument is missing\r\n");
    else if (!capabilities_mechanism_passes(mechanism))
        refuse(decision, "504 5.5.4 This mechanism is not offered\r\n");
}

/* The size that MAIL declares (RFC 1870 section 4) is more than this port allows. */
static bool is_too_big(const struct inspect_smtp *inspect, struct span argument)
{
    struct span word, prefix = SPAN_LIT("SIZE=");
    uint64_t size;

    if (inspect->rule->size_limit == 0)
        return false;
    while ((word = span_take_word(&argument)).size > 0) {
        if (!span_starts_nocase(word, prefix))
            continue;
        if (span_parse_u64(span_skip(word, prefix.size), &size) && size > inspect->rule->size_limit)
            return true;
    }
    return false;
}

static void check_mail(const struct inspect_smtp *inspect, struct smtp_decision *decision)
{
    if (inspect->rule->require_auth && !inspect->authenticated)
        refuse(decision, "530 5.7.0 Authentication required\r\n");
    else if (is_too_big(inspect, decision->argument))
        answer(decision, "552 5.3.4 Message size exceeds the limit\r\n");
}

/* RFC 3030 section 2: chunk-size [SP "LAST"]. Its octets follow whatever is answered, so a BDAT
 * that does not pass ends the session. */
static void check_bdat(const struct inspect_smtp *inspect, struct smtp_decision *decision)
{
    struct span rest = decision->argument, size = span_take_word(&rest);

    if (!inspect->chunking) {
        end(decision, "502 5.5.1 BDAT is not offered\r\n",
            "the client sent BDAT that was not offered");
        return;
    }
    if (rest.size > 0 && span_equal_nocase(span_trim(rest), SPAN_LIT("LAST")))
        decision->reply = SMTP_REPLY_FINAL_CHUNK;
    else if (rest.size > 0)
        size.size = 0;
    if (!span_parse_u64(size, &decision->octets) || decision->octets > UINT64_C(1) << 63)
        end(decision, "501 5.5.4 BDAT needs a number of octets\r\n", "the client sent a bad BDAT");
}

static void check_not_yours(const struct inspect_smtp *inspect, struct smtp_decision *decision)
{
    (void)inspect;
    refuse(decision, "550 5.7.0 Not allowed\r\n");
}

/* A browser that was led to a mail port (ALPACA): what follows is no mail. */
static void check_http(const struct inspect_smtp *inspect, struct smtp_decision *decision)
{
    (void)inspect;
    end(decision, NULL, "the client spoke HTTP");
}

/* clang-format off */
static const struct verb verbs[] = {
    /* name       answered as       sync   before TLS  longest line        check */
    { "MAIL",     SMTP_REPLY_MAIL,  false, false,      SMTP_PATH_LINE_MAX, check_mail },
    { "RCPT",     SMTP_REPLY_OTHER, false, false,      SMTP_PATH_LINE_MAX, NULL },
    { "DATA",     SMTP_REPLY_DATA,  true,  false,      SMTP_LINE_MAX,      NULL },
    { "BDAT",     SMTP_REPLY_CHUNK, false, false,      SMTP_LINE_MAX,      check_bdat },
    { "RSET",     SMTP_REPLY_RSET,  false, false,      SMTP_LINE_MAX,      NULL },
    { "QUIT",     SMTP_REPLY_QUIT,  true,  true,       SMTP_LINE_MAX,      NULL },
    { "NOOP",     SMTP_REPLY_OTHER, false, true,       SMTP_LINE_MAX,      NULL },
    { "EHLO",     SMTP_REPLY_EHLO,  true,  true,       SMTP_LINE_MAX,      check_hello },
    { "HELO",     SMTP_REPLY_HELO,  true,  true,       SMTP_LINE_MAX,      check_hello },
    { "AUTH",     SMTP_REPLY_AUTH,  true,  false,      AUTH_LINE_MAX,      check_auth },
    { "STARTTLS", SMTP_REPLY_OTHER, true,  true,       SMTP_LINE_MAX,      check_starttls },
    { "HELP",     SMTP_REPLY_OTHER, false, true,       SMTP_LINE_MAX,      NULL },
    { "VRFY",     SMTP_REPLY_OTHER, false, false,      SMTP_LINE_MAX,      NULL },
    { "EXPN",     SMTP_REPLY_OTHER, false, false,      SMTP_LINE_MAX,      NULL },
    { "ETRN",     SMTP_REPLY_OTHER, false, false,      SMTP_LINE_MAX,      NULL },
    { "XCLIENT",  SMTP_REPLY_OTHER, true,  false,      SMTP_LINE_MAX,      check_not_yours },
    { "XFORWARD", SMTP_REPLY_OTHER, true,  false,      SMTP_LINE_MAX,      check_not_yours },
    { "GET",      SMTP_REPLY_OTHER, true,  true,       UINT16_MAX,         check_http },
    { "POST",     SMTP_REPLY_OTHER, true,  true,       UINT16_MAX,         check_http },
    { "PUT",      SMTP_REPLY_OTHER, true,  true,       UINT16_MAX,         check_http },
    { "HEAD",     SMTP_REPLY_OTHER, true,  true,       UINT16_MAX,         check_http },
    { "OPTIONS",  SMTP_REPLY_OTHER, true,  true,       UINT16_MAX,         check_http },
    { "CONNECT",  SMTP_REPLY_OTHER, true,  true,       UINT16_MAX,         check_http },
};
/* clang-format on */

static const struct verb *find_verb(struct span name)
{
    for (size_t i = 0; i < sizeof(verbs) / sizeof(verbs[0]); i++)
        if (span_equal_nocase(name, span_of_text(verbs[i].name)))
            return &verbs[i];
    return NULL;
}

static bool starts_blank(struct span line)
{
    return line.size == 0 || line.data[0] == ' ' || line.data[0] == '\t';
}

/* What holds for every command; NULL where the line may pass that. */
static const char *fault_of(const struct inspect_smtp *inspect, const struct verb *verb,
                            struct span line)
{
    bool wants_tls = inspect->rule->require_tls == REQUIRE_TLS_YES && !inspect->tls;

    if (starts_blank(line)) /* a server may read a command where we see none */
        return "500 5.5.2 Syntax error\r\n";
    if (wants_tls && !(verb && verb->before_tls))
        return "530 5.7.0 Must issue a STARTTLS command first\r\n";
    if (line.size + 2 > (verb ? verb->line_max : SMTP_LINE_MAX))
        return "500 5.5.2 Line too long\r\n";
    if (!verb) /* what it answers, and what comes behind it, is unknown */
        return "500 5.5.1 Unknown command\r\n";
    return NULL;
}

struct smtp_decision smtp_judge(const struct inspect_smtp *inspect, struct span line)
{
    struct span rest = line, name = span_take_word(&rest);
    const struct verb *verb = find_verb(name);
    const char *fault = fault_of(inspect, verb, line);
    struct smtp_decision decision = {
        .verdict = INSPECT_FORWARD,
        .argument = span_trim(rest),
        .reply = verb ? verb->reply : SMTP_REPLY_OTHER,
        .sync = verb && verb->sync,
    };

    if (fault)
        refuse(&decision, fault);
    else if (verb->check)
        verb->check(inspect, &decision);
    if (verb && verb->reply == SMTP_REPLY_CHUNK && decision.verdict == INSPECT_ANSWER)
        end(&decision, decision.words, "the client sent BDAT that was refused");
    return decision;
}

struct smtp_decision smtp_judge_bad_line(int line_result)
{
    struct smtp_decision decision = { .verdict = INSPECT_ANSWER, .counted = true };

    decision.words = line_result == LINE_TOO_LONG
                         ? "500 5.5.2 Line too long\r\n"
                         : "500 5.5.2 A line must end in CRLF and hold no other CR, LF or NUL\r\n";
    return decision;
}

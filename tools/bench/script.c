/* Writes the script of a session for what the command line asks: greeting, TLS, login, then the
 * mode's own steps. */
#include "tools/bench/script.h"

#include <assert.h>

static unsigned add(struct script *script, struct step step)
{
    assert(script->count < SCRIPT_STEPS);
    script->steps[script->count] = step;
    return script->count++;
}

static unsigned add_kind(struct script *script, enum step_kind kind)
{
    return add(script, (struct step){ .kind = kind });
}

/* A command that is sent as it stands, and its reply. */
static void ask(struct script *script, const char *text)
{
    add(script, (struct step){ .kind = STEP_SEND, .text = text });
    add_kind(script, STEP_REPLY);
}

/* A command of this session alone, and its reply. */
static void ask_own(struct script *script, enum step_kind kind)
{
    add_kind(script, kind);
    add_kind(script, STEP_REPLY);
}

static void begin_session(struct script *script, const struct load_options *options)
{
    bool smtp = options->protocol == LOAD_SMTP;

    if (options->tls == LOAD_TLS_FIRST)
        add_kind(script, STEP_TLS);
    add_kind(script, STEP_REPLY);
    if (options->tls != LOAD_TLS_STARTTLS)
        return;
    if (smtp)
        ask(script, "EHLO bench.example\r\n");
    ask(script, smtp ? "STARTTLS\r\n" : "STLS\r\n");
    add_kind(script, STEP_TLS);
}

static void log_in(struct script *script, const struct load_options *options)
{
    if (options->protocol == LOAD_SMTP) {
        ask(script, "EHLO bench.example\r\n");
        if (options->login)
            ask(script, "AUTH PLAIN AGJlbmNoQGV4YW1wbGUAc2VjcmV0\r\n"); /* bench@example, secret */
    } else if (options->login || options->mode != LOAD_SESSION) {
        ask(script, "USER bench@example\r\n");
        ask(script, "PASS secret\r\n");
    }
}

static void send_message(struct script *script, bool chunked)
{
    ask_own(script, STEP_SEND_MAIL);
    ask(script, "RCPT TO:<b@sink.example>\r\n");
    if (chunked)
        add_kind(script, STEP_SEND_BDAT);
    else
        ask(script, "DATA\r\n");
    add_kind(script, STEP_SEND_BODY);
    if (!chunked)
        add(script, (struct step){ .kind = STEP_SEND, .text = ".\r\n" });
    add_kind(script, STEP_REPLY);
}

static void fetch_message(struct script *script)
{
    ask_own(script, STEP_SEND_RETR);
    add_kind(script, STEP_MESSAGE);
}

static void move_message(struct script *script, const struct load_options *options)
{
    if (options->protocol == LOAD_SMTP)
        send_message(script, false);
    else
        fetch_message(script);
}

static void end_session(struct script *script, const struct load_options *options)
{
    if (options->login && options->protocol == LOAD_POP3)
        ask(script, "STAT\r\n");
    ask(script, "QUIT\r\n");
    add_kind(script, STEP_DONE);
    add_kind(script, STEP_AWAIT_END);
    add_kind(script, STEP_AGAIN);
}

/* One operation again and again. */
static void repeat(struct script *script, const struct load_options *options)
{
    unsigned start = add_kind(script, STEP_BEGIN);

    if (options->mode == LOAD_PING)
        ask(script, "NOOP\r\n");
    else if (options->mode == LOAD_RETR)
        fetch_message(script);
    else
        send_message(script, options->mode == LOAD_BDAT);
    add_kind(script, STEP_DONE);
    if (options->pause_ms > 0)
        add_kind(script, STEP_PAUSE);
    add(script, (struct step){ .kind = STEP_JUMP, .target = start });
}

static void stay(struct script *script, const struct load_options *options)
{
    if (options->mode == LOAD_BURST)
        add_kind(script, STEP_DONE);
    else if (options->stage == LOAD_USED)
        move_message(script, options);
    else if (options->stage == LOAD_STALLED) {
        add_kind(script, STEP_SEND_RETR);
        add_kind(script, STEP_STALL);
    }
    add_kind(script, STEP_HOLD);
}

void script_write(struct script *script, const struct load_options *options)
{
    bool idle = options->mode == LOAD_IDLE;

    script->count = 0;
    begin_session(script, options);
    if (options->mode != LOAD_BURST && !(idle && options->stage == LOAD_GREETED))
        log_in(script, options);
    if (options->mode == LOAD_SESSION)
        end_session(script, options);
    else if (idle || options->mode == LOAD_BURST)
        stay(script, options);
    else
        repeat(script, options);
}

/* AUTH PLAIN (RFC 4616) and LOGIN (the de facto draft-murchison-sasl-login), by the dialogue of RFC
 * 4954.
 *
 * Happy path: AUTH with or without an initial response, the missing answers asked for with 334, the
 * host checks, 235. Refused: out of order (503), without TLS where that is asked for (538), another
 * mechanism (504), what cannot be decoded or
 * "*" (501), a wrong password (535; after FAILED_LOGINS_MAX of them 421), a user file that cannot
 * be read (454). Decoded passwords stand on the stack only, and are wiped. */
#include <errno.h>

#include "backends/smtp_commands.h"
#include "proxy/base/sasl_plain.h"

#define FAILED_LOGINS_MAX                                                                          \
    5 /* in one session (guessed: RFC 4954 leaves it open; enough for a mistyped password) */
#define DECODED_MAX 9216 /* bytes: three quarters of the longest line */

static int refuse_login(struct smtp_session *session)
{
    int r = smtp_reply(session, "535 5.7.8 Wrong user name or password");

    if (++session->failed_logins < FAILED_LOGINS_MAX || r < 0)
        return r;
    session->phase = SMTP_PHASE_CLOSED;
    return smtp_reply(session, "421 4.7.0 %s Too many failed logins, closing",
                      session->facts->hostname);
}

static int check_login(struct smtp_session *session, struct span name, struct span password)
{
    char user[SMTP_USER_MAX + 1];
    int r = session->host->login(session->context, name, password, user);

    if (r == SMTP_LOGIN_WRONG)
        return refuse_login(session);
    if (r != SMTP_LOGIN_OK)
        return smtp_reply(session, "454 4.7.0 Cannot check passwords now, try later");
    memcpy(session->user, user, sizeof(user));
    return smtp_reply(session, "235 2.7.0 Logged in");
}

/* Acting for somebody else is allowed to nobody. */
static int take_plain_message(struct smtp_session *session, struct span message)
{
    struct sasl_plain plain;

    if (!sasl_plain_parse(message, &plain))
        return smtp_reply_error(session, "501 5.5.2 Malformed PLAIN message");
    if (sasl_plain_for_another(&plain))
        return refuse_login(session);
    return check_login(session, plain.authcid, plain.password);
}

static int take_login_name(struct smtp_session *session, struct span name)
{
    session->login_name_bad = name.size > SMTP_USER_MAX;
    session->login_name_size = session->login_name_bad ? 0 : name.size;
    memcpy(session->login_name, name.data, session->login_name_size);
    session->phase = SMTP_PHASE_AUTH_PASSWORD;
    return smtp_reply(session, "334 UGFzc3dvcmQ6"); /* "Password:" */
}

static int take_login_password(struct smtp_session *session, struct span password)
{
    struct span name = span_of(session->login_name, session->login_name_size);

    if (session->login_name_bad)
        return refuse_login(session);
    return check_login(session, name, password);
}

/* Decodes one answer and hands it to the step that `phase` stands at. */
static int take_response(struct smtp_session *session, struct span encoded)
{
    enum smtp_phase step = session->phase;
    unsigned char decoded[DECODED_MAX];
    struct span response;
    long size;
    int r;

    session->phase = SMTP_PHASE_COMMAND;
    size = base64_decode(encoded, decoded, sizeof(decoded));
    if (size < 0) {
        r = smtp_reply_error(session, "501 5.5.2 That is no base64");
        goto wipe;
    }
    response = span_of(decoded, (size_t)size);
    if (step == SMTP_PHASE_AUTH_PLAIN)
        r = take_plain_message(session, response);
    else if (step == SMTP_PHASE_AUTH_NAME)
        r = take_login_name(session, response);
    else
        r = take_login_password(session, response);
wipe:
    explicit_bzero(decoded, sizeof(decoded));
    return r;
}

int smtp_take_auth_line(struct smtp_session *session, struct span line)
{
    if (span_equal(line, SPAN_LIT("*"))) {
        session->phase = SMTP_PHASE_COMMAND;
        return smtp_reply_error(session, "501 5.7.0 Authentication cancelled");
    }
    return take_response(session, line);
}

int smtp_command_auth(struct smtp_session *session, struct span argument)
{
    struct span mechanism = span_take_word(&argument);
    bool plain = span_equal_nocase(mechanism, SPAN_LIT("PLAIN"));

    if (session->user[0] != '\0')
        return smtp_reply_error(session, "503 5.5.1 Already logged in");
    if (session->in_transaction)
        return smtp_reply_error(session, "503 5.5.1 Not inside a transaction");
    if (!smtp_auth_offered(session))
        return smtp_reply_error(session, "538 5.7.11 Turn on TLS before you log in");
    if (mechanism.size == 0)
        return smtp_reply_error(session, "501 5.5.4 AUTH needs a mechanism");
    if (!plain && !span_equal_nocase(mechanism, SPAN_LIT("LOGIN")))
        return smtp_reply_error(session, "504 5.5.4 Only PLAIN and LOGIN are known");
    session->phase = plain ? SMTP_PHASE_AUTH_PLAIN : SMTP_PHASE_AUTH_NAME;
    if (argument.size == 0)
        return smtp_reply(session, "%s", plain ? "334 " : "334 VXNlcm5hbWU6"); /* "Username:" */
    if (span_equal(argument, SPAN_LIT("="))) /* an empty initial response */
        argument = span_of(argument.data, 0);
    return take_response(session, argument);
}

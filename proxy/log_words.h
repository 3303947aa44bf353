/* The lines of the log that people search and programs read: one for each session, and one for each
 * login that failed. Their form is documented in gatepost(8), LOG LINES; programs rely on it.
 *
 * PURE. What a peer said is escaped by text_put_word(): it cannot end a value, begin a field or a
 * line, or look like an address. */
#ifndef GATEPOST_PROXY_LOG_WORDS_H
#define GATEPOST_PROXY_LOG_WORDS_H

#include "proxy/base/text.h"

/* What both lines tell about a session. */
struct log_session {
    const char *id;
    const char *client; /* "192.0.2.7:51425", "[2001:db8::7]:51425" */
    const char *listen; /* name of the port's section */
    unsigned port;
};

/* How a session went. Texts are "" where there is nothing to tell. */
struct log_end {
    struct log_session session;
    const char *how; /* "plain", "STARTTLS", "STLS", "TLS first" */
    const char *tls_version, *cipher, *sni;
    bool resumed;
    struct span user; /* who logged in */
    unsigned logins_failed;
    const char *backend, *server; /* its section, and the address that served, or was tried last */
    const char *through;          /* the balancer that passed the client on */
    uint64_t in, out, ms;
    const char *result, *cause; /* in words; the cause may hold a peer's bytes, escaped already */
};

/* Appends "session ID: client ..., port ..., HOW, key=value ... : RESULT" to `line`, and the fields
 * for a log that keeps some (proxy/base/log.h) to `fields`. */
void log_put_end(const struct log_end *end, struct text *line, struct text *fields);

/* Why a login failed. */
enum log_login {
    LOG_LOGIN_WRONG,    /* the server did not accept it */
    LOG_LOGIN_IN_CLEAR, /* it was refused unread: without TLS none is taken */
};

/* One login that failed. */
struct log_failure {
    struct log_session session;
    enum log_login why;
    bool pop3;           /* else SMTP */
    struct span user;    /* who it claimed to be; empty: not known */
    const char *method;  /* "PLAIN"; "": not known */
    const char *address; /* our own, that the client came to: "198.51.100.1:995"; "": not known */
    bool tls;
    uint64_t ms; /* since the session began */
};

/* The line is one that Dovecot writes, so that what watches Dovecot's log (fail2ban) reads ours: it
 * is to be logged under the name LOG_FAILURE_NAME. */
#define LOG_FAILURE_NAME "dovecot"
void log_put_failure(const struct log_failure *failure, struct text *line, struct text *fields);

#endif

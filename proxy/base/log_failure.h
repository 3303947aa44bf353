/* A login that failed, as a line of the log. Its form is documented in gatepost(8), LOG LINES;
 * programs rely on it. And what this line has in common with others about sessions.
 *
 * PURE. What a peer said is escaped by text_put_word(): it cannot end a value, begin a field or a
 * line, or look like an address. */
#ifndef GATEPOST_BASE_LOG_FAILURE_H
#define GATEPOST_BASE_LOG_FAILURE_H

#include "proxy/base/text.h"

/* What each line tells about a session. */
struct log_session {
    const char *id;
    const char *client; /* "192.0.2.7:51425", "[2001:db8::7]:51425" */
    const char *listen; /* name of the port's section; "": not known */
    unsigned port;
};

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

/* --- fields (proxy/base/log.h), for writers of lines --- */

#define LOG_WORD_MAX 255 /* octets of a value that are shown: a user's name, a server's */

/* "GATEPOST_KEY=value\n"; nothing where there is no value. */
void log_put_field(struct text *fields, const char *key, struct span value);
void log_put_text_field(struct text *fields, const char *key, const char *text); /* of our own */
void log_put_number_field(struct text *fields, const char *key, uint64_t number);
void log_put_session_fields(struct text *fields, const struct log_session *session);

#endif

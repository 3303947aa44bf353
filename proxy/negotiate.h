/* The dialogue with a client before a backend is needed: greeting, EHLO, CAPA, NOOP, USER, QUIT,
 * STARTTLS, STLS.
 *
 * PURE. Tables of the dialect (dialect_smtp.c, dialect_pop3.c) say what each command does in clear
 * and under TLS. The session cuts lines (proxy/base/line.h) and gives each to negotiate_line(); the
 * verdict says what to do. */
#ifndef GATEPOST_PROXY_NEGOTIATE_H
#define GATEPOST_PROXY_NEGOTIATE_H

#include "proxy/base/line.h"
#include "proxy/capabilities.h"
#include "proxy/login.h"

struct negotiate {
    const struct dialogue_rule *rule; /* borrowed */
    bool tls;                         /* the client speaks TLS */
    bool told_plain; /* a plain client on a TLS-first port: served only what leads to TLS, the rest
                        is told what to set */
    uint8_t errors;  /* bad commands so far; kept over STARTTLS */
    bool refused_in_clear; /* a command was refused for want of TLS ... */
    bool login_in_clear;   /* ... and it was a login */
    /* The server's capabilities in clear and under TLS; NULL: not learned yet. Borrowed from the
     * session. */
    const struct capabilities *learned;
    /* The latest EHLO or HELO line, or USER line, as the client sent it, without its line end; to
     * be replayed to the backend. On the heap; NULL before there is one. */
    unsigned char *hello;
    size_t hello_size;
    bool extended; /* the hello was EHLO */
    /* A login that is being read, or that is to be replayed (login_ready()); NULL: none. */
    struct login *login;
    bool offered; /* `learned` was shown to the client (EHLO or CAPA): it must be kept */
};

enum negotiate_verdict {
    NEGOTIATE_ANSWER = 1, /* send what was written to the reply; go on */
    NEGOTIATE_TLS, /* send the reply, flush it, then start the handshake; first check that no octet
                      waits behind the line */
    NEGOTIATE_LEARN, /* the answer needs the server's capabilities: learn them, set `learned`, give
                        the same line again */
    NEGOTIATE_FORWARD, /* only a backend can answer this line: connect, replay the hello, then
                          forward the line; where `login` is set, all of the login instead. The same
                          line given again has the same verdict then */
    NEGOTIATE_CLOSE,   /* send the reply (may be empty), then close: QUIT, too many errors, another
                          protocol (HTTP verbs) */
};

void negotiate_init(struct negotiate *negotiate, const struct dialogue_rule *rule, bool tls);
void negotiate_deinit(struct negotiate *negotiate);

/* After the handshake: all that was learned in the clear is forgotten, but for the errors counted.
 * RFC 3207 section 4.2, RFC 2595 section 4. Asserts nothing is held. */
void negotiate_tls_done(struct negotiate *negotiate);

/* The greeting of our own ("220 host ESMTP ...", "+OK host ..."); on a TLS-first port to a client
 * that is plain, words that say so. */
void negotiate_greeting(const struct negotiate *negotiate, struct text *reply);

/* Judges one command line, without its line end. Returns a verdict, or -ENOMEM. The line is
 * borrowed for the call. */
int negotiate_line(struct negotiate *negotiate, struct span line, struct text *reply);

/* The same for a line that line_next() could not give: LINE_TOO_LONG or LINE_SPOILED. */
int negotiate_bad_line(struct negotiate *negotiate, int line_result, struct text *reply);

/* Longest line that may come now, for the line's `limit`: covers AUTH; shorter limits are judged by
 * negotiate_line(). */
uint32_t negotiate_line_limit(const struct negotiate *negotiate);

/* Who logs in: by the login that was read, or the name that USER said. Empty: unknown. Borrowed. */
struct span negotiate_user(const struct negotiate *negotiate);

/* Wipes the login; the dialogue goes on without it. */
void negotiate_forget_login(struct negotiate *negotiate);

/* Replies that the session needs outside a line; each is one whole reply with CRLF, in the words of
 * the protocol. */
enum negotiate_event {
    NEGOTIATE_SURPLUS,        /* octets behind STARTTLS or STLS: 5xx / -ERR, then close (rule 3) */
    NEGOTIATE_TLS_TEMPORARY,  /* TLS cannot be started now: 454 4.7.0 / -ERR [SYS/TEMP] */
    NEGOTIATE_NO_BACKEND,     /* the server does not answer: 421 4.4.1 / -ERR [SYS/TEMP] */
    NEGOTIATE_SERVER_CHANGED, /* 421 4.3.2 Server changed, please connect again / -ERR [SYS/TEMP] */
    NEGOTIATE_OPEN_RELAY,     /* 554 5.7.1 This gate is not open: its server relays for anybody */
    NEGOTIATE_NO_ROUTE,       /* which server this user is at cannot be told: 454 4.7.0 / -ERR
                                 [SYS/TEMP]; the session goes on */
    NEGOTIATE_TOO_MANY_LOGINS, /* that failed: 421 4.7.0 / -ERR */
    NEGOTIATE_SHUTDOWN,        /* 421 4.3.2 / -ERR [SYS/TEMP] */
    NEGOTIATE_KICKED,          /* the operator ended it: 421 4.3.2 / -ERR [SYS/TEMP] */
    NEGOTIATE_TOO_MANY,        /* too many sessions: 421 4.3.2 / -ERR [SYS/TEMP] */
    NEGOTIATE_TIMEOUT,      /* 421 4.4.2; POP3: nothing, the session closes without words (RFC 1939
                               section 3) */
    NEGOTIATE_EARLY_TALKER, /* 554 5.5.1 / -ERR */
    NEGOTIATE_BACKEND_LOST, /* it closed while it owed a reply: 421 4.4.2 / -ERR [SYS/TEMP] */
    NEGOTIATE_BACKEND_GARBAGE, /* 421 4.4.2 / -ERR [SYS/TEMP] */
};
void negotiate_event(const struct dialogue_rule *rule, enum negotiate_event event,
                     struct text *reply);

#endif

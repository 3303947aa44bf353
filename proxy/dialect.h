/* What a protocol's dialogue consists of before a backend is needed: a const table of its commands,
 * and its words.
 *
 * Shared by negotiate.c, which judges what holds for every command, and dialect_smtp.c and
 * dialect_pop3.c, which hold the tables and the actions. Not for others. */
#ifndef GATEPOST_PROXY_DIALECT_H
#define GATEPOST_PROXY_DIALECT_H

#include "proxy/negotiate.h"

/* One command line under judgement. */
struct dialect_call {
    struct span line;     /* without its line end */
    struct span argument; /* behind the verb, without spaces at its ends */
};

/* Answers one command. Returns an enum negotiate_verdict, or -ENOMEM. */
typedef int dialect_action(struct negotiate *negotiate, const struct dialect_call *call,
                           struct text *reply);

enum dialect_argument { ARGUMENT_ANY, ARGUMENT_NONE, ARGUMENT_NEEDED };

enum dialect_flag {
    DIALECT_BEFORE_TLS = 1 << 0, /* works without TLS where the rule requires TLS for everything */
    DIALECT_TO_TLS = 1 << 1,     /* works for a plain client on a TLS-first port: it leads to TLS */
    DIALECT_LOGIN =
        1 << 2, /* shows a password: refused without TLS where the rule requires TLS to log in */
    DIALECT_AFTER_HELLO = 1 << 3, /* SMTP: needs EHLO or HELO first */
    DIALECT_OCTETS =
        1 << 4, /* the octets that the argument announces follow at once, wanted or not (BDAT) */
};

struct dialect_command {
    const char *verb;
    dialect_action *in_clear;
    dialect_action *under_tls;
    uint8_t argument;  /* enum dialect_argument */
    uint8_t flags;     /* enum dialect_flag */
    uint16_t line_max; /* octets of the longest line, with its line end */
};

/* Replies that hold for every command; each one line without its line end. */
struct dialect_words {
    const char *unknown;
    const char *syntax; /* the line holds what no command holds */
    const char *too_long;
    const char *spoiled; /* bare LF, bare CR or NUL */
    const char *argument_needed;
    const char *argument_surplus;
    const char *hello_first;
    const char *too_many_errors;
};

struct dialect {
    const struct dialect_command *commands; /* ends with a row without a verb */
    const struct dialect_words *words;
    uint16_t line_max;      /* of an unknown command */
    uint16_t line_max_any;  /* of the longest command */
    const char *tls_verb;   /* "STARTTLS" or "STLS" */
    const char *told_plain; /* start of the reply that tells a plain client what to set */
    /* Refuses a command for want of TLS. */
    int (*refuse_clear)(struct negotiate *negotiate, const struct dialect_command *command,
                        struct text *reply);
};

extern const struct dialect dialect_smtp;
extern const struct dialect dialect_pop3;

/* Writes `line` and CRLF, and counts a bad command; behind the last that is borne, the last word is
 * added. Returns NEGOTIATE_ANSWER or NEGOTIATE_CLOSE. */
int dialect_refuse(struct negotiate *negotiate, const char *line, struct text *reply);

/* The same for a line that has been written already, without its CRLF. */
int dialect_refuse_written(struct negotiate *negotiate, struct text *reply);

/* Can this mechanism work here? Where the proxy reads logins, only one that can be read. */
bool dialect_mechanism_passes(const struct negotiate *negotiate, struct span mechanism);

/* An AUTH command that was found good: forwarded, or the beginning of a login that the proxy reads.
 */
int dialect_login(struct negotiate *negotiate, struct span line, struct text *reply);

/* Writes `line` and CRLF; returns NEGOTIATE_ANSWER. */
int dialect_answer(const char *line, struct text *reply);

/* Keeps the line to be replayed to the backend, in place of an earlier one. 0 or -ENOMEM. */
int dialect_keep_hello(struct negotiate *negotiate, struct span line);

#endif

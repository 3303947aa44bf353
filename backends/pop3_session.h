/* One POP3 session: RFC 1939 with TOP and UIDL, CAPA (RFC 2449), AUTH PLAIN (RFC 5034), response
 * codes (RFC 3206).
 *
 * PURE: octets in, replies out. Passwords, the maildrop and the way to the client belong to the
 * caller, who is asked through struct pop3_caller. Lines end in CRLF or LF. STLS is not here: the
 * proxy has done it. */
#ifndef GATEPOST_BACKENDS_POP3_SESSION_H
#define GATEPOST_BACKENDS_POP3_SESSION_H

#include "backends/maildir.h"
#include "proxy/base/line.h"

#define POP3_LINE_MAX 255 /* octets of a command with its CRLF (RFC 2449 section 4) */
#define POP3_AUTH_LINE_MAX                                                                         \
    12288 /* of the line that answers AUTH (RFC 5034 section 4 refers to RFC 4954) */

enum pop3_login {
    POP3_LOGIN_DONE = 1, /* the messages are there */
    POP3_LOGIN_WRONG,
    POP3_LOGIN_IN_USE,
    POP3_LOGIN_TEMPORARY, /* the store cannot be read now */
    POP3_LOGIN_PERMANENT, /* somebody must mend the store */
};

/* What a session asks its caller. Each gets `context`. */
struct pop3_caller {
    /* Checks the password and opens the maildrop. enum pop3_login. The messages stay the caller's;
     * the session sets and clears `deleted`. */
    int (*login)(void *context, struct span name, struct span password,
                 struct maildrop_message **ret_messages, size_t *ret_count);

    /* Opens message `index`: 0 or -errno (-ENOENT: it is gone). When 0, send_text() follows: the
     * message's text, or, where `limited`, its header and `lines` lines, dot-stuffed, without the
     * dot at the end. 0, or -errno, which ends the session: nothing can be said any more. */
    int (*open_text)(void *context, size_t index);
    int (*send_text)(void *context, bool limited, uint64_t lines);

    /* UPDATE: removes what is marked deleted. 0 or -errno. */
    int (*update)(void *context);

    /* Appends to the output. 0 or -errno, which ends the session. */
    int (*write)(void *context, struct span octets);
};

enum pop3_state { POP3_AUTHORIZATION, POP3_AUTH_ANSWER, POP3_TRANSACTION, POP3_STATE_COUNT };

struct pop3_session {
    const struct pop3_caller *caller;
    void *context;
    uint32_t max_errors;
    bool passwords; /* false: this client speaks no TLS and may not log in */
    enum pop3_state state;
    uint32_t errors;
    struct line line;
    unsigned char name[POP3_LINE_MAX]; /* of USER */
    size_t name_size;                  /* 0: no USER yet */
    struct maildrop_message *messages;
    size_t count;
    size_t retrieved; /* messages that RETR has sent, for the log */
};

/* Sets up and writes the greeting: 0 or -errno. */
int pop3_session_init(struct pop3_session *session, const struct pop3_caller *caller, void *context,
                      const char *hostname, bool passwords, uint32_t max_errors);

/* Forgets and wipes an unfinished line. */
void pop3_session_deinit(struct pop3_session *session);

enum pop3_result {
    POP3_MORE = 1, /* all input is used; the replies to it are written */
    POP3_ENDED,    /* the last reply is written; send it and close */
};

/* Takes octets from the client. A pop3_result, or -errno: close. */
int pop3_session_feed(struct pop3_session *session, struct span in);

#endif

/* One SMTP session of gatepost-smtpd: octets of the client in, replies and requests to the host
 * out.
 *
 * PURE: no socket, no file, no clock. RFC 5321, 1870 (SIZE), 2034 (ENHANCEDSTATUSCODES), 2920
 * (PIPELINING), 3030 (CHUNKING), 4954 (AUTH), 6152 (8BITMIME), 6531 (SMTPUTF8). What the session
 * cannot know by itself it asks of its host, by calls that answer at once. The order of the calls
 * is the order of the commands; cutting the input into other pieces changes neither calls nor
 * replies, except how write() is cut. */
#ifndef GATEPOST_BACKENDS_SMTP_SESSION_H
#define GATEPOST_BACKENDS_SMTP_SESSION_H

#include "backends/smtp_data.h"
#include "backends/smtp_path.h"
#include "proxy/base/line.h"
#include "proxy/base/text.h"

#define SMTP_REPLY_MAX 512 /* octets of a reply line with its CRLF (RFC 5321 section 4.5.3.1.5) */
#define SMTP_HELO_MAX  255 /* bytes of the client's name that are kept */
#define SMTP_USER_MAX  254

/* What does not change during the session. Borrowed. */
struct smtp_facts {
    const char *hostname;
    const char *id;        /* of the session; a transaction's id is this, a dot and a number */
    bool tls;              /* the client speaks TLS to the proxy */
    bool auth_without_tls; /* else AUTH is neither offered nor taken without TLS */
    bool relay;            /* a relay takes authenticated users' mail to other domains */
    uint64_t limit_bytes;  /* of a message */
    uint32_t max_recipients;
    uint32_t max_errors; /* bad commands before the session is closed */
};

/* From MAIL to its end. */
struct smtp_transaction {
    char id[96];
    char from[SMTP_ADDRESS_MAX + 1]; /* empty: <> */
    char **recipients;               /* as the client wrote them; "postmaster" may lack a domain */
    size_t recipient_count;
    uint64_t declared_bytes; /* SIZE= of MAIL; 0: not said */
    uint64_t bytes;          /* of the message so far, with CRLF line ends, without Received */
    bool eight_bit;          /* BODY=8BITMIME */
    bool utf8;               /* SMTPUTF8 */
    bool relayed;            /* else local; the first recipient decides */
    uint32_t refused_count;  /* recipients that were refused */
};

enum smtp_login { SMTP_LOGIN_OK = 1, SMTP_LOGIN_WRONG };
enum smtp_recipient { SMTP_RECIPIENT_LOCAL = 1, SMTP_RECIPIENT_UNKNOWN, SMTP_RECIPIENT_ELSEWHERE };
enum smtp_taken {
    SMTP_TAKEN = 1, /* in commit(): it is durable, or the relay has said 250 */
    SMTP_REFUSED,   /* *reply holds a whole reply line without CRLF: "550 5.1.1 No such user" */
};

/* What the session asks of its host. Each may also return -errno: it becomes a temporary refusal,
 * except from send(), where it ends the session. `context` is the session's. */
struct smtp_host {
    /* Appends a whole reply, CRLF included, to the output. 0 or -errno. */
    int (*send)(void *context, struct span reply);
    /* enum smtp_login; OK: ret_user[SMTP_USER_MAX + 1] is written. */
    int (*login)(void *context, struct span name, struct span password, char *ret_user);
    /* enum smtp_recipient: whose is "local@domain" (or "postmaster")? */
    int (*recipient)(void *context, const char *address);
    /* enum smtp_taken: the relay is asked for one recipient; the first time also for the sender. */
    int (*relay)(void *context, const struct smtp_transaction *mail, const char *address,
                 struct text *reply);
    /* enum smtp_taken: a message begins, for all of mail->recipients. */
    int (*begin)(void *context, const struct smtp_transaction *mail, struct text *reply);
    /* 0 or -errno. */
    int (*write)(void *context, struct span octets);
    /* enum smtp_taken. After begin() comes exactly one of commit() and abort(). */
    int (*commit)(void *context, struct text *reply);
    void (*abort)(void *context);
    /* The transaction is over, in whatever way; once for each MAIL that was answered 250. `verdict`
     * is the reply to the message or words like "no message". */
    void (*end)(void *context, const struct smtp_transaction *mail, struct span verdict);
};

enum smtp_phase {
    SMTP_PHASE_COMMAND,
    SMTP_PHASE_AUTH_PLAIN,    /* the response to an empty challenge is awaited */
    SMTP_PHASE_AUTH_NAME,     /* LOGIN */
    SMTP_PHASE_AUTH_PASSWORD, /* LOGIN */
    SMTP_PHASE_DATA,
    SMTP_PHASE_CHUNK,
    SMTP_PHASE_CLOSED,
};

struct smtp_session {
    const struct smtp_facts *facts;
    const struct smtp_host *host;
    void *context;
    struct line line;
    enum smtp_phase phase;
    char helo[SMTP_HELO_MAX + 1]; /* empty: neither EHLO nor HELO yet */
    bool esmtp;                   /* it was EHLO */
    char user[SMTP_USER_MAX + 1]; /* empty: not logged in */
    uint32_t errors, failed_logins, transactions;

    bool in_transaction; /* MAIL was accepted; `mail` holds it */
    struct smtp_transaction mail;
    bool chunking;   /* BDAT has begun the message */
    bool delivering; /* begin() without commit() or abort() yet */
    struct smtp_data data;
    uint64_t chunk_left, chunk_size;
    bool chunk_last;
    char verdict[SMTP_REPLY_MAX]; /* why the message is being discarded; empty: it is not */

    char login_name[SMTP_USER_MAX + 1]; /* LOGIN, between its two answers */
    size_t login_name_size;
    bool login_name_bad; /* longer than any user's name: only the password is still awaited */
};

/* `facts` and `host` must stay. */
void smtp_session_init(struct smtp_session *session, const struct smtp_facts *facts,
                       const struct smtp_host *host, void *context);

/* The client is gone, or the session is: what is not finished is aborted. */
void smtp_session_deinit(struct smtp_session *session);

/* Sends the greeting. 0 or -errno. */
int smtp_session_greet(struct smtp_session *session);

enum smtp_session_result {
    SMTP_SESSION_OPEN = 1, /* all input used */
    SMTP_SESSION_CLOSE, /* send what is in the output, then close; the rest of the input is void */
};

/* Takes the next octets. Returns an smtp_session_result, or -errno of send(), or -ENOMEM. */
int smtp_session_feed(struct smtp_session *session, struct span octets);

/* May a 421 be said now? Not inside a message (RFC 5321 section 3.8 speaks of commands), not behind
 * QUIT. */
bool smtp_session_between_commands(const struct smtp_session *session);

#endif

/* Reads one SASL login of a client, where the proxy has to know who logs in before it chooses a
 * server, and gives it back to be replayed there.
 *
 * PURE. SMTP AUTH (RFC 4954) and POP3 AUTH (RFC 5034) with PLAIN (RFC 4616) and LOGIN
 * (draft-murchison-sasl-login), with and without an initial response. We give the challenges and
 * keep the client's lines exactly as they came. The server judges the password; what is judged here
 * is only whether there is a name. Everything is on the heap, and wiped when it is freed. */
#ifndef GATEPOST_PROXY_LOGIN_H
#define GATEPOST_PROXY_LOGIN_H

#include "conf/settings.h"
#include "proxy/base/text.h"

#define LOGIN_USER_MAX 255 /* octets of a name */

struct login;

/* Can this mechanism be read? Not where the password is only proved (CRAM-MD5): what is asked
 * there is known to the server alone. */
bool login_reads(struct span mechanism);

struct login *login_new(enum port_protocol protocol); /* NULL: no memory */
void login_free(struct login *login);                 /* wipes it; NULL is fine */

enum login_verdict {
    LOGIN_MORE = 1,  /* send the reply, a challenge; the next line answers it */
    LOGIN_READY,     /* all is there */
    LOGIN_CANCELLED, /* the client said `*`: send the reply, free the login */
    LOGIN_BAD,       /* no base64, or no name in it: send the reply, free the login */
};

/* Takes one line of the client, without its line end: first the whole AUTH command (its mechanism
 * was checked by login_reads()), then an answer to each challenge. `reply` gets one line without
 * its line end (nothing with LOGIN_READY). Returns a verdict or -ENOMEM. */
int login_line(struct login *login, struct span line, struct text *reply);

bool login_ready(const struct login *login);

/* Who logs in: the authentication identity, whatever the authorization identity is. 1 to
 * LOGIN_USER_MAX octets without NUL, CR and LF; empty before it is known. */
struct span login_user(const struct login *login);

/* --- the replay, once it is ready --- */

/* The AUTH command, with CRLF. */
struct span login_command(const struct login *login);

/* A line of the server in reply to what was replayed. True: it is a challenge that the client has
 * answered already, and must not see; login_next() is the answer. False: it goes to the client,
 * and what is left of the login must not be sent. */
bool login_answers(struct login *login, struct span reply);

/* The answer to the challenge, with CRLF; empty where there is none. */
struct span login_next(struct login *login);

/* Has all been replayed? */
bool login_replayed(const struct login *login);

#endif

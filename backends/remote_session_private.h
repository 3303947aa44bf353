/* Private between the files of the session of Remote Mail (remote_session.h):
 *
 *   remote_session.c        lines, login, the table of requests
 *   remote_session_mail.c   what goes down: LIST, PULL, ACK, SYNC, WAIT
 *   remote_session_push.c   what comes up: HAVE, PUSH
 *
 * Those that return int return 0 to go on, REMOTE_ENDED, or -errno, where nothing else is said. */
#ifndef GATEPOST_BACKENDS_REMOTE_SESSION_PRIVATE_H
#define GATEPOST_BACKENDS_REMOTE_SESSION_PRIVATE_H

#include "backends/remote_session.h"

/* ---- remote_session.c ---- */

int remote_reply(struct remote_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* "[CODE] words". */
int remote_refuse(struct remote_session *session, const char *words);

/* A refusal after which nothing is understood. Inside a frame there is no place for it. */
int remote_refuse_and_end(struct remote_session *session, const char *words);

int remote_refuse_store(struct remote_session *session);

int remote_run_request(struct remote_session *session, struct span line);

/* ---- remote_session_mail.c ---- */

int remote_do_list(struct remote_session *session, struct span args);
int remote_do_pull(struct remote_session *session, struct span args);
int remote_do_ack(struct remote_session *session, struct span args);
int remote_do_sync(struct remote_session *session, struct span args);
int remote_do_wait(struct remote_session *session, struct span args);

/* Lists the mailbox anew. 0 or -errno: it is empty then. */
int remote_mail_refresh(struct remote_session *session);

/* "+ n messages m octets": the client knows of all of them from now on. */
int remote_mail_tell(struct remote_session *session);

/* In WAIT: is there new mail? With `over` the wait ends in any case. */
int remote_mail_look(struct remote_session *session, bool over);

/* ---- remote_session_push.c ---- */

int remote_do_have(struct remote_session *session, struct span args);
int remote_do_push(struct remote_session *session, struct span args);

/* A line behind PUSH. */
int remote_push_envelope(struct remote_session *session, struct span line);

/* Is what comes now octets, and no lines? Takes some of them off *in. */
bool remote_push_takes(const struct remote_session *session);
int remote_push_take(struct remote_session *session, struct span *in);

#endif

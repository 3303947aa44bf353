/* Between smtp_session.c, smtp_transaction.c and smtp_auth.c, the three files of one machine; for
 * nobody else.
 *
 * A command function gets what stands behind its verb. All return 0, or -errno that ends the
 * session. */
#ifndef GATEPOST_BACKENDS_SMTP_COMMANDS_H
#define GATEPOST_BACKENDS_SMTP_COMMANDS_H

#include "backends/smtp_session.h"

/* Sends one reply line; CRLF is added. */
int smtp_reply(struct smtp_session *session, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The same for a bad command: counted, and the last one that is allowed is answered 421 instead. */
int smtp_reply_error(struct smtp_session *session, const char *reply);

/* smtp_transaction.c */
int smtp_command_mail(struct smtp_session *session, struct span argument);
int smtp_command_rcpt(struct smtp_session *session, struct span argument);
int smtp_command_data(struct smtp_session *session, struct span argument);
int smtp_command_bdat(struct smtp_session *session, struct span argument);
int smtp_take_data(struct smtp_session *session, struct span *in);
int smtp_take_chunk(struct smtp_session *session, struct span *in);

/* Ends the transaction, where there is one; what was begun and not committed is aborted. */
void smtp_end_transaction(struct smtp_session *session, const char *verdict);

/* smtp_auth.c */
int smtp_command_auth(struct smtp_session *session, struct span argument);
int smtp_take_auth_line(struct smtp_session *session, struct span line);

/* Is AUTH offered and taken? (RFC 4954 section 4: not without TLS where that is asked for) */
static inline bool smtp_auth_offered(const struct smtp_session *session)
{
    return session->facts->tls || session->facts->auth_without_tls;
}

#endif

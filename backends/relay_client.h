/* An SMTP client that hands one transaction on to the relay (`relay =`: unix:/path or host:port),
 * step by step.
 *
 * Blocking, every wait with a timeout. Each step follows one of our own client's, so that a refusal
 * is passed on where it belongs, and no message is kept in between. Not pipelined, no TLS, no
 * login: the relay is a local MTA. */
#ifndef GATEPOST_BACKENDS_RELAY_CLIENT_H
#define GATEPOST_BACKENDS_RELAY_CLIENT_H

#include "backends/smtp_session.h"

struct relay_client;

/* Connects to "unix:/path", "host:port" or "[address]:port", reads the greeting, says EHLO (or
 * HELO). Returns 0 or -errno (-EPROTO: what answers takes no mail); a line in the log says why.
 * `timeout_ms` is for each wait that follows. */
int relay_client_open(const char *address, const char *hostname, int timeout_ms,
                      struct relay_client **ret_relay);

/* Each returns an enum smtp_taken, or -errno when the relay is lost. SMTP_REFUSED: `reply` is
 * filled with one reply line, code, enhanced code and the relay's words, in printable ASCII.
 * finish() sends the end of the message: SMTP_TAKEN is the relay's 250. */
int relay_client_mail(struct relay_client *relay, const struct smtp_transaction *mail,
                      struct text *reply);
int relay_client_recipient(struct relay_client *relay, const char *address, struct text *reply);
int relay_client_begin(struct relay_client *relay, struct text *reply);
int relay_client_finish(struct relay_client *relay, struct text *reply);

/* Octets of the message with CRLF line ends; dots are doubled here. 0 or -errno. */
int relay_client_write(struct relay_client *relay, struct span octets);

/* Closes; with QUIT, except inside a message, where nothing more is said. NULL is fine. */
void relay_client_close(struct relay_client *relay);

#endif

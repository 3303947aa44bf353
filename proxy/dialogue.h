/* What the rule of a port says about the dialogue with its clients: shared by negotiate and the
 * inspectors.
 *
 * Made once for each listener from the settings, immutable, borrowed by every session of that
 * listener. */
#ifndef GATEPOST_PROXY_DIALOGUE_H
#define GATEPOST_PROXY_DIALOGUE_H

#include "conf/settings.h"
#include "proxy/base/text.h"

#define DIALOGUE_REPLY_MAX                                                                         \
    20480 /* octets of the longest reply that we make: a whole EHLO list and its line ends */

/* Longest command lines, with CRLF. SMTP: RFC 5321 section 4.5.3.1.4, with room for ESMTP
 * parameters; RFC 4954 section 4. POP3: RFC 2449 section 4. */
#define SMTP_LINE_MAX      512
#define SMTP_PATH_LINE_MAX 2048 /* MAIL and RCPT */
#define POP3_LINE_MAX      255
#define AUTH_LINE_MAX      12288 /* AUTH and its continuation lines */

struct dialogue_rule {
    enum port_protocol protocol;
    const char *hostname; /* name in greetings */
    bool implicit_tls;    /* a TLS-first port */
    bool tls_available;   /* there is a certificate, and the port's rule is not `off` */
    enum require_tls require_tls;
    bool require_auth;
    bool legacy_auth_line;
    bool apop;
    bool reads_login; /* who logs in decides which server: the proxy reads the login itself */
    enum bare_newline bare_newline;
    unsigned max_errors;
    uint64_t size_limit; /* 0: the server's own */
    /* For words that tell a user what to set: numbers of ports in this configuration, 0 where there
     * is none. */
    unsigned port;          /* this one */
    unsigned implicit_port; /* the same protocol, TLS first */
    unsigned starttls_port; /* the same protocol, STARTTLS or STLS */
};

#endif

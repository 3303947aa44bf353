/* Reads what stands behind MAIL FROM: and RCPT TO: the path and its parameters (RFC 5321
 * section 4.1.2).
 *
 * PURE. Strict where a wrong guess could send mail elsewhere, lenient where only the sender's own
 * name is odd: runs of dots in a local part are let through, as real senders have them. */
#ifndef GATEPOST_BACKENDS_SMTP_PATH_H
#define GATEPOST_BACKENDS_SMTP_PATH_H

#include "proxy/base/span.h"

#define SMTP_ADDRESS_MAX                                                                           \
    254 /* a path of 256 octets (RFC 5321 section 4.5.3.1.3) less its angle brackets */

struct smtp_path {
    char address[SMTP_ADDRESS_MAX +
                 1]; /* NUL-terminated; needless quotes removed, source route removed */
    bool ascii;      /* false: needs SMTPUTF8 (RFC 6531) */
};

enum smtp_path_result {
    SMTP_PATH_OK = 1,
    SMTP_PATH_NULL,      /* <> */
    SMTP_PATH_NO_DOMAIN, /* <postmaster>: ret_path->address has no "@" */
    SMTP_PATH_SYNTAX,
};

/* Takes a path in angle brackets, and blanks before and behind it, off *rest. *rest is unchanged
 * and *ret_path is not written for SMTP_PATH_SYNTAX. */
int smtp_path_take(struct span *rest, struct smtp_path *ret_path);

struct smtp_parameter {
    struct span keyword;
    struct span value;
    bool has_value; /* there was a "=" */
};

/* Takes the next parameter off *rest. False at the end, or where `rest` goes on with what can be
 * none (then *rest is not empty). */
bool smtp_path_parameter(struct span *rest, struct smtp_parameter *ret_parameter);

/* Is it xtext (RFC 3461 section 4), as AUTH= of MAIL has it? */
bool smtp_path_is_xtext(struct span value);

/* The domain of "local@domain", or an empty text. Borrowed from `address`. */
const char *smtp_path_domain(const char *address);

#endif

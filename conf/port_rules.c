/* THE six rows, and how long a port waits to learn which kind of TLS its client speaks. Nothing
 * here can fail. */
#include "conf/port_rules.h"

#include <string.h>

/* Where the client speaks first, silence is rare, so the wait may be long and costs nobody. Where
 * the server speaks first, every silent client pays for it: 250 ms is longer than most round trips
 * and shorter than a person notices (guessed). */
#define DETECT_WAIT_STARTTLS_MS 250
#define DETECT_WAIT_IMPLICIT_MS 5000

/* Port 109 is relayed as it is, behind TLS or plain; its client speaks first, so it is of the
 * TLS-first kind. */
const struct port_rule port_rules[PORT_RULES_COUNT] = {
    { "pop3", 110, PROTOCOL_POP3, TLS_RULE_STARTTLS, "pop3" },
    { "pop3s", 995, PROTOCOL_POP3, TLS_RULE_IMPLICIT, "pop3" },
    { "remote", 109, PROTOCOL_REMOTE, TLS_RULE_IMPLICIT, "remote" },
    { "smtp", 25, PROTOCOL_SMTP, TLS_RULE_STARTTLS, "smtp" },
    { "smtp-alt", 26, PROTOCOL_SMTP, TLS_RULE_STARTTLS, "smtp" },
    { "submission", 587, PROTOCOL_SMTP, TLS_RULE_STARTTLS, "smtp" },
};

const struct port_rule *port_rules_find(const char *name)
{
    for (size_t i = 0; i < PORT_RULES_COUNT; i++)
        if (strcmp(port_rules[i].name, name) == 0)
            return &port_rules[i];
    return NULL;
}

uint32_t port_rules_detect_wait_ms(enum tls_rule tls)
{
    return tls == TLS_RULE_IMPLICIT ? DETECT_WAIT_IMPLICIT_MS : DETECT_WAIT_STARTTLS_MS;
}

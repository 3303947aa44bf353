/* The six public ports, as data. A [listen NAME] section overrides any key of a row, and a section
 * with another name is a further port: 465 or 2525 needs no code. What a row does not say is the
 * default of conf/settings.def. */
#ifndef GATEPOST_CONF_PORT_RULES_H
#define GATEPOST_CONF_PORT_RULES_H

#include <stdint.h>

#include "conf/settings.h"

#define PORT_RULES_COUNT 6

struct port_rule {
    const char *name; /* of its [listen NAME] section */
    uint16_t port;
    enum port_protocol protocol;
    enum tls_rule tls;
    const char *backend; /* of its [backend NAME] section, which always exists */
};

extern const struct port_rule port_rules[PORT_RULES_COUNT];

/* The row of that name, or NULL. */
const struct port_rule *port_rules_find(const char *name);

/* How long a port with that rule waits for a first octet unless detect_wait is set. */
uint32_t port_rules_detect_wait_ms(enum tls_rule tls);

#endif

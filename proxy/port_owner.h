/* Who listens on a TCP port: for the one line that tells an operator why it could not be bound. */
#ifndef GATEPOST_PROXY_PORT_OWNER_H
#define GATEPOST_PROXY_PORT_OWNER_H

#include "proxy/base/text.h"

/* Appends "process 123 (postfix)", or "another process" where /proc does not tell (another user's,
 * another namespace's). Slow: reads /proc. */
void port_owner_describe(unsigned port, struct text *into);

#endif

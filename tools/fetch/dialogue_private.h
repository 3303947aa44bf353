/* Between dialogue_say.c, what is said, and dialogue.c, what is answered. */
#ifndef GATEPOST_TOOLS_FETCH_DIALOGUE_PRIVATE_H
#define GATEPOST_TOOLS_FETCH_DIALOGUE_PRIVATE_H

#include "tools/fetch/dialogue.h"

/* What waits for an answer. */
enum request_kind {
    REQUEST_GREETING,
    REQUEST_AUTH,
    REQUEST_HAVE,
    REQUEST_PUSH,
    REQUEST_PULL,
    REQUEST_SYNC,
    REQUEST_WAIT,
    REQUEST_QUIT,
    REQUEST_KINDS,
};

#endif

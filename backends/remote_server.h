/* Serves one connection of Remote Mail: joins remote_session to its connection, the users and the
 * mailbox. */
#ifndef GATEPOST_BACKENDS_REMOTE_SERVER_H
#define GATEPOST_BACKENDS_REMOTE_SERVER_H

#include "backends/worker.h"

/* Returns when the session has ended. */
void remote_serve(struct worker_session *session);

#endif

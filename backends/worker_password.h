/* Password checks of all sessions of a worker together: no more at once than there are cores. */
#ifndef GATEPOST_BACKENDS_WORKER_PASSWORD_H
#define GATEPOST_BACKENDS_WORKER_PASSWORD_H

/* Makes what the session processes share; before the first of them is forked. 0 or -errno. */
int worker_password_init(void);

#endif

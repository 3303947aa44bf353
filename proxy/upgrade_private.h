/* What the files of an upgrade share: upgrade.c (the process before), upgrade_launch.c (how the
 * next one is started), upgrade_heir.c (the process that was started). */
#ifndef GATEPOST_PROXY_UPGRADE_PRIVATE_H
#define GATEPOST_PROXY_UPGRADE_PRIVATE_H

#include <stddef.h>

#include "proxy/supervisor_private.h"

#define UPGRADE_FIRST_FD    3    /* SD_LISTEN_FDS_START */
#define UPGRADE_SOCKETS_MAX 1000 /* as activation.c has it */
#define UPGRADE_CHANNEL     "GATEPOST_UPGRADE"

/* On the channel between the two; without `taken`, but for READY. */
enum upgrade_message_type { UPGRADE_READY = 1, UPGRADE_NO_EXEC, UPGRADE_GO };

struct upgrade_message {
    uint32_t type;
    int32_t number; /* of READY: sockets that were passed; of NO_EXEC: -errno */
    uint8_t taken[UPGRADE_SOCKETS_MAX];
};
#define UPGRADE_MESSAGE_HEAD offsetof(struct upgrade_message, taken)

/* The program that would be started; NULL: it is not known. */
const char *upgrade_program(void);
void upgrade_forget_program(void);

/* Starts it, with the supervisor's sockets (upgrade->passed, upgrade->embedded) and a copy of
 * `channel`. Its pid, or -errno; where it cannot be executed, it says so on the channel. */
int upgrade_launch(struct supervisor *supervisor, int channel);

/* A channel that is watched; closing takes effect at once, the memory goes in the loop. 0 or
 * -errno. */
int upgrade_open_poll(struct supervisor *supervisor, int fd, uv_poll_cb came, uv_poll_t **ret_poll);
void upgrade_close_channel(int *fd, uv_poll_t **poll);

/* The embedded worker with that number lets nobody in, and its socket's file stays: another process
 * has the same socket. Sessions that it has go on, be they of that one's proxy workers or of
 * ours. */
void upgrade_leave_embedded(struct generation *current, size_t number);

#endif

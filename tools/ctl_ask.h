/* gatepostctl's way to the supervisor: which socket, one request, one answer. */
#ifndef GATEPOST_TOOLS_CTL_ASK_H
#define GATEPOST_TOOLS_CTL_ASK_H

#include <jansson.h>

#define CTL_CONFIG "/etc/gatepost/gatepost.ini"

/* Writes the path of the control socket: `socket` where it is given, else what the settings in
 * `config` say (also where they are at fault: an operator may be in the middle of editing them), or
 * their defaults where they cannot be read. 0, or an exit code after a line. */
int ctl_socket_path(const char *socket, const char *config, char *into, size_t room);

/* Sends the request and reads the answer, an object. `patience_s` 0: waits for ever. 0 and
 * *ret_answer; or an exit code after a line: 69 nobody listens, 75 no answer in time, 76 no answer
 * that is understood, 77 no permission. */
int ctl_ask(const char *path, const json_t *request, unsigned patience_s, json_t **ret_answer);

/* Waits until somebody listens. 0, or -errno of the last try. */
int ctl_await(const char *path, unsigned patience_s);

/* One line on standard error. */
void ctl_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

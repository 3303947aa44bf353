/* The control socket: gatepostctl asks and commands, the supervisor answers.
 *
 * UNIX stream, one JSON object in a line each way, then the end. Who it is tells the kernel: root
 * and the supervisor's own user may do everything, members of `control_group` may look. The
 * supervisor never blocks on a client: at most OPERATOR_CLIENTS_MAX at once, requests of at most
 * OPERATOR_REQUEST_MAX octets, OPERATOR_PATIENCE_MS for a request to come and for each step of an
 * answer to go.
 *
 * Request: operator_request.h. Answer: { "gatepost": VERSION, "command": ..., and what
 * operator_status.h and operator_question.h write }; or { "gatepost": VERSION, "error": "request" |
 * "permission" | "busy" | "configuration" | "failed", "words": ... }. */
#ifndef GATEPOST_PROXY_OPERATOR_H
#define GATEPOST_PROXY_OPERATOR_H

#include "proxy/base/span.h"
#include "proxy/configuration.h"
#include "proxy/socket_file.h"

#define OPERATOR_CLIENTS_MAX 16
#define OPERATOR_PATIENCE_MS 5000
#define OPERATOR_WORKERS_MS  2000 /* for the workers' answers */

struct operator_desk;
struct child_process;
struct supervisor;

/* Binds the socket that the settings name. 0, with fd -1 where they name none or, after a warning,
 * where it cannot be made: mail goes on without it. -EADDRINUSE, after an error line: another
 * gatepost serves it. */
int operator_bind(const struct configuration *configuration, struct socket_file *ret_socket);

/* Serves it, where it was bound. What fails is a warning. */
void operator_open(struct supervisor *supervisor);

/* Another process serves it from now on: closes it and removes its file. Who has asked already gets
 * an answer. operator_open() may follow. */
void operator_leave(struct supervisor *supervisor);

/* The same, and clients are cut off. The memory goes in the loop. */
void operator_close(struct supervisor *supervisor);

/* A worker's CHILD_REPORTED. */
void operator_told(struct supervisor *supervisor, struct child_process *child, struct span message);

/* A child became ready or ended. */
void operator_children_changed(struct supervisor *supervisor);

/* A reload has ended, or none is made any more. */
void operator_reload_ended(struct supervisor *supervisor);

/* Another process has taken over, or an upgrade has failed (supervisor->upgrade.failure). */
void operator_upgrade_ended(struct supervisor *supervisor);

#endif

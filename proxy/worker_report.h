/* What a worker tells of itself when the operator asks: its sessions, its servers, its numbers. And
 * the sessions that the operator ends. */
#ifndef GATEPOST_PROXY_WORKER_REPORT_H
#define GATEPOST_PROXY_WORKER_REPORT_H

#include "proxy/base/span.h"

struct server;

/* CHILD_REPORT. One JSON object is written to `fd` (a file in memory; borrowed; -1: none came),
 * then CHILD_REPORTED is sent. */
void worker_report(struct server *server, struct span message, int fd);

#endif

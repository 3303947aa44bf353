/* Takes connections from the listeners while sessions are free. Where no worker has had one for
 * [limits] session_wait, all clients that wait are refused in words. */
#ifndef GATEPOST_PROXY_ACCEPT_H
#define GATEPOST_PROXY_ACCEPT_H

#include <uv.h>

#include "proxy/refusal.h"

struct listener;
struct server;

struct accept_state {
    struct refusals refusals;
    uv_timer_t timer;     /* runs while a listener is paused, a refused client is waited for, or not
                             told of in the log */
    uv_prepare_t turns;   /* counts them */
    uint64_t turn;        /* of the loop */
    uint64_t next_log_ms; /* uv_now() of the next line in the log about clients that wait */
    uint64_t refused;     /* since the last one */
};

/* Once, before the first listener. */
void accept_init(struct server *server);

/* This worker takes no clients any more: its listeners are closed. */
void accept_end(struct server *server);

/* Polls the listener for connections. 0 or -errno. */
int accept_watch(struct listener *listener);

/* A session may be free: for those who wait. */
void accept_resume(struct server *server);

#endif

/* A session of the load generator: a connection that walks the script. */
#ifndef GATEPOST_BENCH_SESSION_H
#define GATEPOST_BENCH_SESSION_H

#include "tools/bench/link.h"
#include "tools/bench/load_counts.h"
#include "tools/bench/message.h"
#include "tools/bench/reply.h"
#include "tools/bench/script.h"

enum session_state { SESSION_CLOSED, SESSION_CONNECTING, SESSION_RUNNING, SESSION_HELD };

struct session {
    struct link link;
    enum session_state state;
    unsigned number;    /* among all of the generator's */
    unsigned at;        /* step of the script */
    bool judged;        /* of a burst: it has been counted how this one fared */
    uint64_t begun_us;  /* the operation */
    uint64_t resume_us; /* end of a pause; 0: none */
    uint64_t sent;      /* octets of what the step sends */
    struct reply reply;
    struct message message; /* what this session sends and fetches */
    struct message_check check;
    char line[96]; /* the step's own command */
};

/* What the sessions of a process share. */
struct session_world {
    const struct load_options *options;
    const struct script *script;
    struct ssl_ctx_st *tls;
    struct load_counts *counts;
    int epoll; /* where sockets are added, edge-triggered, with the session as data */
    bool measuring;
};

void session_init(struct session *session, unsigned number, const struct load_options *options);

/* Connects and walks the script from its beginning. A failure is counted, and leaves it closed. */
void session_open(struct session *session, struct session_world *world);

/* Goes as far as it can, after an event. It may be closed then: SESSION_CLOSED. */
void session_run(struct session *session, struct session_world *world);

void session_close(struct session *session);

#endif

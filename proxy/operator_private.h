/* What the two files of the control socket share: operator.c (clients) and operator_command.c (what
 * they ask for). */
#ifndef GATEPOST_PROXY_OPERATOR_PRIVATE_H
#define GATEPOST_PROXY_OPERATOR_PRIVATE_H

#include <sys/queue.h>

#include "proxy/json_out.h"
#include "proxy/operator_question.h"
#include "proxy/operator_request.h"
#include "proxy/stats.h"

struct supervisor;

enum client_state {
    CLIENT_READS,
    CLIENT_ASKS,     /* the workers */
    CLIENT_RELOADS,  /* awaits the end of a reload */
    CLIENT_UPGRADES, /* awaits the end of an upgrade */
    CLIENT_WRITES,
    CLIENT_CLOSES,
};

struct client {
    TAILQ_ENTRY(client) link;
    struct operator_desk *desk;
    uv_pipe_t pipe;
    uv_timer_t timer;
    unsigned handles;
    enum client_state state;
    bool may_change;
    char room[OPERATOR_REQUEST_MAX + 1]; /* the request and its LF */
    size_t size;
    struct operator_request request;
    struct question question;
    uint32_t reload; /* number of the reload that is awaited */
    uv_write_t write;
    char *answer;
    size_t answer_size, left; /* `left`: to be written, when the timer looked last */
};

TAILQ_HEAD(clients, client);

struct operator_desk {
    struct supervisor *supervisor;
    const struct stats *stats; /* in the shared memory */
    uv_pipe_t *listening;      /* NULL: the socket is not ours any more */
    struct clients clients;
    size_t client_count;
    uint32_t questions; /* number of the last one */
    bool closing;
};

/* Does what client->request asks for, or refuses it; the answer may come later. */
void operator_act(struct client *client);

/* An answer is written into memory, then sent. False: there is none; the client is closed. */
bool operator_begin_answer(struct client *client, struct json_out *ret_json);
void operator_end_answer(struct client *client, struct json_out *json);

/* The answer of an error (operator.h). */
void operator_refuse(struct client *client, const char *error, const char *words);

#endif

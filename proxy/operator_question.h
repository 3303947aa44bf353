/* One question of the operator to all proxy workers, and their answers.
 *
 * Each worker that serves gets a file in memory of its own, and writes its answer there. Nobody is
 * waited for: whoever asked sets a limit, and names those that have not answered. A worker that
 * owes an answer for longer is not asked again until it has given one: what is queued for it stays
 * little. */
#ifndef GATEPOST_PROXY_OPERATOR_QUESTION_H
#define GATEPOST_PROXY_OPERATOR_QUESTION_H

#include "proxy/children.h"
#include "proxy/json_out.h"

enum question_state {
    QUESTION_ASKED,
    QUESTION_ANSWERED,
    QUESTION_SILENT, /* it has not answered in time, or does not take the question */
    QUESTION_STARTS, /* it does not serve yet */
    QUESTION_FAILED, /* it could not answer, or what it says is no answer */
    QUESTION_ENDED,  /* it has ended meanwhile */
};

struct question_part {
    char name[48]; /* "worker 0" */
    pid_t pid;     /* 0: it does not run */
    enum question_state state;
    bool retired;  /* it takes nobody new */
    uint64_t up_s; /* how long it runs */
    int fd;        /* -1: none */
    char *answer;  /* one JSON object; not NUL-terminated */
    size_t size;
};

struct question {
    uint32_t number;
    struct question_part *parts;
    size_t count, waiting;
};

/* Asks; `question` is the caller's. 0, or -ENOMEM: nothing is asked. Where nobody is waited for,
 * `waiting` is 0. */
int question_ask(struct question *question, struct children *children,
                 const struct child_report *about);

/* A worker's CHILD_REPORTED. True: it was the answer to this question. */
bool question_take(struct question *question, struct child_process *child, struct span message);

/* Some worker may have ended. */
void question_look(struct question *question, const struct children *children);

/* The time is over. */
void question_expire(struct question *question, struct children *children);

/* Writes "workers": [ { "name", "pid", "up_s", "state", "missing", "report" } ]; `missing` where it
 * has not told what it might. */
void question_put(const struct question *question, struct json_out *json);

void question_free(struct question *question);

#endif

/* Asking the workers.
 *
 * Happy path: a file in memory for each, CHILD_REPORT, CHILD_REPORTED, and what was written is
 * read, looked at, and kept. What a worker writes is not trusted: its length is bounded, it is
 * copied before it is looked at, and it must be one JSON object. */
#include "proxy/operator_question.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/json_check.h"

static const char *state_words(enum question_state state, bool retired)
{
    switch (state) {
    case QUESTION_ASKED:
    case QUESTION_SILENT:
        return "does not answer";
    case QUESTION_ANSWERED:
        return retired ? "ends with its sessions" : "serves";
    case QUESTION_STARTS:
        return "starts";
    case QUESTION_FAILED:
        return "could not answer";
    case QUESTION_ENDED:
        return "has ended";
    }
    return "";
}

/* What it might have told is not there. */
static bool is_missing(enum question_state state)
{
    return state == QUESTION_ASKED || state == QUESTION_SILENT || state == QUESTION_FAILED;
}

static void settle(struct question *question, struct question_part *part, enum question_state state)
{
    if (part->fd >= 0)
        close(part->fd);
    part->fd = -1;
    if (part->state == QUESTION_ASKED)
        question->waiting--;
    part->state = state;
}

static int ask_one(const struct child_process *child, struct question_part *part,
                   const struct child_report *about)
{
    int r;

    part->fd = memfd_create("gatepost-report", MFD_CLOEXEC);
    if (part->fd < 0)
        return -errno;
    r = control_send(child->control, about, sizeof(*about), part->fd);
    return r;
}

static void begin_part(struct question *question, const struct child_process *child,
                       const struct child_report *about)
{
    struct question_part *part = &question->parts[question->count++];
    int r;

    *part = (struct question_part){ .fd = -1, .state = QUESTION_STARTS, .retired = child->retired };
    snprintf(part->name, sizeof(part->name), "%s", child->plan.name);
    if (!child->control) {
        part->state = child->children->ending ? QUESTION_ENDED : QUESTION_STARTS;
        return;
    }
    part->pid = control_pid(child->control);
    part->up_s = (uv_now(child->children->loop) - child->started_ms) / 1000;
    if (!child->ready)
        return;
    part->state = QUESTION_SILENT;
    if (child->silent)
        return;
    r = ask_one(child, part, about);
    if (r == -EPIPE || r == -ECONNRESET) {
        settle(question, part, QUESTION_ENDED); /* SIGCHLD follows */
        return;
    }
    if (r < 0) {
        log_line(LOG_LEVEL_WARNING, "%s cannot be asked: %s", part->name, err_text(r));
        settle(question, part, QUESTION_SILENT);
        return;
    }
    part->state = QUESTION_ASKED;
    question->waiting++;
}

int question_ask(struct question *question, struct children *children,
                 const struct child_report *about)
{
    *question = (struct question){ .number = about->number };
    question->parts = calloc(children->count + 1, sizeof(*question->parts));
    if (!question->parts)
        return -ENOMEM;
    for (size_t i = 0; i < children->count; i++)
        if (child_is_proxy(children->items[i]))
            begin_part(question, children->items[i], about);
    return 0;
}

/* Copies what the worker has written. 0 or -errno. */
static int read_answer(struct question_part *part)
{
    struct stat status;
    ssize_t size;

    if (fstat(part->fd, &status) < 0)
        return -errno;
    if (status.st_size < 2 || status.st_size > CHILD_REPORT_BYTES_MAX)
        return -EPROTO;
    part->answer = malloc((size_t)status.st_size);
    if (!part->answer)
        return -ENOMEM;
    size = pread(part->fd, part->answer, (size_t)status.st_size, 0);
    if (size != status.st_size)
        return -EPROTO;
    part->size = (size_t)size;
    return json_check_object(span_of(part->answer, part->size)) ? 0 : -EPROTO;
}

static void take_answer(struct question *question, struct question_part *part, int status)
{
    int r = status < 0 ? status : read_answer(part);

    if (r < 0) {
        log_line(LOG_LEVEL_WARNING, "%s could not answer the operator: %s", part->name,
                 err_text(r));
        free(part->answer);
        part->answer = NULL;
    }
    settle(question, part, r < 0 ? QUESTION_FAILED : QUESTION_ANSWERED);
}

bool question_take(struct question *question, struct child_process *child, struct span message)
{
    struct child_reported about;

    if (message.size != sizeof(about))
        return false;
    memcpy(&about, message.data, sizeof(about));
    if (about.number != question->number)
        return false;
    for (size_t i = 0; i < question->count; i++) {
        struct question_part *part = &question->parts[i];

        if (part->state != QUESTION_ASKED || part->pid != control_pid(child->control))
            continue;
        take_answer(question, part, about.status);
        return true;
    }
    return false;
}

static struct child_process *child_of(const struct children *children,
                                      const struct question_part *part)
{
    for (size_t i = 0; i < children->count; i++) {
        struct child_process *child = children->items[i];

        if (child->control && control_pid(child->control) == part->pid)
            return child;
    }
    return NULL;
}

void question_look(struct question *question, const struct children *children)
{
    for (size_t i = 0; i < question->count; i++)
        if (question->parts[i].state == QUESTION_ASKED && !child_of(children, &question->parts[i]))
            settle(question, &question->parts[i], QUESTION_ENDED);
}

void question_expire(struct question *question, struct children *children)
{
    for (size_t i = 0; i < question->count; i++) {
        struct question_part *part = &question->parts[i];
        struct child_process *child;

        if (part->state != QUESTION_ASKED)
            continue;
        child = child_of(children, part);
        if (child)
            child->silent = true;
        settle(question, part, QUESTION_SILENT);
    }
}

void question_put(const struct question *question, struct json_out *json)
{
    json_out_open(json, "workers", '[');
    for (size_t i = 0; i < question->count; i++) {
        const struct question_part *part = &question->parts[i];

        json_out_open(json, NULL, '{');
        json_out_text(json, "name", part->name);
        if (part->pid > 0) {
            json_out_number(json, "pid", (uint64_t)part->pid);
            json_out_number(json, "up_s", part->up_s);
        }
        json_out_text(json, "state", state_words(part->state, part->retired));
        if (is_missing(part->state))
            json_out_boolean(json, "missing", true);
        if (part->answer)
            json_out_raw(json, "report", span_of(part->answer, part->size));
        json_out_close(json, '}');
    }
    json_out_close(json, ']');
}

void question_free(struct question *question)
{
    for (size_t i = 0; i < question->count; i++) {
        if (question->parts[i].fd >= 0)
            close(question->parts[i].fd);
        free(question->parts[i].answer);
    }
    free(question->parts);
    *question = (struct question){ 0 };
}

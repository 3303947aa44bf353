/* What a run has done. Happy path: counted, told once at the end. What cannot be kept for lack of
 * memory has been told already. */
#include "tools/fetch/report.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

static long long now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

void report_begin(struct report *report, bool quiet)
{
    *report = (struct report){ .begun_ms = now_ms() };
    progress_init(&report->progress, STDERR_FILENO, quiet);
}

static void free_notes(struct report_notes *notes)
{
    for (size_t i = 0; i < notes->count; i++) {
        free(notes->items[i].file);
        free(notes->items[i].reason);
    }
    free(notes->items);
    *notes = (struct report_notes){ .items = NULL };
}

void report_free(struct report *report)
{
    free_notes(&report->refused);
    free_notes(&report->waiting);
}

void report_tell(struct report *report, const char *format, ...)
{
    va_list args;

    progress_clear(&report->progress);
    fputs("gatepost-fetch: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static bool is_known(const struct report_notes *notes, const char *file, const char *reason)
{
    for (size_t i = 0; i < notes->count; i++) {
        const struct report_note *known = &notes->items[i];

        if (known->file && known->reason && strcmp(known->file, file) == 0 &&
            strcmp(known->reason, reason) == 0)
            return true;
    }
    return false;
}

/* `verb` is what it does, in words. */
static void note(struct report *report, struct report_notes *notes, const char *verb,
                 const char *file, const char *reason)
{
    struct report_note *grown;

    if (is_known(notes, file, reason)) /* it stays where it is, and every look finds it again */
        return;
    report_tell(report, "%s %s: %s", file, verb, reason);
    grown = realloc(notes->items, (notes->count + 1) * sizeof(*grown));
    if (!grown)
        return;
    notes->items = grown;
    grown[notes->count++] = (struct report_note){ strdup(file), strdup(reason) };
}

void report_refusal(struct report *report, const char *file, const char *reason)
{
    note(report, &report->refused, "will not be sent", file, reason);
}

void report_waiting(struct report *report, const char *file, const char *reason)
{
    note(report, &report->waiting, "waits", file, reason);
}

int report_end(struct report *report, int code, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vsnprintf(report->error, sizeof(report->error), format, args);
    va_end(args);
    report->exit = code;
    return code;
}

static json_t *count_json(const struct report_count *count)
{
    return json_pack("{s:I, s:I}", "messages", (json_int_t)count->messages, "octets",
                     (json_int_t)count->octets);
}

/* What is no UTF-8 (an argument may be) is escaped. */
static json_t *string_json(const char *string)
{
    char room[1024];
    struct text escaped = TEXT_OVER(room);
    json_t *value = string ? json_string(string) : json_null();

    if (value)
        return value;
    text_put_escaped(&escaped, span_of_text(string), sizeof(room) / 4 - 4);
    return json_string(text_str(&escaped));
}

static json_t *notes_json(const struct report_notes *notes)
{
    json_t *list = json_array();

    for (size_t i = 0; i < notes->count; i++)
        json_array_append_new(list,
                              json_pack("{s:o, s:o}", "file", string_json(notes->items[i].file),
                                        "reason", string_json(notes->items[i].reason)));
    return list;
}

int report_print_json(const struct report *report, const char *host, const char *user)
{
    double seconds = (double)(now_ms() - report->begun_ms) / 1000;
    json_t *object = json_pack(
        "{s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:f, s:i, s:o}", "host", string_json(host), "user",
        string_json(user), "received", count_json(&report->received), "sent",
        count_json(&report->sent), "refused", notes_json(&report->refused), "waiting",
        notes_json(&report->waiting), "connections", (int)report->connections, "seconds", seconds,
        "exit", report->exit, "error", string_json(report->error[0] ? report->error : NULL));
    int r = object && json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(6)) == 0 &&
                    putchar('\n') != EOF && fflush(stdout) == 0
                ? 0
                : -EIO;

    json_decref(object);
    return r;
}

/* One line of log, from any process.
 *
 * A child sends each line as one datagram to the supervisor (log_to_descriptor), which passes it on
 * (log_relay) to where its own lines go: to standard error (log_to_terminal), or to a writer
 * (log_to_writer). Sending never blocks and never fails the caller: a line that cannot be sent is
 * counted, and the count is told with the next line that can. Bytes from a peer are put in by
 * text_put_escaped() and text_put_word() only. A line holds at most LOG_LINE_MAX bytes; the rest is
 * cut. Never a password.
 *
 * A line may carry fields, for a log that keeps some: "KEY=value\n" each, keys of GATEPOST_A-Z_,
 * values printable ASCII. The line tells it all without them. */
#ifndef GATEPOST_BASE_LOG_H
#define GATEPOST_BASE_LOG_H

#include "proxy/base/text.h"

#define LOG_LINE_MAX     2048
#define LOG_FIELDS_MAX   2048
#define LOG_DATAGRAM_MAX (1 + LOG_LINE_MAX + 1 + LOG_FIELDS_MAX)

enum log_level {
    LOG_LEVEL_SILENT = -1, /* for log_set_level() alone: nothing is logged */
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* Lines go to `fd`, a connected datagram socket: first byte '0' + level, then "NAME: text" without
 * a newline; where there are fields, a NUL and these. */
void log_to_descriptor(int fd, const char *name);

/* Lines go to standard error as "TIME LEVEL NAME: text\n" (the start-up default, name "gatepost").
 */
void log_to_terminal(const char *name);

/* Lines go to `writer`, which must not block. `line` is "NAME: text", as log_put_clean() leaves it.
 */
typedef void log_writer(enum log_level level, struct span line, struct span fields);
void log_to_writer(log_writer *writer, const char *name);

/* Lines above `level` are dropped where they are made. The default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);
bool log_wants(enum log_level level);
enum log_level log_current_level(void);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The same, with fields, and under another name than that of the process (NULL: its own). */
void log_record(enum log_level level, const char *name, struct span fields, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* Passes on what a child sent, one datagram. What is none is dropped. */
void log_relay(const char *datagram, size_t size);

/* Lines that could not be sent since the start of this process. */
unsigned long log_lost_count(void);

/* "error", "warning", "notice", "info", "debug". */
const char *log_level_name(enum log_level level);

/* --- for writers --- */

/* The line with control characters escaped; peers' bytes were escaped where it was made, and UTF-8
 * of ours passes. */
void log_put_clean(struct text *into, struct span line);

/* "TIME LEVEL line\n", as on a terminal. LOG_TERMINAL_MAX has room for the longest. */
#define LOG_TERMINAL_MAX (4 * LOG_LINE_MAX + 64)
void log_put_terminal(struct text *into, enum log_level level, struct span line);

#endif

/* One line of log, from any process.
 *
 * A child sends each line as one datagram to the supervisor (log_to_descriptor), which prints it
 * (log_to_terminal). Sending never blocks and never fails the caller: a line that cannot be sent is
 * counted, and the count is told with the next line that can. Bytes from a peer are put in by
 * text_put_escaped() only. A line holds at most LOG_LINE_MAX bytes; the rest is cut. Never a
 * password. */
#ifndef GATEPOST_BASE_LOG_H
#define GATEPOST_BASE_LOG_H

#define LOG_LINE_MAX 2048

enum log_level {
    LOG_LEVEL_SILENT = -1, /* for log_set_level() alone: nothing is logged */
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARNING,
    LOG_LEVEL_NOTICE,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG
};

/* Lines go to `fd`, a connected datagram socket: first byte '0' + level, then "NAME: text" without
 * a newline. */
void log_to_descriptor(int fd, const char *name);

/* Lines go to standard error as "TIME LEVEL NAME: text\n" (the start-up default, name "gatepost").
 */
void log_to_terminal(const char *name);

/* Lines above `level` are dropped where they are made. The default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Prints one line that a child sent ("NAME: text") to standard error, as the supervisor does. Bytes
 * that are not printable are escaped. */
void log_relay(enum log_level level, const char *text, unsigned long size);

/* Lines that could not be sent since the start of this process. */
unsigned long log_lost_count(void);

/* "error", "warning", "notice", "info", "debug". */
const char *log_level_name(enum log_level level);

#endif

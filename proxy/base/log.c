/* One line of log: to standard error or a writer in the supervisor, as a datagram to the supervisor
 * in every child.
 *
 * Fails only by counting a line that could not be sent. */
#include "proxy/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static void write_terminal(enum log_level level, struct span line, struct span fields);

static struct {
    int fd; /* -1: `writer` */
    log_writer *writer;
    const char *name;
    enum log_level level;
    unsigned long lost, lost_told;
} log_state = { -1, write_terminal, "gatepost", LOG_LEVEL_INFO, 0, 0 };

void log_to_descriptor(int fd, const char *name)
{
    log_state.fd = fd;
    log_state.name = name;
}

void log_to_writer(log_writer *writer, const char *name)
{
    log_state.fd = -1;
    log_state.writer = writer;
    log_state.name = name;
}

void log_to_terminal(const char *name)
{
    log_to_writer(write_terminal, name);
}

void log_set_level(enum log_level level)
{
    log_state.level = level;
}

bool log_wants(enum log_level level)
{
    return level <= log_state.level;
}

enum log_level log_current_level(void)
{
    return log_state.level;
}

unsigned long log_lost_count(void)
{
    return log_state.lost;
}

const char *log_level_name(enum log_level level)
{
    static const char *const names[] = { "error", "warning", "notice", "info", "debug" };

    return names[level];
}

void log_put_clean(struct text *into, struct span line)
{
    for (size_t i = 0; i < line.size; i++) {
        struct span byte = span_of(line.data + i, 1);

        if (*byte.data >= 0x20 && *byte.data != 0x7f)
            text_put(into, byte);
        else
            text_put_escaped(into, byte, 1);
    }
}

void log_put_terminal(struct text *into, enum log_level level, struct span line)
{
    char when[32];
    struct timespec now;
    struct tm local;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
    text_printf(into, "%s.%03ld %-7s ", when, now.tv_nsec / 1000000, log_level_name(level));
    log_put_clean(into, line);
    text_puts(into, "\n");
}

static void write_terminal(enum log_level level, struct span line, struct span fields)
{
    char room[LOG_TERMINAL_MAX];
    struct text text = TEXT_OVER(room);

    (void)fields;
    log_put_terminal(&text, level, line);
    if (write(STDERR_FILENO, text.data, text.size) < 0)
        log_state.lost++;
}

void log_relay(const char *datagram, size_t size)
{
    struct span line = span_skip(span_of(datagram, size), 1), fields;
    unsigned level = size > 0 ? (unsigned char)datagram[0] - (unsigned)'0' : LOG_LEVEL_DEBUG + 1;

    if (level > LOG_LEVEL_DEBUG)
        return;
    fields = span_skip(line, span_find(line, '\0') + 1);
    line = span_first(span_first(line, span_find(line, '\0')), LOG_LINE_MAX);
    log_state.writer((enum log_level)level, line, fields);
}

static void tell_lost(void)
{
    char told[96];
    int length =
        snprintf(told, sizeof(told), "%c%s: %lu log lines were lost before this one",
                 '0' + LOG_LEVEL_WARNING, log_state.name, log_state.lost - log_state.lost_told);

    if (send(log_state.fd, told, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
        log_state.lost_told = log_state.lost;
}

static void send_line(enum log_level level, struct span line, struct span fields)
{
    char room[LOG_DATAGRAM_MAX];
    struct text datagram = TEXT_OVER(room);
    char first = (char)('0' + level);

    if (log_state.lost > log_state.lost_told)
        tell_lost();
    text_put(&datagram, span_of(&first, 1));
    text_put(&datagram, line);
    if (fields.size > 0 && fields.size <= LOG_FIELDS_MAX) {
        text_put(&datagram, span_of("", 1));
        text_put(&datagram, fields);
    }
    if (send(log_state.fd, datagram.data, datagram.size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_state.lost++;
}

static void make_line(enum log_level level, const char *name, struct span fields,
                      const char *format, va_list args)
{
    char room[LOG_LINE_MAX + 1];
    int prefix = snprintf(room, sizeof(room), "%s: ", name ? name : log_state.name);
    int length = vsnprintf(room + prefix, sizeof(room) - (size_t)prefix, format, args);
    struct span line;

    if (length < 0)
        return;
    line = span_first(span_of(room, (size_t)prefix + (size_t)length), LOG_LINE_MAX);
    if (log_state.fd < 0)
        log_state.writer(level, line, fields);
    else
        send_line(level, line, fields);
}

void log_line(enum log_level level, const char *format, ...)
{
    va_list args;

    if (!log_wants(level))
        return;
    va_start(args, format);
    make_line(level, NULL, span_of(NULL, 0), format, args);
    va_end(args);
}

void log_record(enum log_level level, const char *name, struct span fields, const char *format, ...)
{
    va_list args;

    if (!log_wants(level))
        return;
    va_start(args, format);
    make_line(level, name, fields, format, args);
    va_end(args);
}

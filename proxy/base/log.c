/* One line of log: to standard error in the supervisor, as a datagram to the supervisor in every
 * child. */
#include "proxy/base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/text.h"

static struct {
    int fd; /* -1: terminal */
    const char *name;
    enum log_level level;
    unsigned long lost, lost_told;
} log_state = { .fd = -1, .name = "gatepost", .level = LOG_LEVEL_INFO };

void log_to_descriptor(int fd, const char *name)
{
    log_state.fd = fd;
    log_state.name = name;
}

void log_to_terminal(const char *name)
{
    log_state.fd = -1;
    log_state.name = name;
}

void log_set_level(enum log_level level)
{
    log_state.level = level;
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

void log_relay(enum log_level level, const char *text, unsigned long size)
{
    char room[4 * LOG_LINE_MAX + 64], when[32];
    struct text line = TEXT_OVER(room);
    struct timespec now;
    struct tm local;

    clock_gettime(CLOCK_REALTIME, &now);
    localtime_r(&now.tv_sec, &local);
    strftime(when, sizeof(when), "%Y-%m-%d %H:%M:%S", &local);
    text_printf(&line, "%s.%03ld %-7s ", when, now.tv_nsec / 1000000, log_level_name(level));
    for (unsigned long i = 0; i < size; i++) {
        struct span byte = span_of(text + i, 1);

        if (*byte.data >= 0x20 && *byte.data != 0x7f)
            text_put(
                &line,
                byte); /* peers' bytes were escaped where the line was made; UTF-8 of ours passes */
        else
            text_put_escaped(&line, byte, 1);
    }
    text_puts(&line, "\n");
    if (write(STDERR_FILENO, line.data, line.size) < 0)
        log_state.lost++;
}

static void send_line(enum log_level level, const char *text, size_t size)
{
    if (log_state.fd < 0) {
        log_relay(level, text, size);
        return;
    }
    if (log_state.lost > log_state.lost_told) {
        char told[96];
        int length =
            snprintf(told, sizeof(told), "%c%s: %lu log lines were lost before this one",
                     '0' + LOG_LEVEL_WARNING, log_state.name, log_state.lost - log_state.lost_told);

        if (send(log_state.fd, told, (size_t)length, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0)
            log_state.lost_told = log_state.lost;
    }
    if (send(log_state.fd, text - 1, size + 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
        log_state.lost++;
}

void log_line(enum log_level level, const char *format, ...)
{
    char room[1 + LOG_LINE_MAX];
    char *text = room + 1;
    int prefix, length;
    size_t size;
    va_list args;

    if (level > log_state.level)
        return;
    room[0] = (char)('0' + level);
    prefix = snprintf(text, LOG_LINE_MAX, "%s: ", log_state.name);
    va_start(args, format);
    length = vsnprintf(text + prefix, (size_t)(LOG_LINE_MAX - prefix), format, args);
    va_end(args);
    if (length < 0)
        return;
    size = (size_t)prefix + (size_t)length;
    if (size >= LOG_LINE_MAX)
        size = LOG_LINE_MAX - 1;
    send_line(level, text, size);
}

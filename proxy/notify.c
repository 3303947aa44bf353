/* sd_notify(3) by hand: lines NAME=VALUE in one datagram.
 *
 * Happy path: NOTIFY_SOCKET is a path or, with a leading '@', an abstract name; messages go there.
 * A name of another kind, a socket that is gone or one that nobody reads for a second costs a line
 * in the log: the manager then finds out by its own limits of time. */
#include "proxy/notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"

#define MESSAGE_MAX 1024
#define SEND_S      1 /* how long a full queue of the manager may hold the supervisor up; guessed */

/* 0 where `value` is no number. */
static uint64_t number_of(const char *value)
{
    char *end;
    unsigned long long number;

    if (!value || *value < '0' || *value > '9')
        return 0;
    errno = 0;
    number = strtoull(value, &end, 10);
    return errno || *end ? 0 : number;
}

static uint64_t take_watchdog(void)
{
    uint64_t interval_us = number_of(getenv("WATCHDOG_USEC"));
    const char *pid = getenv("WATCHDOG_PID");

    if (pid && number_of(pid) != (uint64_t)getpid())
        interval_us = 0; /* meant for whoever started us */
    unsetenv("WATCHDOG_USEC");
    unsetenv("WATCHDOG_PID");
    return interval_us > 0 && interval_us < 1000 ? 1 : interval_us / 1000;
}

static int set_address(struct notify *notify, const char *name)
{
    size_t length = strlen(name);

    notify->address.sun_family = AF_UNIX;
    if ((name[0] != '/' && name[0] != '@') || length < 2)
        return -EAFNOSUPPORT;
    if (length >= sizeof(notify->address.sun_path))
        return -ENAMETOOLONG;
    memcpy(notify->address.sun_path, name, length + 1);
    if (name[0] == '@')
        notify->address.sun_path[0] = '\0';
    notify->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length);
    return 0;
}

static int open_socket(struct notify *notify, const char *name)
{
    struct timeval limit = { .tv_sec = SEND_S };
    int r = set_address(notify, name);

    if (r < 0)
        return r;
    notify->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->fd < 0 ||
        setsockopt(notify->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) < 0)
        return -errno;
    return 0;
}

void notify_init(struct notify *ret_notify)
{
    const char *name = getenv("NOTIFY_SOCKET");

    *ret_notify = (struct notify){ .fd = -1, .watchdog_ms = take_watchdog() };
    if (name) {
        int r = open_socket(ret_notify, name);

        if (r < 0)
            log_line(LOG_LEVEL_WARNING,
                     "the service manager cannot be told of anything: "
                     "NOTIFY_SOCKET: %s",
                     err_text(r));
        if (r < 0)
            notify_deinit(ret_notify);
    }
    if (ret_notify->fd < 0)
        ret_notify->watchdog_ms = 0;
    unsetenv("NOTIFY_SOCKET");
}

void notify_deinit(struct notify *notify)
{
    if (notify->fd >= 0)
        close(notify->fd);
    notify->fd = -1;
}

/* Sends one message. A log line names it by its first line. */
static void tell(const struct notify *notify, int flags, const char *message)
{
    if (notify->fd < 0 || sendto(notify->fd, message, strlen(message), flags | MSG_NOSIGNAL,
                                 (const struct sockaddr *)&notify->address, notify->size) >= 0)
        return;
    log_line(LOG_LEVEL_WARNING, "the service manager could not be told %.*s: %s",
             (int)strcspn(message, "\n"), message, err_text(-errno));
}

/* `before` is lines, each with its end. A status that is too long is cut. */
static void tell_status(const struct notify *notify, const char *before, const char *status)
{
    char message[MESSAGE_MAX];
    size_t begin = strlen(before) + strlen("STATUS=");

    snprintf(message, sizeof(message), "%sSTATUS=%s", before, status);
    for (size_t i = begin; message[i]; i++)
        if ((unsigned char)message[i] < 0x20 || message[i] == 0x7f)
            message[i] = ' ';
    tell(notify, 0, message);
}

void notify_ready(const struct notify *notify, const char *status)
{
    tell_status(notify, "READY=1\n", status);
}

void notify_reloading(const struct notify *notify)
{
    struct timespec now;
    char before[64];

    clock_gettime(CLOCK_MONOTONIC, &now);
    snprintf(before, sizeof(before), "RELOADING=1\nMONOTONIC_USEC=%llu\n",
             now.tv_sec * 1000000ULL + (unsigned long long)now.tv_nsec / 1000);
    tell_status(notify, before, "reads its settings again");
}

void notify_stopping(const struct notify *notify, const char *status, uint64_t limit_ms)
{
    char before[64];

    snprintf(before, sizeof(before), "STOPPING=1\nEXTEND_TIMEOUT_USEC=%llu\n",
             (unsigned long long)limit_ms * 1000);
    tell_status(notify, before, status);
}

void notify_status(const struct notify *notify, const char *status)
{
    tell_status(notify, "", status);
}

void notify_main_process(const struct notify *notify, pid_t pid)
{
    char before[32];

    snprintf(before, sizeof(before), "MAINPID=%d\n", (int)pid);
    tell_status(notify, before, "an upgrade hands over");
}

/* The next one follows soon: this one need not wait. */
void notify_alive(const struct notify *notify)
{
    tell(notify, MSG_DONTWAIT, "WATCHDOG=1");
}

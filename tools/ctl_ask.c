/* Asking the supervisor.
 *
 * Happy path: connected, the request in a line, the answer up to the end. Fails in words that name
 * the socket: most of all when nobody listens on it. */
#include "tools/ctl_ask.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>

#include "conf/settings.h"
#include "proxy/base/err.h"
#include "proxy/base/paths.h"

#define AWAIT_PAUSE_MS 20
#define ANSWER_MAX     (1024UL * 1024 * 1024) /* more than any number of sessions needs */

void ctl_complain(const char *format, ...)
{
    va_list args;

    fputs("gatepostctl: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

static int path_of_settings(const char *config, char *into, size_t room)
{
    struct diagnostics diagnostics;
    struct settings *settings;
    int r;

    diagnostics_init(&diagnostics);
    r = settings_read_file(config, &diagnostics, &settings);
    diagnostics_deinit(&diagnostics);
    if (r < 0)
        return r;
    r = control_socket_path(settings->gatepost.runtime_dir, settings->gatepost.control_socket, into,
                            room);
    settings_free(settings);
    return r;
}

int ctl_socket_path(const char *socket, const char *config, char *into, size_t room)
{
    int r;

    if (!socket) {
        r = path_of_settings(config, into, room);
    } else {
        int length = snprintf(into, room, "%s", socket);

        r = length < 0 || (size_t)length >= room ? -ENAMETOOLONG : 0;
    }
    if (r == -ENOENT)
        ctl_complain("there is no control socket: [gatepost] control_socket = none in %s", config);
    else if (r < 0)
        ctl_complain("the control socket: %s", err_text(r));
    return r < 0 ? EX_CONFIG : 0;
}

static int tell_connect_failure(const char *path, int error)
{
    switch (error) {
    case -ENOENT:
    case -ECONNREFUSED:
        ctl_complain("gatepost is not running: nobody listens on %s", path);
        return EX_UNAVAILABLE;
    case -EACCES:
    case -EPERM:
        ctl_complain("%s: permission denied: only root, and members of control_group, may use it",
                     path);
        return EX_NOPERM;
    default:
        ctl_complain("%s: %s", path, err_text(error));
        return EX_UNAVAILABLE;
    }
}

/* The descriptor, or -errno. */
static int connect_to(const char *path, unsigned patience_s)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    struct timeval patience = { .tv_sec = patience_s };
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return -errno;
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int r = -errno;

        close(fd);
        return r;
    }
    return fd;
}

/* 0 or -errno. A supervisor that refuses before it has read all still has an answer. */
static int send_request(int fd, const json_t *request)
{
    char *text = json_dumps(request, JSON_COMPACT);
    size_t size, sent = 0;
    int r = 0;

    if (!text)
        return -ENOMEM;
    size = strlen(text);
    text[size++] = '\n'; /* in the place of its NUL */
    while (r == 0 && sent < size) {
        ssize_t count = send(fd, text + sent, size - sent, MSG_NOSIGNAL);

        if (count > 0)
            sent += (size_t)count;
        else if (errno != EINTR)
            r = errno == EPIPE ? 0 : -errno;
        if (count < 0 && errno == EPIPE)
            break;
    }
    free(text);
    return r;
}

/* All that comes, into *ret_text. 0 or -errno. */
static int receive(int fd, FILE *into)
{
    char room[65536];
    size_t total = 0;

    while (total < ANSWER_MAX) {
        ssize_t count = recv(fd, room, sizeof(room), 0);

        if (count == 0)
            return 0;
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return errno == ECONNRESET && total > 0 ? 0 : -errno;
        total += (size_t)count;
        if (fwrite(room, 1, (size_t)count, into) != (size_t)count)
            return -ENOMEM;
    }
    return -EFBIG;
}

static int receive_text(int fd, char **ret_text, size_t *ret_size)
{
    FILE *memory = open_memstream(ret_text, ret_size);
    int r;

    if (!memory)
        return -ENOMEM;
    r = receive(fd, memory);
    return fclose(memory) != 0 && r == 0 ? -ENOMEM : r;
}

static int parse(const char *path, const char *text, size_t size, json_t **ret_answer)
{
    json_error_t error;

    *ret_answer = json_loadb(text, size, 0, &error);
    if (json_is_object(*ret_answer))
        return 0;
    json_decref(*ret_answer);
    ctl_complain(size == 0 ? "%s: the connection was closed without an answer"
                           : "%s: what was answered is not understood",
                 path);
    return EX_PROTOCOL;
}

int ctl_ask(const char *path, const json_t *request, unsigned patience_s, json_t **ret_answer)
{
    char *text = NULL;
    size_t size = 0;
    int fd = connect_to(path, patience_s), r, code = 0;

    if (fd < 0)
        return tell_connect_failure(path, fd);
    r = send_request(fd, request);
    if (r == 0)
        r = receive_text(fd, &text, &size);
    close(fd);
    if (r == -EAGAIN) {
        ctl_complain("%s: gatepost does not answer", path);
        code = EX_TEMPFAIL;
    } else if (r < 0) {
        ctl_complain("%s: %s", path, err_text(r));
        code = EX_IOERR;
    } else {
        code = parse(path, text, size, ret_answer);
    }
    free(text);
    return code;
}

int ctl_await(const char *path, unsigned patience_s)
{
    const struct timespec pause = { .tv_nsec = AWAIT_PAUSE_MS * 1000000L };
    int fd = connect_to(path, patience_s);

    for (unsigned left = patience_s * 1000 / AWAIT_PAUSE_MS; fd < 0 && left > 0; left--) {
        nanosleep(&pause, NULL);
        fd = connect_to(path, patience_s);
    }
    if (fd < 0)
        return fd;
    close(fd);
    return 0;
}

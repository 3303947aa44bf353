/* Writes lines to standard error, to the journal's socket or to that of syslog, without ever
 * waiting.
 *
 * Happy path: a line is put into the form of its outlet and written by one call. Standard error may
 * be a file description that others use too (a shell's terminal), so it is not made non-blocking:
 * a pipe or terminal is opened a second time.
 *
 * Failures: what is not taken now, by an outlet that is full or gone, waits in the backlog, and is
 * tried again with the next line and by a timer; where that has no room the line is lost. An outlet
 * that is gone is connected anew with each try, and standard error says once that it is gone. */
#include "proxy/log_sink.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "proxy/base/log.h"
#include "proxy/log_form.h"

#define SYSLOG_PATH "/dev/log"

#define RETRY_FIRST_MS 10 /* a queue of ten datagrams, as syslog daemons have, empties quickly */
#define RETRY_MOST_MS  1000
#define LAST_WAIT_MS   1000

const char *log_sink_journal_path = "/run/systemd/journal/socket";

struct outlet;

/* One way to put a line, and to send what was put. */
struct outlet_kind {
    void (*put)(struct text *into, enum log_level level, struct span line, struct span fields);
    ssize_t (*send)(struct outlet *outlet, struct span octets); /* how many, or -errno */
};

struct outlet {
    const struct outlet_kind *kind;
    int fd;
    bool is_socket;          /* of standard error */
    struct sockaddr_un path; /* of a socket that is connected by name */
    bool down;               /* it was gone at the last try, and standard error has said so */
};

/* Standard error also hears of what is wrong with the chosen one. */
static struct outlet standard = { .fd = -1 }, chosen = { .fd = -1 };

static struct {
    char where[PATH_MAX]; /* "": not open */
    struct outlet *outlet;
    unsigned long lost, lost_told;
    bool full; /* what was tried last was not taken by an outlet that is there */
    uv_timer_t timer;
    bool timer_open;
    unsigned retry_ms;
} sink;

/* Lines in their form, the oldest first: the size of each as a uint32_t, then its octets. */
static struct {
    char room[LOG_SINK_BACKLOG];
    size_t start, end;
    size_t done; /* octets of the first that were taken */
} backlog;

/* -- ways out -- */

/* Where the description is shared and could not be opened anew: no more than fits for certain, as
 * far as nobody else writes there in between. What is neither pipe nor terminal takes all. */
static ssize_t write_ready(int fd, struct span octets)
{
    struct pollfd ready = { .fd = fd, .events = POLLOUT };
    ssize_t size;

    if (poll(&ready, 1, 0) <= 0) /* a signal may end it as well, and then nothing is known */
        return -EAGAIN;
    size = write(fd, octets.data, octets.size < PIPE_BUF ? octets.size : PIPE_BUF);
    return size < 0 ? -errno : size;
}

static ssize_t send_stream(struct outlet *outlet, struct span octets)
{
    ssize_t size;

    if (outlet->is_socket)
        size = send(outlet->fd, octets.data, octets.size, MSG_DONTWAIT | MSG_NOSIGNAL);
    else if (outlet->fd == STDERR_FILENO)
        return write_ready(outlet->fd, octets);
    else
        size = write(outlet->fd, octets.data, octets.size);
    return size < 0 ? -errno : size;
}

static int connect_outlet(struct outlet *outlet)
{
    int r;

    if (outlet->fd >= 0)
        close(outlet->fd);
    outlet->fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (outlet->fd < 0)
        return -errno;
    if (connect(outlet->fd, (struct sockaddr *)&outlet->path, sizeof(outlet->path)) == 0)
        return 0;
    r = -errno;
    close(outlet->fd);
    outlet->fd = -1;
    return r;
}

static ssize_t send_datagram(struct outlet *outlet, struct span octets)
{
    for (bool again = false;; again = true) {
        ssize_t size = -ENOTCONN;
        int r;

        if (outlet->fd >= 0) {
            size = send(outlet->fd, octets.data, octets.size, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (size < 0)
                size = -errno;
        }
        if (again || size >= 0 || size == -EAGAIN || size == -ENOBUFS || size == -EMSGSIZE)
            return size;
        r = connect_outlet(outlet); /* its daemon may have been started again */
        if (r < 0)
            return r;
    }
}

static const struct outlet_kind kind_terminal = { log_form_terminal, send_stream };
static const struct outlet_kind kind_stream = { log_form_stream, send_stream };
static const struct outlet_kind kind_syslog = { log_form_syslog, send_datagram };
static const struct outlet_kind kind_journal = { log_form_journal, send_datagram };

/* One that nobody reads is full, not gone: the count of lost lines will tell. */
static void tell_down(const struct outlet *outlet, int error)
{
    char words[256], room[LOG_FORM_MAX];
    struct text form = TEXT_OVER(room);

    snprintf(words, sizeof(words), "gatepost: log: %s: %s; lines wait until it answers",
             outlet->path.sun_path, err_text(error));
    standard.kind->put(&form, LOG_LEVEL_WARNING, span_of_text(words), span_of(NULL, 0));
    standard.kind->send(&standard, text_span(&form));
}

/* How many octets were taken. */
static size_t try_send(struct span octets)
{
    struct outlet *outlet = sink.outlet;
    ssize_t size = outlet->kind->send(outlet, octets);

    sink.full = size == -EAGAIN || size == -ENOBUFS;
    if (size == -EMSGSIZE) {
        sink.lost++;
        return octets.size;
    }
    if (size >= 0)
        outlet->down = false;
    else if (outlet != &standard && !sink.full && !outlet->down) {
        outlet->down = true;
        tell_down(outlet, (int)size);
    }
    return size < 0 ? 0 : (size_t)size;
}

/* -- the backlog -- */

static struct span backlog_first(void)
{
    uint32_t size;

    memcpy(&size, backlog.room + backlog.start, sizeof(size));
    return span_of(backlog.room + backlog.start + sizeof(size), size);
}

static void backlog_pop(void)
{
    backlog.start += sizeof(uint32_t) + backlog_first().size;
    backlog.done = 0;
    if (backlog.start == backlog.end)
        backlog.start = backlog.end = 0;
}

/* False: there is no room. `done` octets of it are taken already. */
static bool backlog_push(struct span octets, size_t done)
{
    uint32_t size = (uint32_t)octets.size;
    size_t need = sizeof(size) + octets.size;

    if (backlog.end + need > sizeof(backlog.room) && backlog.start > 0) {
        memmove(backlog.room, backlog.room + backlog.start, backlog.end - backlog.start);
        backlog.end -= backlog.start;
        backlog.start = 0;
    }
    if (backlog.end + need > sizeof(backlog.room))
        return false;
    if (backlog.start == backlog.end)
        backlog.done = done;
    memcpy(backlog.room + backlog.end, &size, sizeof(size));
    memcpy(backlog.room + backlog.end + sizeof(size), octets.data, octets.size);
    backlog.end += need;
    return true;
}

/* Sends what waits. True: nothing waits any more. */
static bool flush(void)
{
    while (backlog.start < backlog.end) {
        struct span first = backlog_first();
        size_t taken = try_send(span_skip(first, backlog.done));

        if (taken == 0)
            return false;
        backlog.done += taken;
        sink.retry_ms = RETRY_FIRST_MS;
        if (backlog.done == first.size)
            backlog_pop();
    }
    return true;
}

static void drop_backlog(void)
{
    for (; backlog.start < backlog.end; backlog_pop())
        sink.lost++;
}

static void retry(uv_timer_t *timer);

static void watch_backlog(void)
{
    if (!sink.timer_open || uv_is_active((uv_handle_t *)&sink.timer))
        return;
    sink.retry_ms = RETRY_FIRST_MS;
    uv_timer_start(&sink.timer, retry, sink.retry_ms, 0);
}

/* -- lines -- */

/* False: it is lost. */
static bool put_line(enum log_level level, struct span line, struct span fields)
{
    char room[LOG_FORM_MAX];
    struct text form = TEXT_OVER(room);
    size_t taken = 0;

    sink.outlet->kind->put(&form, level, line, fields);
    if (flush())
        taken = try_send(text_span(&form));
    if (taken == form.size)
        return true;
    watch_backlog();
    return backlog_push(text_span(&form), taken);
}

static void tell_lost(void)
{
    char words[96];

    snprintf(words, sizeof(words), "gatepost: %lu log lines were lost before this one",
             sink.lost - sink.lost_told);
    if (put_line(LOG_LEVEL_WARNING, span_of_text(words), span_of(NULL, 0)))
        sink.lost_told = sink.lost;
}

/* Once a line was lost, none finds room before half of the backlog is gone: the count is told once,
 * not with each line that happens to fit. */
static bool has_drained(void)
{
    flush();
    return backlog.end - backlog.start <= sizeof(backlog.room) / 2;
}

static void write_line(enum log_level level, struct span line, struct span fields)
{
    if (sink.lost > sink.lost_told && has_drained())
        tell_lost();
    if (sink.lost > sink.lost_told || !put_line(level, line, fields))
        sink.lost++;
}

static void retry(uv_timer_t *timer)
{
    sink.retry_ms = sink.retry_ms < RETRY_MOST_MS / 2 ? sink.retry_ms * 2 : RETRY_MOST_MS;
    if (sink.lost > sink.lost_told && has_drained())
        tell_lost();
    if (!flush())
        uv_timer_start(timer, retry, sink.retry_ms, 0);
}

/* -- opening and closing -- */

/* Is standard error a stream that the journal reads? */
static bool is_journal_stream(void)
{
    const char *names = getenv("JOURNAL_STREAM");
    unsigned long long device, inode;
    struct stat status;

    return names && sscanf(names, "%llu:%llu", &device, &inode) == 2 &&
           fstat(STDERR_FILENO, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

static void close_outlet(struct outlet *outlet)
{
    if (outlet->fd >= 0 && outlet->fd != STDERR_FILENO)
        close(outlet->fd);
    outlet->fd = -1;
    outlet->down = false;
}

/* With a description of our own, where others would notice that theirs does not block any more. */
static void open_standard(void)
{
    struct stat status = { 0 };

    standard.fd = -1;
    fstat(STDERR_FILENO, &status);
    standard.is_socket = S_ISSOCK(status.st_mode);
    standard.kind = is_journal_stream() ? &kind_stream : &kind_terminal;
    if (S_ISFIFO(status.st_mode) || isatty(STDERR_FILENO))
        standard.fd = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (standard.fd < 0) /* another user's terminal, or neither of these */
        standard.fd = STDERR_FILENO;
}

static void open_socket(const struct outlet_kind *kind, const char *path)
{
    sink.outlet = &chosen;
    chosen.kind = kind;
    chosen.path.sun_family = AF_UNIX;
    snprintf(chosen.path.sun_path, sizeof(chosen.path.sun_path), "%s", path);
}

/* The path of "KIND" or "KIND:/path"; NULL: it is of another kind. */
static const char *path_of(const char *where, const char *kind, const char *usual)
{
    size_t size = strlen(kind);

    if (strncmp(where, kind, size) != 0)
        return NULL;
    return where[size] == ':' ? where + size + 1 : where[size] ? NULL : usual;
}

void log_sink_open(const char *where)
{
    const char *journal = path_of(where, "journald", log_sink_journal_path);
    const char *syslog = path_of(where, "syslog", SYSLOG_PATH);

    if (strcmp(sink.where, where) == 0)
        return;
    if (!sink.where[0])
        open_standard();
    else if (!flush())
        drop_backlog();
    close_outlet(&chosen);
    if (syslog)
        open_socket(&kind_syslog, syslog);
    else if (journal)
        open_socket(&kind_journal, journal);
    else if (is_journal_stream() && access(log_sink_journal_path, W_OK) == 0)
        open_socket(&kind_journal, log_sink_journal_path);
    else
        sink.outlet = &standard;
    snprintf(sink.where, sizeof(sink.where), "%s", where);
    log_to_writer(write_line, "gatepost");
}

void log_sink_watch(uv_loop_t *loop)
{
    if (sink.timer_open)
        uv_close((uv_handle_t *)&sink.timer, NULL);
    sink.timer_open = loop && uv_timer_init(loop, &sink.timer) == 0;
    if (sink.timer_open && backlog.start < backlog.end)
        watch_backlog();
}

unsigned long log_sink_lost(void)
{
    return sink.lost;
}

/* A datagram's reader is waited for as well: its socket is writable once there is room. A disk that
 * is full is writable all the time. */
static void wait_for_reader(void)
{
    uint64_t end = uv_hrtime() / 1000000 + LAST_WAIT_MS, now;

    while (!flush() && sink.full && sink.outlet->fd >= 0 && (now = uv_hrtime() / 1000000) < end) {
        struct pollfd ready = { .fd = sink.outlet->fd, .events = POLLOUT };

        if (poll(&ready, 1, (int)(end - now)) <= 0 || (ready.revents & POLLERR))
            break;
    }
}

void log_sink_close(void)
{
    if (!sink.where[0])
        return;
    wait_for_reader();
    drop_backlog();
    sink.lost_told = sink.lost; /* nobody is there to hear it */
    log_to_terminal("gatepost");
    close_outlet(&standard);
    close_outlet(&chosen);
    sink.where[0] = '\0';
}

/* Joins the words of progress to a terminal and a clock. A terminal that takes no octets now, or
 * cannot go back in its line, is left alone. */
#include "tools/fetch/progress.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define SHOWN_EVERY_MS 200
#define COLUMNS        80
#define ERASE_LINE     "\r\033[K"

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static bool can_go_back(int fd)
{
    const char *term = getenv("TERM");

    return isatty(fd) && term && strcmp(term, "dumb") != 0;
}

static void show(int fd, struct span octets)
{
    struct pollfd room = { .fd = fd, .events = POLLOUT };

    if (poll(&room, 1, 0) == 1 && (room.revents & POLLOUT)) {
        ssize_t r = write(fd, octets.data, octets.size);

        (void)r; /* the next line comes soon */
    }
}

static size_t columns_of(int fd)
{
    struct winsize size = { .ws_col = 0 };

    if (ioctl(fd, TIOCGWINSZ, &size) < 0 || size.ws_col == 0)
        return COLUMNS - 1;
    return size.ws_col - 1u; /* in the last column some terminals begin a line */
}

void progress_init(struct progress *progress, int fd, bool quiet)
{
    *progress = (struct progress){ .fd = !quiet && can_go_back(fd) ? fd : -1 };
}

void progress_begin(struct progress *progress, const char *verb, uint64_t messages, uint64_t total)
{
    progress->rate = (struct progress_rate){ 0 };
    progress->facts = (struct progress_facts){ verb, 0, messages, 0, total, 0 };
}

void progress_message(struct progress *progress)
{
    progress->facts.message++;
}

void progress_octets(struct progress *progress, uint64_t octets)
{
    char room[512];
    struct text line = TEXT_OVER(room);
    uint64_t now;

    if (progress->fd < 0)
        return;
    now = now_ms();
    progress_rate_add(&progress->rate, octets, now);
    progress->facts.octets += octets;
    progress->facts.octets_per_s = progress->rate.octets_per_s;
    if (progress->facts.message == 0 ||
        (progress->shown_ms > 0 && now - progress->shown_ms < SHOWN_EVERY_MS))
        return;
    progress->shown = true;
    progress->shown_ms = now;
    text_puts(&line, ERASE_LINE);
    progress_put(&line, &progress->facts, line.size + columns_of(progress->fd));
    show(progress->fd, text_span(&line));
}

void progress_clear(struct progress *progress)
{
    if (progress->shown)
        show(progress->fd, SPAN_LIT(ERASE_LINE));
    progress->shown = false;
}

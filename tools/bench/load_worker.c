/* The loop of a load generator's process.
 *
 * Whole sessions and repeated operations: all connections at once, each opened anew when it has
 * ended. Idle: a few at a time, until all stay. Burst: by the clock, whatever became of the others;
 * none is opened twice. */
#include "tools/bench/load_worker.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "tools/bench/clock.h"
#include "tools/bench/session.h"

#define EVENTS_MOST  256
#define OPENING_MOST 64 /* idle: connections on the way at once; guessed */
#define ERRORS_MOST  20000
#define TICK_MS      20

struct worker {
    struct session_world world;
    struct session *sessions;
    unsigned count;
    unsigned opened;
    uint64_t begun_us;
};

unsigned load_worker_share(const struct load_options *options, unsigned index)
{
    unsigned share = options->sessions / options->processes;

    return share + (index < options->sessions % options->processes ? 1 : 0);
}

/* How many connections should have been opened by now. */
static unsigned due(const struct worker *worker)
{
    const struct load_options *options = worker->world.options;
    unsigned long held = worker->world.counts->held;
    double share;

    switch (options->mode) {
    case LOAD_IDLE:
        return held + OPENING_MOST < worker->count ? (unsigned)held + OPENING_MOST : worker->count;
    case LOAD_BURST:
        share = (double)(clock_now_us() - worker->begun_us) / 1e6 / options->within_s;
        return share < 1 ? (unsigned)(share * worker->count) : worker->count;
    case LOAD_SESSION:
    case LOAD_PING:
    case LOAD_RETR:
    case LOAD_DATA:
    case LOAD_BDAT:
        break;
    }
    return worker->count;
}

static void open_due(struct worker *worker)
{
    unsigned wanted = due(worker);

    while (worker->opened < wanted)
        session_open(&worker->sessions[worker->opened++], &worker->world);
}

static void run_session(struct worker *worker, struct session *session)
{
    bool again = worker->world.options->mode != LOAD_BURST;

    if (session->state == SESSION_CLOSED)
        return; /* an event of a connection that has just been given up */
    session_run(session, &worker->world);
    if (session->state == SESSION_CLOSED && again && worker->world.counts->errors < ERRORS_MOST)
        session_open(session, &worker->world);
}

/* Sessions that pause have no event that wakes them: few, so all are looked at. */
static void run_paused(struct worker *worker)
{
    uint64_t now = clock_now_us();

    for (unsigned i = 0; i < worker->opened; i++)
        if (worker->sessions[i].resume_us != 0 && worker->sessions[i].resume_us <= now)
            run_session(worker, &worker->sessions[i]);
}

static void turn(struct worker *worker)
{
    const struct load_options *options = worker->world.options;
    bool by_clock = options->pause_ms > 0 || worker->opened < worker->count;
    struct epoll_event events[EVENTS_MOST];
    int count = epoll_wait(worker->world.epoll, events, EVENTS_MOST, by_clock ? 1 : TICK_MS);

    for (int i = 0; i < count; i++)
        run_session(worker, events[i].data.ptr);
    if (options->pause_ms > 0)
        run_paused(worker);
}

static int begin(struct worker *worker, unsigned first)
{
    worker->sessions = calloc(worker->count, sizeof(*worker->sessions));
    worker->world.epoll = epoll_create1(EPOLL_CLOEXEC);
    worker->world.tls = link_context_new(worker->world.options);
    if (!worker->sessions || worker->world.epoll < 0 || !worker->world.tls)
        return EXIT_FAILURE;
    for (unsigned i = 0; i < worker->count; i++)
        session_init(&worker->sessions[i], first + i, worker->world.options);
    worker->begun_us = clock_now_us();
    return EXIT_SUCCESS;
}

int load_worker_run(const struct load_options *options, struct load_shared *shared, unsigned index)
{
    static struct script script;
    struct worker worker = { .world = { .options = options, .counts = &shared->counts[index] } };
    unsigned first = 0;

    for (unsigned i = 0; i < index; i++)
        first += load_worker_share(options, i);
    script_write(&script, options);
    worker.world.script = &script;
    worker.count = load_worker_share(options, index);
    if (begin(&worker, first) != EXIT_SUCCESS)
        return EXIT_FAILURE;
    while (shared->phase != LOAD_ENDING) {
        worker.world.measuring = shared->phase == LOAD_MEASURING;
        open_due(&worker);
        turn(&worker);
    }
    return EXIT_SUCCESS;
}

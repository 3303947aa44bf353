/* bench-load: puts load on a mail proxy in a closed loop, and measures what the proxy spends.
 *
 * Happy path: processes are forked that walk sessions through a script (script.c); this one warms
 * up, measures the proxy's CPU time and the operations done meanwhile, ends the others, and prints
 * one line of JSON. Everything that is received is compared with what it should be. Exit code 1
 * where no operation was done, or not all connections came to stay. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proxy/base/err.h"
#include "tools/bench/clock.h"
#include "tools/bench/load_report.h"
#include "tools/bench/load_worker.h"
#include "tools/bench/message.h"

#define TICK_US  5000
#define HOPELESS 1000 /* errors: then it ends early, where operations are fewer */

static struct load_shared *shared;
static struct load_options options;

/* ---- the other processes ---- */

static void raise_descriptors(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void start_workers(void)
{
    for (unsigned i = 0; i < options.processes; i++) {
        pid_t pid = fork();

        if (pid < 0)
            exit(EXIT_FAILURE);
        if (pid == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            _exit(load_worker_run(&options, shared, i));
        }
    }
}

static void end_workers(void)
{
    shared->phase = LOAD_ENDING;
    while (wait(NULL) > 0 || errno == EINTR)
        continue;
}

/* ---- measuring ---- */

static void take_totals(struct load_totals *totals)
{
    *totals = (struct load_totals){ .at_us = clock_now_us() };
    for (unsigned i = 0; i < options.processes; i++) {
        const struct load_counts *counts = &shared->counts[i];

        totals->operations += counts->operations;
        totals->octets += counts->octets;
        totals->errors += counts->errors;
        totals->handshakes += counts->handshakes;
        totals->resumed += counts->resumed;
        totals->held += counts->held;
        totals->served += counts->served;
        totals->refused += counts->refused;
        totals->closed += counts->closed;
    }
}

static void take_proxy(struct load_sample *sample, bool memory)
{
    if (options.proxy && memory)
        sample->pss_kib = processes_pss(options.proxy);
    if (memory)
        sample->tcp_kib = processes_tcp_kib();
    if (options.proxy)
        sample->cpu_s = processes_cpu(options.proxy);
    take_totals(&sample->totals);
}

static void sleep_s(double seconds)
{
    uint64_t end = clock_now_us() + (uint64_t)(seconds * 1e6);

    while (clock_now_us() < end)
        usleep(TICK_US);
}

static bool hopeless(const struct load_totals *totals)
{
    return totals->errors >= HOPELESS && totals->operations < totals->errors;
}

/* Until the time is over and the operations are done; or until it makes no sense to go on. */
static void await_operations(const struct load_sample *before)
{
    uint64_t least = before->totals.at_us + (uint64_t)(options.seconds * 1e6);
    uint64_t most = least + (uint64_t)(options.patience_s * 1e6);
    struct load_totals now;

    do {
        usleep(TICK_US);
        take_totals(&now);
    } while (
        !hopeless(&now) && now.at_us < most &&
        (now.at_us < least || now.operations - before->totals.operations < options.operations));
}

/* Lets the caller do something while the load goes on: tells it so, and waits for a line of input.
 */
static void await_gate(const char *word)
{
    if (!options.gated)
        return;
    printf("%s\n", word);
    fflush(stdout);
    for (int octet = getchar(); octet != '\n' && octet != EOF; octet = getchar())
        continue;
}

static int run_operations(void)
{
    struct load_sample before = { 0 }, after = { 0 };

    start_workers();
    sleep_s(options.warmup_s);
    await_gate("ready");
    take_proxy(&before, false);
    shared->phase = LOAD_MEASURING;
    await_operations(&before);
    take_proxy(&after, false);
    await_gate("done");
    end_workers();
    load_report_operations(&options, shared, &before, &after);
    return after.totals.operations > before.totals.operations ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* ---- connections that stay ---- */

static unsigned long progress(const struct load_totals *totals)
{
    return options.mode == LOAD_BURST ? totals->served + totals->refused + totals->closed
                                      : totals->held;
}

/* Until all connections have come to stay, or there was no progress for too long. */
static void await_all(void)
{
    uint64_t moved_us = clock_now_us();
    unsigned long last = 0;
    struct load_totals now;

    do {
        usleep(TICK_US);
        take_totals(&now);
        if (progress(&now) != last)
            moved_us = now.at_us;
        last = progress(&now);
    } while (last < options.sessions && !hopeless(&now) &&
             now.at_us < moved_us + (uint64_t)(options.patience_s * 1e6));
}

static void await_end_of_input(void)
{
    char ignored[64];

    while (read(STDIN_FILENO, ignored, sizeof(ignored)) > 0)
        continue;
}

static int run_connections(void)
{
    struct load_sample before = { 0 }, opened = { 0 }, settled = { 0 };

    take_proxy(&before, true);
    shared->phase = LOAD_MEASURING;
    start_workers();
    await_all();
    take_proxy(&opened, false);
    sleep_s(options.settle_s);
    take_proxy(&settled, true);
    if (options.hold) {
        load_report_connections(&options, shared, &before, &opened, &settled);
        await_end_of_input();
        end_workers();
    } else {
        end_workers();
        load_report_connections(&options, shared, &before, &opened, &settled);
    }
    return progress(&opened.totals) == options.sessions ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    load_options_read(&options, argc, argv);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptors();
    message_init();
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        fprintf(stderr, "bench-load: shared memory: %s\n", err_text(-errno));
        return EXIT_FAILURE;
    }
    if (options.mode == LOAD_IDLE || options.mode == LOAD_BURST)
        return run_connections();
    return run_operations();
}
